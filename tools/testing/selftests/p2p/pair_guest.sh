#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# What one of the two machines of scripts/pair does: let peers use BAR 2 of the
# GPU through its sysfs file, and run perftest on a mapping of it.
# Usage: pair_guest.sh END COMMAND SIZE [SERVER]

end=$1 cmd=$2 size=$3 server=${4:-}
for gpu in /sys/bus/pci/devices/*; do
	[ "$(<"$gpu/vendor") $(<"$gpu/device")" != "0x1af4 0x1110" ] || break
done
echo 1 >"$gpu/enable" && echo 1 >"$gpu/p2p_mmap" || exit 1
args=(-d rxe0 -x 1 -s "$size" -D 12 -F --mmap="$gpu/resource2")
echo "machine $end: $cmd ${args[*]} $server"
[ -n "$server" ] || exec "$cmd" "${args[@]}"
# The server boots at the same time.
for ((i = 0; i < 60; i++)); do
	! "$cmd" "${args[@]}" "$server" || exit 0
	sleep 1
done
exit 1
