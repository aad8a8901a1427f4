// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the struct pages of a region: how they come, who waits for
 * their pins, and how they go.
 */
#include <linux/delay.h>
#include <linux/io.h>
#include <linux/memremap.h>
#include <linux/mman.h>
#include <linux/pci.h>
#include <linux/workqueue.h>

#include "p2p_pages.h"

#define ADDR	P2P_TEST_ADDR

static const unsigned int pages_orders[] = { 0, 9 };

static void pages_order_desc(const unsigned int *order, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "order-%u", *order);
}

KUNIT_ARRAY_PARAM(pages, pages_orders, pages_order_desc);

static unsigned int pages_order(struct kunit *test)
{
	return *(const unsigned int *)test->param_value;
}

/* What P2PDMA and the block layer look at */
static void pages_made(struct kunit *test)
{
	struct p2p_fake *fake = pages_fake(test, pages_order(test));
	unsigned long last = (fake->region->len >> PAGE_SHIFT) - 1;
	unsigned long pfn = PHYS_PFN(fake->region->start);
	unsigned long nr;

	for (nr = 0; nr <= last; nr += last / 7) {
		struct page *page = pages_page(fake, nr);

		KUNIT_EXPECT_TRUE(test, is_pci_p2pdma_page(page));
		KUNIT_EXPECT_EQ(test, pages_order(test),
				folio_order(page_folio(page)));
		KUNIT_EXPECT_EQ(test, fake->region->start,
				page_pgmap(page)->range.start);
		KUNIT_EXPECT_EQ(test, 1, pages_refs(fake, nr));
	}
	p2p_fake_detach(fake);
	KUNIT_EXPECT_NULL(test, fake->region->pages);
	KUNIT_EXPECT_FALSE(test, pfn_valid(pfn));
	KUNIT_EXPECT_FALSE(test, pfn_valid(pfn + last));
}

/* The next exporter can have some, too. */
static void pages_again(struct kunit *test)
{
	struct p2p_fake *fake = pages_fake(test, 0), *next;

	p2p_fake_detach(fake);
	next = p2p_fake_attach(test, fake->region);
	KUNIT_EXPECT_EQ(test, 0, p2p_region_add_pages(next->region,
						      &next->exporter, PAGES_2M,
						      PAGES_PROT));
	KUNIT_EXPECT_TRUE(test, pages_rest(next, 1));
}

static void pages_one_exporter(struct kunit *test)
{
	struct p2p_fake *fake = pages_fake(test, 0);
	struct p2p_fake *other = p2p_fake_attach(test, fake->region);

	KUNIT_EXPECT_EQ(test, -EBUSY,
			p2p_region_add_pages(fake->region, &fake->exporter, 0,
					     PAGES_PROT));
	KUNIT_EXPECT_EQ(test, -EBUSY,
			p2p_region_add_pages(fake->region, &other->exporter, 0,
					     PAGES_PROT));
	/* It goes without taking the pages along. */
	p2p_fake_detach(other);
	KUNIT_EXPECT_TRUE(test, pages_rest(fake, PAGES_MAX));
}

static void pages_put_region(void *r)
{
	p2p_region_put(r);
}

static void pages_refused(struct kunit *test)
{
	struct p2p_fake *bar = p2p_fake_ivshmem(test);
	struct p2p_fake *no_bar = p2p_fake_create(test, SZ_2M);
	struct p2p_fake *small;
	struct p2p_region *r;
	struct pci_dev *edu;

	KUNIT_EXPECT_EQ(test, -EINVAL,
			p2p_region_add_pages(bar->region, &bar->exporter, 1,
					     PAGES_PROT));
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP,
			p2p_region_add_pages(no_bar->region, &no_bar->exporter,
					     0, PAGES_PROT));
	KUNIT_EXPECT_NULL(test, bar->region->pages);
	KUNIT_EXPECT_NULL(test, no_bar->region->pages);

	/* 1 MiB: less than the kernel can map pages for */
	edu = pci_get_device(0x1234, 0x11e8, NULL);
	KUNIT_ASSERT_NOT_NULL(test, edu);
	r = p2p_region_bar(edu, 0);
	pci_dev_put(edu);
	KUNIT_ASSERT_FALSE(test, IS_ERR(r));
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, pages_put_region, r));
	small = p2p_fake_attach(test, r);
	KUNIT_EXPECT_EQ(test, -EINVAL,
			p2p_region_add_pages(r, &small->exporter, 0,
					     PAGES_PROT));
	KUNIT_EXPECT_NULL(test, r->pages);
}

/* Both ways: somebody was first, and pages were. */
static void pages_cache_mode(struct kunit *test)
{
	struct p2p_fake *fake = p2p_fake_ivshmem(test);
	pgprot_t wc = pgprot_writecombine(PAGE_KERNEL);
	pgprot_t prot = PAGE_KERNEL;
	void __iomem *io;

	io = ioremap(fake->region->start + SZ_4M, PAGE_SIZE);
	KUNIT_ASSERT_TRUE(test, !!io);
	KUNIT_EXPECT_EQ(test, -EBUSY,
			p2p_region_add_pages(fake->region, &fake->exporter, 0,
					     wc));
	KUNIT_EXPECT_NULL(test, fake->region->pages);
	iounmap(io);
	KUNIT_EXPECT_EQ(test, 0,
			p2p_region_add_pages(fake->region, &fake->exporter, 0,
					     wc));
	pfnmap_setup_cachemode_pfn(PHYS_PFN(fake->region->start), &prot);
	KUNIT_EXPECT_EQ(test, pgprot_val(wc), pgprot_val(prot));
	/* Nothing stays behind. */
	p2p_fake_detach(fake);
	prot = PAGE_KERNEL;
	pfnmap_setup_cachemode_pfn(PHYS_PFN(fake->region->start), &prot);
	KUNIT_EXPECT_EQ(test, pgprot_val(PAGES_PROT), pgprot_val(prot));
}

/* A pin that goes by itself after a while */
struct pages_pin {
	struct page *page;
	struct delayed_work unpin;
};

static void pages_unpin(struct work_struct *work)
{
	struct pages_pin *pin = container_of(work, struct pages_pin, unpin.work);

	unpin_user_page(pin->page);
}

static void pages_pin_end(void *data)
{
	struct pages_pin *pin = data;

	flush_delayed_work(&pin->unpin);
}

static struct pages_pin *pages_pin(struct kunit *test, unsigned long nr)
{
	struct pages_pin *pin = kunit_kzalloc(test, sizeof(*pin), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, pin);
	INIT_DELAYED_WORK(&pin->unpin, pages_unpin);
	KUNIT_ASSERT_EQ(test, 1,
			pin_user_pages_fast(ADDR + nr * PAGE_SIZE, 1,
					    FOLL_PCI_P2PDMA, &pin->page));
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, pages_pin_end, pin));
	return pin;
}

static int pages_wait(struct p2p_fake *fake, unsigned long nr,
		      unsigned long pages, unsigned long timeout)
{
	return p2p_wait_pins(&fake->exporter,
			     fake->region->start + nr * PAGE_SIZE,
			     pages * PAGE_SIZE, timeout);
}

static void pages_wait_pins(struct kunit *test)
{
	struct p2p_fake *fake = pages_fake(test, pages_order(test));
	unsigned long begin = jiffies;
	struct pages_pin *pin = pages_pin(test, 5);

	KUNIT_EXPECT_EQ(test, -ETIMEDOUT, pages_wait(fake, 0, 16, HZ / 10));
	KUNIT_EXPECT_GE(test, jiffies - begin, HZ / 10);
	KUNIT_EXPECT_EQ(test, -ETIMEDOUT, pages_wait(fake, 5, 1, 0));
	/* Other memory of the same folio, and of another one */
	KUNIT_EXPECT_EQ(test, pages_order(test) ? -ETIMEDOUT : 0,
			pages_wait(fake, 6, 1, 0));
	KUNIT_EXPECT_EQ(test, 0, pages_wait(fake, 512, 512, 0));

	begin = jiffies;
	schedule_delayed_work(&pin->unpin, HZ / 5);
	KUNIT_EXPECT_EQ(test, 0, pages_wait(fake, 0, 16, 20 * HZ));
	KUNIT_EXPECT_GE(test, jiffies - begin, HZ / 5);
	KUNIT_EXPECT_EQ(test, 1, pages_refs(fake, 5));
	KUNIT_EXPECT_EQ(test, 0, pages_wait(fake, 0, 16, 0));
}

static void pages_default_wait(void *unused)
{
	p2p_test_set_param("pci_p2p.pin_wait_ms", 60000);
}

static void pages_set_wait(struct kunit *test, unsigned int ms)
{
	KUNIT_ASSERT_EQ(test, 0,
			p2p_test_set_param("pci_p2p.pin_wait_ms", ms));
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, pages_default_wait,
						  NULL));
}

/* I/O ends while the exporter goes: that waits. */
static void pages_detach_waits(struct kunit *test)
{
	struct p2p_fake *fake = pages_fake(test, pages_order(test));
	struct pages_pin *pin = pages_pin(test, 3);
	unsigned long begin = jiffies;

	schedule_delayed_work(&pin->unpin, HZ / 2);
	p2p_fake_detach(fake);
	KUNIT_EXPECT_GE(test, jiffies - begin, HZ / 2);
	KUNIT_EXPECT_NULL(test, fake->region->pages);
	KUNIT_EXPECT_FALSE(test, fake->region->orphaned);
}

/* Who waits for pins keeps the pages that it looks at. */
struct pages_waiter {
	struct p2p_fake *fake;
	struct work_struct work;
	int ret;
};

static void pages_waiter_work(struct work_struct *work)
{
	struct pages_waiter *w = container_of(work, struct pages_waiter, work);

	w->ret = pages_wait(w->fake, 0, PAGES_MAX, 20 * HZ);
}

static void pages_detach_with_waiter(struct kunit *test)
{
	struct p2p_fake *fake = pages_fake(test, 0);
	struct pages_waiter w = { .fake = fake, .ret = 1 };
	struct pages_pin *pin = pages_pin(test, 3);

	INIT_WORK_ONSTACK(&w.work, pages_waiter_work);
	schedule_work(&w.work);
	msleep(50);
	KUNIT_EXPECT_EQ(test, 1, READ_ONCE(fake->exporter.users));
	schedule_delayed_work(&pin->unpin, HZ / 5);
	p2p_fake_detach(fake);
	KUNIT_EXPECT_EQ(test, 0, READ_ONCE(w.ret));
	flush_work(&w.work);
	destroy_work_on_stack(&w.work);
	/* It has no pages any more. */
	KUNIT_EXPECT_EQ(test, 0, pages_wait(fake, 0, PAGES_MAX, 0));
}

static void pages_detach_work(struct work_struct *work)
{
	struct pages_waiter *w = container_of(work, struct pages_waiter, work);

	p2p_fake_detach(w->fake);
}

/* Who comes while the exporter goes, and waits itself, does not hear of no pins. */
static void pages_wait_meanwhile(struct kunit *test)
{
	struct p2p_fake *fake = pages_fake(test, 0);
	struct pages_pin *pin = pages_pin(test, 3);
	struct pages_waiter w = { .fake = fake };

	INIT_WORK_ONSTACK(&w.work, pages_detach_work);
	schedule_work(&w.work);
	msleep(200);
	KUNIT_EXPECT_TRUE(test, pages_refs(fake, 3) > 1);
	KUNIT_EXPECT_EQ(test, -ENODEV, pages_wait(fake, 3, 1, 0));
	schedule_delayed_work(&pin->unpin, 0);
	flush_work(&w.work);
	destroy_work_on_stack(&w.work);
	KUNIT_EXPECT_EQ(test, 0, pages_wait(fake, 3, 1, 0));
}

/* I/O does not end: the exporter goes, and nobody gets the memory until it does. */
static void pages_detach_pinned(struct kunit *test)
{
	struct p2p_fake *fake = pages_fake(test, pages_order(test));
	struct pages_pin *pin = pages_pin(test, 3);
	struct p2p_region *r = fake->region;
	struct p2p_exporter e = { .ops = fake->exporter.ops };
	struct page *page;
	int i;

	pages_set_wait(test, 50);
	p2p_fake_detach(fake);
	KUNIT_EXPECT_TRUE(test, pages_refs(fake, 3) > 1);
	KUNIT_EXPECT_EQ(test, -EBUSY, p2p_region_attach(r, &e));
	KUNIT_EXPECT_EQ(test, -EFAULT,
			pin_user_pages_fast(ADDR, 1, FOLL_PCI_P2PDMA, &page));
	msleep(1500);
	KUNIT_EXPECT_EQ(test, -EBUSY, p2p_region_attach(r, &e));

	schedule_delayed_work(&pin->unpin, 0);
	for (i = 0; i < 500 && READ_ONCE(r->pages); i++)
		msleep(20);
	KUNIT_EXPECT_NULL(test, r->pages);
	KUNIT_EXPECT_FALSE(test, pfn_valid(PHYS_PFN(r->start)));
	p2p_fake_attach(test, r);
}

static struct kunit_case p2p_pages_cases[] = {
	KUNIT_CASE_PARAM(pages_made, pages_gen_params),
	KUNIT_CASE(pages_again),
	KUNIT_CASE(pages_one_exporter),
	KUNIT_CASE(pages_refused),
	KUNIT_CASE(pages_cache_mode),
	KUNIT_CASE_PARAM(pages_wait_pins, pages_gen_params),
	KUNIT_CASE_PARAM(pages_detach_waits, pages_gen_params),
	KUNIT_CASE(pages_detach_with_waiter),
	KUNIT_CASE(pages_wait_meanwhile),
	KUNIT_CASE_PARAM(pages_detach_pinned, pages_gen_params),
	{}
};

static struct kunit_suite p2p_pages_suite = {
	.name = "p2p_pages",
	.test_cases = p2p_pages_cases,
};

kunit_test_suite(p2p_pages_suite);

MODULE_DESCRIPTION("KUnit tests of the struct pages of p2p regions");
MODULE_LICENSE("GPL");
