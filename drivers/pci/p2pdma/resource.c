// SPDX-License-Identifier: GPL-2.0
/*
 * The files resourceN and resourceN_wc in sysfs as exporters: what a program maps
 * of a BAR, peers may use, on devices where the attribute p2p_mmap says so.
 * Documentation/ABI/testing/sysfs-bus-pci-p2p.
 *
 * It belongs to the device, not to a driver: it is attached to the regions of the
 * BARs beside whatever driver is bound.
 *
 * struct p2p_bar is a BAR at one place. VMAs refer to it by vm_private_data, and
 * their operations are called only while the file in sysfs exists (kernfs sees to
 * that), so it lives as long as the device.
 *
 * Locks: pci_p2p_resource.lock is taken by whoever attaches, detaches or zaps; it
 * is outside of all that these take. pci_p2p_resource.state is inside of
 * mmap_lock, and its writers only set what it protects.
 */
#include <linux/capability.h>
#include <linux/cleanup.h>
#include <linux/ioport.h>
#include <linux/kstrtox.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/p2p_vma.h>
#include <linux/pci.h>
#include <linux/pci-p2pdma.h>
#include <linux/pm_runtime.h>
#include <linux/rwsem.h>
#include <linux/slab.h>
#include <linux/sysfs.h>
#include <linux/wait.h>

#include "../pci.h"
#include "topology.h"

/* How long a reset waits for O_DIRECT to memory of the BARs, in all. */
#define P2P_BAR_PIN_WAIT	(5 * HZ)

struct pci_p2p_resource {
	struct pci_dev *pdev;
	struct mutex lock;		/* attach, detach, zap */
	bool enabled;			/* lock */
	bool pages;			/* lock; give the BARs struct pages */
	struct rw_semaphore state;
	struct list_head bars;		/* written with lock and state; only grows */
	unsigned int paused;		/* state */
	wait_queue_head_t wait;		/* the CPU waits for the end of a pause */
};

struct p2p_bar {
	struct pci_p2p_resource *res;
	struct list_head node;
	struct p2p_exporter exporter;
	struct p2p_region *region;	/* lock; NULL: not attached */
	bool offered;			/* state; written with lock, too */
	struct p2pdma_provider *blocked; /* lock; the CPU does not copy */
	int nr;
	resource_size_t start;
	resource_size_t len;
};

/* Whoever offers the device first makes it; NULL before. */
static struct pci_p2p_resource *p2p_resource(struct pci_dev *pdev)
{
	/* Pairs with cmpxchg() in p2p_resource_get(). */
	return smp_load_acquire(&pdev->p2p_resource);
}

/* The BAR may have moved, and even have come back. */
static bool p2p_bar_here(const struct p2p_bar *bar)
{
	const struct resource *r = pci_resource_n(bar->res->pdev, bar->nr);

	return r->flags & IORESOURCE_MEM && !(r->flags & IORESOURCE_UNSET) &&
	       r->start == bar->start && resource_size(r) == bar->len;
}

/*
 * Does the memory answer, as far as the kernel knows? A device without a driver
 * is in PCI_UNKNOWN. A virtual function has no enable bit of its own.
 */
static bool p2p_bar_answers(const struct p2p_bar *bar)
{
	struct pci_dev *pdev = bar->res->pdev;
	pci_power_t power = READ_ONCE(pdev->current_state);

	return !p2p_fn_gone(pdev) &&
	       (power == PCI_D0 || power == PCI_UNKNOWN) &&
	       (pdev->no_command_memory ||
		READ_ONCE(pdev->p2p_config.command) & PCI_COMMAND_MEMORY);
}

static phys_addr_t p2p_bar_phys(const struct vm_area_struct *vma,
				unsigned long addr)
{
	return ((phys_addr_t)vma->vm_pgoff << PAGE_SHIFT) +
	       (addr - vma->vm_start);
}

/* Does a driver want [@start, @end) for itself? Who does zaps it afterwards. */
static bool p2p_bar_claimed(const struct vm_area_struct *vma,
			    unsigned long start, unsigned long end)
{
	return resource_is_exclusive(&iomem_resource, p2p_bar_phys(vma, start),
				     end - start);
}

/* What peers get */

/*
 * Offset 0 of such a VMA is physical address 0. EFAULT is what a mapping that is
 * not offered gives.
 */
static int p2p_bar_p2p_map(struct vm_area_struct *vma, struct p2p_map_req *req)
{
	struct p2p_bar *bar = vma->vm_private_data;

	guard(rwsem_read)(&bar->res->state);
	if (!bar->offered)
		return -EFAULT;
	if (bar->res->paused)
		return p2p_req_wait(req, &bar->exporter);
	if (!p2p_bar_here(bar))
		return -ENODEV;
	if (!p2p_bar_answers(bar))
		return -EIO;
	if (p2p_bar_claimed(vma, req->window_start, req->window_end)) {
		req->window_start = req->start;
		req->window_end = req->end;
		if (p2p_bar_claimed(vma, req->start, req->end))
			return -EACCES;
	}
	return p2p_map_linear(vma, req, &bar->exporter, 0);
}

/* Of this BAR only, and what others mapped by the same file is not ours. */
static void p2p_bar_zap(struct p2p_bar *bar)
{
	p2p_zap_mapping(iomem_get_mapping(), bar->start, bar->len);
}

/*
 * After the zap: O_DIRECT may be on its way. Nothing can be done about a device
 * that does not end it.
 */
static int p2p_bar_wait_pins(struct p2p_bar *bar, unsigned long deadline)
{
	long left = deadline - jiffies;

	if (!bar->region ||
	    p2p_wait_pins(&bar->exporter, bar->start, bar->len,
			  max(left, 0L)) != -ETIMEDOUT)
		return 0;
	pci_warn(bar->res->pdev, "%s: I/O to it does not end\n",
		 pci_resource_name(bar->res->pdev, bar->nr));
	return -EBUSY;
}

/* The bounces of direct I/O stop now, however long DMA takes. */
static void p2p_bar_block(struct p2p_bar *bar)
{
	if (!bar->region || bar->blocked)
		return;
	bar->blocked = bar->region->provider;
	pci_p2pdma_copy_block(bar->blocked);
}

static void p2p_bar_unblock(struct p2p_bar *bar)
{
	if (!bar->blocked)
		return;
	pci_p2pdma_copy_unblock(bar->blocked);
	bar->blocked = NULL;
}

static void p2p_bar_exporter_zap(struct p2p_exporter *e)
{
	p2p_bar_zap(container_of(e, struct p2p_bar, exporter));
}

static const struct p2p_exporter_ops p2p_bar_exporter_ops = {
	.zap = p2p_bar_exporter_zap,
};

/* What the CPU gets */

/* Inserts up to the borders of a page table, unless a driver claimed a part. */
static vm_fault_t p2p_bar_insert(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	unsigned long chunk = ALIGN_DOWN(vmf->address, PMD_SIZE);
	unsigned long addr = max(chunk, vma->vm_start);
	unsigned long end = min(chunk + (PMD_SIZE - 1), vma->vm_end - 1) + 1;
	pgprot_t prot = pgprot_decrypted(vma->vm_page_prot);
	vm_fault_t ret = VM_FAULT_NOPAGE;
	unsigned long next;

	if (p2p_bar_claimed(vma, addr, end)) {
		addr = vmf->address;
		end = addr + PAGE_SIZE;
		if (p2p_bar_claimed(vma, addr, end))
			return VM_FAULT_SIGBUS;
	}
	for (next = addr; next < end && ret == VM_FAULT_NOPAGE;
	     next += PAGE_SIZE)
		ret = vmf_insert_pfn_prot(vma, next,
					  PHYS_PFN(p2p_bar_phys(vma, next)),
					  prot);
	/* Claimed meanwhile: revoke_iomem() may have come too early for these. */
	if (p2p_bar_claimed(vma, addr, end)) {
		zap_special_vma_range(vma, addr, end - addr);
		return VM_FAULT_SIGBUS;
	}
	return ret;
}

/*
 * Waits for the end of a pause, but for a moment only: the file's kernfs node
 * cannot be removed meanwhile. Without mmap_lock where the caller allows that,
 * which then tries again; NOPAGE alone would tell it that there is a page.
 */
static vm_fault_t p2p_bar_wait(struct vm_fault *vmf,
			       struct pci_p2p_resource *res)
{
	vm_fault_t ret = VM_FAULT_NOPAGE;

	if (fault_flag_allow_retry_first(vmf->flags)) {
		if (vmf->flags & FAULT_FLAG_RETRY_NOWAIT)
			return VM_FAULT_RETRY;
		release_fault_lock(vmf);
		ret = VM_FAULT_RETRY;
	}
	wait_event_killable_timeout(res->wait, !READ_ONCE(res->paused),
				    HZ / 10);
	return ret;
}

/*
 * A mapping that was not offered when it was made is as ever: complete since
 * mmap(), and a fault means that somebody took it away for good.
 */
static vm_fault_t p2p_bar_fault(struct vm_fault *vmf)
{
	struct p2p_bar *bar = vmf->vma->vm_private_data;
	struct pci_p2p_resource *res;

	if (!bar)
		return VM_FAULT_SIGBUS;
	res = bar->res;
	scoped_guard(rwsem_read, &res->state) {
		if (!res->paused)
			return p2p_bar_here(bar) && p2p_bar_answers(bar) ?
			       p2p_bar_insert(vmf) : VM_FAULT_SIGBUS;
	}
	return p2p_bar_wait(vmf, res);
}

#ifdef CONFIG_HAVE_IOREMAP_PROT
/* For ptrace() and the like, which do not fault such a mapping in themselves. */
static int p2p_bar_access(struct vm_area_struct *vma, unsigned long addr,
			  void *buf, int len, int write)
{
	int ret = generic_access_phys(vma, addr, buf, len, write);

	if (ret != -EINVAL || !vma->vm_private_data)
		return ret;
	if (fixup_user_fault(vma->vm_mm, addr, FAULT_FLAG_REMOTE |
			     (write ? FAULT_FLAG_WRITE : 0), NULL))
		return -EINVAL;
	return generic_access_phys(vma, addr, buf, len, write);
}
#endif

static const struct vm_operations_struct p2p_bar_vm_ops = {
	.fault = p2p_bar_fault,
	.p2p_map = p2p_bar_p2p_map,
#ifdef CONFIG_HAVE_IOREMAP_PROT
	.access = p2p_bar_access,
#endif
};

/* The BAR as it is now, if peers may have it. */
static struct p2p_bar *p2p_bar_find(struct pci_p2p_resource *res, int nr)
{
	struct p2p_bar *bar;

	list_for_each_entry(bar, &res->bars, node)
		if (bar->nr == nr && p2p_bar_here(bar))
			return bar;
	return NULL;
}

/**
 * pci_p2p_resource_mmap - a memory BAR was mapped through its file in sysfs
 * @pdev: the device
 * @nr: number of the BAR
 * @vma: the VMA, complete but for what is done here; vm_pgoff is physical
 *
 * If peers may have the BAR, and the mapping is shared, it becomes one that is
 * populated by ->fault(), so that it can be zapped. It was populated before: that
 * is what reserves the memory type.
 *
 * Context: mmap_lock held for writing. kernfs keeps the file.
 */
void pci_p2p_resource_mmap(struct pci_dev *pdev, int nr,
			   struct vm_area_struct *vma)
{
	struct pci_p2p_resource *res = p2p_resource(pdev);
	struct p2p_bar *bar;

	/* Offered or not: kernfs wants the same for each mapping of a file. */
	vma->vm_ops = &p2p_bar_vm_ops;
	if (!res || !(vma->vm_flags & VM_MAYSHARE))
		return;
	guard(rwsem_read)(&res->state);
	bar = p2p_bar_find(res, nr);
	/* The BAR may have moved since vm_pgoff was made of its address. */
	if (!bar || !bar->offered ||
	    p2p_bar_phys(vma, vma->vm_start) < bar->start ||
	    p2p_bar_phys(vma, vma->vm_end) > bar->start + bar->len)
		return;
	vma->vm_private_data = bar;
	zap_special_vma_range(vma, vma->vm_start, vma->vm_end - vma->vm_start);
}

/* Attach and detach */

static void p2p_bar_set_offered(struct p2p_bar *bar, bool offered)
{
	guard(rwsem_write)(&bar->res->state);
	bar->offered = offered;
}

static int p2p_bar_detach(struct p2p_bar *bar, unsigned long deadline)
{
	int ret;

	if (!bar->region)
		return 0;
	/* ->p2p_map() is out when this returns: it may be attached again. */
	p2p_bar_set_offered(bar, false);
	ret = p2p_region_detach_until(bar->region, &bar->exporter, deadline);
	p2p_region_put(bar->region);
	bar->region = NULL;
	return ret;
}

static struct p2p_bar *p2p_bar_new(struct pci_p2p_resource *res, int nr,
				   const struct p2p_region *r)
{
	struct p2p_bar *bar = kzalloc_obj(*bar);

	if (!bar)
		return NULL;
	bar->res = res;
	bar->exporter.ops = &p2p_bar_exporter_ops;
	bar->nr = nr;
	bar->start = r->start;
	bar->len = r->len;
	guard(rwsem_write)(&res->state);
	list_add_tail(&bar->node, &res->bars);
	return bar;
}

static int p2p_bar_attach(struct pci_p2p_resource *res, int nr)
{
	struct p2p_bar *bar;
	struct p2p_region *r;
	int ret;

	r = p2p_region_bar(res->pdev, nr);
	if (IS_ERR(r))
		return PTR_ERR(r);
	bar = p2p_bar_find(res, nr) ?: p2p_bar_new(res, nr, r);
	ret = bar ? p2p_region_attach(r, &bar->exporter) : -ENOMEM;
	if (ret) {
		p2p_region_put(r);
		return ret;
	}
	bar->region = r;
	p2p_bar_set_offered(bar, true);
	return 0;
}

/* -EBUSY if memory of the device stays pinned, which is nobody's then. */
static int p2p_resource_detach(struct pci_p2p_resource *res)
{
	unsigned long deadline = p2p_detach_deadline();
	struct p2p_bar *bar;
	int ret = 0;

	lockdep_assert_held(&res->lock);
	list_for_each_entry(bar, &res->bars, node)
		if (p2p_bar_detach(bar, deadline))
			ret = -EBUSY;
	return ret;
}

/* Struct pages, mapped as a program maps the BAR by resourceN. */
static int p2p_bar_add_pages(struct p2p_bar *bar)
{
	if (bar->exporter.pages)
		return 0;
	return p2p_region_add_pages(bar->region, &bar->exporter, 0,
				    pgprot_noncached(PAGE_KERNEL));
}

/* Gives each BAR that is offered struct pages. The number of those that have. */
static int p2p_resource_add_pages(struct pci_p2p_resource *res)
{
	struct p2p_bar *bar;
	int ret, found = 0;

	lockdep_assert_held(&res->lock);
	list_for_each_entry(bar, &res->bars, node) {
		if (!bar->region)
			continue;
		ret = p2p_bar_add_pages(bar);
		if (ret == -ENOMEM)
			return ret;
		if (ret)
			pci_info(res->pdev, "%s: no pages for it: %pe\n",
				 pci_resource_name(res->pdev, bar->nr),
				 ERR_PTR(ret));
		else
			found++;
	}
	return found;
}

/* Offers each memory BAR that is not offered yet. The number of them all. */
static int p2p_resource_attach(struct pci_p2p_resource *res)
{
	struct pci_dev *pdev = res->pdev;
	struct p2p_bar *bar;
	int nr, ret, found = 0;

	lockdep_assert_held(&res->lock);
	for (nr = 0; nr < PCI_STD_NUM_BARS; nr++) {
		if (!pci_resource_is_mem(pdev, nr) ||
		    !pci_resource_len(pdev, nr))
			continue;
		bar = p2p_bar_find(res, nr);
		ret = bar && bar->region ? 0 : p2p_bar_attach(res, nr);
		if (ret == -ENOMEM)
			return ret;
		if (ret)
			pci_info(pdev, "%s: peers cannot have it: %pe\n",
				 pci_resource_name(pdev, nr), ERR_PTR(ret));
		else
			found++;
	}
	return found;
}

/* BARs were moved: what is not where it was cannot be had there any more. */
static void p2p_resource_follow(struct pci_p2p_resource *res)
{
	unsigned long deadline = p2p_detach_deadline();
	struct p2p_bar *bar;
	bool moved = false;

	/* First all of them: one may be now where another one was. */
	list_for_each_entry(bar, &res->bars, node) {
		if (!bar->region || p2p_bar_here(bar))
			continue;
		p2p_bar_detach(bar, deadline);
		moved = true;
	}
	if (!moved)
		return;
	if (p2p_resource_attach(res) < 0 ||
	    (res->pages && p2p_resource_add_pages(res) < 0))
		pci_warn(res->pdev, "peers lose its memory: no memory\n");
}

/* What the PCI core calls */

/**
 * pci_p2p_resource_pause - the BARs will not answer, or move, for a while
 * @pdev: the device
 *
 * When it returns nobody can reach them; the CPU and peers wait for
 * pci_p2p_resource_resume(), peers not for longer than they ever do. Pauses nest.
 * Only O_DIRECT by DMA that does not end in time goes on.
 *
 * Context: may sleep, and waits for whom reclaim waits for: before any device is
 * told to prepare for what follows. No lock held that the driver of an importer
 * takes when its memory is invalidated.
 * Return: 0, or -EBUSY if there is such O_DIRECT, be it that of an exporter that
 * went. It is paused then as well, and what cannot be put off goes on; what a user
 * asked for is undone.
 */
int pci_p2p_resource_pause(struct pci_dev *pdev)
{
	struct pci_p2p_resource *res = p2p_resource(pdev);
	unsigned long deadline;
	struct p2p_bar *bar;
	int ret = 0;

	if (!res)
		return p2p_device_orphaned(pdev) ? -EBUSY : 0;
	scoped_guard(rwsem_write, &res->state)
		WRITE_ONCE(res->paused, res->paused + 1);
	guard(mutex)(&res->lock);
	list_for_each_entry(bar, &res->bars, node) {
		p2p_bar_zap(bar);
		p2p_bar_block(bar);
	}
	deadline = jiffies + P2P_BAR_PIN_WAIT;
	list_for_each_entry(bar, &res->bars, node)
		if (p2p_bar_wait_pins(bar, deadline))
			ret = -EBUSY;
	/* Who had the lock before may have left some that no BAR knows of. */
	return p2p_device_orphaned(pdev) ? -EBUSY : ret;
}
EXPORT_SYMBOL_GPL(pci_p2p_resource_pause);

/**
 * pci_p2p_resource_resume - the BARs answer again, maybe somewhere else
 * @pdev: the device; pci_p2p_resource_pause() may have come before it was
 *	offered to peers
 *
 * Context: as pci_p2p_resource_pause(); after the devices work again.
 */
void pci_p2p_resource_resume(struct pci_dev *pdev)
{
	struct pci_p2p_resource *res = p2p_resource(pdev);
	struct p2p_bar *bar;

	if (!res)
		return;
	guard(mutex)(&res->lock);
	p2p_resource_follow(res);
	/*
	 * First this: what is granted from then on may have to be copied. A pause
	 * that begins just now blocks when it has the lock.
	 */
	if (READ_ONCE(res->paused) <= 1)
		list_for_each_entry(bar, &res->bars, node)
			p2p_bar_unblock(bar);
	scoped_guard(rwsem_write, &res->state)
		if (res->paused)
			WRITE_ONCE(res->paused, res->paused - 1);
	list_for_each_entry(bar, &res->bars, node)
		if (bar->region)
			p2p_wake(&bar->exporter);
	wake_up_all(&res->wait);
}
EXPORT_SYMBOL_GPL(pci_p2p_resource_resume);

/**
 * pci_p2p_resource_zap - something changed: have all users of the BARs ask again
 * @pdev: the device
 *
 * O_DIRECT that was on its way has ended when this returns, if it does end; what
 * comes meanwhile waits.
 *
 * Context: as pci_p2p_resource_pause().
 */
void pci_p2p_resource_zap(struct pci_dev *pdev)
{
	pci_p2p_resource_pause(pdev);
	pci_p2p_resource_resume(pdev);
}

/**
 * pci_p2p_resource_remove - the device was removed
 * @pdev: the device; its files in sysfs are gone
 *
 * Context: may sleep, as p2p_region_detach(). Allocates nothing.
 */
void pci_p2p_resource_remove(struct pci_dev *pdev)
{
	struct pci_p2p_resource *res = p2p_resource(pdev);

	if (!res)
		return;
	guard(mutex)(&res->lock);
	p2p_resource_detach(res);
	if (res->enabled)
		pm_runtime_put_noidle(&pdev->dev);
	WRITE_ONCE(res->enabled, false);
}

/**
 * pci_p2p_resource_free - the last reference to the device is dropped
 * @pdev: the device
 */
void pci_p2p_resource_free(struct pci_dev *pdev)
{
	struct pci_p2p_resource *res = pdev->p2p_resource;
	struct p2p_bar *bar, *next;

	if (!res)
		return;
	list_for_each_entry_safe(bar, next, &res->bars, node)
		kfree(bar);
	mutex_destroy(&res->lock);
	kfree(res);
}

/* The attribute */

static struct pci_p2p_resource *p2p_resource_get(struct pci_dev *pdev)
{
	struct pci_p2p_resource *res = p2p_resource(pdev);
	struct pci_p2p_resource *other;

	if (res)
		return res;
	res = kzalloc_obj(*res);
	if (!res)
		return NULL;
	res->pdev = pdev;
	mutex_init(&res->lock);
	init_rwsem(&res->state);
	INIT_LIST_HEAD(&res->bars);
	init_waitqueue_head(&res->wait);
	other = cmpxchg(&pdev->p2p_resource, NULL, res);
	if (other)
		kfree(res);
	return other ?: res;
}

static int p2p_resource_disable(struct pci_p2p_resource *res)
{
	int ret;

	lockdep_assert_held(&res->lock);
	if (!res->enabled)
		return 0;
	ret = p2p_resource_detach(res);
	pm_runtime_put(&res->pdev->dev);
	WRITE_ONCE(res->pages, false);
	WRITE_ONCE(res->enabled, false);
	return ret;
}

static int p2p_resource_enable(struct pci_p2p_resource *res)
{
	int ret;

	lockdep_assert_held(&res->lock);
	if (res->enabled)
		return 0;
	ret = p2p_resource_attach(res);
	if (ret <= 0) {
		p2p_resource_detach(res);
		return ret ?: -ENXIO;
	}
	pm_runtime_get_noresume(&res->pdev->dev);
	WRITE_ONCE(res->enabled, true);
	return 0;
}

static int p2p_resource_set(struct pci_p2p_resource *res, enum p2p_mmap to)
{
	int ret = 0;

	guard(mutex)(&res->lock);
	/* Pages go with their exporter only. */
	if (to == P2P_MMAP_OFF || (to == P2P_MMAP_ON && res->pages))
		ret = p2p_resource_disable(res);
	if (ret || to == P2P_MMAP_OFF)
		return ret;
	ret = p2p_resource_enable(res);
	if (ret || to == P2P_MMAP_ON || res->pages)
		return ret;
	ret = p2p_resource_add_pages(res);
	if (ret <= 0) {
		p2p_resource_disable(res);
		return ret ?: -ENXIO;
	}
	WRITE_ONCE(res->pages, true);
	return 0;
}

/**
 * pci_p2p_resource_probe - a driver is about to be bound
 * @pdev: the device
 *
 * Struct pages would be in its way: it may want to map the BARs in another cache
 * mode, or to make p2pmem of them; and pins would outlive what it claims. Without
 * pages peers have as before what the driver does not claim.
 *
 * Context: as pci_p2p_resource_set().
 * Return: 0, or -EBUSY if memory of the device stays pinned.
 */
int pci_p2p_resource_probe(struct pci_dev *pdev)
{
	struct pci_p2p_resource *res = p2p_resource(pdev);
	int ret;

	if (!res)
		return p2p_device_orphaned(pdev) ? -EBUSY : 0;
	guard(mutex)(&res->lock);
	/* Not before: who had the lock may have given up waiting for pins. */
	if (p2p_device_orphaned(pdev))
		return -EBUSY;
	if (!res->pages)
		return 0;
	ret = p2p_resource_disable(res);
	if (!ret && p2p_resource_enable(res))
		pci_warn(pdev, "peers lose its memory\n");
	return ret;
}

/**
 * pci_p2p_resource_busy - does I/O of an earlier exporter still go to the device?
 * @pdev: the device
 *
 * Waits for whoever is waiting for that I/O now.
 *
 * Context: as pci_p2p_resource_pause().
 * Return: true if so.
 */
bool pci_p2p_resource_busy(struct pci_dev *pdev)
{
	struct pci_p2p_resource *res = p2p_resource(pdev);

	if (!res)
		return p2p_device_orphaned(pdev);
	guard(mutex)(&res->lock);
	return p2p_device_orphaned(pdev);
}
EXPORT_SYMBOL_GPL(pci_p2p_resource_busy);

/**
 * pci_p2p_resource_set - may peers have what is mapped of the BARs?
 * @pdev: the device
 * @to: may they? P2P_MMAP_PAGES: O_DIRECT and its like, too
 *
 * While they may, the device stays awake. When the answer changes to no, they
 * have lost it when this returns, and the CPU maps it again on its next access.
 *
 * Context: may sleep, as p2p_region_detach().
 * Return: 0, -ENXIO if there is no BAR that peers could have, or that could have
 * pages, -ENOMEM, or the errno of waking the device up. -EBUSY if memory that had
 * pages is still pinned: they have lost it, but nobody else can have it until
 * that ends. After an error of P2P_MMAP_PAGES they may not.
 */
int pci_p2p_resource_set(struct pci_dev *pdev, enum p2p_mmap to)
{
	struct pci_p2p_resource *res = p2p_resource_get(pdev);
	int ret;

	if (!res)
		return -ENOMEM;
	if (to == P2P_MMAP_OFF)
		return p2p_resource_set(res, to);
	/*
	 * Without the lock: a driver may reset the device to wake it up. EACCES:
	 * runtime PM is off, as before a new device is added to its bus.
	 */
	ret = pm_runtime_get_sync(&pdev->dev);
	if (ret >= 0 || ret == -EACCES)
		ret = p2p_resource_set(res, to);
	pm_runtime_put(&pdev->dev);
	return ret;
}

static ssize_t p2p_mmap_show(struct device *dev, struct device_attribute *attr,
			     char *buf)
{
	struct pci_p2p_resource *res = p2p_resource(to_pci_dev(dev));

	if (res && READ_ONCE(res->pages))
		return sysfs_emit(buf, "pages\n");
	return sysfs_emit(buf, "%d\n", res && READ_ONCE(res->enabled));
}

static ssize_t p2p_mmap_store(struct device *dev, struct device_attribute *attr,
			      const char *buf, size_t count)
{
	enum p2p_mmap to = P2P_MMAP_PAGES;
	int ret = 0;
	bool on;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	if (!sysfs_streq(buf, "pages")) {
		ret = kstrtobool(buf, &on);
		if (!ret)
			to = on ? P2P_MMAP_ON : P2P_MMAP_OFF;
	}
	if (!ret)
		ret = pci_p2p_resource_set(to_pci_dev(dev), to);
	return ret ?: count;
}

struct device_attribute dev_attr_p2p_mmap = __ATTR_RW(p2p_mmap);
