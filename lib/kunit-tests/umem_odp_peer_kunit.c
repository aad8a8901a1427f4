// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of an on-demand paging umem over peer memory: what live extents
 * cover is published without a walk, and nothing else is.
 */
#include <linux/kprobes.h>
#include <linux/mman.h>
#include <rdma/ib_umem_odp.h>

#include "p2p_kunit.h"

#define ADDR		P2P_TEST_ADDR
#define PAGES		8UL
#define LEN		(PAGES * PAGE_SIZE)
#define AT(page)	(ADDR + (page) * PAGE_SIZE)

struct odp_peer {
	struct p2p_fake *fake;
	struct ib_device ib;
	struct ib_umem_odp *odp;
};

/* Walks of this task */
static struct task_struct *walk_task;
static unsigned int walks;

static int odp_peer_walk(struct kprobe *p, struct pt_regs *regs)
{
	walks += current == walk_task;
	return 0;
}

static struct kprobe odp_peer_probe = {
	.symbol_name = "walk_page_range",
	.pre_handler = odp_peer_walk,
};

static bool odp_peer_invalidate(struct mmu_interval_notifier *mni,
				const struct mmu_notifier_range *range,
				unsigned long cur_seq)
{
	struct ib_umem_odp *odp = container_of(mni, struct ib_umem_odp,
					       notifier);

	if (!mmu_notifier_range_blockable(range))
		return false;
	guard(mutex)(&odp->umem_mutex);
	mmu_interval_set_seq(mni, cur_seq);
	ib_umem_odp_unmap_dma_pages(odp, range->start, range->end);
	return true;
}

static const struct mmu_interval_notifier_ops odp_peer_ops = {
	.invalidate = odp_peer_invalidate,
};

static void odp_peer_end(void *odp)
{
	unregister_kprobe(&odp_peer_probe);
	ib_umem_odp_release(odp);
}

/* PAGES of peer memory and as many of RAM, for a device that the CPU copies for */
static struct odp_peer *odp_peer_create(struct kunit *test, int access)
{
	struct odp_peer *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, t);
	t->fake = p2p_fake_create(test, LEN);
	p2p_fake_add_vram(t->fake);
	p2p_fake_mmap(t->fake, ADDR, LEN, 0, PROT_READ | PROT_WRITE);
	p2p_test_anon(test, ADDR + LEN, LEN);
	t->odp = ib_umem_odp_get(&t->ib, ADDR, 2 * LEN,
				 IB_ACCESS_ON_DEMAND | access, &odp_peer_ops);
	KUNIT_ASSERT_FALSE(test, IS_ERR(t->odp));
	walk_task = current;
	odp_peer_probe.addr = NULL;
	odp_peer_probe.flags = 0;
	if (register_kprobe(&odp_peer_probe)) {
		ib_umem_odp_release(t->odp);
		KUNIT_FAIL_AND_ABORT(test, "no probe\n");
	}
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, odp_peer_end,
							   t->odp));
	return t;
}

/* Fault, and count the walks. Pages, or an errno. */
static int odp_peer_fault(struct odp_peer *t, unsigned long page,
			  unsigned long nr, bool write)
{
	int ret;

	walks = 0;
	ret = ib_umem_odp_map_dma_and_lock(t->odp, AT(page), nr * PAGE_SIZE,
					   write ? HMM_PFN_WRITE : 0, true);
	if (ret >= 0)
		mutex_unlock(&t->odp->umem_mutex);
	return ret;
}

static unsigned long odp_peer_flags(struct odp_peer *t, unsigned long page)
{
	return t->odp->map.pfn_list[page] & HMM_PFN_FLAGS;
}

/* The first fault walks and asks, the next ones in the extent do neither. */
static void odp_peer_live(struct kunit *test)
{
	struct odp_peer *t = odp_peer_create(test, IB_ACCESS_LOCAL_WRITE);
	unsigned long i;

	KUNIT_ASSERT_EQ(test, 1, odp_peer_fault(t, 3, 1, true));
	KUNIT_EXPECT_GT(test, walks, 0);
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&t->fake->maps));
	for (i = 0; i < PAGES; i++)
		KUNIT_EXPECT_EQ(test, i == 3 ? P2P_PEER_RW : 0,
				odp_peer_flags(t, i));

	KUNIT_ASSERT_EQ(test, 2, odp_peer_fault(t, 4, 2, true));
	KUNIT_EXPECT_EQ(test, 0, walks);
	for (i = 0; i < PAGES; i++)
		KUNIT_EXPECT_EQ(test, i >= 3 && i <= 5 ? P2P_PEER_RW : 0,
				odp_peer_flags(t, i));
	KUNIT_ASSERT_EQ(test, PAGES, odp_peer_fault(t, 0, PAGES, false));
	KUNIT_EXPECT_EQ(test, 0, walks);
	for (i = 0; i < PAGES; i++)
		KUNIT_EXPECT_EQ(test, P2P_PEER_RW, odp_peer_flags(t, i));
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&t->fake->maps));
}

/* What is taken back is walked for again, with its neighbours in the extent. */
static void odp_peer_revoked(struct kunit *test)
{
	struct odp_peer *t = odp_peer_create(test, IB_ACCESS_LOCAL_WRITE);
	unsigned long i;

	KUNIT_ASSERT_EQ(test, PAGES, odp_peer_fault(t, 0, PAGES, true));
	unmap_mapping_range(t->fake->file->f_mapping, 0, PAGE_SIZE, 1);
	for (i = 0; i < PAGES; i++)
		KUNIT_EXPECT_EQ(test, 0, odp_peer_flags(t, i));
	KUNIT_ASSERT_EQ(test, 1, odp_peer_fault(t, 5, 1, true));
	KUNIT_EXPECT_GT(test, walks, 0);
	KUNIT_EXPECT_EQ(test, 2, atomic_read(&t->fake->maps));
	p2p_fake_detach(t->fake);
	KUNIT_EXPECT_EQ(test, 0, odp_peer_flags(t, 5));
	KUNIT_EXPECT_EQ(test, -ENODEV, odp_peer_fault(t, 5, 1, true));
	KUNIT_EXPECT_EQ(test, 0, odp_peer_flags(t, 5));
}

static int odp_peer_map_rdonly(struct p2p_fake *fake,
			       struct vm_area_struct *vma,
			       struct p2p_map_req *req)
{
	return p2p_fake_grant(fake, req, req->window_start,
			      p2p_fake_phys(fake, vma, req->window_start),
			      req->window_end - req->window_start,
			      P2P_EXT_RDONLY);
}

/* That an extent is live does not make it writable. */
static void odp_peer_read_only(struct kunit *test)
{
	struct odp_peer *t = odp_peer_create(test, IB_ACCESS_LOCAL_WRITE);

	t->fake->map = odp_peer_map_rdonly;
	KUNIT_ASSERT_EQ(test, 1, odp_peer_fault(t, 0, 1, false));
	KUNIT_ASSERT_EQ(test, 1, odp_peer_fault(t, 1, 1, false));
	KUNIT_EXPECT_EQ(test, 0, walks);
	KUNIT_EXPECT_EQ(test, P2P_PEER_RO, odp_peer_flags(t, 1));
	KUNIT_EXPECT_EQ(test, -EPERM, odp_peer_fault(t, 1, 1, true));
	KUNIT_EXPECT_EQ(test, P2P_PEER_RO, odp_peer_flags(t, 1));
}

/* Extents in pieces, one of them missing; RAM behind them. */
static void odp_peer_gaps(struct kunit *test)
{
	struct odp_peer *t = odp_peer_create(test, IB_ACCESS_LOCAL_WRITE);

	t->fake->map = p2p_fake_one;
	KUNIT_ASSERT_EQ(test, 1, odp_peer_fault(t, 0, 1, true));
	KUNIT_ASSERT_EQ(test, 1, odp_peer_fault(t, 2, 1, true));
	KUNIT_ASSERT_EQ(test, 3, odp_peer_fault(t, 0, 3, true));
	KUNIT_EXPECT_GT(test, walks, 0);
	KUNIT_EXPECT_EQ(test, P2P_PEER_RW, odp_peer_flags(t, 1));
	KUNIT_EXPECT_EQ(test, 3, atomic_read(&t->fake->maps));
	KUNIT_ASSERT_EQ(test, 3, odp_peer_fault(t, 0, 3, true));
	KUNIT_EXPECT_EQ(test, 0, walks);

	KUNIT_ASSERT_EQ(test, 2, odp_peer_fault(t, PAGES - 1, 2, true));
	KUNIT_EXPECT_EQ(test, P2P_PEER_RW, odp_peer_flags(t, PAGES - 1));
	KUNIT_EXPECT_EQ(test, HMM_PFN_VALID | HMM_PFN_WRITE,
			odp_peer_flags(t, PAGES));
	KUNIT_ASSERT_EQ(test, 2, odp_peer_fault(t, PAGES - 1, 2, true));
	KUNIT_EXPECT_GT(test, walks, 0);
}

static struct kunit_case odp_peer_cases[] = {
	KUNIT_CASE(odp_peer_live),
	KUNIT_CASE(odp_peer_revoked),
	KUNIT_CASE(odp_peer_read_only),
	KUNIT_CASE(odp_peer_gaps),
	{}
};

static struct kunit_suite odp_peer_suite = {
	.name = "p2p_umem_odp_peer",
	.test_cases = odp_peer_cases,
};

kunit_test_suite(odp_peer_suite);

MODULE_DESCRIPTION("KUnit tests of the on-demand paging umem over peer memory");
MODULE_LICENSE("GPL");
