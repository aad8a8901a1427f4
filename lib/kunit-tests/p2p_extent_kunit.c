// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of extents and their index: what becomes live, how far one grant
 * reaches, and what an invalidation takes away.
 */
#include <linux/delay.h>
#include <linux/interval_tree.h>
#include <linux/kthread.h>
#include <linux/mman.h>

#include "p2p_kunit.h"

#define ADDR		P2P_TEST_ADDR
#define PAGES(n)	((unsigned long)(n) * PAGE_SIZE)
#define SIZE		PAGES(16)

struct extent_test {
	struct p2p_fake *fake;
	struct p2p_user *user;
};

static struct extent_test extent_create(struct kunit *test, int prot)
{
	struct extent_test t;

	t.fake = p2p_fake_create(test, SIZE);
	p2p_fake_mmap(t.fake, ADDR, SIZE, 0, prot);
	t.user = p2p_user_create(test, NULL, ADDR, SIZE, true);
	return t;
}

/* One extent for each of @nr times @pages. */
static void extent_fill(struct kunit *test, struct extent_test *t, int nr,
			int pages)
{
	int i;

	t->fake->map = p2p_fake_needed;
	for (i = 0; i < nr; i++)
		KUNIT_ASSERT_EQ(test, 0,
				p2p_user_fault(t->user, ADDR + i * PAGES(pages),
					       PAGES(pages), P2P_READ));
	KUNIT_ASSERT_EQ(test, nr, atomic_read(&t->fake->maps));
}

static unsigned int extent_count(struct p2p_user *user)
{
	struct interval_tree_node *node;
	unsigned int nr = 0;

	mutex_lock(&user->lock);
	node = interval_tree_iter_first(&user->set.live, 0, ULONG_MAX);
	for (; node; node = interval_tree_iter_next(node, 0, ULONG_MAX))
		nr++;
	mutex_unlock(&user->lock);
	return nr;
}

/* Commit */

static void extent_stale_sequence(struct kunit *test)
{
	struct extent_test t = extent_create(test, PROT_READ);
	struct p2p_fault fault;
	struct hmm_range range;

	p2p_user_range(t.user, &range, &fault, ADDR, PAGE_SIZE, P2P_READ);
	KUNIT_ASSERT_EQ(test, 0, p2p_user_walk(&range));
	KUNIT_EXPECT_EQ(test, 0, p2p_fake_unmaps(t.fake));
	p2p_user_commit(t.user, &fault, range.notifier_seq + 2);
	KUNIT_EXPECT_NULL(test, p2p_user_extent(t.user, ADDR));
	KUNIT_EXPECT_EQ(test, 1, p2p_fake_unmaps(t.fake));
	KUNIT_EXPECT_EQ(test, 0, t.fake->exporter.users);
	/* Once is enough. */
	p2p_user_commit(t.user, &fault, range.notifier_seq);
	p2p_fault_drop(&fault);
	KUNIT_EXPECT_NULL(test, p2p_user_extent(t.user, ADDR));
	KUNIT_EXPECT_EQ(test, 1, p2p_fake_unmaps(t.fake));
}

static void extent_dropped(struct kunit *test)
{
	struct extent_test t = extent_create(test, PROT_READ);
	struct p2p_fault fault;
	struct hmm_range range;

	p2p_user_range(t.user, &range, &fault, ADDR, PAGE_SIZE, P2P_READ);
	KUNIT_ASSERT_EQ(test, 0, p2p_user_walk(&range));
	p2p_fault_drop(&fault);
	KUNIT_EXPECT_EQ(test, 1, p2p_fake_unmaps(t.fake));
	KUNIT_EXPECT_EQ(test, 0, t.fake->exporter.users);
	p2p_user_commit(t.user, &fault, range.notifier_seq);
	KUNIT_EXPECT_NULL(test, p2p_user_extent(t.user, ADDR));
}

/* Two faults at once: who commits first wins. */
static void extent_live_wins(struct kunit *test)
{
	struct extent_test t = extent_create(test, PROT_READ);
	struct hmm_range first_range, range;
	struct p2p_fault first, fault;
	struct p2p_extent *ext;

	p2p_user_range(t.user, &first_range, &first, ADDR, PAGE_SIZE, P2P_READ);
	KUNIT_ASSERT_EQ(test, 0, p2p_user_walk(&first_range));
	p2p_user_range(t.user, &range, &fault, ADDR + PAGES(2), PAGE_SIZE,
		       P2P_READ);
	KUNIT_ASSERT_EQ(test, 0, p2p_user_walk(&range));
	KUNIT_EXPECT_EQ(test, 2, atomic_read(&t.fake->granted));
	p2p_user_commit(t.user, &first, first_range.notifier_seq);
	ext = p2p_user_extent(t.user, ADDR);
	KUNIT_EXPECT_NOT_NULL(test, ext);
	p2p_user_commit(t.user, &fault, range.notifier_seq);
	KUNIT_EXPECT_PTR_EQ(test, ext, p2p_user_extent(t.user, ADDR));
	KUNIT_EXPECT_EQ(test, 1, extent_count(t.user));
	KUNIT_EXPECT_EQ(test, 1, p2p_fake_unmaps(t.fake));
}

/* The loser may have been the larger one: its other pages fault again. */
static void extent_live_wins_small(struct kunit *test)
{
	struct extent_test t = extent_create(test, PROT_READ);
	struct hmm_range first_range, range;
	struct p2p_fault first, fault;

	t.fake->map = p2p_fake_one;
	p2p_user_range(t.user, &first_range, &first, ADDR + PAGES(5), PAGE_SIZE,
		       P2P_READ);
	KUNIT_ASSERT_EQ(test, 0, p2p_user_walk(&first_range));
	t.fake->map = NULL;
	p2p_user_range(t.user, &range, &fault, ADDR, SIZE, P2P_READ);
	KUNIT_ASSERT_EQ(test, 0, p2p_user_walk(&range));
	p2p_user_commit(t.user, &first, first_range.notifier_seq);
	p2p_user_commit(t.user, &fault, range.notifier_seq);
	KUNIT_EXPECT_EQ(test, 1, extent_count(t.user));
	KUNIT_EXPECT_NULL(test, p2p_user_extent(t.user, ADDR));
	KUNIT_EXPECT_EQ(test, P2P_PEER_RO, p2p_user_pfn(t.user, ADDR));

	KUNIT_ASSERT_EQ(test, 0, p2p_user_fault(t.user, ADDR, SIZE, P2P_READ));
	KUNIT_EXPECT_EQ(test, 3, extent_count(t.user));
	KUNIT_EXPECT_NOT_NULL(test, p2p_user_extent(t.user, ADDR));
	KUNIT_EXPECT_EQ(test, 1, p2p_fake_unmaps(t.fake));
}

/* Lookup */

static void extent_lookup(struct kunit *test)
{
	struct extent_test t = extent_create(test, PROT_READ);
	struct p2p_extent *ext;
	size_t off = 1;

	t.fake->map = p2p_fake_needed;
	KUNIT_ASSERT_EQ(test, 0,
			p2p_user_fault(t.user, ADDR + PAGES(2), PAGES(3),
				       P2P_READ));
	mutex_lock(&t.user->lock);
	ext = p2p_extents_lookup(&t.user->set, ADDR + PAGES(2), &off);
	KUNIT_EXPECT_NOT_NULL(test, ext);
	KUNIT_EXPECT_EQ(test, 0, off);
	KUNIT_EXPECT_PTR_EQ(test, ext,
			    p2p_extents_lookup(&t.user->set,
					       ADDR + PAGES(5) - 1, &off));
	KUNIT_EXPECT_EQ(test, PAGES(3) - 1, off);
	KUNIT_EXPECT_NULL(test, p2p_extents_lookup(&t.user->set,
						   ADDR + PAGES(2) - 1, &off));
	KUNIT_EXPECT_NULL(test, p2p_extents_lookup(&t.user->set,
						   ADDR + PAGES(5), &off));
	/* Without a device there is no DMA address. */
	KUNIT_EXPECT_EQ(test, DMA_MAPPING_ERROR,
			p2p_extents_dma_addr(&t.user->set, ADDR + PAGES(2)));
	mutex_unlock(&t.user->lock);
}

/* Cut */

static bool extent_cut(struct p2p_user *user, unsigned long *start,
		       unsigned long *end)
{
	bool ret;

	mutex_lock(&user->lock);
	ret = p2p_extents_cut(&user->set, start, end);
	p2p_extents_cut_finish(&user->set);
	mutex_unlock(&user->lock);
	return ret;
}

/* Four extents of four pages; in pages: what is cut, and what has to go. */
struct extent_cut {
	const char *desc;
	int start, end;
	bool ret;
	int wide_start, wide_end;
	int nr;
};

static const struct extent_cut extent_cuts[] = {
	{ "one page", 5, 6, true, 4, 8, 1 },
	{ "first page", 4, 5, true, 4, 8, 1 },
	{ "last page", 7, 8, true, 4, 8, 1 },
	{ "exactly one", 4, 8, true, 4, 8, 1 },
	{ "end of one and begin of the next", 7, 9, true, 4, 12, 2 },
	{ "one and a half", 6, 12, true, 4, 12, 2 },
	{ "all", 0, 16, true, 0, 16, 4 },
	{ "more than all", -4, 20, true, -4, 20, 4 },
	{ "empty", 5, 5, false, 5, 5, 0 },
	{ "before", -4, 0, false, -4, 0, 0 },
	{ "behind", 16, 20, false, 16, 20, 0 },
};

KUNIT_ARRAY_PARAM_DESC(extent_cut, extent_cuts, desc);

static void extent_cut_range(struct kunit *test)
{
	const struct extent_cut *c = test->param_value;
	struct extent_test t = extent_create(test, PROT_READ);
	unsigned long start = ADDR + c->start * PAGE_SIZE;
	unsigned long end = ADDR + c->end * PAGE_SIZE;

	extent_fill(test, &t, 4, 4);
	KUNIT_EXPECT_EQ(test, c->ret, extent_cut(t.user, &start, &end));
	KUNIT_EXPECT_EQ(test, ADDR + c->wide_start * PAGE_SIZE, start);
	KUNIT_EXPECT_EQ(test, ADDR + c->wide_end * PAGE_SIZE, end);
	KUNIT_EXPECT_EQ(test, 4 - c->nr, extent_count(t.user));
	KUNIT_EXPECT_EQ(test, c->nr, p2p_fake_unmaps(t.fake));

	/* Exit does it twice. */
	KUNIT_EXPECT_FALSE(test, extent_cut(t.user, &start, &end));
	KUNIT_EXPECT_EQ(test, ADDR + c->wide_start * PAGE_SIZE, start);
	KUNIT_EXPECT_EQ(test, ADDR + c->wide_end * PAGE_SIZE, end);
	KUNIT_EXPECT_EQ(test, c->nr, p2p_fake_unmaps(t.fake));
}

/* Until the importer has stopped its hardware the extent is not given back. */
static void extent_cut_then_finish(struct kunit *test)
{
	struct extent_test t = extent_create(test, PROT_READ);
	unsigned long start = ADDR, end = ADDR + PAGE_SIZE;
	int unmaps;

	extent_fill(test, &t, 1, 16);
	mutex_lock(&t.user->lock);
	KUNIT_EXPECT_TRUE(test, p2p_extents_cut(&t.user->set, &start, &end));
	KUNIT_EXPECT_EQ(test, ADDR + SIZE, end);
	unmaps = p2p_fake_unmaps(t.fake);
	p2p_extents_cut_finish(&t.user->set);
	p2p_extents_cut_finish(&t.user->set);
	mutex_unlock(&t.user->lock);
	KUNIT_EXPECT_EQ(test, 0, unmaps);
	KUNIT_EXPECT_EQ(test, 1, p2p_fake_unmaps(t.fake));
}

/* ->p2p_unmap() is optional. */
static void extent_no_unmap(struct kunit *test)
{
	struct extent_test t = extent_create(test, PROT_READ);

	t.fake->vm_ops = &p2p_fake_no_unmap_ops;
	p2p_fake_mmap(t.fake, ADDR, SIZE, 0, PROT_READ);
	extent_fill(test, &t, 1, 16);
	KUNIT_ASSERT_EQ(test, 0, vm_munmap(ADDR, SIZE));
	KUNIT_EXPECT_EQ(test, 0, p2p_fake_unmaps(t.fake));
	KUNIT_EXPECT_EQ(test, 0, t.fake->exporter.users);
	atomic_set(&t.fake->granted, 0);
}

/* The VMA changes under the importer */

/* The hole is one page, and its extent goes, and only that one. */
static void extent_munmap_page(struct kunit *test)
{
	struct extent_test t = extent_create(test, PROT_READ);

	extent_fill(test, &t, 4, 4);
	KUNIT_ASSERT_EQ(test, 0, vm_munmap(ADDR + PAGES(6), PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, 1, t.user->cuts);
	KUNIT_EXPECT_EQ(test, ADDR + PAGES(4), t.user->cut_start);
	KUNIT_EXPECT_EQ(test, ADDR + PAGES(8), t.user->cut_end);
	KUNIT_EXPECT_EQ(test, 1, p2p_fake_unmaps(t.fake));
	KUNIT_EXPECT_EQ(test, PAGES(4), t.fake->last.len);
	KUNIT_EXPECT_EQ(test, t.fake->region->start + PAGES(4),
			t.fake->last.phys);
	KUNIT_EXPECT_EQ(test, 3, extent_count(t.user));

	/* What is left comes back by what is now another VMA. */
	KUNIT_EXPECT_EQ(test, -EFAULT,
			p2p_user_fault(t.user, ADDR, SIZE, P2P_READ));
	t.fake->map = NULL;
	KUNIT_ASSERT_EQ(test, 0, p2p_user_fault(t.user, ADDR + PAGES(7),
						PAGE_SIZE, P2P_READ));
	KUNIT_EXPECT_EQ(test, ADDR + PAGES(7), t.fake->req.window_start);
	KUNIT_EXPECT_EQ(test, ADDR + PAGES(8), t.fake->req.window_end);
	KUNIT_EXPECT_EQ(test, t.fake->region->start + PAGES(7),
			p2p_user_extent(t.user, ADDR + PAGES(7))->phys);
}

/* Other memory takes the place of a part. */
static void extent_map_fixed(struct kunit *test)
{
	struct extent_test t = extent_create(test, PROT_READ);

	extent_fill(test, &t, 4, 4);
	p2p_test_anon(test, ADDR + PAGES(5), PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, 1, p2p_fake_unmaps(t.fake));
	t.fake->map = NULL;
	KUNIT_ASSERT_EQ(test, 0,
			p2p_user_fault(t.user, ADDR, SIZE, P2P_READ));
	KUNIT_EXPECT_EQ(test, P2P_PEER_RO, p2p_user_pfn(t.user, ADDR + PAGES(4)));
	KUNIT_EXPECT_EQ(test, HMM_PFN_VALID,
			p2p_user_pfn(t.user, ADDR + PAGES(5)) &
			(HMM_PFN_VALID | HMM_PFN_PEER));
	KUNIT_EXPECT_EQ(test, P2P_PEER_RO, p2p_user_pfn(t.user, ADDR + PAGES(6)));
	KUNIT_EXPECT_NULL(test, p2p_user_extent(t.user, ADDR + PAGES(5)));
}

/* The exporter takes one object back of the two that it mapped. */
static void extent_zap_object(struct kunit *test)
{
	struct extent_test t = extent_create(test, PROT_READ);

	extent_fill(test, &t, 2, 8);
	unmap_mapping_range(t.fake->file->f_mapping, PAGES(8), PAGES(8), 1);
	KUNIT_EXPECT_EQ(test, 1, t.user->cuts);
	KUNIT_EXPECT_NOT_NULL(test, p2p_user_extent(t.user, ADDR));
	KUNIT_EXPECT_NULL(test, p2p_user_extent(t.user, ADDR + PAGES(8)));
}

/* Nobody ever touched the mapping: there are no page tables to change. */
static void extent_mprotect(struct kunit *test)
{
	struct extent_test t = extent_create(test, PROT_READ | PROT_WRITE);

	KUNIT_ASSERT_EQ(test, 0, p2p_user_fault(t.user, ADDR, SIZE, P2P_WRITE));
	KUNIT_ASSERT_EQ(test, 0, p2p_test_mprotect(ADDR, SIZE, VM_WRITE, 0));
	KUNIT_EXPECT_NULL(test, p2p_user_extent(t.user, ADDR));
	KUNIT_EXPECT_EQ(test, 1, p2p_fake_unmaps(t.fake));
	KUNIT_EXPECT_EQ(test, -EPERM,
			p2p_user_fault(t.user, ADDR, PAGE_SIZE, P2P_WRITE));
	KUNIT_ASSERT_EQ(test, 0, p2p_user_fault(t.user, ADDR, SIZE, P2P_READ));
	KUNIT_EXPECT_EQ(test, P2P_PEER_RO, p2p_user_pfn(t.user, ADDR));

	KUNIT_ASSERT_EQ(test, 0, p2p_test_mprotect(ADDR, SIZE, VM_READ, 0));
	KUNIT_EXPECT_NULL(test, p2p_user_extent(t.user, ADDR));
	KUNIT_EXPECT_EQ(test, -EFAULT,
			p2p_user_fault(t.user, ADDR, PAGE_SIZE, P2P_READ));

	/* The extent is never upgraded: a new one can write again. */
	KUNIT_ASSERT_EQ(test, 0, p2p_test_mprotect(ADDR, SIZE, 0,
						   VM_READ | VM_WRITE));
	KUNIT_ASSERT_EQ(test, 0, p2p_user_fault(t.user, ADDR, SIZE, P2P_WRITE));
	KUNIT_EXPECT_EQ(test, P2P_PEER_RW, p2p_user_pfn(t.user, ADDR));
}

/* A process that maps, uses and dies. */
static int extent_process_fn(void *data)
{
	struct extent_test *t = data;
	struct kunit *test = t->fake->test;

	if (kunit_attach_mm())
		return 0;
	if (vm_mmap(t->fake->file, ADDR, SIZE, PROT_READ,
		    MAP_SHARED | MAP_FIXED, 0) == ADDR) {
		t->user = p2p_user_create(test, NULL, ADDR, SIZE, true);
		p2p_user_fault(t->user, ADDR, SIZE, P2P_READ);
	}
	return 0;
}

static void extent_exit(struct kunit *test)
{
	struct extent_test t = { .fake = p2p_fake_create(test, SIZE) };
	struct task_struct *task;
	int i;

	task = kthread_run(extent_process_fn, &t, "p2p_process");
	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
	for (i = 0; i < 1000 && !(atomic_read(&t.fake->granted) &&
				  !atomic_read(&t.fake->vmas)); i++)
		msleep(20);
	KUNIT_ASSERT_NOT_NULL(test, t.user);
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&t.fake->granted));
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&t.fake->vmas));
	KUNIT_EXPECT_EQ(test, 1, t.user->cuts);
	KUNIT_EXPECT_EQ(test, 0, extent_count(t.user));
	KUNIT_EXPECT_EQ(test, 1, p2p_fake_unmaps(t.fake));
}

static struct kunit_case p2p_extent_cases[] = {
	KUNIT_CASE(extent_stale_sequence),
	KUNIT_CASE(extent_dropped),
	KUNIT_CASE(extent_live_wins),
	KUNIT_CASE(extent_live_wins_small),
	KUNIT_CASE(extent_lookup),
	KUNIT_CASE_PARAM(extent_cut_range, extent_cut_gen_params),
	KUNIT_CASE(extent_cut_then_finish),
	KUNIT_CASE(extent_no_unmap),
	KUNIT_CASE(extent_munmap_page),
	KUNIT_CASE(extent_map_fixed),
	KUNIT_CASE(extent_zap_object),
	KUNIT_CASE(extent_mprotect),
	KUNIT_CASE(extent_exit),
	{}
};

static struct kunit_suite p2p_extent_suite = {
	.name = "p2p_extent",
	.test_cases = p2p_extent_cases,
};

kunit_test_suite(p2p_extent_suite);

MODULE_DESCRIPTION("KUnit tests of p2p extents");
MODULE_LICENSE("GPL");
