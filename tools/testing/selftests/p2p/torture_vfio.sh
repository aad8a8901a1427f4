#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# p2p_torture with the BAR as vfio-pci has it.
#
# VM: --topo switch
# VM: --topo switch --cpu EPYC --iommu lazy --expect-splat DMAR:.*fault
# TIMEOUT: 300

exec ./p2p_torture --exporter vfio
