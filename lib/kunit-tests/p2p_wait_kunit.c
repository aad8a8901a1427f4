// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of waiting: an exporter whose memory is on the move asks the
 * importer to come again.
 */
#include <linux/delay.h>
#include <linux/jiffies.h>
#include <linux/mman.h>
#include <linux/rwsem.h>
#include <linux/workqueue.h>

#include "p2p_kunit.h"

#define ADDR		P2P_TEST_ADDR
#define SIZE		(16 * PAGE_SIZE)
#define BOUND		300	/* ms; what p2p_vma.wait_ms is in a short test */
#define LONG		60000	/* ms; longer than any test */

/* An exporter that moves its memory until @opens calls have been made. */
struct wait_test {
	struct p2p_fake *fake;
	struct p2p_user *user;
	struct mm_struct *mm;
	unsigned int opens;	/* grants from this call on, 0: never */
	bool wake_at_once;
	struct delayed_work mover;

	/* what the mover found */
	struct p2p_fake *other;
	int other_unmaps;
	bool unlocked;
};

static int wait_map(struct p2p_fake *fake, struct vm_area_struct *vma,
		    struct p2p_map_req *req)
{
	struct wait_test *t = fake->priv;
	int ret;

	if (t->opens && atomic_read(&fake->maps) >= t->opens)
		return p2p_fake_linear(fake, vma, req);
	ret = p2p_req_wait(req, &fake->exporter);
	if (t->wake_at_once)
		p2p_wake(&fake->exporter);
	return ret;
}

/* A mover may need mmap_lock, and what others hold. */
static void wait_mover(struct work_struct *work)
{
	struct wait_test *t = container_of(work, struct wait_test, mover.work);

	if (t->other)
		t->other_unmaps = p2p_fake_unmaps(t->other);
	t->unlocked = !rwsem_is_locked(&t->mm->mmap_lock);
	p2p_wake(&t->fake->exporter);
}

static void wait_detach(struct work_struct *work)
{
	struct wait_test *t = container_of(work, struct wait_test, mover.work);

	p2p_fake_detach(t->fake);
}

static void wait_end(void *data)
{
	struct wait_test *t = data;

	cancel_delayed_work_sync(&t->mover);
}

static struct wait_test *wait_create(struct kunit *test, unsigned int ms)
{
	struct wait_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, t);
	p2p_refusals_take();
	p2p_test_wait_ms(test, ms);
	t->fake = p2p_fake_create(test, SIZE);
	t->fake->priv = t;
	t->fake->map = wait_map;
	p2p_fake_mmap(t->fake, ADDR, SIZE, 0, PROT_READ);
	t->user = p2p_user_create(test, NULL, ADDR - SIZE, 2 * SIZE, true);
	t->mm = current->mm;
	INIT_DELAYED_WORK(&t->mover, wait_mover);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, wait_end, t));
	return t;
}

static int wait_fault(struct wait_test *t)
{
	return p2p_user_fault(t->user, ADDR, SIZE, P2P_READ);
}

/* Woken, it asks again, and nothing was held while it slept. */
static void wait_until_woken(struct kunit *test)
{
	struct wait_test *t = wait_create(test, LONG);

	t->opens = 2;
	schedule_delayed_work(&t->mover, HZ / 10);
	KUNIT_EXPECT_EQ(test, 0, wait_fault(t));
	KUNIT_EXPECT_EQ(test, 2, atomic_read(&t->fake->maps));
	KUNIT_EXPECT_TRUE(test, t->unlocked);
	KUNIT_EXPECT_EQ(test, P2P_PEER_RO, p2p_user_pfn(t->user, ADDR));
	KUNIT_EXPECT_NOT_NULL(test, p2p_user_extent(t->user, ADDR));
	KUNIT_EXPECT_EQ(test, 0, p2p_refusals_take());
	KUNIT_EXPECT_EQ(test, 1, t->fake->exporter.users);
}

/* A wake that comes before the sleep is not lost. */
static void wait_woken_early(struct kunit *test)
{
	struct wait_test *t = wait_create(test, LONG);
	unsigned long begin = jiffies;

	t->opens = 4;
	t->wake_at_once = true;
	KUNIT_EXPECT_EQ(test, 0, wait_fault(t));
	KUNIT_EXPECT_EQ(test, 4, atomic_read(&t->fake->maps));
	KUNIT_EXPECT_LT(test, jiffies_to_msecs(jiffies - begin), LONG / 2);
}

static void wait_for_ever(struct kunit *test)
{
	struct wait_test *t = wait_create(test, BOUND);
	unsigned long begin = jiffies;

	P2P_EXPECT_REFUSED(test, wait_fault(t), -ETIMEDOUT,
			   P2P_REASON_WAIT_TIMEOUT);
	KUNIT_EXPECT_GE(test, jiffies_to_msecs(jiffies - begin), BOUND);
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&t->fake->maps));
	KUNIT_EXPECT_EQ(test, 0, t->fake->exporter.users);
	KUNIT_EXPECT_NULL(test, p2p_user_extent(t->user, ADDR));
	/* mmap_lock is free, and the range can be had later. */
	KUNIT_EXPECT_FALSE(test, rwsem_is_locked(&t->mm->mmap_lock));
	t->opens = 1;
	KUNIT_EXPECT_EQ(test, 0, wait_fault(t));
}

/*
 * The bound is on all waits of one fault, however often they are woken; a wait
 * that takes no time counts as a jiffy.
 */
static void wait_woken_for_ever(struct kunit *test)
{
	struct wait_test *t = wait_create(test, BOUND);

	t->wake_at_once = true;
	P2P_EXPECT_REFUSED(test, wait_fault(t), -ETIMEDOUT,
			   P2P_REASON_WAIT_TIMEOUT);
	KUNIT_EXPECT_GT(test, atomic_read(&t->fake->maps), 1);
	KUNIT_EXPECT_LE(test, atomic_read(&t->fake->maps),
			msecs_to_jiffies(BOUND) + 1);
}

static int wait_map_slowly(struct p2p_fake *fake, struct vm_area_struct *vma,
			   struct p2p_map_req *req)
{
	struct wait_test *t = fake->priv;

	t->wake_at_once = true;
	msleep(BOUND);
	return wait_map(fake, vma, req);
}

/* Other things may take their time: a wait is what is bounded. */
static void wait_is_bounded_not_work(struct kunit *test)
{
	struct wait_test *t = wait_create(test, BOUND);

	t->fake->map = wait_map_slowly;
	t->opens = 4;
	KUNIT_EXPECT_EQ(test, 0, wait_fault(t));
	KUNIT_EXPECT_EQ(test, 4, atomic_read(&t->fake->maps));
}

/* Who waits holds nothing that another exporter may wait for. */
static void wait_drops_pending(struct kunit *test)
{
	struct wait_test *t = wait_create(test, LONG);

	t->other = p2p_fake_create(test, SIZE);
	p2p_fake_mmap(t->other, ADDR - SIZE, SIZE, 0, PROT_READ);
	t->opens = 2;
	schedule_delayed_work(&t->mover, HZ / 10);
	KUNIT_EXPECT_EQ(test, 0,
			p2p_user_fault(t->user, ADDR - SIZE, 2 * SIZE, P2P_READ));
	KUNIT_EXPECT_EQ(test, 1, t->other_unmaps);
	KUNIT_EXPECT_EQ(test, 2, atomic_read(&t->other->maps));
	KUNIT_EXPECT_EQ(test, 1, p2p_fake_unmaps(t->other));
	KUNIT_EXPECT_NOT_NULL(test, p2p_user_extent(t->user, ADDR - SIZE));
	KUNIT_EXPECT_NOT_NULL(test, p2p_user_extent(t->user, ADDR));
}

static int wait_map_half(struct p2p_fake *fake, struct vm_area_struct *vma,
			 struct p2p_map_req *req)
{
	struct wait_test *t = fake->priv;

	if (atomic_read(&fake->maps) >= t->opens)
		return p2p_fake_linear(fake, vma, req);
	p2p_fake_grant(fake, req, ADDR, fake->region->start, SIZE / 2, 0);
	return p2p_req_wait(req, &fake->exporter);
}

/* What was granted beside a wait does not count. */
static void wait_after_grant(struct kunit *test)
{
	struct wait_test *t = wait_create(test, LONG);
	struct p2p_extent *ext;

	t->fake->map = wait_map_half;
	t->opens = 2;
	schedule_delayed_work(&t->mover, HZ / 10);
	KUNIT_EXPECT_EQ(test, 0, wait_fault(t));
	KUNIT_EXPECT_EQ(test, 1, p2p_fake_unmaps(t->fake));
	ext = p2p_user_extent(t->user, ADDR);
	KUNIT_ASSERT_NOT_NULL(test, ext);
	KUNIT_EXPECT_EQ(test, SIZE, ext->len);
}

static int wait_map_and_grant(struct p2p_fake *fake, struct vm_area_struct *vma,
			      struct p2p_map_req *req)
{
	p2p_req_wait(req, &fake->exporter);
	return p2p_fake_linear(fake, vma, req);
}

/* An exporter that asked to wait and then need not. */
static void wait_not_needed(struct kunit *test)
{
	struct wait_test *t = wait_create(test, LONG);

	t->fake->map = wait_map_and_grant;
	KUNIT_EXPECT_EQ(test, 0, wait_fault(t));
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&t->fake->maps));
	/* Of the extent, and not of the wait. */
	KUNIT_EXPECT_EQ(test, 1, t->fake->exporter.users);
}

static int wait_map_twice(struct p2p_fake *fake, struct vm_area_struct *vma,
			  struct p2p_map_req *req)
{
	p2p_req_wait(req, &fake->exporter);
	return wait_map(fake, vma, req);
}

static void wait_asked_twice(struct kunit *test)
{
	struct wait_test *t = wait_create(test, LONG);

	t->fake->map = wait_map_twice;
	t->opens = 2;
	schedule_delayed_work(&t->mover, HZ / 10);
	KUNIT_EXPECT_EQ(test, 0, wait_fault(t));
	KUNIT_EXPECT_EQ(test, 1, t->fake->exporter.users);
}

/* remove() does not wait for those who wait. */
static void wait_detached(struct kunit *test)
{
	struct wait_test *t = wait_create(test, LONG);
	unsigned long begin = jiffies;

	INIT_DELAYED_WORK(&t->mover, wait_detach);
	schedule_delayed_work(&t->mover, HZ / 10);
	P2P_EXPECT_REFUSED(test, wait_fault(t), -ENODEV, P2P_REASON_EXPORTER);
	KUNIT_EXPECT_LT(test, jiffies_to_msecs(jiffies - begin), LONG / 2);
	flush_delayed_work(&t->mover);
	KUNIT_EXPECT_TRUE(test, t->fake->detached);
	KUNIT_EXPECT_EQ(test, 0, t->fake->exporter.users);
}

static struct kunit_case p2p_wait_cases[] = {
	KUNIT_CASE(wait_until_woken),
	KUNIT_CASE(wait_woken_early),
	KUNIT_CASE(wait_for_ever),
	KUNIT_CASE(wait_woken_for_ever),
	KUNIT_CASE(wait_is_bounded_not_work),
	KUNIT_CASE(wait_drops_pending),
	KUNIT_CASE(wait_after_grant),
	KUNIT_CASE(wait_not_needed),
	KUNIT_CASE(wait_asked_twice),
	KUNIT_CASE(wait_detached),
	{}
};

static struct kunit_suite p2p_wait_suite = {
	.name = "p2p_wait",
	.suite_init = p2p_refusals_start,
	.suite_exit = p2p_refusals_stop,
	.test_cases = p2p_wait_cases,
};

kunit_test_suite(p2p_wait_suite);

MODULE_DESCRIPTION("KUnit tests of waiting for p2p exporters");
MODULE_LICENSE("GPL");
