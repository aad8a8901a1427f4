// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the files resourceN in sysfs with struct pages: what waits for
 * pins, and what happens if they do not end. The BAR is that of QEMU's ivshmem.
 */
#include <linux/anon_inodes.h>
#include <linux/delay.h>
#include <linux/file.h>
#include <linux/ioport.h>
#include <linux/mman.h>
#include <linux/p2p_vma.h>
#include <linux/pci.h>
#include <linux/pci-p2pdma.h>
#include <linux/pm_runtime.h>
#include <linux/sizes.h>
#include <linux/workqueue.h>

#include "../../drivers/pci/pci.h"
#include "../../drivers/pci/p2pdma/topology.h"
#include "p2p_pages.h"

#define ADDR	P2P_TEST_ADDR
#define BAR	2

struct res_test {
	struct pci_dev *pdev;
	struct p2pdma_provider *mem;
	struct file *file;
	int usage;		/* of runtime PM, before */
	struct page *page;
	struct delayed_work unpin;
	struct work_struct off;
	int off_ret;
	struct work_struct resume;
};

static int res_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct pci_dev *pdev = file->private_data;
	int ret = pci_mmap_resource_range(pdev, BAR, vma, pci_mmap_mem, 0);

	if (!ret)
		pci_p2p_resource_mmap(pdev, BAR, vma);
	return ret;
}

static const struct file_operations res_fops = { .mmap = res_mmap };

static void res_unpin(struct work_struct *work)
{
	struct res_test *t = container_of(work, struct res_test, unpin.work);

	unpin_user_page(t->page);
}

static void res_off(struct work_struct *work)
{
	struct res_test *t = container_of(work, struct res_test, off);

	t->off_ret = pci_p2p_resource_set(t->pdev, P2P_MMAP_OFF);
}

static void res_resume(struct work_struct *work)
{
	struct res_test *t = container_of(work, struct res_test, resume);

	pci_p2p_resource_resume(t->pdev);
}

static void res_end(void *data)
{
	struct res_test *t = data;

	flush_delayed_work(&t->unpin);
	pci_p2p_resource_set(t->pdev, P2P_MMAP_OFF);
	fput(t->file);
	p2p_test_set_param("pci_p2p.pin_wait_ms", 60000);
}

/* Offered with pages, mapped at ADDR; the first page is pinned. */
static struct res_test *res_begin(struct kunit *test)
{
	struct p2p_fake *fake = p2p_fake_ivshmem(test);
	struct res_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, t);
	t->pdev = to_pci_dev(fake->dev);
	t->mem = fake->region->provider;
	t->usage = atomic_read(&t->pdev->dev.power.usage_count);
	INIT_DELAYED_WORK(&t->unpin, res_unpin);
	INIT_WORK(&t->off, res_off);
	INIT_WORK(&t->resume, res_resume);
	t->file = anon_inode_create_getfile("[p2p_resource]", &res_fops,
					    t->pdev, O_RDWR, NULL);
	KUNIT_ASSERT_FALSE(test, IS_ERR(t->file));
	t->file->f_mapping = iomem_get_mapping();
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, res_end, t));
	KUNIT_ASSERT_EQ(test, 0,
			pci_p2p_resource_set(t->pdev, P2P_MMAP_PAGES));
	p2p_test_mmap(test, t->file, ADDR, PAGE_SIZE, 0, PROT_READ | PROT_WRITE,
		      MAP_SHARED);
	KUNIT_ASSERT_EQ(test, 1,
			pin_user_pages_fast(ADDR, 1, FOLL_PCI_P2PDMA, &t->page));
	return t;
}

static bool res_may_copy(struct res_test *t)
{
	bool may = pci_p2pdma_copy_begin(t->mem);

	if (may)
		pci_p2pdma_copy_end(t->mem);
	return may;
}

static int res_refs(struct res_test *t)
{
	return page_ref_count(t->page);
}

/* The pin ends, and with it what it held up. */
static void res_adopt(struct kunit *test, struct res_test *t)
{
	int i;

	schedule_delayed_work(&t->unpin, 0);
	for (i = 0; i < 500 && p2p_device_orphaned(t->pdev); i++)
		msleep(20);
	KUNIT_EXPECT_FALSE(test, p2p_device_orphaned(t->pdev));
}

/* A pause ends with the I/O; the CPU copies nothing meanwhile. */
static void res_pause(struct kunit *test)
{
	struct res_test *t = res_begin(test);
	unsigned long begin = jiffies;

	KUNIT_EXPECT_TRUE(test, res_may_copy(t));
	schedule_delayed_work(&t->unpin, HZ / 2);
	KUNIT_EXPECT_EQ(test, 0, pci_p2p_resource_pause(t->pdev));
	KUNIT_EXPECT_EQ(test, 1, res_refs(t));
	KUNIT_EXPECT_GE(test, jiffies - begin, HZ / 2);
	KUNIT_EXPECT_FALSE(test, res_may_copy(t));
	KUNIT_EXPECT_EQ(test, 0, pci_p2p_resource_pause(t->pdev));
	pci_p2p_resource_resume(t->pdev);
	KUNIT_EXPECT_FALSE(test, res_may_copy(t));
	pci_p2p_resource_resume(t->pdev);
	KUNIT_EXPECT_TRUE(test, res_may_copy(t));
}

/* I/O does not end: whoever can put off what he wants to do hears of it. */
static void res_pause_busy(struct kunit *test)
{
	struct res_test *t = res_begin(test);

	KUNIT_EXPECT_EQ(test, -EBUSY, pci_p2p_resource_pause(t->pdev));
	KUNIT_EXPECT_FALSE(test, res_may_copy(t));
	pci_p2p_resource_resume(t->pdev);
	KUNIT_EXPECT_TRUE(test, res_may_copy(t));
	schedule_delayed_work(&t->unpin, 0);
	KUNIT_EXPECT_EQ(test, 0, pci_p2p_resource_pause(t->pdev));
	pci_p2p_resource_resume(t->pdev);
}

/* A driver was unbound, or the like. */
static void res_zap(struct kunit *test)
{
	struct res_test *t = res_begin(test);

	schedule_delayed_work(&t->unpin, HZ / 2);
	pci_p2p_resource_zap(t->pdev);
	KUNIT_EXPECT_EQ(test, 1, res_refs(t));
	KUNIT_EXPECT_TRUE(test, res_may_copy(t));
	/* It is there for the next one. */
	KUNIT_EXPECT_EQ(test, 1,
			pin_user_pages_fast(ADDR, 1, FOLL_PCI_P2PDMA, &t->page));
	unpin_user_page(t->page);
}

/* A driver is bound: the pages are gone before it sees the device. */
static void res_probe(struct kunit *test)
{
	struct res_test *t = res_begin(test);
	struct page *page;

	schedule_delayed_work(&t->unpin, HZ / 5);
	KUNIT_EXPECT_EQ(test, 0, pci_p2p_resource_probe(t->pdev));
	flush_delayed_work(&t->unpin);
	KUNIT_EXPECT_FALSE(test, pfn_valid(PHYS_PFN(pci_resource_start(t->pdev,
								       BAR))));
	KUNIT_EXPECT_EQ(test, -EFAULT,
			pin_user_pages_fast(ADDR, 1, FOLL_PCI_P2PDMA, &page));
	/* Asked for again, they come; and p2pmem of the driver cannot. */
	KUNIT_EXPECT_EQ(test, 0,
			pci_p2p_resource_set(t->pdev, P2P_MMAP_PAGES));
	KUNIT_EXPECT_EQ(test, -EBUSY,
			pci_p2pdma_add_resource(t->pdev, BAR, SZ_2M, 0));
}

/* Taken from peers, but not free: that is said, and the device stays awake. */
static void res_off_busy(struct kunit *test)
{
	struct res_test *t = res_begin(test);
	atomic_t *usage = &t->pdev->dev.power.usage_count;
	int i;

	KUNIT_ASSERT_EQ(test, 0, p2p_test_set_param("pci_p2p.pin_wait_ms", 50));
	KUNIT_EXPECT_FALSE(test, p2p_device_orphaned(t->pdev));
	KUNIT_EXPECT_EQ(test, -EBUSY,
			pci_p2p_resource_set(t->pdev, P2P_MMAP_OFF));
	KUNIT_EXPECT_TRUE(test, p2p_device_orphaned(t->pdev));
	KUNIT_EXPECT_EQ(test, -EBUSY, pci_p2p_resource_probe(t->pdev));
	KUNIT_EXPECT_EQ(test, t->usage + 1, atomic_read(usage));
	KUNIT_EXPECT_FALSE(test, res_may_copy(t));
	KUNIT_EXPECT_EQ(test, -ENXIO,
			pci_p2p_resource_set(t->pdev, P2P_MMAP_PAGES));
	res_adopt(test, t);
	KUNIT_EXPECT_TRUE(test, res_may_copy(t));
	for (i = 0; i < 500 && atomic_read(usage) != t->usage; i++)
		msleep(20);
	KUNIT_EXPECT_EQ(test, t->usage, atomic_read(usage));
	KUNIT_EXPECT_EQ(test, 0,
			pci_p2p_resource_set(t->pdev, P2P_MMAP_PAGES));
}

/* BARs are not moved away from under pins, and a reset goes on as ever. */
static void res_pause_orphaned(struct kunit *test)
{
	struct res_test *t = res_begin(test);

	KUNIT_ASSERT_EQ(test, 0, p2p_test_set_param("pci_p2p.pin_wait_ms", 50));
	KUNIT_EXPECT_EQ(test, -EBUSY,
			pci_p2p_resource_set(t->pdev, P2P_MMAP_OFF));
	KUNIT_EXPECT_EQ(test, -EBUSY, pci_p2p_resource_pause(t->pdev));
	pci_p2p_resource_resume(t->pdev);
	res_adopt(test, t);
	KUNIT_EXPECT_EQ(test, 0, pci_p2p_resource_pause(t->pdev));
	pci_p2p_resource_resume(t->pdev);
}

/*
 * The device was removed and found again: another struct pci_dev, which nobody
 * offered to peers, has the addresses.
 */
static void res_found_again(struct kunit *test)
{
	struct res_test *t = res_begin(test);
	struct pci_dev *next = kunit_kzalloc(test, sizeof(*next), GFP_KERNEL);
	struct resource *bar;

	KUNIT_ASSERT_NOT_NULL(test, next);
	bar = pci_resource_n(next, 0);
	*bar = *pci_resource_n(t->pdev, BAR);
	KUNIT_ASSERT_EQ(test, 0, p2p_test_set_param("pci_p2p.pin_wait_ms", 50));
	KUNIT_EXPECT_FALSE(test, p2p_device_orphaned(next));
	KUNIT_EXPECT_EQ(test, -EBUSY,
			pci_p2p_resource_set(t->pdev, P2P_MMAP_OFF));
	KUNIT_EXPECT_TRUE(test, p2p_device_orphaned(next));
	KUNIT_EXPECT_EQ(test, -EBUSY, pci_p2p_resource_probe(next));
	KUNIT_EXPECT_EQ(test, -EBUSY, pci_p2p_resource_pause(next));
	/* Next to it, or not assigned, it is another one. */
	bar->flags |= IORESOURCE_UNSET;
	KUNIT_EXPECT_FALSE(test, p2p_device_orphaned(next));
	bar->flags &= ~IORESOURCE_UNSET;
	resource_set_range(bar, bar->end + 1, PAGE_SIZE);
	KUNIT_EXPECT_FALSE(test, p2p_device_orphaned(next));
	/* But it may not move there. */
	KUNIT_EXPECT_FALSE(test, pci_p2p_may_move());
	*bar = *pci_resource_n(t->pdev, BAR);
	res_adopt(test, t);
	KUNIT_EXPECT_TRUE(test, pci_p2p_may_move());
	KUNIT_EXPECT_EQ(test, 0, pci_p2p_resource_probe(next));
	KUNIT_EXPECT_EQ(test, 0, pci_p2p_resource_pause(next));
}

/* A driver is bound while somebody waits for pins, in vain. */
static void res_probe_waits(struct kunit *test)
{
	struct res_test *t = res_begin(test);
	int i;

	KUNIT_ASSERT_EQ(test, 0, p2p_test_set_param("pci_p2p.pin_wait_ms", 1000));
	schedule_work(&t->off);
	for (i = 0; i < 500 && res_may_copy(t); i++)
		usleep_range(100, 200);
	KUNIT_EXPECT_FALSE(test, p2p_device_orphaned(t->pdev));
	KUNIT_EXPECT_EQ(test, -EBUSY, pci_p2p_resource_probe(t->pdev));
	flush_work(&t->off);
	KUNIT_EXPECT_EQ(test, -EBUSY, t->off_ret);
	res_adopt(test, t);
}

/* What is granted after a pause can be copied: nothing is, until the CPU may. */
static void res_resume_order(struct kunit *test)
{
	struct res_test *t = res_begin(test);
	struct page *page;

	schedule_delayed_work(&t->unpin, 0);
	KUNIT_EXPECT_EQ(test, 0, pci_p2p_resource_pause(t->pdev));
	p2p_test_wait_ms(test, 100);
	/* Of no owner: lockdep need not know what is done with it held. */
	down_read_non_owner(&t->mem->copy_lock);
	schedule_work(&t->resume);
	msleep(200);
	KUNIT_EXPECT_GT(test, 0,
			pin_user_pages_fast(ADDR, 1, FOLL_PCI_P2PDMA, &page));
	up_read_non_owner(&t->mem->copy_lock);
	flush_work(&t->resume);
	p2p_test_wait_ms(test, 5000);
	KUNIT_EXPECT_TRUE(test, res_may_copy(t));
	KUNIT_ASSERT_EQ(test, 1,
			pin_user_pages_fast(ADDR, 1, FOLL_PCI_P2PDMA, &page));
	unpin_user_page(page);
}

static struct kunit_case p2p_resource_pages_cases[] = {
	KUNIT_CASE(res_pause),
	KUNIT_CASE_SLOW(res_pause_busy),
	KUNIT_CASE(res_zap),
	KUNIT_CASE(res_probe),
	KUNIT_CASE(res_off_busy),
	KUNIT_CASE(res_pause_orphaned),
	KUNIT_CASE(res_found_again),
	KUNIT_CASE_SLOW(res_probe_waits),
	KUNIT_CASE(res_resume_order),
	{}
};

static struct kunit_suite p2p_resource_pages_suite = {
	.name = "p2p_resource_pages",
	.test_cases = p2p_resource_pages_cases,
};

kunit_test_suite(p2p_resource_pages_suite);

MODULE_DESCRIPTION("KUnit tests of resourceN with struct pages");
MODULE_LICENSE("GPL");
