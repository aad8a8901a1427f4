/* SPDX-License-Identifier: GPL-2.0 */
/* A PCI fabric whose config space is in memory, as wide and deep as asked for. */
#ifndef _BENCH_SOFT_H
#define _BENCH_SOFT_H

#include <linux/pci.h>

/**
 * struct soft_pci - the fabric: an owner with a BAR, and importers
 * @owner: below the first bridge
 * @importer: the devices that ask
 * @nr: their number
 */
struct soft_pci {
	struct pci_dev *owner;
	struct pci_dev **importer;
	unsigned int nr;
	/* private: */
	struct pci_sysdata sd;
	struct pci_host_bridge *bridge;
	struct resource *mem, busn;
	struct soft_fn *fn;
	unsigned int nr_fn;
};

struct soft_pci *soft_pci_create(unsigned int importers, unsigned int depth);
void soft_pci_destroy(struct soft_pci *s);

#endif /* _BENCH_SOFT_H */
