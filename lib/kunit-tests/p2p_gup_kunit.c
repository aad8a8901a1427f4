// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of get_user_pages() on the mapping of an exporter with pages: what
 * it gets, and who gets what they always got; and of grants that race with a
 * revocation.
 */
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/memremap.h>
#include <linux/mman.h>
#include <linux/p2p_held.h>
#include <linux/rwsem.h>
#include <linux/sched/mm.h>
#include <linux/workqueue.h>

#include "p2p_pages.h"

#define ADDR	P2P_TEST_ADDR
#define BOUND	300	/* ms */
#define LONG	60000	/* ms; longer than any test */

#define TO_READ	FOLL_PCI_P2PDMA
#define TO_WRITE	(FOLL_PCI_P2PDMA | FOLL_WRITE)

static int gup_pin(unsigned long addr, int nr, unsigned int flags,
		   struct page **pages)
{
	return pin_user_pages_fast(addr, nr, flags, pages);
}

/* One page, which is given back. */
static int gup_try(unsigned long addr, unsigned int flags)
{
	struct page *page;
	int ret = gup_pin(addr, 1, flags, &page);

	if (ret == 1)
		unpin_user_page(page);
	return ret;
}

static void gup_pins(struct kunit *test)
{
	struct p2p_fake *fake = pages_fake(test, 0);
	struct page *pages[PAGES_MAX];
	int i;

	KUNIT_ASSERT_EQ(test, PAGES_MAX,
			gup_pin(ADDR, PAGES_MAX, TO_WRITE, pages));
	for (i = 0; i < PAGES_MAX; i++) {
		KUNIT_EXPECT_PTR_EQ(test, pages_page(fake, i), pages[i]);
		KUNIT_EXPECT_EQ(test, 1 + GUP_PIN_COUNTING_BIAS,
				pages_refs(fake, i));
	}
	/* Asked once, and the extent does not wait for the end of the pin. */
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&fake->maps));
	KUNIT_EXPECT_TRUE(test, fake->req.pages);
	KUNIT_EXPECT_NULL(test, fake->req.importer);
	KUNIT_EXPECT_EQ(test, ADDR, fake->req.window_start);
	KUNIT_EXPECT_EQ(test, ADDR + PAGES_MAX * PAGE_SIZE,
			fake->req.window_end);
	KUNIT_EXPECT_EQ(test, 1, p2p_fake_unmaps(fake));
	KUNIT_EXPECT_EQ(test, 0, fake->exporter.users);
	unpin_user_pages(pages, PAGES_MAX);
	KUNIT_EXPECT_TRUE(test, pages_rest(fake, PAGES_MAX));
}

/* Pages in the middle of a folio; the count is that of the folio. */
static void gup_pins_large(struct kunit *test)
{
	struct p2p_fake *fake = pages_fake(test, PAGES_2M);
	struct page *pages[3];
	int i;

	KUNIT_ASSERT_EQ(test, 3, gup_pin(ADDR + 5 * PAGE_SIZE, 3, TO_WRITE, pages));
	for (i = 0; i < 3; i++)
		KUNIT_EXPECT_PTR_EQ(test, pages_page(fake, 5 + i), pages[i]);
	KUNIT_EXPECT_EQ(test, 4, pages_refs(fake, 0));
	unpin_user_pages(pages, 3);
	KUNIT_EXPECT_EQ(test, 1, pages_refs(fake, 0));
}

static void gup_gets(struct kunit *test)
{
	struct p2p_fake *fake = pages_fake(test, 0);
	struct page *pages[2];

	KUNIT_ASSERT_EQ(test, 2, get_user_pages_fast(ADDR + PAGE_SIZE, 2, TO_READ,
						     pages));
	KUNIT_EXPECT_PTR_EQ(test, pages_page(fake, 1), pages[0]);
	KUNIT_EXPECT_EQ(test, 2, pages_refs(fake, 1));
	KUNIT_EXPECT_EQ(test, 2, pages_refs(fake, 2));
	put_page(pages[0]);
	put_page(pages[1]);
	KUNIT_EXPECT_TRUE(test, pages_rest(fake, PAGES_MAX));
}

/* Who does not say that he can handle such pages, or keeps them: as ever. */
static void gup_others(struct kunit *test)
{
	struct p2p_fake *fake = pages_fake(test, 0);
	struct page *page;
	int locked = 1;

	p2p_refusals_take();
	KUNIT_EXPECT_EQ(test, -EFAULT, gup_try(ADDR, 0));
	KUNIT_EXPECT_EQ(test, -EFAULT, gup_try(ADDR, FOLL_WRITE));
	KUNIT_EXPECT_EQ(test, -EFAULT, gup_try(ADDR, FOLL_LONGTERM));
	KUNIT_EXPECT_EQ(test, -EFAULT,
			gup_try(ADDR, FOLL_LONGTERM | FOLL_WRITE));
	KUNIT_EXPECT_EQ(test, -EFAULT,
			get_user_pages_fast(ADDR, 1, FOLL_WRITE, &page));
	mmap_read_lock(current->mm);
	KUNIT_EXPECT_EQ(test, -EFAULT,
			pin_user_pages_remote(current->mm, ADDR, 1, 0, &page,
					      &locked));
	if (locked)
		mmap_read_unlock(current->mm);
	/* Nobody asked the exporter. */
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&fake->maps));
	KUNIT_EXPECT_EQ(test, 0, p2p_refusals_take());
}

static int gup_map_wait(struct p2p_fake *fake, struct vm_area_struct *vma,
			struct p2p_map_req *req)
{
	return p2p_req_wait(req, &fake->exporter);
}

/* An exporter that has no pages, beside one that has */
static void gup_no_pages(struct kunit *test)
{
	unsigned long addr = ADDR + PAGES_MAX * PAGE_SIZE;
	struct p2p_fake *other, *fake = pages_fake(test, 0);
	unsigned long begin = jiffies;

	other = p2p_fake_attach(test, fake->region);
	p2p_fake_mmap(other, addr, PAGE_SIZE, 0, PROT_READ | PROT_WRITE);
	p2p_test_wait_ms(test, LONG);
	p2p_refusals_take();
	P2P_EXPECT_REFUSED(test, gup_try(addr, TO_WRITE), -EFAULT,
			   P2P_REASON_NO_PAGES);
	/* Nor is it waited for. */
	other->map = gup_map_wait;
	P2P_EXPECT_REFUSED(test, gup_try(addr, TO_READ), -EFAULT,
			   P2P_REASON_NO_PAGES);
	KUNIT_EXPECT_LT(test, jiffies_to_msecs(jiffies - begin), LONG / 2);
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&other->granted));
}

/* RAM, device memory by two mappings, and RAM in one call */
static void gup_mixed(struct kunit *test)
{
	struct p2p_fake *fake = pages_fake(test, 0);
	unsigned long start = ADDR - 2 * PAGE_SIZE;
	unsigned long len = PAGES_MAX * PAGE_SIZE;
	struct page **pages;
	int i, ret, nr = 4 + 2 * PAGES_MAX;

	pages = kunit_kcalloc(test, nr, sizeof(*pages), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, pages);
	p2p_test_anon(test, start, 2 * PAGE_SIZE);
	p2p_fake_mmap(fake, ADDR + len, len, len, PROT_READ | PROT_WRITE);
	p2p_test_anon(test, ADDR + 2 * len, 2 * PAGE_SIZE);
	/* A call ends behind peer memory. */
	for (i = 0; i < nr; i += ret) {
		ret = gup_pin(start + i * PAGE_SIZE, nr - i, TO_WRITE,
			      pages + i);
		KUNIT_ASSERT_EQ(test, i < 2 ? 2 + PAGES_MAX :
				      i < nr - 2 ? PAGES_MAX : 2, ret);
	}
	for (i = 0; i < nr; i++) {
		bool ram = i < 2 || i >= nr - 2;

		KUNIT_EXPECT_EQ(test, !ram, is_pci_p2pdma_page(pages[i]));
		if (!ram)
			KUNIT_EXPECT_PTR_EQ(test, pages_page(fake, i - 2),
					    pages[i]);
	}
	KUNIT_EXPECT_EQ(test, 2, atomic_read(&fake->maps));
	unpin_user_pages(pages, nr);
	/* A hole behind it: as much as there is. */
	KUNIT_EXPECT_EQ(test, 2, gup_pin(ADDR + 2 * len, 3, TO_WRITE, pages));
	unpin_user_pages(pages, 2);
	KUNIT_EXPECT_TRUE(test, pages_rest(fake, 2 * PAGES_MAX));
}

/* An exporter that grants piece by piece is asked again. */
static void gup_pieces(struct kunit *test)
{
	struct p2p_fake *fake = pages_fake(test, 0);
	struct page *pages[4];

	fake->map = p2p_fake_one;
	KUNIT_ASSERT_EQ(test, 4, gup_pin(ADDR, 4, TO_READ, pages));
	KUNIT_EXPECT_EQ(test, 4, atomic_read(&fake->maps));
	KUNIT_EXPECT_PTR_EQ(test, pages_page(fake, 3), pages[3]);
	unpin_user_pages(pages, 4);
	KUNIT_EXPECT_TRUE(test, pages_rest(fake, PAGES_MAX));
}

/* What is needed, for reading */
static int gup_map_rdonly(struct p2p_fake *fake, struct vm_area_struct *vma,
			  struct p2p_map_req *req)
{
	return p2p_fake_grant(fake, req, req->start,
			      p2p_fake_phys(fake, vma, req->start),
			      req->end - req->start, P2P_EXT_RDONLY);
}

static void gup_read_only(struct kunit *test)
{
	struct p2p_fake *fake = pages_fake(test, 0);

	fake->map = gup_map_rdonly;
	p2p_refusals_take();
	KUNIT_EXPECT_EQ(test, 1, gup_try(ADDR, TO_READ));
	KUNIT_EXPECT_EQ(test, -EFAULT, gup_try(ADDR, TO_WRITE));
	KUNIT_EXPECT_EQ(test, 1, p2p_refusals_take());
	/* Read-only for us: GUP itself says no. */
	fake->map = NULL;
	p2p_fake_mmap(fake, ADDR, PAGE_SIZE, 0, PROT_READ);
	KUNIT_EXPECT_EQ(test, 1, gup_try(ADDR, TO_READ));
	KUNIT_EXPECT_EQ(test, -EFAULT, gup_try(ADDR, TO_WRITE));
	p2p_fake_mmap(fake, ADDR, PAGE_SIZE, 0, PROT_NONE);
	KUNIT_EXPECT_EQ(test, -EFAULT, gup_try(ADDR, TO_READ));
	KUNIT_EXPECT_EQ(test, 0, p2p_refusals_take());
	KUNIT_EXPECT_TRUE(test, pages_rest(fake, PAGES_MAX));
}

/* Grants something, and then changes its mind. */
static int gup_map_fails(struct p2p_fake *fake, struct vm_area_struct *vma,
			 struct p2p_map_req *req)
{
	int ret = p2p_fake_one(fake, vma, req);

	return ret ? ret : fake->err;
}

/* Not the page that is needed */
static int gup_map_next(struct p2p_fake *fake, struct vm_area_struct *vma,
			struct p2p_map_req *req)
{
	unsigned long addr = req->start + PAGE_SIZE;

	return p2p_fake_grant(fake, req, addr, p2p_fake_phys(fake, vma, addr),
			      PAGE_SIZE, 0);
}

/* Whatever the exporter says, GUP says EFAULT, and no reference stays behind. */
static void gup_refused(struct kunit *test)
{
	static const int errs[] = { -EACCES, -ENODEV, -EAGAIN, -EBUSY, -EIO };
	struct p2p_fake *fake = pages_fake(test, 0);
	struct page *pages[2];
	int i;

	fake->map = gup_map_fails;
	for (i = 0; i < ARRAY_SIZE(errs); i++) {
		fake->err = errs[i];
		p2p_refusals_take();
		KUNIT_EXPECT_EQ(test, -EFAULT, gup_pin(ADDR, 2, TO_WRITE, pages));
		KUNIT_EXPECT_EQ(test, 1, p2p_refusals_take());
		KUNIT_EXPECT_TRUE(test, pages_rest(fake, PAGES_MAX));
	}
	fake->map = gup_map_next;
	KUNIT_EXPECT_EQ(test, -EFAULT, gup_pin(ADDR, 2, TO_WRITE, pages));
	KUNIT_EXPECT_TRUE(test, pages_rest(fake, PAGES_MAX));
	p2p_fake_detach(fake);
	fake->map = NULL;
	KUNIT_EXPECT_EQ(test, -EFAULT, gup_pin(ADDR, 2, TO_WRITE, pages));
}

/* Grants the page of RAM at @fake->priv. */
static int gup_map_ram(struct p2p_fake *fake, struct vm_area_struct *vma,
		       struct p2p_map_req *req)
{
	struct page *page = fake->priv;

	return p2p_fake_grant(fake, req, req->start, page_to_phys(page),
			      PAGE_SIZE, P2P_EXT_RAM);
}

/* An evicted object works, too, and is waited for in the same way. */
static void gup_ram(struct kunit *test)
{
	struct p2p_fake *fake = pages_fake(test, 0);
	struct page *page, *ram = alloc_page(GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, ram);
	fake->priv = ram;
	fake->map = gup_map_ram;
	KUNIT_EXPECT_EQ(test, 1, gup_pin(ADDR, 1, TO_WRITE, &page));
	KUNIT_EXPECT_PTR_EQ(test, ram, page);
	KUNIT_EXPECT_EQ(test, -ETIMEDOUT,
			p2p_wait_pins(&fake->exporter, page_to_phys(ram),
				      PAGE_SIZE, 1));
	unpin_user_page(page);
	KUNIT_EXPECT_EQ(test, 0,
			p2p_wait_pins(&fake->exporter, page_to_phys(ram),
				      PAGE_SIZE, 0));
	__free_page(ram);
}

/* Memory on the move */
struct gup_wait {
	struct p2p_fake *fake;
	struct mm_struct *mm;
	unsigned int opens;	/* grants from this call on, 0: never */
	bool unlocked;
	struct delayed_work mover;
};

static int gup_map_moving(struct p2p_fake *fake, struct vm_area_struct *vma,
			  struct p2p_map_req *req)
{
	struct gup_wait *t = fake->priv;

	if (t->opens && atomic_read(&fake->maps) >= t->opens)
		return p2p_fake_linear(fake, vma, req);
	if (t->opens)
		schedule_delayed_work(&t->mover, HZ / 20);
	return p2p_req_wait(req, &fake->exporter);
}

static void gup_mover(struct work_struct *work)
{
	struct gup_wait *t = container_of(work, struct gup_wait, mover.work);

	t->unlocked = !rwsem_is_locked(&t->mm->mmap_lock);
	p2p_wake(&t->fake->exporter);
}

static void gup_wait_end(void *data)
{
	struct gup_wait *t = data;

	cancel_delayed_work_sync(&t->mover);
}

static struct gup_wait *gup_wait_create(struct kunit *test, unsigned int ms)
{
	struct gup_wait *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, t);
	p2p_test_wait_ms(test, ms);
	t->fake = pages_fake(test, 0);
	t->fake->map = gup_map_moving;
	t->fake->priv = t;
	t->mm = current->mm;
	INIT_DELAYED_WORK(&t->mover, gup_mover);
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, gup_wait_end, t));
	p2p_refusals_take();
	return t;
}

/* Woken and sent back twice, without mmap_lock; then it gets all pages. */
static void gup_waits(struct kunit *test)
{
	struct gup_wait *t = gup_wait_create(test, LONG);
	struct page *pages[PAGES_MAX];

	t->opens = 3;
	KUNIT_ASSERT_EQ(test, 2, gup_pin(ADDR, 2, TO_WRITE, pages));
	KUNIT_EXPECT_TRUE(test, t->unlocked);
	KUNIT_EXPECT_LE(test, 3, atomic_read(&t->fake->maps));
	KUNIT_EXPECT_EQ(test, 0, p2p_refusals_take());
	KUNIT_EXPECT_PTR_EQ(test, pages_page(t->fake, 1), pages[1]);
	unpin_user_pages(pages, 2);
	KUNIT_EXPECT_TRUE(test, pages_rest(t->fake, PAGES_MAX));
}

/* All waits of one call are bounded together. */
static void gup_wait_is_bounded(struct kunit *test)
{
	struct gup_wait *t = gup_wait_create(test, BOUND);
	unsigned long begin = jiffies;

	KUNIT_EXPECT_EQ(test, -ETIMEDOUT, gup_try(ADDR, TO_WRITE));
	KUNIT_EXPECT_EQ(test, 1, p2p_refusals_take());
	/* Woken for nothing, again and again */
	t->opens = UINT_MAX;
	KUNIT_EXPECT_EQ(test, -ETIMEDOUT, gup_try(ADDR, TO_WRITE));
	KUNIT_EXPECT_EQ(test, 1, p2p_refusals_take());
	KUNIT_EXPECT_GE(test, jiffies_to_msecs(jiffies - begin), 2 * BOUND);
	KUNIT_EXPECT_FALSE(test, rwsem_is_locked(&t->mm->mmap_lock));
	KUNIT_EXPECT_EQ(test, 0, t->fake->exporter.users);
}

/* RAM in front of it is not lost. */
static void gup_wait_after_ram(struct kunit *test)
{
	struct gup_wait *t = gup_wait_create(test, BOUND);
	struct page *pages[3];

	p2p_test_anon(test, ADDR - PAGE_SIZE, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, 1, gup_pin(ADDR - PAGE_SIZE, 3, TO_WRITE, pages));
	unpin_user_page(pages[0]);
	t->opens = atomic_read(&t->fake->maps) + 2;
	KUNIT_EXPECT_EQ(test, 3, gup_pin(ADDR - PAGE_SIZE, 3, TO_WRITE, pages));
	unpin_user_pages(pages, 3);
}

/* Grants the first page of the mapping; the others are on the move. */
static int gup_map_first(struct p2p_fake *fake, struct vm_area_struct *vma,
			 struct p2p_map_req *req)
{
	return req->start == ADDR ? p2p_fake_one(fake, vma, req) :
				    p2p_req_wait(req, &fake->exporter);
}

/*
 * Nobody waits for an exporter with its pages in hand, since that one may be
 * waiting for these: as much as there is, or EAGAIN.
 */
static void gup_held(struct kunit *test)
{
	struct p2p_fake *fake = pages_fake(test, 0);
	unsigned long begin = jiffies;
	struct page *pages[3];

	p2p_test_wait_ms(test, LONG);
	fake->map = gup_map_first;
	KUNIT_EXPECT_EQ(test, 1, gup_pin(ADDR, 3, TO_WRITE, pages));
	KUNIT_EXPECT_EQ(test, -EAGAIN,
			gup_try(ADDR + PAGE_SIZE, TO_WRITE | FOLL_P2P_HELD));
	KUNIT_EXPECT_EQ(test, 1, gup_try(ADDR, TO_WRITE | FOLL_P2P_HELD));
	unpin_user_page(pages[0]);
	p2p_test_anon(test, ADDR - PAGE_SIZE, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, 2, gup_pin(ADDR - PAGE_SIZE, 3, TO_WRITE, pages));
	unpin_user_pages(pages, 2);
	KUNIT_EXPECT_LT(test, jiffies_to_msecs(jiffies - begin), LONG / 2);
	KUNIT_EXPECT_TRUE(test, pages_rest(fake, PAGES_MAX));
}

/*
 * Nor for a fault, which user space may delay for as long as it likes: RAM behind
 * it is for the next call, and who has touched it does not matter.
 */
static void gup_held_no_fault(struct kunit *test)
{
	unsigned long ram = ADDR + PAGES_MAX * PAGE_SIZE;
	struct p2p_fake *fake = pages_fake(test, 0);
	struct page *pages[3];

	p2p_test_anon(test, ram, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, 1, gup_pin(ram - PAGE_SIZE, 2, TO_WRITE, pages));
	unpin_user_page(pages[0]);
	/* In pieces */
	fake->map = p2p_fake_one;
	KUNIT_EXPECT_EQ(test, 2,
			gup_pin(ram - 2 * PAGE_SIZE, 3, TO_WRITE, pages));
	unpin_user_pages(pages, 2);
	KUNIT_EXPECT_EQ(test, 1, gup_try(ram, TO_WRITE));
	KUNIT_EXPECT_EQ(test, 2,
			gup_pin(ram - 2 * PAGE_SIZE, 3, TO_WRITE, pages));
	unpin_user_pages(pages, 2);
	KUNIT_EXPECT_TRUE(test, pages_rest(fake, PAGES_MAX));
}

/* Who cannot wait is told so. */
static void gup_cannot_wait(struct kunit *test)
{
	struct gup_wait *t = gup_wait_create(test, LONG);
	unsigned long begin = jiffies;
	struct page *page;

	KUNIT_EXPECT_EQ(test, -EFAULT, gup_try(ADDR, TO_WRITE | FOLL_NOFAULT));
	mmap_read_lock(current->mm);
	KUNIT_EXPECT_EQ(test, -EBUSY, pin_user_pages(ADDR, 1, TO_WRITE, &page));
	mmap_assert_locked(current->mm);
	mmap_read_unlock(current->mm);
	KUNIT_EXPECT_LT(test, jiffies_to_msecs(jiffies - begin), LONG / 2);
	KUNIT_EXPECT_EQ(test, 0, t->fake->exporter.users);
	/* What needs no wait works for them. */
	t->fake->map = NULL;
	KUNIT_EXPECT_EQ(test, 1, gup_try(ADDR, TO_WRITE | FOLL_NOFAULT));
}

/*
 * Pins all the time, against an exporter that takes the memory back, waits for
 * the pins, and must find that it has the memory for itself until it opens it.
 */
struct gup_race {
	struct p2p_fake *fake;
	struct mm_struct *mm;
	struct mutex lock;	/* moving */
	bool moving;
	bool stop;
	unsigned int pins;
	int err;
};

static int gup_map_race(struct p2p_fake *fake, struct vm_area_struct *vma,
			struct p2p_map_req *req)
{
	struct gup_race *t = fake->priv;

	guard(mutex)(&t->lock);
	if (t->moving)
		return p2p_req_wait(req, &fake->exporter);
	return p2p_fake_linear(fake, vma, req);
}

static int gup_race_fn(void *data)
{
	struct gup_race *t = data;
	struct page *pages[4];
	int ret;

	kthread_use_mm(t->mm);
	while (!READ_ONCE(t->stop)) {
		ret = gup_pin(ADDR, ARRAY_SIZE(pages), TO_WRITE, pages);
		if (ret < 0) {
			t->err = ret;
			break;
		}
		t->pins++;
		if (t->pins % 4 == 0)
			usleep_range(50, 100);
		unpin_user_pages(pages, ret);
		cond_resched();
	}
	kthread_unuse_mm(t->mm);
	return 0;
}

static void gup_races(struct kunit *test)
{
	struct gup_race *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);
	struct p2p_fake *fake = pages_fake(test, 0);
	unsigned int i, j, pinned = 0, late = 0;
	struct task_struct *task;

	KUNIT_ASSERT_NOT_NULL(test, t);
	mutex_init(&t->lock);
	t->fake = fake;
	t->mm = current->mm;
	fake->priv = t;
	fake->map = gup_map_race;
	task = kthread_create(gup_race_fn, t, "p2p_gup");
	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
	get_task_struct(task);
	wake_up_process(task);
	for (i = 0; i < 500; i++) {
		usleep_range(20, 200);
		scoped_guard(mutex, &t->lock)
			t->moving = true;
		fake->exporter.ops->zap(&fake->exporter);
		pinned += !pages_rest(fake, 4);
		if (p2p_wait_pins(&fake->exporter, fake->region->start,
				  4 * PAGE_SIZE, 20 * HZ))
			late++;
		for (j = 0; j < 5; j++) {
			late += !pages_rest(fake, 4);
			usleep_range(20, 40);
		}
		scoped_guard(mutex, &t->lock) {
			t->moving = false;
			p2p_wake(&fake->exporter);
		}
	}
	WRITE_ONCE(t->stop, true);
	kthread_stop_put(task);
	KUNIT_EXPECT_EQ(test, 0, t->err);
	KUNIT_EXPECT_EQ(test, 0, late);
	KUNIT_EXPECT_LT(test, 0, t->pins);
	kunit_info(test, "%u pins, %u of 500 revocations met one", t->pins,
		   pinned);
	KUNIT_EXPECT_LT(test, 0, pinned);
	KUNIT_EXPECT_TRUE(test, pages_rest(fake, PAGES_MAX));
}

static struct kunit_case p2p_gup_cases[] = {
	KUNIT_CASE(gup_pins),
	KUNIT_CASE(gup_pins_large),
	KUNIT_CASE(gup_gets),
	KUNIT_CASE(gup_others),
	KUNIT_CASE(gup_no_pages),
	KUNIT_CASE(gup_mixed),
	KUNIT_CASE(gup_pieces),
	KUNIT_CASE(gup_read_only),
	KUNIT_CASE(gup_refused),
	KUNIT_CASE(gup_ram),
	KUNIT_CASE(gup_waits),
	KUNIT_CASE(gup_wait_is_bounded),
	KUNIT_CASE(gup_wait_after_ram),
	KUNIT_CASE(gup_held),
	KUNIT_CASE(gup_held_no_fault),
	KUNIT_CASE(gup_cannot_wait),
	KUNIT_CASE_SLOW(gup_races),
	{}
};

static struct kunit_suite p2p_gup_suite = {
	.name = "p2p_gup",
	.suite_init = p2p_refusals_start,
	.suite_exit = p2p_refusals_stop,
	.test_cases = p2p_gup_cases,
};

kunit_test_suite(p2p_gup_suite);

MODULE_DESCRIPTION("KUnit tests of get_user_pages() on p2p VMAs");
MODULE_LICENSE("GPL");
