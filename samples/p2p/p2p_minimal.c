// SPDX-License-Identifier: GPL-2.0
/*
 * The smallest exporter: a driver that maps a BAR into user space, and lets
 * peers use that memory through the user's addresses.
 *
 * What a driver that already has an mmap() must add is between the README
 * marks. Memory that moves or comes and goes takes more: see p2p_gpu_drv.c.
 *
 * It binds to no device by itself: write p2p_minimal to driver_override.
 */
#include <linux/fs.h>
#include <linux/kref.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/p2p_vma.h>
#include <linux/pci.h>
#include <linux/slab.h>

#define MINIMAL_BAR	2

struct minimal {
	struct kref ref;		/* one for the device, one for the file */
	struct miscdevice misc;
	struct mutex lock;		/* file, gone; faults against zap */
	struct file *file;		/* one user at a time */
	bool gone;
	phys_addr_t base;
	size_t len;
	struct p2p_region *region;
	struct p2p_exporter exporter;
};

/* PTEs are made here only, so that none comes back after the zap. */
static vm_fault_t minimal_fault(struct vm_fault *vmf)
{
	struct minimal *m = vmf->vma->vm_private_data;

	guard(mutex)(&m->lock);
	if (m->gone)
		return VM_FAULT_SIGBUS;
	return vmf_insert_pfn(vmf->vma, vmf->address,
			      PHYS_PFN(m->base) + vmf->pgoff);
}

/* Take every mapping away, as any driver must be able to. */
static void minimal_unmap(struct minimal *m)
{
	guard(mutex)(&m->lock);
	if (m->file)
		unmap_mapping_range(m->file->f_mapping, 0, 0, 1);
}

/* README: begin */
static int minimal_p2p_map(struct vm_area_struct *vma, struct p2p_map_req *req)
{
	struct minimal *m = vma->vm_private_data;

	return p2p_map_linear(vma, req, &m->exporter, m->base);
}

static const struct vm_operations_struct minimal_vm_ops = {
	.fault = minimal_fault,
	.p2p_map = minimal_p2p_map,
};

static void minimal_zap(struct p2p_exporter *e)
{
	minimal_unmap(container_of(e, struct minimal, exporter));
}

static const struct p2p_exporter_ops minimal_ops = { .zap = minimal_zap };
/* README: end */

static void minimal_release(struct kref *ref)
{
	kfree(container_of(ref, struct minimal, ref));
}

static int minimal_open(struct inode *inode, struct file *file)
{
	struct minimal *m = container_of(file->private_data, struct minimal,
					 misc);

	guard(mutex)(&m->lock);
	if (m->file)
		return -EBUSY;
	m->file = file;
	kref_get(&m->ref);
	file->private_data = m;
	return 0;
}

static int minimal_file_release(struct inode *inode, struct file *file)
{
	struct minimal *m = file->private_data;

	mutex_lock(&m->lock);
	m->file = NULL;
	mutex_unlock(&m->lock);
	kref_put(&m->ref, minimal_release);
	return 0;
}

static int minimal_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct minimal *m = file->private_data;
	unsigned long pages = m->len >> PAGE_SHIFT;

	if (m->gone)
		return -ENODEV;
	if (!(vma->vm_flags & VM_MAYSHARE) || vma->vm_pgoff > pages ||
	    vma_pages(vma) > pages - vma->vm_pgoff)
		return -EINVAL;

	vm_flags_set(vma, VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_page_prot =
		pgprot_decrypted(pgprot_writecombine(vma->vm_page_prot));
	vma->vm_private_data = m;	/* the file pins it */
	vma->vm_ops = &minimal_vm_ops;
	return 0;
}

static const struct file_operations minimal_fops = {
	.owner = THIS_MODULE,
	.open = minimal_open,
	.release = minimal_file_release,
	.mmap = minimal_mmap,
};

static int minimal_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct minimal *m;
	int ret;

	ret = pcim_enable_device(pdev);
	if (ret)
		return ret;
	ret = pcim_request_region(pdev, MINIMAL_BAR, "p2p_minimal");
	if (ret)
		return ret;
	m = kzalloc_obj(*m);
	if (!m)
		return -ENOMEM;
	kref_init(&m->ref);
	mutex_init(&m->lock);
	m->base = pci_resource_start(pdev, MINIMAL_BAR);
	m->len = pci_resource_len(pdev, MINIMAL_BAR);

	/* README: begin */
	m->exporter.ops = &minimal_ops;
	m->region = p2p_region_bar(pdev, MINIMAL_BAR);
	ret = IS_ERR(m->region) ? PTR_ERR(m->region) :
				  p2p_region_attach(m->region, &m->exporter);
	/* README: end */
	if (ret)
		goto put;

	m->misc.minor = MISC_DYNAMIC_MINOR;
	m->misc.name = "p2p_minimal";
	m->misc.fops = &minimal_fops;
	m->misc.parent = &pdev->dev;
	ret = misc_register(&m->misc);
	if (ret)
		goto detach;
	pci_set_drvdata(pdev, m);
	return 0;

detach:
	p2p_region_detach(m->region, &m->exporter);
put:
	if (!IS_ERR(m->region))
		p2p_region_put(m->region);
	kref_put(&m->ref, minimal_release);
	return ret;
}

static void minimal_remove(struct pci_dev *pdev)
{
	struct minimal *m = pci_get_drvdata(pdev);

	misc_deregister(&m->misc);
	mutex_lock(&m->lock);
	m->gone = true;
	mutex_unlock(&m->lock);
	/* README: begin */
	p2p_region_detach(m->region, &m->exporter);
	p2p_region_put(m->region);
	/* README: end */
	kref_put(&m->ref, minimal_release);
}

static struct pci_driver minimal_driver = {
	.name = "p2p_minimal",
	.probe = minimal_probe,
	.remove = minimal_remove,
};
module_pci_driver(minimal_driver);

MODULE_DESCRIPTION("The smallest exporter of peer-to-peer memory");
MODULE_LICENSE("GPL");
