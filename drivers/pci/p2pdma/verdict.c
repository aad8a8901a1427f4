// SPDX-License-Identifier: GPL-2.0
/*
 * The verdict: what the fabric can do (topology.c) and the state of the
 * importer, put together. Pure, too.
 */
#include "topology.h"

static void p2p_culprit(struct p2p_verdict *v, struct p2p_fn fn)
{
	if (fn.valid && v->nr_culprits < P2P_VERDICT_CULPRITS)
		v->culprit[v->nr_culprits++] = fn;
}

static void p2p_refuse(struct p2p_verdict *v, enum p2p_topo_reason reason,
		       struct p2p_fn at)
{
	v->reason = reason;
	p2p_culprit(v, at);
}

/**
 * p2p_verdict_by_iova - direct, but it has to go by IOVA
 * @l: the link; its way through the host bridge is open
 * @reason: why
 * @v: the verdict
 *
 * Context: any.
 */
void p2p_verdict_by_iova(const struct p2p_link *l, enum p2p_topo_reason reason,
			 struct p2p_verdict *v)
{
	v->path = P2P_PATH_HOST;
	v->read = true;
	v->write = true;
	v->atomic = l->atomic_host;
	v->reason = reason;
	v->flags |= P2P_VERDICT_DEMOTED | P2P_VERDICT_IOVA |
		    (l->policy & P2P_VERDICT_ALLOWED);
}

static void p2p_decide_direct(const struct p2p_link *l,
			      const struct p2p_importer_state *s,
			      struct p2p_verdict *v)
{
	bool by_iova = s->translated && l->host;
	enum p2p_topo_reason why = P2P_TOPO_OK;
	struct p2p_fn at = {};

	if (l->why_iova == P2P_TOPO_UNTRUSTED) {
		why = P2P_TOPO_UNTRUSTED;
		at = l->iova_at;
	} else if (s->translated && s->guest) {
		why = P2P_TOPO_GUEST;
	} else if (s->translated && s->ats) {
		why = P2P_TOPO_ATS;
	} else if (by_iova && l->limit) {
		why = l->limit;
		at = l->limit_at;
	}

	if (why && !by_iova) {
		p2p_refuse(v, why, at);
	} else if (why) {
		p2p_verdict_by_iova(l, why, v);
		p2p_culprit(v, at);
	} else {
		v->read = l->direct_read;
		v->write = l->direct_write;
		v->atomic = l->atomic_direct;
		if (v->read || v->write)
			v->path = P2P_PATH_BUS;
		if (l->limit)
			p2p_refuse(v, l->limit, l->limit_at);
	}
}

static void p2p_decide_host(const struct p2p_link *l,
			    const struct p2p_importer_state *s,
			    struct p2p_verdict *v)
{
	if (!l->host) {
		/* If ACS sends it up, ACS is the cause. */
		if (l->up && l->no_host == P2P_TOPO_HOST_BRIDGE)
			p2p_refuse(v, l->up, l->up_at);
		else
			p2p_refuse(v, l->no_host, l->no_host_at);
		return;
	}
	if (l->iova_only && !s->translated) {
		p2p_refuse(v, l->why_iova, l->iova_at);
		return;
	}
	v->path = P2P_PATH_HOST;
	v->read = true;
	v->write = true;
	v->atomic = l->atomic_host;
	if (l->iova_only)
		v->flags |= P2P_VERDICT_IOVA;
	if (l->up)
		p2p_refuse(v, l->up, l->up_at);
}

/**
 * p2p_link_decide - make a verdict of a link and the state of the importer
 * @l: from p2p_link_compute()
 * @s: the state
 * @v: the result; its generation is not set
 *
 * Context: any.
 */
void p2p_link_decide(const struct p2p_link *l,
		     const struct p2p_importer_state *s, struct p2p_verdict *v)
{
	const struct p2p_fn nobody = {};

	*v = l->v;
	if (s->guest)
		v->flags |= P2P_VERDICT_GUEST;
	if (l->policy & P2P_VERDICT_DENIED)
		v->flags |= P2P_VERDICT_DENIED;

	if (l->dead) {
		p2p_refuse(v, l->dead, l->dead_at);
	} else if (l->policy & P2P_VERDICT_DENIED) {
		p2p_refuse(v, P2P_TOPO_POLICY, nobody);
	} else if (!v->distance) {
		/* A device reaches its own memory without leaving itself. */
		v->path = P2P_PATH_BUS;
		v->read = true;
		v->write = true;
		v->atomic = true;
	} else if (s->guest && s->guest_refuse) {
		p2p_refuse(v, P2P_TOPO_GUEST_POLICY, nobody);
	} else if (s->confidential) {
		p2p_refuse(v, P2P_TOPO_CONFIDENTIAL, nobody);
	} else if (s->ats && l->tb) {
		p2p_refuse(v, P2P_TOPO_ACS_TRANSLATED, l->tb_at);
	} else if (l->direct) {
		p2p_decide_direct(l, s, v);
	} else {
		p2p_decide_host(l, s, v);
	}

	if (v->path == P2P_PATH_HOST)
		v->flags |= l->policy & P2P_VERDICT_ALLOWED;
}
