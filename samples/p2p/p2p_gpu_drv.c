// SPDX-License-Identifier: GPL-2.0
/*
 * Reference exporter: a toy GPU whose memory peers may use through user
 * addresses.
 *
 * QEMU's ivshmem device plays the GPU and BAR 2 its VRAM. A program allocates
 * buffer objects, maps each at its own file offset, and may have it moved inside
 * VRAM or evicted to system RAM while peers use it.
 *
 * Here the device comes and goes, sleeps and is reset: probe() attaches the
 * exporter to the region of the BAR, remove() detaches it. Read p2p_gpu_mmap.c
 * for what an exporter does in between.
 */
#include <linux/debugfs.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/pci-p2pdma.h>
#include <linux/pm_runtime.h>
#include <linux/seq_file.h>
#include <linux/slab.h>

#include "p2p_gpu_dev.h"

#define P2P_GPU_BAR	2
#define P2P_GPU_IDLE_MS	100

static bool canary;
module_param(canary, bool, 0644);
MODULE_PARM_DESC(canary, "Watch the free memory of devices bound from now on");

static char *pages = "0";
module_param(pages, charp, 0444);
MODULE_PARM_DESC(pages, "Struct pages for O_DIRECT: 0 (default), 4K, 2M");

void p2p_gpu_release(struct kref *ref)
{
	struct p2p_gpu *gpu = container_of(ref, struct p2p_gpu, ref);
	struct p2p_gpu_obj *obj, *next;

	list_for_each_entry_safe(obj, next, &gpu->lost, lost) {
		p2p_gpu_place_free(&gpu->vram, &obj->place, obj->nr_pages);
		kref_put(&obj->ref, p2p_gpu_obj_release);
	}
	mtree_destroy(&gpu->objects);
	p2p_gpu_vram_free(&gpu->vram);
	kfree(gpu);
}

/* Until p2p_gpu_exit() the device is there, awake and not in reset. */
int p2p_gpu_enter(struct p2p_gpu *gpu)
{
	int ret;

	down_read(&gpu->unplug);
	ret = gpu->gone ? -ENODEV : pm_runtime_resume_and_get(&gpu->pdev->dev);
	if (ret)
		up_read(&gpu->unplug);
	return ret;
}

void p2p_gpu_exit(struct p2p_gpu *gpu)
{
	pm_runtime_put_autosuspend(&gpu->pdev->dev);
	up_read(&gpu->unplug);
}

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

/* With pages: O_DIRECT may use objects. VRAM is given out in whole folios then. */
static int p2p_gpu_add_pages(struct p2p_gpu *gpu, size_t size)
{
	if (!size)
		return 0;
	return p2p_region_add_pages(gpu->region, &gpu->exporter,
				    get_order(size),
				    pgprot_writecombine(PAGE_KERNEL));
}

static int p2p_gpu_setup(struct p2p_gpu *gpu, struct pci_dev *pdev)
{
	phys_addr_t base = pci_resource_start(pdev, P2P_GPU_BAR);
	size_t len = pci_resource_len(pdev, P2P_GPU_BAR);
	void __iomem *io = devm_ioremap_wc(&pdev->dev, base, len);
	size_t folio = memparse(pages, NULL);
	int ret;

	if (!io)
		return -ENOMEM;
	gpu->pdev = pdev;
	gpu->region = p2p_region_bar(pdev, P2P_GPU_BAR);
	if (IS_ERR(gpu->region))
		return PTR_ERR(gpu->region);
	ret = p2p_gpu_vram_init(&gpu->vram, io, base, len,
				folio ? get_order(folio) : 0, canary);
	if (ret)
		goto put;
	gpu->exporter.ops = &p2p_gpu_exporter_ops;
	ret = p2p_region_attach(gpu->region, &gpu->exporter);
	if (ret)
		goto free_vram;
	ret = p2p_gpu_add_pages(gpu, folio);
	if (!ret)
		return 0;

	p2p_region_detach(gpu->region, &gpu->exporter);
free_vram:
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
	INIT_LIST_HEAD(&gpu->lost);
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
	/* No peer uses VRAM or an evicted object after this, nor does O_DIRECT. */
	p2p_region_detach(gpu->region, &gpu->exporter);
	p2p_region_put(gpu->region);
	p2p_gpu_vram_gone(&gpu->vram, pci_device_is_present(pdev));
	kref_put(&gpu->ref, p2p_gpu_release);
}

/* Sleep and reset */

/* Extents keep us awake, so at run time only the CPU and pins are in the way. */
static int p2p_gpu_suspend(struct device *dev)
{
	struct p2p_gpu *gpu = dev_get_drvdata(dev);
	int ret = p2p_gpu_pause(gpu);

	if (ret) {
		p2p_gpu_unpause(gpu);
		pm_runtime_mark_last_busy(dev);
	}
	return ret;
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
	if (!p2p_gpu_pause(gpu))
		return;
	pci_warn(pdev, "reset under I/O that does not end\n");
	/* DMA can be left to itself, copies by the CPU to no device cannot. */
	pci_p2pdma_copy_block(gpu->region->provider);
	gpu->copies_blocked = true;
}

static void p2p_gpu_reset_done(struct pci_dev *pdev)
	__context_unsafe(/* from p2p_gpu_reset_prepare() */)
{
	struct p2p_gpu *gpu = pci_get_drvdata(pdev);

	if (gpu->copies_blocked)
		pci_p2pdma_copy_unblock(gpu->region->provider);
	gpu->copies_blocked = false;
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
