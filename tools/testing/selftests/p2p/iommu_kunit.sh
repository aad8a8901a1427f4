#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The KUnit suites that need real devices behind an IOMMU.
#
# VM: --topo default --cpu EPYC --iommu strict

suites="dma_buf_map hmm_dma"
n=0
bad=0
trap 'gpu' EXIT
gpu() { rmmod p2p_gpu && insmod "$P2P_BUILD/samples/p2p/p2p_gpu.ko" "$@"; }

echo TAP version 13
echo "1..$(wc -w <<<"$suites")"
for suite in $suites; do
	dir=/sys/kernel/debug/kunit/$suite
	# The BAR has struct pages for one, and none for the other.
	[ "$suite" != hmm_dma ] || gpu pages=4K || exit 1
	insmod "$P2P_BUILD/lib/kunit-tests/${suite}_kunit.ko" || exit 1
	echo 1 >"$dir/run"
	sed 's/^/# /' "$dir/results"
	if grep -q "^ok 1 $suite" "$dir/results"; then
		echo "ok $((++n)) $suite"
	else
		echo "not ok $((++n)) $suite"
		bad=1
	fi
	rmmod "${suite}_kunit"
done
exit $bad
