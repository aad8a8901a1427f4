// SPDX-License-Identifier: GPL-2.0
/*
 * Reference importer: a DMA engine that uses memory through user addresses,
 * whether that is RAM or the memory of another device.
 *
 * QEMU's "edu" device moves up to 4 KiB between the bus and a buffer of its own.
 * A program registers a range of its memory and has the engine read and write
 * it. Nothing is pinned: a page is faulted in when the engine first needs it,
 * and goes when the kernel or the owner of the memory wants it back.
 *
 * What makes it an importer is the section "Registered ranges": each has an
 * mmu_interval_notifier, a page list for RAM (struct hmm_dma_map) with an index
 * of extents for peer memory in it (struct p2p_extents), and one lock, the
 * user_lock of Documentation/mm/p2p_vma.rst. The rest is any driver's.
 */
#include <linux/debugfs.h>
#include <linux/dma-mapping.h>
#include <linux/fs.h>
#include <linux/hmm-dma.h>
#include <linux/hmm.h>
#include <linux/iopoll.h>
#include <linux/kref.h>
#include <linux/maple_tree.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/p2p_vma.h>
#include <linux/pci-p2pdma.h>
#include <linux/pci.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "p2p_edu.h"

static unsigned int dma_bits = 64;
module_param(dma_bits, uint, 0644);
MODULE_PARM_DESC(dma_bits, "Address bits that devices bound from now on may use");

/* Registers in BAR 0 */
#define EDU_ID			0x00
#define EDU_ID_LOW		0xed
#define EDU_DMA_SRC		0x80
#define EDU_DMA_DST		0x88
#define EDU_DMA_CNT		0x90
#define EDU_DMA_CMD		0x98
#define EDU_DMA_RUN		BIT(0)
#define EDU_DMA_TO_BUS		BIT(1)
/* The buffer inside the device, as the engine sees it */
#define EDU_BUF			0x40000
/* It has 4096 bytes, and to fill it upsets QEMU. A piece must not cross a page. */
#define EDU_PIECE		2048
#define EDU_TIMEOUT_US		(20 * USEC_PER_SEC)

struct p2p_edu {
	struct kref ref;		/* one for the device, one for each file */
	struct pci_dev *pdev;
	struct miscdevice misc;
	char name[16];
	struct dentry *debugfs;

	/*
	 * One engine, so one ioctl at a time; mmap_lock is inside. A program can
	 * hold this up as long as it likes (userfaultfd): the node is for root.
	 */
	struct mutex lock;
	bool gone;
	void __iomem *io;
	void *bounce;			/* DMA memory of the kernel, one page */
	dma_addr_t bounce_dma;
	struct maple_tree ranges;	/* by device page */
	unsigned long next_page;	/* never reused */
	struct p2p_edu_counters counters;
	atomic64_t invalidations;	/* counted without the lock */
	/* The last access to a registered range, for p2p_edu_again() */
	u64 last_dma;
	size_t last_len;
	bool last_to_bus;
};

struct p2p_edu_range {
	struct mmu_interval_notifier notifier;	/* covers what was registered */
	struct p2p_edu *edu;
	struct file *file;		/* the owner; not pinned, it pins us */
	unsigned long page;		/* where it is for the device */
	/*
	 * The user_lock: held while the engine uses the range's memory, and by
	 * the invalidation. No allocation under it, it is inside of fs_reclaim.
	 */
	struct mutex lock;
	struct hmm_dma_map map;
};

/* The engine */

static int p2p_edu_wait(struct p2p_edu *edu)
{
	u64 cmd;
	int ret;

	/* Ones: it is not there any more, and it does not start again. */
	ret = read_poll_timeout(readq, cmd, !(cmd & EDU_DMA_RUN) || !~cmd,
				USEC_PER_MSEC, EDU_TIMEOUT_US, false,
				edu->io + EDU_DMA_CMD);
	if (!ret && ~cmd)
		return 0;

	/* Memory must not be given back to a running engine: cut it off. */
	pci_clear_master(edu->pdev);
	edu->gone = true;
	pci_err(edu->pdev, "the engine does not %s\n",
		ret ? "stop" : "answer");
	return -EIO;
}

static void p2p_edu_start(struct p2p_edu *edu, dma_addr_t addr, size_t len,
			  bool to_bus)
{
	writeq(to_bus ? EDU_BUF : addr, edu->io + EDU_DMA_SRC);
	writeq(to_bus ? addr : EDU_BUF, edu->io + EDU_DMA_DST);
	writeq(len, edu->io + EDU_DMA_CNT);
	writeq(EDU_DMA_RUN | (to_bus ? EDU_DMA_TO_BUS : 0),
	       edu->io + EDU_DMA_CMD);
}

static int p2p_edu_run(struct p2p_edu *edu, dma_addr_t addr, size_t len,
		       bool to_bus)
{
	int ret = p2p_edu_wait(edu);	/* for p2p_edu_again() only */

	if (ret)
		return ret;
	p2p_edu_start(edu, addr, len, to_bus);
	return p2p_edu_wait(edu);
}

/* Registered ranges */

/*
 * End the engine's access to the user addresses [start, end), and more where
 * peer memory must go as a whole.
 */
static void p2p_edu_unmap(struct p2p_edu_range *r, unsigned long start,
			  unsigned long end)
{
	unsigned long base = r->map.peers.start;
	unsigned long i, last, unmapped = 0;

	lockdep_assert_held(&r->lock);	/* so the engine is idle */
	start = max(start, base);
	end = min(end, r->map.peers.end);
	p2p_extents_cut(&r->map.peers, &start, &end);
	last = PFN_UP(end - base);
	for (i = PFN_DOWN(start - base); i < last; i++) {
		unsigned long pfn = r->map.pfn_list[i];

		/* A real device: zap its page tables and TLB here. */
		if (!unmapped)
			unmapped = hmm_dma_unmap_pfns(&r->edu->pdev->dev,
						      &r->map, i, last - i);
		if (unmapped) {
			unmapped--;
			if (pfn & HMM_PFN_WRITE && !(pfn & HMM_PFN_PEER))
				set_page_dirty(compound_head(hmm_pfn_to_page(pfn)));
		}
		r->map.pfn_list[i] = 0;
	}
	p2p_extents_cut_finish(&r->map.peers);
}

static bool p2p_edu_invalidate(struct mmu_interval_notifier *notifier,
			       const struct mmu_notifier_range *range,
			       unsigned long seq)
{
	struct p2p_edu_range *r = container_of(notifier, struct p2p_edu_range,
					       notifier);

	if (!mmu_notifier_range_blockable(range))
		return false;
	guard(mutex)(&r->lock);	/* waits for a running transfer */
	mmu_interval_set_seq(notifier, seq);
	p2p_edu_unmap(r, range->start, range->end);
	atomic64_inc(&r->edu->invalidations);
	return true;
}

static const struct mmu_interval_notifier_ops p2p_edu_notifier_ops = {
	.invalidate = p2p_edu_invalidate,
};

/* Fault in page @i. Without r->lock: everything here may sleep and allocate. */
static int p2p_edu_fault(struct p2p_edu_range *r, unsigned long i, bool write)
{
	unsigned long addr = r->map.peers.start + (i << PAGE_SHIFT);
	unsigned long pfn = 0;	/* private until the sequence was checked */
	unsigned long timeout = msecs_to_jiffies(HMM_RANGE_DEFAULT_TIMEOUT);
	struct p2p_fault peer;
	struct hmm_range range = {
		.notifier = &r->notifier,
		.start = addr,
		.end = addr + PAGE_SIZE,
		.hmm_pfns = &pfn,
		.default_flags = HMM_PFN_REQ_FAULT |
				 (write ? HMM_PFN_REQ_WRITE : 0),
		.peer = &peer,
	};
	int ret;

	r->edu->counters.faults++;
	p2p_fault_init(&peer, &r->map.peers);
	for (;;) {
		ret = hmm_range_fault_unlocked_timeout(&range, timeout);
		if (ret)
			return ret;
		guard(mutex)(&r->lock);
		if (mmu_interval_read_retry(&r->notifier, range.notifier_seq))
			continue;
		/* Nothing was invalidated in between: publish. */
		p2p_fault_commit(&peer, range.notifier_seq);
		r->map.pfn_list[i] = pfn |
				(r->map.pfn_list[i] & HMM_PFN_INOUT_FLAGS);
		return 0;
	}
}

/* DMA address of page @i, good until r->lock is dropped, and what to count. */
static int p2p_edu_lookup(struct p2p_edu_range *r, unsigned long i, bool write,
			  dma_addr_t *dma, u64 **count)
{
	unsigned long addr = r->map.peers.start + (i << PAGE_SHIFT);
	unsigned long pfn = r->map.pfn_list[i];
	struct pci_p2pdma_map_state state = { };
	struct p2p_extent *ext;
	size_t off;

	if (!(pfn & HMM_PFN_VALID) || (write && !(pfn & HMM_PFN_WRITE)))
		return -EAGAIN;

	*count = &r->edu->counters.ram;
	if (!(pfn & HMM_PFN_PEER)) {
		*dma = hmm_dma_map_pfn(&r->edu->pdev->dev, &r->map, i, &state);
		return *dma == DMA_MAPPING_ERROR ? -EIO : 0;
	}

	/* The core mapped the extent when it was granted. */
	*dma = p2p_extents_dma_addr(&r->map.peers, addr);
	ext = p2p_extents_lookup(&r->map.peers, addr, &off);
	if (!ext || (write && ext->flags & P2P_EXT_RDONLY))
		return -EAGAIN;
	if (ext->map_type == PCI_P2PDMA_MAP_BUS_ADDR)
		*count = &r->edu->counters.bus;
	else if (ext->map_type == PCI_P2PDMA_MAP_THRU_HOST_BRIDGE)
		*count = &r->edu->counters.bridge;
	return 0;
}

/* One piece between the engine's buffer and the range, if it is mapped. */
static int p2p_edu_try(struct p2p_edu_range *r, u64 offset, size_t len,
		       bool write)
{
	struct p2p_edu *edu = r->edu;
	dma_addr_t dma;
	u64 *count;
	int ret;

	guard(mutex)(&r->lock);
	ret = p2p_edu_lookup(r, PFN_DOWN(offset) - r->page, write, &dma, &count);
	if (ret)
		return ret;
	edu->last_dma = dma + offset_in_page(offset);
	edu->last_len = len;
	edu->last_to_bus = write;
	ret = p2p_edu_run(edu, edu->last_dma, len, write);
	if (!ret)
		*count += len;
	return ret;
}

static int p2p_edu_access(struct p2p_edu_range *r, u64 offset, size_t len,
			  bool write)
{
	int ret;

	if (write && !r->map.peers.write)
		return -EPERM;
	while ((ret = p2p_edu_try(r, offset, len, write)) == -EAGAIN) {
		ret = p2p_edu_fault(r, PFN_DOWN(offset) - r->page, write);
		if (ret)
			return ret;
	}
	return ret;
}

/* Mappings first, then the notifier: it must outlive them. */
static void p2p_edu_unregister(struct p2p_edu_range *r)
{
	mtree_erase(&r->edu->ranges, r->page);
	mutex_lock(&r->lock);
	p2p_edu_unmap(r, 0, ULONG_MAX);
	mutex_unlock(&r->lock);
	mmu_interval_notifier_remove(&r->notifier);
	hmm_dma_map_free(&r->edu->pdev->dev, &r->map);
	kfree(r);
}

static int p2p_edu_register(struct p2p_edu *edu, struct file *file,
			    struct p2p_edu_register *arg)
{
	unsigned long pages = arg->len >> PAGE_SHIFT;
	struct device *dev = &edu->pdev->dev;
	struct p2p_edu_range *r;
	int ret;

	if (!arg->len || !PAGE_ALIGNED(arg->addr) || !PAGE_ALIGNED(arg->len) ||
	    arg->flags & ~P2P_EDU_RDONLY || arg->pad)
		return -EINVAL;
	if (!access_ok(u64_to_user_ptr(arg->addr), arg->len))
		return -EFAULT;
	r = kzalloc_obj(*r);
	if (!r)
		return -ENOMEM;
	r->edu = edu;
	r->file = file;
	r->page = edu->next_page;
	mutex_init(&r->lock);
	ret = hmm_dma_map_alloc(dev, &r->map, pages, PAGE_SIZE);
	if (ret)
		goto free;
	p2p_extents_init(&r->map.peers, dev, arg->addr, arg->addr + arg->len,
			 !(arg->flags & P2P_EDU_RDONLY));
	/* From here on the memory is that of current->mm, whoever has the file. */
	ret = mmu_interval_notifier_insert(&r->notifier, current->mm, arg->addr,
					   arg->len, &p2p_edu_notifier_ops);
	if (ret)
		goto free_map;
	ret = mtree_insert_range(&edu->ranges, r->page, r->page + pages - 1, r,
				 GFP_KERNEL);
	if (ret) {
		p2p_edu_unregister(r);
		return ret;
	}
	edu->next_page += pages;
	arg->offset = (u64)r->page << PAGE_SHIFT;
	return 0;

free_map:
	hmm_dma_map_free(dev, &r->map);
free:
	kfree(r);
	return ret;
}

/* Requests of programs */

/* The range that holds all of [offset, offset + len). */
static int p2p_edu_find(struct p2p_edu *edu, struct file *file, u64 offset,
			u64 len, struct p2p_edu_range **found)
{
	struct p2p_edu_range *r = mtree_load(&edu->ranges,
					     offset >> PAGE_SHIFT);
	u64 rest;

	if (!r || r->file != file)
		return -ENOENT;
	/* After fork() or SCM_RIGHTS. It also keeps the mm's users. */
	if (r->notifier.mm != current->mm)
		return -EPERM;
	rest = r->map.peers.end - r->map.peers.start -
	       (offset - ((u64)r->page << PAGE_SHIFT));
	if (!len || len > rest)
		return -EINVAL;
	*found = r;
	return 0;
}

/* From and to a buffer of the program, by way of the bounce page. */
static int p2p_edu_from_user(struct p2p_edu *edu, u64 data, size_t len)
{
	if (copy_from_user(edu->bounce, u64_to_user_ptr(data), len))
		return -EFAULT;
	return p2p_edu_run(edu, edu->bounce_dma, len, false);
}

static int p2p_edu_to_user(struct p2p_edu *edu, u64 data, size_t len)
{
	int ret = p2p_edu_run(edu, edu->bounce_dma, len, true);

	if (!ret && copy_to_user(u64_to_user_ptr(data), edu->bounce, len))
		return -EFAULT;
	return ret;
}

/* Between two ranges, or a range and a buffer of the program (NULL). */
static int p2p_edu_move(struct p2p_edu *edu, struct p2p_edu_range *from,
			struct p2p_edu_range *to, struct p2p_edu_move *m)
{
	size_t n;
	int ret;

	for (; m->len; m->from += n, m->to += n, m->len -= n) {
		n = min3(m->len,
			 EDU_PIECE - (from ? m->from % EDU_PIECE : 0),
			 EDU_PIECE - (to ? m->to % EDU_PIECE : 0));
		if (signal_pending(current))
			return -EINTR;
		ret = from ? p2p_edu_access(from, m->from, n, false) :
			     p2p_edu_from_user(edu, m->from, n);
		if (ret)
			return ret;
		ret = to ? p2p_edu_access(to, m->to, n, true) :
			   p2p_edu_to_user(edu, m->to, n);
		if (ret)
			return ret;
	}
	return 0;
}

static long p2p_edu_ioctl(struct file *file, unsigned int cmd,
			  unsigned long arg)
{
	struct p2p_edu_range *from = NULL, *to = NULL;
	struct p2p_edu *edu = file->private_data;
	void __user *uarg = (void __user *)arg;
	struct p2p_edu_register reg;
	struct p2p_edu_move move;
	u64 offset;
	int ret;

	ACQUIRE(mutex_intr, lock)(&edu->lock);
	ret = ACQUIRE_ERR(mutex_intr, &lock);
	if (ret)
		return ret;
	if (edu->gone)
		return -ENODEV;

	switch (cmd) {
	case P2P_EDU_IOC_REGISTER:
		if (copy_from_user(&reg, uarg, sizeof(reg)))
			return -EFAULT;
		ret = p2p_edu_register(edu, file, &reg);
		if (!ret && copy_to_user(uarg, &reg, sizeof(reg)))
			return -EFAULT;	/* unregistered with the file */
		return ret;
	case P2P_EDU_IOC_UNREGISTER:
		if (get_user(offset, (u64 __user *)uarg))
			return -EFAULT;
		ret = p2p_edu_find(edu, file, offset, 1, &from);
		if (!ret && offset != (u64)from->page << PAGE_SHIFT)
			ret = -EINVAL;
		if (!ret)
			p2p_edu_unregister(from);
		return ret;
	case P2P_EDU_IOC_READ:
	case P2P_EDU_IOC_WRITE:
	case P2P_EDU_IOC_COPY:
		if (copy_from_user(&move, uarg, sizeof(move)))
			return -EFAULT;
		if (cmd != P2P_EDU_IOC_WRITE)
			ret = p2p_edu_find(edu, file, move.from, move.len,
					   &from);
		if (!ret && cmd != P2P_EDU_IOC_READ)
			ret = p2p_edu_find(edu, file, move.to, move.len, &to);
		return ret ? ret : p2p_edu_move(edu, from, to, &move);
	case P2P_EDU_IOC_COUNTERS:
		edu->counters.invalidations = atomic64_read(&edu->invalidations);
		return copy_to_user(uarg, &edu->counters,
				    sizeof(edu->counters)) ? -EFAULT : 0;
	}
	return -ENOTTY;
}

static void p2p_edu_free(struct kref *ref)
{
	kfree(container_of(ref, struct p2p_edu, ref));
}

static int p2p_edu_open(struct inode *inode, struct file *file)
{
	struct p2p_edu *edu = container_of(file->private_data, struct p2p_edu,
					   misc);

	kref_get(&edu->ref);
	file->private_data = edu;
	return 0;
}

/* Of one file, or of all. */
static void p2p_edu_unregister_all(struct p2p_edu *edu, struct file *file)
{
	struct p2p_edu_range *r;
	unsigned long index = 0;

	mt_for_each(&edu->ranges, r, index, ULONG_MAX)
		if (!file || r->file == file)
			p2p_edu_unregister(r);
}

static int p2p_edu_release(struct inode *inode, struct file *file)
{
	struct p2p_edu *edu = file->private_data;

	scoped_guard(mutex, &edu->lock)
		p2p_edu_unregister_all(edu, file);
	kref_put(&edu->ref, p2p_edu_free);
	return 0;
}

static const struct file_operations p2p_edu_fops = {
	.owner = THIS_MODULE,
	.open = p2p_edu_open,
	.release = p2p_edu_release,
	.unlocked_ioctl = p2p_edu_ioctl,
};

/*
 * Debugging aid: be a device that goes on when its memory is taken back. Writing
 * 1 to debugfs p2p_eduN/again starts the last access once more, at the same DMA
 * address, with what the device's buffer holds now; it neither looks whether
 * the range still has that memory nor lets an invalidation wait for the end.
 * Behind an IOMMU it must not reach memory that was taken back.
 */
static int p2p_edu_again(void *data, u64 val)
{
	struct p2p_edu *edu = data;
	int ret;

	guard(mutex)(&edu->lock);
	if (edu->gone || !edu->last_len || val != 1)
		return -EINVAL;
	ret = p2p_edu_wait(edu);
	if (!ret)
		p2p_edu_start(edu, edu->last_dma, edu->last_len,
			      edu->last_to_bus);
	return ret;
}
DEFINE_DEBUGFS_ATTRIBUTE(p2p_edu_again_fops, NULL, p2p_edu_again, "%llu\n");

/* The device */

static atomic_t p2p_edu_count = ATOMIC_INIT(0);

static int p2p_edu_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	void __iomem *io;
	struct p2p_edu *edu;
	int ret;

	ret = pcim_enable_device(pdev);
	if (ret)
		return ret;
	io = pcim_iomap_region(pdev, 0, "p2p_edu");
	if (IS_ERR(io))
		return PTR_ERR(io);
	if ((u8)readl(io + EDU_ID) != EDU_ID_LOW)
		return -ENODEV;
	ret = dma_set_mask_and_coherent(&pdev->dev,
					DMA_BIT_MASK(clamp(dma_bits, 1, 64)));
	if (ret)
		return ret;

	edu = kzalloc_obj(*edu);
	if (!edu)
		return -ENOMEM;
	kref_init(&edu->ref);
	edu->pdev = pdev;
	edu->io = io;
	mutex_init(&edu->lock);
	mt_init(&edu->ranges);
	edu->next_page = 16;	/* 0 is no place */
	edu->bounce = dmam_alloc_coherent(&pdev->dev, PAGE_SIZE,
					  &edu->bounce_dma, GFP_KERNEL);
	if (!edu->bounce) {
		ret = -ENOMEM;
		goto put;
	}
	pci_set_drvdata(pdev, edu);
	pci_set_master(pdev);

	snprintf(edu->name, sizeof(edu->name), "p2p_edu%d",
		 atomic_inc_return(&p2p_edu_count) - 1);
	edu->misc.minor = MISC_DYNAMIC_MINOR;
	edu->misc.name = edu->name;
	edu->misc.fops = &p2p_edu_fops;
	edu->misc.parent = &pdev->dev;
	ret = misc_register(&edu->misc);
	if (ret)
		goto clear_master;
	edu->debugfs = debugfs_create_dir(edu->name, NULL);
	debugfs_create_x64("last_dma", 0400, edu->debugfs, &edu->last_dma);
	debugfs_create_file("again", 0200, edu->debugfs, edu,
			    &p2p_edu_again_fops);
	return 0;

clear_master:
	pci_clear_master(pdev);
put:
	kref_put(&edu->ref, p2p_edu_free);
	return ret;
}

static void p2p_edu_remove(struct pci_dev *pdev)
{
	struct p2p_edu *edu = pci_get_drvdata(pdev);

	debugfs_remove(edu->debugfs);
	misc_deregister(&edu->misc);
	/* Files may stay open; their ranges and the engine's work do not. */
	mutex_lock(&edu->lock);
	edu->gone = true;
	p2p_edu_unregister_all(edu, NULL);
	mutex_unlock(&edu->lock);
	pci_clear_master(pdev);
	kref_put(&edu->ref, p2p_edu_free);
}

/* No transfer during a reset of the device; the lock is held until its end. */
static void p2p_edu_reset_prepare(struct pci_dev *pdev)
	__context_unsafe(/* for p2p_edu_reset_done() */)
{
	struct p2p_edu *edu = pci_get_drvdata(pdev);

	mutex_lock(&edu->lock);
}

static void p2p_edu_reset_done(struct pci_dev *pdev)
	__context_unsafe(/* from p2p_edu_reset_prepare() */)
{
	struct p2p_edu *edu = pci_get_drvdata(pdev);

	mutex_unlock(&edu->lock);
}

static const struct pci_error_handlers p2p_edu_err_handlers = {
	.reset_prepare = p2p_edu_reset_prepare,
	.reset_done = p2p_edu_reset_done,
};

static const struct pci_device_id p2p_edu_ids[] = {
	{ PCI_DEVICE(0x1234, 0x11e8) },
	{ }
};
MODULE_DEVICE_TABLE(pci, p2p_edu_ids);

static struct pci_driver p2p_edu_driver = {
	.name = "p2p_edu",
	.id_table = p2p_edu_ids,
	.probe = p2p_edu_probe,
	.remove = p2p_edu_remove,
	.err_handler = &p2p_edu_err_handlers,
};
module_pci_driver(p2p_edu_driver);

MODULE_DESCRIPTION("Reference importer of peer-to-peer memory");
MODULE_LICENSE("GPL");
