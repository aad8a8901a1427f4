// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of extents of a device: who may map what, at which DMA address,
 * and what hmm_dma_map_pfn() makes of it.
 */
#include <linux/dma-mapping.h>
#include <linux/hmm-dma.h>
#include <linux/mman.h>
#include <linux/pci.h>
#include <linux/pci-p2pdma.h>
#include <linux/tracepoint.h>
#include <trace/events/dma.h>

#include "p2p_kunit.h"

#define ADDR		P2P_TEST_ADDR
#define PAGES(n)	((unsigned long)(n) * PAGE_SIZE)
#define SIZE		PAGES(4)

/* An object in RAM, for @dev. */
static struct p2p_user *dma_ram_user(struct kunit *test, struct device *dev,
				     struct p2p_fake **fake)
{
	*fake = p2p_fake_create(test, SIZE);
	p2p_fake_evict(*fake);
	p2p_fake_mmap(*fake, ADDR, SIZE, 0, PROT_READ | PROT_WRITE);
	p2p_refusals_take();
	return p2p_user_create(test, dev, ADDR, SIZE, true);
}

static dma_addr_t dma_addr(struct p2p_user *user, unsigned long addr)
{
	dma_addr_t dma;

	mutex_lock(&user->lock);
	dma = p2p_extents_dma_addr(&user->set, addr);
	mutex_unlock(&user->lock);
	return dma;
}

static void dma_ram(struct kunit *test)
{
	struct device *dev = p2p_test_device(test);
	struct p2p_fake *fake;
	struct p2p_user *user;
	phys_addr_t phys;

	user = dma_ram_user(test, dev, &fake);
	phys = virt_to_phys(fake->priv);
	KUNIT_ASSERT_EQ(test, 0, p2p_user_fault(user, ADDR, SIZE, P2P_WRITE));
	KUNIT_EXPECT_EQ(test, P2P_PEER_RW, p2p_user_pfn(user, ADDR));
	KUNIT_EXPECT_EQ(test, phys, dma_addr(user, ADDR));
	KUNIT_EXPECT_EQ(test, phys + PAGES(2) + 5, dma_addr(user, ADDR + PAGES(2) + 5));
	KUNIT_EXPECT_EQ(test, DMA_MAPPING_ERROR, dma_addr(user, ADDR + SIZE));
	KUNIT_EXPECT_PTR_EQ(test, dev, p2p_user_extent(user, ADDR)->importer);

	KUNIT_ASSERT_EQ(test, 0, vm_munmap(ADDR, PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, DMA_MAPPING_ERROR, dma_addr(user, ADDR + PAGES(1)));
	KUNIT_EXPECT_EQ(test, 1, p2p_fake_unmaps(fake));
}

/* What the DMA API was asked for @dev */
static struct {
	struct device *dev;
	unsigned int maps;
	unsigned int unmaps;
	dma_addr_t addr;
	size_t size;
	enum dma_data_direction dir;
	unsigned long attrs;
} dma_calls;

static void dma_map_probe(void *data, struct device *dev, phys_addr_t phys,
			  dma_addr_t addr, size_t size,
			  enum dma_data_direction dir, unsigned long attrs)
{
	if (dev != dma_calls.dev)
		return;
	dma_calls.maps++;
	dma_calls.addr = addr;
	dma_calls.size = size;
	dma_calls.dir = dir;
	dma_calls.attrs = attrs;
}

static void dma_unmap_probe(void *data, struct device *dev, dma_addr_t addr,
			    size_t size, enum dma_data_direction dir,
			    unsigned long attrs)
{
	if (dev == dma_calls.dev && addr == dma_calls.addr &&
	    size == dma_calls.size && dir == dma_calls.dir &&
	    attrs == dma_calls.attrs)
		dma_calls.unmaps++;
}

static void dma_calls_stop(void *unused)
{
	unregister_trace_dma_map_phys(dma_map_probe, NULL);
	unregister_trace_dma_unmap_phys(dma_unmap_probe, NULL);
	tracepoint_synchronize_unregister();
}

static void dma_calls_start(struct kunit *test, struct device *dev)
{
	memset(&dma_calls, 0, sizeof(dma_calls));
	dma_calls.dev = dev;
	KUNIT_ASSERT_EQ(test, 0,
			register_trace_dma_map_phys(dma_map_probe, NULL));
	KUNIT_ASSERT_EQ(test, 0,
			register_trace_dma_unmap_phys(dma_unmap_probe, NULL));
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, dma_calls_stop, NULL));
}

/* Mapped once and as a whole, unmapped once and in the same way. */
static void dma_api_calls(struct kunit *test)
{
	struct device *dev = p2p_test_device(test);
	struct p2p_fake *fake;
	struct p2p_user *user;

	user = dma_ram_user(test, dev, &fake);
	dma_calls_start(test, dev);
	KUNIT_ASSERT_EQ(test, 0,
			p2p_user_fault(user, ADDR, PAGE_SIZE, P2P_READ));
	KUNIT_ASSERT_EQ(test, 0, p2p_user_fault(user, ADDR, SIZE, P2P_WRITE));
	KUNIT_EXPECT_EQ(test, 1, dma_calls.maps);
	KUNIT_EXPECT_EQ(test, SIZE, dma_calls.size);
	KUNIT_EXPECT_EQ(test, DMA_BIDIRECTIONAL, dma_calls.dir);
	KUNIT_EXPECT_EQ(test, DMA_ATTR_REQUIRE_COHERENT, dma_calls.attrs);
	/* When the cut is finished it is over, whatever the worker does. */
	KUNIT_ASSERT_EQ(test, 0, vm_munmap(ADDR, PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, 1, dma_calls.unmaps);

	/* Memory that may only be read */
	p2p_fake_mmap(fake, ADDR, SIZE, 0, PROT_READ);
	KUNIT_ASSERT_EQ(test, 0, p2p_user_fault(user, ADDR, SIZE, P2P_READ));
	KUNIT_EXPECT_EQ(test, 2, dma_calls.maps);
	KUNIT_EXPECT_EQ(test, DMA_TO_DEVICE, dma_calls.dir);
	KUNIT_ASSERT_EQ(test, 0, vm_munmap(ADDR, SIZE));
	KUNIT_EXPECT_EQ(test, 2, dma_calls.unmaps);
}

/* The extent keeps the importer's device. */
static void dma_device_ref(struct kunit *test)
{
	struct device *dev = p2p_test_device(test);
	unsigned int refs = kref_read(&dev->kobj.kref);
	struct p2p_fake *fake;
	struct p2p_user *user;

	user = dma_ram_user(test, dev, &fake);
	KUNIT_ASSERT_EQ(test, 0, p2p_user_fault(user, ADDR, SIZE, P2P_WRITE));
	KUNIT_EXPECT_EQ(test, refs + 1, kref_read(&dev->kobj.kref));
	KUNIT_ASSERT_EQ(test, 0, vm_munmap(ADDR, PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, 1, p2p_fake_unmaps(fake));
	KUNIT_EXPECT_EQ(test, refs, kref_read(&dev->kobj.kref));
}

/* Asked before the DMA API is, which would warn. */
static void dma_ram_mask(struct kunit *test)
{
	struct device *dev = p2p_test_device(test);
	struct p2p_fake *fake;
	struct p2p_user *user;
	phys_addr_t phys;

	user = dma_ram_user(test, dev, &fake);
	phys = virt_to_phys(fake->priv);
	dev->coherent_dma_mask = DMA_BIT_MASK(16);
	P2P_EXPECT_REFUSED(test, p2p_user_fault(user, ADDR, SIZE, P2P_WRITE),
			   -ERANGE, P2P_REASON_DMA_MASK);
	dev->coherent_dma_mask = DMA_BIT_MASK(64);
	/* Of the last byte */
	dev->bus_dma_limit = phys + SIZE - 2;
	P2P_EXPECT_REFUSED(test, p2p_user_fault(user, ADDR, SIZE, P2P_WRITE),
			   -ERANGE, P2P_REASON_DMA_MASK);
	KUNIT_EXPECT_EQ(test, 2, p2p_fake_unmaps(fake));
	KUNIT_EXPECT_EQ(test, 0, fake->exporter.users);
	dev->bus_dma_limit = phys + SIZE - 1;
	KUNIT_EXPECT_EQ(test, 0, p2p_user_fault(user, ADDR, SIZE, P2P_WRITE));
	KUNIT_EXPECT_EQ(test, phys, dma_addr(user, ADDR));
}

/* Topology */

/* Neither this device nor this memory is on a PCI bus. */
static void dma_no_topology(struct kunit *test)
{
	struct p2p_fake *fake = p2p_fake_create(test, SIZE);
	struct p2p_user *user;

	p2p_fake_mmap(fake, ADDR, SIZE, 0, PROT_READ | PROT_WRITE);
	p2p_refusals_take();
	user = p2p_user_create(test, p2p_test_device(test), ADDR, SIZE, true);
	P2P_EXPECT_REFUSED(test, p2p_user_fault(user, ADDR, SIZE, P2P_READ),
			   -EREMOTEIO, P2P_REASON_TOPOLOGY);
	KUNIT_EXPECT_EQ(test, 1, p2p_fake_unmaps(fake));
	KUNIT_EXPECT_EQ(test, 0, fake->exporter.users);
}

/* A BAR, and an importer that is not on a PCI bus */
static void dma_bar_no_topology(struct kunit *test)
{
	struct p2p_fake *fake = p2p_fake_ivshmem(test);
	struct p2p_user *user;

	p2p_fake_mmap(fake, ADDR, SIZE, 0, PROT_READ | PROT_WRITE);
	p2p_refusals_take();
	user = p2p_user_create(test, p2p_test_device(test), ADDR, SIZE, true);
	P2P_EXPECT_REFUSED(test, p2p_user_fault(user, ADDR, SIZE, P2P_READ),
			   -EREMOTEIO, P2P_REASON_TOPOLOGY);
	KUNIT_EXPECT_EQ(test, 1, p2p_fake_unmaps(fake));
}

static void dma_restore_mask(void *data)
{
	struct device *dev = data;

	*dev->dma_mask = DMA_BIT_MASK(32);
}

/* A device always reaches its own memory, and by bus address. */
static void dma_bar_bus_address(struct kunit *test)
{
	struct p2p_fake *fake = p2p_fake_ivshmem(test);
	struct device *dev = fake->dev;
	struct p2p_user *user;
	dma_addr_t bus;

	p2p_fake_mmap(fake, ADDR, SIZE, PAGES(1), PROT_READ | PROT_WRITE);
	bus = pci_p2pdma_bus_addr_map(fake->region->provider,
				      fake->region->start + PAGES(1));
	p2p_refusals_take();
	user = p2p_user_create(test, dev, ADDR, SIZE, true);
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, dma_restore_mask, dev));

	*dev->dma_mask = DMA_BIT_MASK(20);
	P2P_EXPECT_REFUSED(test, p2p_user_fault(user, ADDR, SIZE, P2P_READ),
			   -ERANGE, P2P_REASON_DMA_MASK);
	*dev->dma_mask = DMA_BIT_MASK(64);
	KUNIT_ASSERT_EQ(test, 0, p2p_user_fault(user, ADDR, SIZE, P2P_READ));
	KUNIT_EXPECT_EQ(test, bus, dma_addr(user, ADDR));
	KUNIT_EXPECT_EQ(test, bus + PAGES(3), dma_addr(user, ADDR + PAGES(3)));
	KUNIT_EXPECT_EQ(test, PCI_P2PDMA_MAP_BUS_ADDR,
			p2p_user_extent(user, ADDR)->map_type);
	/* The DMA API knows nothing of it, and its debugging would say so. */
	KUNIT_ASSERT_EQ(test, 0, vm_munmap(ADDR, SIZE));
	KUNIT_EXPECT_EQ(test, 2, p2p_fake_unmaps(fake));
}

/* One extent of two that the importer can have */
static int dma_map_half(struct p2p_fake *fake, struct vm_area_struct *vma,
			struct p2p_map_req *req)
{
	int ret = p2p_fake_grant(fake, req, ADDR, virt_to_phys(fake->priv),
				 SIZE / 2, P2P_EXT_RAM);

	return ret ?: p2p_fake_grant(fake, req, ADDR + SIZE / 2,
				     fake->region->start, SIZE / 2, 0);
}

static void dma_half(struct kunit *test)
{
	struct p2p_fake *fake;
	struct p2p_user *user;

	user = dma_ram_user(test, p2p_test_device(test), &fake);
	fake->map = dma_map_half;
	KUNIT_EXPECT_EQ(test, 0,
			p2p_user_fault(user, ADDR, PAGE_SIZE, P2P_READ));
	KUNIT_EXPECT_EQ(test, 0, p2p_refusals_take());
	KUNIT_EXPECT_EQ(test, 1, p2p_fake_unmaps(fake));
	KUNIT_EXPECT_NOT_NULL(test, p2p_user_extent(user, ADDR));
	KUNIT_EXPECT_NULL(test, p2p_user_extent(user, ADDR + SIZE / 2));

	KUNIT_ASSERT_EQ(test, 0, vm_munmap(ADDR, PAGE_SIZE));
	p2p_fake_mmap(fake, ADDR, SIZE, 0, PROT_READ | PROT_WRITE);
	P2P_EXPECT_REFUSED(test,
			   p2p_user_fault(user, ADDR + SIZE / 2, PAGE_SIZE,
					  P2P_READ),
			   -EREMOTEIO, P2P_REASON_TOPOLOGY);
	KUNIT_EXPECT_TRUE(test, p2p_fake_all_unmapped(fake));
}

/* hmm_dma_map_pfn() */

static void dma_hmm_free(void *data)
{
	struct hmm_dma_map *map = data;

	hmm_dma_map_free(map->peers.importer, map);
}

/* An importer with a list of pfns, like an ODP MR; no notifier is needed. */
static struct hmm_dma_map *dma_hmm_alloc(struct kunit *test,
					 struct p2p_user *user)
{
	struct hmm_dma_map *map = kunit_kzalloc(test, sizeof(*map), GFP_KERNEL);
	struct device *dev = user->set.importer;

	KUNIT_ASSERT_NOT_NULL(test, map);
	KUNIT_ASSERT_EQ(test, 0,
			hmm_dma_map_alloc(dev, map, SIZE >> PAGE_SHIFT,
					  PAGE_SIZE));
	p2p_extents_init(&map->peers, dev, ADDR, ADDR + SIZE, true);
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, dma_hmm_free, map));
	return map;
}

static void dma_hmm_pfn(struct kunit *test)
{
	struct pci_p2pdma_map_state state = {};
	struct device *dev = p2p_test_device(test);
	unsigned long start = ADDR, end = ADDR + SIZE;
	struct p2p_fault fault;
	struct hmm_range range;
	struct hmm_dma_map *map;
	struct p2p_fake *fake;
	struct p2p_user *user;
	unsigned long *pfns;
	phys_addr_t phys;

	user = dma_ram_user(test, dev, &fake);
	phys = virt_to_phys(fake->priv);
	map = dma_hmm_alloc(test, user);
	pfns = map->pfn_list;
	p2p_user_range(user, &range, &fault, ADDR, SIZE, P2P_WRITE);
	fault.set = &map->peers;
	range.hmm_pfns = pfns;
	KUNIT_ASSERT_EQ(test, 0, p2p_user_walk(&range));

	/* Pending is not live. */
	KUNIT_EXPECT_EQ(test, DMA_MAPPING_ERROR,
			hmm_dma_map_pfn(dev, map, 1, &state));
	KUNIT_EXPECT_EQ(test, P2P_PEER_RW, pfns[1]);
	KUNIT_EXPECT_FALSE(test, hmm_dma_unmap_pfn(dev, map, 1));

	p2p_fault_commit(&fault, range.notifier_seq);
	KUNIT_EXPECT_EQ(test, phys + PAGES(1),
			hmm_dma_map_pfn(dev, map, 1, &state));
	KUNIT_EXPECT_EQ(test, P2P_PEER_RW | HMM_PFN_DMA_MAPPED, pfns[1]);
	KUNIT_EXPECT_EQ(test, phys + PAGES(1),
			hmm_dma_map_pfn(dev, map, 1, &state));
	KUNIT_EXPECT_EQ(test, phys + PAGES(3),
			hmm_dma_map_pfn(dev, map, 3, &state));
	KUNIT_EXPECT_EQ(test, P2P_PEER_RW, pfns[2]);

	/* The page goes, the extent stays: that is for the cut. */
	KUNIT_EXPECT_TRUE(test, hmm_dma_unmap_pfn(dev, map, 1));
	KUNIT_EXPECT_EQ(test, P2P_PEER_RW, pfns[1]);
	KUNIT_EXPECT_FALSE(test, hmm_dma_unmap_pfn(dev, map, 1));
	KUNIT_EXPECT_EQ(test, 0, p2p_fake_unmaps(fake));
	KUNIT_EXPECT_TRUE(test, p2p_extents_cut(&map->peers, &start, &end));
	KUNIT_EXPECT_EQ(test, DMA_MAPPING_ERROR,
			hmm_dma_map_pfn(dev, map, 1, &state));
	p2p_extents_cut_finish(&map->peers);
	KUNIT_EXPECT_EQ(test, 1, p2p_fake_unmaps(fake));
}

static struct kunit_case p2p_dma_cases[] = {
	KUNIT_CASE(dma_ram),
	KUNIT_CASE(dma_api_calls),
	KUNIT_CASE(dma_device_ref),
	KUNIT_CASE(dma_ram_mask),
	KUNIT_CASE(dma_no_topology),
	KUNIT_CASE(dma_bar_no_topology),
	KUNIT_CASE(dma_bar_bus_address),
	KUNIT_CASE(dma_half),
	KUNIT_CASE(dma_hmm_pfn),
	{}
};

static struct kunit_suite p2p_dma_suite = {
	.name = "p2p_dma",
	.suite_init = p2p_refusals_start,
	.suite_exit = p2p_refusals_stop,
	.test_cases = p2p_dma_cases,
};

kunit_test_suite(p2p_dma_suite);

MODULE_DESCRIPTION("KUnit tests of DMA mappings of peer memory");
MODULE_LICENSE("GPL");
