/* SPDX-License-Identifier: GPL-2.0 */
/*
 * PCI fabrics made of bare structs, for tests of the link verdict: nothing is
 * registered, no config space, thousands of them in a second.
 */
#ifndef _P2P_FABRIC_H
#define _P2P_FABRIC_H

#include <kunit/static_stub.h>
#include <kunit/test.h>
#include <linux/pci.h>

#include "../../drivers/pci/p2pdma/topology.h"

#define FABRIC_HOSTS	4

struct fabric {
	struct kunit *test;
	struct pci_host_bridge *host[FABRIC_HOSTS];
	struct pci_sysdata sd[FABRIC_HOSTS];
	struct resource mem;
	struct pci_dev **devs;
	struct pci_bus **buses;
	unsigned int nr_hosts, nr_devs, nr_buses, max;
	bool known;			/* host bridges forward */
	struct pci_dev *vmd;		/* below it: */
	struct pci_bus *vmd_root;
};

struct fabric *fabric_create(struct kunit *test, unsigned int max);
void fabric_reset(struct fabric *f);
struct pci_bus *fabric_host(struct fabric *f, int domain, int busnr);
struct pci_bus *fabric_virtual_bus(struct fabric *f, struct pci_bus *parent);
struct pci_dev *fabric_dev(struct fabric *f, struct pci_bus *bus, int devfn,
			   int type);
struct pci_dev *fabric_conventional(struct fabric *f, struct pci_bus *bus,
				    int devfn);
struct pci_dev *fabric_port(struct fabric *f, struct pci_bus *bus, int devfn,
			    int type);
void fabric_acs(struct pci_dev *pdev, u16 caps, u16 ctrl);

/* Root port, switch with @n downstream ports below it. */
struct fabric_switch {
	struct pci_dev *root, *up, *down[4];
};

void fabric_switch(struct fabric *f, struct pci_bus *bus, int devfn, int n,
		   struct fabric_switch *sw);

#define ACS_ALL	(PCI_ACS_SV | PCI_ACS_TB | PCI_ACS_RR | PCI_ACS_CR | \
		 PCI_ACS_UF | PCI_ACS_EC | PCI_ACS_DT)

#endif /* _P2P_FABRIC_H */
