// SPDX-License-Identifier: GPL-2.0
/*
 * The importer of the extent rows: an interval notifier and an index of extents,
 * as any driver has them that keeps no list of pages.
 */
#include <linux/hmm.h>
#include <linux/slab.h>

#include "bench.h"
#include "bench_user.h"

static void bench_user_cut(struct bench_user *u, unsigned long start,
			   unsigned long end)
{
	start = max(start, u->set.start);
	end = min(end, u->set.end);
	p2p_extents_cut(&u->set, &start, &end);
	p2p_extents_cut_finish(&u->set);
}

static bool bench_user_invalidate(struct mmu_interval_notifier *mni,
				  const struct mmu_notifier_range *range,
				  unsigned long seq)
{
	struct bench_user *u = container_of(mni, struct bench_user, mni);

	if (!mmu_notifier_range_blockable(range))
		return false;
	guard(mutex)(&u->lock);
	mmu_interval_set_seq(mni, seq);
	bench_user_cut(u, range->start, range->end);
	return true;
}

static const struct mmu_interval_notifier_ops bench_user_ops = {
	.invalidate = bench_user_invalidate,
};

struct bench_user *bench_user_create(unsigned long addr, size_t len)
{
	struct bench_user *u = kzalloc_obj(*u);
	int ret;

	if (!u)
		return ERR_PTR(-ENOMEM);
	mutex_init(&u->lock);
	p2p_extents_init(&u->set, &bench_edu->dev, addr, addr + len, true);
	ret = mmu_interval_notifier_insert(&u->mni, current->mm, addr, len,
					   &bench_user_ops);
	if (!ret)
		return u;
	kfree(u);
	return ERR_PTR(ret);
}

void bench_user_destroy(struct bench_user *u)
{
	scoped_guard(mutex, &u->lock)
		bench_user_cut(u, u->set.start, u->set.end);
	mmu_interval_notifier_remove(&u->mni);
	kfree(u);
}

/* The extent at @addr, faulted in by its first page; *@end is where it ends. */
static int bench_user_fault(struct bench_user *u, unsigned long addr,
			    unsigned long *end)
{
	unsigned long pfn = 0;
	struct p2p_fault fault;
	struct hmm_range range = {
		.notifier = &u->mni,
		.start = addr,
		.end = addr + PAGE_SIZE,
		.hmm_pfns = &pfn,
		.default_flags = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE,
		.peer = &fault,
	};
	struct p2p_extent *ext;
	size_t off;
	int ret;

	p2p_fault_init(&fault, &u->set);
	for (;;) {
		ret = hmm_range_fault_unlocked_timeout(&range, 60 * HZ);
		if (ret)
			return ret;
		guard(mutex)(&u->lock);
		if (mmu_interval_read_retry(&u->mni, range.notifier_seq))
			continue;
		p2p_fault_commit(&fault, range.notifier_seq);
		ext = p2p_extents_lookup(&u->set, addr, &off);
		if (!ext)
			continue;
		if (p2p_extents_dma_addr(&u->set, addr) == DMA_MAPPING_ERROR)
			return -EIO;
		*end = ext->node.last + 1;
		return 0;
	}
}

/* All of the importer's object, one fault for each extent */
int bench_user_map(struct bench_user *u, unsigned int *extents)
{
	unsigned long addr;
	int ret;

	*extents = 0;
	for (addr = u->set.start; addr < u->set.end; ++*extents) {
		ret = bench_user_fault(u, addr, &addr);
		if (ret)
			return ret;
	}
	return 0;
}
