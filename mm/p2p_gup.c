// SPDX-License-Identifier: GPL-2.0
/*
 * Peer-to-peer DMA through VMAs: struct pages for get_user_pages().
 *
 * Where an exporter has given its memory pages, a GUP user that can handle
 * P2PDMA pages (FOLL_PCI_P2PDMA), and that lets go of them soon, gets them from
 * ->p2p_map() instead of from the page tables, whose entries stay special. For
 * everybody else such a mapping is as any other one of device memory.
 */
#include <linux/export.h>
#include <linux/mm.h>
#include <linux/p2p_vma.h>

#include "internal.h"
#include "p2p_vma.h"

/* There is an exporter with pages. */
DEFINE_STATIC_KEY_FALSE(p2p_pages_on);

/* p2p_gup() has waited for as long as one may. */
#define P2P_WAITED_ENOUGH	ULONG_MAX

/* May this walk of GUP ask the exporter behind @vma for pages? */
bool p2p_gup_enabled(const struct vm_area_struct *vma, unsigned int gup_flags)
{
	if (!static_branch_unlikely(&p2p_pages_on))
		return false;
	/* Revocation waits for the end of pins: long ones are out. */
	return (gup_flags & (FOLL_PCI_P2PDMA | FOLL_LONGTERM)) ==
	       FOLL_PCI_P2PDMA && (gup_flags & (FOLL_GET | FOLL_PIN)) &&
	       p2p_vma_enabled(vma);
}

/*
 * Reference the pages of an extent that p2p_req_add() was called for, as far as
 * they continue what the caller of GUP has got. The pages exist: @e has users, so
 * it is not detached, and until then it holds a reference on each page.
 */
int p2p_req_pin(struct p2p_map_req *req, struct p2p_exporter *e,
		unsigned long addr, phys_addr_t phys, size_t len,
		unsigned int flags)
{
	struct p2p_fault *fault = req->fault;
	unsigned long i;
	int ret;

	/* Pairs with p2p_region_add_pages(). */
	if (!smp_load_acquire(&e->pages)) {
		req->reason = P2P_REASON_NO_PAGES;
		return req->err = -EFAULT;
	}
	if ((flags & P2P_EXT_RDONLY) && (fault->gup_flags & FOLL_WRITE)) {
		req->reason = P2P_REASON_GRANT_WRITE;
		return req->err = -EPERM;
	}
	for (i = 0; i < len >> PAGE_SHIFT; i++, addr += PAGE_SIZE) {
		struct page *page = pfn_to_page(PHYS_PFN(phys) + i);

		if (addr != req->start + (fault->nr_pages << PAGE_SHIFT))
			continue;
		ret = try_grab_folio(page_folio(page), 1, fault->gup_flags);
		if (ret) {
			req->reason = P2P_REASON_NO_MEMORY;
			return req->err = ret;
		}
		fault->pages[fault->nr_pages++] = page;
	}
	return 0;
}

static void p2p_gup_put(struct p2p_fault *fault)
{
	if (fault->gup_flags & FOLL_PIN)
		unpin_user_pages(fault->pages, fault->nr_pages);
	else
		release_pages(fault->pages, fault->nr_pages);
}

/*
 * The exporter asks to wait. Not with pages in hand that it may be waiting for,
 * by p2p_wait_pins(): the caller has to be content with these.
 */
static long p2p_gup_wait(struct vm_area_struct *vma, struct p2p_fault *fault,
			 unsigned long start, int *locked,
			 struct p2p_gup_wait *wait)
{
	unsigned int flags = fault->gup_flags;
	long ret = 0;

	if (wait->held || (flags & FOLL_P2P_HELD))
		ret = -EAGAIN;
	else if (wait->waited == P2P_WAITED_ENOUGH)
		ret = -ETIMEDOUT;
	else if (flags & FOLL_NOFAULT)
		ret = -EFAULT;
	else if (!(flags & (FOLL_UNLOCKABLE | FOLL_NOWAIT)))
		ret = -EBUSY;
	if (ret || (flags & FOLL_NOWAIT)) {
		p2p_exporter_put(fault->wait_on);
		return ret;
	}
	mmap_read_unlock(vma->vm_mm);
	*locked = 0;
	fault->waited = wait->waited;
	if (p2p_fault_wait(fault, start) == -ETIMEDOUT)
		wait->waited = P2P_WAITED_ENOUGH;
	else
		wait->waited = fault->waited;
	return 0;
}

/* As p2p_gup(), but what one call of ->p2p_map() gives. */
static long p2p_gup_ask(struct vm_area_struct *vma, unsigned long start,
			unsigned long end, unsigned int gup_flags,
			struct page **pages, int *locked,
			struct p2p_gup_wait *wait)
{
	bool write = gup_flags & FOLL_WRITE;
	struct p2p_extents set;
	struct p2p_fault fault;
	int ret;

	p2p_extents_init(&set, NULL, start, end, write);
	p2p_fault_init(&fault, &set);
	fault.pages = pages;
	fault.gup_flags = gup_flags;

	ret = p2p_fault_map(&fault, vma, start, end, 0, write);
	if (!ret) {
		wait->held = true;
		return fault.nr_pages;
	}
	p2p_gup_put(&fault);
	if (ret == -EAGAIN)
		return p2p_gup_wait(vma, &fault, start, locked, wait);
	return ret == -ENOMEM ? ret : -EFAULT;
}

/**
 * p2p_gup - get pages of a p2p VMA
 * @vma: the VMA, p2p_gup_enabled() and check_vma_flags() passed
 * @start: user address in the first page, in @vma
 * @nr_pages: how many pages at most; they may go on behind @vma
 * @gup_flags: those of the walk
 * @pages: where the pages go
 * @locked: as for __get_user_pages()
 * @wait: what the call of GUP knows of exporters, zeroed at first
 *
 * Asks the exporter only, since nobody knows which device the pages are for: the
 * topology has its say when they are mapped for DMA. An exporter that moves
 * memory is waited for without mmap_lock, p2p_vma.wait_ms in all calls with the
 * same @wait; then -ETIMEDOUT. Where mmap_lock may not be dropped, -EBUSY; and
 * -EAGAIN if the caller has got such pages before.
 *
 * Context: mmap_lock held.
 * Return: the number of pages, at least 1; 0 to come again, with *@locked 0 if
 * mmap_lock was dropped; or an errno, which for every refusal is what GUP says
 * to a mapping without pages, -EFAULT. The tracepoint knows more.
 */
long p2p_gup(struct vm_area_struct *vma, unsigned long start,
	     unsigned long nr_pages, unsigned int gup_flags,
	     struct page **pages, int *locked, struct p2p_gup_wait *wait)
{
	unsigned long end, done = 0;
	long ret;

	start &= PAGE_MASK;
	nr_pages = min((vma->vm_end - start) >> PAGE_SHIFT, nr_pages);
	end = start + (nr_pages << PAGE_SHIFT);
	/* An exporter may grant piece by piece. */
	do {
		ret = p2p_gup_ask(vma, start + (done << PAGE_SHIFT), end,
				  gup_flags, pages + done, locked, wait);
		if (ret <= 0)
			break;
		done += ret;
	} while (done < nr_pages);
	return done ? done : ret;
}
