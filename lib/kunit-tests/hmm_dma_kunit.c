// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_dma_map_pfns() and hmm_dma_unmap_pfns() behind a real IOMMU: what is where
 * for the device, and how often is the IOTLB told? A module, since it needs QEMU's
 * edu, an IOMMU that translates, a host bridge that may be crossed, and p2p_gpu
 * with pages: see tools/testing/selftests/p2p/iommu_kunit.sh.
 */
#include <kunit/test.h>
#include <linux/dma-mapping.h>
#include <linux/gfp.h>
#include <linux/hmm-dma.h>
#include <linux/hmm.h>
#include <linux/huge_mm.h>
#include <linux/iommu.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/pci-p2pdma.h>
#include <linux/pci.h>

#define BAR	2
#define HUGE	HPAGE_PMD_NR	/* entries; they begin at as many */
#define FEW	8
#define RAM	(HMM_PFN_VALID | HMM_PFN_WRITE)

struct hmm_dma {
	struct pci_dev *pdev, *gpu;
	struct device *dev;
	struct iommu_domain *domain;
	struct page *page[FEW], *huge;
	struct hmm_dma_map map;
	struct pci_p2pdma_map_state state;
	u64 mask;
	bool mapped;
};

/* Calls by the test; other devices have theirs. */
static struct task_struct *prober;
static unsigned int syncs, unlinks;

static int count_sync(struct kprobe *p, struct pt_regs *regs)
{
	syncs += current == prober;
	return 0;
}

static int count_unlink(struct kprobe *p, struct pt_regs *regs)
{
	unlinks += current == prober;
	return 0;
}

static struct kprobe sync_probe = {
	.symbol_name = "dma_iova_sync",
	.pre_handler = count_sync,
};

static struct kprobe unlink_probe = {
	.symbol_name = "dma_iova_unlink",
	.pre_handler = count_unlink,
};

static int hmm_dma_suite_init(struct kunit_suite *suite)
{
	int ret = register_kprobe(&sync_probe);

	if (ret)
		return ret;
	ret = register_kprobe(&unlink_probe);
	if (ret)
		unregister_kprobe(&sync_probe);
	return ret;
}

static void hmm_dma_suite_exit(struct kunit_suite *suite)
{
	unregister_kprobe(&unlink_probe);
	unregister_kprobe(&sync_probe);
}

static void hmm_dma_exit(struct kunit *test)
{
	struct hmm_dma *t = test->priv;
	size_t i;

	if (!t)
		return;
	if (t->mapped) {
		for (i = 0; i < 2 * HUGE; i++)
			hmm_dma_unmap_pfn(t->dev, &t->map, i);
		hmm_dma_map_free(t->dev, &t->map);
	}
	if (t->mask)
		dma_set_mask_and_coherent(t->dev, t->mask);
	if (t->huge)
		__free_pages(t->huge, HPAGE_PMD_ORDER);
	for (i = 0; i < FEW; i++)
		if (t->page[i])
			__free_page(t->page[i]);
	pci_dev_put(t->gpu);
	pci_dev_put(t->pdev);
}

static int hmm_dma_init(struct kunit *test)
{
	struct hmm_dma *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);
	size_t i;

	if (!t)
		return -ENOMEM;
	test->priv = t;
	t->gpu = pci_get_device(PCI_VENDOR_ID_REDHAT_QUMRANET, 0x1110, NULL);
	t->pdev = pci_get_device(0x1234, 0x11e8, NULL);
	if (!t->pdev || !t->gpu)
		return -ENODEV;
	t->dev = &t->pdev->dev;
	t->domain = iommu_get_domain_for_dev(t->dev);
	if (!t->domain || !iommu_is_dma_domain(t->domain))
		return -ENODEV;
	t->mask = dma_get_mask(t->dev);
	if (dma_set_mask_and_coherent(t->dev, DMA_BIT_MASK(64)) ||
	    hmm_dma_map_alloc(t->dev, &t->map, 2 * HUGE, PAGE_SIZE))
		return -ENODEV;
	t->mapped = true;
	if (!dma_use_iova(&t->map.state))
		return -ENODEV;
	for (i = 0; i < FEW; i++) {
		t->page[i] = alloc_page(GFP_KERNEL);
		if (!t->page[i])
			return -ENOMEM;
		t->map.pfn_list[i] = page_to_pfn(t->page[i]) | RAM;
	}
	t->huge = alloc_pages(GFP_KERNEL | __GFP_COMP, HPAGE_PMD_ORDER);
	if (!t->huge)
		return -ENOMEM;
	for (i = 0; i < HUGE; i++)
		t->map.pfn_list[HUGE + i] = (page_to_pfn(t->huge) + i) | RAM;
	return 0;
}

static bool is_mapped(struct hmm_dma *t, size_t i)
{
	return t->map.pfn_list[i] & HMM_PFN_DMA_MAPPED;
}

/* The entry's page, or nothing, and so it says. */
static void expect_entry(struct kunit *test, size_t i, bool there)
{
	struct hmm_dma *t = test->priv;
	phys_addr_t want = there ? hmm_pfn_to_phys(t->map.pfn_list[i]) : 0;

	KUNIT_EXPECT_EQ_MSG(test, want,
			    iommu_iova_to_phys(t->domain, t->map.state.addr +
					       i * PAGE_SIZE), "entry %zu", i);
	KUNIT_EXPECT_EQ_MSG(test, there, is_mapped(t, i), "entry %zu", i);
}

/* Maps entry @i, with @more syncs. */
static void expect_map(struct kunit *test, size_t i, size_t nr, unsigned int more)
{
	struct hmm_dma *t = test->priv;

	prober = current;
	syncs = 0;
	KUNIT_EXPECT_EQ(test, t->map.state.addr + i * PAGE_SIZE,
			hmm_dma_map_pfns(t->dev, &t->map, i, nr, &t->state));
	KUNIT_EXPECT_EQ(test, more, syncs);
}

/* Unmaps @want of @nr entries, at once. */
static void expect_unmap(struct kunit *test, size_t i, size_t nr, size_t want)
{
	struct hmm_dma *t = test->priv;

	prober = current;
	unlinks = 0;
	KUNIT_EXPECT_EQ(test, want,
			hmm_dma_unmap_pfns(t->dev, &t->map, i, nr));
	KUNIT_EXPECT_EQ(test, !!want, unlinks);
}

static void hmm_dma_run(struct kunit *test)
{
	size_t i;

	expect_map(test, 0, FEW - 1, 1);
	for (i = 0; i < FEW; i++)
		expect_entry(test, i, i < FEW - 1);
	/* What goes on entry by entry finds them. */
	expect_map(test, 1, FEW - 1, 0);
	expect_entry(test, FEW - 1, false);

	expect_unmap(test, 1, FEW - 3, FEW - 3);
	for (i = 0; i < FEW; i++)
		expect_entry(test, i, i == 0 || i == FEW - 2);
	expect_unmap(test, 1, FEW, 0);
	expect_unmap(test, FEW - 2, FEW, 1);
	expect_unmap(test, 0, FEW, 1);
	for (i = 0; i < FEW; i++)
		expect_entry(test, i, false);
}

/* A run ends where something else begins, which is left as it was. */
static void hmm_dma_borders(struct kunit *test)
{
	struct hmm_dma *t = test->priv;
	unsigned long *pfn = t->map.pfn_list, was = pfn[2];

	pfn[2] = 0;
	expect_map(test, 0, FEW, 1);
	expect_entry(test, 1, true);
	expect_entry(test, 3, false);
	KUNIT_EXPECT_EQ(test, 0, pfn[2]);

	/* Mapped before: not once more. */
	pfn[2] = was;
	expect_map(test, 5, 1, 1);
	expect_map(test, 2, FEW - 2, 1);
	expect_entry(test, 4, true);
	expect_entry(test, 6, false);
	expect_unmap(test, 0, FEW, 6);

	/* Peer memory has no page, and an extent for its address. */
	pfn[2] = HMM_PFN_VALID | HMM_PFN_PEER;
	expect_map(test, 0, FEW, 1);
	expect_entry(test, 1, true);
	expect_entry(test, 3, false);
	KUNIT_EXPECT_EQ(test, HMM_PFN_VALID | HMM_PFN_PEER, pfn[2]);
	expect_map(test, 3, 1, 1);
	pfn[2] |= HMM_PFN_DMA_MAPPED;
	expect_unmap(test, 0, FEW, 2);
	expect_entry(test, 3, true);
	expect_unmap(test, 3, FEW, 1);
	pfn[2] = was;
}

/* P2PDMA pages are mapped in a way of their own, and alone. */
static void hmm_dma_p2pdma(struct kunit *test)
{
	struct hmm_dma *t = test->priv;
	unsigned long *pfn = t->map.pfn_list, was = pfn[2];
	unsigned long bar = PHYS_PFN(pci_resource_start(t->gpu, BAR));

	KUNIT_ASSERT_TRUE(test, pfn_valid(bar));
	KUNIT_ASSERT_TRUE(test, is_pci_p2pdma_page(pfn_to_page(bar)));
	pfn[2] = bar | RAM;
	expect_map(test, 0, FEW, 1);
	expect_entry(test, 1, true);
	expect_entry(test, 2, false);
	expect_entry(test, 3, false);
	/* By the host bridge */
	expect_map(test, 2, FEW, 1);
	expect_entry(test, 2, true);
	KUNIT_EXPECT_TRUE(test, pfn[2] & HMM_PFN_P2PDMA);
	expect_entry(test, 3, false);
	expect_map(test, 3, 1, 1);
	expect_unmap(test, 0, FEW, 2);
	expect_unmap(test, 2, FEW, 1);
	expect_entry(test, 2, false);
	expect_entry(test, 3, true);
	expect_unmap(test, 3, FEW, 1);
	pfn[2] = was;
}

/* Any page of a contiguous run may go, and only that goes. */
static void hmm_dma_huge(struct kunit *test)
{
	struct hmm_dma *t = test->priv;
	size_t i, gone = HUGE + 5;

	KUNIT_ASSERT_TRUE(test, IS_ALIGNED(t->map.state.addr, HUGE * PAGE_SIZE));
	expect_map(test, HUGE, HUGE, 1);
	for (i = HUGE; i < 2 * HUGE; i++)
		expect_entry(test, i, true);
	expect_unmap(test, gone, 1, 1);
	for (i = HUGE; i < 2 * HUGE; i++)
		expect_entry(test, i, i != gone);
	expect_unmap(test, HUGE, HUGE, 5);
	expect_unmap(test, gone + 1, HUGE - 6, HUGE - 6);
	for (i = HUGE; i < 2 * HUGE; i++)
		expect_entry(test, i, false);
}

/* A run has an end, at a multiple of its length. */
static void hmm_dma_aligned(struct kunit *test)
{
	struct hmm_dma *t = test->priv;

	t->map.pfn_list[HUGE - 2] = t->map.pfn_list[0];
	t->map.pfn_list[HUGE - 1] = t->map.pfn_list[1];
	expect_map(test, HUGE - 2, FEW, 1);
	expect_entry(test, HUGE - 1, true);
	expect_entry(test, HUGE, false);
	expect_map(test, HUGE, FEW, 1);
	expect_unmap(test, HUGE - 2, FEW, 2);
	expect_entry(test, HUGE, true);
	expect_unmap(test, HUGE, HUGE, FEW);
}

static struct kunit_case hmm_dma_cases[] = {
	KUNIT_CASE(hmm_dma_run),
	KUNIT_CASE(hmm_dma_borders),
	KUNIT_CASE(hmm_dma_p2pdma),
	KUNIT_CASE(hmm_dma_huge),
	KUNIT_CASE(hmm_dma_aligned),
	{ }
};

static struct kunit_suite hmm_dma_suite = {
	.name = "hmm_dma",
	.suite_init = hmm_dma_suite_init,
	.suite_exit = hmm_dma_suite_exit,
	.init = hmm_dma_init,
	.exit = hmm_dma_exit,
	.test_cases = hmm_dma_cases,
};

kunit_test_suite(hmm_dma_suite);

MODULE_DESCRIPTION("Test of hmm_dma_map_pfns()");
MODULE_LICENSE("GPL");
