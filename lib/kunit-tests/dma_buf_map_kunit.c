// SPDX-License-Identifier: GPL-2.0
/*
 * dma_buf_phys_vec_to_sgt() behind a real IOMMU: where do the ranges go? A
 * module, since it needs two PCI devices (QEMU's ivshmem and edu), an IOMMU that
 * translates and a host bridge that may be crossed: see
 * tools/testing/selftests/p2p/iommu_kunit.sh.
 */
#include <kunit/test.h>
#include <linux/dma-buf-mapping.h>
#include <linux/dma-buf.h>
#include <linux/dma-resv.h>
#include <linux/iommu.h>
#include <linux/module.h>
#include <linux/pci-p2pdma.h>
#include <linux/pci.h>
#include <linux/sizes.h>

#define BAR	2

struct dma_buf_map {
	struct pci_dev *owner, *importer;
	struct p2pdma_provider *provider;
	struct iommu_domain *domain;
	struct dma_resv resv;
	struct dma_buf dmabuf;
	struct dma_buf_attachment attach;
};

static void dma_buf_map_exit(struct kunit *test)
{
	struct dma_buf_map *t = test->priv;

	if (!t)
		return;
	dma_resv_fini(&t->resv);
	pci_dev_put(t->importer);
	pci_dev_put(t->owner);
}

static int dma_buf_map_init(struct kunit *test)
{
	struct dma_buf_map *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);

	if (!t)
		return -ENOMEM;
	test->priv = t;
	dma_resv_init(&t->resv);
	t->owner = pci_get_device(PCI_VENDOR_ID_REDHAT_QUMRANET, 0x1110, NULL);
	t->importer = pci_get_device(0x1234, 0x11e8, NULL);
	if (!t->owner || !t->importer)
		return -ENODEV;
	t->domain = iommu_get_domain_for_dev(&t->importer->dev);
	if (!t->domain || !iommu_is_dma_domain(t->domain))
		return -ENODEV;
	if (pcim_p2pdma_init(t->owner))
		return -ENOMEM;
	t->provider = pcim_p2pdma_provider(t->owner, BAR);
	if (!t->provider)
		return -ENODEV;
	t->dmabuf.resv = &t->resv;
	t->attach.dmabuf = &t->dmabuf;
	t->attach.dev = &t->importer->dev;
	return 0;
}

/* Each page of the ranges, in order, where the device sees it. */
static void dma_buf_map_check(struct kunit *test, struct phys_vec *vec,
			      size_t nr)
{
	struct dma_buf_map *t = test->priv;
	size_t i, off, size = 0, at = 0;
	struct sg_table *sgt;
	phys_addr_t phys;
	dma_addr_t addr;

	for (i = 0; i < nr; i++)
		size += vec[i].len;
	dma_resv_lock(&t->resv, NULL);
	sgt = dma_buf_phys_vec_to_sgt(&t->attach, t->provider, vec, nr, size,
				      DMA_BIDIRECTIONAL);
	if (IS_ERR(sgt)) {
		KUNIT_FAIL(test, "dma_buf_phys_vec_to_sgt: %pe", sgt);
		goto unlock;
	}
	KUNIT_EXPECT_EQ(test, sgt->nents, 1);
	addr = sg_dma_address(sgt->sgl);
	KUNIT_EXPECT_EQ(test, sg_dma_len(sgt->sgl), size);
	for (i = 0; i < nr; i++)
		for (off = 0; off < vec[i].len; off += PAGE_SIZE) {
			phys = iommu_iova_to_phys(t->domain, addr + at);
			KUNIT_EXPECT_EQ_MSG(test, vec[i].paddr + off, phys,
					    "range %zu, offset %#zx", i, off);
			at += PAGE_SIZE;
		}
	dma_buf_free_sgt(&t->attach, sgt, DMA_BIDIRECTIONAL);
	for (at = 0; at < size; at += PAGE_SIZE)
		KUNIT_EXPECT_EQ(test, 0,
				iommu_iova_to_phys(t->domain, addr + at));
unlock:
	dma_resv_unlock(&t->resv);
}

static void dma_buf_map_one(struct kunit *test)
{
	struct dma_buf_map *t = test->priv;
	struct phys_vec vec = {
		.paddr = pci_resource_start(t->owner, BAR) + SZ_64K,
		.len = SZ_64K,
	};

	dma_buf_map_check(test, &vec, 1);
}

static void dma_buf_map_three(struct kunit *test)
{
	struct dma_buf_map *t = test->priv;
	phys_addr_t base = pci_resource_start(t->owner, BAR);
	struct phys_vec vec[] = {
		{ .paddr = base + SZ_1M, .len = 2 * PAGE_SIZE },
		{ .paddr = base, .len = PAGE_SIZE },
		{ .paddr = base + SZ_64K, .len = 5 * PAGE_SIZE },
	};

	dma_buf_map_check(test, vec, ARRAY_SIZE(vec));
}

static struct kunit_case dma_buf_map_cases[] = {
	KUNIT_CASE(dma_buf_map_one),
	KUNIT_CASE(dma_buf_map_three),
	{ }
};

static struct kunit_suite dma_buf_map_suite = {
	.name = "dma_buf_map",
	.init = dma_buf_map_init,
	.exit = dma_buf_map_exit,
	.test_cases = dma_buf_map_cases,
};

kunit_test_suite(dma_buf_map_suite);

MODULE_DESCRIPTION("Test of dma_buf_phys_vec_to_sgt()");
MODULE_IMPORT_NS("DMA_BUF");
MODULE_LICENSE("GPL");
