// SPDX-License-Identifier: GPL-2.0
/*
 * Extents of peer memory: their life, the importer's index of live extents,
 * the pending extents of a fault, CPU copies, and the deferred release.
 */
#include <linux/device.h>
#include <linux/export.h>
#include <linux/interval_tree.h>
#include <linux/io.h>
#include <linux/lockdep.h>
#include <linux/p2p_topology.h>
#include <linux/p2p_vma.h>
#include <linux/slab.h>
#include <trace/events/p2p.h>

#include "p2p_vma.h"

/*
 * Held, for lockdep, while an exporter is called back. p2p_region_detach() waits
 * for extents, also for those that a call of ->p2p_map() has granted already: a
 * lock that ->p2p_map() or ->p2p_unmap() takes must not be held across it.
 */
#ifdef CONFIG_LOCKDEP
struct lockdep_map p2p_drain_lockdep =
	STATIC_LOCKDEP_MAP_INIT("p2p_drain", &p2p_drain_lockdep);
#endif

/* Exporters */

bool p2p_exporter_get(struct p2p_exporter *e)
{
	bool live;

	spin_lock(&e->lock);
	live = !e->dead;
	if (live)
		e->users++;
	spin_unlock(&e->lock);
	return live;
}

void p2p_exporter_put(struct p2p_exporter *e)
{
	spin_lock(&e->lock);
	if (!--e->users && e->dead)
		complete(&e->drained);
	spin_unlock(&e->lock);
}

/* One for each exporter: a slow ->p2p_unmap() delays nobody else. */
static void p2p_put_work(struct work_struct *work)
{
	struct p2p_exporter *e = container_of(work, struct p2p_exporter,
					      put_work);
	struct p2p_extent *ext, *next;

	llist_for_each_entry_safe(ext, next, llist_del_all(&e->put_list), put) {
		if (ext->kva)
			iounmap(ext->kva);
		trace_p2p_unmap(ext);
		if (ext->unmap) {
			lock_map_acquire_read(&p2p_drain_lockdep);
			ext->unmap(ext);
			lock_map_release(&p2p_drain_lockdep);
		}
		put_device(ext->importer);
		kfree(ext);
		p2p_exporter_put(e);
		cond_resched();
	}
}

/**
 * p2p_exporter_init - make an exporter ready for extents
 * @e: the exporter, its ops are set
 * @r: the region that it exports; the caller's reference passes to @e
 */
void p2p_exporter_init(struct p2p_exporter *e, struct p2p_region *r)
{
	e->region = r;
	spin_lock_init(&e->lock);
	e->dead = false;
	e->users = 0;
	INIT_LIST_HEAD(&e->extents);
	e->checked = 0;
	e->pages = NULL;
	init_completion(&e->drained);
	init_waitqueue_head(&e->wait);
	atomic_set(&e->wakes, 0);
	init_llist_head(&e->put_list);
	INIT_WORK(&e->put_work, p2p_put_work);
}

/**
 * p2p_exporter_drain - revoke every extent of an exporter and wait for the end
 * @e: the exporter; not usable afterwards
 *
 * Allocates nothing and cannot fail. May sleep. The caller holds no lock that
 * @e's zap(), ->p2p_map() or ->p2p_unmap() takes.
 */
void p2p_exporter_drain(struct p2p_exporter *e)
{
	bool busy;

	lock_map_acquire(&p2p_drain_lockdep);
	lock_map_release(&p2p_drain_lockdep);
	spin_lock(&e->lock);
	e->dead = true;
	spin_unlock(&e->lock);
	p2p_wake(e);
	e->ops->zap(e);

	spin_lock(&e->lock);
	busy = e->users;
	spin_unlock(&e->lock);
	while (busy && !wait_for_completion_timeout(&e->drained, 10 * HZ))
		pr_warn("p2p: %s: %u extents still in use after revocation\n",
			dev_name(e->region->owner), READ_ONCE(e->users));
	/* Pairs with the unlock in p2p_exporter_put(): it is done with @e. */
	spin_lock(&e->lock);
	spin_unlock(&e->lock);
	flush_work(&e->put_work);
}

/**
 * p2p_exporter_recheck - take extents back that the topology forbids by now
 * @e: the exporter, a reference is held
 *
 * A change of the fabric or of the policy must end mappings that it forbids, or
 * requests go where nobody expects them. Zaps all of @e if it hits one extent;
 * the others fault again.
 *
 * Context: may sleep; as for p2p_region_detach(). Called by one work item only:
 * there is one cursor in the list.
 */
void p2p_exporter_recheck(struct p2p_exporter *e)
{
	struct p2p_extent *ext, last = {};	/* the same answer as that */
	LIST_HEAD(here);	/* a place in the list: there may be very many */
	bool stale = false;

	spin_lock(&e->lock);
	list_add(&here, &e->extents);
	while (!stale && !list_is_last(&here, &e->extents)) {
		ext = list_entry(here.next, struct p2p_extent, sibling);
		if (ext->importer != last.importer ||
		    ext->flags != last.flags || ext->map_type != last.map_type)
			stale = p2p_extent_stale(ext);
		last.importer = ext->importer;
		last.flags = ext->flags;
		last.map_type = ext->map_type;
		list_move(&here, &ext->sibling);
		/* New ones come in front: they look at the topology themselves. */
		cond_resched_lock(&e->lock);
	}
	list_del(&here);
	spin_unlock(&e->lock);
	if (stale)
		e->ops->zap(e);
}

/* Extents */

/* Takes a reference on @e, NULL if it is dead; ERR_PTR(-ENOMEM). */
struct p2p_extent *p2p_extent_alloc(struct p2p_exporter *e,
				    struct device *importer)
{
	struct p2p_extent *ext;

	if (!p2p_exporter_get(e))
		return NULL;
	ext = kzalloc_obj(*ext);
	if (!ext) {
		p2p_exporter_put(e);
		return ERR_PTR(-ENOMEM);
	}
	ext->exporter = e;
	ext->importer = get_device(importer);
	ext->dma = DMA_MAPPING_ERROR;
	INIT_LIST_HEAD(&ext->sibling);
	return ext;
}

static void p2p_extent_untrack(struct p2p_extent *ext)
{
	spin_lock(&ext->exporter->lock);
	list_del_init(&ext->sibling);
	spin_unlock(&ext->exporter->lock);
}

/* Map for DMA, so that no change of the topology goes unnoticed. */
static int p2p_extent_map_tracked(struct p2p_extent *ext,
				  enum p2p_reason *reason)
{
	int ret;

	for (;;) {
		ret = p2p_extent_dma_map(ext, reason);
		if (ret || ext->flags & P2P_EXT_RAM)
			return ret;
		spin_lock(&ext->exporter->lock);
		list_add(&ext->sibling, &ext->exporter->extents);
		spin_unlock(&ext->exporter->lock);
		/* Either p2p_exporter_recheck() sees it, or we the change. */
		smp_mb();
		if (ext->generation == p2p_topology_generation() ||
		    !p2p_extent_stale(ext))
			return 0;
		p2p_extent_untrack(ext);
		p2p_extent_dma_unmap(ext);
	}
}

/* Fault phase: make the extent usable for its importer, as a whole. */
int p2p_extent_map(struct p2p_extent *ext, pgprot_t prot,
		   enum p2p_reason *reason)
{
	int ret = 0;

	if (ext->importer) {
		ret = p2p_extent_map_tracked(ext, reason);
	} else if (!(ext->flags & P2P_EXT_RAM) &&
		   !ext->exporter->ops->copy_to) {
		/*
		 * With the cache mode of the user's mapping: an alias of
		 * another type would change that of later user mappings. Other
		 * architectures take a user's permissions for the kernel's.
		 */
		if (!IS_ENABLED(CONFIG_X86) && !IS_ENABLED(CONFIG_ARM64)) {
			*reason = P2P_REASON_CPU_MAP;
			return -EOPNOTSUPP;
		}
		pfnmap_setup_cachemode_pfn(PHYS_PFN(ext->phys), &prot);
		ext->kva = ioremap_prot(ext->phys, ext->len, prot);
		if (!ext->kva) {
			*reason = P2P_REASON_CPU_MAP;
			ret = -ENOMEM;
		}
	}
	if (!ret) {
		ext->mapped = true;
		trace_p2p_map(ext);
	}
	return ret;
}

/*
 * End of an extent that is in no tree any more: ends the importer's DMA access
 * here and leaves the rest to the exporter's worker. May be called under
 * user_lock: it neither allocates nor calls the exporter.
 */
void p2p_extent_release(struct p2p_extent *ext)
{
	struct p2p_exporter *e = ext->exporter;

	if (ext->mapped && ext->importer) {
		p2p_extent_untrack(ext);
		p2p_extent_dma_unmap(ext);
	}
	if (llist_add(&ext->put, &e->put_list))
		queue_work(system_dfl_wq, &e->put_work);
}

static struct p2p_extent *p2p_tree_find(struct rb_root_cached *root,
					unsigned long start, unsigned long last)
{
	struct interval_tree_node *node;

	node = interval_tree_iter_first(root, start, last);
	return node ? container_of(node, struct p2p_extent, node) : NULL;
}

/*
 * Shrink [*start, *end) around @addr, which no extent of the tree covers, so
 * that it meets none. Extents of one tree do not overlap: a plain descent.
 */
static void p2p_tree_clip(struct rb_root_cached *root, unsigned long addr,
			  unsigned long *start, unsigned long *end)
{
	struct rb_node *rb = root->rb_root.rb_node;

	while (rb) {
		struct interval_tree_node *node =
			rb_entry(rb, struct interval_tree_node, rb);

		if (node->start > addr) {
			*end = min(*end, node->start);
			rb = rb->rb_left;
		} else {
			*start = max(*start, node->last + 1);
			rb = rb->rb_right;
		}
	}
}

/* The importer's index */

/**
 * p2p_extents_init - make an importer's index ready
 * @set: the index
 * @importer: device that will master the bus, NULL for a CPU-copy user; the
 *	caller keeps it alive and bound while the index has extents
 * @start: first user address of the importer's object, page aligned
 * @end: end of the object, exclusive
 * @write: may the importer write?
 *
 * The importer's mmu_interval_notifier covers [@start, @end) and lives longer
 * than any extent in the index.
 */
void p2p_extents_init(struct p2p_extents *set, struct device *importer,
		      unsigned long start, unsigned long end, bool write)
{
	set->importer = importer;
	set->start = start;
	set->end = end;
	set->write = write;
	spin_lock_init(&set->lock);
	set->live = RB_ROOT_CACHED;
	set->last = NULL;
	INIT_LIST_HEAD(&set->cut);
}
EXPORT_SYMBOL_GPL(p2p_extents_init);

/**
 * p2p_extents_cut - take every extent that meets a range out of the index
 * @set: the index
 * @start: in: first address that is invalidated; out: first one to zap
 * @end: in: end of the invalidated range; out: end of the range to zap
 *
 * The first act of an mmu_interval_notifier's invalidate(). Extents go as a
 * whole: the importer then stops its hardware for the widened range, and calls
 * p2p_extents_cut_finish(). Harmless when repeated. Allocates nothing.
 *
 * Context: the importer's user_lock held until p2p_extents_cut_finish().
 * Return: true if there was such an extent.
 */
bool p2p_extents_cut(struct p2p_extents *set, unsigned long *start,
		     unsigned long *end)
{
	unsigned long first = *start, last = *end - 1;
	struct p2p_extent *ext;
	unsigned int nr = 0;

	if (first > last)
		return false;
	set->last = NULL;	/* extents leave the tree here only */
	for (;;) {
		/* One at a time: a range may hold very many. */
		spin_lock(&set->lock);
		ext = p2p_tree_find(&set->live, first, last);
		if (ext)
			interval_tree_remove(&ext->node, &set->live);
		spin_unlock(&set->lock);
		if (!ext)
			break;
		list_add_tail(&ext->link, &set->cut);
		*start = min(*start, ext->node.start);
		*end = max(*end, ext->node.last + 1);
		nr++;
	}
	if (nr)
		trace_p2p_cut(set->importer, *start, *end, nr);
	return nr;
}
EXPORT_SYMBOL_GPL(p2p_extents_cut);

/**
 * p2p_extents_cut_finish - end the DMA access to what was cut
 * @set: the index
 *
 * Call it when the importer's hardware uses the widened range no more. An
 * IOMMU mapping is unlinked and flushed when this returns.
 *
 * Context: the same user_lock as for p2p_extents_cut(). Allocates nothing.
 */
void p2p_extents_cut_finish(struct p2p_extents *set)
{
	struct p2p_extent *ext, *next;

	list_for_each_entry_safe(ext, next, &set->cut, link) {
		list_del(&ext->link);
		p2p_extent_release(ext);
	}
}
EXPORT_SYMBOL_GPL(p2p_extents_cut_finish);

/**
 * p2p_extents_lookup - find the live extent at an address
 * @set: the index
 * @addr: user address
 * @off: set to the offset of @addr in the extent, in bytes
 *
 * The tree changes under user_lock and p2p_extents.lock, so that either is enough
 * to read it. Who goes through a range by pages finds the same extent again.
 *
 * Context: the importer's user_lock, for reading will do; the result is good until
 * it is dropped.
 * Return: the extent, or NULL: fault again.
 */
struct p2p_extent *p2p_extents_lookup(struct p2p_extents *set,
				      unsigned long addr, size_t *off)
{
	struct p2p_extent *ext = READ_ONCE(set->last);

	if (!ext || addr - ext->node.start >= ext->len) {
		ext = p2p_tree_find(&set->live, addr, addr);
		if (!ext)
			return NULL;
		WRITE_ONCE(set->last, ext);
	}
	*off = addr - ext->node.start;
	return ext;
}
EXPORT_SYMBOL_GPL(p2p_extents_lookup);

/**
 * p2p_extents_dma_addr - DMA address for the importer at a user address
 * @set: the index
 * @addr: user address
 *
 * Context: the importer's user_lock.
 * Return: the address, or DMA_MAPPING_ERROR if no live extent covers @addr.
 */
dma_addr_t p2p_extents_dma_addr(struct p2p_extents *set, unsigned long addr)
{
	struct p2p_extent *ext;
	size_t off;

	ext = p2p_extents_lookup(set, addr, &off);
	if (!ext || !ext->importer)
		return DMA_MAPPING_ERROR;
	return ext->dma + off;
}
EXPORT_SYMBOL_GPL(p2p_extents_dma_addr);

/**
 * p2p_extents_refuse - the importer cannot do an operation on peer memory
 * @set: the index
 * @addr: user address
 *
 * For what only RAM can do, such as atomics of a CPU-copy user.
 *
 * Return: -EOPNOTSUPP, after the tracepoint.
 */
int p2p_extents_refuse(struct p2p_extents *set, unsigned long addr)
{
	trace_p2p_refuse(set->importer, addr, P2P_REASON_OPERATION,
			 -EOPNOTSUPP);
	return -EOPNOTSUPP;
}
EXPORT_SYMBOL_GPL(p2p_extents_refuse);

/* Copies by the CPU */

static bool p2p_copy_fits(struct p2p_extent *ext, size_t off, size_t len)
{
	return off <= ext->len && len <= ext->len - off;
}

/* After a copy: was there still a device? An evicted object does not need it. */
static int p2p_copy_gone(struct p2p_extent *ext, size_t off, const void *data,
			 size_t len)
{
	if (ext->flags & P2P_EXT_RAM ||
	    !p2p_region_gone(ext->exporter->region, data, len))
		return 0;
	trace_p2p_refuse(NULL, ext->node.start + off, P2P_REASON_GONE, -ENODEV);
	return -ENODEV;
}

/**
 * p2p_copy_to - copy kernel memory into an extent of a CPU-copy user
 * @ext: from p2p_extents_lookup(), importer NULL
 * @off: offset in the extent, bytes
 * @src: kernel memory
 * @len: bytes
 *
 * Context: the importer's user_lock. Stores have left the CPU on return: none
 * stays behind in a write-combining buffer when the memory is taken back.
 * Return: 0, -EINVAL (past the end), -EPERM (read-only), -EOPNOTSUPP (the
 * extent belongs to a device), -ENODEV (the owner is known to be gone), or what
 * the exporter's copy_to returned.
 */
int p2p_copy_to(struct p2p_extent *ext, size_t off, const void *src, size_t len)
{
	const struct p2p_exporter_ops *ops = ext->exporter->ops;
	int ret = 0;

	if (!p2p_copy_fits(ext, off, len))
		return -EINVAL;
	if (ext->flags & P2P_EXT_RDONLY)
		return -EPERM;
	if (ext->importer)
		return -EOPNOTSUPP;

	if (ext->flags & P2P_EXT_RAM)
		memcpy(phys_to_virt(ext->phys) + off, src, len);
	else if (ops->copy_to)
		ret = ops->copy_to(ext, off, src, len);
	else
		memcpy_toio(ext->kva + off, src, len);
	/* Drain write-combining buffers before user_lock is dropped. */
	wmb();
	return ret ?: p2p_copy_gone(ext, off, NULL, len);
}
EXPORT_SYMBOL_GPL(p2p_copy_to);

/**
 * p2p_copy_from - copy from an extent of a CPU-copy user into kernel memory
 * @ext: from p2p_extents_lookup(), importer NULL
 * @off: offset in the extent, bytes
 * @dst: kernel memory
 * @len: bytes
 *
 * Context: the importer's user_lock.
 * Return: 0, -EINVAL (past the end), -EOPNOTSUPP (the extent belongs to a
 * device), -ENODEV (the owner is gone, @dst is void), or what the exporter's
 * copy_from returned.
 */
int p2p_copy_from(struct p2p_extent *ext, size_t off, void *dst, size_t len)
{
	const struct p2p_exporter_ops *ops = ext->exporter->ops;
	int ret = 0;

	if (!p2p_copy_fits(ext, off, len))
		return -EINVAL;
	if (ext->importer)
		return -EOPNOTSUPP;

	if (ext->flags & P2P_EXT_RAM)
		memcpy(dst, phys_to_virt(ext->phys) + off, len);
	else if (ops->copy_from)
		ret = ops->copy_from(ext, off, dst, len);
	else
		memcpy_fromio(dst, ext->kva + off, len);
	return ret ?: p2p_copy_gone(ext, off, dst, len);
}
EXPORT_SYMBOL_GPL(p2p_copy_from);

/* Pending extents */

/**
 * p2p_fault_init - make the state of one fault ready
 * @fault: on the caller's stack; hmm_range.peer points to it
 * @set: the importer's index
 *
 * After hmm_range_fault_unlocked_timeout() succeeded, take user_lock, and
 * either p2p_fault_commit() or call it again; when giving up, drop user_lock
 * and p2p_fault_drop().
 */
void p2p_fault_init(struct p2p_fault *fault, struct p2p_extents *set)
{
	*fault = (struct p2p_fault) {
		.set = set,
		.pending = RB_ROOT_CACHED,
	};
}
EXPORT_SYMBOL_GPL(p2p_fault_init);

/*
 * Is there a pending or (as a hint) a live extent at @addr? If so, *@end is
 * lowered to where it ends. If not, [*@start, *@end) is shrunk around @addr so
 * that it meets none.
 */
bool p2p_fault_find(struct p2p_fault *fault, unsigned long addr,
		    unsigned long *start, unsigned long *end, bool *write)
{
	struct p2p_extents *set = fault->set;
	struct p2p_extent *ext;

	spin_lock(&set->lock);
	ext = p2p_tree_find(&fault->pending, addr, addr);
	if (!ext)
		ext = p2p_tree_find(&set->live, addr, addr);
	if (ext) {
		*end = min(*end, ext->node.last + 1);
		*write = !(ext->flags & P2P_EXT_RDONLY);
	} else {
		p2p_tree_clip(&fault->pending, addr, start, end);
		p2p_tree_clip(&set->live, addr, start, end);
	}
	spin_unlock(&set->lock);
	return ext;
}

void p2p_fault_add(struct p2p_fault *fault, struct p2p_extent *ext,
		   unsigned long seq)
{
	ext->seq = seq;
	interval_tree_insert(&ext->node, &fault->pending);
}

static struct p2p_extent *p2p_fault_pop(struct p2p_fault *fault)
{
	struct p2p_extent *ext = p2p_tree_find(&fault->pending, 0, ULONG_MAX);

	if (ext)
		interval_tree_remove(&ext->node, &fault->pending);
	return ext;
}

/**
 * p2p_fault_commit - make the pending extents live
 * @fault: the fault
 * @seq: hmm_range.notifier_seq, for which mmu_interval_read_retry() said that
 *	nothing was invalidated
 *
 * An extent that was granted under another sequence is stale and is dropped;
 * so is one that meets a live extent. Publishes only: no allocation, no
 * exporter call, no waiting.
 *
 * Context: the importer's user_lock.
 */
void p2p_fault_commit(struct p2p_fault *fault, unsigned long seq)
{
	struct p2p_extents *set = fault->set;
	struct p2p_extent *ext;
	bool live;

	while ((ext = p2p_fault_pop(fault))) {
		spin_lock(&set->lock);
		live = ext->seq == seq &&
		       !p2p_tree_find(&set->live, ext->node.start,
				      ext->node.last);
		if (live)
			interval_tree_insert(&ext->node, &set->live);
		spin_unlock(&set->lock);
		if (!live)
			p2p_extent_release(ext);
	}
}
EXPORT_SYMBOL_GPL(p2p_fault_commit);

/**
 * p2p_fault_drop - give back the pending extents
 * @fault: the fault; usable for another try
 */
void p2p_fault_drop(struct p2p_fault *fault)
{
	struct p2p_extent *ext;

	while ((ext = p2p_fault_pop(fault)))
		p2p_extent_release(ext);
}
EXPORT_SYMBOL_GPL(p2p_fault_drop);
