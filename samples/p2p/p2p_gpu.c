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
 * of steps in p2p_gpu_move(), p2p_gpu_zap(), and the attach and detach in
 * probe() and remove(). The rest is what any driver with an mmap() has.
 */
#include <linux/debugfs.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/genalloc.h>
#include <linux/io.h>
#include <linux/kref.h>
#include <linux/maple_tree.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/p2p_vma.h>
#include <linux/pci.h>
#include <linux/rwsem.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "p2p_gpu.h"

#define P2P_GPU_BAR	2

struct p2p_gpu {
	struct kref ref;		/* one for the device, one for each file */
	struct miscdevice misc;
	char name[16];
	struct p2p_region *vram;
	struct p2p_exporter exporter;
	void __iomem *io;
	struct gen_pool *pool;		/* of physical addresses */
	struct dentry *debugfs;
	struct rw_semaphore unplug;	/* read: an ioctl; write: remove() */

	/* Orders grants and CPU faults against moves. mmap_lock is outside. */
	struct mutex lock;
	bool gone;			/* write: unplug too */
	struct maple_tree objects;	/* by file offset, in pages */
	unsigned long next_pgoff;	/* never reused */
	wait_queue_head_t moved;
};

/* Where an object is: VRAM if @pages is NULL. */
struct p2p_gpu_place {
	phys_addr_t vram;
	struct page **pages;
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
	gen_pool_destroy(gpu->pool);
	kfree(gpu);
}

static void p2p_gpu_obj_release(struct kref *ref)
{
	kfree(container_of(ref, struct p2p_gpu_obj, ref));
}

/* Places */

static void p2p_gpu_place_free(struct p2p_gpu *gpu, struct p2p_gpu_place *place,
			       unsigned long nr_pages)
{
	unsigned long i;

	if (!place->pages) {
		gen_pool_free(gpu->pool, place->vram, nr_pages << PAGE_SHIFT);
		return;
	}
	for (i = 0; i < nr_pages && place->pages[i]; i++)
		__free_page(place->pages[i]);
	kvfree(place->pages);
}

static int p2p_gpu_place_alloc(struct p2p_gpu *gpu, struct p2p_gpu_place *place,
			       unsigned long nr_pages, u32 where)
{
	unsigned long i;

	*place = (struct p2p_gpu_place) { };
	if (where == P2P_GPU_VRAM) {
		place->vram = gen_pool_alloc(gpu->pool, nr_pages << PAGE_SHIFT);
		return place->vram ? 0 : -ENOSPC;
	}
	place->pages = kvcalloc(nr_pages, sizeof(*place->pages),
				GFP_KERNEL_ACCOUNT);
	if (!place->pages)
		return -ENOMEM;
	for (i = 0; i < nr_pages; i++) {
		place->pages[i] = alloc_page(GFP_KERNEL_ACCOUNT);
		if (!place->pages[i]) {
			p2p_gpu_place_free(gpu, place, nr_pages);
			return -ENOMEM;
		}
	}
	return 0;
}

static phys_addr_t p2p_gpu_phys(const struct p2p_gpu_place *place,
				unsigned long page)
{
	if (place->pages)
		return page_to_phys(place->pages[page]);
	return place->vram + ((phys_addr_t)page << PAGE_SHIFT);
}

/* Stands for the copy engine of a real GPU. */
static void p2p_gpu_copy_page(struct p2p_gpu *gpu, struct p2p_gpu_place *to,
			      struct p2p_gpu_place *from, unsigned long page,
			      void *bounce)
{
	void *buf = from->pages ? page_address(from->pages[page]) : bounce;

	if (!from->pages)
		memcpy_fromio(buf, gpu->io + (p2p_gpu_phys(from, page) -
					      gpu->vram->start), PAGE_SIZE);
	if (to->pages)
		memcpy(page_address(to->pages[page]), buf, PAGE_SIZE);
	else
		memcpy_toio(gpu->io + (p2p_gpu_phys(to, page) -
				       gpu->vram->start), buf, PAGE_SIZE);
}

/*
 * Before somebody else may look at VRAM or write there: drain the CPU's write
 * combining buffers, and read back to push posted writes ahead of us.
 */
static void p2p_gpu_settle(struct p2p_gpu *gpu)
{
	wmb();	/* before the read that pushes them */
	readl(gpu->io);
}

/* What peers get */

/* Grants an extent that holds a reference on the object. */
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
	if (ret) {
		atomic_dec(&obj->extents);
		kref_put(&obj->ref, p2p_gpu_obj_release);
	}
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
	/* VRAM is contiguous and moves as a whole: grant the whole window. */
	first += (req->window_start - vma->vm_start) >> PAGE_SHIFT;
	return p2p_gpu_grant(obj, req, req->window_start,
			     p2p_gpu_phys(&obj->place, first),
			     req->window_end - req->window_start, 0);
}

/* In a worker, maybe long after the VMA and the file are gone. */
static void p2p_gpu_p2p_unmap(struct p2p_extent *ext)
{
	struct p2p_gpu_obj *obj = ext->priv;

	atomic_dec(&obj->extents);
	kref_put(&obj->ref, p2p_gpu_obj_release);
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

static int p2p_gpu_move(struct p2p_gpu *gpu, struct p2p_gpu_obj *obj, u32 where)
{
	struct p2p_gpu_place old, new;
	unsigned long i;
	void *bounce;
	int ret;

	bounce = kmalloc(PAGE_SIZE, GFP_KERNEL);
	if (!bounce)
		return -ENOMEM;
	ret = p2p_gpu_place_alloc(gpu, &new, obj->nr_pages, where);
	if (ret)
		goto free_bounce;

	/* (a) Flip: from now on p2p_gpu_p2p_map() asks peers to wait. */
	mutex_lock(&gpu->lock);
	if (obj->moving || obj->freed) {
		ret = obj->freed ? -ENOENT : -EBUSY;
		mutex_unlock(&gpu->lock);
		p2p_gpu_place_free(gpu, &new, obj->nr_pages);
		goto free_bounce;
	}
	obj->moving = true;
	old = obj->place;
	mutex_unlock(&gpu->lock);

	/* (b) Zap: when this returns, nobody can reach the old place. */
	p2p_gpu_zap_obj(obj);

	/* (c) Only now copy. What peers wrote is all in the old place. */
	for (i = 0; i < obj->nr_pages; i++) {
		p2p_gpu_copy_page(gpu, &new, &old, i, bounce);
		cond_resched();
	}
	p2p_gpu_settle(gpu);

	/* (d) Open the new place. */
	mutex_lock(&gpu->lock);
	obj->place = new;
	obj->moving = false;
	p2p_wake(&gpu->exporter);
	mutex_unlock(&gpu->lock);
	wake_up_all(&gpu->moved);
	p2p_gpu_place_free(gpu, &old, obj->nr_pages);

free_bounce:
	kfree(bounce);
	return ret;
}

/* What the CPU gets */

/*
 * Wait for a move, and fault again. Without mmap_lock where that is possible:
 * a writer that queues up behind us would stop every other fault of the
 * process, those of peers included.
 */
static vm_fault_t p2p_gpu_fault_wait(struct vm_fault *vmf,
				     struct p2p_gpu_obj *obj)
{
	struct p2p_gpu *gpu = obj->gpu;
	struct file *file;

	if (!fault_flag_allow_retry_first(vmf->flags)) {
		wait_event_killable(gpu->moved, !READ_ONCE(obj->moving));
		return VM_FAULT_NOPAGE;
	}
	if (vmf->flags & FAULT_FLAG_RETRY_NOWAIT)
		return VM_FAULT_RETRY;
	file = get_file(vmf->vma->vm_file);	/* pins the object */
	release_fault_lock(vmf);
	wait_event_killable(gpu->moved, !READ_ONCE(obj->moving));
	fput(file);
	return VM_FAULT_RETRY;
}

static vm_fault_t p2p_gpu_fault(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct p2p_gpu_obj *obj = vma->vm_private_data;
	struct p2p_gpu *gpu = obj->gpu;
	pgprot_t prot = vma->vm_page_prot;

	if (READ_ONCE(obj->moving))
		return p2p_gpu_fault_wait(vmf, obj);

	guard(mutex)(&gpu->lock);
	if (gpu->gone || obj->freed)
		return VM_FAULT_SIGBUS;
	if (obj->moving)
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

/* What another program left there is not for the new owner. */
static void p2p_gpu_clear(struct p2p_gpu *gpu, struct p2p_gpu_obj *obj)
{
	unsigned long i;

	for (i = 0; i < obj->nr_pages; i++) {
		memset_io(gpu->io + (p2p_gpu_phys(&obj->place, i) -
				     gpu->vram->start), 0, PAGE_SIZE);
		cond_resched();
	}
	p2p_gpu_settle(gpu);
}

static int p2p_gpu_alloc(struct p2p_gpu *gpu, struct file *file,
			 struct p2p_gpu_alloc *arg)
{
	struct p2p_gpu_obj *obj;
	int ret;

	if (!arg->size || arg->size > gpu->vram->len || arg->pad ||
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
	ret = p2p_gpu_place_alloc(gpu, &obj->place, obj->nr_pages,
				  P2P_GPU_VRAM);
	if (ret)
		goto free_obj;
	p2p_gpu_clear(gpu, obj);

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
	p2p_gpu_place_free(gpu, &obj->place, obj->nr_pages);
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
	p2p_gpu_place_free(gpu, &obj->place, obj->nr_pages);
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
		info->vram = obj->place.vram - gpu->vram->start;
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

static long p2p_gpu_ioctl(struct file *file, unsigned int cmd,
			  unsigned long uarg)
{
	struct p2p_gpu *gpu = file->private_data;
	size_t size = _IOC_SIZE(cmd);
	union p2p_gpu_arg arg;
	long ret = -ENODEV;

	if (cmd != P2P_GPU_IOC_ALLOC && cmd != P2P_GPU_IOC_FREE &&
	    cmd != P2P_GPU_IOC_MOVE && cmd != P2P_GPU_IOC_INFO)
		return -ENOTTY;

	/* User space decides how long a copy takes: remove() must not wait. */
	if (copy_from_user(&arg, (void __user *)uarg, size))
		return -EFAULT;
	down_read(&gpu->unplug);
	if (!gpu->gone)
		ret = p2p_gpu_do_ioctl(gpu, file, cmd, &arg);
	up_read(&gpu->unplug);
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
	unsigned long index = 0;

	mutex_lock(&gpu->lock);
	mt_for_each(&gpu->objects, obj, index, ULONG_MAX) {
		if (obj->file != file)
			continue;
		mtree_erase(&gpu->objects, obj->pgoff);
		if (!obj->freed)
			p2p_gpu_place_free(gpu, &obj->place, obj->nr_pages);
		kref_put(&obj->ref, p2p_gpu_obj_release);
	}
	mutex_unlock(&gpu->lock);
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
		phys_addr_t vram = obj->place.vram - gpu->vram->start;

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

/* The device */

static atomic_t p2p_gpu_count = ATOMIC_INIT(0);

static int p2p_gpu_setup(struct p2p_gpu *gpu, struct pci_dev *pdev)
{
	int ret;

	gpu->io = devm_ioremap_wc(&pdev->dev,
				  pci_resource_start(pdev, P2P_GPU_BAR),
				  pci_resource_len(pdev, P2P_GPU_BAR));
	if (!gpu->io)
		return -ENOMEM;
	gpu->pool = gen_pool_create(PAGE_SHIFT, NUMA_NO_NODE);
	if (!gpu->pool)
		return -ENOMEM;
	ret = gen_pool_add(gpu->pool, pci_resource_start(pdev, P2P_GPU_BAR),
			   pci_resource_len(pdev, P2P_GPU_BAR), NUMA_NO_NODE);
	if (ret)
		return ret;

	gpu->vram = p2p_region_bar(pdev, P2P_GPU_BAR);
	if (IS_ERR(gpu->vram))
		return PTR_ERR(gpu->vram);
	gpu->exporter.ops = &p2p_gpu_exporter_ops;
	ret = p2p_region_attach(gpu->vram, &gpu->exporter);
	if (ret)
		p2p_region_put(gpu->vram);
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
	init_waitqueue_head(&gpu->moved);
	ret = p2p_gpu_setup(gpu, pdev);
	if (ret)
		goto put;

	snprintf(gpu->name, sizeof(gpu->name), "p2p_gpu%d",
		 atomic_inc_return(&p2p_gpu_count) - 1);
	gpu->misc.minor = MISC_DYNAMIC_MINOR;
	gpu->misc.name = gpu->name;
	gpu->misc.fops = &p2p_gpu_fops;
	gpu->misc.parent = &pdev->dev;
	ret = misc_register(&gpu->misc);
	if (ret)
		goto detach;
	gpu->debugfs = debugfs_create_dir(gpu->name, NULL);
	debugfs_create_file("objects", 0400, gpu->debugfs, gpu,
			    &p2p_gpu_objects_fops);
	pci_set_drvdata(pdev, gpu);
	return 0;

detach:
	p2p_region_detach(gpu->vram, &gpu->exporter);
	p2p_region_put(gpu->vram);
put:
	if (gpu->pool)
		kref_put(&gpu->ref, p2p_gpu_release);
	else
		kfree(gpu);
	return ret;
}

static void p2p_gpu_remove(struct pci_dev *pdev)
{
	struct p2p_gpu *gpu = pci_get_drvdata(pdev);

	debugfs_remove(gpu->debugfs);
	misc_deregister(&gpu->misc);
	/* Ioctls, and so moves, end; then grants and CPU faults. */
	down_write(&gpu->unplug);
	mutex_lock(&gpu->lock);
	gpu->gone = true;
	mutex_unlock(&gpu->lock);
	up_write(&gpu->unplug);
	/* No peer uses VRAM or an evicted object after this. */
	p2p_region_detach(gpu->vram, &gpu->exporter);
	p2p_region_put(gpu->vram);
	kref_put(&gpu->ref, p2p_gpu_release);
}

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
};
module_pci_driver(p2p_gpu_driver);

MODULE_DESCRIPTION("Reference exporter of peer-to-peer memory");
MODULE_LICENSE("GPL");
