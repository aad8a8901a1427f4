// SPDX-License-Identifier: GPL-2.0
/*
 * The link verdict: which way a request takes from one PCI function to the
 * memory of another. Looks only at what is in memory (struct pci_dev and what
 * config.c keeps of config space): any context, no config access, no wake-up.
 *
 * The caller holds a reference to both functions; these pin all bridges above.
 */
#include <kunit/static_stub.h>
#include <linux/pci.h>

#include "topology.h"

enum p2p_turn {
	P2P_TURN_DIRECT,
	P2P_TURN_REDIRECT,
	P2P_TURN_BLOCKED,
};

static bool p2p_is_type(struct pci_dev *pdev, int type)
{
	return pci_is_pcie(pdev) && pci_pcie_type(pdev) == type;
}

static bool p2p_is_downstream(struct pci_dev *pdev)
{
	return p2p_is_type(pdev, PCI_EXP_TYPE_ROOT_PORT) ||
	       p2p_is_type(pdev, PCI_EXP_TYPE_DOWNSTREAM);
}

/* Is the bus below this bridge shared, as in conventional PCI? */
static bool p2p_is_shared(struct pci_dev *bridge)
{
	return !pci_is_pcie(bridge) ||
	       pci_pcie_type(bridge) == PCI_EXP_TYPE_PCI_BRIDGE;
}

/*
 * ACS controls that are in force: by the register, or by a quirk that vouches
 * for them. A quirk that does not vouch says nothing. One that vouches for RR
 * leaves nothing for egress control to let pass.
 */
static u16 p2p_acs(struct pci_dev *pdev)
{
	const struct pci_p2p_config *c = &pdev->p2p_config;
	u16 quirk = READ_ONCE(c->acs_quirk), acs = quirk;

	if (pdev->acs_cap)
		acs |= READ_ONCE(c->acs_ctrl) & pdev->acs_capabilities;
	if (quirk & PCI_ACS_RR)
		acs &= ~PCI_ACS_EC;
	return acs;
}

/* A port or function beyond the vector counts as set. */
static bool p2p_egress(struct pci_dev *pdev, unsigned int nr)
{
	const struct pci_p2p_config *c = &pdev->p2p_config;

	if (nr >= c->egress_bits)
		return true;
	return READ_ONCE(c->egress[nr / 32]) & BIT(nr % 32);
}

/*
 * What a port (or a function of a multi-function device) does with a request
 * for its peer number @nr. PCIe, "ACS P2P Request Redirect and ACS P2P Egress
 * Control Interactions": the vector decides if EC is on; a request that it
 * catches is redirected if RR is on, too, and is an ACS violation otherwise.
 */
static enum p2p_turn p2p_turn(struct pci_dev *pdev, unsigned int nr)
{
	u16 acs = p2p_acs(pdev);

	if (acs & PCI_ACS_EC) {
		if (!p2p_egress(pdev, nr))
			return P2P_TURN_DIRECT;
		return acs & PCI_ACS_RR ? P2P_TURN_REDIRECT : P2P_TURN_BLOCKED;
	}
	return acs & PCI_ACS_RR ? P2P_TURN_REDIRECT : P2P_TURN_DIRECT;
}

/* Two functions (or the ports) on one bus: are they one device? */
static bool p2p_same_device(struct pci_dev *a, struct pci_dev *b,
			    struct pci_dev *bridge)
{
	a = pci_physfn(a);
	b = pci_physfn(b);
	if (a->bus != b->bus || p2p_is_downstream(a) || p2p_is_downstream(b))
		return false;
	/* Below a link there is one device, whatever its numbers (ARI). */
	return PCI_SLOT(a->devfn) == PCI_SLOT(b->devfn) ||
	       p2p_is_downstream(bridge);
}

/*
 * Functions without RR in their ACS capability do not reach each other inside
 * of the device, nor do those of which a quirk says that they are isolated.
 */
static bool p2p_function_isolated(struct pci_dev *pdev)
{
	const struct pci_p2p_config *c = &pdev->p2p_config;

	if (READ_ONCE(c->acs_quirk) & PCI_ACS_RR)
		return true;
	return pdev->acs_cap && !(pdev->acs_capabilities & PCI_ACS_RR);
}

static int p2p_depth(struct pci_dev *pdev)
{
	int depth = 0;

	while ((pdev = pci_upstream_bridge(pdev)))
		depth++;
	return depth;
}

/*
 * Find the lowest common bridge, and the ancestors-or-self of both right below
 * it. Without one, these are on a root bus.
 */
static struct pci_dev *p2p_common(struct pci_dev **a, struct pci_dev **b,
				  int *distance)
{
	int da = p2p_depth(*a), db = p2p_depth(*b);
	struct pci_dev *ua, *ub;

	*distance = da + db + 2;	/* up to, and down from, the root buses */
	for (; da > db; da--)
		*a = pci_upstream_bridge(*a);
	for (; db > da; db--)
		*b = pci_upstream_bridge(*b);
	for (;;) {
		if (*a == *b) {		/* one is above the other */
			*distance -= 2 * p2p_depth(*a) + 2;
			return *a;
		}
		ua = pci_upstream_bridge(*a);
		ub = pci_upstream_bridge(*b);
		if (ua == ub)
			break;
		*a = ua;
		*b = ub;
	}
	if (ua)
		*distance -= 2 * p2p_depth(ua) + 2;
	return ua;
}

/* First problem wins: it is the one nearest to the cause. */
static void p2p_say(enum p2p_topo_reason *to, struct p2p_fn *at,
		    enum p2p_topo_reason reason, struct pci_dev *pdev)
{
	if (*to)
		return;
	*to = reason;
	*at = p2p_fn(pdev);
}

/*
 * Does a bridge forward? Bridges are enabled along with the first device below
 * them, so before that an "off" means nothing.
 */
static void p2p_check_bridge(struct pci_dev *bridge, struct pci_dev *end,
			     u16 need, enum p2p_topo_reason *reason,
			     struct p2p_fn *at)
{
	const struct pci_p2p_config *c = &bridge->p2p_config;

	if (!c->valid)
		return;
	if (pci_is_enabled(end) && need & ~READ_ONCE(c->command))
		p2p_say(reason, at, P2P_TOPO_BRIDGE_OFF, bridge);
	if (p2p_is_downstream(bridge) &&
	    READ_ONCE(c->lnkctl) & PCI_EXP_LNKCTL_LD)
		p2p_say(reason, at, P2P_TOPO_LINK, bridge);
}

/* From below up to, not including, @top (NULL: all). */
static void p2p_check_branch(struct pci_dev *end, struct pci_dev *top,
			     u16 need, enum p2p_topo_reason *reason,
			     struct p2p_fn *at)
{
	struct pci_dev *up;

	for (up = pci_upstream_bridge(end); up && up != top;
	     up = pci_upstream_bridge(up))
		p2p_check_bridge(up, end, need, reason, at);
}

/*
 * BARs that lie in the windows of all bridges above their device. By the buses,
 * which the device pins: a bridge that is being removed has lost its own.
 */
static u8 p2p_check_windows(struct pci_dev *owner, struct p2p_fn *at)
{
	struct pci_bus *bus;
	u8 bars = 0;
	int i;

	for (i = 0; i < PCI_STD_NUM_BARS; i++) {
		struct resource *bar = pci_resource_n(owner, i), *res;

		if (!(bar->flags & IORESOURCE_MEM) || !resource_size(bar) ||
		    bar->flags & IORESOURCE_UNSET)
			continue;
		for (bus = pci_physfn(owner)->bus; !pci_is_root_bus(bus);
		     bus = bus->parent) {
			bool in = bus->self->transparent;

			pci_bus_for_each_resource(bus, res)
				in |= res && resource_contains(res, bar);
			if (!in)
				break;
		}
		if (pci_is_root_bus(bus))
			bars |= BIT(i);
		else
			*at = p2p_fn(bus->self);
	}
	return bars;
}

/* Bytes, 0 if it is not known or does not apply. */
static unsigned int p2p_mps(struct pci_dev *pdev)
{
	pdev = pci_physfn(pdev);	/* reserved in VFs */
	if (!pci_is_pcie(pdev) || !pdev->p2p_config.valid)
		return 0;
	return 128 << ((READ_ONCE(pdev->p2p_config.devctl) &
			PCI_EXP_DEVCTL_PAYLOAD) >> 5);
}

/*
 * No switch splits a TLP: what @from sends must fit each receiver. The TLPs of
 * a conventional device come from the bridge above it.
 */
static bool p2p_mps_fits(struct pci_dev *from, struct pci_dev *to,
			 struct pci_dev *top, struct p2p_fn *at)
{
	struct pci_dev *branch[2] = { from, to }, *up;
	unsigned int mps = 0, m;
	int i;

	for (up = from; up && up != top && !mps; up = pci_upstream_bridge(up))
		mps = p2p_mps(up);
	if (!mps)
		return true;
	for (i = 0; i < 2; i++) {
		for (up = branch[i]; up && up != top;
		     up = pci_upstream_bridge(up)) {
			m = p2p_mps(up);
			if (m && m < mps) {
				*at = p2p_fn(up);
				return false;
			}
		}
	}
	return true;
}

/*
 * AtomicOps need routing in each port, no egress blocking in those where they
 * leave a component, and PCIe all the way.
 */
static bool p2p_atomic_port(struct pci_dev *port, bool egress)
{
	const struct pci_p2p_config *c = &port->p2p_config;

	return pci_is_pcie(port) && !p2p_is_shared(port) &&
	       c->devcap2 & PCI_EXP_DEVCAP2_ATOMIC_ROUTE &&
	       !(egress && READ_ONCE(c->devctl2) &
		 PCI_EXP_DEVCTL2_ATOMIC_EGRESS_BLOCK);
}

static bool p2p_atomic(struct pci_dev *owner, struct pci_dev *importer,
		       struct pci_dev *top)
{
	struct pci_dev *up;

	if (!pci_is_pcie(importer) || !pci_is_pcie(owner) ||
	    !(pci_physfn(owner)->p2p_config.devcap2 &
	      (PCI_EXP_DEVCAP2_ATOMIC_COMP32 | PCI_EXP_DEVCAP2_ATOMIC_COMP64)))
		return false;
	for (up = pci_upstream_bridge(importer); up && up != top;
	     up = pci_upstream_bridge(up))
		if (!p2p_atomic_port(up, p2p_is_type(up, PCI_EXP_TYPE_UPSTREAM)))
			return false;
	for (up = pci_upstream_bridge(owner); up && up != top;
	     up = pci_upstream_bridge(up))
		if (!p2p_atomic_port(up, p2p_is_downstream(up)))
			return false;
	return !top || !p2p_is_type(top, PCI_EXP_TYPE_UPSTREAM) ||
	       p2p_atomic_port(top, false);
}

/*
 * Does what was sent up come down again? A port forwards a TLP for its own
 * secondary side only with ACS Upstream Forwarding, if at all.
 */
static struct pci_dev *p2p_no_forward(struct pci_dev *common)
{
	struct pci_dev *up;

	for (up = common; up; up = pci_upstream_bridge(up))
		if (p2p_is_downstream(up) && !(p2p_acs(up) & PCI_ACS_UF))
			return up;
	return NULL;
}

/**
 * p2p_host_bridge_known - do the host bridges of two functions forward?
 * @a: a function on, or below, a root bus
 * @b: another
 *
 * Return: true if the hardware is known to forward between them.
 */
bool p2p_host_bridge_known(struct pci_dev *a, struct pci_dev *b)
{
	struct pci_host_bridge *host_a, *host_b;

	KUNIT_STATIC_STUB_REDIRECT(p2p_host_bridge_known, a, b);
	if (p2pdma_cpu_listed())
		return true;
	host_a = pci_find_host_bridge(a->bus);
	host_b = pci_find_host_bridge(b->bus);
	if (host_a == host_b)
		return p2pdma_host_bridge_listed(host_a, true);
	return p2pdma_host_bridge_listed(host_a, false) &&
	       p2pdma_host_bridge_listed(host_b, false);
}

/* Whose requests are on the bus outside: of a device behind a VMD, the VMD's. */
struct pci_dev *p2p_requester(struct pci_dev *pdev)
{
	KUNIT_STATIC_STUB_REDIRECT(p2p_requester, pdev);
	return pci_real_dma_dev(pdev);
}

static struct p2p_host p2p_host(struct pci_dev *pdev)
{
	struct pci_host_bridge *host = pci_find_host_bridge(pdev->bus);
	struct pci_dev *dev = p2pdma_host_bridge_dev(host);
	struct pci_bus *root = pdev->bus;

	while (!pci_is_root_bus(root))
		root = root->parent;
	return (struct p2p_host) {
		.domain = pci_domain_nr(root),
		.bus = root->number,
		.vendor = dev ? dev->vendor : 0,
		.device = dev ? dev->device : 0,
	};
}

/* The way up, through the host bridge, and down. */
static void p2p_check_host(struct pci_dev *owner, struct pci_dev *importer,
			   struct pci_dev *common, struct p2p_link *l)
{
	struct pci_dev *real_owner = p2p_requester(owner);
	struct pci_dev *real_importer = p2p_requester(importer);
	bool vmd = real_owner != owner || real_importer != importer;
	struct pci_dev *stuck;

	l->v.host[0] = p2p_host(real_owner);
	l->v.host[1] = p2p_host(real_importer);
	l->policy = p2p_policy_ask(owner, importer, l->v.host, false);

	p2p_check_branch(importer, NULL, PCI_COMMAND_MASTER, &l->no_host,
			 &l->no_host_at);
	p2p_check_branch(owner, NULL, PCI_COMMAND_MEMORY, &l->no_host,
			 &l->no_host_at);
	if (!l->no_host) {
		/* The ids of the ports behind a VMD say nothing about it. */
		bool known = !vmd && p2p_host_bridge_known(owner, importer);

		if (known)
			l->policy &= ~P2P_VERDICT_ALLOWED;
		else if (!(l->policy & P2P_VERDICT_ALLOWED))
			l->no_host = vmd ? P2P_TOPO_VMD : P2P_TOPO_HOST_BRIDGE;
		if (l->no_host == P2P_TOPO_VMD)
			l->no_host_at = p2p_fn(real_owner != owner ?
					       real_owner : real_importer);
	}
	l->host = !l->no_host;
	l->atomic_host = p2p_atomic(owner, importer, NULL);

	if (l->up == P2P_TOPO_ACS_BLOCKED) {
		l->why_iova = P2P_TOPO_ACS_BLOCKED;
		l->iova_at = l->up_at;
	} else if (common && !l->direct) {
		stuck = p2p_no_forward(common);
		if (stuck)
			p2p_say(&l->why_iova, &l->iova_at,
				P2P_TOPO_ACS_UPSTREAM, stuck);
	}
	if (importer->untrusted)
		p2p_say(&l->why_iova, &l->iova_at, P2P_TOPO_UNTRUSTED,
			importer);
	l->iova_only = l->why_iova;
}

/* Where both branches meet below a bridge. */
static void p2p_check_turn(struct pci_dev *to, struct pci_dev *from,
			   struct pci_dev *common, struct p2p_link *l,
			   bool *completions_up)
{
	enum p2p_turn turn;
	unsigned int nr;

	l->v.common = p2p_fn(common);
	l->v.turn = p2p_fn(from);
	if (p2p_is_shared(common)) {
		l->direct = true;
		return;
	}
	if (p2p_same_device(to, from, common)) {
		struct pci_dev *fn[4] = { from, to, pci_physfn(from),
					  pci_physfn(to) };
		int i;

		for (i = 0; i < 4; i++)
			if (p2p_function_isolated(fn[i]))
				p2p_say(&l->up, &l->up_at, P2P_TOPO_FUNCTIONS,
					fn[i]);
		if (l->up)
			return;
		if (!from->acs_cap || !to->acs_cap)
			l->v.flags |= P2P_VERDICT_ASSUMED;
		nr = common->ari_enabled ? to->devfn : PCI_FUNC(to->devfn);
	} else {
		nr = to->p2p_config.port;
	}

	turn = p2p_turn(from, nr);
	if (turn == P2P_TURN_DIRECT && from->is_virtfn)
		turn = p2p_turn(pci_physfn(from), nr);
	switch (turn) {
	case P2P_TURN_REDIRECT:
		p2p_say(&l->up, &l->up_at, P2P_TOPO_ACS_REDIRECT, from);
		break;
	case P2P_TURN_BLOCKED:
		p2p_say(&l->up, &l->up_at, P2P_TOPO_ACS_BLOCKED, from);
		break;
	case P2P_TURN_DIRECT:
		l->direct = true;
		break;
	}
	*completions_up = (p2p_acs(to) | p2p_acs(pci_physfn(to))) & PCI_ACS_CR;
}

/* What the direct path is good for. Comes after p2p_check_host(). */
static void p2p_check_direct(struct pci_dev *owner, struct pci_dev *importer,
			     struct pci_dev *common, struct pci_dev *to,
			     struct pci_dev *from, bool completions_up,
			     struct p2p_link *l)
{
	l->direct_read = true;
	l->direct_write = true;
	l->atomic_direct = p2p_atomic(owner, importer, common);
	if (!(owner == to && importer == from &&
	      p2p_same_device(to, from, common))) {
		if (!p2p_mps_fits(importer, owner, common, &l->limit_at)) {
			l->direct_write = false;
			l->limit = P2P_TOPO_MPS;
		}
		if (!p2p_mps_fits(owner, importer, common, &l->limit_at)) {
			l->direct_read = false;
			l->limit = P2P_TOPO_MPS;
		}
	}
	if (completions_up && (!l->host || p2p_no_forward(common))) {
		l->direct_read = false;
		p2p_say(&l->limit, &l->limit_at, P2P_TOPO_ACS_COMPLETION, to);
	}
	l->atomic_direct &= l->direct_read && l->direct_write;
}

/**
 * p2p_link_compute - find out what the fabric between two functions can do
 * @owner: whose BARs are the memory
 * @importer: who sends requests
 * @l: the result
 *
 * Context: any. A reference to both is held.
 */
void p2p_link_compute(struct pci_dev *owner, struct pci_dev *importer,
		      struct p2p_link *l)
{
	struct pci_dev *to = owner, *from = importer, *common, *up;
	bool completions_up = false;

	*l = (struct p2p_link) {};
	if (owner == importer) {
		l->v.host[0] = p2p_host(p2p_requester(owner));
		l->v.host[1] = l->v.host[0];
		l->policy = p2p_policy_ask(owner, importer, l->v.host, false);
		l->bars = GENMASK(PCI_STD_NUM_BARS - 1, 0);
		return;
	}

	common = p2p_common(&to, &from, &l->v.distance);
	if (pci_is_bridge(owner))
		p2p_say(&l->dead, &l->dead_at, P2P_TOPO_PORT, owner);
	else if (pci_is_bridge(importer))
		p2p_say(&l->dead, &l->dead_at, P2P_TOPO_PORT, importer);
	if (l->dead) {
		l->v.host[0] = p2p_host(owner);
		l->v.host[1] = p2p_host(importer);
		return;
	}

	l->bars = p2p_check_windows(owner, &l->window_at);
	for (up = pci_upstream_bridge(importer); up;
	     up = pci_upstream_bridge(up))
		if (p2p_is_downstream(up) && p2p_acs(up) & PCI_ACS_TB) {
			l->tb = true;
			l->tb_at = p2p_fn(up);
		}

	if (common) {
		p2p_check_turn(to, from, common, l, &completions_up);
		p2p_check_branch(importer, common, PCI_COMMAND_MASTER,
				 &l->dead, &l->dead_at);
		p2p_check_branch(owner, common, PCI_COMMAND_MEMORY, &l->dead,
				 &l->dead_at);
	} else {
		if (from->bus == to->bus && from != importer &&
		    p2p_turn(from, to->p2p_config.port) == P2P_TURN_BLOCKED)
			p2p_say(&l->up, &l->up_at, P2P_TOPO_ACS_BLOCKED, from);
		l->v.turn = p2p_fn(from);
	}
	p2p_check_host(owner, importer, common, l);
	if (l->direct)
		p2p_check_direct(owner, importer, common, to, from,
				 completions_up, l);
}
