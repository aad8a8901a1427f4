// SPDX-License-Identifier: GPL-2.0
/*
 * Rows of what must not cost more than before: walks and pins of RAM, and
 * mappings of RAM for DMA.
 */
#include <linux/dma-mapping.h>
#include <linux/hmm.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/slab.h>

#include "bench.h"

struct tax_hmm {
	struct mmu_interval_notifier mni;
	unsigned long pfns[];
};

static bool tax_invalidate(struct mmu_interval_notifier *mni,
			   const struct mmu_notifier_range *range,
			   unsigned long seq)
{
	mmu_interval_set_seq(mni, seq);
	return true;
}

static const struct mmu_interval_notifier_ops tax_ops = {
	.invalidate = tax_invalidate,
};

static int tax_hmm_prepare(struct bench *b)
{
	struct tax_hmm *h = kvzalloc_flex(*h, pfns, b->len >> PAGE_SHIFT);
	int ret;

	if (!h)
		return -ENOMEM;
	ret = mmu_interval_notifier_insert(&h->mni, current->mm, b->addr,
					   b->len, &tax_ops);
	if (ret)
		kvfree(h);
	b->priv = h;
	return ret;
}

static void tax_hmm_finish(struct bench *b)
{
	struct tax_hmm *h = b->priv;

	mmu_interval_notifier_remove(&h->mni);
	kvfree(h);
}

static int tax_hmm(struct bench *b)
{
	struct tax_hmm *h = b->priv;
	struct hmm_range range = {
		.notifier = &h->mni,
		.start = b->addr,
		.end = b->addr + b->len,
		.hmm_pfns = h->pfns,
		.default_flags = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE,
	};
	u64 t = bench_start(b);
	int ret;

	ret = hmm_range_fault_unlocked_timeout(&range, 60 * HZ);
	b->t[BENCH_MAP] = bench_stop(b, t);
	return ret;
}

static int tax_pages_prepare(struct bench *b)
{
	b->priv = kvzalloc_objs(struct page *, b->len >> PAGE_SHIFT);
	return b->priv ? 0 : -ENOMEM;
}

static void tax_pages_finish(struct bench *b)
{
	kvfree(b->priv);
}

static int tax_pages_done(struct bench *b, long got)
{
	long nr = b->len >> PAGE_SHIFT;

	if (got > 0)
		unpin_user_pages(b->priv, got);
	return got == nr ? 0 : -EFAULT;
}

static int tax_gup_fast(struct bench *b)
{
	u64 t = bench_start(b);
	long got = pin_user_pages_fast(b->addr, b->len >> PAGE_SHIFT,
				       FOLL_WRITE, b->priv);

	b->t[BENCH_MAP] = bench_stop(b, t);
	return tax_pages_done(b, got);
}

static int tax_gup_slow(struct bench *b)
{
	u64 t = bench_start(b);
	long got = pin_user_pages_unlocked(b->addr, b->len >> PAGE_SHIFT,
					   b->priv, FOLL_WRITE);

	b->t[BENCH_MAP] = bench_stop(b, t);
	return tax_pages_done(b, got);
}

static int tax_dma_prepare(struct bench *b)
{
	b->priv = alloc_page(GFP_KERNEL);
	return b->priv ? 0 : -ENOMEM;
}

static int tax_dma_page(struct bench *b)
{
	struct device *dev = &bench_edu->dev;
	u64 t = bench_start(b);
	dma_addr_t dma = dma_map_page(dev, b->priv, 0, PAGE_SIZE,
				      DMA_BIDIRECTIONAL);

	b->t[BENCH_MAP] = bench_stop(b, t);
	if (dma_mapping_error(dev, dma))
		return -EIO;
	t = bench_start(b);
	dma_unmap_page(dev, dma, PAGE_SIZE, DMA_BIDIRECTIONAL);
	b->t[BENCH_UNMAP] = bench_stop(b, t);
	return 0;
}

static void tax_dma_finish(struct bench *b)
{
	__free_page(b->priv);
}

const struct bench_row bench_rows_tax[] = {
	{ "tax_hmm", tax_hmm_prepare, tax_hmm, tax_hmm_finish },
	{ "tax_gup_fast", tax_pages_prepare, tax_gup_fast, tax_pages_finish },
	{ "tax_gup_slow", tax_pages_prepare, tax_gup_slow, tax_pages_finish },
	{ "tax_dma_page", tax_dma_prepare, tax_dma_page, tax_dma_finish },
	{}
};
