/* SPDX-License-Identifier: GPL-2.0 */
/* The memory of p2p_gpu, and the places where an object can be. */
#ifndef _P2P_GPU_VRAM_H
#define _P2P_GPU_VRAM_H

#include <linux/mutex.h>
#include <linux/types.h>

struct gen_pool;
struct page;

struct p2p_gpu_vram {
	void __iomem *io;
	phys_addr_t base;
	struct gen_pool *pool;		/* of physical addresses; one chunk */
	unsigned int order;		/* of what is allocated, in pages */
	/* Keeps what is free as it is. No other lock inside. */
	struct mutex lock;
	u64 *canary;			/* a page to compare with, NULL: off */
	unsigned long bad;		/* wrong words so far, under the lock */
};

/* Where an object is: VRAM if @pages is NULL. */
struct p2p_gpu_place {
	phys_addr_t vram;
	struct page **pages;
};

int p2p_gpu_vram_init(struct p2p_gpu_vram *v, void __iomem *io,
		      phys_addr_t base, size_t len, unsigned int order,
		      bool canary);
/* The device goes: nothing is looked at or filled from here on. */
void p2p_gpu_vram_gone(struct p2p_gpu_vram *v, bool check);
/* Nobody has a place any more. */
void p2p_gpu_vram_free(struct p2p_gpu_vram *v);
unsigned long p2p_gpu_vram_check(struct p2p_gpu_vram *v);

int p2p_gpu_place_alloc(struct p2p_gpu_vram *v, struct p2p_gpu_place *place,
			unsigned long nr_pages, bool ram);
void p2p_gpu_place_free(struct p2p_gpu_vram *v, struct p2p_gpu_place *place,
			unsigned long nr_pages);
phys_addr_t p2p_gpu_phys(const struct p2p_gpu_place *place, unsigned long page);
void p2p_gpu_copy(struct p2p_gpu_vram *v, struct p2p_gpu_place *to,
		  struct p2p_gpu_place *from, unsigned long nr_pages,
		  void *bounce);
void p2p_gpu_clear(struct p2p_gpu_vram *v, struct p2p_gpu_place *place,
		   unsigned long nr_pages);

#endif /* _P2P_GPU_VRAM_H */
