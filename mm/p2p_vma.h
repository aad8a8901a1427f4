/* SPDX-License-Identifier: GPL-2.0 */
/* Peer-to-peer DMA through VMAs: what mm/hmm.c and the core's files share. */
#ifndef _MM_P2P_VMA_H
#define _MM_P2P_VMA_H

#include <linux/p2p_held.h>
#include <linux/p2p_vma.h>

/* What one call of get_user_pages() knows of its exporters */
struct p2p_gup_wait {
	unsigned long waited;	/* jiffies, in all */
	bool held;		/* the call has got pages from one */
};

#ifdef CONFIG_P2P_VMA

/* mm/p2p_vma.c: asking the exporter */
bool p2p_vma_enabled(const struct vm_area_struct *vma);
int p2p_fault_map(struct p2p_fault *fault, struct vm_area_struct *vma,
		  unsigned long start, unsigned long end, unsigned long seq,
		  bool write);
int p2p_fault_wait(struct p2p_fault *fault, unsigned long addr);

/* mm/p2p_gup.c: pages for get_user_pages() */
bool p2p_gup_enabled(const struct vm_area_struct *vma, unsigned int gup_flags);
long p2p_gup(struct vm_area_struct *vma, unsigned long start,
	     unsigned long nr_pages, unsigned int gup_flags,
	     struct page **pages, int *locked, struct p2p_gup_wait *wait);
int p2p_req_pin(struct p2p_map_req *req, struct p2p_exporter *e,
		unsigned long addr, phys_addr_t phys, size_t len,
		unsigned int flags);

/* mm/p2p_extent.c: extents, their index, their release */
struct p2p_extent *p2p_extent_alloc(struct p2p_exporter *e,
				    struct device *importer);
int p2p_extent_map(struct p2p_extent *ext, pgprot_t prot,
		   enum p2p_reason *reason);
void p2p_extent_release(struct p2p_extent *ext);
bool p2p_fault_find(struct p2p_fault *fault, unsigned long addr,
		    unsigned long *start, unsigned long *end, bool *write);
void p2p_fault_add(struct p2p_fault *fault, struct p2p_extent *ext,
		   unsigned long seq);

extern struct lockdep_map p2p_drain_lockdep;

/* p2p_extents_dma_addr() where @addr is in the extent that was looked up last */
static inline bool p2p_extents_dma_next(struct p2p_extents *set,
					unsigned long addr, dma_addr_t *dma)
{
	struct p2p_extent *ext = READ_ONCE(set->last);

	if (!ext || !ext->importer || addr - ext->node.start >= ext->len)
		return false;
	*dma = ext->dma + (addr - ext->node.start);
	return true;
}

#else

static inline bool p2p_extents_dma_next(struct p2p_extents *set,
					unsigned long addr, dma_addr_t *dma)
{
	return false;
}

static inline bool p2p_vma_enabled(const struct vm_area_struct *vma)
{
	return false;
}

static inline int p2p_fault_map(struct p2p_fault *fault,
				struct vm_area_struct *vma, unsigned long start,
				unsigned long end, unsigned long seq,
				bool write)
{
	return -EFAULT;
}

static inline int p2p_fault_wait(struct p2p_fault *fault, unsigned long addr)
{
	return -EFAULT;
}

static inline bool p2p_gup_enabled(const struct vm_area_struct *vma,
				   unsigned int gup_flags)
{
	return false;
}

static inline long p2p_gup(struct vm_area_struct *vma, unsigned long start,
			   unsigned long nr_pages, unsigned int gup_flags,
			   struct page **pages, int *locked,
			   struct p2p_gup_wait *wait)
{
	return -EFAULT;
}

static inline bool p2p_fault_find(struct p2p_fault *fault, unsigned long addr,
				  unsigned long *start, unsigned long *end,
				  bool *write)
{
	return false;
}

#endif /* CONFIG_P2P_VMA */

#endif /* _MM_P2P_VMA_H */
