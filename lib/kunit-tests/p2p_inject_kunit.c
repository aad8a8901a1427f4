// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of faults that go wrong: each allocation on the way fails once,
 * and another fault of the same importer is faster.
 */
#include <linux/error-injection.h>
#include <linux/kprobes.h>
#include <linux/mman.h>

#include "p2p_kunit.h"
#include "../../mm/p2p_vma.h"

#define ADDR		P2P_TEST_ADDR
#define SIZE		(4 * PAGE_SIZE)
#define MAX_NTH		200

/* Out of memory */

static struct task_struct *inject_task;
static int inject_nth;		/* the allocation that fails, counted down */

/* An interrupt of the task allocates too, but never with a gfp that may wait. */
static bool inject_now(gfp_t gfp)
{
	return current == READ_ONCE(inject_task) && !(gfp & __GFP_NOFAIL) &&
	       gfpflags_allow_blocking(gfp) &&
	       !--inject_nth;
}

static int inject_slab(struct kprobe *p, struct pt_regs *regs)
{
	if (!inject_now(regs_get_kernel_argument(regs, 1)))
		return 0;
	regs_set_return_value(regs, -ENOMEM);
	override_function_with_return(regs);
	return 1;
}

static int inject_pages(struct kprobe *p, struct pt_regs *regs)
{
	if (!inject_now(regs_get_kernel_argument(regs, 0)))
		return 0;
	regs_set_return_value(regs, true);
	override_function_with_return(regs);
	return 1;
}

/* With one, the probe is not optimized into a jump, which cannot return early. */
static void inject_post(struct kprobe *p, struct pt_regs *regs,
			unsigned long flags)
{
}

static void inject_unregister(void *p)
{
	unregister_kprobe(p);
}

static void inject_probe(struct kunit *test, struct kprobe *p)
{
	/* A probe that was registered once keeps its address. */
	p->addr = NULL;
	p->flags = 0;
	KUNIT_ASSERT_EQ(test, 0, register_kprobe(p));
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, inject_unregister, p));
}

static void inject_start(struct kunit *test)
{
	static struct kprobe probes[] = {
		{ .symbol_name = "should_failslab", .pre_handler = inject_slab,
		  .post_handler = inject_post },
		{ .symbol_name = "should_fail_alloc_page",
		  .pre_handler = inject_pages, .post_handler = inject_post },
	};

	inject_probe(test, &probes[0]);
	inject_probe(test, &probes[1]);
}

static bool inject_leaves_nothing(struct p2p_fake *fake)
{
	return p2p_fake_all_unmapped(fake) && !fake->exporter.users;
}

/*
 * Fault with the first allocation failing, then the second... until none fails
 * any more. Returns how many faults failed.
 */
static int inject_each(struct kunit *test, struct p2p_fake *fake,
		       struct p2p_user *user)
{
	int nth, ret, left, errors = 0;

	p2p_refusals_take();
	for (nth = 1; nth < MAX_NTH; nth++) {
		inject_nth = nth;
		WRITE_ONCE(inject_task, current);
		ret = p2p_user_fault(user, user->set.start,
				     user->set.end - user->set.start, P2P_READ);
		WRITE_ONCE(inject_task, NULL);
		left = inject_nth;
		if (ret) {
			errors++;
			KUNIT_EXPECT_EQ_MSG(test, -ENOMEM, ret, "nth %d", nth);
			KUNIT_EXPECT_LE_MSG(test, left, 0, "nth %d", nth);
			KUNIT_EXPECT_TRUE_MSG(test, inject_leaves_nothing(fake),
					      "nth %d", nth);
			KUNIT_EXPECT_NULL(test, p2p_user_extent(user, ADDR));
		} else {
			KUNIT_EXPECT_NOT_NULL(test, p2p_user_extent(user, ADDR));
			if (left > 0)
				break;
			/* It did without. */
			unmap_mapping_range(fake->file->f_mapping, 0, 0, 1);
			KUNIT_EXPECT_TRUE_MSG(test, inject_leaves_nothing(fake),
					      "nth %d", nth);
		}
	}
	KUNIT_EXPECT_LT(test, nth, MAX_NTH);
	return errors;
}

/*
 * At least so many allocations must not fail: slab may need a page for one. Each
 * failure is a refusal that somebody can see.
 */
static void inject_expect(struct kunit *test, struct p2p_fake *fake,
			  struct p2p_user *user, int needed)
{
	int errors = inject_each(test, fake, user);

	KUNIT_EXPECT_GE(test, errors, needed);
	KUNIT_EXPECT_EQ(test, errors, p2p_refusals_take());
}

static void inject_copy(struct kunit *test)
{
	struct p2p_fake *fake = p2p_fake_create(test, SIZE);
	struct p2p_user *user;

	p2p_fake_mmap(fake, ADDR, SIZE, 0, PROT_READ);
	user = p2p_user_create(test, NULL, ADDR, SIZE, true);
	inject_start(test);
	inject_expect(test, fake, user, 1);
}

/* One page each: the first may be granted when the second fails. */
static int inject_map_two(struct p2p_fake *fake, struct vm_area_struct *vma,
			  struct p2p_map_req *req)
{
	int ret = p2p_fake_one(fake, vma, req);

	return ret ?: p2p_fake_grant(fake, req, req->start + PAGE_SIZE,
				     p2p_fake_phys(fake, vma,
						   req->start + PAGE_SIZE),
				     PAGE_SIZE, 0);
}

static void inject_copy_many(struct kunit *test)
{
	struct p2p_fake *fake = p2p_fake_create(test, SIZE);
	struct p2p_user *user;

	p2p_fake_mmap(fake, ADDR, SIZE, 0, PROT_READ);
	user = p2p_user_create(test, NULL, ADDR, SIZE, true);
	fake->map = inject_map_two;
	inject_start(test);
	inject_expect(test, fake, user, 4);
}

/* The kernel mapping of a BAR */
static void inject_ioremap(struct kunit *test)
{
	struct p2p_fake *fake = p2p_fake_create(test, SIZE);
	struct p2p_fake *plain = p2p_fake_attach(test, fake->region);
	struct p2p_user *user;

	p2p_fake_mmap(plain, ADDR, SIZE, 0, PROT_READ);
	user = p2p_user_create(test, NULL, ADDR, SIZE, true);
	inject_start(test);
	/* The extent, and at least the vm area */
	inject_expect(test, plain, user, 2);
}

/* A mapping of a device */
static void inject_dma(struct kunit *test)
{
	struct p2p_fake *fake = p2p_fake_create(test, SIZE);
	struct p2p_user *user;

	p2p_fake_evict(fake);
	p2p_fake_mmap(fake, ADDR, SIZE, 0, PROT_READ);
	user = p2p_user_create(test, p2p_test_device(test), ADDR, SIZE, true);
	inject_start(test);
	inject_expect(test, fake, user, 1);
}

/* Peer memory and then RAM that has to be allocated */
static void inject_mixed(struct kunit *test)
{
	struct p2p_fake *fake = p2p_fake_create(test, SIZE);
	struct p2p_user *user;

	p2p_fake_mmap(fake, ADDR, SIZE, 0, PROT_READ);
	p2p_test_mmap(test, NULL, ADDR + SIZE, SIZE, 0, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS);
	user = p2p_user_create(test, NULL, ADDR, 2 * SIZE, true);
	inject_start(test);
	KUNIT_EXPECT_GE(test, inject_each(test, fake, user), 2);
}

/* Lost races */

/*
 * Two faults want the same page, and the first commits its extent when the
 * second has seen that there is none and is about to ask for one.
 */
static void race_run(struct kunit *test, unsigned long flags)
{
	struct p2p_fake *fake = p2p_fake_create(test, SIZE);
	struct p2p_fault second;
	struct p2p_user *user;
	int ret;

	p2p_fake_mmap(fake, ADDR, SIZE, 0, PROT_READ | PROT_WRITE);
	user = p2p_user_create(test, NULL, ADDR, SIZE, true);
	KUNIT_ASSERT_EQ(test, 0, p2p_user_fault(user, ADDR, PAGE_SIZE, flags));
	p2p_refusals_take();

	p2p_fault_init(&second, &user->set);
	mmap_read_lock(current->mm);
	ret = p2p_fault_map(&second, vma_lookup(current->mm, ADDR), ADDR,
			    ADDR + PAGE_SIZE, mmu_interval_read_begin(&user->mni),
			    flags == P2P_WRITE);
	mmap_read_unlock(current->mm);

	KUNIT_EXPECT_EQ(test, 0, ret);
	KUNIT_EXPECT_EQ(test, 0, p2p_refusals_take());
	KUNIT_EXPECT_TRUE(test, RB_EMPTY_ROOT(&second.pending.rb_root));
	KUNIT_EXPECT_NOT_NULL(test, p2p_user_extent(user, ADDR));
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&fake->maps));
	p2p_fault_drop(&second);
}

static void race_read(struct kunit *test)
{
	race_run(test, P2P_READ);
}

static void race_write(struct kunit *test)
{
	race_run(test, P2P_WRITE);
}

static struct kunit_case p2p_inject_cases[] = {
	KUNIT_CASE(inject_copy),
	KUNIT_CASE(inject_copy_many),
	KUNIT_CASE(inject_ioremap),
	KUNIT_CASE(inject_dma),
	KUNIT_CASE(inject_mixed),
	KUNIT_CASE(race_read),
	KUNIT_CASE(race_write),
	{}
};

static struct kunit_suite p2p_inject_suite = {
	.name = "p2p_inject",
	.suite_init = p2p_refusals_start,
	.suite_exit = p2p_refusals_stop,
	.test_cases = p2p_inject_cases,
};

kunit_test_suite(p2p_inject_suite);

MODULE_DESCRIPTION("KUnit tests of p2p faults that fail or lose");
MODULE_LICENSE("GPL");
