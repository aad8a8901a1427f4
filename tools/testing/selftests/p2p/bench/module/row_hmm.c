// SPDX-License-Identifier: GPL-2.0
/*
 * Rows of RAM through hmm_range_fault() and hmm_dma_map_pfn(), or what ours has
 * for runs of pages: what a driver that mirrors an address space pays.
 */
#include <linux/hmm-dma.h>
#include <linux/hmm.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/pci-p2pdma.h>
#include <linux/slab.h>

#include "bench.h"

struct hmm_user {
	struct mmu_interval_notifier mni;
	struct mutex lock;		/* map, against invalidation */
	struct hmm_dma_map map;
	unsigned long nr;
};

static void hmm_user_unmap(struct hmm_user *u)
{
	unsigned long i, unmapped = 0;

	for (i = 0; i < u->nr; i++) {
		if (!unmapped)
			unmapped = hmm_dma_unmap_pfns(&bench_edu->dev, &u->map,
						      i, u->nr - i);
		unmapped -= !!unmapped;
		u->map.pfn_list[i] = 0;
	}
}

static bool hmm_user_invalidate(struct mmu_interval_notifier *mni,
				const struct mmu_notifier_range *range,
				unsigned long seq)
{
	struct hmm_user *u = container_of(mni, struct hmm_user, mni);

	if (!mmu_notifier_range_blockable(range))
		return false;
	guard(mutex)(&u->lock);
	mmu_interval_set_seq(mni, seq);
	hmm_user_unmap(u);
	return true;
}

static const struct mmu_interval_notifier_ops hmm_user_ops = {
	.invalidate = hmm_user_invalidate,
};

/* Straight into the map: nobody else is there who could look. */
static int hmm_user_map(struct bench *b, struct hmm_user *u)
{
	struct pci_p2pdma_map_state state = {};
	struct hmm_range range = {
		.notifier = &u->mni,
		.start = b->addr,
		.end = b->addr + b->len,
		.hmm_pfns = u->map.pfn_list,
		.default_flags = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE,
	};
	unsigned long i;
	int ret;

	do {
		ret = hmm_range_fault_unlocked_timeout(&range, 60 * HZ);
		if (ret)
			return ret;
		mutex_lock(&u->lock);
		if (!mmu_interval_read_retry(&u->mni, range.notifier_seq))
			break;
		mutex_unlock(&u->lock);
	} while (1);
	for (i = 0; i < u->nr && !ret; i++)
		if (hmm_dma_map_pfns(&bench_edu->dev, &u->map, i, u->nr - i,
				     &state) == DMA_MAPPING_ERROR)
			ret = -EIO;
	mutex_unlock(&u->lock);
	return ret;
}

static int hmm_once(struct bench *b)
{
	struct hmm_user *u;
	u64 t = bench_start(b);
	int ret;

	u = kzalloc_obj(*u);
	if (!u)
		return -ENOMEM;
	mutex_init(&u->lock);
	u->nr = b->len >> PAGE_SHIFT;
	ret = hmm_dma_map_alloc(&bench_edu->dev, &u->map, u->nr, PAGE_SIZE);
	if (ret)
		goto free;
	ret = mmu_interval_notifier_insert(&u->mni, current->mm, b->addr,
					   b->len, &hmm_user_ops);
	if (ret)
		goto free_map;
	ret = hmm_user_map(b, u);
	b->t[BENCH_MAP] = bench_stop(b, t);

	t = bench_start(b);
	scoped_guard(mutex, &u->lock)
		hmm_user_unmap(u);
	mmu_interval_notifier_remove(&u->mni);
free_map:
	hmm_dma_map_free(&bench_edu->dev, &u->map);
free:
	kfree(u);
	b->t[BENCH_UNMAP] = bench_stop(b, t);
	return ret;
}

const struct bench_row bench_rows_hmm[] = {
	{ "hmm", NULL, hmm_once, NULL },
	{}
};
