// SPDX-License-Identifier: GPL-2.0-only
/*
 * Peers of a vfio-pci device: BARs that vfio_pci_core_mmap() mapped, used by
 * other devices through the user's addresses. They are taken back where the
 * CPU's mappings are.
 */
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/p2p_vma.h>
#include <linux/slab.h>

#include "vfio_pci_priv.h"

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

/**
 * vfio_pci_p2p_pause - grant nothing to peers: a zap of all BARs follows
 * @vdev: the device, memory_lock held for write
 *
 * Until vfio_pci_p2p_settle() peers that ask are told to wait.
 */
void vfio_pci_p2p_pause(struct vfio_pci_core_device *vdev)
{
	lockdep_assert_held_write(&vdev->memory_lock);
	if (vdev->p2p && vdev->p2p->attached)
		vfio_pci_p2p_set_state(vdev->p2p, VFIO_PCI_P2P_PAUSED);
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
	}
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
	struct vfio_pci_p2p *p2p = vdev->p2p;
	int i;

	lockdep_assert_held(&vdev->vdev.dev_set->lock);
	if (!p2p)
		return;
	down_write(&vdev->memory_lock);
	p2p->attached = false;
	vfio_pci_p2p_set_state(p2p, VFIO_PCI_P2P_OFF);
	up_write(&vdev->memory_lock);
	for (i = 0; i < PCI_STD_NUM_BARS; i++) {
		if (IS_ERR(p2p->bar[i].region))
			continue;
		p2p_region_detach(p2p->bar[i].region, &p2p->bar[i].exporter);
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
