// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the link verdict: the decision table but for ACS, reasons,
 * windows. Rules 8 and up of Documentation/driver-api/pci/p2p-topology.rst.
 */
#include "p2p_rows.h"

static void self(struct fabric *f, struct row_pair *p)
{
	p->owner = fabric_dev(f, fabric_host(f, 0, 0), 8, EP);
	p->importer = p->owner;
}

static void functions(struct fabric *f, struct row_pair *p)
{
	p->sw.root = fabric_port(f, fabric_host(f, 0, 0), 8,
				 PCI_EXP_TYPE_ROOT_PORT);
	fabric_acs(p->sw.root, ACS_ALL, UF);
	p->importer = fabric_dev(f, p->sw.root->subordinate, 0, EP);
	p->owner = fabric_dev(f, p->sw.root->subordinate, 1, EP);
	p->importer->multifunction = 1;
	p->owner->multifunction = 1;
}

static void functions_acs(struct fabric *f, struct row_pair *p)
{
	functions(f, p);
	fabric_acs(p->importer, RR | CR | EC, 0);
	fabric_acs(p->owner, RR | CR | EC, 0);
}

static void functions_root_rr(struct fabric *f, struct row_pair *p)
{
	functions_acs(f, p);
	ctrl(p->sw.root, RR | CR | UF);
}

static void functions_rr(struct fabric *f, struct row_pair *p)
{
	functions_acs(f, p);
	ctrl(p->importer, RR);
	p->culprit = p->importer;
}

static void functions_ec(struct fabric *f, struct row_pair *p)
{
	functions_acs(f, p);
	ctrl(p->importer, EC);
	p->importer->p2p_config.egress[0] = BIT(1);
	p->culprit = p->importer;
	f->known = true;
}

static void functions_ec_other(struct fabric *f, struct row_pair *p)
{
	functions_ec(f, p);
	p->importer->p2p_config.egress[0] = BIT(0) | BIT(2);
	p->culprit = NULL;
}

static void functions_no_rr(struct fabric *f, struct row_pair *p)
{
	functions(f, p);
	fabric_acs(p->importer, PCI_ACS_DT, 0);
	fabric_acs(p->owner, PCI_ACS_DT, 0);
	p->culprit = p->importer;
	f->known = true;
}

static void functions_quirk(struct fabric *f, struct row_pair *p)
{
	functions(f, p);
	p->importer->p2p_config.acs_quirk = RR | CR | UF;
	p->culprit = p->importer;
}

static void functions_mps(struct fabric *f, struct row_pair *p)
{
	functions_acs(f, p);
	p->importer->p2p_config.devctl = PCI_EXP_DEVCTL_PAYLOAD_512B;
}

/* Downstream ports that share a slot are ports, not functions. */
static void functions_of_ports(struct fabric *f, struct row_pair *p)
{
	one_switch(f, p);
	p->sw.down[0]->devfn = PCI_DEVFN(0, 0);
	p->sw.down[1]->devfn = PCI_DEVFN(0, 1);
	p->sw.down[0]->acs_capabilities &= ~RR;
}

static void vf_pf(struct fabric *f, struct row_pair *p)
{
	functions_acs(f, p);
	p->importer->is_virtfn = 1;
	p->importer->physfn = p->owner;
	p->importer->devfn = PCI_DEVFN(16, 0);
	p->owner->is_physfn = 1;
}

/* VFs beyond the numbers of a bus are on another, which no bridge leads to. */
static void vf_far(struct fabric *f, struct row_pair *p)
{
	vf_pf(f, p);
	p->importer->bus = fabric_virtual_bus(f, p->owner->bus);
	fabric_acs(p->importer, PCI_ACS_DT, 0);
	p->culprit = p->importer;
	f->known = true;
}

static void vf_pf_rr(struct fabric *f, struct row_pair *p)
{
	vf_pf(f, p);
	ctrl(p->owner, RR);
	p->culprit = p->importer;
}

static void vf_of_other(struct fabric *f, struct row_pair *p)
{
	struct pci_dev *pf;

	one_switch(f, p);
	pf = p->importer;
	p->importer = fabric_dev(f, pf->bus, PCI_DEVFN(16, 0), EP);
	p->importer->is_virtfn = 1;
	p->importer->physfn = pf;
	p->importer->p2p_config.devctl = PCI_EXP_DEVCTL_PAYLOAD_512B;
}

static void mps_importer(struct fabric *f, struct row_pair *p)
{
	one_switch(f, p);
	p->importer->p2p_config.devctl = PCI_EXP_DEVCTL_PAYLOAD_256B;
	p->culprit = p->sw.down[0];
}

static void mps_owner(struct fabric *f, struct row_pair *p)
{
	one_switch(f, p);
	p->owner->p2p_config.devctl = PCI_EXP_DEVCTL_PAYLOAD_256B;
	p->culprit = p->sw.down[1];
}

static void mps_port(struct fabric *f, struct row_pair *p)
{
	one_switch(f, p);
	p->owner->p2p_config.devctl = PCI_EXP_DEVCTL_PAYLOAD_256B;
	p->importer->p2p_config.devctl = PCI_EXP_DEVCTL_PAYLOAD_256B;
	p->sw.down[0]->p2p_config.devctl = PCI_EXP_DEVCTL_PAYLOAD_256B;
	p->culprit = p->sw.down[1];
}

static void mps_equal(struct fabric *f, struct row_pair *p)
{
	mps_port(f, p);
	p->sw.down[1]->p2p_config.devctl = PCI_EXP_DEVCTL_PAYLOAD_256B;
	p->culprit = NULL;
}

static void mps_by_iova(struct fabric *f, struct row_pair *p)
{
	mps_importer(f, p);
	f->known = true;
	p->state.translated = true;
}

static void mps_host(struct fabric *f, struct row_pair *p)
{
	mps_importer(f, p);
	f->known = true;
	ctrl(p->sw.down[0], RR);
}

static void atomic_no_route(struct fabric *f, struct row_pair *p)
{
	one_switch(f, p);
	p->sw.up->p2p_config.devcap2 = 0;
}

static void atomic_blocked(struct fabric *f, struct row_pair *p)
{
	one_switch(f, p);
	p->sw.down[1]->p2p_config.devctl2 = PCI_EXP_DEVCTL2_ATOMIC_EGRESS_BLOCK;
}

static void atomic_ingress(struct fabric *f, struct row_pair *p)
{
	one_switch(f, p);
	p->sw.down[0]->p2p_config.devctl2 = PCI_EXP_DEVCTL2_ATOMIC_EGRESS_BLOCK;
}

/* Out of the inner switch by its upstream port */
static void atomic_up(struct fabric *f, struct row_pair *p)
{
	rr_deeper(f, p);
	pci_upstream_bridge(pci_upstream_bridge(p->importer))
		->p2p_config.devctl2 = PCI_EXP_DEVCTL2_ATOMIC_EGRESS_BLOCK;
}

static void atomic_no_completer(struct fabric *f, struct row_pair *p)
{
	one_switch(f, p);
	p->owner->p2p_config.devcap2 = PCI_EXP_DEVCAP2_ATOMIC_ROUTE;
}

static void root_ports(struct fabric *f, struct row_pair *p)
{
	struct pci_bus *bus = fabric_host(f, 0, 0);

	p->sw.root = fabric_port(f, bus, 8, PCI_EXP_TYPE_ROOT_PORT);
	p->sw.up = fabric_port(f, bus, 16, PCI_EXP_TYPE_ROOT_PORT);
	p->importer = fabric_dev(f, p->sw.root->subordinate, 0, EP);
	p->owner = fabric_dev(f, p->sw.up->subordinate, 0, EP);
}

static void root_ports_known(struct fabric *f, struct row_pair *p)
{
	root_ports(f, p);
	f->known = true;
}

static void two_hosts(struct fabric *f, struct row_pair *p)
{
	root_ports(f, p);
	p->owner = fabric_dev(f, fabric_port(f, fabric_host(f, 0, 0x40), 8,
					     PCI_EXP_TYPE_ROOT_PORT)->subordinate,
			      0, EP);
}

static void two_hosts_known(struct fabric *f, struct row_pair *p)
{
	two_hosts(f, p);
	f->known = true;
}

static void rciep(struct fabric *f, struct row_pair *p)
{
	struct pci_bus *bus = fabric_host(f, 0, 0);

	p->importer = fabric_dev(f, bus, PCI_DEVFN(2, 0), PCI_EXP_TYPE_RC_END);
	p->owner = fabric_dev(f, bus, PCI_DEVFN(2, 1), PCI_EXP_TYPE_RC_END);
}

static void rciep_known(struct fabric *f, struct row_pair *p)
{
	rciep(f, p);
	f->known = true;
}

static void shared_bus(struct fabric *f, struct row_pair *p)
{
	struct pci_dev *bridge;

	p->sw.root = fabric_port(f, fabric_host(f, 0, 0), 8,
				 PCI_EXP_TYPE_ROOT_PORT);
	fabric_acs(p->sw.root, ACS_ALL, RR | CR | UF);
	bridge = fabric_port(f, p->sw.root->subordinate, 0,
			     PCI_EXP_TYPE_PCI_BRIDGE);
	p->importer = fabric_conventional(f, bridge->subordinate, 8);
	p->owner = fabric_conventional(f, bridge->subordinate, 16);
}

/* The bus is shared whatever a quirk says of its devices. */
static void shared_quirk(struct fabric *f, struct row_pair *p)
{
	shared_bus(f, p);
	p->importer->p2p_config.acs_quirk = RR | CR | UF;
}

static void below_pci_bridge(struct fabric *f, struct row_pair *p)
{
	struct pci_dev *bridge;

	one_switch(f, p);
	bridge = fabric_port(f, p->sw.down[2]->subordinate, 0,
			     PCI_EXP_TYPE_PCI_BRIDGE);
	p->importer = fabric_conventional(f, bridge->subordinate, 8);
}

static void below_pci_bridge_rr(struct fabric *f, struct row_pair *p)
{
	below_pci_bridge(f, p);
	ctrl(p->sw.down[2], RR);
	p->culprit = p->sw.down[2];
}

static void vmd(struct fabric *f, struct row_pair *p)
{
	root_ports_known(f, p);
	f->vmd = fabric_dev(f, p->sw.root->bus, PCI_DEVFN(5, 0), EP);
	f->vmd_root = fabric_host(f, 0x10000, 0);
	p->importer = fabric_dev(f, fabric_port(f, f->vmd_root, 8,
						PCI_EXP_TYPE_ROOT_PORT)->subordinate,
				 0, EP);
	p->culprit = f->vmd;
}

static void vmd_owner(struct fabric *f, struct row_pair *p)
{
	vmd(f, p);
	swap(p->owner, p->importer);
}

static void vmd_switch(struct fabric *f, struct row_pair *p)
{
	f->vmd = fabric_dev(f, fabric_host(f, 0, 0), PCI_DEVFN(5, 0), EP);
	f->vmd_root = fabric_host(f, 0x10000, 0);
	fabric_switch(f, f->vmd_root, 8, 2, &p->sw);
	p->importer = fabric_dev(f, p->sw.down[0]->subordinate, 0, EP);
	p->owner = fabric_dev(f, p->sw.down[1]->subordinate, 0, EP);
}

static void untrusted(struct fabric *f, struct row_pair *p)
{
	one_switch_known(f, p);
	p->importer->untrusted = 1;
	p->culprit = p->importer;
}

static void untrusted_translated(struct fabric *f, struct row_pair *p)
{
	untrusted(f, p);
	p->state.translated = true;
}

static void untrusted_unknown(struct fabric *f, struct row_pair *p)
{
	untrusted_translated(f, p);
	f->known = false;
}

static void untrusted_host(struct fabric *f, struct row_pair *p)
{
	root_ports_known(f, p);
	p->importer->untrusted = 1;
	p->culprit = p->importer;
}

static void port_bar(struct fabric *f, struct row_pair *p)
{
	one_switch(f, p);
	p->owner = p->sw.down[1];
	p->culprit = p->owner;
}

static void port_imports(struct fabric *f, struct row_pair *p)
{
	one_switch(f, p);
	p->importer = p->sw.down[0];
	p->culprit = p->importer;
}

static void port_above(struct fabric *f, struct row_pair *p)
{
	one_switch(f, p);
	p->owner = p->sw.up;
	p->culprit = p->owner;
}

/* A function of the upstream port's device, such as a switch's DMA engine. */
static void beside_up(struct fabric *f, struct row_pair *p)
{
	one_switch(f, p);
	p->importer = fabric_dev(f, p->sw.up->bus, 1, EP);
	p->owner = fabric_dev(f, p->sw.down[2]->subordinate, 0, EP);
}

static void bridge_master_off(struct fabric *f, struct row_pair *p)
{
	one_switch(f, p);
	p->sw.down[0]->p2p_config.command = PCI_COMMAND_MEMORY;
	p->culprit = p->sw.down[0];
}

static void bridge_memory_off(struct fabric *f, struct row_pair *p)
{
	one_switch(f, p);
	p->sw.down[1]->p2p_config.command = PCI_COMMAND_MASTER;
	p->culprit = p->sw.down[1];
}

static void bridge_off_not_needed(struct fabric *f, struct row_pair *p)
{
	one_switch(f, p);
	p->sw.down[1]->p2p_config.command = PCI_COMMAND_MEMORY;
	p->sw.down[0]->p2p_config.command = PCI_COMMAND_MASTER;
	p->sw.root->p2p_config.command = 0;
}

static void bridge_off_no_driver(struct fabric *f, struct row_pair *p)
{
	bridge_master_off(f, p);
	atomic_set(&p->importer->enable_cnt, 0);
	p->culprit = NULL;
}

static void bridge_off_host(struct fabric *f, struct row_pair *p)
{
	rr_importer_known(f, p);
	p->sw.root->p2p_config.command = PCI_COMMAND_MASTER;
	p->culprit = p->sw.root;
}

static void link_off(struct fabric *f, struct row_pair *p)
{
	one_switch(f, p);
	p->sw.down[1]->p2p_config.lnkctl = PCI_EXP_LNKCTL_LD;
	p->culprit = p->sw.down[1];
}

static void guest(struct fabric *f, struct row_pair *p)
{
	one_switch(f, p);
	p->state.guest = true;
}

static void guest_translated(struct fabric *f, struct row_pair *p)
{
	guest(f, p);
	p->state.translated = true;
}

static void guest_translated_known(struct fabric *f, struct row_pair *p)
{
	guest_translated(f, p);
	f->known = true;
}

static void guest_refused(struct fabric *f, struct row_pair *p)
{
	guest(f, p);
	p->state.guest_refuse = true;
}

static void metal_refused(struct fabric *f, struct row_pair *p)
{
	one_switch(f, p);
	p->state.guest_refuse = true;
}

static void metal_translated(struct fabric *f, struct row_pair *p)
{
	one_switch_known(f, p);
	p->state.translated = true;
}

static void confidential(struct fabric *f, struct row_pair *p)
{
	guest(f, p);
	p->state.confidential = true;
}

static const struct row rows[] = {
	ROW(self, { BUS, 1, 1, 1 }, WHY(OK), 0, 0),
	/* Multi-function devices */
	ROW(functions, { BUS, 1, 1, 1 }, WHY(OK), ASSUME, 2),
	ROW(functions_acs, { BUS, 1, 1, 1 }, WHY(OK), 0, 2),
	ROW(functions_root_rr, { BUS, 1, 1, 1 }, WHY(OK), 0, 2),
	ROW(functions_rr, NO, WHY(ACS_REDIRECT), 0, 2),
	ROW(functions_ec, NO, WHY(ACS_BLOCKED), 0, 2),
	ROW(functions_ec_other, { BUS, 1, 1, 1 }, WHY(OK), 0, 2),
	ROW(functions_no_rr, { HOST, 1, 1, 1 }, WHY(FUNCTIONS), 0, 2),
	ROW(functions_quirk, NO, WHY(FUNCTIONS), 0, 2),
	ROW(functions_mps, { BUS, 1, 1, 1 }, WHY(OK), 0, 2),
	ROW(functions_of_ports, { BUS, 1, 1, 1 }, WHY(OK), 0, 4),
	/* SR-IOV */
	ROW(vf_pf, { BUS, 1, 1, 1 }, WHY(OK), 0, 2),
	ROW(vf_far, { HOST, 1, 1, 1 }, WHY(FUNCTIONS), 0, 2),
	ROW(vf_pf_rr, NO, WHY(ACS_REDIRECT), 0, 2),
	ROW(vf_of_other, { BUS, 1, 1, 1 }, WHY(OK), 0, 4),
	/* Payload size */
	ROW(mps_importer, { BUS, 1, 0, 0 }, WHY(MPS), 0, 4),
	ROW(mps_owner, { BUS, 0, 1, 0 }, WHY(MPS), 0, 4),
	ROW(mps_port, NO, WHY(MPS), 0, 4),
	ROW(mps_equal, { BUS, 1, 1, 1 }, WHY(OK), 0, 4),
	ROW(mps_by_iova, { HOST, 1, 1, 1 }, WHY(MPS), DEM, 4),
	ROW(mps_host, { HOST, 1, 1, 1 }, WHY(ACS_REDIRECT), 0, 4),
	/* AtomicOps */
	ROW(atomic_no_route, { BUS, 1, 1, 0 }, WHY(OK), 0, 4),
	ROW(atomic_blocked, { BUS, 1, 1, 0 }, WHY(OK), 0, 4),
	ROW(atomic_ingress, { BUS, 1, 1, 1 }, WHY(OK), 0, 4),
	ROW(atomic_up, { BUS, 1, 1, 0 }, WHY(OK), 0, 6),
	ROW(atomic_no_completer, { BUS, 1, 1, 0 }, WHY(OK), 0, 4),
	/* Host bridges */
	ROW(root_ports, NO, WHY(HOST_BRIDGE), 0, 4),
	ROW(root_ports_known, { HOST, 1, 1, 1 }, WHY(OK), 0, 4),
	ROW(two_hosts, NO, WHY(HOST_BRIDGE), 0, 4),
	ROW(two_hosts_known, { HOST, 1, 1, 1 }, WHY(OK), 0, 4),
	ROW(rciep, NO, WHY(HOST_BRIDGE), 0, 2),
	ROW(rciep_known, { HOST, 1, 1, 1 }, WHY(OK), 0, 2),
	ROW(vmd, NO, WHY(VMD), 0, 4),
	ROW(vmd_owner, NO, WHY(VMD), 0, 4),
	ROW(vmd_switch, { BUS, 1, 1, 1 }, WHY(OK), 0, 4),
	/* Conventional PCI */
	ROW(shared_bus, { BUS, 1, 1, 0 }, WHY(OK), 0, 2),
	ROW(shared_quirk, { BUS, 1, 1, 0 }, WHY(OK), 0, 2),
	ROW(below_pci_bridge, { BUS, 1, 1, 0 }, WHY(OK), 0, 5),
	ROW(below_pci_bridge_rr, NO, WHY(ACS_REDIRECT), 0, 5),
	/* Trust */
	ROW(untrusted, NO, WHY(UNTRUSTED), 0, 4),
	ROW(untrusted_translated, { HOST, 1, 1, 1 }, WHY(UNTRUSTED), DEM, 4),
	ROW(untrusted_unknown, NO, WHY(UNTRUSTED), 0, 4),
	ROW(untrusted_host, NO, WHY(UNTRUSTED), 0, 4),
	/* Ports */
	ROW(port_bar, NO, WHY(PORT), 0, 3),
	ROW(port_imports, NO, WHY(PORT), 0, 3),
	ROW(port_above, NO, WHY(PORT), 0, 2),
	ROW(beside_up, { BUS, 1, 1, 1 }, WHY(OK), ASSUME, 4),
	/* Switched off */
	ROW(bridge_master_off, NO, WHY(BRIDGE_OFF), 0, 4),
	ROW(bridge_memory_off, NO, WHY(BRIDGE_OFF), 0, 4),
	ROW(bridge_off_not_needed, { BUS, 1, 1, 1 }, WHY(OK), 0, 4),
	ROW(bridge_off_no_driver, { BUS, 1, 1, 1 }, WHY(OK), 0, 4),
	ROW(bridge_off_host, NO, WHY(BRIDGE_OFF), 0, 4),
	ROW(link_off, NO, WHY(LINK), 0, 4),
	/* Guests */
	ROW(guest, { BUS, 1, 1, 1 }, WHY(OK), GUEST, 4),
	ROW(guest_translated, NO, WHY(GUEST), GUEST, 4),
	ROW(guest_translated_known, { HOST, 1, 1, 1 }, WHY(GUEST), GUEST | DEM, 4),
	ROW(guest_refused, NO, WHY(GUEST_POLICY), GUEST, 4),
	ROW(metal_refused, { BUS, 1, 1, 1 }, WHY(OK), 0, 4),
	ROW(metal_translated, { BUS, 1, 1, 1 }, WHY(OK), 0, 4),
	ROW(confidential, NO, WHY(CONFIDENTIAL), GUEST, 4),
};

KUNIT_ARRAY_PARAM(row, rows, row_desc);

/* Each reason has a name of its own, an errno and advice; ACS tells the price. */
static void topology_reasons(struct kunit *test)
{
	int i, j;

	for (i = P2P_TOPO_OK + 1; i < P2P_TOPO_NR_REASONS; i++) {
		const char *name = p2p_topology_reason_name(i);
		const char *advice = p2p_topology_advice(i);

		KUNIT_ASSERT_NOT_NULL(test, name);
		KUNIT_ASSERT_NOT_NULL(test, advice);
		KUNIT_EXPECT_LT(test, p2p_topology_errno(i), 0);
		KUNIT_EXPECT_GT(test, strlen(advice), 10);
		if (strstr(advice, "disable_acs_redir"))
			KUNIT_EXPECT_NOT_NULL(test, strstr(advice, "isolation"));
		for (j = 0; j < i; j++)
			KUNIT_EXPECT_STRNEQ(test, name,
					    p2p_topology_reason_name(j));
	}
	KUNIT_EXPECT_EQ(test, 0, p2p_topology_errno(P2P_TOPO_OK));
	KUNIT_EXPECT_EQ(test, -EINVAL, p2p_topology_errno(P2P_TOPO_NR_REASONS));
}

/* A BAR outside of a window of any bridge above is not reachable. */
static void topology_windows(struct kunit *test)
{
	struct fabric *f = fabric_create(test, 64);
	struct resource small;
	struct p2p_link link;
	struct row_pair p = {};

	one_switch(f, &p);
	p.owner->resource[2] =
		DEFINE_RES_MEM(f->mem.start + SZ_1G, SZ_64K);
	p.owner->resource[3] =
		DEFINE_RES_MEM(f->mem.start + SZ_2G, SZ_64K);
	p.owner->resource[3].flags |= IORESOURCE_UNSET;
	p.owner->resource[4] = DEFINE_RES_IO(0x1000, 16);
	p2p_link_compute(p.owner, p.importer, &link);
	KUNIT_EXPECT_EQ(test, BIT(0) | BIT(2), link.bars);

	small = DEFINE_RES_MEM(f->mem.start, SZ_512M);
	p.sw.down[1]->subordinate->resource[0] = &small;
	p2p_link_compute(p.owner, p.importer, &link);
	KUNIT_EXPECT_EQ(test, BIT(0), link.bars);
	KUNIT_EXPECT_EQ(test, pci_dev_id(p.sw.down[1]), link.window_at.rid);

	/* Without a bridge above, an address is all that it takes. */
	rciep(f, &p);
	p.owner->resource[1].flags = IORESOURCE_MEM | IORESOURCE_UNSET;
	p.owner->resource[1].end = SZ_64K - 1;
	p2p_link_compute(p.owner, p.importer, &link);
	KUNIT_EXPECT_EQ(test, BIT(0), link.bars);
}

static void topology_transparent(struct kunit *test)
{
	struct fabric *f = fabric_create(test, 64);
	struct resource small;
	struct p2p_link link;
	struct row_pair p = {};

	one_switch(f, &p);
	small = DEFINE_RES_MEM(f->mem.start, SZ_64K);
	p.sw.down[1]->subordinate->resource[0] = &small;
	p2p_link_compute(p.owner, p.importer, &link);
	KUNIT_EXPECT_EQ(test, 0, link.bars);

	/* Subtractive decoding passes on all that nobody else wants. */
	p.sw.down[1]->transparent = 1;
	p2p_link_compute(p.owner, p.importer, &link);
	KUNIT_EXPECT_EQ(test, BIT(0), link.bars);
}

/* Which host bridges forward says a list; some only inside of one of them. */
static void topology_host_bridges(struct kunit *test)
{
	static const struct {
		u16 a, b;
		bool same, other;
	} rows[] = {
		{ 0x3c00, 0x3c00, true, false },	/* Xeon E5 */
		{ 0x2030, 0x2030, true, true },		/* Skylake-E */
		{ 0x2030, 0x3c00, true, false },
		{ 0x2030, 0x29c0, true, false },	/* not listed: Q35 */
		{ 0x29c0, 0x2030, false, false },
	};
	struct fabric *f = fabric_create(test, 16);
	struct pci_dev *root[2], *dev[3];
	struct pci_bus *bus[2];
	int i;

	if (p2pdma_cpu_listed())
		kunit_skip(test, "needs a processor that is not listed");
	kunit_deactivate_static_stub(test, p2p_host_bridge_known);
	for (i = 0; i < 2; i++) {
		bus[i] = fabric_host(f, 0, i * 0x40);
		root[i] = fabric_dev(f, bus[i], 0, EP);
		root[i]->vendor = PCI_VENDOR_ID_INTEL;
	}
	for (i = 0; i < 3; i++)
		dev[i] = fabric_dev(f, bus[i / 2], 8 + i, EP);
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		root[0]->device = rows[i].a;
		root[1]->device = rows[i].b;
		KUNIT_EXPECT_EQ_MSG(test, rows[i].same,
				    p2p_host_bridge_known(dev[0], dev[1]),
				    "row %d", i);
		KUNIT_EXPECT_EQ_MSG(test, rows[i].other,
				    p2p_host_bridge_known(dev[0], dev[2]),
				    "row %d", i);
		KUNIT_EXPECT_EQ_MSG(test, rows[i].other,
				    p2p_host_bridge_known(dev[2], dev[0]),
				    "row %d", i);
	}
	/* The bus is gone. */
	f->host[0]->bus = NULL;
	KUNIT_EXPECT_FALSE(test, p2p_host_bridge_known(dev[0], dev[1]));
	f->host[0]->bus = bus[0];
}

static struct kunit_case p2p_topology_cases[] = {
	KUNIT_CASE_PARAM(row_run, row_gen_params),
	KUNIT_CASE(topology_reasons),
	KUNIT_CASE(topology_windows),
	KUNIT_CASE(topology_transparent),
	KUNIT_CASE(topology_host_bridges),
	{}
};

static struct kunit_suite p2p_topology_suite = {
	.name = "p2p_topology",
	.test_cases = p2p_topology_cases,
};

kunit_test_suite(p2p_topology_suite);
