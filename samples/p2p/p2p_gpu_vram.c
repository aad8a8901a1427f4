// SPDX-License-Identifier: GPL-2.0
/*
 * The memory of p2p_gpu, and the places where an object can be: a piece of VRAM,
 * or pages of system RAM.
 *
 * Debugging aid: with a canary, free VRAM holds a pattern, and whoever writes to
 * it after it was taken back is found out. A piece is filled when it becomes
 * free, and checked when it is allocated again, when debugfs p2p_gpuN/canary is
 * read, and when the device goes. Each word names its own offset, so that a copy
 * to a wrong place shows, too.
 */
#include <linux/bitmap.h>
#include <linux/genalloc.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "p2p_gpu_vram.h"

/*
 * Before somebody else may look at VRAM or write there: drain the CPU's write
 * combining buffers, and read back to push posted writes ahead of us.
 */
static void p2p_gpu_settle(struct p2p_gpu_vram *v)
{
	wmb();	/* before the read that pushes them */
	readl(v->io);
}

/* The canary */

static u64 p2p_gpu_canary_word(u64 off)
{
	return 0xca4a47ULL << 40 | off;
}

static void p2p_gpu_canary_fill(struct p2p_gpu_vram *v, u64 off, size_t len)
{
	u64 end = off + len;
	unsigned int i;

	if (!v->canary)
		return;
	for (; off < end; off += PAGE_SIZE) {
		for (i = 0; i < PAGE_SIZE / sizeof(u64); i++)
			v->canary[i] = p2p_gpu_canary_word(off +
							   i * sizeof(u64));
		memcpy_toio(v->io + off, v->canary, PAGE_SIZE);
		cond_resched();
	}
	p2p_gpu_settle(v);
}

/* A wrong word is reported once: the pattern is put back. */
static void p2p_gpu_canary_check(struct p2p_gpu_vram *v, u64 off, size_t len)
{
	u64 start = off, end = off + len, at;
	unsigned long bad = v->bad;
	unsigned int i;

	if (!v->canary)
		return;
	for (; off < end; off += PAGE_SIZE) {
		memcpy_fromio(v->canary, v->io + off, PAGE_SIZE);
		for (i = 0; i < PAGE_SIZE / sizeof(u64); i++) {
			at = off + i * sizeof(u64);
			if (v->canary[i] == p2p_gpu_canary_word(at))
				continue;
			WARN(v->bad == bad,
			     "free VRAM changed at %#llx: %016llx, not %016llx\n",
			     at, v->canary[i], p2p_gpu_canary_word(at));
			v->bad++;
		}
		cond_resched();
	}
	if (v->bad == bad)
		return;
	pr_err("p2p_gpu: %lu wrong words in free VRAM %#llx-%#llx\n",
	       v->bad - bad, start, end - 1);
	p2p_gpu_canary_fill(v, start, len);
}

/* Looks at all that is free. Returns how many words were wrong since probe(). */
unsigned long p2p_gpu_vram_check(struct p2p_gpu_vram *v)
{
	unsigned int shift = PAGE_SHIFT + v->order;
	unsigned long bits = gen_pool_size(v->pool) >> shift;
	struct gen_pool_chunk *chunk;
	unsigned long start, end;

	guard(mutex)(&v->lock);
	/* Not gen_pool_for_each_chunk(): we sleep. */
	chunk = list_first_entry(&v->pool->chunks, typeof(*chunk), next_chunk);
	for_each_clear_bitrange(start, end, chunk->bits, bits)
		p2p_gpu_canary_check(v, start << shift, (end - start) << shift);
	return v->bad;
}

/* VRAM */

int p2p_gpu_vram_init(struct p2p_gpu_vram *v, void __iomem *io,
		      phys_addr_t base, size_t len, unsigned int order,
		      bool canary)
{
	int ret;

	mutex_init(&v->lock);
	v->io = io;
	v->base = base;
	v->order = order;
	v->pool = gen_pool_create(PAGE_SHIFT + order, NUMA_NO_NODE);
	if (!v->pool)
		return -ENOMEM;
	ret = gen_pool_add(v->pool, base, len, NUMA_NO_NODE);
	if (!ret && canary) {
		v->canary = kmalloc(PAGE_SIZE, GFP_KERNEL);
		if (!v->canary)
			ret = -ENOMEM;
		p2p_gpu_canary_fill(v, 0, len);
	}
	if (ret)
		gen_pool_destroy(v->pool);
	return ret;
}

void p2p_gpu_vram_gone(struct p2p_gpu_vram *v, bool check)
{
	if (check)
		p2p_gpu_vram_check(v);
	guard(mutex)(&v->lock);
	kfree(v->canary);
	v->canary = NULL;
}

void p2p_gpu_vram_free(struct p2p_gpu_vram *v)
{
	gen_pool_destroy(v->pool);
}

static phys_addr_t p2p_gpu_vram_get(struct p2p_gpu_vram *v, size_t len)
{
	phys_addr_t phys;

	len = ALIGN(len, PAGE_SIZE << v->order);
	guard(mutex)(&v->lock);
	phys = gen_pool_alloc(v->pool, len);
	if (phys)
		p2p_gpu_canary_check(v, phys - v->base, len);
	return phys;
}

static void p2p_gpu_vram_put(struct p2p_gpu_vram *v, phys_addr_t phys,
			     size_t len)
{
	len = ALIGN(len, PAGE_SIZE << v->order);
	guard(mutex)(&v->lock);
	p2p_gpu_canary_fill(v, phys - v->base, len);
	gen_pool_free(v->pool, phys, len);
}

/* Places */

void p2p_gpu_place_free(struct p2p_gpu_vram *v, struct p2p_gpu_place *place,
			unsigned long nr_pages)
{
	unsigned long i;

	if (!place->pages) {
		p2p_gpu_vram_put(v, place->vram, nr_pages << PAGE_SHIFT);
		return;
	}
	for (i = 0; i < nr_pages && place->pages[i]; i++)
		__free_page(place->pages[i]);
	kvfree(place->pages);
}

int p2p_gpu_place_alloc(struct p2p_gpu_vram *v, struct p2p_gpu_place *place,
			unsigned long nr_pages, bool ram)
{
	unsigned long i;

	*place = (struct p2p_gpu_place) { };
	if (!ram) {
		place->vram = p2p_gpu_vram_get(v, nr_pages << PAGE_SHIFT);
		return place->vram ? 0 : -ENOSPC;
	}
	place->pages = kvcalloc(nr_pages, sizeof(*place->pages),
				GFP_KERNEL_ACCOUNT);
	if (!place->pages)
		return -ENOMEM;
	for (i = 0; i < nr_pages; i++) {
		place->pages[i] = alloc_page(GFP_KERNEL_ACCOUNT);
		if (!place->pages[i]) {
			p2p_gpu_place_free(v, place, nr_pages);
			return -ENOMEM;
		}
	}
	return 0;
}

phys_addr_t p2p_gpu_phys(const struct p2p_gpu_place *place, unsigned long page)
{
	if (place->pages)
		return page_to_phys(place->pages[page]);
	return place->vram + ((phys_addr_t)page << PAGE_SHIFT);
}

static void __iomem *p2p_gpu_io(struct p2p_gpu_vram *v,
				const struct p2p_gpu_place *place,
				unsigned long page)
{
	return v->io + (p2p_gpu_phys(place, page) - v->base);
}

static void p2p_gpu_copy_page(struct p2p_gpu_vram *v, struct p2p_gpu_place *to,
			      struct p2p_gpu_place *from, unsigned long page,
			      void *bounce)
{
	void *buf = from->pages ? page_address(from->pages[page]) : bounce;

	if (!from->pages)
		memcpy_fromio(buf, p2p_gpu_io(v, from, page), PAGE_SIZE);
	if (to->pages)
		memcpy(page_address(to->pages[page]), buf, PAGE_SIZE);
	else
		memcpy_toio(p2p_gpu_io(v, to, page), buf, PAGE_SIZE);
}

/* Stands for the copy engine of a real GPU. @bounce: a page. */
void p2p_gpu_copy(struct p2p_gpu_vram *v, struct p2p_gpu_place *to,
		  struct p2p_gpu_place *from, unsigned long nr_pages,
		  void *bounce)
{
	unsigned long i;

	for (i = 0; i < nr_pages; i++) {
		p2p_gpu_copy_page(v, to, from, i, bounce);
		cond_resched();
	}
	p2p_gpu_settle(v);
}

/* What another program left there is not for the new owner. */
void p2p_gpu_clear(struct p2p_gpu_vram *v, struct p2p_gpu_place *place,
		   unsigned long nr_pages)
{
	unsigned long i;

	for (i = 0; i < nr_pages; i++) {
		memset_io(p2p_gpu_io(v, place, i), 0, PAGE_SIZE);
		cond_resched();
	}
	p2p_gpu_settle(v);
}
