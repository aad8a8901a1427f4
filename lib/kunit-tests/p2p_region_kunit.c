// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of regions: who may register what, and what detaching an exporter
 * does and waits for.
 */
#include <linux/ioport.h>
#include <linux/kthread.h>
#include <linux/mman.h>
#include <linux/pci.h>
#include <linux/sched/task.h>

#include "p2p_kunit.h"

#define SIZE	(16 * PAGE_SIZE)

/* Physical addresses that nobody uses, and a device that says they are its. */
static phys_addr_t region_hole(struct kunit *test, struct device **dev,
			       size_t size)
{
	struct resource *res;
	phys_addr_t start;

	*dev = p2p_test_device(test);
	res = request_free_mem_region(&iomem_resource, size, "p2p_kunit");
	KUNIT_ASSERT_FALSE(test, IS_ERR(res));
	start = res->start;
	release_mem_region(res->start, resource_size(res));
	return start;
}

static void region_register_bad(struct kunit *test)
{
	phys_addr_t ram = virt_to_phys(test) & PAGE_MASK, start;
	struct device *dev;
	int i;

	start = region_hole(test, &dev, SIZE);
	const struct {
		phys_addr_t start;
		size_t len;
	} bad[] = {
		{ start, 0 },
		{ start + 1, SIZE },
		{ start + PAGE_SIZE / 2, SIZE },
		{ start, SIZE - 1 },
		{ start, PAGE_SIZE / 2 },
		{ start, 0 - (size_t)start + PAGE_SIZE },
		{ 0 - (phys_addr_t)PAGE_SIZE, 2 * PAGE_SIZE },
		{ ram, PAGE_SIZE },
		/* half of it is RAM */
		{ 0, start },
	};

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		struct p2p_region *r;

		r = p2p_region_register(dev, bad[i].start, bad[i].len);
		KUNIT_EXPECT_EQ_MSG(test, -EINVAL, PTR_ERR_OR_ZERO(r), "%d", i);
		if (!IS_ERR(r))
			p2p_region_unregister(r);
	}
}

static void region_overlap(struct kunit *test)
{
	struct p2p_region *r, *left, *right;
	struct device *dev;
	phys_addr_t start;
	int i, ret;

	start = region_hole(test, &dev, 8 * SIZE);
	const struct {
		phys_addr_t start;
		size_t len;
	} overlap[] = {
		{ start + SIZE, SIZE },
		{ start + SIZE, PAGE_SIZE },
		{ start + 2 * SIZE - PAGE_SIZE, PAGE_SIZE },
		{ start + SIZE + PAGE_SIZE, PAGE_SIZE },
		{ start, SIZE + PAGE_SIZE },
		{ start + 2 * SIZE - PAGE_SIZE, SIZE },
		{ start, 3 * SIZE },
	};

	r = p2p_region_register(dev, start + SIZE, SIZE);
	KUNIT_ASSERT_FALSE(test, IS_ERR(r));
	for (i = 0; i < ARRAY_SIZE(overlap); i++) {
		ret = PTR_ERR_OR_ZERO(p2p_region_register(dev, overlap[i].start,
							  overlap[i].len));
		KUNIT_EXPECT_EQ_MSG(test, -EBUSY, ret, "%d", i);
	}

	left = p2p_region_register(dev, start, SIZE);
	right = p2p_region_register(dev, start + 2 * SIZE, SIZE);
	KUNIT_EXPECT_FALSE(test, IS_ERR(left));
	KUNIT_EXPECT_FALSE(test, IS_ERR(right));
	p2p_region_unregister(r);
	if (!IS_ERR(left))
		p2p_region_unregister(left);
	if (!IS_ERR(right))
		p2p_region_unregister(right);

	/* Nothing stays behind. */
	r = p2p_region_register(dev, start, 3 * SIZE);
	KUNIT_ASSERT_FALSE(test, IS_ERR(r));
	p2p_region_unregister(r);
}

static void region_find(struct kunit *test)
{
	struct p2p_region *r, *found;
	struct device *dev;
	phys_addr_t start;
	unsigned int refs;

	start = region_hole(test, &dev, SIZE);
	refs = kref_read(&dev->kobj.kref);
	KUNIT_EXPECT_NULL(test, p2p_region_find(start));
	r = p2p_region_register(dev, start, SIZE);
	KUNIT_ASSERT_FALSE(test, IS_ERR(r));
	KUNIT_EXPECT_EQ(test, start, r->start);
	KUNIT_EXPECT_EQ(test, SIZE, r->len);
	KUNIT_EXPECT_PTR_EQ(test, dev, r->owner);
	KUNIT_EXPECT_NULL(test, r->provider);
	KUNIT_EXPECT_EQ(test, refs + 1, kref_read(&dev->kobj.kref));

	KUNIT_EXPECT_NULL(test, p2p_region_find(start - 1));
	KUNIT_EXPECT_NULL(test, p2p_region_find(start + SIZE));
	found = p2p_region_find(start + SIZE - 1);
	KUNIT_EXPECT_PTR_EQ(test, r, found);
	p2p_region_put(found);
	found = p2p_region_find(start);
	KUNIT_EXPECT_PTR_EQ(test, r, found);

	/* Who found it keeps it, and keeps nobody from coming back. */
	p2p_region_unregister(r);
	KUNIT_EXPECT_NULL(test, p2p_region_find(start));
	r = p2p_region_register(dev, start, SIZE);
	KUNIT_EXPECT_FALSE(test, IS_ERR(r));
	KUNIT_EXPECT_PTR_EQ(test, dev, found->owner);
	KUNIT_EXPECT_EQ(test, refs + 2, kref_read(&dev->kobj.kref));
	p2p_region_put(found);
	KUNIT_EXPECT_EQ(test, refs + 1, kref_read(&dev->kobj.kref));
	if (!IS_ERR(r))
		p2p_region_unregister(r);
	KUNIT_EXPECT_EQ(test, refs, kref_read(&dev->kobj.kref));
}

static void region_put_pci(void *pdev)
{
	pci_dev_put(pdev);
}

/* A memory BAR of at least one page; every virtual machine has one. */
static struct pci_dev *region_any_bar(struct kunit *test, int *bar)
{
	struct pci_dev *pdev = NULL;

	for_each_pci_dev(pdev) {
		for (*bar = 0; *bar < PCI_STD_NUM_BARS; (*bar)++) {
			struct resource *res = pci_resource_n(pdev, *bar);

			if (!(res->flags & IORESOURCE_MEM) || !res->parent ||
			    resource_size(res) < 2 * PAGE_SIZE)
				continue;
			KUNIT_ASSERT_EQ(test, 0,
					kunit_add_action_or_reset(test,
								  region_put_pci,
								  pdev));
			return pdev;
		}
	}
	kunit_skip(test, "needs a PCI device with memory");
}

static void region_bar(struct kunit *test)
{
	struct p2p_region *r, *same;
	struct pci_dev *pdev;
	struct resource *res;
	int bar;

	pdev = region_any_bar(test, &bar);
	res = pci_resource_n(pdev, bar);
	KUNIT_ASSERT_NULL(test, p2p_region_find(res->start));

	r = p2p_region_bar(pdev, bar);
	KUNIT_ASSERT_FALSE(test, IS_ERR(r));
	KUNIT_EXPECT_EQ(test, res->start, r->start);
	KUNIT_EXPECT_EQ(test, resource_size(res), r->len);
	KUNIT_EXPECT_PTR_EQ(test, &pdev->dev, r->owner);
	KUNIT_EXPECT_NOT_NULL(test, r->provider);

	same = p2p_region_bar(pdev, bar);
	KUNIT_EXPECT_PTR_EQ(test, r, same);
	/* Nobody else gets a piece of it. */
	KUNIT_EXPECT_EQ(test, -EBUSY,
			PTR_ERR_OR_ZERO(p2p_region_register(&pdev->dev,
							    res->start,
							    PAGE_SIZE)));
	p2p_region_put(same);
	same = p2p_region_find(res->start);
	KUNIT_EXPECT_PTR_EQ(test, r, same);
	p2p_region_put(same);
	p2p_region_put(r);
	KUNIT_EXPECT_NULL(test, p2p_region_find(res->start));
}

/* Each BAR has a region of its own, if it is one page at least. */
static void region_bar_others(struct kunit *test)
{
	struct p2p_region *r, *other;
	struct pci_dev *pdev;
	int bar, i;

	pdev = region_any_bar(test, &bar);
	r = p2p_region_bar(pdev, bar);
	KUNIT_ASSERT_FALSE(test, IS_ERR(r));
	for (i = 0; i < PCI_STD_NUM_BARS; i++) {
		struct resource *res = pci_resource_n(pdev, i);
		int err = 0;

		if (i == bar)
			continue;
		if (!(res->flags & IORESOURCE_MEM) ||
		    resource_size(res) < PAGE_SIZE)
			err = -EINVAL;
		other = p2p_region_bar(pdev, i);
		KUNIT_EXPECT_EQ_MSG(test, err, PTR_ERR_OR_ZERO(other),
				    "BAR %d", i);
		KUNIT_EXPECT_PTR_NE(test, r, other);
		if (!IS_ERR(other))
			p2p_region_put(other);
	}
	p2p_region_put(r);
}

static void region_bar_bad(struct kunit *test)
{
	struct p2p_region *r, *moved;
	struct resource *res, old;
	struct pci_dev *pdev;
	int bar;

	pdev = region_any_bar(test, &bar);
	res = pci_resource_n(pdev, bar);
	KUNIT_EXPECT_EQ(test, -EINVAL, PTR_ERR_OR_ZERO(p2p_region_bar(pdev, -1)));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			PTR_ERR_OR_ZERO(p2p_region_bar(pdev, PCI_ROM_RESOURCE)));
	r = p2p_region_bar(pdev, bar);
	KUNIT_ASSERT_FALSE(test, IS_ERR(r));

	/* Pretend, for a moment, that the BAR is another. */
	old = *res;
	res->flags = IORESOURCE_IO;
	KUNIT_EXPECT_EQ(test, -EINVAL, PTR_ERR_OR_ZERO(p2p_region_bar(pdev, bar)));
	res->flags = old.flags | IORESOURCE_UNSET;
	KUNIT_EXPECT_EQ(test, -EINVAL, PTR_ERR_OR_ZERO(p2p_region_bar(pdev, bar)));
	res->flags = old.flags;
	res->end -= PAGE_SIZE;
	moved = p2p_region_bar(pdev, bar);
	res->end = old.end;
	res->start += PAGE_SIZE;
	KUNIT_EXPECT_EQ(test, -EBUSY, PTR_ERR_OR_ZERO(moved));
	moved = p2p_region_bar(pdev, bar);
	res->start = old.start;
	KUNIT_EXPECT_EQ(test, -EBUSY, PTR_ERR_OR_ZERO(moved));
	p2p_region_put(r);

	res->end = res->start + PAGE_SIZE / 2 - 1;
	r = p2p_region_bar(pdev, bar);
	res->end = old.end;
	KUNIT_EXPECT_EQ(test, -EINVAL, PTR_ERR_OR_ZERO(r));
}

static void region_no_zap(struct p2p_exporter *e)
{
}

static int region_no_copy_to(struct p2p_extent *ext, size_t off,
			     const void *src, size_t len)
{
	return 0;
}

static int region_no_copy_from(struct p2p_extent *ext, size_t off, void *dst,
			       size_t len)
{
	return 0;
}

static void region_attach_bad(struct kunit *test)
{
	static const struct p2p_exporter_ops bad[] = {
		{},
		{ .copy_to = region_no_copy_to, .copy_from = region_no_copy_from },
		{ .zap = region_no_zap, .copy_to = region_no_copy_to },
		{ .zap = region_no_zap, .copy_from = region_no_copy_from },
	};
	struct p2p_fake *fake = p2p_fake_create(test, SIZE);
	struct p2p_exporter e = {};
	int i;

	KUNIT_EXPECT_EQ(test, -EINVAL, p2p_region_attach(fake->region, &e));
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		e.ops = &bad[i];
		KUNIT_EXPECT_EQ_MSG(test, -EINVAL,
				    p2p_region_attach(fake->region, &e), "%d", i);
	}
	KUNIT_EXPECT_EQ(test, 1, fake->region->exporters);
}

/* An exporter that is detached takes its own mappings back and no others. */
static void region_many_exporters(struct kunit *test)
{
	struct p2p_fake *one = p2p_fake_create(test, SIZE);
	struct p2p_fake *two = p2p_fake_attach(test, one->region);
	unsigned long second = P2P_TEST_ADDR + SIZE;
	struct p2p_user *user;

	two->exporter.ops = one->exporter.ops;
	KUNIT_EXPECT_EQ(test, 2, one->region->exporters);
	p2p_fake_mmap(one, P2P_TEST_ADDR, SIZE, 0, PROT_READ);
	p2p_fake_mmap(two, second, SIZE, 0, PROT_READ);
	user = p2p_user_create(test, NULL, P2P_TEST_ADDR, 2 * SIZE, true);
	KUNIT_ASSERT_EQ(test, 0,
			p2p_user_fault(user, P2P_TEST_ADDR, 2 * SIZE, P2P_READ));
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&one->granted));
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&two->granted));

	p2p_fake_detach(one);
	KUNIT_EXPECT_EQ(test, 1, one->zaps);
	KUNIT_EXPECT_EQ(test, 0, two->zaps);
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&one->unmaps));
	KUNIT_EXPECT_EQ(test, 0, p2p_fake_unmaps(two));
	KUNIT_EXPECT_EQ(test, 1, one->region->exporters);
	KUNIT_EXPECT_NULL(test, p2p_user_extent(user, P2P_TEST_ADDR));
	KUNIT_EXPECT_NOT_NULL(test, p2p_user_extent(user, second));
	KUNIT_EXPECT_EQ(test, -ENODEV,
			p2p_user_fault(user, P2P_TEST_ADDR, SIZE, P2P_READ));
	KUNIT_EXPECT_EQ(test, 0, p2p_user_fault(user, second, SIZE, P2P_READ));
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&two->maps));
}

/* A remove() that runs on its own. */
struct region_detacher {
	struct p2p_fake *fake;
	struct completion done;
};

static int region_detach_fn(void *data)
{
	struct region_detacher *d = data;

	p2p_fake_detach(d->fake);
	complete(&d->done);
	return 0;
}

static void region_detach_start(struct kunit *test, struct region_detacher *d,
				struct p2p_fake *fake)
{
	struct task_struct *task;

	d->fake = fake;
	init_completion(&d->done);
	task = kthread_run(region_detach_fn, d, "p2p_detach");
	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
}

static bool region_detach_waits(struct region_detacher *d)
{
	return !wait_for_completion_timeout(&d->done, HZ / 4);
}

/* The memory must stay until the last ->p2p_unmap() has returned. */
static void region_detach_unmap(struct kunit *test)
{
	struct p2p_fake *fake = p2p_fake_create(test, SIZE);
	DECLARE_COMPLETION_ONSTACK(hold);
	struct region_detacher detach;
	struct p2p_user *user;
	bool begun, waits;

	fake->unmap_hold = &hold;
	p2p_fake_mmap(fake, P2P_TEST_ADDR, SIZE, 0, PROT_READ);
	user = p2p_user_create(test, NULL, P2P_TEST_ADDR, SIZE, true);
	KUNIT_ASSERT_EQ(test, 0,
			p2p_user_fault(user, P2P_TEST_ADDR, SIZE, P2P_READ));
	KUNIT_ASSERT_NOT_NULL(test, p2p_user_extent(user, P2P_TEST_ADDR));

	region_detach_start(test, &detach, fake);
	begun = wait_for_completion_timeout(&fake->unmap_begun, 20 * HZ);
	waits = region_detach_waits(&detach);
	complete(&hold);
	KUNIT_EXPECT_TRUE(test, begun);
	KUNIT_EXPECT_TRUE(test, waits);
	if (waits)
		wait_for_completion(&detach.done);
	KUNIT_EXPECT_EQ(test, 1, fake->zaps);
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&fake->unmaps));
	KUNIT_EXPECT_EQ(test, 1, user->cuts);
}

/* Pending extents count: nothing that an importer could do cuts them. */
static void region_detach_pending(struct kunit *test)
{
	struct p2p_fake *fake = p2p_fake_create(test, SIZE);
	struct region_detacher detach;
	struct p2p_fault fault;
	struct hmm_range range;
	struct p2p_user *user;
	bool waits;

	p2p_fake_mmap(fake, P2P_TEST_ADDR, SIZE, 0, PROT_READ);
	user = p2p_user_create(test, NULL, P2P_TEST_ADDR, SIZE, true);
	p2p_user_range(user, &range, &fault, P2P_TEST_ADDR, SIZE, P2P_READ);
	KUNIT_ASSERT_EQ(test, 0, p2p_user_walk(&range));

	region_detach_start(test, &detach, fake);
	waits = region_detach_waits(&detach);
	KUNIT_EXPECT_TRUE(test, waits);
	/* The importer learns it from the notifier, as always. */
	KUNIT_EXPECT_TRUE(test, mmu_interval_read_retry(&user->mni,
							range.notifier_seq));
	p2p_fault_drop(&fault);
	if (waits)
		wait_for_completion(&detach.done);
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&fake->unmaps));
}

static void region_detach_idle(struct kunit *test)
{
	struct p2p_fake *fake = p2p_fake_create(test, SIZE);

	p2p_fake_detach(fake);
	KUNIT_EXPECT_EQ(test, 1, fake->zaps);
	KUNIT_EXPECT_EQ(test, 0, fake->region->exporters);
}

static int region_map_wait(struct p2p_fake *fake, struct vm_area_struct *vma,
			   struct p2p_map_req *req)
{
	return p2p_req_wait(req, &fake->exporter);
}

/* Mappings outlive the driver and its region: nothing is left to touch. */
static void region_gone(struct kunit *test)
{
	struct p2p_fake *fake = p2p_fake_create(test, SIZE);
	struct p2p_region *r, *keep = fake->region;
	struct p2p_user *user;
	struct device *dev;
	phys_addr_t start;

	start = region_hole(test, &dev, SIZE);
	r = p2p_region_register(dev, start, SIZE);
	KUNIT_ASSERT_FALSE(test, IS_ERR(r));
	p2p_fake_detach(fake);
	KUNIT_ASSERT_EQ(test, 0, p2p_region_attach(r, &fake->exporter));
	fake->region = r;
	p2p_fake_mmap(fake, P2P_TEST_ADDR, SIZE, 0, PROT_READ);
	user = p2p_user_create(test, NULL, P2P_TEST_ADDR, SIZE, true);

	p2p_region_detach(r, &fake->exporter);
	p2p_region_unregister(r);
	KUNIT_EXPECT_NULL(test, p2p_region_find(start));
	fake->region = keep;
	KUNIT_EXPECT_EQ(test, -ENODEV,
			p2p_user_fault(user, P2P_TEST_ADDR, PAGE_SIZE, P2P_READ));
	fake->map = region_map_wait;
	KUNIT_EXPECT_EQ(test, -ENODEV,
			p2p_user_fault(user, P2P_TEST_ADDR, PAGE_SIZE, P2P_READ));
	KUNIT_EXPECT_EQ(test, 2, atomic_read(&fake->maps));
}

/* A region that goes before its exporters is a driver's bug, and no worse. */
static void region_unregister_early(struct kunit *test)
{
	struct p2p_fake *fake = p2p_fake_create(test, SIZE);
	struct p2p_region *r;
	struct device *dev;
	phys_addr_t start;

	start = region_hole(test, &dev, SIZE);
	r = p2p_region_register(dev, start, SIZE);
	KUNIT_ASSERT_FALSE(test, IS_ERR(r));
	p2p_fake_detach(fake);
	KUNIT_ASSERT_EQ(test, 0, p2p_region_attach(r, &fake->exporter));
	kunit_warning_suppress(test) {
		p2p_region_unregister(r);
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 1);
	}
	p2p_region_detach(r, &fake->exporter);
	KUNIT_EXPECT_NULL(test, p2p_region_find(start));
}

static struct kunit_case p2p_region_cases[] = {
	KUNIT_CASE(region_register_bad),
	KUNIT_CASE(region_overlap),
	KUNIT_CASE(region_find),
	KUNIT_CASE(region_bar),
	KUNIT_CASE(region_bar_others),
	KUNIT_CASE(region_bar_bad),
	KUNIT_CASE(region_attach_bad),
	KUNIT_CASE(region_many_exporters),
	KUNIT_CASE(region_detach_unmap),
	KUNIT_CASE(region_detach_pending),
	KUNIT_CASE(region_detach_idle),
	KUNIT_CASE(region_gone),
	KUNIT_CASE(region_unregister_early),
	{}
};

static struct kunit_suite p2p_region_suite = {
	.name = "p2p_region",
	.test_cases = p2p_region_cases,
};

kunit_test_suite(p2p_region_suite);

MODULE_DESCRIPTION("KUnit tests of p2p regions");
MODULE_LICENSE("GPL");
