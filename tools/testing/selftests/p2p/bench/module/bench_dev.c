// SPDX-License-Identifier: GPL-2.0
/*
 * The two devices: QEMU's ivshmem, whose BAR 2 is the memory of a GPU, and its
 * edu, for which memory is mapped. Nothing is transferred.
 */
#include <linux/dma-mapping.h>
#include <linux/module.h>
#include <linux/pci.h>

#include "bench.h"

struct pci_dev *bench_gpu, *bench_edu;

static int bench_probe_one(struct pci_dev *pdev, struct pci_dev **where)
{
	int ret = pcim_enable_device(pdev);

	if (ret)
		return ret;
	if (*where)
		return -EBUSY;
	pci_set_master(pdev);
	*where = pdev;
	return 0;
}

static int bench_gpu_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	return bench_probe_one(pdev, &bench_gpu);
}

static int bench_edu_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	int ret = dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));

	dma_set_max_seg_size(&pdev->dev, UINT_MAX);
	return ret ? ret : bench_probe_one(pdev, &bench_edu);
}

static const struct pci_device_id bench_gpu_ids[] = {
	{ PCI_DEVICE(0x1af4, 0x1110) },
	{}
};

static const struct pci_device_id bench_edu_ids[] = {
	{ PCI_DEVICE(0x1234, 0x11e8) },
	{}
};

static struct pci_driver bench_gpu_driver = {
	.name = "p2p_bench_gpu",
	.id_table = bench_gpu_ids,
	.probe = bench_gpu_probe,
	.driver.suppress_bind_attrs = true,
};

static struct pci_driver bench_edu_driver = {
	.name = "p2p_bench_edu",
	.id_table = bench_edu_ids,
	.probe = bench_edu_probe,
	.driver.suppress_bind_attrs = true,
};

int bench_dev_init(void)
{
	int ret = pci_register_driver(&bench_gpu_driver);

	if (ret)
		return ret;
	ret = pci_register_driver(&bench_edu_driver);
	if (ret)
		goto gpu;
	if (bench_gpu && bench_edu)
		return 0;
	ret = -ENODEV;
	pci_unregister_driver(&bench_edu_driver);
gpu:
	pci_unregister_driver(&bench_gpu_driver);
	return ret;
}

void bench_dev_exit(void)
{
	pci_unregister_driver(&bench_edu_driver);
	pci_unregister_driver(&bench_gpu_driver);
}
