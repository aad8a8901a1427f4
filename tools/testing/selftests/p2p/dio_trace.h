/* SPDX-License-Identifier: GPL-2.0 */
/*
 * QEMU's trace of the memory that NVMe disks map: scripts/vm --trace
 * pci_nvme_map_addr. Behind an IOMMU that are IOVAs, and where they led to says
 * --trace vtd_dmar_translate. Only one device may use the bus then.
 */
#ifndef P2P_DIO_TRACE_H
#define P2P_DIO_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where the trace ends now; -errno if there is none. */
long trace_end(void);

/* Is there an IOMMU? Then each piece was translated by it. */
bool trace_iommu(void);

/*
 * Call @fn for each piece of physical memory that was mapped from @start on: 0 or
 * -errno. ENXIO: some was not translated.
 */
typedef void trace_fn(void *arg, uint64_t addr, size_t len);
int trace_each(long start, trace_fn *fn, void *arg);

/* The bytes of [addr, addr + len) in these pieces, or -errno. */
long trace_bytes(long start, uint64_t addr, size_t len);

#endif
