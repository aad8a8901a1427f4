// SPDX-License-Identifier: GPL-2.0
/* PCI fabrics made of bare structs. */
#include "p2p_fabric.h"

static struct fabric *fabric_of(void)
{
	return kunit_get_current_test()->priv;
}

static bool fabric_known(struct pci_dev *a, struct pci_dev *b)
{
	return fabric_of()->known;
}

static struct pci_dev *fabric_requester(struct pci_dev *pdev)
{
	struct fabric *f = fabric_of();
	struct pci_bus *bus;

	if (f->vmd_root)
		for (bus = pdev->bus; bus; bus = bus->parent)
			if (bus == f->vmd_root)
				return f->vmd;
	return pdev;
}

struct fabric *fabric_create(struct kunit *test, unsigned int max)
{
	struct fabric *f;
	unsigned int i;

	f = kunit_kzalloc(test, sizeof(*f), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, f);
	f->test = test;
	f->max = max;
	f->devs = kunit_kcalloc(test, max, sizeof(*f->devs), GFP_KERNEL);
	f->buses = kunit_kcalloc(test, max, sizeof(*f->buses), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, f->devs);
	KUNIT_ASSERT_NOT_NULL(test, f->buses);
	for (i = 0; i < FABRIC_HOSTS; i++) {
		f->host[i] = kunit_kzalloc(test, sizeof(*f->host[i]),
					   GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, f->host[i]);
	}
	test->priv = f;
	kunit_activate_static_stub(test, p2p_host_bridge_known, fabric_known);
	kunit_activate_static_stub(test, p2p_requester, fabric_requester);
	fabric_reset(f);
	return f;
}

/* Forget all devices, keep their memory for the next ones. */
void fabric_reset(struct fabric *f)
{
	f->nr_hosts = 0;
	f->nr_devs = 0;
	f->nr_buses = 0;
	f->known = false;
	f->vmd = NULL;
	f->vmd_root = NULL;
	f->mem = DEFINE_RES_MEM(SZ_4G, SZ_1G * 64UL);
}

static struct pci_bus *fabric_bus(struct fabric *f, struct pci_bus *parent,
				  struct pci_dev *self, void *sysdata, int nr)
{
	struct pci_bus *bus;

	KUNIT_ASSERT_LT(f->test, f->nr_buses, f->max);
	bus = f->buses[f->nr_buses];
	if (!bus)
		bus = kunit_kzalloc(f->test, sizeof(*bus), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(f->test, bus);
	memset(bus, 0, sizeof(*bus));
	f->buses[f->nr_buses++] = bus;
	INIT_LIST_HEAD(&bus->devices);
	INIT_LIST_HEAD(&bus->children);
	INIT_LIST_HEAD(&bus->resources);
	bus->parent = parent;
	bus->self = self;
	bus->sysdata = sysdata;
	bus->number = nr;
	bus->resource[0] = &f->mem;
	return bus;
}

struct pci_bus *fabric_host(struct fabric *f, int domain, int busnr)
{
	unsigned int i = f->nr_hosts++;
	struct pci_bus *bus;

	KUNIT_ASSERT_LT(f->test, i, FABRIC_HOSTS);
	f->sd[i] = (struct pci_sysdata) { .domain = domain };
	bus = fabric_bus(f, NULL, NULL, &f->sd[i], busnr);
	bus->bridge = &f->host[i]->dev;
	f->host[i]->bus = bus;
	INIT_LIST_HEAD(&f->host[i]->windows);
	return bus;
}

struct pci_bus *fabric_virtual_bus(struct fabric *f, struct pci_bus *parent)
{
	return fabric_bus(f, parent, NULL, parent->sysdata,
			  parent->number + 1);
}

struct pci_dev *fabric_conventional(struct fabric *f, struct pci_bus *bus,
				    int devfn)
{
	unsigned int i = f->nr_devs++;
	struct pci_dev *pdev;

	KUNIT_ASSERT_LT(f->test, i, f->max);
	pdev = f->devs[i];
	if (!pdev)
		pdev = kunit_kzalloc(f->test, sizeof(*pdev), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(f->test, pdev);
	memset(pdev, 0, sizeof(*pdev));
	f->devs[i] = pdev;
	pdev->bus = bus;
	pdev->devfn = devfn;
	pdev->vendor = 0x1b36;
	pdev->dev.bus = &pci_bus_type;
	pdev->dev.init_name = "fabric";
	pdev->dev.dma_mask = &pdev->dma_mask;
	pdev->dma_mask = DMA_BIT_MASK(64);
	pdev->current_state = PCI_D0;
	pdev->error_state = pci_channel_io_normal;
	atomic_set(&pdev->enable_cnt, 1);
	pdev->p2p_config.valid = true;
	pdev->p2p_config.command = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	pdev->resource[0] =
		DEFINE_RES_MEM(f->mem.start + i * (u64)SZ_1M, SZ_1M);
	list_add_tail(&pdev->bus_list, &bus->devices);
	return pdev;
}

struct pci_dev *fabric_dev(struct fabric *f, struct pci_bus *bus, int devfn,
			   int type)
{
	struct pci_dev *pdev = fabric_conventional(f, bus, devfn);

	pdev->pcie_cap = 0x40;
	pdev->pcie_flags_reg = type << 4;
	pdev->p2p_config.devcap2 = PCI_EXP_DEVCAP2_ATOMIC_ROUTE |
				   PCI_EXP_DEVCAP2_ATOMIC_COMP64;
	pdev->p2p_config.port = devfn;
	return pdev;
}

struct pci_dev *fabric_port(struct fabric *f, struct pci_bus *bus, int devfn,
			    int type)
{
	struct pci_dev *pdev = fabric_dev(f, bus, devfn, type);

	pdev->hdr_type = PCI_HEADER_TYPE_BRIDGE;
	pdev->subordinate = fabric_bus(f, bus, pdev, bus->sysdata,
				       f->nr_buses & 0xff);
	return pdev;
}

void fabric_acs(struct pci_dev *pdev, u16 caps, u16 ctrl)
{
	pdev->acs_cap = 0x100;
	pdev->acs_capabilities = caps;
	pdev->p2p_config.acs_ctrl = ctrl;
	pdev->p2p_config.egress_bits = caps & PCI_ACS_EC ? 256 : 0;
}

void fabric_switch(struct fabric *f, struct pci_bus *bus, int devfn, int n,
		   struct fabric_switch *sw)
{
	int i;

	sw->root = fabric_port(f, bus, devfn, PCI_EXP_TYPE_ROOT_PORT);
	sw->up = fabric_port(f, sw->root->subordinate, 0,
			     PCI_EXP_TYPE_UPSTREAM);
	fabric_acs(sw->root, ACS_ALL, PCI_ACS_UF);
	for (i = 0; i < n; i++) {
		sw->down[i] = fabric_port(f, sw->up->subordinate,
					  PCI_DEVFN(i, 0),
					  PCI_EXP_TYPE_DOWNSTREAM);
		fabric_acs(sw->down[i], ACS_ALL, 0);
	}
}
