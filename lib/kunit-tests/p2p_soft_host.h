/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A host bridge with config space in memory, scanned like hardware. Bus
 * addresses differ from physical ones.
 */
#ifndef _P2P_SOFT_HOST_H
#define _P2P_SOFT_HOST_H

#include "p2p_fabric.h"

#define SOFT_CFG	4096
#define CAP_EXP		0x40
#define CAP_ACS		0x100
#define BUS_OFFSET	0x1000000000ULL	/* physical - bus */

struct soft_dev {
	int parent;			/* index, -1: root bus */
	int devfn;
	int type;			/* PCI_EXP_TYPE_*, -1: conventional */
	u16 acs_caps, acs_ctrl;		/* caps 0: no capability */
	int mps;			/* code of what it supports */
};

struct soft_node {
	struct soft_dev d;
	bool bridge, gone;
	u8 *cfg, *wmask;
};

struct soft_host {
	struct kunit *test;
	struct pci_sysdata sd;
	struct pci_host_bridge *bridge;
	struct resource *mem, busn;
	struct soft_node node[24];
	int nr;
	unsigned int reads;
	bool known;
};

extern struct soft_host *soft;

int soft_init(struct kunit *test);
void soft_exit(struct kunit *test);
void soft_build(const struct soft_dev *devs, int nr);
void soft_scan(void);
void soft_fill(struct soft_node *n, int i);
void soft_put16(struct soft_node *n, int where, u16 val, u16 mask);
struct pci_dev *soft_pci(int i);

#endif /* _P2P_SOFT_HOST_H */
