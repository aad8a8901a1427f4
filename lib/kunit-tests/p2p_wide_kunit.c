// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of large linear mappings: one call of the exporter for a window
 * of up to 1 GiB, whatever the order in which its pages are used.
 */
#include <linux/mman.h>

#include "p2p_kunit.h"

#define NR	(P2P_CHUNK_SIZE >> PAGE_SHIFT)

/* One window and a piece of the next one; every page is touched once. */
static void wide_touch(struct kunit *test, unsigned long start, size_t size,
		       int windows)
{
	struct p2p_fake *fake = p2p_fake_create(test, size);
	unsigned long nr = size >> PAGE_SHIFT, page = 0;
	struct p2p_user *user;
	unsigned long i;

	p2p_fake_mmap(fake, start, size, 0, PROT_READ | PROT_WRITE);
	user = p2p_user_create(test, NULL, start, size, true);
	for (i = 0; i < NR; i++) {
		/* A full period modulo NR, a power of 2: a permutation. */
		page = (page * 1664525 + 1013904223) % NR;
		if (page >= nr)
			continue;
		KUNIT_ASSERT_EQ(test, 0,
				p2p_user_fault(user, start + page * PAGE_SIZE,
					       PAGE_SIZE, P2P_WRITE));
		cond_resched();
	}
	for (i = 0; i < nr; i++)
		KUNIT_ASSERT_EQ(test, P2P_PEER_RW, user->pfns[i]);
	KUNIT_EXPECT_EQ(test, windows, atomic_read(&fake->maps));
	KUNIT_EXPECT_EQ(test, windows, atomic_read(&fake->granted));
	KUNIT_EXPECT_EQ(test, 0, p2p_fake_unmaps(fake));
	KUNIT_EXPECT_EQ(test, 0, user->invalidations);
}

static void wide_one_window(struct kunit *test)
{
	wide_touch(test, P2P_TEST_ADDR, P2P_CHUNK_SIZE, 1);
}

/* The same bytes over a boundary, 64 MiB of them */
static void wide_two_windows(struct kunit *test)
{
	wide_touch(test, P2P_TEST_ADDR + P2P_CHUNK_SIZE - SZ_32M, SZ_64M, 2);
}

/* A hole of one page takes one window's extent, and not its neighbour's. */
static void wide_munmap_page(struct kunit *test)
{
	struct p2p_fake *fake = p2p_fake_create(test, 3 * P2P_CHUNK_SIZE);
	unsigned long hole = P2P_TEST_ADDR + P2P_CHUNK_SIZE + 5000 * PAGE_SIZE;
	unsigned long start = P2P_TEST_ADDR;
	struct p2p_user *user;
	int i;

	p2p_fake_mmap(fake, start, 3 * P2P_CHUNK_SIZE, 0, PROT_READ);
	user = p2p_user_create(test, NULL, start, 3 * P2P_CHUNK_SIZE, true);
	for (i = 0; i < 3; i++)
		KUNIT_ASSERT_EQ(test, 0,
				p2p_user_fault(user, start + i * P2P_CHUNK_SIZE,
					       PAGE_SIZE, P2P_READ));
	KUNIT_ASSERT_EQ(test, 3, atomic_read(&fake->maps));

	KUNIT_ASSERT_EQ(test, 0, vm_munmap(hole, PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, start + P2P_CHUNK_SIZE, user->cut_start);
	KUNIT_EXPECT_EQ(test, start + 2 * P2P_CHUNK_SIZE, user->cut_end);
	KUNIT_EXPECT_EQ(test, 1, p2p_fake_unmaps(fake));
	KUNIT_EXPECT_EQ(test, fake->region->start + P2P_CHUNK_SIZE, fake->last.phys);
	KUNIT_EXPECT_EQ(test, P2P_CHUNK_SIZE, fake->last.len);
	KUNIT_EXPECT_NOT_NULL(test, p2p_user_extent(user, start));
	KUNIT_EXPECT_NULL(test, p2p_user_extent(user, hole + PAGE_SIZE));
	KUNIT_EXPECT_NOT_NULL(test, p2p_user_extent(user, start + 2 * P2P_CHUNK_SIZE));

	/* Two pieces of a window are two windows. */
	KUNIT_ASSERT_EQ(test, 0, p2p_user_fault(user, hole - PAGE_SIZE,
						PAGE_SIZE, P2P_READ));
	KUNIT_EXPECT_EQ(test, hole, fake->req.window_end);
	KUNIT_ASSERT_EQ(test, 0, p2p_user_fault(user, hole + PAGE_SIZE,
						PAGE_SIZE, P2P_READ));
	KUNIT_EXPECT_EQ(test, hole + PAGE_SIZE, fake->req.window_start);
	KUNIT_EXPECT_EQ(test, start + 2 * P2P_CHUNK_SIZE, fake->req.window_end);
}

static struct kunit_case p2p_wide_cases[] = {
	KUNIT_CASE_SLOW(wide_one_window),
	KUNIT_CASE(wide_two_windows),
	KUNIT_CASE(wide_munmap_page),
	{}
};

static struct kunit_suite p2p_wide_suite = {
	.name = "p2p_wide",
	.test_cases = p2p_wide_cases,
};

kunit_test_suite(p2p_wide_suite);

MODULE_DESCRIPTION("KUnit tests of large p2p mappings");
MODULE_LICENSE("GPL");
