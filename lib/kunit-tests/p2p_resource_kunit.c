// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of what peers may have of the files resourceN in sysfs: when a BAR
 * is offered, when it is not, and what a pause does. The device is behind a host
 * bridge with config space in memory, and its file is one of the test.
 */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/ioport.h>
#include <linux/mman.h>
#include <linux/p2p_vma.h>
#include <linux/pci.h>
#include <linux/pci-p2pdma.h>
#include <linux/pm_runtime.h>
#include <linux/workqueue.h>

#include "../../drivers/pci/pci.h"
#include "p2p_kunit.h"
#include "p2p_soft_host.h"

#define A	P2P_TEST_ADDR
#define PAGES	16
#define LEN	(PAGES * PAGE_SIZE)
#define OFF	(3 * PAGE_SIZE)		/* of the mapping in the BAR */
#define RW	(PROT_READ | PROT_WRITE)

struct bar_test {
	struct pci_dev *pdev;
	struct resource *bar;
	struct file *file;
	struct p2p_user *user;
};

/* As pci_mmap_resource() does. */
static int bar_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct pci_dev *pdev = file->private_data;
	int ret = pci_mmap_resource_range(pdev, 0, vma, pci_mmap_mem, 0);

	if (!ret)
		pci_p2p_resource_mmap(pdev, 0, vma);
	return ret;
}

static const struct file_operations bar_fops = { .mmap = bar_mmap };

static void bar_fput(void *file)
{
	fput(file);
}

/* A switch, the importer and the owner of the BAR. */
static struct bar_test *bar_create(struct kunit *test)
{
	static const struct soft_dev devs[] = {
		{ -1, PCI_DEVFN(1, 0), PCI_EXP_TYPE_ROOT_PORT },
		{ 0, 0, PCI_EXP_TYPE_UPSTREAM },
		{ 1, PCI_DEVFN(0, 0), PCI_EXP_TYPE_DOWNSTREAM },
		{ 1, PCI_DEVFN(1, 0), PCI_EXP_TYPE_DOWNSTREAM },
		{ 2, 0, PCI_EXP_TYPE_ENDPOINT },
		{ 3, 0, PCI_EXP_TYPE_ENDPOINT },
	};
	struct bar_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, t);
	soft_build(devs, ARRAY_SIZE(devs));
	t->pdev = soft_pci(5);
	KUNIT_ASSERT_NOT_NULL(test, t->pdev);
	t->bar = pci_resource_n(t->pdev, 0);
	soft_pci(4)->dma_mask = DMA_BIT_MASK(64);
	/* As pci_bus_add_device() does. */
	pm_runtime_set_active(&t->pdev->dev);
	pm_runtime_enable(&t->pdev->dev);
	t->file = anon_inode_create_getfile("[p2p_resource]", &bar_fops,
					    t->pdev, O_RDWR, NULL);
	KUNIT_ASSERT_FALSE(test, IS_ERR(t->file));
	t->file->f_mapping = iomem_get_mapping();
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, bar_fput, t->file));
	return t;
}

static void bar_map(struct kunit *test, struct bar_test *t, unsigned long addr)
{
	p2p_test_mmap(test, t->file, addr, LEN, OFF, RW, MAP_SHARED);
}

/* Offered, mapped at A, and an importer for the neighbourhood of the mapping. */
static struct bar_test *bar_live(struct kunit *test)
{
	struct bar_test *t = bar_create(test);

	KUNIT_ASSERT_EQ(test, 0, pci_p2p_resource_set(t->pdev, P2P_MMAP_ON));
	bar_map(test, t, A);
	t->user = p2p_user_create(test, &soft_pci(4)->dev, A, 4 * LEN, true);
	return t;
}

static int bar_fault(struct bar_test *t, int page)
{
	return p2p_user_fault(t->user, A + page * PAGE_SIZE, PAGE_SIZE,
			      P2P_WRITE);
}

/* The live extent is all of the mapping at @addr. */
static void bar_expect(struct kunit *test, struct bar_test *t,
		       unsigned long addr)
{
	struct p2p_extent *ext = p2p_user_extent(t->user, addr);

	KUNIT_ASSERT_NOT_NULL(test, ext);
	KUNIT_EXPECT_EQ(test, t->bar->start + OFF, ext->phys);
	KUNIT_EXPECT_EQ(test, LEN, ext->len);
	KUNIT_EXPECT_EQ(test, addr, ext->node.start);
}

/* Byte 0 of the mapping is byte OFF of the BAR. */
static void resource_offset(struct kunit *test)
{
	struct bar_test *t = bar_live(test);

	KUNIT_EXPECT_EQ(test, 0, bar_fault(t, 5));
	bar_expect(test, t, A);
}

/* By this kernfs decides whether peers may ask for the mapping. */
static bool bar_marked(unsigned long addr)
{
	struct vm_area_struct *vma;
	bool marked;

	mmap_read_lock(current->mm);
	vma = vma_lookup(current->mm, addr);
	marked = vma && vma->vm_private_data;
	mmap_read_unlock(current->mm);
	return marked;
}

/* Stock answers before, and for what was mapped before. */
static void resource_default(struct kunit *test)
{
	struct bar_test *t = bar_create(test);

	bar_map(test, t, A);
	KUNIT_EXPECT_FALSE(test, bar_marked(A));
	KUNIT_ASSERT_EQ(test, 0, pci_p2p_resource_set(t->pdev, P2P_MMAP_ON));
	KUNIT_EXPECT_FALSE(test, bar_marked(A));
	bar_map(test, t, A + LEN);
	KUNIT_EXPECT_TRUE(test, bar_marked(A + LEN));
	/* A private mapping holds copies. */
	p2p_test_mmap(test, t->file, A, LEN, OFF, RW, MAP_PRIVATE);
	KUNIT_EXPECT_FALSE(test, bar_marked(A));
	KUNIT_EXPECT_EQ(test, 0, pci_p2p_resource_set(t->pdev, P2P_MMAP_OFF));
	bar_map(test, t, A);
	KUNIT_EXPECT_FALSE(test, bar_marked(A));
}

static void resource_off(struct kunit *test)
{
	struct bar_test *t = bar_live(test);

	KUNIT_EXPECT_EQ(test, 0, bar_fault(t, 0));
	KUNIT_EXPECT_EQ(test, 0, pci_p2p_resource_set(t->pdev, P2P_MMAP_OFF));
	KUNIT_EXPECT_NULL(test, p2p_user_extent(t->user, A));
	P2P_EXPECT_REFUSED(test, bar_fault(t, 0), -EFAULT,
			   P2P_REASON_EXPORTER);
	/* Twice is once, in either direction. */
	KUNIT_EXPECT_EQ(test, 0, pci_p2p_resource_set(t->pdev, P2P_MMAP_OFF));
	KUNIT_EXPECT_EQ(test, 0, pci_p2p_resource_set(t->pdev, P2P_MMAP_ON));
	KUNIT_EXPECT_EQ(test, 0, pci_p2p_resource_set(t->pdev, P2P_MMAP_ON));
	KUNIT_EXPECT_EQ(test, 0, bar_fault(t, 0));
	bar_expect(test, t, A);
}

/* It stays awake as long as it is offered, and no longer. */
static void resource_awake(struct kunit *test)
{
	struct bar_test *t = bar_create(test);
	atomic_t *usage = &t->pdev->dev.power.usage_count;
	int before = atomic_read(usage);

	KUNIT_EXPECT_EQ(test, 0, pci_p2p_resource_set(t->pdev, P2P_MMAP_ON));
	KUNIT_EXPECT_EQ(test, 0, pci_p2p_resource_set(t->pdev, P2P_MMAP_ON));
	KUNIT_EXPECT_EQ(test, before + 1, atomic_read(usage));
	KUNIT_EXPECT_EQ(test, 0, pci_p2p_resource_set(t->pdev, P2P_MMAP_OFF));
	KUNIT_EXPECT_EQ(test, before, atomic_read(usage));
	t->bar->flags |= IORESOURCE_UNSET;
	KUNIT_EXPECT_EQ(test, -ENXIO, pci_p2p_resource_set(t->pdev, P2P_MMAP_ON));
	t->bar->flags &= ~IORESOURCE_UNSET;
	KUNIT_EXPECT_EQ(test, before, atomic_read(usage));
}

/* Not memory, nothing, not assigned, or smaller than a page */
static void resource_bad_bar(struct kunit *test)
{
	struct bar_test *t = bar_create(test);
	struct resource was = *t->bar;

	t->bar->flags = IORESOURCE_IO;
	KUNIT_EXPECT_EQ(test, -ENXIO, pci_p2p_resource_set(t->pdev, P2P_MMAP_ON));
	t->bar->flags = was.flags;
	t->bar->end = was.start + 255;
	KUNIT_EXPECT_EQ(test, -ENXIO, pci_p2p_resource_set(t->pdev, P2P_MMAP_ON));
	t->bar->start = was.start + 256;
	t->bar->end = was.start + 256 + PAGE_SIZE - 1;
	KUNIT_EXPECT_EQ(test, -ENXIO, pci_p2p_resource_set(t->pdev, P2P_MMAP_ON));
	t->bar->start = 0;
	t->bar->end = -1;
	KUNIT_EXPECT_EQ(test, -ENXIO, pci_p2p_resource_set(t->pdev, P2P_MMAP_ON));
	t->bar->start = was.start;
	t->bar->end = was.end;
	KUNIT_EXPECT_EQ(test, 0, pci_p2p_resource_set(t->pdev, P2P_MMAP_ON));
}

static void resource_decode_off(struct kunit *test)
{
	struct bar_test *t = bar_live(test);

	pci_user_write_config_word(t->pdev, PCI_COMMAND, PCI_COMMAND_MASTER);
	P2P_EXPECT_REFUSED(test, bar_fault(t, 0), -EIO, P2P_REASON_EXPORTER);
	pci_write_config_word(t->pdev, PCI_COMMAND, PCI_COMMAND_MEMORY);
	KUNIT_EXPECT_EQ(test, 0, bar_fault(t, 0));
}

static void resource_asleep(struct kunit *test)
{
	static const pci_power_t asleep[] = { PCI_D1, PCI_D3hot, PCI_D3cold };
	struct bar_test *t = bar_live(test);
	pci_power_t was = t->pdev->current_state;
	int i;

	for (i = 0; i < ARRAY_SIZE(asleep); i++) {
		t->pdev->current_state = asleep[i];
		P2P_EXPECT_REFUSED(test, bar_fault(t, 0), -EIO,
				   P2P_REASON_EXPORTER);
	}
	t->pdev->current_state = PCI_UNKNOWN;	/* no driver */
	KUNIT_EXPECT_EQ(test, 0, bar_fault(t, 0));
	t->pdev->current_state = was;
}

static void resource_failed(struct kunit *test)
{
	struct bar_test *t = bar_live(test);

	t->pdev->error_state = pci_channel_io_frozen;
	P2P_EXPECT_REFUSED(test, bar_fault(t, 0), -EIO, P2P_REASON_EXPORTER);
	t->pdev->error_state = pci_channel_io_normal;
	KUNIT_EXPECT_EQ(test, 0, bar_fault(t, 0));
}

/* What a driver claims is not granted, the rest is. */
static void resource_claimed(struct kunit *test)
{
	struct bar_test *t = bar_live(test);
	resource_size_t page = t->bar->start + OFF + 8 * PAGE_SIZE;
	struct p2p_extent *ext;

	if (!IS_ENABLED(CONFIG_STRICT_DEVMEM))
		kunit_skip(test, "nobody looks for exclusive claims");
	KUNIT_ASSERT_NOT_NULL(test,
			      request_mem_region_exclusive(page, PAGE_SIZE,
							   "p2p-kunit"));
	P2P_EXPECT_REFUSED(test, bar_fault(t, 8), -EACCES,
			   P2P_REASON_EXPORTER);
	KUNIT_EXPECT_EQ(test, 0, bar_fault(t, 7));
	ext = p2p_user_extent(t->user, A + 7 * PAGE_SIZE);
	KUNIT_EXPECT_TRUE(test, ext && ext->len == PAGE_SIZE);
	release_mem_region(page, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, 0, bar_fault(t, 8));
	ext = p2p_user_extent(t->user, A + 8 * PAGE_SIZE);
	KUNIT_EXPECT_TRUE(test, ext && ext->len == LEN - 8 * PAGE_SIZE);
}

/* Nobody reaches it in a pause, whoever wants it waits. */
static void resource_pause(struct kunit *test)
{
	struct bar_test *t = bar_live(test);

	p2p_test_wait_ms(test, 50);
	KUNIT_EXPECT_EQ(test, 0, bar_fault(t, 0));
	pci_p2p_resource_pause(t->pdev);
	KUNIT_EXPECT_NULL(test, p2p_user_extent(t->user, A));
	P2P_EXPECT_REFUSED(test, bar_fault(t, 0), -ETIMEDOUT,
			   P2P_REASON_WAIT_TIMEOUT);
	/* One in the other */
	pci_p2p_resource_pause(t->pdev);
	pci_p2p_resource_resume(t->pdev);
	P2P_EXPECT_REFUSED(test, bar_fault(t, 0), -ETIMEDOUT,
			   P2P_REASON_WAIT_TIMEOUT);
	pci_p2p_resource_resume(t->pdev);
	KUNIT_EXPECT_EQ(test, 0, bar_fault(t, 0));
	/* The pause began before the device was offered. */
	pci_p2p_resource_resume(t->pdev);
	KUNIT_EXPECT_EQ(test, 0, bar_fault(t, 1));
	bar_expect(test, t, A);
}

struct bar_resume {
	struct delayed_work work;
	struct pci_dev *pdev;
};

static void bar_resume_work(struct work_struct *work)
{
	pci_p2p_resource_resume(container_of(work, struct bar_resume,
					     work.work)->pdev);
}

/* The end of a pause wakes who waits. */
static void resource_pause_ends(struct kunit *test)
{
	struct bar_test *t = bar_live(test);
	struct bar_resume r = { .pdev = t->pdev };
	unsigned long begin = jiffies;

	p2p_test_wait_ms(test, 60000);
	INIT_DELAYED_WORK_ONSTACK(&r.work, bar_resume_work);
	pci_p2p_resource_pause(t->pdev);
	schedule_delayed_work(&r.work, HZ / 10);
	KUNIT_EXPECT_EQ(test, 0, bar_fault(t, 0));
	KUNIT_EXPECT_LT(test, jiffies - begin, 30UL * HZ);
	flush_delayed_work(&r.work);
	destroy_delayed_work_on_stack(&r.work);
	bar_expect(test, t, A);
}

/* The CPU waits without the lock, and says that it had none. */
static void resource_cpu_waits(struct kunit *test)
{
	struct bar_test *t = bar_live(test);
	struct bar_resume r = { .pdev = t->pdev };
	bool unlocked = false;

	INIT_DELAYED_WORK_ONSTACK(&r.work, bar_resume_work);
	pci_p2p_resource_pause(t->pdev);
	schedule_delayed_work(&r.work, msecs_to_jiffies(30));
	mmap_read_lock(current->mm);
	KUNIT_EXPECT_EQ(test, 0, fixup_user_fault(current->mm, A,
						  FAULT_FLAG_WRITE, &unlocked));
	mmap_read_unlock(current->mm);
	KUNIT_EXPECT_TRUE(test, unlocked);
	flush_delayed_work(&r.work);
	destroy_delayed_work_on_stack(&r.work);
}

/* The BAR moved after vm_pgoff was made of its address. */
static void resource_late_mmap(struct kunit *test)
{
	struct bar_test *t = bar_create(test);
	struct vm_area_struct *vma = kunit_kzalloc(test, sizeof(*vma),
						   GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, vma);
	KUNIT_ASSERT_EQ(test, 0, pci_p2p_resource_set(t->pdev, P2P_MMAP_ON));
	vma->vm_start = A;
	vma->vm_end = A + LEN;
	vm_flags_init(vma, VM_SHARED | VM_MAYSHARE);
	vma->vm_pgoff = PHYS_PFN(t->bar->start) - 1;
	pci_p2p_resource_mmap(t->pdev, 0, vma);
	KUNIT_EXPECT_NULL(test, vma->vm_private_data);
	vma->vm_pgoff = PHYS_PFN(t->bar->end + 1) - PAGES + 1;
	pci_p2p_resource_mmap(t->pdev, 0, vma);
	KUNIT_EXPECT_NULL(test, vma->vm_private_data);
}

/* Switched off in a pause: who waits gets the stock answer. */
static void resource_pause_off(struct kunit *test)
{
	struct bar_test *t = bar_live(test);

	pci_p2p_resource_pause(t->pdev);
	KUNIT_EXPECT_EQ(test, 0, pci_p2p_resource_set(t->pdev, P2P_MMAP_OFF));
	P2P_EXPECT_REFUSED(test, bar_fault(t, 0), -EFAULT,
			   P2P_REASON_EXPORTER);
	pci_p2p_resource_resume(t->pdev);
	P2P_EXPECT_REFUSED(test, bar_fault(t, 0), -EFAULT,
			   P2P_REASON_EXPORTER);
}

static void bar_move(struct bar_test *t, long by, resource_size_t size)
{
	pci_p2p_resource_pause(t->pdev);
	t->bar->start += by;
	t->bar->end = t->bar->start + size - 1;
	pci_p2p_resource_resume(t->pdev);
}

/* Old mappings show the old place: never offered again, until it is back. */
static void resource_moved(struct kunit *test)
{
	struct bar_test *t = bar_live(test);
	resource_size_t size = resource_size(t->bar);

	KUNIT_EXPECT_EQ(test, 0, bar_fault(t, 0));
	bar_move(t, SZ_64K, size);	/* over a part of its old place */
	KUNIT_EXPECT_NULL(test, p2p_user_extent(t->user, A));
	P2P_EXPECT_REFUSED(test, bar_fault(t, 0), -EFAULT,
			   P2P_REASON_EXPORTER);
	bar_map(test, t, A + LEN);
	KUNIT_EXPECT_EQ(test, 0, bar_fault(t, PAGES));
	bar_expect(test, t, A + LEN);

	bar_move(t, -SZ_64K, size);
	P2P_EXPECT_REFUSED(test, bar_fault(t, PAGES), -EFAULT,
			   P2P_REASON_EXPORTER);
	KUNIT_EXPECT_EQ(test, 0, bar_fault(t, 0));
	bar_expect(test, t, A);

	/* Resized, at the same place */
	bar_move(t, 0, size / 2);
	P2P_EXPECT_REFUSED(test, bar_fault(t, 0), -EFAULT,
			   P2P_REASON_EXPORTER);
	bar_move(t, 0, size);
}

/* Moved while switched off, and by somebody who did not tell. */
static void resource_moved_off(struct kunit *test)
{
	struct bar_test *t = bar_live(test);
	resource_size_t size = resource_size(t->bar);

	t->bar->start += SZ_64K;
	P2P_EXPECT_REFUSED(test, bar_fault(t, 0), -ENODEV,
			   P2P_REASON_EXPORTER);
	t->bar->start -= SZ_64K;
	KUNIT_EXPECT_EQ(test, 0, bar_fault(t, 0));

	KUNIT_EXPECT_EQ(test, 0, pci_p2p_resource_set(t->pdev, P2P_MMAP_OFF));
	bar_move(t, SZ_64K, size);
	KUNIT_EXPECT_EQ(test, 0, pci_p2p_resource_set(t->pdev, P2P_MMAP_ON));
	P2P_EXPECT_REFUSED(test, bar_fault(t, 0), -EFAULT,
			   P2P_REASON_EXPORTER);
	bar_map(test, t, A);
	KUNIT_EXPECT_EQ(test, 0, bar_fault(t, 0));
	bar_expect(test, t, A);
	bar_move(t, -SZ_64K, size);
}

/* Beside another exporter of the same BAR. */
static void resource_shared(struct kunit *test)
{
	struct bar_test *t = bar_live(test);
	struct p2p_region *r = p2p_region_bar(t->pdev, 0);
	struct p2p_fake *driver;

	KUNIT_ASSERT_FALSE(test, IS_ERR(r));
	driver = p2p_fake_attach(test, r);
	KUNIT_EXPECT_EQ(test, 0, bar_fault(t, 0));
	p2p_fake_mmap(driver, A + LEN, LEN, OFF, RW);
	KUNIT_EXPECT_EQ(test, 0, bar_fault(t, PAGES));
	bar_expect(test, t, A);
	bar_expect(test, t, A + LEN);
	KUNIT_EXPECT_EQ(test, 0, pci_p2p_resource_set(t->pdev, P2P_MMAP_OFF));
	KUNIT_EXPECT_NULL(test, p2p_user_extent(t->user, A));
	bar_expect(test, t, A + LEN);
	KUNIT_EXPECT_EQ(test, 0, pci_p2p_resource_set(t->pdev, P2P_MMAP_ON));
	KUNIT_EXPECT_EQ(test, 0, bar_fault(t, 0));
	p2p_fake_detach(driver);
	KUNIT_EXPECT_NULL(test, p2p_user_extent(t->user, A + LEN));
	bar_expect(test, t, A);
	p2p_region_put(r);
}

/* Removed with extents alive. */
static void resource_remove(struct kunit *test)
{
	struct bar_test *t = bar_live(test);

	KUNIT_EXPECT_EQ(test, 0, bar_fault(t, 0));
	pci_stop_and_remove_bus_device_locked(t->pdev);
	KUNIT_EXPECT_NULL(test, p2p_user_extent(t->user, A));
}

static struct kunit_case p2p_resource_cases[] = {
	KUNIT_CASE(resource_offset),
	KUNIT_CASE(resource_default),
	KUNIT_CASE(resource_off),
	KUNIT_CASE(resource_awake),
	KUNIT_CASE(resource_bad_bar),
	KUNIT_CASE(resource_decode_off),
	KUNIT_CASE(resource_asleep),
	KUNIT_CASE(resource_failed),
	KUNIT_CASE(resource_claimed),
	KUNIT_CASE(resource_pause),
	KUNIT_CASE(resource_pause_ends),
	KUNIT_CASE(resource_cpu_waits),
	KUNIT_CASE(resource_late_mmap),
	KUNIT_CASE(resource_pause_off),
	KUNIT_CASE(resource_moved),
	KUNIT_CASE(resource_moved_off),
	KUNIT_CASE(resource_shared),
	KUNIT_CASE(resource_remove),
	{}
};

static struct kunit_suite p2p_resource_suite = {
	.name = "p2p_resource",
	.suite_init = p2p_refusals_start,
	.suite_exit = p2p_refusals_stop,
	.init = soft_init,
	.exit = soft_exit,
	.test_cases = p2p_resource_cases,
};

kunit_test_suite(p2p_resource_suite);
