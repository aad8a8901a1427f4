// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of peer-to-peer DMA through VMAs: the fake exporter. Its memory
 * does not exist, so nothing maps it for the CPU; copies go to a buffer.
 */
#include <linux/anon_inodes.h>
#include <linux/delay.h>
#include <linux/file.h>
#include <linux/ioport.h>
#include <linux/mman.h>
#include <linux/pci.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "p2p_kunit.h"

static int p2p_fake_p2p_map(struct vm_area_struct *vma, struct p2p_map_req *req)
{
	struct p2p_fake *fake = vma->vm_private_data;

	atomic_inc(&fake->maps);
	fake->req = *req;
	if (fake->map)
		return fake->map(fake, vma, req);
	return p2p_fake_linear(fake, vma, req);
}

static void p2p_fake_p2p_unmap(struct p2p_extent *ext)
{
	struct p2p_fake *fake = container_of(ext->exporter, struct p2p_fake,
					     exporter);

	complete(&fake->unmap_begun);
	if (fake->unmap_hold)
		wait_for_completion(fake->unmap_hold);
	fake->last = *ext;
	atomic_inc(&fake->unmaps);
}

static void p2p_fake_vm_open(struct vm_area_struct *vma)
{
	struct p2p_fake *fake = vma->vm_private_data;

	atomic_inc(&fake->vmas);
}

static void p2p_fake_vm_close(struct vm_area_struct *vma)
{
	struct p2p_fake *fake = vma->vm_private_data;

	/* After the last one the fake may go. */
	vma->vm_ops = NULL;
	atomic_dec(&fake->vmas);
}

static vm_fault_t p2p_fake_fault(struct vm_fault *vmf)
{
	return VM_FAULT_SIGBUS;
}

static const struct vm_operations_struct p2p_fake_vm_ops = {
	.open = p2p_fake_vm_open,
	.close = p2p_fake_vm_close,
	.fault = p2p_fake_fault,
	.p2p_map = p2p_fake_p2p_map,
	.p2p_unmap = p2p_fake_p2p_unmap,
};

const struct vm_operations_struct p2p_fake_no_map_ops = {
	.open = p2p_fake_vm_open,
	.close = p2p_fake_vm_close,
	.fault = p2p_fake_fault,
};

const struct vm_operations_struct p2p_fake_no_fault_ops = {
	.open = p2p_fake_vm_open,
	.close = p2p_fake_vm_close,
	.p2p_map = p2p_fake_p2p_map,
	.p2p_unmap = p2p_fake_p2p_unmap,
};

const struct vm_operations_struct p2p_fake_no_unmap_ops = {
	.open = p2p_fake_vm_open,
	.close = p2p_fake_vm_close,
	.fault = p2p_fake_fault,
	.p2p_map = p2p_fake_p2p_map,
};

static int p2p_fake_f_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct p2p_fake *fake = file->private_data;

	vm_flags_set(vma, fake->vm_flags);
	vma->vm_private_data = fake;
	vma->vm_ops = fake->vm_ops;
	p2p_fake_vm_open(vma);
	return 0;
}

static const struct file_operations p2p_fake_fops = {
	.mmap = p2p_fake_f_mmap,
};

static void p2p_fake_zap(struct p2p_exporter *e)
{
	struct p2p_fake *fake = container_of(e, struct p2p_fake, exporter);

	fake->zaps++;
	unmap_mapping_range(fake->file->f_mapping, 0, 0, 1);
}

static int p2p_fake_copy_to(struct p2p_extent *ext, size_t off, const void *src,
			    size_t len)
{
	struct p2p_fake *fake = container_of(ext->exporter, struct p2p_fake,
					     exporter);

	if (fake->vram)
		memcpy(fake->vram + (ext->phys - fake->region->start) + off, src,
		       len);
	return fake->err;
}

static int p2p_fake_copy_from(struct p2p_extent *ext, size_t off, void *dst,
			      size_t len)
{
	struct p2p_fake *fake = container_of(ext->exporter, struct p2p_fake,
					     exporter);

	if (fake->vram)
		memcpy(dst, fake->vram + (ext->phys - fake->region->start) + off,
		       len);
	return fake->err;
}

/* With copy ops, so that nobody ioremaps what is not there. */
static const struct p2p_exporter_ops p2p_fake_copy_ops = {
	.zap = p2p_fake_zap,
	.copy_to = p2p_fake_copy_to,
	.copy_from = p2p_fake_copy_from,
};

static const struct p2p_exporter_ops p2p_fake_bar_ops = {
	.zap = p2p_fake_zap,
};

/* Grant one extent, and count it. */
int p2p_fake_grant(struct p2p_fake *fake, struct p2p_map_req *req,
		   unsigned long addr, phys_addr_t phys, size_t len,
		   unsigned int flags)
{
	int ret = p2p_req_add(req, &fake->exporter, addr, phys, len, flags,
			      fake->priv);

	if (!ret)
		atomic_inc(&fake->granted);
	return ret;
}

/* Grants the window. */
int p2p_fake_linear(struct p2p_fake *fake, struct vm_area_struct *vma,
		    struct p2p_map_req *req)
{
	int ret = p2p_map_linear(vma, req, &fake->exporter,
				 fake->region->start);

	if (!ret)
		atomic_inc(&fake->granted);
	return ret;
}

/* Grants what is needed and not a page more. */
int p2p_fake_needed(struct p2p_fake *fake, struct vm_area_struct *vma,
		    struct p2p_map_req *req)
{
	return p2p_fake_grant(fake, req, req->start,
			      p2p_fake_phys(fake, vma, req->start),
			      req->end - req->start, 0);
}

/* Grants one page of what is needed. */
int p2p_fake_one(struct p2p_fake *fake, struct vm_area_struct *vma,
		 struct p2p_map_req *req)
{
	return p2p_fake_grant(fake, req, req->start,
			      p2p_fake_phys(fake, vma, req->start), PAGE_SIZE,
			      0);
}

/* Grants the window of an object that is in system RAM now, at @fake->priv. */
static int p2p_fake_ram(struct p2p_fake *fake, struct vm_area_struct *vma,
			struct p2p_map_req *req)
{
	phys_addr_t off = p2p_fake_phys(fake, vma, req->window_start) -
			  fake->region->start;

	return p2p_fake_grant(fake, req, req->window_start,
			      virt_to_phys(fake->priv) + off,
			      req->window_end - req->window_start, P2P_EXT_RAM);
}

/* All that it grants from now on is RAM. */
void p2p_fake_evict(struct p2p_fake *fake)
{
	fake->priv = kunit_kzalloc(fake->test, fake->region->len, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(fake->test, fake->priv);
	KUNIT_ASSERT_TRUE(fake->test, PAGE_ALIGNED(fake->priv));
	fake->map = p2p_fake_ram;
}

/* Grants nothing and returns what the test says. */
int p2p_fake_error(struct p2p_fake *fake, struct vm_area_struct *vma,
		   struct p2p_map_req *req)
{
	return fake->err;
}

/* The number of ->p2p_unmap() calls, when no release is under way any more. */
int p2p_fake_unmaps(struct p2p_fake *fake)
{
	flush_work(&fake->exporter.put_work);
	return atomic_read(&fake->unmaps);
}

/* No extent is left that ->p2p_unmap() was not called for. */
bool p2p_fake_all_unmapped(struct p2p_fake *fake)
{
	return p2p_fake_unmaps(fake) == atomic_read(&fake->granted);
}

/* Revoke everything, as a driver's remove() does. */
void p2p_fake_detach(struct p2p_fake *fake)
{
	p2p_region_detach(fake->region, &fake->exporter);
	fake->detached = true;
}

static bool p2p_fake_busy(struct p2p_fake *fake)
{
	return atomic_read(&fake->vmas) || READ_ONCE(fake->exporter.users);
}

/*
 * The end of the test, whose mm is on its way out. An extent that leaked would
 * stop the detach for ever: fail the test instead and leak the fake too.
 */
static void p2p_fake_end(void *data)
{
	struct p2p_fake *fake = data;
	int i;

	for (i = 0; i < 500 && p2p_fake_busy(fake); i++)
		msleep(20);
	if (p2p_fake_busy(fake)) {
		KUNIT_FAIL(fake->test, "leaked: %u extents, %d vmas",
			   fake->exporter.users, atomic_read(&fake->vmas));
		return;
	}
	if (!fake->detached)
		p2p_fake_detach(fake);
	KUNIT_EXPECT_TRUE(fake->test, p2p_fake_all_unmapped(fake));
	fput(fake->file);
	if (fake->res) {
		p2p_region_unregister(fake->region);
		release_mem_region(fake->res->start, resource_size(fake->res));
	}
	kvfree(fake->vram);
	kfree(fake);
}

/* Another file of @fake; the test calls fput(). */
struct file *p2p_fake_open(struct p2p_fake *fake, int flags)
{
	struct file *file;

	file = anon_inode_create_getfile("[p2p_fake]", &p2p_fake_fops, fake,
					 flags, NULL);
	KUNIT_ASSERT_FALSE(fake->test, IS_ERR(file));
	return file;
}

static struct p2p_fake *p2p_fake_alloc(struct kunit *test, struct p2p_region *r,
				       const struct p2p_exporter_ops *ops)
{
	struct p2p_fake *fake = kzalloc_obj(*fake);

	KUNIT_ASSERT_NOT_NULL(test, fake);
	fake->test = test;
	fake->region = r;
	fake->vm_flags = VM_PFNMAP | VM_IO | VM_DONTEXPAND | VM_DONTDUMP;
	fake->vm_ops = &p2p_fake_vm_ops;
	fake->exporter.ops = ops;
	init_completion(&fake->unmap_begun);
	fake->file = p2p_fake_open(fake, O_RDWR);
	KUNIT_ASSERT_EQ(test, 0, p2p_region_attach(r, &fake->exporter));
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, p2p_fake_end, fake));
	return fake;
}

/* An exporter of a region that others have too; CPU copies by ioremap(). */
struct p2p_fake *p2p_fake_attach(struct kunit *test, struct p2p_region *r)
{
	return p2p_fake_alloc(test, r, &p2p_fake_bar_ops);
}

/* A device, its memory, its region, and an exporter. */
struct p2p_fake *p2p_fake_create(struct kunit *test, size_t size)
{
	struct device *dev = p2p_test_device(test);
	struct p2p_region *r;
	struct p2p_fake *fake;
	struct resource *res;

	res = request_free_mem_region(&iomem_resource, size, "p2p_kunit");
	KUNIT_ASSERT_FALSE(test, IS_ERR(res));
	r = p2p_region_register(dev, res->start, size);
	KUNIT_ASSERT_FALSE(test, IS_ERR(r));
	fake = p2p_fake_alloc(test, r, &p2p_fake_copy_ops);
	fake->dev = dev;
	fake->res = res;
	return fake;
}

static void p2p_fake_put_ivshmem(void *data)
{
	struct pci_dev *pdev = data;

	pci_disable_device(pdev);
	pci_dev_put(pdev);
}

static void p2p_fake_put_region(void *r)
{
	p2p_region_put(r);
}

/*
 * An exporter of BAR 2 of QEMU's shared memory device, which is memory and
 * nothing else; CPU copies by ioremap().
 */
struct p2p_fake *p2p_fake_ivshmem(struct kunit *test)
{
	struct p2p_region *r;
	struct p2p_fake *fake;
	struct pci_dev *pdev;

	pdev = pci_get_device(0x1af4, 0x1110, NULL);
	if (!pdev || pci_enable_device_mem(pdev)) {
		pci_dev_put(pdev);
		kunit_skip(test, "needs QEMU's ivshmem-plain");
	}
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, p2p_fake_put_ivshmem,
						  pdev));
	r = p2p_region_bar(pdev, 2);
	KUNIT_ASSERT_FALSE(test, IS_ERR(r));
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, p2p_fake_put_region, r));
	fake = p2p_fake_attach(test, r);
	fake->dev = &pdev->dev;
	return fake;
}

/* Something that the copy ops can work on. */
void p2p_fake_add_vram(struct p2p_fake *fake)
{
	fake->vram = kvzalloc(fake->region->len, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(fake->test, fake->vram);
}

/* A shared mapping, at @addr. */
unsigned long p2p_fake_mmap(struct p2p_fake *fake, unsigned long addr,
			    size_t len, size_t off, int prot)
{
	return p2p_test_mmap(fake->test, fake->file, addr, len, off, prot,
			     MAP_SHARED);
}
