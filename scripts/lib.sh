# SPDX-License-Identifier: GPL-2.0
# Shared by all scripts (sourced): paths, messages, progress, kbuild options.

set -euo pipefail

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
OUT=$TOP/build
LINUX=$OUT/linux
CACHE=${P2P_CACHE:-${HOME:-/root}/.cache/p2p-vma}
KVERSION=7.3

# Top directories of the overlay: the same names as in the kernel tree.
OVERLAY_DIRS=(arch block Documentation drivers fs include io_uring kernel lib
	      mm net samples tools virt)

# use_build NAME: set CONFIG, the configuration behind a build, and LINUX, its
# tree. "stock-NAME" is NAME on the kernel as it came: no patches, no overlay,
# and none of the symbols that these bring.
use_build() {
	CONFIG=${1#stock-} STOCK=''
	case $1 in stock-*) STOCK=1 LINUX=$OUT/linux-stock ;; esac
	[ -f "$TOP/configs/$CONFIG.config" ] && [ "$CONFIG" != base ] ||
		die "no build \"$1\": there are, each also as stock-NAME: $(cd "$TOP/configs" &&
			printf '%s\n' *.config | sed 's/\.config$//' | grep -vx base | paste -sd' ')"
}

# Lines of a configuration that are about symbols of ours.
OUR_SYMBOLS='^(# )?CONFIG_(SAMPLE_|VFIO_PCI_)?P2P(_|[= ])'

say()  { printf '%s\n' "$*"; }
warn() { printf 'warning: %s\n' "$*" >&2; }
die()  { printf 'error: %s\n' "$*" >&2; exit 1; }

mmss() { printf '%02d:%02d' $(($1 / 60)) $(($1 % 60)); }

# Path as the reader types it: relative to the repository if inside.
rel() { printf '%s' "${1#"$TOP"/}"; }

# "[3/6] " when a caller such as make demo numbers its steps.
step() { printf '%s%s\n' "${P2P_STEP:+[$P2P_STEP] }" "$*"; }

# run_logged LOG DESCRIPTION COUNT_REGEX COMMAND...
# Run COMMAND with its output in LOG; show progress (lines of LOG that match
# COUNT_REGEX) and, if it fails, the last lines of LOG that say why.
run_logged() {
	local log=$1 what=$2 regex=$3 start=$SECONDS pid n rc=0 last=0 line
	shift 3
	mkdir -p "$(dirname "$log")"
	"$@" >"$log" 2>&1 </dev/null &
	pid=$!
	trap 'kill '$pid' 2>/dev/null; exit 130' INT TERM
	while kill -0 $pid 2>/dev/null; do
		if [ -t 1 ] || [ $((SECONDS - last)) -ge 30 ]; then
			n=$(grep -cE "$regex" "$log" || true)
			line="${P2P_STEP:+[$P2P_STEP] }$what: $n objects, $(mmss $((SECONDS - start))), log $(rel "$log")"
			if [ -t 1 ]; then
				printf '\r\033[K%s' "$line"
			elif [ $last != 0 ] || [ $((SECONDS - start)) -ge 5 ]; then
				printf '%s\n' "$line"
				last=$SECONDS
			fi
		fi
		sleep 0.5
	done
	wait $pid || rc=$?
	trap - INT TERM
	[ ! -t 1 ] || printf '\r\033[K'
	if [ $rc != 0 ]; then
		{
			grep -nE '(error|Error|undefined reference|\*\*\*)' "$log" | tail -n 15 ||
				tail -n 15 "$log"
		} >&2
		die "$what failed (status $rc), log $(rel "$log")"
	fi
	step "$what: done, $(mmss $((SECONDS - start))), log $(rel "$log")"
}

# Arguments for every kbuild call: reproducible and kind to ccache, so that
# a build in another checkout finds the same objects.
kbuild_env() {
	export KBUILD_BUILD_TIMESTAMP='Thu Jan  1 00:00:00 UTC 2026'
	export KBUILD_BUILD_USER=p2p KBUILD_BUILD_HOST=p2p KBUILD_BUILD_VERSION=1
	export CCACHE_BASEDIR=$TOP CCACHE_NOHASHDIR=1
	export CCACHE_DIR=${CCACHE_DIR:-$CACHE/ccache}
	export CCACHE_MAXSIZE=${CCACHE_MAXSIZE:-4G}
	export CCACHE_IGNOREOPTIONS='-fmacro-prefix-map=*'
	export CCACHE_SLOPPINESS=time_macros
	unset MAKEFLAGS MFLAGS MAKELEVEL
	KBUILD=(make -C "$LINUX" "-j$(($(nproc) + 1))" ARCH=x86_64)
	if [ "${P2P_CCACHE:-1}" != 0 ] && command -v ccache >/dev/null; then
		KBUILD+=("CC=ccache gcc" "HOSTCC=ccache gcc")
	fi
}
