// SPDX-License-Identifier: GPL-2.0
/*
 * Reference exporter: what the CPU and peers get of a buffer object, and how it
 * is taken back.
 *
 * What makes it an exporter: p2p_gpu_p2p_map(), p2p_gpu_p2p_unmap(), the order
 * of steps in p2p_gpu_move(), and p2p_gpu_zap(). The rest is what any driver
 * with an mmap() has. See p2p_gpu_drv.c for the attach and the detach.
 */
#include <linux/file.h>
#include <linux/mm.h>
#include <linux/pci.h>
#include <linux/pm_runtime.h>
#include <linux/slab.h>

#include "p2p_gpu.h"
#include "p2p_gpu_dev.h"

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
void p2p_gpu_zap_obj(struct p2p_gpu_obj *obj)
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

const struct p2p_exporter_ops p2p_gpu_exporter_ops = {
	.zap = p2p_gpu_zap,
};

/* Whoever waits looks again: a move or a pause is over. */
void p2p_gpu_wake(struct p2p_gpu *gpu)
{
	lockdep_assert_held(&gpu->lock);
	WRITE_ONCE(gpu->opened, gpu->opened + 1);
	p2p_wake(&gpu->exporter);
	wake_up_all(&gpu->wait);
}

/*
 * After the zap: wait for those who have got pages, by O_DIRECT, say. Nobody
 * gets any more, since the object is moving, freed, or not mapped.
 */
int p2p_gpu_wait_pins(struct p2p_gpu *gpu, struct p2p_gpu_place *place,
		      unsigned long nr_pages)
{
	unsigned long i;
	int ret = 0;

	if (!place->pages)
		return p2p_wait_pins(&gpu->exporter, place->vram,
				     nr_pages << PAGE_SHIFT, P2P_GPU_PIN_WAIT);
	for (i = 0; i < nr_pages && !ret; i++)
		ret = p2p_wait_pins(&gpu->exporter,
				    page_to_phys(place->pages[i]), PAGE_SIZE,
				    P2P_GPU_PIN_WAIT);
	return ret;
}

/*
 * The end of an object that was zapped or has no mapping. VRAM that I/O does not
 * let go of is lost until the driver goes: whoever got it next would find the
 * I/O's data in it. RAM pages live as long as their references.
 */
void p2p_gpu_retire(struct p2p_gpu *gpu, struct p2p_gpu_obj *obj)
{
	int ret = 0;

	if (!obj->place.pages)
		ret = p2p_gpu_wait_pins(gpu, &obj->place, obj->nr_pages);
	if (!ret) {
		p2p_gpu_place_free(&gpu->vram, &obj->place, obj->nr_pages);
		return;
	}
	if (ret == -ETIMEDOUT)
		pr_warn("%s: VRAM of an object is lost: still pinned\n",
			gpu->name);
	kref_get(&obj->ref);
	guard(mutex)(&gpu->lock);
	list_add(&obj->lost, &gpu->lost);
}

int p2p_gpu_move(struct p2p_gpu *gpu, struct p2p_gpu_obj *obj, u32 where)
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

	/*
	 * (b) Zap, and wait for O_DIRECT: when this returns, nobody can reach
	 * the old place. If I/O does not end, it stays where it is.
	 */
	p2p_gpu_zap_obj(obj);
	ret = p2p_gpu_wait_pins(gpu, &old, obj->nr_pages);

	/* (c) Only now copy. What peers wrote is all in the old place. */
	if (!ret)
		p2p_gpu_copy(&gpu->vram, &new, &old, obj->nr_pages, bounce);
	else
		swap(old, new);

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

/*
 * Sleep or reset. When this returns 0, nobody touches VRAM. A real GPU would save
 * it now.
 */
int p2p_gpu_pause(struct p2p_gpu *gpu)
{
	mutex_lock(&gpu->lock);
	gpu->paused = true;
	mutex_unlock(&gpu->lock);
	p2p_gpu_zap(&gpu->exporter);
	return p2p_wait_pins(&gpu->exporter, gpu->region->start,
			     gpu->region->len, P2P_GPU_PIN_WAIT) ? -EBUSY : 0;
}

void p2p_gpu_unpause(struct p2p_gpu *gpu)
{
	mutex_lock(&gpu->lock);
	gpu->paused = false;
	p2p_gpu_wake(gpu);
	mutex_unlock(&gpu->lock);
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

const struct vm_operations_struct p2p_gpu_vm_ops = {
	.fault = p2p_gpu_fault,
	.p2p_map = p2p_gpu_p2p_map,
	.p2p_unmap = p2p_gpu_p2p_unmap,
};
