// SPDX-License-Identifier: GPL-2.0
/*
 * Find the peer memory in a direct I/O buffer that the CPU is about to fill or
 * to read: for these bytes there is no request that a device could refuse.
 */
#include <linux/bio-p2p.h>
#include <linux/export.h>
#include <linux/mm.h>
#include <linux/mmap_lock.h>
#include <linux/p2p_vma.h>
#include <linux/pci-p2pdma.h>
#include <linux/sched.h>
#include <linux/uaccess.h>
#include <trace/events/p2p_io.h>

#define P2P_CPU_PAGES	16

/*
 * Limit @len to the VMA at @addr. Peer pages are in special VMAs only; others
 * cost one lookup, not a pin for each page.
 */
static int p2p_cpu_vma(unsigned long addr, size_t *len, bool nofault,
		       bool *special, bool *p2p)
{
	struct mm_struct *mm = current->mm;
	struct vm_area_struct *vma;
	bool locked = false;

	addr = untagged_addr(addr);
	vma = lock_vma_under_rcu(mm, addr);
	if (!vma) {
		/* Under nofault a fault would deadlock, and so may we. */
		if (!nofault)
			mmap_read_lock(mm);
		else if (!mmap_read_trylock(mm))
			return -EFAULT;
		locked = true;
		vma = vma_lookup(mm, addr);
	}
	*special = vma && vma->vm_flags & (VM_PFNMAP | VM_MIXEDMAP);
	*p2p = vma && vma_has_p2p(vma);
	if (vma)
		*len = min(*len, vma->vm_end - addr);
	else
		*len = min(*len, PAGE_SIZE - offset_in_page(addr));
	if (locked)
		mmap_read_unlock(mm);
	else
		vma_end_read(vma);
	return 0;
}

/* Count, or refuse, what of @n bytes in @pages, from @off on, is peer memory. */
static int p2p_cpu_pages(struct page **pages, size_t off, size_t n,
			 enum p2p_cpu_path path)
{
	struct p2pdma_provider *mem;
	bool allowed;
	size_t len;
	int ret = 0;

	for (; n; n -= len, off = 0, pages++) {
		len = min(n, PAGE_SIZE - off);
		if (!is_pci_p2pdma_page(*pages))
			continue;
		mem = pci_p2pdma_page_provider(*pages);
		allowed = pci_p2pdma_cpu_allowed(mem);
		pci_p2pdma_count(mem, allowed ? P2PDMA_CPU : P2PDMA_REFUSED,
				 len);
		trace_p2p_cpu(mem->owner, len, path, allowed ? 0 : -EREMOTEIO);
		if (!allowed)
			ret = -EREMOTEIO;
	}
	return ret;
}

/*
 * The same for the next @len bytes of @i, all of one VMA, @p2p if it is one.
 * Advances @i.
 */
static int p2p_cpu_range(struct iov_iter *i, size_t len, bool p2p,
			 enum p2p_cpu_path path)
{
	struct page *pages[P2P_CPU_PAGES], **p = pages;
	size_t off;
	ssize_t n;
	int ret;

	while (len) {
		n = iov_iter_extract_pages(i, &p, len, P2P_CPU_PAGES,
					   ITER_ALLOW_P2PDMA, &off);
		if (n <= 0) {
			/* It may be ours, but we cannot know now: why not? */
			if (p2p && n && n != -EFAULT)
				return n == -EAGAIN ? -EINTR : n;
			/* No page, so not ours: the copy will see what it is. */
			iov_iter_advance(i, len);
			return 0;
		}
		ret = p2p_cpu_pages(pages, off, n, path);
		unpin_user_pages(pages, DIV_ROUND_UP(off + n, PAGE_SIZE));
		if (ret)
			return ret;
		len -= n;
	}
	return 0;
}

/**
 * __p2p_cpu_access - p2p_cpu_access() of a user buffer
 * @iter: the buffer
 * @len: bytes of it
 * @path: why
 *
 * Return: as p2p_cpu_access().
 */
int __p2p_cpu_access(const struct iov_iter *iter, size_t len,
		     enum p2p_cpu_path path)
{
	struct iov_iter i = *iter;
	bool special, p2p;
	size_t n;
	int ret;

	iov_iter_truncate(&i, len);
	iov_iter_advance(&i, 0);	/* past empty segments */
	while (iov_iter_count(&i)) {
		n = min(iter_iov_len(&i), iov_iter_count(&i));
		ret = p2p_cpu_vma((unsigned long)iter_iov_addr(&i), &n,
				  i.nofault, &special, &p2p);
		if (ret)
			return ret;
		if (!special) {
			iov_iter_advance(&i, n);
			continue;
		}
		ret = p2p_cpu_range(&i, n, p2p, path);
		if (ret)
			return ret;
	}
	return 0;
}
EXPORT_SYMBOL_GPL(__p2p_cpu_access);
