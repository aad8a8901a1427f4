/* SPDX-License-Identifier: GPL-2.0 */
/* Random PCI fabrics, and an oracle that says how requests go in them. */
#ifndef _P2P_WORLD_H
#define _P2P_WORLD_H

#include "p2p_fabric.h"

#define NODES		96

enum kind { RP, USP, DSP, PCIB, EP, CONV, RCIEP };

struct node {
	struct node *above;		/* owner of the bus it is on */
	enum kind kind;
	int host, slot, fn;
	bool acs;
	u16 caps, ctrl;
	u32 egress;
	int mps;			/* code of Device Control */
	bool untrusted;
	struct node *pf;
	struct pci_dev *pdev;
};

struct world {
	struct kunit *test;
	struct fabric *f;
	struct node nodes[NODES];
	int nr;
	u64 rnd;
	bool uniform;			/* payload sizes; no VFs; no EC in devices */
	bool plain;			/* no ACS at all */
};

struct route {
	enum { DIRECT, UP, BLOCKED } way;
	enum p2p_topo_reason why;	/* it goes up */
	bool stuck;			/* ... and does not come down again */
	bool inside;			/* a device */
	struct node *turn, *to;		/* where the branches meet */
};

struct world *world_create(struct kunit *test);
u32 world_rnd(struct world *w, u32 n);
void world_make(struct world *w, u64 seed);
struct node *world_pick(struct world *w);
struct route world_follow(struct world *w, struct node *a, struct node *x,
			  bool completion);
void world_oracle(struct world *w, struct node *owner, struct node *importer,
		  const struct p2p_importer_state *s, struct p2p_verdict *v);
enum p2p_path world_before(struct world *w, struct node *owner,
			   struct node *importer);

#endif /* _P2P_WORLD_H */
