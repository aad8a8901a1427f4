/* SPDX-License-Identifier: GPL-2.0 */
/* What every MEMORY_DEVICE_PCI_P2PDMA page map is embedded in. */
#ifndef _PCI_P2P_PAGEMAP_H
#define _PCI_P2P_PAGEMAP_H

#include <linux/memremap.h>

struct p2pdma_provider;

/* p2pdma.c finds the provider of a page by container_of() on its pgmap. */
struct pci_p2pdma_pagemap {
	struct dev_pagemap pgmap;
	struct p2pdma_provider *mem;
};

#endif /* _PCI_P2P_PAGEMAP_H */
