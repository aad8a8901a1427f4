// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the walk of hmm_range_fault_unlocked_timeout(): what it
 * reports for ranges with peer memory, and what it makes of lost races.
 */
#include <linux/mman.h>
#include <linux/mmap_lock.h>
#include <linux/uaccess.h>

#include "p2p_kunit.h"

#define ADDR		P2P_TEST_ADDR
#define PAGES(n)	((unsigned long)(n) * PAGE_SIZE)
#define PART		PAGES(4)
#define SIZE		(4 * PART)
#define INOUT		(HMM_PFN_DMA_MAPPED | HMM_PFN_P2PDMA | HMM_PFN_P2PDMA_BUS)

static int hmm_snapshot(struct p2p_user *user, unsigned long addr, size_t len)
{
	struct p2p_fault fault;
	struct hmm_range range;

	p2p_user_range(user, &range, &fault, addr, len, 0);
	return p2p_user_walk(&range);
}

static void hmm_expect_all(struct kunit *test, struct p2p_user *user, int line,
			   unsigned long addr, size_t len, unsigned long pfn)
{
	unsigned long end = addr + len;

	for (; addr < end; addr += PAGE_SIZE)
		KUNIT_EXPECT_EQ_MSG(test, pfn, p2p_user_pfn(user, addr),
				    "line %d, page %lu", line,
				    (addr - user->set.start) >> PAGE_SHIFT);
}

#define EXPECT_ALL(test, user, addr, len, pfn) \
	hmm_expect_all(test, user, __LINE__, addr, len, pfn)

/* The page of the test's own memory behind an entry. */
static void hmm_expect_ram(struct kunit *test, struct p2p_user *user,
			   unsigned long addr, unsigned int value)
{
	unsigned long pfn = p2p_user_pfn(user, addr);

	KUNIT_EXPECT_EQ(test, HMM_PFN_VALID | HMM_PFN_WRITE,
			pfn & (HMM_PFN_VALID | HMM_PFN_WRITE | HMM_PFN_ERROR |
			       HMM_PFN_PEER | INOUT));
	if (pfn & HMM_PFN_VALID && !(pfn & HMM_PFN_PEER))
		KUNIT_EXPECT_EQ(test, value,
				*(unsigned int *)
				page_address(hmm_pfn_to_page(pfn)));
}

static void hmm_mixed(struct kunit *test)
{
	struct p2p_fake *one = p2p_fake_create(test, PART);
	struct p2p_fake *two = p2p_fake_create(test, PART);
	struct p2p_user *user;
	unsigned int i;

	/* ram, peer, ram, peer */
	p2p_test_anon(test, ADDR, SIZE);
	p2p_fake_mmap(one, ADDR + PART, PART, 0, PROT_READ | PROT_WRITE);
	p2p_fake_mmap(two, ADDR + 3 * PART, PART, 0, PROT_READ | PROT_WRITE);
	for (i = 0; i < 2; i++)
		KUNIT_ASSERT_EQ(test, 0, put_user(i + 77, (unsigned int __user *)
						  (ADDR + 2 * i * PART)));
	user = p2p_user_create(test, NULL, ADDR, SIZE, true);

	KUNIT_ASSERT_EQ(test, 0, p2p_user_fault(user, ADDR, SIZE, P2P_WRITE));
	hmm_expect_ram(test, user, ADDR, 77);
	hmm_expect_ram(test, user, ADDR + PART - PAGE_SIZE, 0);
	hmm_expect_ram(test, user, ADDR + 2 * PART, 78);
	EXPECT_ALL(test, user, ADDR + PART, PART, P2P_PEER_RW);
	EXPECT_ALL(test, user, ADDR + 3 * PART, PART, P2P_PEER_RW);
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&one->maps));
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&two->maps));
	KUNIT_EXPECT_NOT_NULL(test, p2p_user_extent(user, ADDR + PART));
	KUNIT_EXPECT_NOT_NULL(test, p2p_user_extent(user, ADDR + 3 * PART));
	KUNIT_EXPECT_NULL(test, p2p_user_extent(user, ADDR));

	/* Again: all is there. */
	KUNIT_ASSERT_EQ(test, 0, p2p_user_fault(user, ADDR, SIZE, P2P_WRITE));
	EXPECT_ALL(test, user, ADDR + PART, PART, P2P_PEER_RW);
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&one->maps));
	KUNIT_EXPECT_EQ(test, 0, p2p_fake_unmaps(one));
}

/* When the exporter is asked, the RAM behind its mapping is there. */
static int hmm_map_after_ram(struct p2p_fake *fake, struct vm_area_struct *vma,
			     struct p2p_map_req *req)
{
	*(unsigned long *)fake->priv = get_mm_counter_sum(vma->vm_mm, MM_ANONPAGES);
	return p2p_fake_linear(fake, vma, req);
}

static void hmm_ram_first(struct kunit *test)
{
	struct p2p_fake *fake = p2p_fake_create(test, PART);
	struct p2p_user *user;
	unsigned long pages = 0;

	p2p_fake_mmap(fake, ADDR, PART, 0, PROT_READ | PROT_WRITE);
	p2p_test_anon(test, ADDR + PART, PART);
	user = p2p_user_create(test, NULL, ADDR, SIZE, true);
	fake->map = hmm_map_after_ram;
	fake->priv = &pages;
	KUNIT_ASSERT_EQ(test, 0, p2p_user_fault(user, ADDR, 2 * PART, P2P_WRITE));
	KUNIT_EXPECT_EQ(test, PART >> PAGE_SHIFT, pages);
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&fake->maps));
	fake->priv = NULL;
}

/* Parts of a mapping that come in several extents, of two permissions. */
static int hmm_map_parts(struct p2p_fake *fake, struct vm_area_struct *vma,
			 struct p2p_map_req *req)
{
	unsigned long addr = req->start;
	int ret;

	ret = p2p_fake_grant(fake, req, addr, p2p_fake_phys(fake, vma, addr),
			     PAGES(2), 0);
	if (ret)
		return ret;
	return p2p_fake_grant(fake, req, addr + PAGES(2), fake->region->start,
			      PAGES(1), P2P_EXT_RDONLY);
}

static void hmm_parts(struct kunit *test)
{
	struct p2p_fake *fake = p2p_fake_create(test, SIZE);
	struct p2p_user *user;

	p2p_fake_mmap(fake, ADDR, PAGES(6), 0, PROT_READ | PROT_WRITE);
	user = p2p_user_create(test, NULL, ADDR, SIZE, true);
	fake->map = hmm_map_parts;
	KUNIT_ASSERT_EQ(test, 0,
			p2p_user_fault(user, ADDR, PAGES(6), P2P_READ));
	KUNIT_EXPECT_EQ(test, 2, atomic_read(&fake->maps));
	EXPECT_ALL(test, user, ADDR, PAGES(2), P2P_PEER_RW);
	EXPECT_ALL(test, user, ADDR + PAGES(2), PAGES(1), P2P_PEER_RO);
	EXPECT_ALL(test, user, ADDR + PAGES(3), PAGES(2), P2P_PEER_RW);
	EXPECT_ALL(test, user, ADDR + PAGES(5), PAGES(1), P2P_PEER_RO);
}

static void hmm_hole(struct kunit *test)
{
	struct p2p_fake *fake = p2p_fake_create(test, PART);
	struct p2p_user *user;

	/* peer, nothing, ram */
	p2p_fake_mmap(fake, ADDR, PART, 0, PROT_READ | PROT_WRITE);
	p2p_test_anon(test, ADDR + 2 * PART, PART);
	KUNIT_ASSERT_EQ(test, 0, put_user(77, (unsigned int __user *)
					  (ADDR + 2 * PART)));
	user = p2p_user_create(test, NULL, ADDR, SIZE, true);

	KUNIT_EXPECT_EQ(test, -EFAULT,
			p2p_user_fault(user, ADDR, 3 * PART, P2P_READ));
	KUNIT_EXPECT_EQ(test, -EFAULT,
			p2p_user_fault(user, ADDR + PART, PAGE_SIZE, P2P_READ));
	KUNIT_EXPECT_NULL(test, p2p_user_extent(user, ADDR));
	/* Exporters come last: they need not wait for RAM, nor for its lack. */
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&fake->maps));

	/* Left and right of it all is well. */
	KUNIT_ASSERT_EQ(test, 0, p2p_user_fault(user, ADDR, PART, P2P_READ));
	memset(user->pfns, 0, SIZE / PAGE_SIZE * sizeof(*user->pfns));
	KUNIT_ASSERT_EQ(test, 0, hmm_snapshot(user, ADDR, SIZE));
	EXPECT_ALL(test, user, ADDR, PART, P2P_PEER_RW);
	EXPECT_ALL(test, user, ADDR + PART, PART, HMM_PFN_ERROR);
	hmm_expect_ram(test, user, ADDR + 2 * PART, 77);
	EXPECT_ALL(test, user, ADDR + 3 * PART, PART, HMM_PFN_ERROR);
}

/* A walk that asks for nothing does not bother the exporter. */
static void hmm_snapshot_peer(struct kunit *test)
{
	struct p2p_fake *fake = p2p_fake_create(test, SIZE);
	struct p2p_user *user;

	p2p_fake_mmap(fake, ADDR, SIZE, 0, PROT_READ);
	user = p2p_user_create(test, NULL, ADDR, SIZE, true);
	KUNIT_ASSERT_EQ(test, 0, hmm_snapshot(user, ADDR, SIZE));
	EXPECT_ALL(test, user, ADDR, SIZE, 0);
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&fake->maps));

	fake->map = p2p_fake_one;
	KUNIT_ASSERT_EQ(test, 0,
			p2p_user_fault(user, ADDR + PART, PAGE_SIZE, P2P_READ));
	KUNIT_ASSERT_EQ(test, 0, hmm_snapshot(user, ADDR, SIZE));
	EXPECT_ALL(test, user, ADDR, PART, 0);
	EXPECT_ALL(test, user, ADDR + PART, PAGE_SIZE, P2P_PEER_RO);
	EXPECT_ALL(test, user, ADDR + PART + PAGE_SIZE, PART, 0);
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&fake->maps));
}

/* Requests for some pages only, each with its own permission. */
static void hmm_page_flags(struct kunit *test)
{
	struct p2p_fake *fake = p2p_fake_create(test, SIZE);
	struct p2p_fault fault;
	struct hmm_range range;
	struct p2p_user *user;

	p2p_fake_mmap(fake, ADDR, PART, 0, PROT_READ | PROT_WRITE);
	p2p_fake_mmap(fake, ADDR + PART, PART, PART, PROT_READ);
	user = p2p_user_create(test, NULL, ADDR, SIZE, true);
	fake->map = p2p_fake_one;

	p2p_user_range(user, &range, &fault, ADDR, 2 * PART, 0);
	range.pfn_flags_mask = P2P_WRITE;
	user->pfns[1] = HMM_PFN_REQ_FAULT;
	user->pfns[3] = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE;
	user->pfns[6] = HMM_PFN_REQ_FAULT;
	KUNIT_ASSERT_EQ(test, 0, p2p_user_walk(&range));
	KUNIT_EXPECT_EQ(test, 3, atomic_read(&fake->maps));
	EXPECT_ALL(test, user, ADDR, PAGE_SIZE, 0);
	EXPECT_ALL(test, user, ADDR + PAGES(1), PAGE_SIZE, P2P_PEER_RW);
	EXPECT_ALL(test, user, ADDR + PAGES(2), PAGE_SIZE, 0);
	EXPECT_ALL(test, user, ADDR + PAGES(3), PAGE_SIZE, P2P_PEER_RW);
	EXPECT_ALL(test, user, ADDR + PAGES(4), PAGES(2), 0);
	EXPECT_ALL(test, user, ADDR + PAGES(6), PAGE_SIZE, P2P_PEER_RO);
	p2p_fault_drop(&fault);
	KUNIT_EXPECT_EQ(test, 3, p2p_fake_unmaps(fake));

	/* One page of all asks for more than there is. */
	p2p_user_range(user, &range, &fault, ADDR, 2 * PART, 0);
	range.pfn_flags_mask = P2P_WRITE;
	memset(user->pfns, 0, SIZE / PAGE_SIZE * sizeof(*user->pfns));
	user->pfns[3] = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE;
	user->pfns[6] = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE;
	KUNIT_EXPECT_EQ(test, -EPERM, p2p_user_walk(&range));
	KUNIT_EXPECT_EQ(test, 4, p2p_fake_unmaps(fake));
}

/* PEER comes from an extent and never from the array that the caller passed. */
static void hmm_not_sticky(struct kunit *test)
{
	struct p2p_fake *fake = p2p_fake_create(test, PART);
	unsigned long garbage = ~0UL;
	struct p2p_user *user;
	int i;

	/* peer, hole, ram, peer without a live extent */
	p2p_fake_mmap(fake, ADDR, PART, 0, PROT_READ);
	p2p_test_anon(test, ADDR + 2 * PART, PART);
	p2p_fake_mmap(fake, ADDR + 3 * PART, PART, 0, PROT_READ);
	user = p2p_user_create(test, NULL, ADDR, SIZE, true);
	KUNIT_ASSERT_EQ(test, 0, p2p_user_fault(user, ADDR, PART, P2P_READ));

	for (i = 0; i < SIZE / PAGE_SIZE; i++)
		user->pfns[i] = garbage;
	KUNIT_ASSERT_EQ(test, 0, hmm_snapshot(user, ADDR, SIZE));
	EXPECT_ALL(test, user, ADDR, PART, P2P_PEER_RO | INOUT);
	EXPECT_ALL(test, user, ADDR + PART, PART, HMM_PFN_ERROR | INOUT);
	EXPECT_ALL(test, user, ADDR + 2 * PART, PART, INOUT);
	EXPECT_ALL(test, user, ADDR + 3 * PART, PART, INOUT);
}

/* Who did not ask for it sees peer memory as ever: as memory it cannot have. */
static void hmm_without_peer(struct kunit *test)
{
	struct p2p_fake *fake = p2p_fake_create(test, SIZE);
	struct p2p_fault fault;
	struct hmm_range range;
	struct p2p_user *user;

	p2p_fake_mmap(fake, ADDR, SIZE, 0, PROT_READ);
	user = p2p_user_create(test, NULL, ADDR, SIZE, true);
	KUNIT_ASSERT_EQ(test, 0, p2p_user_fault(user, ADDR, SIZE, P2P_READ));

	p2p_user_range(user, &range, &fault, ADDR, SIZE, P2P_READ);
	range.peer = NULL;
	KUNIT_EXPECT_EQ(test, -EFAULT, p2p_user_walk(&range));
	range.default_flags = 0;
	KUNIT_EXPECT_EQ(test, 0, p2p_user_walk(&range));
	EXPECT_ALL(test, user, ADDR, SIZE, HMM_PFN_ERROR);

	mmap_read_lock(current->mm);
	KUNIT_EXPECT_EQ(test, 0, hmm_range_fault(&range));
	range.default_flags = P2P_READ;
	KUNIT_EXPECT_EQ(test, -EFAULT, hmm_range_fault(&range));
	mmap_read_unlock(current->mm);
	EXPECT_ALL(test, user, ADDR, SIZE, HMM_PFN_ERROR);
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&fake->maps));
	KUNIT_EXPECT_EQ(test, 0, p2p_fake_unmaps(fake));
}

/* And a driver that did not opt in is not asked. */
static void hmm_without_op(struct kunit *test)
{
	struct p2p_fake *fake = p2p_fake_create(test, SIZE);
	struct p2p_user *user;

	fake->vm_ops = &p2p_fake_no_map_ops;
	p2p_fake_mmap(fake, ADDR, SIZE, 0, PROT_READ);
	user = p2p_user_create(test, NULL, ADDR, SIZE, true);
	KUNIT_EXPECT_EQ(test, -EFAULT,
			p2p_user_fault(user, ADDR, SIZE, P2P_READ));
	KUNIT_EXPECT_EQ(test, 0, hmm_snapshot(user, ADDR, SIZE));
	EXPECT_ALL(test, user, ADDR, SIZE, HMM_PFN_ERROR);
}

/* Nor does GUP get what it did not get before. */
static void hmm_gup(struct kunit *test)
{
	struct p2p_fake *fake = p2p_fake_create(test, SIZE);
	struct page *page;

	p2p_fake_mmap(fake, ADDR, SIZE, 0, PROT_READ | PROT_WRITE);
	KUNIT_EXPECT_EQ(test, -EFAULT,
			pin_user_pages_unlocked(ADDR, 1, &page, FOLL_WRITE));
	KUNIT_EXPECT_EQ(test, -EFAULT,
			get_user_pages_unlocked(ADDR, 1, &page, 0));
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&fake->maps));
}

static void hmm_locked_form(struct kunit *test)
{
	struct p2p_fake *fake = p2p_fake_create(test, SIZE);
	struct p2p_fault fault;
	struct hmm_range range;
	struct p2p_user *user;

	p2p_fake_mmap(fake, ADDR, SIZE, 0, PROT_READ);
	user = p2p_user_create(test, NULL, ADDR, SIZE, true);
	p2p_user_range(user, &range, &fault, ADDR, SIZE, P2P_READ);
	range.notifier_seq = mmu_interval_read_begin(&user->mni);
	kunit_warning_suppress(test) {
		mmap_read_lock(current->mm);
		KUNIT_EXPECT_EQ(test, -EINVAL, hmm_range_fault(&range));
		mmap_read_unlock(current->mm);
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 1);
	}
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&fake->maps));
	EXPECT_ALL(test, user, ADDR, SIZE, 0);
}

/* A range that is not the object's is the importer's mistake. */
static void hmm_outside_of_object(struct kunit *test)
{
	struct p2p_fake *fake = p2p_fake_create(test, SIZE);
	struct p2p_user *user;

	p2p_fake_mmap(fake, ADDR, SIZE, 0, PROT_READ);
	user = p2p_user_create(test, NULL, ADDR, SIZE, true);
	user->set.start += PART;
	user->set.end -= PART;
	kunit_warning_suppress(test) {
		struct p2p_fault fault;
		struct hmm_range range;

		p2p_user_range(user, &range, &fault, ADDR + SIZE - PART,
			       PAGE_SIZE, P2P_READ);
		KUNIT_EXPECT_EQ(test, -EINVAL, p2p_user_walk(&range));
		p2p_user_range(user, &range, &fault, ADDR + PART, PAGE_SIZE,
			       P2P_READ);
		range.start -= PAGE_SIZE;
		range.end -= PAGE_SIZE;
		KUNIT_EXPECT_EQ(test, -EINVAL, p2p_user_walk(&range));
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 2);
	}
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&fake->maps));
}

static void hmm_mm_has_p2p(struct kunit *test)
{
	struct p2p_fake *fake = p2p_fake_create(test, PART);
	struct mm_struct *mm;

	p2p_test_anon(test, ADDR, SIZE);
	p2p_fake_mmap(fake, ADDR + PART, PART, 0, PROT_READ);
	fake->vm_ops = &p2p_fake_no_map_ops;
	p2p_fake_mmap(fake, ADDR + 3 * PART, PART, 0, PROT_READ);
	mm = current->mm;
	KUNIT_EXPECT_TRUE(test, p2p_mm_has_p2p(mm, ADDR, ADDR + SIZE));
	KUNIT_EXPECT_TRUE(test, p2p_mm_has_p2p(mm, ADDR, ADDR + PART + 1));
	KUNIT_EXPECT_TRUE(test, p2p_mm_has_p2p(mm, ADDR + 2 * PART - 1,
					       ADDR + SIZE));
	KUNIT_EXPECT_FALSE(test, p2p_mm_has_p2p(mm, ADDR, ADDR + PART));
	KUNIT_EXPECT_FALSE(test, p2p_mm_has_p2p(mm, ADDR + 2 * PART,
						ADDR + 2 * SIZE));
}

/* Races */

static void hmm_zap_once(struct p2p_user *user)
{
	struct p2p_fake *fake = user->priv;

	user->before_commit = NULL;
	unmap_mapping_range(fake->file->f_mapping, 0, 0, 1);
}

/* What was granted before an invalidation does not become live after it. */
static void hmm_invalidated_before_commit(struct kunit *test)
{
	struct p2p_fake *fake = p2p_fake_create(test, SIZE);
	struct p2p_user *user;

	p2p_fake_mmap(fake, ADDR, SIZE, 0, PROT_READ);
	user = p2p_user_create(test, NULL, ADDR, SIZE, true);
	user->before_commit = hmm_zap_once;
	user->priv = fake;
	KUNIT_ASSERT_EQ(test, 0, p2p_user_fault(user, ADDR, SIZE, P2P_READ));
	KUNIT_EXPECT_EQ(test, 1, user->retries);
	KUNIT_EXPECT_EQ(test, 0, user->cuts);
	KUNIT_EXPECT_EQ(test, 2, atomic_read(&fake->maps));
	KUNIT_EXPECT_EQ(test, 1, p2p_fake_unmaps(fake));
	KUNIT_EXPECT_NOT_NULL(test, p2p_user_extent(user, ADDR));
}

/* Invalidates after its grant, in the first @fake->priv calls. */
static int hmm_map_and_zap(struct p2p_fake *fake, struct vm_area_struct *vma,
			   struct p2p_map_req *req)
{
	int ret = p2p_fake_linear(fake, vma, req);

	if (atomic_read(&fake->maps) <= (unsigned long)fake->priv)
		unmap_mapping_range(fake->file->f_mapping, 0, 0, 1);
	return ret;
}

static void hmm_invalidated_in_walk(struct kunit *test)
{
	struct p2p_fake *first = p2p_fake_create(test, PART);
	struct p2p_fake *fake = p2p_fake_create(test, PART);
	struct p2p_user *user;

	p2p_fake_mmap(first, ADDR, PART, 0, PROT_READ);
	p2p_fake_mmap(fake, ADDR + PART, PART, 0, PROT_READ);
	user = p2p_user_create(test, NULL, ADDR, SIZE, true);
	fake->map = hmm_map_and_zap;
	fake->priv = (void *)2;
	KUNIT_ASSERT_EQ(test, 0, p2p_user_fault(user, ADDR, 2 * PART, P2P_READ));
	KUNIT_EXPECT_EQ(test, 0, user->retries);
	KUNIT_EXPECT_EQ(test, 2, user->invalidations);
	KUNIT_EXPECT_EQ(test, 3, atomic_read(&fake->maps));
	KUNIT_EXPECT_EQ(test, 2, p2p_fake_unmaps(fake));
	KUNIT_EXPECT_EQ(test, 3, atomic_read(&first->maps));
	KUNIT_EXPECT_EQ(test, 2, p2p_fake_unmaps(first));
	KUNIT_EXPECT_NOT_NULL(test, p2p_user_extent(user, ADDR));
	KUNIT_EXPECT_NOT_NULL(test, p2p_user_extent(user, ADDR + PART));
}

/* It gives up in the end, and gives everything back. */
static void hmm_invalidated_for_ever(struct kunit *test)
{
	struct p2p_fake *fake = p2p_fake_create(test, SIZE);
	struct p2p_fault fault;
	struct hmm_range range;
	struct p2p_user *user;

	p2p_fake_mmap(fake, ADDR, SIZE, 0, PROT_READ);
	user = p2p_user_create(test, NULL, ADDR, SIZE, true);
	fake->map = hmm_map_and_zap;
	fake->priv = (void *)ULONG_MAX;
	p2p_user_range(user, &range, &fault, ADDR, SIZE, P2P_READ);
	KUNIT_EXPECT_EQ(test, -EBUSY,
			hmm_range_fault_unlocked_timeout(&range, HZ / 10));
	KUNIT_EXPECT_TRUE(test, RB_EMPTY_ROOT(&fault.pending.rb_root));
	KUNIT_EXPECT_TRUE(test, p2p_fake_all_unmapped(fake));
	KUNIT_EXPECT_EQ(test, 0, fake->exporter.users);
}

/* A second call of the same fault starts afresh. */
static void hmm_walk_again(struct kunit *test)
{
	struct p2p_fake *fake = p2p_fake_create(test, SIZE);
	struct p2p_fault fault;
	struct hmm_range range;
	struct p2p_user *user;

	p2p_fake_mmap(fake, ADDR, SIZE, 0, PROT_READ);
	user = p2p_user_create(test, NULL, ADDR, SIZE, true);
	p2p_user_range(user, &range, &fault, ADDR, SIZE, P2P_READ);
	KUNIT_ASSERT_EQ(test, 0, p2p_user_walk(&range));
	KUNIT_ASSERT_EQ(test, 0, p2p_user_walk(&range));
	KUNIT_EXPECT_EQ(test, 2, atomic_read(&fake->maps));
	KUNIT_EXPECT_EQ(test, 1, p2p_fake_unmaps(fake));
	p2p_user_commit(user, &fault, range.notifier_seq);
	KUNIT_EXPECT_NOT_NULL(test, p2p_user_extent(user, ADDR));
}

static struct kunit_case p2p_hmm_cases[] = {
	KUNIT_CASE(hmm_mixed),
	KUNIT_CASE(hmm_ram_first),
	KUNIT_CASE(hmm_parts),
	KUNIT_CASE(hmm_hole),
	KUNIT_CASE(hmm_snapshot_peer),
	KUNIT_CASE(hmm_page_flags),
	KUNIT_CASE(hmm_not_sticky),
	KUNIT_CASE(hmm_without_peer),
	KUNIT_CASE(hmm_without_op),
	KUNIT_CASE(hmm_gup),
	KUNIT_CASE(hmm_locked_form),
	KUNIT_CASE(hmm_outside_of_object),
	KUNIT_CASE(hmm_mm_has_p2p),
	KUNIT_CASE(hmm_invalidated_before_commit),
	KUNIT_CASE(hmm_invalidated_in_walk),
	KUNIT_CASE(hmm_invalidated_for_ever),
	KUNIT_CASE(hmm_walk_again),
	{}
};

static struct kunit_suite p2p_hmm_suite = {
	.name = "p2p_hmm",
	.suite_init = p2p_refusals_start,
	.suite_exit = p2p_refusals_stop,
	.test_cases = p2p_hmm_cases,
};

kunit_test_suite(p2p_hmm_suite);

MODULE_DESCRIPTION("KUnit tests of the hmm walk over peer memory");
MODULE_LICENSE("GPL");
