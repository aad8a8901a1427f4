// SPDX-License-Identifier: GPL-2.0
/*
 * Rows of pages that are pinned and mapped through a scatterlist: the stock way
 * for device memory with struct pages (p2pmem), and for RAM.
 */
#include <linux/dma-mapping.h>
#include <linux/mm.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>

#include "bench.h"

static int pin_pages(struct bench *b, struct page **pages, unsigned long nr)
{
	unsigned long done = 0;

	while (done < nr) {
		int n = pin_user_pages_fast(b->addr + (done << PAGE_SHIFT),
					    min(nr - done, INT_MAX),
					    FOLL_WRITE | FOLL_PCI_P2PDMA,
					    pages + done);

		if (n <= 0) {
			unpin_user_pages(pages, done);
			return n ? n : -EFAULT;
		}
		done += n;
	}
	return 0;
}

static int pin_map(struct bench *b, struct page **pages, unsigned long nr,
		   struct sg_table *sgt)
{
	int ret = pin_pages(b, pages, nr);

	if (ret)
		return ret;
	ret = sg_alloc_table_from_pages(sgt, pages, nr, 0, b->len, GFP_KERNEL);
	if (ret)
		goto unpin;
	ret = dma_map_sgtable(&bench_edu->dev, sgt, DMA_BIDIRECTIONAL, 0);
	if (!ret)
		return 0;
	sg_free_table(sgt);
unpin:
	unpin_user_pages(pages, nr);
	return ret;
}

static int pin_once(struct bench *b)
{
	unsigned long nr = b->len >> PAGE_SHIFT;
	struct page **pages;
	struct sg_table sgt;
	u64 t = bench_start(b);
	int ret;

	pages = kvmalloc_objs(*pages, nr);
	if (!pages)
		return -ENOMEM;
	ret = pin_map(b, pages, nr, &sgt);
	b->t[BENCH_MAP] = bench_stop(b, t);

	t = bench_start(b);
	if (!ret) {
		dma_unmap_sgtable(&bench_edu->dev, &sgt, DMA_BIDIRECTIONAL, 0);
		sg_free_table(&sgt);
		unpin_user_pages_dirty_lock(pages, nr, true);
	}
	kvfree(pages);
	b->t[BENCH_UNMAP] = bench_stop(b, t);
	return ret;
}

const struct bench_row bench_rows_pin[] = {
	{ "pin", NULL, pin_once, NULL },
	{}
};
