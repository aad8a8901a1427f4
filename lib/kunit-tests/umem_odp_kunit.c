// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the page list of an on-demand paging umem: it holds what
 * mmu_interval_read_retry() has confirmed and nothing else.
 *
 * The races are made, not waited for. A probe holds the walk of one thread
 * where it has looked at the sequence and not yet at a PTE, until the test has
 * done what the walk is to lose against. The probed walk spins meanwhile.
 */

#include <kunit/device.h>
#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/cpumask.h>
#include <linux/delay.h>
#include <linux/dma-mapping.h>
#include <linux/file.h>
#include <linux/hmm.h>
#include <linux/hmm-dma.h>
#include <linux/kprobes.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/mmu_notifier.h>
#include <linux/pci-p2pdma.h>
#include <linux/sched/clock.h>
#include <linux/sched/task.h>
#include <linux/shmem_fs.h>
#include <linux/uaccess.h>
#include <rdma/ib_umem_odp.h>

#define ODP_TEST_PAGES	2
#define ODP_TEST_LEN	(ODP_TEST_PAGES * PAGE_SIZE)

/* A thread that maps one page, held by a probe in the first walk it makes. */
static struct odp_walker {
	struct ib_umem_odp *odp;
	unsigned long addr;
	bool snapshot;
	struct task_struct *task;
	struct completion done;
	int ret;

	int walks;		/* walk_page_range() was entered */
	int begins;		/* mmu_interval_read_begin() was entered */
	bool go;		/* the held walk may go on */
	bool timed_out;		/* it went on without being told */

	bool armed;		/* the next invalidation lets it go */
	unsigned long seen;	/* the first entry, before that invalidation ends */
} walker;

/* In a probe: no sleeping. The test needs a second processor for this. */
static int odp_hold_walk(struct kprobe *p, struct pt_regs *regs)
{
	u64 end;

	if (current != READ_ONCE(walker.task) || walker.walks++)
		return 0;

	end = local_clock() + 10ULL * NSEC_PER_SEC;
	/* Pairs with odp_walker_go(). */
	while (!smp_load_acquire(&walker.go)) {
		if (local_clock() > end) {
			walker.timed_out = true;
			break;
		}
		cpu_relax();
	}
	return 0;
}

static void odp_walker_go(void)
{
	/* What came before is seen by the walk. Pairs with odp_hold_walk(). */
	smp_store_release(&walker.go, true);
}

static int odp_count_begin(struct kprobe *p, struct pt_regs *regs)
{
	if (current == READ_ONCE(walker.task))
		WRITE_ONCE(walker.begins, walker.begins + 1);
	return 0;
}

static struct kprobe odp_probes[] = {
	{ .symbol_name = "walk_page_range", .pre_handler = odp_hold_walk },
	{ .symbol_name = "mmu_interval_read_begin", .pre_handler = odp_count_begin },
};

static bool odp_test_invalidate(struct mmu_interval_notifier *mni,
				const struct mmu_notifier_range *range,
				unsigned long cur_seq)
{
	struct ib_umem_odp *odp =
		container_of(mni, struct ib_umem_odp, notifier);
	int i;

	if (!mmu_notifier_range_blockable(range))
		return false;

	mutex_lock(&odp->umem_mutex);
	mmu_interval_set_seq(mni, cur_seq);
	ib_umem_odp_unmap_dma_pages(odp, range->start, range->end);
	mutex_unlock(&odp->umem_mutex);

	if (!READ_ONCE(walker.armed))
		return true;

	/*
	 * The list is clear and the PTEs are there until this returns: what a
	 * lost race looks like. Wait until the walk has been through them and
	 * its result was found to be too old.
	 */
	WRITE_ONCE(walker.armed, false);
	odp_walker_go();
	for (i = 0; i < 10000 && READ_ONCE(walker.begins) < 2; i++)
		usleep_range(1000, 2000);

	mutex_lock(&odp->umem_mutex);
	walker.seen = odp->map.pfn_list[0];
	mutex_unlock(&odp->umem_mutex);
	return true;
}

static const struct mmu_interval_notifier_ops odp_test_ops = {
	.invalidate = odp_test_invalidate,
};

static int odp_walker_fn(void *unused)
{
	walker.ret = ib_umem_odp_map_dma_and_lock(walker.odp, walker.addr,
						  PAGE_SIZE, 0, !walker.snapshot);
	if (walker.ret >= 0)
		mutex_unlock(&walker.odp->umem_mutex);
	complete_all(&walker.done);
	return 0;
}

static void odp_walker_remove(void *unused)
{
	odp_walker_go();
	unregister_kprobe(&odp_probes[1]);
	unregister_kprobe(&odp_probes[0]);
	if (walker.task) {
		wait_for_completion(&walker.done);
		put_task_struct(walker.task);
		WRITE_ONCE(walker.task, NULL);
	}
}

/*
 * Returns when the walker is held, on a processor of its own: it runs there with
 * interrupts off.
 */
static void odp_walker_start(struct kunit *test, struct ib_umem_odp *odp,
			     unsigned long addr, bool snapshot)
{
	unsigned int cpu = raw_smp_processor_id();
	struct task_struct *task;
	int i;

	if (num_online_cpus() < 2)
		kunit_skip(test, "needs two processors");
	KUNIT_ASSERT_EQ(test, 0, set_cpus_allowed_ptr(current, cpumask_of(cpu)));

	memset(&walker, 0, sizeof(walker));
	walker.odp = odp;
	walker.addr = addr;
	walker.snapshot = snapshot;
	init_completion(&walker.done);

	/* A probe that was registered once keeps its address. */
	for (i = 0; i < ARRAY_SIZE(odp_probes); i++) {
		odp_probes[i].addr = NULL;
		odp_probes[i].flags = 0;
	}
	KUNIT_ASSERT_EQ(test, 0, register_kprobe(&odp_probes[0]));
	i = register_kprobe(&odp_probes[1]);
	if (i)
		unregister_kprobe(&odp_probes[0]);
	KUNIT_ASSERT_EQ(test, 0, i);
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, odp_walker_remove, NULL));

	task = kthread_create(odp_walker_fn, NULL, "odp_walker");
	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
	kthread_bind(task, cpumask_any_but(cpu_online_mask, cpu));
	get_task_struct(task);
	WRITE_ONCE(walker.task, task);
	wake_up_process(task);

	for (i = 0; i < 5000 && !READ_ONCE(walker.walks); i++)
		usleep_range(1000, 2000);
	KUNIT_ASSERT_EQ(test, 1, READ_ONCE(walker.walks));
}

static void odp_walker_finish(struct kunit *test)
{
	KUNIT_ASSERT_NE(test, 0, wait_for_completion_timeout(&walker.done,
							     30 * HZ));
	KUNIT_EXPECT_FALSE(test, walker.timed_out);
}

/* Shared memory of @len bytes, of which the file has the first @have. */
static struct file *odp_test_map(struct kunit *test, unsigned long len,
				 unsigned long have, unsigned long *addr)
{
	struct file *file;
	unsigned long off;

	file = shmem_kernel_file_setup("umem_odp_kunit", have,
				       mk_vma_flags(VMA_NORESERVE_BIT));
	KUNIT_ASSERT_FALSE(test, IS_ERR(file));
	*addr = kunit_vm_mmap(test, file, 0, len, PROT_READ | PROT_WRITE,
			      MAP_SHARED, 0);
	/* The mapping keeps it. */
	fput(file);
	KUNIT_ASSERT_NE(test, 0, *addr);
	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(*addr));

	for (off = 0; off < have; off += PAGE_SIZE)
		KUNIT_ASSERT_EQ(test, 0,
				put_user(1, (int __user *)(*addr + off)));
	return file;
}

static void odp_test_truncate(struct file *file)
{
	struct inode *inode = file_inode(file);

	inode_lock(inode);
	i_size_write(inode, 0);
	unmap_mapping_range(inode->i_mapping, 0, 0, 1);
	shmem_truncate_range(inode, 0, -1);
	inode_unlock(inode);
}

static void odp_test_release(void *odp)
{
	ib_umem_odp_release(odp);
}

static struct ib_umem_odp *odp_test_get(struct kunit *test,
					struct device *dma_device,
					unsigned long addr, size_t len)
{
	struct ib_device *ibdev = kunit_kzalloc(test, sizeof(*ibdev),
						GFP_KERNEL);
	struct ib_umem_odp *odp;

	KUNIT_ASSERT_NOT_NULL(test, ibdev);
	/* Without one it is a software device, which works on pages. */
	ibdev->dma_device = dma_device;
	odp = ib_umem_odp_get(ibdev, addr, len,
			      IB_ACCESS_ON_DEMAND | IB_ACCESS_LOCAL_WRITE,
			      &odp_test_ops);
	KUNIT_ASSERT_FALSE(test, IS_ERR(odp));
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, odp_test_release, odp));
	return odp;
}

/* What a call that succeeds leaves, and what an invalidation leaves of it. */
static void umem_odp_map(struct kunit *test)
{
	struct ib_umem_odp *odp;
	unsigned long addr, *pfns;
	struct file *file;

	file = odp_test_map(test, ODP_TEST_LEN, ODP_TEST_LEN, &addr);
	odp = odp_test_get(test, NULL, addr, ODP_TEST_LEN);
	pfns = odp->map.pfn_list;

	KUNIT_ASSERT_EQ(test, 1,
			ib_umem_odp_map_dma_and_lock(odp, addr + PAGE_SIZE + 8,
						     8, HMM_PFN_WRITE, true));
	KUNIT_EXPECT_EQ(test, 0, pfns[0]);
	KUNIT_EXPECT_EQ(test, HMM_PFN_VALID | HMM_PFN_WRITE,
			pfns[1] & HMM_PFN_FLAGS);
	mutex_unlock(&odp->umem_mutex);

	KUNIT_ASSERT_EQ(test, ODP_TEST_PAGES,
			ib_umem_odp_map_dma_and_lock(odp, addr, ODP_TEST_LEN, 0,
						     false));
	KUNIT_EXPECT_TRUE(test, pfns[0] & HMM_PFN_VALID);
	KUNIT_EXPECT_TRUE(test, pfns[1] & HMM_PFN_VALID);
	mutex_unlock(&odp->umem_mutex);

	odp_test_truncate(file);
	KUNIT_EXPECT_EQ(test, 0, pfns[0] & HMM_PFN_FLAGS);
	KUNIT_EXPECT_EQ(test, 0, pfns[1] & HMM_PFN_FLAGS);

	/* A snapshot of nothing succeeds and finds nothing. */
	KUNIT_ASSERT_EQ(test, ODP_TEST_PAGES,
			ib_umem_odp_map_dma_and_lock(odp, addr, ODP_TEST_LEN, 0,
						     false));
	KUNIT_EXPECT_FALSE(test, pfns[0] & HMM_PFN_VALID);
	KUNIT_EXPECT_FALSE(test, pfns[1] & HMM_PFN_VALID);
	mutex_unlock(&odp->umem_mutex);

	kunit_release_action(test, odp_test_release, odp);
}

/* The second page cannot be had: the first must not stay behind. */
static void umem_odp_failed_fault(struct kunit *test)
{
	struct ib_umem_odp *odp;
	unsigned long addr;

	odp_test_map(test, ODP_TEST_LEN, PAGE_SIZE, &addr);
	odp = odp_test_get(test, NULL, addr, ODP_TEST_LEN);

	KUNIT_EXPECT_EQ(test, -EFAULT,
			ib_umem_odp_map_dma_and_lock(odp, addr, ODP_TEST_LEN, 0,
						     true));
	KUNIT_EXPECT_FALSE(test, mutex_is_locked(&odp->umem_mutex));
	KUNIT_EXPECT_EQ(test, 0, odp->map.pfn_list[0]);
	KUNIT_EXPECT_EQ(test, 0, odp->map.pfn_list[1]);

	kunit_release_action(test, odp_test_release, odp);
}

/* Small pages in an umem of huge ones are an error, found after the walk. */
static void umem_odp_wrong_order(struct kunit *test)
{
	struct ib_umem_odp *odp;
	unsigned long addr;
	int i;

	odp_test_map(test, 2 * PMD_SIZE, 2 * PMD_SIZE, &addr);
	addr = ALIGN(addr, PMD_SIZE);
	odp = odp_test_get(test, NULL, addr, PMD_SIZE);
	/* as IB_ACCESS_HUGETLB does */
	odp->page_shift = PMD_SHIFT;

	KUNIT_EXPECT_EQ(test, -EINVAL,
			ib_umem_odp_map_dma_and_lock(odp, addr, PAGE_SIZE, 0,
						     true));
	KUNIT_EXPECT_FALSE(test, mutex_is_locked(&odp->umem_mutex));
	for (i = 0; i < PMD_SIZE / PAGE_SIZE; i++)
		KUNIT_ASSERT_EQ(test, 0, odp->map.pfn_list[i]);

	kunit_release_action(test, odp_test_release, odp);
}

/*
 * The page goes away between the walk and the PTE, and no other comes: the walk
 * must leave nothing in the list, neither for a moment nor for good.
 */
static void umem_odp_lost_race(struct kunit *test)
{
	struct ib_umem_odp *odp;
	unsigned long addr;
	struct file *file;

	file = odp_test_map(test, ODP_TEST_LEN, ODP_TEST_LEN, &addr);
	odp = odp_test_get(test, NULL, addr, ODP_TEST_LEN);

	odp_walker_start(test, odp, addr, false);
	WRITE_ONCE(walker.armed, true);
	odp_test_truncate(file);
	odp_walker_finish(test);

	/* the race took place */
	KUNIT_EXPECT_FALSE(test, walker.armed);
	KUNIT_EXPECT_GE(test, walker.begins, 2);

	KUNIT_EXPECT_EQ(test, -EFAULT, walker.ret);
	KUNIT_EXPECT_EQ(test, 0, walker.seen & HMM_PFN_FLAGS);
	KUNIT_EXPECT_EQ(test, 0, odp->map.pfn_list[0] & HMM_PFN_FLAGS);

	kunit_release_action(test, odp_walker_remove, NULL);
	kunit_release_action(test, odp_test_release, odp);
}

static struct device *odp_test_device(struct kunit *test)
{
	struct device *dev = kunit_device_register(test, "umem_odp_kunit");

	KUNIT_ASSERT_FALSE(test, IS_ERR(dev));
	KUNIT_ASSERT_EQ(test, 0, dma_coerce_mask_and_coherent(dev,
							      DMA_BIT_MASK(64)));
	return dev;
}

/* What was mapped for DMA before the walker came is unmapped once. */
static void odp_expect_unmapped(struct kunit *test, struct ib_umem_odp *odp,
				unsigned long addr)
{
	unsigned long *pfns = odp->map.pfn_list;

	KUNIT_EXPECT_EQ(test, 1, walker.ret);
	KUNIT_EXPECT_EQ(test, HMM_PFN_VALID | HMM_PFN_DMA_MAPPED,
			pfns[0] & (HMM_PFN_VALID | HMM_PFN_DMA_MAPPED));

	mutex_lock(&odp->umem_mutex);
	ib_umem_odp_unmap_dma_pages(odp, addr, addr + ODP_TEST_LEN);
	mutex_unlock(&odp->umem_mutex);
	KUNIT_EXPECT_EQ(test, 0, odp->npages);
	KUNIT_EXPECT_EQ(test, 0, pfns[0] & HMM_PFN_FLAGS);
}

/*
 * The page is mapped for DMA by somebody else while the walk is under way: the
 * entry has to keep that when the walk's result comes, or nobody unmaps it.
 */
static void umem_odp_keep_dma_mapped(struct kunit *test)
{
	struct pci_p2pdma_map_state p2pdma_state = {};
	struct device *dev = odp_test_device(test);
	struct ib_umem_odp *odp;
	unsigned long addr;
	dma_addr_t dma;

	odp_test_map(test, ODP_TEST_LEN, ODP_TEST_LEN, &addr);
	odp = odp_test_get(test, dev, addr, ODP_TEST_LEN);

	odp_walker_start(test, odp, addr, false);

	KUNIT_ASSERT_EQ(test, 1,
			ib_umem_odp_map_dma_and_lock(odp, addr, PAGE_SIZE, 0,
						     true));
	dma = hmm_dma_map_pfn(dev, &odp->map, 0, &p2pdma_state);
	odp->npages++;
	mutex_unlock(&odp->umem_mutex);
	KUNIT_ASSERT_FALSE(test, dma_mapping_error(dev, dma));

	odp_walker_go();
	odp_walker_finish(test);
	kunit_release_action(test, odp_walker_remove, NULL);
	odp_expect_unmapped(test, odp, addr);
	kunit_release_action(test, odp_test_release, odp);
}

/* The walker has seen its page and waits for umem_mutex. */
static void odp_walker_wait_blocked(struct kunit *test)
{
	int i;

	for (i = 0; i < 5000; i++) {
		if (READ_ONCE(walker.task->__state) & TASK_UNINTERRUPTIBLE)
			return;
		usleep_range(1000, 2000);
	}
	KUNIT_FAIL(test, "the walker does not block");
}

/*
 * A snapshot finds a hole, and before it can say so a fault is faster: what
 * that one has published and mapped for DMA stays.
 */
static void umem_odp_late_snapshot(struct kunit *test)
{
	struct pci_p2pdma_map_state p2pdma_state = {};
	struct device *dev = odp_test_device(test);
	struct ib_umem_odp *odp;
	unsigned long addr, pfn;
	struct page *page;
	struct file *file;
	dma_addr_t dma;

	file = odp_test_map(test, ODP_TEST_LEN, ODP_TEST_LEN, &addr);
	odp = odp_test_get(test, dev, addr, ODP_TEST_LEN);
	KUNIT_ASSERT_EQ(test, 1,
			get_user_pages_fast(addr, 1, FOLL_WRITE, &page));
	pfn = page_to_pfn(page);
	put_page(page);		/* the file keeps it */
	unmap_mapping_range(file->f_mapping, 0, 0, 1);

	odp_walker_start(test, odp, addr, true);
	mutex_lock(&odp->umem_mutex);
	odp_walker_go();
	odp_walker_wait_blocked(test);
	odp->map.pfn_list[0] = pfn | HMM_PFN_VALID | HMM_PFN_WRITE;
	dma = hmm_dma_map_pfn(dev, &odp->map, 0, &p2pdma_state);
	odp->npages++;
	mutex_unlock(&odp->umem_mutex);
	KUNIT_EXPECT_FALSE(test, dma_mapping_error(dev, dma));

	odp_walker_finish(test);
	KUNIT_EXPECT_TRUE(test, odp->map.pfn_list[0] & HMM_PFN_WRITE);
	kunit_release_action(test, odp_walker_remove, NULL);
	odp_expect_unmapped(test, odp, addr);
	kunit_release_action(test, odp_test_release, odp);
}

static struct kunit_case umem_odp_cases[] = {
	KUNIT_CASE(umem_odp_map),
	KUNIT_CASE(umem_odp_failed_fault),
	KUNIT_CASE(umem_odp_wrong_order),
	KUNIT_CASE(umem_odp_lost_race),
	KUNIT_CASE(umem_odp_keep_dma_mapped),
	KUNIT_CASE(umem_odp_late_snapshot),
	{}
};

static struct kunit_suite umem_odp_suite = {
	.name = "p2p_umem_odp",
	.test_cases = umem_odp_cases,
};

kunit_test_suite(umem_odp_suite);

MODULE_DESCRIPTION("KUnit tests of the on-demand paging umem");
MODULE_LICENSE("GPL");
