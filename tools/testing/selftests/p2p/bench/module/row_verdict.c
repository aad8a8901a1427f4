// SPDX-License-Identifier: GPL-2.0
/*
 * Rows of the verdict: may this device use that memory? Cached, and cold by the
 * number of devices that ask and by how deep they are.
 */
#include <linux/p2p_topology.h>
#include <linux/p2p_vma.h>

#include "bench.h"
#include "bench_soft.h"

struct verdict {
	struct p2p_region *region;
	struct soft_pci *soft;
};

/* The two devices of QEMU */

static int verdict_prepare(struct bench *b)
{
	struct p2p_region *r = p2p_region_bar(bench_gpu, 2);

	if (IS_ERR(r))
		return PTR_ERR(r);
	b->priv = r;
	return 0;
}

static int verdict_once(struct bench *b)
{
	struct p2p_verdict v;
	u64 t = bench_start(b);
	int ret;

	ret = p2p_topology_query(b->priv, &bench_edu->dev, &v);
	b->t[BENCH_MAP] = bench_stop(b, t);
	return ret;
}

static void verdict_finish(struct bench *b)
{
	p2p_region_put(b->priv);
}

/* A fabric of @arg importers, or one that is @arg bridges deep */

static int verdict_soft(struct bench *b, unsigned int importers,
			unsigned int depth)
{
	struct verdict *v = kzalloc_obj(*v);
	int ret;

	if (!v)
		return -ENOMEM;
	v->soft = soft_pci_create(importers, depth);
	if (IS_ERR(v->soft)) {
		ret = PTR_ERR(v->soft);
		goto free;
	}
	v->region = p2p_region_bar(v->soft->owner, 0);
	if (IS_ERR(v->region)) {
		ret = PTR_ERR(v->region);
		soft_pci_destroy(v->soft);
		goto free;
	}
	b->priv = v;
	return 0;
free:
	kfree(v);
	return ret;
}

static int verdict_devices_prepare(struct bench *b)
{
	if (!b->arg || b->arg > 1000)
		return -EINVAL;
	return verdict_soft(b, b->arg, 1);
}

static int verdict_depth_prepare(struct bench *b)
{
	if (!b->arg || b->arg > 16)
		return -EINVAL;
	return verdict_soft(b, 8, b->arg);
}

static void verdict_soft_finish(struct bench *b)
{
	struct verdict *v = b->priv;

	p2p_region_put(v->region);
	soft_pci_destroy(v->soft);
	kfree(v);
}

static int verdict_ask(struct verdict *v, unsigned int i)
{
	struct p2p_verdict verdict;

	return p2p_topology_query(v->region, &v->soft->importer[i]->dev,
				  &verdict);
}

/* One that has not asked before; as many runs as there are importers */
static int verdict_cold(struct bench *b)
{
	struct verdict *v = b->priv;
	u64 t = bench_start(b);
	int ret = verdict_ask(v, b->rep % v->soft->nr);

	b->t[BENCH_MAP] = bench_stop(b, t);
	return ret;
}

/* All have asked before; they ask again in turn. By device */
static int verdict_turn(struct bench *b)
{
	struct verdict *v = b->priv;
	unsigned int i;
	int ret = 0;
	u64 t;

	for (i = 0; i < v->soft->nr && !ret; i++)
		ret = verdict_ask(v, i);
	t = bench_start(b);
	for (i = 0; i < v->soft->nr && !ret; i++)
		ret = verdict_ask(v, i);
	b->t[BENCH_MAP] = div_s64(bench_stop(b, t), v->soft->nr);
	return ret;
}

const struct bench_row bench_rows_verdict[] = {
	{ "verdict_cached", verdict_prepare, verdict_once, verdict_finish },
	{ "verdict_cold", verdict_depth_prepare, verdict_cold,
	  verdict_soft_finish },
	{ "verdict_turn", verdict_devices_prepare, verdict_turn,
	  verdict_soft_finish },
	{}
};
