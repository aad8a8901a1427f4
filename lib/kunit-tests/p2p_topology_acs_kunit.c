// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the link verdict: the decision table's rows about ACS. Rules
 * 1 to 7 of Documentation/driver-api/pci/p2p-topology.rst.
 */
#include "p2p_rows.h"

static void rr_owner(struct fabric *f, struct row_pair *p)
{
	one_switch(f, p);
	ctrl(p->sw.down[1], RR);
}

static void rr_root(struct fabric *f, struct row_pair *p)
{
	one_switch(f, p);
	ctrl(p->sw.root, RR | CR | UF);
}

static void cr_owner(struct fabric *f, struct row_pair *p)
{
	one_switch(f, p);
	ctrl(p->sw.down[1], CR);
	p->culprit = p->sw.down[1];
}

static void cr_owner_known(struct fabric *f, struct row_pair *p)
{
	cr_owner(f, p);
	f->known = true;
	p->culprit = NULL;
}

static void cr_importer(struct fabric *f, struct row_pair *p)
{
	one_switch(f, p);
	ctrl(p->sw.down[0], CR);
}

static void ec_clear(struct fabric *f, struct row_pair *p)
{
	one_switch(f, p);
	ctrl(p->sw.down[0], EC);
}

static void ec_clear_rr(struct fabric *f, struct row_pair *p)
{
	one_switch(f, p);
	ctrl(p->sw.down[0], EC | RR);
}

static void ec_set(struct fabric *f, struct row_pair *p)
{
	one_switch_known(f, p);
	ctrl(p->sw.down[0], EC);
	p->sw.down[0]->p2p_config.egress[0] =
		BIT(p->sw.down[1]->p2p_config.port);
	p->culprit = p->sw.down[0];
}

static void ec_set_translated(struct fabric *f, struct row_pair *p)
{
	ec_set(f, p);
	p->state.translated = true;
}

static void ec_set_unknown(struct fabric *f, struct row_pair *p)
{
	ec_set_translated(f, p);
	f->known = false;
}

static void ec_set_rr(struct fabric *f, struct row_pair *p)
{
	ec_set(f, p);
	ctrl(p->sw.down[0], EC | RR);
}

static void ec_set_other(struct fabric *f, struct row_pair *p)
{
	one_switch(f, p);
	ctrl(p->sw.down[0], EC | RR);
	p->sw.down[0]->p2p_config.egress[0] =
		~BIT(p->sw.down[1]->p2p_config.port);
}

static void ec_beyond(struct fabric *f, struct row_pair *p)
{
	one_switch_known(f, p);
	ctrl(p->sw.down[0], EC);
	p->sw.down[0]->p2p_config.egress_bits = 4;
	p->culprit = p->sw.down[0];
}

static void ec_root_ports(struct fabric *f, struct row_pair *p)
{
	struct pci_bus *bus = fabric_host(f, 0, 0);
	struct pci_dev *a = fabric_port(f, bus, 8, PCI_EXP_TYPE_ROOT_PORT);
	struct pci_dev *b = fabric_port(f, bus, 16, PCI_EXP_TYPE_ROOT_PORT);

	fabric_acs(a, ACS_ALL, EC);
	a->p2p_config.egress[0] = BIT(16);
	p->importer = fabric_dev(f, a->subordinate, 0, EP);
	p->owner = fabric_dev(f, b->subordinate, 0, EP);
	p->culprit = a;
	f->known = true;
}

static void dt_ats(struct fabric *f, struct row_pair *p)
{
	one_switch_known(f, p);
	ctrl(p->sw.down[0], PCI_ACS_DT);
	p->state.ats = true;
	p->state.translated = true;
}

static void dt_ats_unknown(struct fabric *f, struct row_pair *p)
{
	dt_ats(f, p);
	f->known = false;
}

/* DT alone does not make a redirected path direct. */
static void dt_rr(struct fabric *f, struct row_pair *p)
{
	rr_importer_known(f, p);
	ctrl(p->sw.down[0], PCI_ACS_DT | RR);
}

static void tb_ats(struct fabric *f, struct row_pair *p)
{
	dt_ats(f, p);
	ctrl(p->sw.down[0], PCI_ACS_TB);
	p->culprit = p->sw.down[0];
}

static void tb_no_ats(struct fabric *f, struct row_pair *p)
{
	one_switch(f, p);
	ctrl(p->sw.down[0], PCI_ACS_TB);
}

static void uf_off(struct fabric *f, struct row_pair *p)
{
	rr_importer_known(f, p);
	ctrl(p->sw.root, 0);
	p->culprit = p->sw.root;
}

static void uf_off_translated(struct fabric *f, struct row_pair *p)
{
	uf_off(f, p);
	p->state.translated = true;
	p->culprit = p->sw.down[0];
}

static void uf_no_acs(struct fabric *f, struct row_pair *p)
{
	uf_off(f, p);
	p->sw.root->acs_cap = 0;
}

static void cr_no_uf(struct fabric *f, struct row_pair *p)
{
	cr_owner(f, p);
	f->known = true;
	ctrl(p->sw.root, 0);
}

static void quirk_redirects(struct fabric *f, struct row_pair *p)
{
	one_switch(f, p);
	p->sw.down[0]->acs_cap = 0;
	p->sw.down[0]->p2p_config.acs_quirk = RR | CR | UF;
	p->culprit = p->sw.down[0];
}

/* A quirk that vouches for RR: there is nothing for the vector to let pass. */
static void quirk_beats_egress(struct fabric *f, struct row_pair *p)
{
	quirk_redirects(f, p);
	ctrl(p->sw.down[0], EC);
	p->sw.down[0]->acs_cap = 1;
}

/* A quirk that does not vouch does not switch off what the register says. */
static void quirk_silent(struct fabric *f, struct row_pair *p)
{
	one_switch(f, p);
	ctrl(p->sw.down[0], RR | CR);
	p->sw.down[0]->p2p_config.acs_quirk = UF;
	p->culprit = p->sw.down[0];
}

static const struct row rows[] = {
	ROW(one_switch, { BUS, 1, 1, 1 }, WHY(OK), 0, 4),
	/* RR: where requests turn, and nowhere else */
	ROW(rr_importer, NO, WHY(ACS_REDIRECT), 0, 4),
	ROW(rr_importer_known, { HOST, 1, 1, 1 }, WHY(ACS_REDIRECT), 0, 4),
	ROW(rr_owner, { BUS, 1, 1, 1 }, WHY(OK), 0, 4),
	ROW(rr_root, { BUS, 1, 1, 1 }, WHY(OK), 0, 4),
	ROW(rr_deeper, { BUS, 1, 1, 1 }, WHY(OK), 0, 6),
	/* CR: reads only, on the owner's side */
	ROW(cr_owner, { BUS, 0, 1, 0 }, WHY(ACS_COMPLETION), 0, 4),
	ROW(cr_owner_known, { BUS, 1, 1, 1 }, WHY(OK), 0, 4),
	ROW(cr_importer, { BUS, 1, 1, 1 }, WHY(OK), 0, 4),
	ROW(cr_no_uf, { BUS, 0, 1, 0 }, WHY(ACS_COMPLETION), 0, 4),
	/* RR x EC */
	ROW(ec_clear, { BUS, 1, 1, 1 }, WHY(OK), 0, 4),
	ROW(ec_clear_rr, { BUS, 1, 1, 1 }, WHY(OK), 0, 4),
	ROW(ec_set, NO, WHY(ACS_BLOCKED), 0, 4),
	ROW(ec_set_translated, { HOST, 1, 1, 1 }, WHY(ACS_BLOCKED), IOVA, 4),
	ROW(ec_set_unknown, NO, WHY(ACS_BLOCKED), 0, 4),
	ROW(ec_set_rr, { HOST, 1, 1, 1 }, WHY(ACS_REDIRECT), 0, 4),
	ROW(ec_set_other, { BUS, 1, 1, 1 }, WHY(OK), 0, 4),
	ROW(ec_beyond, NO, WHY(ACS_BLOCKED), 0, 4),
	ROW(ec_root_ports, NO, WHY(ACS_BLOCKED), 0, 4),
	/* DT, TB and ATS */
	ROW(dt_ats, { HOST, 1, 1, 1 }, WHY(ATS), DEM, 4),
	ROW(dt_ats_unknown, NO, WHY(ATS), 0, 4),
	ROW(dt_rr, { HOST, 1, 1, 1 }, WHY(ACS_REDIRECT), 0, 4),
	ROW(tb_ats, NO, WHY(ACS_TRANSLATED), 0, 4),
	ROW(tb_no_ats, { BUS, 1, 1, 1 }, WHY(OK), 0, 4),
	/* UF */
	ROW(uf_off, NO, WHY(ACS_UPSTREAM), 0, 4),
	ROW(uf_off_translated, { HOST, 1, 1, 1 }, WHY(ACS_REDIRECT), IOVA, 4),
	ROW(uf_no_acs, NO, WHY(ACS_UPSTREAM), 0, 4),
	/* Quirks */
	ROW(quirk_redirects, NO, WHY(ACS_REDIRECT), 0, 4),
	ROW(quirk_beats_egress, NO, WHY(ACS_REDIRECT), 0, 4),
	ROW(quirk_silent, NO, WHY(ACS_REDIRECT), 0, 4),
};

KUNIT_ARRAY_PARAM(row, rows, row_desc);

static struct kunit_case p2p_topology_acs_cases[] = {
	KUNIT_CASE_PARAM(row_run, row_gen_params),
	{}
};

static struct kunit_suite p2p_topology_acs_suite = {
	.name = "p2p_topology_acs",
	.test_cases = p2p_topology_acs_cases,
};

kunit_test_suite(p2p_topology_acs_suite);
