// SPDX-License-Identifier: GPL-2.0-only
/*
 * Peers of a vfio-pci device: BARs that vfio_pci_core_mmap() mapped, used by
 * other devices through the user's addresses. They are taken back where the
 * CPU's mappings are.
 */
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/mutex.h>
#include <linux/p2p_vma.h>
#include <linux/pci-p2pdma.h>
#include <linux/slab.h>

#include "vfio_pci_priv.h"

static bool p2p_pages;
module_param(p2p_pages, bool, 0644);
MODULE_PARM_DESC(p2p_pages, "Give BARs of devices opened from now on struct pages, for O_DIRECT");

/* How long a reset waits for O_DIRECT to memory of the BARs, in all. */
#define VFIO_PCI_P2P_PIN_WAIT	(5 * HZ)

enum vfio_pci_p2p_state {
	VFIO_PCI_P2P_OFF,		/* decode off, D3, low power, not open */
	VFIO_PCI_P2P_PAUSED,		/* zapped; memory_lock held for write */
	VFIO_PCI_P2P_ON,
};

struct vfio_pci_p2p_bar {
	struct vfio_pci_core_device *vdev;
	struct p2p_region *region;	/* or why there is none */
	struct p2p_exporter exporter;
};

/*
 * The bars are attached while the device is open, and every VMA pins the open
 * device by its file.
 */
struct vfio_pci_p2p {
	bool attached;			/* memory_lock */
	bool blocked;			/* memory_lock; the CPU does not copy */
	/*
	 * Orders grants against zaps. Inside of memory_lock, which a reset holds
	 * for many seconds: peers must not wait for that in ->p2p_map().
	 */
	struct mutex lock;
	enum vfio_pci_p2p_state state;
	struct vfio_pci_p2p_bar bar[PCI_STD_NUM_BARS];
};

static void vfio_pci_p2p_zap(struct p2p_exporter *e)
{
	struct vfio_pci_p2p_bar *bar = container_of(e, struct vfio_pci_p2p_bar,
						    exporter);
	struct vfio_pci_core_device *vdev = bar->vdev;

	/* One inode per device, whether opened by its group or by its cdev. */
	unmap_mapping_range(vdev->vdev.inode->i_mapping,
			    VFIO_PCI_INDEX_TO_OFFSET(bar - vdev->p2p->bar),
			    bar->region->len, true);
}

static const struct p2p_exporter_ops vfio_pci_p2p_ops = {
	.zap = vfio_pci_p2p_zap,
};

/**
 * vfio_pci_p2p_map - ->p2p_map() of the VMAs of vfio_pci_core_mmap()
 * @vma: the VMA
 * @req: the request
 *
 * Return: as p2p_map_linear(); -ENXIO if the user turned the BAR off; the errno
 * of p2p_region_bar() for a BAR that peers cannot use.
 */
int vfio_pci_p2p_map(struct vm_area_struct *vma, struct p2p_map_req *req)
{
	struct vfio_pci_core_device *vdev = vma->vm_private_data;
	struct vfio_pci_p2p *p2p = vdev->p2p;
	unsigned int index = vma->vm_pgoff >> (VFIO_PCI_OFFSET_SHIFT -
					       PAGE_SHIFT);
	struct vfio_pci_p2p_bar *bar = &p2p->bar[index];

	if (IS_ERR(bar->region))
		return PTR_ERR(bar->region);

	guard(mutex)(&p2p->lock);
	switch (p2p->state) {
	case VFIO_PCI_P2P_PAUSED:
		return p2p_req_wait(req, &bar->exporter);
	case VFIO_PCI_P2P_OFF:
		return -ENXIO;
	case VFIO_PCI_P2P_ON:
		break;
	}
	/* The file offset has the number of the BAR in its upper bits. */
	return p2p_map_linear(vma, req, &bar->exporter,
			      bar->region->start -
			      VFIO_PCI_INDEX_TO_OFFSET(index));
}

static void vfio_pci_p2p_set_state(struct vfio_pci_p2p *p2p,
				   enum vfio_pci_p2p_state state)
{
	guard(mutex)(&p2p->lock);
	p2p->state = state;
}

/* The bounces of direct I/O stop now, or may go on. */
static void vfio_pci_p2p_block(struct vfio_pci_p2p *p2p, bool block)
{
	struct p2pdma_provider *mem;
	int i;

	if (p2p->blocked == block)
		return;
	p2p->blocked = block;
	for (i = 0; i < PCI_STD_NUM_BARS; i++) {
		if (IS_ERR(p2p->bar[i].region))
			continue;
		mem = p2p->bar[i].region->provider;
		if (block)
			pci_p2pdma_copy_block(mem);
		else
			pci_p2pdma_copy_unblock(mem);
	}
}

/**
 * vfio_pci_p2p_pause - grant nothing to peers: a zap of all BARs follows
 * @vdev: the device, memory_lock held for write
 *
 * Until vfio_pci_p2p_settle() peers that ask are told to wait.
 */
void vfio_pci_p2p_pause(struct vfio_pci_core_device *vdev)
{
	lockdep_assert_held_write(&vdev->memory_lock);
	if (!vdev->p2p || !vdev->p2p->attached)
		return;
	vfio_pci_p2p_set_state(vdev->p2p, VFIO_PCI_P2P_PAUSED);
	vfio_pci_p2p_block(vdev->p2p, true);
}

/**
 * vfio_pci_p2p_wait - after the zap, wait for O_DIRECT that is on its way
 * @vdev: the device, memory_lock held for write
 *
 * Nothing can be done about a device that does not end it. But what the user asks
 * for would hurt his own I/O only, so he can be told.
 *
 * Return: 0, or -EBUSY after a while.
 */
int vfio_pci_p2p_wait(struct vfio_pci_core_device *vdev)
{
	unsigned long deadline = jiffies + VFIO_PCI_P2P_PIN_WAIT;
	struct vfio_pci_p2p *p2p = vdev->p2p;
	int i, ret = 0;

	lockdep_assert_held_write(&vdev->memory_lock);
	if (!p2p || !p2p->attached)
		return 0;
	for (i = 0; i < PCI_STD_NUM_BARS; i++) {
		struct vfio_pci_p2p_bar *bar = &p2p->bar[i];
		long left = deadline - jiffies;

		if (IS_ERR(bar->region) ||
		    p2p_wait_pins(&bar->exporter, bar->region->start,
				  bar->region->len,
				  max(left, 0L)) != -ETIMEDOUT)
			continue;
		pci_warn(vdev->pdev, "BAR %d: I/O to it does not end\n", i);
		ret = -EBUSY;
	}
	return ret;
}

/**
 * vfio_pci_p2p_busy - is I/O of the last user to the BARs still on its way?
 * @vdev: the device, not open
 *
 * Return: 0 or -EBUSY.
 */
int vfio_pci_p2p_busy(struct vfio_pci_core_device *vdev)
{
	return pci_p2p_resource_busy(vdev->pdev) ? -EBUSY : 0;
}

/**
 * vfio_pci_p2p_settle - let peers have the BARs again if the CPU may have them
 * @vdev: the device, memory_lock held for write
 */
void vfio_pci_p2p_settle(struct vfio_pci_core_device *vdev)
{
	struct vfio_pci_p2p *p2p = vdev->p2p;
	bool on;
	int i;

	lockdep_assert_held_write(&vdev->memory_lock);
	if (!p2p || !p2p->attached)
		return;
	on = !vdev->pm_runtime_engaged && __vfio_pci_memory_enabled(vdev);
	/* First this: what is granted from then on may have to be copied. */
	if (on)
		vfio_pci_p2p_block(p2p, false);
	vfio_pci_p2p_set_state(p2p, on ? VFIO_PCI_P2P_ON : VFIO_PCI_P2P_OFF);
	for (i = 0; i < PCI_STD_NUM_BARS; i++)
		if (!IS_ERR(p2p->bar[i].region))
			p2p_wake(&p2p->bar[i].exporter);
}

static void vfio_pci_p2p_attach_bar(struct vfio_pci_p2p_bar *bar, int index)
{
	int ret;

	bar->exporter.ops = &vfio_pci_p2p_ops;
	bar->region = p2p_region_bar(bar->vdev->pdev, index);
	if (IS_ERR(bar->region))
		return;
	ret = p2p_region_attach(bar->region, &bar->exporter);
	if (ret) {
		p2p_region_put(bar->region);
		bar->region = ERR_PTR(ret);
		return;
	}
	if (!READ_ONCE(p2p_pages))
		return;
	ret = p2p_region_add_pages(bar->region, &bar->exporter, 0,
				   pgprot_noncached(PAGE_KERNEL));
	if (ret)
		pci_info(bar->vdev->pdev, "BAR %d: no pages for it: %pe\n",
			 index, ERR_PTR(ret));
}

/**
 * vfio_pci_p2p_attach - let peers have the BARs of a device that was opened
 * @vdev: the device, no memory_lock held
 */
void vfio_pci_p2p_attach(struct vfio_pci_core_device *vdev)
{
	int i;

	lockdep_assert_held(&vdev->vdev.dev_set->lock);
	if (!vdev->p2p)
		return;
	for (i = 0; i < PCI_STD_NUM_BARS; i++)
		vfio_pci_p2p_attach_bar(&vdev->p2p->bar[i], i);
	down_write(&vdev->memory_lock);
	vdev->p2p->attached = true;
	vfio_pci_up_write_memory_lock(vdev);
}

/**
 * vfio_pci_p2p_detach - take the BARs from peers for good: the device is closed
 * @vdev: the device, no memory_lock held
 *
 * When this returns, nothing of a peer refers to the device.
 */
void vfio_pci_p2p_detach(struct vfio_pci_core_device *vdev)
{
	unsigned long deadline = p2p_detach_deadline();
	struct vfio_pci_p2p *p2p = vdev->p2p;
	int i;

	lockdep_assert_held(&vdev->vdev.dev_set->lock);
	if (!p2p)
		return;
	down_write(&vdev->memory_lock);
	p2p->attached = false;
	vfio_pci_p2p_set_state(p2p, VFIO_PCI_P2P_OFF);
	vfio_pci_p2p_block(p2p, true);
	up_write(&vdev->memory_lock);
	for (i = 0; i < PCI_STD_NUM_BARS; i++)
		if (!IS_ERR(p2p->bar[i].region))
			p2p_region_detach_until(p2p->bar[i].region,
						&p2p->bar[i].exporter,
						deadline);
	/* What is still pinned is blocked for as long as it is. */
	vfio_pci_p2p_block(p2p, false);
	for (i = 0; i < PCI_STD_NUM_BARS; i++) {
		if (IS_ERR(p2p->bar[i].region))
			continue;
		p2p_region_put(p2p->bar[i].region);
		p2p->bar[i].region = ERR_PTR(-ENODEV);
	}
}

/**
 * vfio_pci_core_init_p2p - let peers use BARs that vfio_pci_core_mmap() maps
 * @vdev: the device, after vfio_pci_core_init_dev()
 *
 * For drivers whose BARs are memory that other devices may read and write like
 * the user's program does. A driver with vm_operations_struct of its own is not
 * affected where it uses that.
 *
 * Return: 0 or -ENOMEM.
 */
int vfio_pci_core_init_p2p(struct vfio_pci_core_device *vdev)
{
	struct vfio_pci_p2p *p2p = kzalloc_obj(*p2p);
	int i;

	if (!p2p)
		return -ENOMEM;
	mutex_init(&p2p->lock);
	for (i = 0; i < PCI_STD_NUM_BARS; i++) {
		p2p->bar[i].vdev = vdev;
		p2p->bar[i].region = ERR_PTR(-ENODEV);
	}
	vdev->p2p = p2p;
	return 0;
}
EXPORT_SYMBOL_GPL(vfio_pci_core_init_p2p);

/**
 * vfio_pci_p2p_free - the end of vfio_pci_core_init_p2p()
 * @vdev: the device, closed
 */
void vfio_pci_p2p_free(struct vfio_pci_core_device *vdev)
{
	if (!vdev->p2p)
		return;
	mutex_destroy(&vdev->p2p->lock);
	kfree(vdev->p2p);
}
