// SPDX-License-Identifier: GPL-2.0
/*
 * Peer-to-peer DMA through VMAs: asking the exporter behind a VMA for extents,
 * holding it to its promises, and waiting for it where it moves memory.
 */
#define pr_fmt(fmt) "p2p_vma: " fmt
#include <linux/export.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/ioport.h>
#include <linux/jump_label.h>
#include <linux/lockdep.h>
#include <linux/mm.h>
#include <linux/mmap_lock.h>
#include <linux/mmu_notifier.h>
#include <linux/moduleparam.h>
#include <linux/p2p_vma.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>

#define CREATE_TRACE_POINTS
#include <trace/events/p2p.h>
EXPORT_TRACEPOINT_SYMBOL_GPL(p2p_refuse);
EXPORT_TRACEPOINT_SYMBOL_GPL(p2p_on_demand);

#include "p2p_vma.h"

static DEFINE_STATIC_KEY_TRUE(p2p_vma_on);

static unsigned int wait_ms = 5000;
module_param(wait_ms, uint, 0644);
MODULE_PARM_DESC(wait_ms, "Longest wait for an exporter in one fault, in ms");

static int __init p2p_vma_setup(char *str)
{
	if (!str || strcmp(str, "off"))
		return -EINVAL;
	static_branch_disable(&p2p_vma_on);
	pr_info("off by the kernel command line\n");
	return 0;
}
early_param("p2p_vma", p2p_vma_setup);

/* May peers ask for the memory behind @vma? If not, it is as any other VMA. */
bool p2p_vma_enabled(const struct vm_area_struct *vma)
{
	return vma_has_p2p(vma) && static_branch_likely(&p2p_vma_on);
}

static int p2p_refuse(const struct p2p_fault *fault, unsigned long addr,
		      enum p2p_reason reason, int err)
{
	trace_p2p_refuse(fault->set->importer, addr, reason, err);
	return err;
}

/* What an exporter calls from ->p2p_map() */

static bool p2p_req_range_ok(const struct p2p_map_req *req, unsigned long addr,
			     size_t len)
{
	return PAGE_ALIGNED(addr) && PAGE_ALIGNED(len) && len &&
	       addr >= req->next && addr < req->window_end &&
	       len <= req->window_end - addr;
}

static bool p2p_req_phys_ok(const struct p2p_exporter *e, phys_addr_t phys,
			    size_t len, unsigned int flags)
{
	const struct p2p_region *r = e->region;

	if (!PAGE_ALIGNED(phys))
		return false;
	/* An evicted object: only the linear map can reach it by the CPU. */
	if (flags & P2P_EXT_RAM)
		return pfn_valid(PHYS_PFN(phys)) &&
		       pfn_valid(PHYS_PFN(phys + len - 1)) &&
		       region_intersects(phys, len, IORESOURCE_SYSTEM_RAM,
					 IORES_DESC_NONE) == REGION_INTERSECTS;
	return phys >= r->start && phys - r->start < r->len &&
	       len <= r->len - (phys - r->start);
}

static int p2p_req_fail(struct p2p_map_req *req, enum p2p_reason reason, int err)
{
	req->reason = reason;
	return req->err = err;
}

/**
 * p2p_req_add - grant one physically contiguous extent
 * @req: the request, inside ->p2p_map()
 * @e: the exporter, attached to the region that @phys lies in
 * @addr: user address where the extent begins; extents come in address order
 *	and do not overlap
 * @phys: physical address that @addr maps; with P2P_EXT_RAM of system RAM, and
 *	the region is then only the anchor of the extent's life
 * @len: bytes; all are multiples of PAGE_SIZE, and [@addr, @addr + @len) lies in
 *	the request's window
 * @flags: P2P_EXT_RAM, P2P_EXT_RDONLY
 * @priv: for the exporter, in the extent that ->p2p_unmap() gets
 *
 * The exporter treats all RAM that it granted for writing as dirty when it takes
 * it back: nobody marks the pages for it.
 *
 * If pages are asked for, their references are taken here, so that whoever flips
 * the state under the same lock and then calls p2p_wait_pins() sees them.
 *
 * Context: under the exporter's lock that orders grants against its moves. May
 * sleep.
 * Return: 0, -ENODEV if @e was detached, -ENOMEM, -EFAULT if pages are asked for
 * and @e has none, -EPERM if they are asked for writing and @flags say read-only,
 * or -EINVAL (and one warning) for an extent that breaks the rules. After an error
 * nothing is granted.
 */
int p2p_req_add(struct p2p_map_req *req, struct p2p_exporter *e,
		unsigned long addr, phys_addr_t phys, size_t len,
		unsigned int flags, void *priv)
{
	struct p2p_extent *ext;

	if (req->err)
		return req->err;
	/* Comes first: a detached exporter has no region any more. */
	ext = p2p_extent_alloc(e, req->importer);
	if (!ext)
		return p2p_req_fail(req, P2P_REASON_EXPORTER, -ENODEV);
	if (IS_ERR(ext))
		return p2p_req_fail(req, P2P_REASON_NO_MEMORY, PTR_ERR(ext));
	if (WARN_ONCE(!p2p_req_range_ok(req, addr, len) ||
		      !p2p_req_phys_ok(e, phys, len, flags),
		      "p2p: %ps granted %#zx bytes at %#lx, phys %pa: not a valid extent\n",
		      req->vma->vm_ops->p2p_map, len, addr, &phys)) {
		p2p_extent_release(ext);
		return p2p_req_fail(req, P2P_REASON_BAD_EXTENT, -EINVAL);
	}
	if (req->pages && p2p_req_pin(req, e, addr, phys, len, flags)) {
		p2p_extent_release(ext);
		return req->err;
	}
	ext->phys = phys;
	ext->len = len;
	ext->flags = flags;
	if (!req->write)
		ext->flags |= P2P_EXT_RDONLY;
	ext->priv = priv;
	ext->unmap = req->vma->vm_ops->p2p_unmap;
	ext->node.start = addr;
	ext->node.last = addr + len - 1;
	list_add_tail(&ext->link, &req->extents);
	req->next = addr + len;
	return 0;
}
EXPORT_SYMBOL_GPL(p2p_req_add);

/**
 * p2p_req_wait - ask the importer to come again after p2p_wake()
 * @req: the request, inside ->p2p_map()
 * @e: the exporter that will wake it
 *
 * For memory that is on the move. ->p2p_map() returns what this returns. The
 * core drops mmap_lock before it waits, and gives up after p2p_vma.wait_ms.
 *
 * Context: under the lock that the mover takes before p2p_wake(), so that no
 * wake is lost.
 * Return: -EAGAIN, -ENODEV if @e was detached, or -EFAULT if pages are asked for
 * and @e has none.
 */
int p2p_req_wait(struct p2p_map_req *req, struct p2p_exporter *e)
{
	int seen = atomic_read(&e->wakes);

	/* Without pages the answer does not depend on what we wait for. */
	if (req->pages && !READ_ONCE(e->pages))
		return p2p_req_fail(req, P2P_REASON_NO_PAGES, -EFAULT);
	if (req->wait_on)
		return -EAGAIN;
	/* Comes second: a detach that we do not see wakes us. */
	if (!p2p_exporter_get(e))
		return -ENODEV;
	req->wait_on = e;
	req->wait_seen = seen;
	return -EAGAIN;
}
EXPORT_SYMBOL_GPL(p2p_req_wait);

/**
 * p2p_wake - wake every importer that waits for an exporter
 * @e: the exporter
 *
 * Context: any; may be called under the exporter's lock.
 */
void p2p_wake(struct p2p_exporter *e)
{
	atomic_inc(&e->wakes);
	wake_up_all(&e->wait);
}
EXPORT_SYMBOL_GPL(p2p_wake);

/**
 * p2p_map_linear - ->p2p_map() of a VMA that maps memory in file offset order
 * @vma: the VMA
 * @req: the request
 * @e: the exporter
 * @base: physical address that offset 0 of the file maps (modulo 2^64, if the
 *	driver keeps something else in the upper bits of the offset)
 *
 * Grants the whole window as one extent.
 *
 * Return: as p2p_req_add().
 */
int p2p_map_linear(struct vm_area_struct *vma, struct p2p_map_req *req,
		   struct p2p_exporter *e, phys_addr_t base)
{
	phys_addr_t phys = base + ((phys_addr_t)vma->vm_pgoff << PAGE_SHIFT) +
			   (req->window_start - vma->vm_start);

	return p2p_req_add(req, e, req->window_start, phys,
			   req->window_end - req->window_start, 0, NULL);
}
EXPORT_SYMBOL_GPL(p2p_map_linear);

/**
 * p2p_zap_mapping - unmap_mapping_range() of what peers may ask for
 * @mapping: the address_space
 * @start: first byte, page aligned
 * @len: bytes, whole pages
 *
 * For a zap() where others map the same memory through the same address_space
 * without ->p2p_map(), and maybe without ->fault(): theirs stays.
 *
 * Context: may sleep.
 */
void p2p_zap_mapping(struct address_space *mapping, u64 start, u64 len)
{
	pgoff_t first = start >> PAGE_SHIFT;
	pgoff_t last = (start + len - 1) >> PAGE_SHIFT;
	struct vm_area_struct *vma;

	i_mmap_lock_read(mapping);
	mapping_rmap_tree_foreach(vma, mapping, first, last) {
		pgoff_t from = max(first, vma_start_pgoff(vma));
		pgoff_t to = min(last, vma_last_pgoff(vma));
		unsigned long skip = from - vma_start_pgoff(vma);

		if (vma_has_p2p(vma))
			zap_vma_range(vma, vma->vm_start + (skip << PAGE_SHIFT),
				      (to - from + 1) << PAGE_SHIFT);
	}
	i_mmap_unlock_read(mapping);
}
EXPORT_SYMBOL_GPL(p2p_zap_mapping);

/**
 * p2p_mm_has_p2p - does a range contain a mapping that peers may ask for?
 * @mm: the address space
 * @start: first user address
 * @end: end of the range, exclusive
 *
 * Context: takes mmap_lock.
 * Return: true if a VMA in the range has ->p2p_map().
 */
bool p2p_mm_has_p2p(struct mm_struct *mm, unsigned long start,
		    unsigned long end)
{
	struct vm_area_struct *vma;
	bool found = false;

	if (!static_branch_likely(&p2p_vma_on) || !mmget_not_zero(mm))
		return false;
	mmap_read_lock(mm);
	VMA_ITERATOR(vmi, mm, start);
	for_each_vma_range(vmi, vma, end) {
		found = vma_has_p2p(vma);
		if (found)
			break;
	}
	mmap_read_unlock(mm);
	mmput_async(mm);
	return found;
}
EXPORT_SYMBOL_GPL(p2p_mm_has_p2p);

/* What hmm_range_fault_unlocked_timeout() calls */

/* Permissions of the VMA and of the importer, before the exporter is asked. */
static int p2p_vma_check(struct p2p_fault *fault, struct vm_area_struct *vma,
			 unsigned long addr, bool write)
{
	/* Elsewhere the PTEs may hold pages that the core must not bypass. */
	if (WARN_ONCE(!(vma->vm_flags & VM_PFNMAP),
		      "p2p: %ps on a VMA that is not VM_PFNMAP\n",
		      vma->vm_ops->p2p_map))
		return p2p_refuse(fault, addr, P2P_REASON_NOT_PFNMAP, -EFAULT);
	/* A topology change zaps the CPU, too; remapped PFNs never come back. */
	if (WARN_ONCE(!vma->vm_ops->fault && !vma->vm_ops->huge_fault,
		      "p2p: %ps on a VMA without ->fault()\n",
		      vma->vm_ops->p2p_map))
		return p2p_refuse(fault, addr, P2P_REASON_NO_FAULT, -EFAULT);
	/* Not VM_SHARED: that is clear in a shared mapping of an O_RDONLY fd. */
	if (!(vma->vm_flags & VM_MAYSHARE) || vma_is_cow_mapping(vma))
		return p2p_refuse(fault, addr, P2P_REASON_NOT_SHARED, -EFAULT);
	/*
	 * As for the CPU (access_error()): what can be written can be read.
	 * Doorbells are mapped with PROT_WRITE alone.
	 */
	if (!(vma->vm_flags & (VM_READ | VM_WRITE)))
		return p2p_refuse(fault, addr, P2P_REASON_VMA_READ, -EFAULT);
	if (write && !(vma->vm_flags & VM_WRITE))
		return p2p_refuse(fault, addr, P2P_REASON_VMA_WRITE, -EPERM);
	if (write && !fault->set->write)
		return p2p_refuse(fault, addr, P2P_REASON_IMPORTER_WRITE,
				  -EPERM);
	return 0;
}

/* False if an extent covers @start: then *@write says what it permits. */
static bool p2p_req_init(struct p2p_map_req *req, struct p2p_fault *fault,
			 struct vm_area_struct *vma, unsigned long start,
			 unsigned long end, bool *write)
{
	struct p2p_extents *set = fault->set;
	unsigned long chunk = ALIGN_DOWN(start, P2P_CHUNK_SIZE);

	*req = (struct p2p_map_req) {
		.importer = set->importer,
		.vma = vma,
		.start = start,
		.window_start = max3(chunk, vma->vm_start, set->start),
		.window_end = min3(chunk + (P2P_CHUNK_SIZE - 1),
				   vma->vm_end - 1, set->end - 1) + 1,
		/* All that both sides allow: an extent is never upgraded. */
		.write = (vma->vm_flags & VM_WRITE) && set->write,
		.pages = fault->pages,
		.fault = fault,
	};
	INIT_LIST_HEAD(&req->extents);
	if (p2p_fault_find(fault, start, &req->window_start, &req->window_end,
			   write))
		return false;
	req->end = min(end, req->window_end);
	req->next = req->window_start;
	return true;
}

static void p2p_req_drop(struct p2p_map_req *req)
{
	struct p2p_extent *ext, *next;

	list_for_each_entry_safe(ext, next, &req->extents, link) {
		list_del(&ext->link);
		p2p_extent_release(ext);
	}
}

/*
 * The errno of a failed ->p2p_map(), with -EBUSY, -EAGAIN and -ENOLCK kept out
 * of HMM's hands: there they mean "walk again".
 */
static int p2p_exporter_errno(int ret)
{
	switch (ret) {
	case -EAGAIN:
	case -EBUSY:
	case -ENOLCK:
		return -EIO;
	}
	return ret < 0 ? ret : -EINVAL;
}

/* Map what was granted; only the extent at req->start must succeed. */
static int p2p_req_map(struct p2p_map_req *req, struct p2p_fault *fault,
		       unsigned long seq)
{
	struct p2p_extent *ext, *next;
	bool found = false;

	list_for_each_entry_safe(ext, next, &req->extents, link) {
		bool needed = ext->node.start <= req->start &&
			      ext->node.last >= req->start;
		enum p2p_reason reason;
		int ret;

		list_del(&ext->link);
		ret = p2p_extent_map(ext, req->vma->vm_page_prot, &reason);
		if (ret) {
			p2p_extent_release(ext);
			if (needed)
				return p2p_refuse(fault, req->start, reason,
						  ret);
			continue;
		}
		p2p_fault_add(fault, ext, seq);
		found |= needed;
	}
	if (!found)
		return p2p_refuse(fault, req->start, P2P_REASON_NO_EXTENT,
				  -EFAULT);
	return 0;
}

/* The pages were got by p2p_req_add(); their extents have done their work. */
static int p2p_req_pinned(struct p2p_map_req *req, struct p2p_fault *fault)
{
	struct p2p_extent *ext;

	if (!fault->nr_pages)
		return p2p_refuse(fault, req->start, P2P_REASON_NO_EXTENT,
				  -EFAULT);
	list_for_each_entry(ext, &req->extents, link)
		trace_p2p_pin(ext);
	return 0;
}

/**
 * p2p_fault_map - get pending extents, or pages, for a range of a p2p VMA
 * @fault: the importer's fault
 * @vma: the VMA, p2p_vma_enabled()
 * @start: first address that is needed
 * @end: end of the needed range, exclusive, in @vma
 * @seq: the notifier sequence that the fault is made under
 * @write: write access is needed
 *
 * Context: mmap_lock held, nothing of the importer. May sleep.
 * Return: 0 if an extent covers @start now; -EAGAIN if the caller must
 * drop mmap_lock, p2p_fault_wait() and walk again; or the errno of the refusal.
 */
int p2p_fault_map(struct p2p_fault *fault, struct vm_area_struct *vma,
		  unsigned long start, unsigned long end, unsigned long seq,
		  bool write)
{
	struct p2p_map_req req;
	bool ext_write;
	int ret;

	mmap_assert_locked(vma->vm_mm);

	/* The importer's object is not where its range is? */
	if (WARN_ON_ONCE(start < fault->set->start || start >= fault->set->end))
		return -EINVAL;

	ret = p2p_vma_check(fault, vma, start, write);
	if (ret)
		return ret;
	if (!p2p_req_init(&req, fault, vma, start, end, &ext_write)) {
		/* Committed since the walk by a fault of the same importer? */
		if (!write || ext_write)
			return 0;
		/* Nothing more to ask for: the exporter granted reading. */
		return p2p_refuse(fault, start, P2P_REASON_GRANT_WRITE, -EPERM);
	}

	lock_map_acquire_read(&p2p_drain_lockdep);
	ret = vma->vm_ops->p2p_map(vma, &req);
	lock_map_release(&p2p_drain_lockdep);

	if (req.err)
		ret = p2p_refuse(fault, start, req.reason, req.err);
	else if (ret == -EAGAIN && req.wait_on)
		goto wait;
	else if (ret)
		ret = p2p_refuse(fault, start, P2P_REASON_EXPORTER,
				 p2p_exporter_errno(ret));
	else if (req.pages)
		ret = p2p_req_pinned(&req, fault);
	else
		ret = p2p_req_map(&req, fault, seq);
	p2p_req_drop(&req);
	if (req.wait_on)
		p2p_exporter_put(req.wait_on);
	return ret;

wait:
	p2p_req_drop(&req);
	fault->wait_on = req.wait_on;
	fault->wait_seen = req.wait_seen;
	return -EAGAIN;
}

static bool p2p_woken(struct p2p_exporter *e, const struct p2p_fault *fault)
{
	return atomic_read(&e->wakes) != fault->wait_seen;
}

/**
 * p2p_fault_wait - wait until the exporter that asked for it wakes us
 * @fault: the fault, after p2p_fault_map() returned -EAGAIN
 * @addr: the address that is waited for
 *
 * The waits of one fault last p2p_vma.wait_ms together, however often the exporter
 * asks and whatever else takes time in between. Kernel threads fault too, and no
 * signal reaches them: the bound is what ends theirs.
 *
 * Context: no lock held; pending extents are dropped, since another exporter
 * may be waiting for them.
 * Return: 0 to walk again, -ETIMEDOUT, or -EINTR.
 */
int p2p_fault_wait(struct p2p_fault *fault, unsigned long addr)
{
	struct p2p_exporter *e = fault->wait_on;
	unsigned long limit = msecs_to_jiffies(READ_ONCE(wait_ms));
	unsigned long begin = jiffies;
	long left = 0;
	int ret = 0;

	p2p_fault_drop(fault);
	fault->wait_on = NULL;
	if (fault->waited < limit)
		left = wait_event_killable_timeout(e->wait,
						   p2p_woken(e, fault),
						   limit - fault->waited);
	p2p_exporter_put(e);
	/* A wait for nothing counts, too: there is an end in any case. */
	fault->waited += max(jiffies - begin, 1UL);

	if (left < 0)
		ret = -EINTR;
	else if (!left)
		ret = p2p_refuse(fault, addr, P2P_REASON_WAIT_TIMEOUT,
				 -ETIMEDOUT);
	trace_p2p_wait(fault->set->importer, jiffies_to_msecs(jiffies - begin),
		       ret);
	return ret;
}
