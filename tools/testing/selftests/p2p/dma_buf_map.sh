#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The KUnit suite dma_buf_map, which needs real devices behind an IOMMU.
#
# VM: --topo default --cpu EPYC --iommu strict

suite=/sys/kernel/debug/kunit/dma_buf_map

echo TAP version 13
echo 1..1
insmod "$P2P_BUILD/lib/kunit-tests/dma_buf_map_kunit.ko" || exit 1
echo 1 >"$suite/run"
sed 's/^/# /' "$suite/results"
if grep -q '^ok 1 dma_buf_map' "$suite/results"; then
	echo ok 1 dma_buf_map
else
	echo not ok 1 dma_buf_map
fi
rmmod dma_buf_map_kunit
