// SPDX-License-Identifier: GPL-2.0
/*
 * Random PCI fabrics, and an oracle: it follows a packet hop by hop, where the
 * code compares ancestors.
 */
#include "p2p_world.h"

u32 world_rnd(struct world *w, u32 n)
{
	w->rnd = w->rnd * 6364136223846793005ULL + 1442695040888963407ULL;
	return (w->rnd >> 33) % n;
}

/* Making worlds */

static struct node *add(struct world *w, struct node *above, int host,
			enum kind kind, int slot, int fn)
{
	static const int type[] = {
		[RP] = PCI_EXP_TYPE_ROOT_PORT, [USP] = PCI_EXP_TYPE_UPSTREAM,
		[DSP] = PCI_EXP_TYPE_DOWNSTREAM,
		[PCIB] = PCI_EXP_TYPE_PCI_BRIDGE,
		[EP] = PCI_EXP_TYPE_ENDPOINT, [RCIEP] = PCI_EXP_TYPE_RC_END,
	};
	struct node *n = &w->nodes[w->nr++];
	struct pci_bus *bus = above ? above->pdev->subordinate :
				      w->f->host[host]->bus;
	struct pci_p2p_config *c;

	*n = (struct node) { .above = above, .kind = kind, .host = host,
			     .slot = slot, .fn = fn };
	if (kind == CONV)
		n->pdev = fabric_conventional(w->f, bus, PCI_DEVFN(slot, fn));
	else if (kind == EP || kind == RCIEP)
		n->pdev = fabric_dev(w->f, bus, PCI_DEVFN(slot, fn),
				     type[kind]);
	else
		n->pdev = fabric_port(w->f, bus, PCI_DEVFN(slot, fn),
				      type[kind]);
	c = &n->pdev->p2p_config;
	c->port = slot;
	if (kind == CONV || kind == PCIB)
		return n;

	n->acs = !w->plain && world_rnd(w, 4);
	if (n->acs) {
		n->caps = world_rnd(w, 3) ? ACS_ALL : world_rnd(w, 128);
		/* Often nothing, often what Linux sets */
		n->ctrl = world_rnd(w, 3) ? world_rnd(w, 2) * PCI_ACS_UF : world_rnd(w, 128);
		if (!world_rnd(w, 4))
			n->ctrl = PCI_ACS_SV | PCI_ACS_RR | PCI_ACS_CR |
				  PCI_ACS_UF;
		if (w->uniform && (kind == EP || kind == USP))
			n->caps &= ~PCI_ACS_EC;
		n->ctrl &= n->caps;
		n->egress = world_rnd(w, 256);
		fabric_acs(n->pdev, n->caps, n->ctrl);
		c->egress[0] = n->egress;
	}
	if (!w->uniform && !world_rnd(w, 6))
		n->mps = world_rnd(w, 3);
	c->devctl = n->mps << 5;
	return n;
}

static void add_device(struct world *w, struct node *above)
{
	int i, nr = world_rnd(w, 3) ? 1 : 1 + world_rnd(w, 3);
	struct node *pf = NULL, *n;

	for (i = 0; i < nr; i++) {
		pf = add(w, above, above->host, EP, 0, i);
		pf->untrusted = !w->uniform && !world_rnd(w, 20);
		pf->pdev->untrusted = pf->untrusted;
	}
	if (w->uniform || world_rnd(w, 4))
		return;
	n = add(w, above, above->host, EP, 1, 0);
	n->pf = pf;
	n->pdev->is_virtfn = 1;
	n->pdev->physfn = pf->pdev;
}

static void add_below(struct world *w, struct node *above, int depth)
{
	struct node *n;
	int i, nr;

	if (w->nr > NODES - 16)
		return;
	switch (world_rnd(w, depth > 2 ? 2 : 5)) {
	case 0:
		n = add(w, above, above->host, PCIB, 0, 0);
		nr = 1 + world_rnd(w, 2);
		for (i = 0; i < nr; i++)
			add(w, n, n->host, CONV, 1 + i, 0);
		break;
	case 1:
	case 2:
		add_device(w, above);
		break;
	default:
		n = add(w, above, above->host, USP, 0, 0);
		if (!world_rnd(w, 5))		/* a function beside the port */
			add(w, above, above->host, EP, 0, 1);
		nr = 1 + world_rnd(w, 3);
		for (i = 0; i < nr; i++)
			add_below(w, add(w, n, n->host, DSP, i, 0), depth + 1);
	}
}

void world_make(struct world *w, u64 seed)
{
	int h, i, hosts, nr;

	fabric_reset(w->f);
	w->nr = 0;
	w->rnd = seed * 0x9e3779b97f4a7c15ULL + 1;
	w->f->known = world_rnd(w, 2);
	hosts = 1 + world_rnd(w, 2);
	for (h = 0; h < hosts; h++) {
		fabric_host(w->f, world_rnd(w, 2) ? 0x10000 : 0, h << 6);
		nr = 1 + world_rnd(w, 3);
		for (i = 0; i < nr; i++)
			add_below(w, add(w, NULL, h, RP, i + 1, 0), 0);
		if (!world_rnd(w, 3))
			add(w, NULL, h, RCIEP, 8, 0);
	}
}

struct node *world_pick(struct world *w)
{
	struct node *n;

	do {
		n = &w->nodes[world_rnd(w, w->nr)];
	} while (n->kind != EP && n->kind != CONV && n->kind != RCIEP);
	return n;
}

/* The oracle */

static bool is_down(struct node *n)
{
	return n->kind == RP || n->kind == DSP;
}

static bool on(struct node *n, u16 bit)
{
	return n->acs && n->ctrl & bit;
}

static bool holds(struct node *n, struct node *x)
{
	for (; x; x = x->above)
		if (x == n)
			return true;
	return false;
}

/* Who else on the bus of @n is, or leads to, @x? */
static struct node *beside(struct world *w, struct node *n, struct node *x)
{
	int i;

	for (i = 0; i < w->nr; i++) {
		struct node *s = &w->nodes[i];

		if (s != n && s->above == n->above && s->host == n->host &&
		    holds(s, x))
			return s;
	}
	return NULL;
}

static bool isolated(struct node *n)
{
	return n->acs && !(n->caps & PCI_ACS_RR);
}

/* Follow a packet from @a to @x; @rr and @ec: the controls that matter. */
struct route world_follow(struct world *w, struct node *a, struct node *x,
			  bool completion)
{
	struct route r = { .way = DIRECT };
	struct node *n = a, *p, *s;
	bool sent_up = false;

	for (;; n = p) {
		p = n->above;
		s = sent_up ? NULL : beside(w, n, x);
		if (s && (p || (n->kind == RP && s->kind == RP))) {
			bool device = p && is_down(p) && !is_down(n);
			int nr = device ? s->fn : s->slot;
			bool redirect, caught;

			if (p) {
				r.turn = n;
				r.to = s;
				r.inside = device;
			}
			if (p && p->kind == PCIB)
				return r;
			redirect = on(n, PCI_ACS_RR);
			caught = on(n, PCI_ACS_EC) && n->egress & BIT(nr);
			if (on(n, PCI_ACS_EC) && !caught)
				redirect = false;
			if (n->pf && !redirect && !caught) {
				redirect = on(n->pf, PCI_ACS_RR);
				caught = on(n->pf, PCI_ACS_EC) &&
					 n->pf->egress & BIT(nr);
				if (on(n->pf, PCI_ACS_EC) && !caught)
					redirect = false;
			}
			if (completion) {
				redirect = on(n, PCI_ACS_CR) ||
					   (n->pf && on(n->pf, PCI_ACS_CR));
				caught = false;
			}
			if (device && !completion &&
			    (isolated(n) || isolated(s) ||
			     (n->pf && isolated(n->pf)) ||
			     (s->pf && isolated(s->pf)))) {
				r.why = P2P_TOPO_FUNCTIONS;
			} else if (redirect) {
				r.why = P2P_TOPO_ACS_REDIRECT;
			} else if (caught) {
				r.way = BLOCKED;
				r.why = P2P_TOPO_ACS_BLOCKED;
				return r;
			} else if (p) {
				return r;
			}
			if (!p)		/* the root complex takes all */
				r.why = P2P_TOPO_OK;
			sent_up = true;
		}
		if (!p)
			break;
		/* In at @p from below: is it for @p's own side? */
		if (is_down(p) && holds(p, x) && !on(p, PCI_ACS_UF))
			r.stuck = true;
	}
	r.way = UP;
	return r;
}

static int code(struct node *n)
{
	if (n->pf)
		n = n->pf;
	return n->kind == CONV ? -1 : n->mps;
}

/* May packets of @a arrive too large anywhere between it and @x? */
static bool too_large(struct route *r, struct node *a, struct node *x,
		      struct node *top_a, struct node *top_x)
{
	int mps = -1;
	struct node *n;

	if (r->inside && a == top_a && x == top_x)
		return false;
	for (n = a; mps < 0; n = n->above) {
		mps = code(n);
		if (n == top_a)
			break;
	}
	for (n = a; mps >= 0; n = n->above) {
		if (code(n) >= 0 && code(n) < mps)
			return true;
		if (n == top_a)
			break;
	}
	for (n = x; mps >= 0; n = n->above) {
		if (code(n) >= 0 && code(n) < mps)
			return true;
		if (n == top_x)
			break;
	}
	return false;
}

void world_oracle(struct world *w, struct node *owner, struct node *importer,
		  const struct p2p_importer_state *s, struct p2p_verdict *v)
{
	struct route req = world_follow(w, importer, owner, false);
	struct route cpl = world_follow(w, owner, importer, true);
	bool known = w->f->known, up = false, big_wr = false, big_rd = false;
	enum p2p_topo_reason why = P2P_TOPO_OK, limit = P2P_TOPO_OK;
	bool rd = true, wr = true;
	struct node *n;

	*v = (struct p2p_verdict) {};
	for (n = importer->above; n; n = n->above)
		if (s->ats && is_down(n) && on(n, PCI_ACS_TB)) {
			v->reason = P2P_TOPO_ACS_TRANSLATED;
			return;
		}

	if (req.way == DIRECT) {
		big_wr = too_large(&req, importer, owner, req.turn, req.to);
		big_rd = too_large(&req, owner, importer, req.to, req.turn);
		if (big_wr || big_rd)
			limit = P2P_TOPO_MPS;
		wr = !big_wr;
		rd = !big_rd;
		if (cpl.way == UP && (!known || cpl.stuck)) {
			rd = false;
			limit = limit ?: P2P_TOPO_ACS_COMPLETION;
		}
		if (importer->untrusted)
			why = P2P_TOPO_UNTRUSTED;
		else if (s->translated && s->guest)
			why = P2P_TOPO_GUEST;
		else if (s->translated && s->ats)
			why = P2P_TOPO_ATS;
		else if (s->translated && known)
			why = limit;
		if (!why) {
			v->path = rd || wr ? P2P_PATH_BUS : P2P_PATH_NONE;
			v->read = rd;
			v->write = wr;
			v->reason = limit;
			return;
		}
		v->reason = why;
		up = s->translated && known;
	} else if (!known) {
		v->reason = req.why ?: P2P_TOPO_HOST_BRIDGE;
	} else if (s->translated) {
		v->reason = req.why;
		up = true;
	} else if (req.way == BLOCKED) {
		v->reason = P2P_TOPO_ACS_BLOCKED;
	} else if (req.stuck) {
		v->reason = P2P_TOPO_ACS_UPSTREAM;
	} else if (importer->untrusted) {
		v->reason = P2P_TOPO_UNTRUSTED;
	} else {
		v->reason = req.why;
		up = true;
	}
	if (up) {
		v->path = P2P_PATH_HOST;
		v->read = true;
		v->write = true;
	}
}

/* What there was before: any control of any port, of both branches. */
enum p2p_path world_before(struct world *w, struct node *owner,
			   struct node *importer)
{
	const u16 any = PCI_ACS_RR | PCI_ACS_CR | PCI_ACS_EC;
	struct node *a, *b, *n;
	bool acs = false;

	for (a = owner; a; a = a->above) {
		acs |= on(a, any);
		for (b = importer; b; b = b->above)
			if (a == b)
				goto common;
	}
	return w->f->known ? P2P_PATH_HOST : P2P_PATH_NONE;
common:
	for (n = importer; n != b; n = n->above)
		acs |= on(n, any);
	if (!acs)
		return P2P_PATH_BUS;
	return w->f->known ? P2P_PATH_HOST : P2P_PATH_NONE;
}

struct world *world_create(struct kunit *test)
{
	struct world *w = kunit_kzalloc(test, sizeof(*w), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, w);
	w->test = test;
	w->f = fabric_create(test, NODES);
	return w;
}
