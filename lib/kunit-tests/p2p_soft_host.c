// SPDX-License-Identifier: GPL-2.0
/* A host bridge with config space in memory. */
#include <linux/ioport.h>
#include <linux/unaligned.h>

#include "p2p_soft_host.h"

#define WINDOW	SZ_256M

struct soft_host *soft;

/* Config space */

static struct soft_node *soft_find(struct pci_bus *bus, unsigned int devfn)
{
	int i;

	for (i = 0; i < soft->nr; i++) {
		struct soft_node *n = &soft->node[i];
		int parent = n->d.parent;

		if (n->gone || n->d.devfn != devfn)
			continue;
		if (pci_is_root_bus(bus) ? parent == -1 :
		    parent >= 0 && soft->node[parent].cfg[PCI_SECONDARY_BUS] ==
				   bus->number)
			return n;
	}
	return NULL;
}

static int soft_read(struct pci_bus *bus, unsigned int devfn, int where,
		     int size, u32 *val)
{
	struct soft_node *n = soft_find(bus, devfn);

	soft->reads++;
	if (!n) {
		*val = ~0;
		return PCIBIOS_DEVICE_NOT_FOUND;
	}
	*val = 0;
	memcpy(val, n->cfg + where, size);
	return PCIBIOS_SUCCESSFUL;
}

static int soft_write(struct pci_bus *bus, unsigned int devfn, int where,
		      int size, u32 val)
{
	struct soft_node *n = soft_find(bus, devfn);
	int i;

	if (!n)
		return PCIBIOS_DEVICE_NOT_FOUND;
	for (i = 0; i < size; i++, val >>= 8)
		n->cfg[where + i] = (n->cfg[where + i] & ~n->wmask[where + i]) |
				    (val & n->wmask[where + i]);
	return PCIBIOS_SUCCESSFUL;
}

static struct pci_ops soft_ops = { .read = soft_read, .write = soft_write };

void soft_put16(struct soft_node *n, int where, u16 val, u16 mask)
{
	put_unaligned_le16(val, n->cfg + where);
	put_unaligned_le16(mask, n->wmask + where);
}

static void put32(struct soft_node *n, int where, u32 val, u32 mask)
{
	put_unaligned_le32(val, n->cfg + where);
	put_unaligned_le32(mask, n->wmask + where);
}

void soft_fill(struct soft_node *n, int i)
{
	int type = n->d.type;

	n->bridge = type == PCI_EXP_TYPE_ROOT_PORT ||
		    type == PCI_EXP_TYPE_UPSTREAM ||
		    type == PCI_EXP_TYPE_DOWNSTREAM ||
		    type == PCI_EXP_TYPE_PCI_BRIDGE;
	memset(n->cfg, 0, SOFT_CFG);
	memset(n->wmask, 0, SOFT_CFG);
	soft_put16(n, PCI_VENDOR_ID, 0x1b36, 0);
	soft_put16(n, PCI_DEVICE_ID, 0xf000 + i, 0);
	/* Decoding is on, as firmware leaves it. */
	soft_put16(n, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 0x0547);
	soft_put16(n, PCI_CLASS_DEVICE, n->bridge ? PCI_CLASS_BRIDGE_PCI :
	      PCI_CLASS_MEMORY_OTHER, 0);
	n->cfg[PCI_HEADER_TYPE] = n->bridge | PCI_HEADER_TYPE_MFD;
	if (n->bridge) {
		put32(n, PCI_PRIMARY_BUS, 0, ~0);
		put32(n, PCI_MEMORY_BASE, 0, 0xfff0fff0);
		put32(n, PCI_PREF_MEMORY_BASE, 0x00010001, 0xfff0fff0);
		put32(n, PCI_PREF_BASE_UPPER32, 0, ~0);
		put32(n, PCI_PREF_LIMIT_UPPER32, 0, ~0);
		soft_put16(n, PCI_BRIDGE_CONTROL, 0, 0x00ff);
	} else {
		put32(n, PCI_BASE_ADDRESS_0, PCI_BASE_ADDRESS_MEM_TYPE_64 |
		      PCI_BASE_ADDRESS_MEM_PREFETCH, ~(SZ_1M - 1));
		put32(n, PCI_BASE_ADDRESS_1, 0, ~0);
	}
	if (type < 0)
		return;
	soft_put16(n, PCI_STATUS, PCI_STATUS_CAP_LIST, 0);
	n->cfg[PCI_CAPABILITY_LIST] = CAP_EXP;
	soft_put16(n, CAP_EXP, PCI_CAP_ID_EXP, 0);
	soft_put16(n, CAP_EXP + PCI_EXP_FLAGS, 2 | type << 4, 0);
	put32(n, CAP_EXP + PCI_EXP_DEVCAP, n->d.mps | PCI_EXP_DEVCAP_RBER, 0);
	soft_put16(n, CAP_EXP + PCI_EXP_DEVCTL, 0, 0x7fff);
	put32(n, CAP_EXP + PCI_EXP_LNKCAP, 0x11 | (n->d.devfn + 1) << 24, 0);
	soft_put16(n, CAP_EXP + PCI_EXP_LNKCTL, 0, PCI_EXP_LNKCTL_LD);
	soft_put16(n, CAP_EXP + PCI_EXP_LNKSTA, 0x11, 0);
	put32(n, CAP_EXP + PCI_EXP_DEVCAP2, PCI_EXP_DEVCAP2_ATOMIC_ROUTE |
	      PCI_EXP_DEVCAP2_ATOMIC_COMP64, 0);
	soft_put16(n, CAP_EXP + PCI_EXP_DEVCTL2, 0,
		   PCI_EXP_DEVCTL2_ATOMIC_EGRESS_BLOCK);
	if (!n->d.acs_caps)
		return;
	put32(n, CAP_ACS, PCI_EXT_CAP_ID_ACS | 1 << 16, 0);
	soft_put16(n, CAP_ACS + PCI_ACS_CAP, n->d.acs_caps |
	      (n->d.acs_caps & PCI_ACS_EC ? 32 << 8 : 0), 0);
	soft_put16(n, CAP_ACS + PCI_ACS_CTRL, n->d.acs_ctrl, n->d.acs_caps);
	put32(n, CAP_ACS + PCI_ACS_EGRESS_CTL_V, 0, ~0);
}

/* Trees */

static bool soft_known(struct pci_dev *a, struct pci_dev *b)
{
	return soft->known;
}

static void soft_state(struct device *importer, struct pci_dev *pdev,
		       struct p2p_importer_state *s)
{
	*s = (struct p2p_importer_state) {
		.guest_refuse = p2p_policy_guest_refuse(),
	};
}

struct pci_dev *soft_pci(int i)
{
	struct pci_bus *bus = soft->bridge->bus;
	struct soft_node *n = &soft->node[i];
	struct pci_dev *pdev;

	if (n->d.parent >= 0) {
		struct pci_dev *up = soft_pci(n->d.parent);

		if (!up)
			return NULL;
		bus = up->subordinate;
	}
	list_for_each_entry(pdev, &bus->devices, bus_list)
		if (pdev->devfn == n->d.devfn)
			return pdev;
	return NULL;
}

void soft_scan(void)
{
	pci_lock_rescan_remove();
	pci_scan_child_bus(soft->bridge->bus);
	pci_bus_size_bridges(soft->bridge->bus);
	pci_bus_assign_resources(soft->bridge->bus);
	pci_unlock_rescan_remove();
}

static void soft_add(const struct soft_dev *devs, int nr)
{
	struct kunit *test = soft->test;
	int i;

	for (i = 0; i < nr; i++) {
		struct soft_node *n = &soft->node[soft->nr];

		n->d = devs[i];
		n->cfg = kunit_kzalloc(test, SOFT_CFG, GFP_KERNEL);
		n->wmask = kunit_kzalloc(test, SOFT_CFG, GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, n->cfg);
		KUNIT_ASSERT_NOT_NULL(test, n->wmask);
		soft_fill(n, soft->nr);
		soft->nr++;
	}
}

void soft_build(const struct soft_dev *devs, int nr)
{
	struct kunit *test = soft->test;
	struct pci_host_bridge *br;
	int ret;

	soft_add(devs, nr);
	br = pci_alloc_host_bridge(0);
	KUNIT_ASSERT_NOT_NULL(test, br);
	br->sysdata = &soft->sd;
	br->ops = &soft_ops;
	br->domain_nr = soft->sd.domain;
	soft->busn = DEFINE_RES_NAMED(0, 64, "p2p-kunit", IORESOURCE_BUS);
	pci_add_resource_offset(&br->windows, soft->mem, BUS_OFFSET);
	pci_add_resource(&br->windows, &soft->busn);
	pci_lock_rescan_remove();
	ret = pci_scan_root_bus_bridge(br);
	if (!ret) {
		soft->bridge = br;
		pci_bus_size_bridges(br->bus);
		pci_bus_assign_resources(br->bus);
	}
	pci_unlock_rescan_remove();
	if (ret)
		pci_free_host_bridge(br);
	KUNIT_ASSERT_EQ(test, 0, ret);
}

int soft_init(struct kunit *test)
{
	soft = kunit_kzalloc(test, sizeof(*soft), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, soft);
	soft->test = test;
	soft->sd.node = NUMA_NO_NODE;
	soft->sd.domain = pci_bus_find_emul_domain_nr(0, 0x10000, INT_MAX);
	KUNIT_ASSERT_GT(test, soft->sd.domain, 0);
	soft->mem = request_free_mem_region(&iomem_resource, WINDOW,
					    "p2p-kunit");
	KUNIT_ASSERT_FALSE(test, IS_ERR(soft->mem));
	/* A window of a host bridge, not memory of a device */
	soft->mem->flags = IORESOURCE_MEM | IORESOURCE_PREFETCH |
			   IORESOURCE_MEM_64;
	soft->mem->desc = IORES_DESC_NONE;
	kunit_activate_static_stub(test, p2p_host_bridge_known, soft_known);
	kunit_activate_static_stub(test, p2p_importer_state, soft_state);
	return 0;
}

void soft_exit(struct kunit *test)
{
	if (soft->bridge) {
		pci_lock_rescan_remove();
		pci_stop_root_bus(soft->bridge->bus);
		pci_remove_root_bus(soft->bridge->bus);
		pci_unlock_rescan_remove();
	}
	soft->mem->flags = IORESOURCE_MEM | IORESOURCE_BUSY;
	release_mem_region(soft->mem->start, resource_size(soft->mem));
	pci_bus_release_emul_domain_nr(soft->sd.domain);
}
