// SPDX-License-Identifier: GPL-2.0
/*
 * A PCI fabric whose config space is in memory: QEMU has not the patience for
 * 1,000 devices. Conventional PCI, without ACS: one bridge, below it the owner
 * and a chain of bridges; the importers are below the last of it, at most 248
 * on a bus.
 */
#include <linux/dma-mapping.h>
#include <linux/ioport.h>
#include <linux/slab.h>

#include "bench_soft.h"

#define SOFT_CFG	64
#define SOFT_WINDOW	SZ_256M
#define SOFT_BUS_MAX	248

struct soft_fn {
	int parent;		/* index, -1: root bus */
	unsigned int devfn;
	bool bridge;
	bool bar;
	u8 cfg[SOFT_CFG];
};

static struct soft_pci *soft_of(struct pci_bus *bus)
{
	return container_of((struct pci_sysdata *)bus->sysdata, struct soft_pci,
			    sd);
}

static struct soft_fn *soft_find(struct pci_bus *bus, unsigned int devfn)
{
	struct soft_pci *s = soft_of(bus);
	unsigned int i;

	for (i = 0; i < s->nr_fn; i++) {
		struct soft_fn *f = &s->fn[i];

		if (f->devfn == devfn &&
		    (pci_is_root_bus(bus) ? f->parent < 0 :
		     f->parent >= 0 &&
		     s->fn[f->parent].cfg[PCI_SECONDARY_BUS] == bus->number))
			return f;
	}
	return NULL;
}

static int soft_read(struct pci_bus *bus, unsigned int devfn, int where,
		     int size, u32 *val)
{
	struct soft_fn *f = soft_find(bus, devfn);

	if (!f) {
		*val = ~0;
		return PCIBIOS_DEVICE_NOT_FOUND;
	}
	*val = 0;
	if (where + size <= SOFT_CFG)
		memcpy(val, f->cfg + where, size);
	return PCIBIOS_SUCCESSFUL;
}

/* Which bits of a register can be written */
static u32 soft_mask(const struct soft_fn *f, int where)
{
	switch (where & ~3) {
	case PCI_COMMAND:
		return 0x0547;
	case PCI_BASE_ADDRESS_0:
		return f->bar ? ~(SZ_1M - 1) : 0;
	case PCI_BASE_ADDRESS_1:
		return f->bar ? ~0 : 0;
	}
	if (!f->bridge)
		return 0;
	switch (where & ~3) {
	case PCI_PRIMARY_BUS:
	case PCI_PREF_BASE_UPPER32:
	case PCI_PREF_LIMIT_UPPER32:
		return ~0;
	case PCI_MEMORY_BASE:
	case PCI_PREF_MEMORY_BASE:
		return 0xfff0fff0;
	}
	return 0;
}

static int soft_write(struct pci_bus *bus, unsigned int devfn, int where,
		      int size, u32 val)
{
	struct soft_fn *f = soft_find(bus, devfn);
	u32 mask, old = 0;

	if (!f)
		return PCIBIOS_DEVICE_NOT_FOUND;
	if (where + size > SOFT_CFG)
		return PCIBIOS_SUCCESSFUL;
	mask = soft_mask(f, where) >> (8 * (where & 3));
	memcpy(&old, f->cfg + where, size);
	val = (old & ~mask) | (val & mask);
	memcpy(f->cfg + where, &val, size);
	return PCIBIOS_SUCCESSFUL;
}

static struct pci_ops soft_ops = { .read = soft_read, .write = soft_write };

static void soft_put(struct soft_fn *f, int where, u32 val, int size)
{
	memcpy(f->cfg + where, &val, size);
}

static int soft_add(struct soft_pci *s, int parent, unsigned int devfn,
		    bool bridge, bool bar)
{
	int i = s->nr_fn++;
	struct soft_fn *f = &s->fn[i];

	f->parent = parent;
	f->devfn = devfn;
	f->bridge = bridge;
	f->bar = bar;
	soft_put(f, PCI_VENDOR_ID, 0x1b36, 2);
	soft_put(f, PCI_DEVICE_ID, 0xf000, 2);
	soft_put(f, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
	soft_put(f, PCI_CLASS_DEVICE, bridge ? PCI_CLASS_BRIDGE_PCI :
		 PCI_CLASS_MEMORY_OTHER, 2);
	f->cfg[PCI_HEADER_TYPE] = bridge | PCI_HEADER_TYPE_MFD;
	if (bridge)
		soft_put(f, PCI_PREF_MEMORY_BASE, 0x00010001, 4);
	if (bar)
		soft_put(f, PCI_BASE_ADDRESS_0, PCI_BASE_ADDRESS_MEM_TYPE_64 |
			 PCI_BASE_ADDRESS_MEM_PREFETCH, 4);
	return i;
}

static int soft_fill(struct soft_pci *s, unsigned int importers,
		     unsigned int depth)
{
	unsigned int i, top, bus;

	s->fn = kvcalloc(importers + depth + importers / SOFT_BUS_MAX + 3,
			 sizeof(*s->fn), GFP_KERNEL);
	s->importer = kvcalloc(importers, sizeof(*s->importer), GFP_KERNEL);
	if (!s->fn || !s->importer)
		return -ENOMEM;
	top = soft_add(s, -1, 0, true, false);
	soft_add(s, top, 0, false, true);
	for (i = 1; i < depth; i++)
		top = soft_add(s, top, 8, true, false);
	for (i = 0, bus = top; i < importers; i++) {
		if (importers > SOFT_BUS_MAX && i % SOFT_BUS_MAX == 0)
			bus = soft_add(s, top, 16 + i / SOFT_BUS_MAX, true,
				       false);
		soft_add(s, bus, i % SOFT_BUS_MAX +
			 (importers > SOFT_BUS_MAX ? 0 : 8), false, false);
	}
	return 0;
}

/* Everything that was found and is not a bridge */
static int soft_collect(struct pci_dev *pdev, void *data)
{
	struct soft_pci *s = data;

	if (pci_is_bridge(pdev))
		return 0;
	pdev->dma_mask = DMA_BIT_MASK(64);
	if (pci_resource_len(pdev, 0))
		s->owner = pdev;
	else
		s->importer[s->nr++] = pdev;
	return 0;
}

static int soft_scan(struct soft_pci *s)
{
	struct pci_host_bridge *br = pci_alloc_host_bridge(0);
	int ret;

	if (!br)
		return -ENOMEM;
	br->sysdata = &s->sd;
	br->ops = &soft_ops;
	br->domain_nr = s->sd.domain;
	s->busn = (struct resource)DEFINE_RES_NAMED(0, 64, "p2p-bench",
						    IORESOURCE_BUS);
	pci_add_resource(&br->windows, s->mem);
	pci_add_resource(&br->windows, &s->busn);
	pci_lock_rescan_remove();
	ret = pci_scan_root_bus_bridge(br);
	if (!ret) {
		s->bridge = br;
		pci_bus_size_bridges(br->bus);
		pci_bus_assign_resources(br->bus);
	}
	pci_unlock_rescan_remove();
	if (ret)
		pci_free_host_bridge(br);
	else
		pci_walk_bus(br->bus, soft_collect, s);
	return ret;
}

void soft_pci_destroy(struct soft_pci *s)
{
	if (s->bridge) {
		pci_lock_rescan_remove();
		pci_stop_root_bus(s->bridge->bus);
		pci_remove_root_bus(s->bridge->bus);
		pci_unlock_rescan_remove();
	}
	if (!IS_ERR_OR_NULL(s->mem)) {
		s->mem->flags = IORESOURCE_MEM | IORESOURCE_BUSY;
		release_mem_region(s->mem->start, resource_size(s->mem));
	}
	if (s->sd.domain > 0)
		pci_bus_release_emul_domain_nr(s->sd.domain);
	kvfree(s->importer);
	kvfree(s->fn);
	kfree(s);
}

struct soft_pci *soft_pci_create(unsigned int importers, unsigned int depth)
{
	struct soft_pci *s = kzalloc_obj(*s);
	int ret;

	if (!s)
		return ERR_PTR(-ENOMEM);
	s->sd.node = NUMA_NO_NODE;
	s->sd.domain = pci_bus_find_emul_domain_nr(0, 0x10000, INT_MAX);
	ret = soft_fill(s, importers, depth);
	if (ret)
		goto undo;
	s->mem = request_free_mem_region(&iomem_resource, SOFT_WINDOW,
					 "p2p-bench");
	if (IS_ERR(s->mem)) {
		ret = PTR_ERR(s->mem);
		goto undo;
	}
	/* A window of a host bridge, not memory of a device */
	s->mem->flags = IORESOURCE_MEM | IORESOURCE_PREFETCH |
			IORESOURCE_MEM_64;
	s->mem->desc = IORES_DESC_NONE;
	ret = soft_scan(s);
	if (!ret && (!s->owner || s->nr != importers))
		ret = -ENODEV;
	if (!ret)
		return s;
undo:
	soft_pci_destroy(s);
	return ERR_PTR(ret);
}
