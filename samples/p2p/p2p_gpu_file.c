// SPDX-License-Identifier: GPL-2.0
/* What a program sees of p2p_gpu: a file, its buffer objects, mmap and ioctls. */
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "p2p_gpu.h"
#include "p2p_gpu_dev.h"

void p2p_gpu_obj_release(struct kref *ref)
{
	kfree(container_of(ref, struct p2p_gpu_obj, ref));
}

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
	p2p_gpu_retire(gpu, obj);
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

/* Take an object of a file out. */
static struct p2p_gpu_obj *p2p_gpu_take(struct p2p_gpu *gpu, struct file *file,
					unsigned long *index)
{
	struct p2p_gpu_obj *obj;

	guard(mutex)(&gpu->lock);
	mt_for_each(&gpu->objects, obj, *index, ULONG_MAX) {
		if (obj->file == file) {
			mtree_erase(&gpu->objects, obj->pgoff);
			return obj;
		}
	}
	return NULL;
}

/* No VMA of the file is left; extents, and pins of I/O, may be. */
static int p2p_gpu_file_release(struct inode *inode, struct file *file)
{
	struct p2p_gpu *gpu = file->private_data;
	struct p2p_gpu_obj *obj;
	bool there = !p2p_gpu_enter(gpu);	/* to fill what becomes free */
	unsigned long index = 0;

	while ((obj = p2p_gpu_take(gpu, file, &index))) {
		if (!obj->freed)
			p2p_gpu_retire(gpu, obj);
		kref_put(&obj->ref, p2p_gpu_obj_release);
	}
	if (there)
		p2p_gpu_exit(gpu);
	kref_put(&gpu->ref, p2p_gpu_release);
	return 0;
}

const struct file_operations p2p_gpu_fops = {
	.owner = THIS_MODULE,
	.open = p2p_gpu_open,
	.release = p2p_gpu_file_release,
	.unlocked_ioctl = p2p_gpu_ioctl,
	.mmap = p2p_gpu_mmap,
};
