/* SPDX-License-Identifier: GPL-2.0 */
/* The decision table of the link verdict: what a row is, and what rows share. */
#ifndef _P2P_ROWS_H
#define _P2P_ROWS_H

#include "p2p_fabric.h"

struct row_pair {
	struct pci_dev *owner;
	struct pci_dev *importer;
	struct pci_dev *culprit;	/* NULL: do not look */
	struct p2p_importer_state state;
	struct fabric_switch sw;
};

struct row {
	const char *name;
	void (*build)(struct fabric *f, struct row_pair *p);
	struct {
		enum p2p_path path;
		bool read, write, atomic;
	} way;
	enum p2p_topo_reason reason;
	unsigned int flags;
	int distance;
};

#define EP	PCI_EXP_TYPE_ENDPOINT
#define RR	PCI_ACS_RR
#define CR	PCI_ACS_CR
#define UF	PCI_ACS_UF
#define EC	PCI_ACS_EC

#define BUS	P2P_PATH_BUS
#define HOST	P2P_PATH_HOST
#define NO	{ P2P_PATH_NONE, 0, 0, 0 }
#define WHY(r)	P2P_TOPO_##r
#define DEM	(P2P_VERDICT_DEMOTED | P2P_VERDICT_IOVA)
#define IOVA	P2P_VERDICT_IOVA
#define GUEST	P2P_VERDICT_GUEST
#define ASSUME	P2P_VERDICT_ASSUMED

/* build, { path, read, write, atomic }, reason, flags, distance */
#define ROW(b, ...)	{ #b, b, __VA_ARGS__ }

static inline void ctrl(struct pci_dev *port, u16 val)
{
	port->p2p_config.acs_ctrl = val;
}

/* importer below down[0], owner below down[1] */
static inline void one_switch(struct fabric *f, struct row_pair *p)
{
	fabric_switch(f, fabric_host(f, 0, 0), 8, 3, &p->sw);
	p->importer = fabric_dev(f, p->sw.down[0]->subordinate, 0, EP);
	p->owner = fabric_dev(f, p->sw.down[1]->subordinate, 0, EP);
}

static inline void one_switch_known(struct fabric *f, struct row_pair *p)
{
	one_switch(f, p);
	f->known = true;
}

static inline void rr_importer(struct fabric *f, struct row_pair *p)
{
	one_switch(f, p);
	ctrl(p->sw.down[0], RR | CR);
	p->culprit = p->sw.down[0];
}

static inline void rr_importer_known(struct fabric *f, struct row_pair *p)
{
	rr_importer(f, p);
	f->known = true;
}

/* The importer is two switches deep; the inner port's RR changes nothing. */
static inline void rr_deeper(struct fabric *f, struct row_pair *p)
{
	struct pci_dev *up, *down;

	fabric_switch(f, fabric_host(f, 0, 0), 8, 2, &p->sw);
	up = fabric_port(f, p->sw.down[0]->subordinate, 0,
			 PCI_EXP_TYPE_UPSTREAM);
	down = fabric_port(f, up->subordinate, 0, PCI_EXP_TYPE_DOWNSTREAM);
	fabric_acs(down, ACS_ALL, RR | CR);
	p->importer = fabric_dev(f, down->subordinate, 0, EP);
	p->owner = fabric_dev(f, p->sw.down[1]->subordinate, 0, EP);
}

static inline void row_desc(const struct row *row, char *desc)
{
	strscpy(desc, row->name, KUNIT_PARAM_DESC_SIZE);
}

static inline void row_run(struct kunit *test)
{
	const struct row *row = test->param_value;
	struct fabric *f = fabric_create(test, 64);
	struct row_pair p = {};
	struct p2p_verdict v;
	struct p2p_link link;

	row->build(f, &p);
	p2p_link_compute(p.owner, p.importer, &link);
	p2p_link_decide(&link, &p.state, &v);
	KUNIT_EXPECT_EQ(test, row->way.path, v.path);
	KUNIT_EXPECT_EQ(test, row->way.read, v.read);
	KUNIT_EXPECT_EQ(test, row->way.write, v.write);
	KUNIT_EXPECT_EQ(test, row->way.atomic, v.atomic);
	KUNIT_EXPECT_STREQ(test, p2p_topology_reason_name(row->reason),
			   p2p_topology_reason_name(v.reason));
	KUNIT_EXPECT_EQ(test, row->flags, v.flags);
	KUNIT_EXPECT_EQ(test, row->distance, v.distance);
	if (p.culprit) {
		struct p2p_fn fn = p2p_fn(p.culprit);

		KUNIT_ASSERT_EQ(test, 1, v.nr_culprits);
		KUNIT_EXPECT_EQ(test, fn.domain, v.culprit[0].domain);
		KUNIT_EXPECT_EQ(test, fn.rid, v.culprit[0].rid);
	}
}

#endif /* _P2P_ROWS_H */
