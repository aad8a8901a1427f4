// SPDX-License-Identifier: GPL-2.0
/*
 * Reference exporter: a toy GPU whose memory peers may use through user
 * addresses.
 *
 * QEMU's ivshmem device plays the GPU and BAR 2 its VRAM. A program allocates
 * buffer objects, maps each at its own file offset, and may have it moved inside
 * VRAM or evicted to system RAM while peers use it.
 *
 * What makes it an exporter: p2p_gpu_p2p_map(), p2p_gpu_p2p_unmap(), the order
 * of steps in p2p_gpu_move(), p2p_gpu_zap(), what is done for sleep and reset,
 * and the attach and detach in probe() and remove(). The rest is what any driver
 * with an mmap() has.
 */
#include <linux/debugfs.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/io.h>
#include <linux/kref.h>
#include <linux/maple_tree.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/p2p_vma.h>
#include <linux/pci.h>
#include <linux/pm_runtime.h>
#include <linux/rwsem.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "p2p_gpu.h"
#include "p2p_gpu_vram.h"

#define P2P_GPU_BAR	2
#define P2P_GPU_IDLE_MS	100

static bool canary;
module_param(canary, bool, 0644);
MODULE_PARM_DESC(canary, "Watch the free memory of devices bound from now on");

struct p2p_gpu {
	struct kref ref;		/* one for the device, one for each file */
	struct miscdevice misc;
	char name[16];
	struct pci_dev *pdev;		/* not ours any more when gone */
	struct p2p_region *region;
	struct p2p_exporter exporter;
	struct p2p_gpu_vram vram;
	struct dentry *debugfs;
	/* read: an ioctl; write: remove(), and the begin of a reset */
	struct rw_semaphore unplug;

	/* Orders grants and CPU faults against moves. mmap_lock is outside. */
	struct mutex lock;
	bool gone;			/* write: unplug too */
	bool paused;			/* asleep or in reset: hands off VRAM */
	unsigned int opened;		/* times that something was opened again */
	struct maple_tree objects;	/* by file offset, in pages */
	unsigned long next_pgoff;	/* never reused */
	wait_queue_head_t wait;		/* CPU users: opened */
};

struct p2p_gpu_obj {
	struct kref ref;		/* one for the file, one for each extent */
	struct p2p_gpu *gpu;
	struct file *file;		/* the owner; it pins us */
	unsigned long pgoff;
	unsigned long nr_pages;
	unsigned int flags;
	atomic_t extents;
	/* gpu->lock */
	struct p2p_gpu_place place;
	bool moving;
	bool freed;
};

static void p2p_gpu_release(struct kref *ref)
{
	struct p2p_gpu *gpu = container_of(ref, struct p2p_gpu, ref);

	mtree_destroy(&gpu->objects);
	p2p_gpu_vram_free(&gpu->vram);
	kfree(gpu);
}

static void p2p_gpu_obj_release(struct kref *ref)
{
	kfree(container_of(ref, struct p2p_gpu_obj, ref));
}

/* What peers get */

static void p2p_gpu_ungrant(struct p2p_gpu_obj *obj, unsigned int flags)
{
	/* Not after remove(): it waits for all extents. */
	if (!(flags & P2P_EXT_RAM))
		pm_runtime_put_autosuspend(&obj->gpu->pdev->dev);
	atomic_dec(&obj->extents);
	kref_put(&obj->ref, p2p_gpu_obj_release);
}

/* Grants an extent that holds a reference on the object; VRAM stays awake. */
static int p2p_gpu_grant(struct p2p_gpu_obj *obj, struct p2p_map_req *req,
			 unsigned long addr, phys_addr_t phys, size_t len,
			 unsigned int flags)
{
	int ret;

	if (obj->flags & P2P_GPU_PEERS_READ)
		flags |= P2P_EXT_RDONLY;
	kref_get(&obj->ref);
	atomic_inc(&obj->extents);
	ret = p2p_req_add(req, &obj->gpu->exporter, addr, phys, len, flags,
			  obj);
	if (ret)
		p2p_gpu_ungrant(obj, flags);
	return ret;
}

/* An evicted object: only what is needed, in runs of contiguous pages. */
static int p2p_gpu_grant_ram(struct p2p_gpu_obj *obj, struct p2p_map_req *req,
			     unsigned long page)
{
	struct page **pages = obj->place.pages + page;
	unsigned long nr = (req->end - req->start) >> PAGE_SHIFT;
	unsigned long i, run;
	int ret = 0;

	for (i = 0; i < nr && !ret; i += run) {
		for (run = 1; i + run < nr; run++)
			if (page_to_pfn(pages[i + run]) !=
			    page_to_pfn(pages[i]) + run)
				break;
		ret = p2p_gpu_grant(obj, req, req->start + (i << PAGE_SHIFT),
				    page_to_phys(pages[i]), run << PAGE_SHIFT,
				    P2P_EXT_RAM);
	}
	return ret;
}

/* VRAM is contiguous and moves as a whole: grant the whole window. */
static int p2p_gpu_grant_vram(struct p2p_gpu_obj *obj, struct p2p_map_req *req,
			      unsigned long page)
{
	struct p2p_gpu *gpu = obj->gpu;

	if (gpu->paused) {
		/* Do not wait here: p2p_gpu_unpause() wakes who does. */
		pm_request_resume(&gpu->pdev->dev);
		return p2p_req_wait(req, &gpu->exporter);
	}
	/* If it is about to sleep, p2p_gpu_pause() takes this back first. */
	pm_runtime_get_noresume(&gpu->pdev->dev);
	return p2p_gpu_grant(obj, req, req->window_start,
			     p2p_gpu_phys(&obj->place, page),
			     req->window_end - req->window_start, 0);
}

static int p2p_gpu_p2p_map(struct vm_area_struct *vma, struct p2p_map_req *req)
{
	struct p2p_gpu_obj *obj = vma->vm_private_data;
	struct p2p_gpu *gpu = obj->gpu;
	unsigned long first = vma->vm_pgoff - obj->pgoff;

	guard(mutex)(&gpu->lock);
	if (gpu->gone || obj->freed)
		return -ENODEV;
	if (obj->flags & P2P_GPU_PEERS_NONE)
		return -EACCES;
	/* Neither the old nor the new place: one of them loses the data. */
	if (obj->moving)
		return p2p_req_wait(req, &gpu->exporter);
	if (obj->place.pages)
		return p2p_gpu_grant_ram(obj, req, first +
			((req->start - vma->vm_start) >> PAGE_SHIFT));
	return p2p_gpu_grant_vram(obj, req, first +
			((req->window_start - vma->vm_start) >> PAGE_SHIFT));
}

/* In a worker, maybe long after the VMA and the file are gone. */
static void p2p_gpu_p2p_unmap(struct p2p_extent *ext)
{
	p2p_gpu_ungrant(ext->priv, ext->flags);
}

/*
 * Take one object back, from the CPU and from peers. All its mappings are of
 * one file, and no other object has its offsets.
 */
static void p2p_gpu_zap_obj(struct p2p_gpu_obj *obj)
{
	unmap_mapping_range(obj->file->f_mapping,
			    (loff_t)obj->pgoff << PAGE_SHIFT,
			    (loff_t)obj->nr_pages << PAGE_SHIFT, 1);
}

/* The device goes: take everything back. */
static void p2p_gpu_zap(struct p2p_exporter *e)
{
	struct p2p_gpu *gpu = container_of(e, struct p2p_gpu, exporter);
	struct p2p_gpu_obj *obj;
	unsigned long index = 0;

	/* The lock keeps each object, and so its file, for as long. */
	guard(mutex)(&gpu->lock);
	mt_for_each(&gpu->objects, obj, index, ULONG_MAX)
		p2p_gpu_zap_obj(obj);
}

static const struct p2p_exporter_ops p2p_gpu_exporter_ops = {
	.zap = p2p_gpu_zap,
};

/* Whoever waits looks again: a move or a pause is over. */
static void p2p_gpu_wake(struct p2p_gpu *gpu)
{
	lockdep_assert_held(&gpu->lock);
	WRITE_ONCE(gpu->opened, gpu->opened + 1);
	p2p_wake(&gpu->exporter);
	wake_up_all(&gpu->wait);
}

static int p2p_gpu_move(struct p2p_gpu *gpu, struct p2p_gpu_obj *obj, u32 where)
{
	struct p2p_gpu_place old, new;
	void *bounce;
	int ret;

	bounce = kmalloc(PAGE_SIZE, GFP_KERNEL);
	if (!bounce)
		return -ENOMEM;
	ret = p2p_gpu_place_alloc(&gpu->vram, &new, obj->nr_pages,
				  where == P2P_GPU_RAM);
	if (ret)
		goto free_bounce;

	/* (a) Flip: from now on p2p_gpu_p2p_map() asks peers to wait. */
	mutex_lock(&gpu->lock);
	if (obj->moving || obj->freed) {
		ret = obj->freed ? -ENOENT : -EBUSY;
		mutex_unlock(&gpu->lock);
		p2p_gpu_place_free(&gpu->vram, &new, obj->nr_pages);
		goto free_bounce;
	}
	obj->moving = true;
	old = obj->place;
	mutex_unlock(&gpu->lock);

	/* (b) Zap: when this returns, nobody can reach the old place. */
	p2p_gpu_zap_obj(obj);

	/* (c) Only now copy. What peers wrote is all in the old place. */
	p2p_gpu_copy(&gpu->vram, &new, &old, obj->nr_pages, bounce);

	/* (d) Open the new place. */
	mutex_lock(&gpu->lock);
	obj->place = new;
	obj->moving = false;
	p2p_gpu_wake(gpu);
	mutex_unlock(&gpu->lock);
	p2p_gpu_place_free(&gpu->vram, &old, obj->nr_pages);

free_bounce:
	kfree(bounce);
	return ret;
}

/* What the CPU gets */

/* The object cannot be had at the moment. One in RAM needs no device. */
static bool p2p_gpu_busy(struct p2p_gpu_obj *obj)
{
	return READ_ONCE(obj->moving) ||
	       (READ_ONCE(obj->gpu->paused) && !READ_ONCE(obj->place.pages));
}

/* By then it may be asleep again: look again, and do not wait for more. */
static void p2p_gpu_wait(struct p2p_gpu *gpu, unsigned int seen)
{
	wait_event_killable(gpu->wait, READ_ONCE(gpu->opened) != seen);
}

/*
 * Wait until something is opened, and fault again. Without mmap_lock where that
 * is possible: a writer that queues up behind us would stop every other fault of
 * the process, those of peers included.
 */
static vm_fault_t p2p_gpu_fault_wait(struct vm_fault *vmf, struct p2p_gpu *gpu,
				     unsigned int seen)
{
	struct file *file;

	if (!fault_flag_allow_retry_first(vmf->flags)) {
		p2p_gpu_wait(gpu, seen);
		return VM_FAULT_NOPAGE;
	}
	if (vmf->flags & FAULT_FLAG_RETRY_NOWAIT)
		return VM_FAULT_RETRY;
	file = get_file(vmf->vma->vm_file);	/* pins the object */
	release_fault_lock(vmf);
	p2p_gpu_wait(gpu, seen);
	fput(file);
	return VM_FAULT_RETRY;
}

/*
 * Is it on the move, asleep or in reset? Then *@seen is for p2p_gpu_wait(). The
 * CPU takes no reference: what it has mapped is zapped before the device sleeps.
 */
static bool p2p_gpu_fault_busy(struct p2p_gpu_obj *obj, unsigned int *seen)
{
	struct p2p_gpu *gpu = obj->gpu;

	if (!p2p_gpu_busy(obj))
		return false;
	guard(mutex)(&gpu->lock);
	*seen = gpu->opened;
	if (!p2p_gpu_busy(obj))
		return false;
	pm_request_resume(&gpu->pdev->dev);
	return true;
}

static vm_fault_t p2p_gpu_fault(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct p2p_gpu_obj *obj = vma->vm_private_data;
	struct p2p_gpu *gpu = obj->gpu;
	pgprot_t prot = vma->vm_page_prot;
	unsigned int seen;

	if (p2p_gpu_fault_busy(obj, &seen))
		return p2p_gpu_fault_wait(vmf, gpu, seen);

	guard(mutex)(&gpu->lock);
	if (gpu->gone || obj->freed)
		return VM_FAULT_SIGBUS;
	if (p2p_gpu_busy(obj))
		return VM_FAULT_NOPAGE;
	if (obj->place.pages)
		prot = vm_get_page_prot(vma->vm_flags);
	return vmf_insert_pfn_prot(vma, vmf->address,
			PHYS_PFN(p2p_gpu_phys(&obj->place,
					      vmf->pgoff - obj->pgoff)), prot);
}

static const struct vm_operations_struct p2p_gpu_vm_ops = {
	.fault = p2p_gpu_fault,
	.p2p_map = p2p_gpu_p2p_map,
	.p2p_unmap = p2p_gpu_p2p_unmap,
};

static struct p2p_gpu_obj *p2p_gpu_find(struct p2p_gpu *gpu, struct file *file,
					unsigned long pgoff)
{
	struct p2p_gpu_obj *obj;

	/* Another file's object may go away; our own lives as long as @file. */
	lockdep_assert_held(&gpu->lock);
	obj = mtree_load(&gpu->objects, pgoff);
	return obj && obj->file == file ? obj : NULL;
}

static int p2p_gpu_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct p2p_gpu *gpu = file->private_data;
	struct p2p_gpu_obj *obj;

	/* A private mapping would hold copies that nobody keeps up to date. */
	if (!(vma->vm_flags & VM_MAYSHARE))
		return -EINVAL;

	guard(mutex)(&gpu->lock);
	obj = p2p_gpu_find(gpu, file, vma->vm_pgoff);
	if (!obj || vma->vm_pgoff - obj->pgoff + vma_pages(vma) > obj->nr_pages)
		return -EINVAL;

	/* The file pins the object, and the VMA pins the file. */
	vma->vm_private_data = obj;
	vma->vm_ops = &p2p_gpu_vm_ops;
	vm_flags_set(vma, VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_page_prot =
		pgprot_decrypted(pgprot_writecombine(vma->vm_page_prot));
	return 0;
}

/* Objects */

static int p2p_gpu_alloc(struct p2p_gpu *gpu, struct file *file,
			 struct p2p_gpu_alloc *arg)
{
	struct p2p_gpu_obj *obj;
	int ret;

	if (!arg->size || arg->size > gpu->region->len || arg->pad ||
	    arg->flags & ~(P2P_GPU_PEERS_NONE | P2P_GPU_PEERS_READ))
		return -EINVAL;
	obj = kzalloc_obj(*obj, GFP_KERNEL_ACCOUNT);
	if (!obj)
		return -ENOMEM;
	kref_init(&obj->ref);
	obj->gpu = gpu;
	obj->file = file;
	obj->flags = arg->flags;
	obj->nr_pages = PFN_UP(arg->size);
	ret = p2p_gpu_place_alloc(&gpu->vram, &obj->place, obj->nr_pages,
				  false);
	if (ret)
		goto free_obj;
	p2p_gpu_clear(&gpu->vram, &obj->place, obj->nr_pages);

	mutex_lock(&gpu->lock);
	obj->pgoff = gpu->next_pgoff;
	ret = mtree_insert_range(&gpu->objects, obj->pgoff,
				 obj->pgoff + obj->nr_pages - 1, obj,
				 GFP_KERNEL);
	if (!ret)
		gpu->next_pgoff += obj->nr_pages;
	mutex_unlock(&gpu->lock);
	if (ret)
		goto free_place;
	arg->offset = (u64)obj->pgoff << PAGE_SHIFT;
	return 0;

free_place:
	p2p_gpu_place_free(&gpu->vram, &obj->place, obj->nr_pages);
free_obj:
	kfree(obj);
	return ret;
}

/* The memory goes at once, also from under mappings and peers. */
static int p2p_gpu_free(struct p2p_gpu *gpu, struct p2p_gpu_obj *obj)
{
	mutex_lock(&gpu->lock);
	if (obj->moving || obj->freed) {
		mutex_unlock(&gpu->lock);
		return -EBUSY;
	}
	obj->freed = true;
	mutex_unlock(&gpu->lock);

	p2p_gpu_zap_obj(obj);
	p2p_gpu_place_free(&gpu->vram, &obj->place, obj->nr_pages);
	return 0;
}

union p2p_gpu_arg {
	struct p2p_gpu_alloc alloc;
	struct p2p_gpu_move move;
	struct p2p_gpu_info info;
	u64 offset;			/* all but alloc begin with it */
};

static void p2p_gpu_get_info(struct p2p_gpu *gpu, struct p2p_gpu_obj *obj,
			     struct p2p_gpu_info *info)
{
	*info = (struct p2p_gpu_info) {
		.offset = (u64)obj->pgoff << PAGE_SHIFT,
		.size = (u64)obj->nr_pages << PAGE_SHIFT,
		.extents = atomic_read(&obj->extents),
	};
	guard(mutex)(&gpu->lock);
	info->where = obj->place.pages ? P2P_GPU_RAM : P2P_GPU_VRAM;
	if (!obj->place.pages)
		info->vram = obj->place.vram - gpu->vram.base;
}

static long p2p_gpu_do_ioctl(struct p2p_gpu *gpu, struct file *file,
			     unsigned int cmd, union p2p_gpu_arg *arg)
{
	struct p2p_gpu_obj *obj;

	if (cmd == P2P_GPU_IOC_ALLOC)
		return p2p_gpu_alloc(gpu, file, &arg->alloc);

	mutex_lock(&gpu->lock);
	obj = p2p_gpu_find(gpu, file, arg->offset >> PAGE_SHIFT);
	if (obj && (arg->offset != (u64)obj->pgoff << PAGE_SHIFT || obj->freed))
		obj = NULL;
	mutex_unlock(&gpu->lock);
	if (!obj)
		return -ENOENT;

	switch (cmd) {
	case P2P_GPU_IOC_FREE:
		return p2p_gpu_free(gpu, obj);
	case P2P_GPU_IOC_MOVE:
		if (arg->move.where > P2P_GPU_RAM || arg->move.pad)
			return -EINVAL;
		return p2p_gpu_move(gpu, obj, arg->move.where);
	}
	p2p_gpu_get_info(gpu, obj, &arg->info);
	return 0;
}

/* Until p2p_gpu_exit() the device is there, awake and not in reset. */
static int p2p_gpu_enter(struct p2p_gpu *gpu)
{
	int ret;

	down_read(&gpu->unplug);
	ret = gpu->gone ? -ENODEV : pm_runtime_resume_and_get(&gpu->pdev->dev);
	if (ret)
		up_read(&gpu->unplug);
	return ret;
}

static void p2p_gpu_exit(struct p2p_gpu *gpu)
{
	pm_runtime_put_autosuspend(&gpu->pdev->dev);
	up_read(&gpu->unplug);
}

static long p2p_gpu_ioctl(struct file *file, unsigned int cmd,
			  unsigned long uarg)
{
	struct p2p_gpu *gpu = file->private_data;
	size_t size = _IOC_SIZE(cmd);
	union p2p_gpu_arg arg;
	long ret;

	if (cmd != P2P_GPU_IOC_ALLOC && cmd != P2P_GPU_IOC_FREE &&
	    cmd != P2P_GPU_IOC_MOVE && cmd != P2P_GPU_IOC_INFO)
		return -ENOTTY;

	/* User space decides how long a copy takes: remove() must not wait. */
	if (copy_from_user(&arg, (void __user *)uarg, size))
		return -EFAULT;
	ret = p2p_gpu_enter(gpu);
	if (ret)
		return ret;
	ret = p2p_gpu_do_ioctl(gpu, file, cmd, &arg);
	p2p_gpu_exit(gpu);
	/* An object whose offset the user never learns goes with the file. */
	if (!ret && (_IOC_DIR(cmd) & _IOC_READ) &&
	    copy_to_user((void __user *)uarg, &arg, size))
		ret = -EFAULT;
	return ret;
}

static int p2p_gpu_open(struct inode *inode, struct file *file)
{
	struct p2p_gpu *gpu = container_of(file->private_data, struct p2p_gpu,
					   misc);

	kref_get(&gpu->ref);
	file->private_data = gpu;
	return 0;
}

/* No VMA of the file is left; extents may be. */
static int p2p_gpu_file_release(struct inode *inode, struct file *file)
{
	struct p2p_gpu *gpu = file->private_data;
	struct p2p_gpu_obj *obj;
	bool there = !p2p_gpu_enter(gpu);	/* to fill what becomes free */
	unsigned long index = 0;

	mutex_lock(&gpu->lock);
	mt_for_each(&gpu->objects, obj, index, ULONG_MAX) {
		if (obj->file != file)
			continue;
		mtree_erase(&gpu->objects, obj->pgoff);
		if (!obj->freed)
			p2p_gpu_place_free(&gpu->vram, &obj->place, obj->nr_pages);
		kref_put(&obj->ref, p2p_gpu_obj_release);
	}
	mutex_unlock(&gpu->lock);
	if (there)
		p2p_gpu_exit(gpu);
	kref_put(&gpu->ref, p2p_gpu_release);
	return 0;
}

static const struct file_operations p2p_gpu_fops = {
	.owner = THIS_MODULE,
	.open = p2p_gpu_open,
	.release = p2p_gpu_file_release,
	.unlocked_ioctl = p2p_gpu_ioctl,
	.mmap = p2p_gpu_mmap,
};

static int p2p_gpu_objects_show(struct seq_file *s, void *unused)
{
	struct p2p_gpu *gpu = s->private;
	struct p2p_gpu_obj *obj;
	unsigned long index = 0;

	seq_puts(s, "# offset size place extents-held-by-peers\n");
	guard(mutex)(&gpu->lock);
	mt_for_each(&gpu->objects, obj, index, ULONG_MAX) {
		phys_addr_t vram = obj->place.vram - gpu->vram.base;

		seq_printf(s, "%#lx %#lx ", obj->pgoff << PAGE_SHIFT,
			   obj->nr_pages << PAGE_SHIFT);
		if (obj->freed)
			seq_puts(s, "freed");
		else if (obj->place.pages)
			seq_puts(s, "ram");
		else
			seq_printf(s, "vram:%pap", &vram);
		seq_printf(s, " %d\n", atomic_read(&obj->extents));
	}
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(p2p_gpu_objects);

static int p2p_gpu_canary_show(struct seq_file *s, void *unused)
{
	struct p2p_gpu *gpu = s->private;

	int ret = p2p_gpu_enter(gpu);

	if (ret)
		return ret;
	seq_printf(s, "%lu\n", p2p_gpu_vram_check(&gpu->vram));
	p2p_gpu_exit(gpu);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(p2p_gpu_canary);

/* The device */

static atomic_t p2p_gpu_count = ATOMIC_INIT(0);

static int p2p_gpu_setup(struct p2p_gpu *gpu, struct pci_dev *pdev)
{
	phys_addr_t base = pci_resource_start(pdev, P2P_GPU_BAR);
	size_t len = pci_resource_len(pdev, P2P_GPU_BAR);
	void __iomem *io = devm_ioremap_wc(&pdev->dev, base, len);
	int ret;

	if (!io)
		return -ENOMEM;
	gpu->pdev = pdev;
	gpu->region = p2p_region_bar(pdev, P2P_GPU_BAR);
	if (IS_ERR(gpu->region))
		return PTR_ERR(gpu->region);
	ret = p2p_gpu_vram_init(&gpu->vram, io, base, len, canary);
	if (ret)
		goto put;
	gpu->exporter.ops = &p2p_gpu_exporter_ops;
	ret = p2p_region_attach(gpu->region, &gpu->exporter);
	if (!ret)
		return 0;

	p2p_gpu_vram_gone(&gpu->vram, false);
	p2p_gpu_vram_free(&gpu->vram);
put:
	p2p_region_put(gpu->region);
	return ret;
}

static int p2p_gpu_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct p2p_gpu *gpu;
	int ret;

	ret = pcim_enable_device(pdev);
	if (ret)
		return ret;
	ret = pcim_request_region(pdev, P2P_GPU_BAR, "p2p_gpu");
	if (ret)
		return ret;

	gpu = kzalloc_obj(*gpu);
	if (!gpu)
		return -ENOMEM;
	kref_init(&gpu->ref);
	mutex_init(&gpu->lock);
	init_rwsem(&gpu->unplug);
	mt_init(&gpu->objects);
	init_waitqueue_head(&gpu->wait);
	ret = p2p_gpu_setup(gpu, pdev);
	if (ret) {
		kfree(gpu);
		return ret;
	}

	snprintf(gpu->name, sizeof(gpu->name), "p2p_gpu%d",
		 atomic_inc_return(&p2p_gpu_count) - 1);
	gpu->misc.minor = MISC_DYNAMIC_MINOR;
	gpu->misc.name = gpu->name;
	gpu->misc.fops = &p2p_gpu_fops;
	gpu->misc.parent = &pdev->dev;
	pci_set_drvdata(pdev, gpu);
	ret = misc_register(&gpu->misc);
	if (ret)
		goto detach;
	gpu->debugfs = debugfs_create_dir(gpu->name, NULL);
	debugfs_create_file("objects", 0400, gpu->debugfs, gpu,
			    &p2p_gpu_objects_fops);
	debugfs_create_file("canary", 0400, gpu->debugfs, gpu,
			    &p2p_gpu_canary_fops);
	/* Ours, from the PCI core. It sleeps if the user lets it. */
	pm_runtime_set_autosuspend_delay(&pdev->dev, P2P_GPU_IDLE_MS);
	pm_runtime_use_autosuspend(&pdev->dev);
	pm_runtime_put_autosuspend(&pdev->dev);
	return 0;

detach:
	p2p_region_detach(gpu->region, &gpu->exporter);
	p2p_region_put(gpu->region);
	p2p_gpu_vram_gone(&gpu->vram, false);
	kref_put(&gpu->ref, p2p_gpu_release);
	return ret;
}

static void p2p_gpu_remove(struct pci_dev *pdev)
{
	struct p2p_gpu *gpu = pci_get_drvdata(pdev);

	pm_runtime_get_sync(&pdev->dev);
	pm_runtime_dont_use_autosuspend(&pdev->dev);
	debugfs_remove(gpu->debugfs);
	misc_deregister(&gpu->misc);
	/* Ioctls, and so moves, end; then grants and CPU faults. */
	down_write(&gpu->unplug);
	mutex_lock(&gpu->lock);
	gpu->gone = true;
	gpu->paused = false;
	p2p_gpu_wake(gpu);
	mutex_unlock(&gpu->lock);
	up_write(&gpu->unplug);
	/* No peer uses VRAM or an evicted object after this. */
	p2p_region_detach(gpu->region, &gpu->exporter);
	p2p_region_put(gpu->region);
	p2p_gpu_vram_gone(&gpu->vram, pci_device_is_present(pdev));
	kref_put(&gpu->ref, p2p_gpu_release);
}

/* Sleep and reset */

/* When this returns, nobody touches VRAM. A real GPU would save it now. */
static void p2p_gpu_pause(struct p2p_gpu *gpu)
{
	mutex_lock(&gpu->lock);
	gpu->paused = true;
	mutex_unlock(&gpu->lock);
	p2p_gpu_zap(&gpu->exporter);
}

static void p2p_gpu_unpause(struct p2p_gpu *gpu)
{
	mutex_lock(&gpu->lock);
	gpu->paused = false;
	p2p_gpu_wake(gpu);
	mutex_unlock(&gpu->lock);
}

/* Extents keep us awake, so at run time only the CPU has something to lose. */
static int p2p_gpu_suspend(struct device *dev)
{
	p2p_gpu_pause(dev_get_drvdata(dev));
	return 0;
}

static int p2p_gpu_resume(struct device *dev)
{
	p2p_gpu_unpause(dev_get_drvdata(dev));
	return 0;
}

static DEFINE_RUNTIME_DEV_PM_OPS(p2p_gpu_pm_ops, p2p_gpu_suspend,
				 p2p_gpu_resume, NULL);

/* Ioctls, and so moves, end; new ones wait for the end of the reset. */
static void p2p_gpu_reset_prepare(struct pci_dev *pdev)
	__context_unsafe(/* until p2p_gpu_reset_done() */)
{
	struct p2p_gpu *gpu = pci_get_drvdata(pdev);

	/* Awake all the time: sleep and reset must not end each other's pause. */
	pm_runtime_get_sync(&pdev->dev);
	down_write(&gpu->unplug);
	p2p_gpu_pause(gpu);
}

static void p2p_gpu_reset_done(struct pci_dev *pdev)
	__context_unsafe(/* from p2p_gpu_reset_prepare() */)
{
	struct p2p_gpu *gpu = pci_get_drvdata(pdev);

	p2p_gpu_unpause(gpu);
	up_write(&gpu->unplug);
	pm_runtime_put_autosuspend(&pdev->dev);
}

static const struct pci_error_handlers p2p_gpu_err_handlers = {
	.reset_prepare = p2p_gpu_reset_prepare,
	.reset_done = p2p_gpu_reset_done,
};

static const struct pci_device_id p2p_gpu_ids[] = {
	{ PCI_DEVICE(PCI_VENDOR_ID_REDHAT_QUMRANET, 0x1110) },	/* ivshmem */
	{ }
};
MODULE_DEVICE_TABLE(pci, p2p_gpu_ids);

static struct pci_driver p2p_gpu_driver = {
	.name = "p2p_gpu",
	.id_table = p2p_gpu_ids,
	.probe = p2p_gpu_probe,
	.remove = p2p_gpu_remove,
	.err_handler = &p2p_gpu_err_handlers,
	.driver.pm = pm_ptr(&p2p_gpu_pm_ops),
};
module_pci_driver(p2p_gpu_driver);

MODULE_DESCRIPTION("Reference exporter of peer-to-peer memory");
MODULE_LICENSE("GPL");
