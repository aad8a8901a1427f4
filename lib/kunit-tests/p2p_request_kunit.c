// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of requests: the window that an exporter is asked for, and every
 * way in which a VMA, an exporter or an importer gets it wrong.
 */
#include <linux/file.h>
#include <linux/memblock.h>
#include <linux/mman.h>

#include "p2p_kunit.h"

#define ADDR		P2P_TEST_ADDR
#define PAGES(n)	((unsigned long)(n) * PAGE_SIZE)
#define SIZE		PAGES(16)
#define NEEDED		(ADDR + PAGES(4))

/* An exporter, a mapping of all its memory, and a CPU-copy user of it. */
struct request_test {
	struct p2p_fake *fake;
	struct p2p_user *user;
};

static struct request_test request_create(struct kunit *test, int prot,
					  bool write)
{
	struct request_test t;

	p2p_refusals_take();
	t.fake = p2p_fake_create(test, SIZE);
	p2p_fake_mmap(t.fake, ADDR, SIZE, 0, prot);
	t.user = p2p_user_create(test, NULL, ADDR, SIZE, write);
	return t;
}

static int request_read(struct request_test *t)
{
	return p2p_user_fault(t->user, NEEDED, PAGE_SIZE, P2P_READ);
}

/* After a refusal: nothing is live or granted, and other memory is as before. */
static void request_expect_unharmed(struct kunit *test, struct request_test *t)
{
	KUNIT_EXPECT_NULL(test, p2p_user_extent(t->user, NEEDED));
	KUNIT_EXPECT_TRUE(test, p2p_fake_all_unmapped(t->fake));
	KUNIT_EXPECT_EQ(test, 0, t->fake->exporter.users);

	t->fake->map = p2p_fake_needed;
	KUNIT_EXPECT_EQ(test, 0,
			p2p_user_fault(t->user, ADDR, PAGE_SIZE, P2P_READ));
	KUNIT_EXPECT_NOT_NULL(test, p2p_user_extent(t->user, ADDR));
	KUNIT_EXPECT_EQ(test, 0, p2p_refusals_take());
}

static void request_expect_window(struct kunit *test, struct p2p_fake *fake,
				  int line, unsigned long start,
				  unsigned long end, unsigned long wstart,
				  unsigned long wend)
{
	KUNIT_EXPECT_EQ_MSG(test, start, fake->req.start, "line %d", line);
	KUNIT_EXPECT_EQ_MSG(test, end, fake->req.end, "line %d", line);
	KUNIT_EXPECT_EQ_MSG(test, wstart, fake->req.window_start, "line %d", line);
	KUNIT_EXPECT_EQ_MSG(test, wend, fake->req.window_end, "line %d", line);
}

/* In pages from ADDR: what is needed, and the window. */
#define EXPECT_WINDOW(test, fake, start, end, wstart, wend)		\
	request_expect_window(test, fake, __LINE__, ADDR + PAGES(start),	\
			      ADDR + PAGES(end), ADDR + PAGES(wstart),	\
			      ADDR + PAGES(wend))

/* The window */

static void request_window_vma(struct kunit *test)
{
	struct p2p_fake *fake = p2p_fake_create(test, SIZE);
	struct p2p_user *user;

	p2p_fake_mmap(fake, ADDR + PAGES(2), PAGES(8), 0, PROT_READ);
	user = p2p_user_create(test, NULL, ADDR, SIZE, true);
	KUNIT_EXPECT_EQ(test, 0,
			p2p_user_fault(user, NEEDED, PAGES(3), P2P_READ));
	EXPECT_WINDOW(test, fake, 4, 7, 2, 10);
	KUNIT_EXPECT_NULL(test, fake->req.importer);
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&fake->maps));
}

static void request_window_object(struct kunit *test)
{
	struct p2p_fake *fake = p2p_fake_create(test, SIZE);
	struct p2p_user *user;

	p2p_fake_mmap(fake, ADDR, SIZE, 0, PROT_READ);
	user = p2p_user_create(test, NULL, ADDR + PAGES(3), PAGES(9), true);
	KUNIT_EXPECT_EQ(test, 0,
			p2p_user_fault(user, ADDR + PAGES(11), PAGE_SIZE,
				       P2P_READ));
	EXPECT_WINDOW(test, fake, 11, 12, 3, 12);
}

/* A request ends at a multiple of P2P_CHUNK_SIZE, and so does the window. */
static void request_window_chunk(struct kunit *test)
{
	unsigned long start = ADDR + P2P_CHUNK_SIZE - PAGES(4);
	struct p2p_fake *fake = p2p_fake_create(test, SIZE);
	unsigned long chunk = P2P_CHUNK_SIZE >> PAGE_SHIFT;
	struct p2p_user *user;

	p2p_fake_mmap(fake, start, SIZE, 0, PROT_READ);
	user = p2p_user_create(test, NULL, start, SIZE, true);
	fake->map = p2p_fake_error;
	fake->err = -ENXIO;
	KUNIT_EXPECT_EQ(test, -ENXIO,
			p2p_user_fault(user, start + PAGES(1), PAGES(8),
				       P2P_READ));
	EXPECT_WINDOW(test, fake, chunk - 3, chunk, chunk - 4, chunk);
	KUNIT_EXPECT_EQ(test, -ENXIO,
			p2p_user_fault(user, start + PAGES(6), PAGES(2),
				       P2P_READ));
	EXPECT_WINDOW(test, fake, chunk + 2, chunk + 4, chunk, chunk + 12);

	/* A range across the boundary is two requests. */
	fake->map = NULL;
	atomic_set(&fake->maps, 0);
	KUNIT_EXPECT_EQ(test, 0, p2p_user_fault(user, start, SIZE, P2P_READ));
	KUNIT_EXPECT_EQ(test, 2, atomic_read(&fake->maps));
}

static void request_window_live(struct kunit *test)
{
	struct request_test t = request_create(test, PROT_READ, true);
	struct p2p_fake *fake = t.fake;

	fake->map = p2p_fake_needed;
	KUNIT_ASSERT_EQ(test, 0, request_read(&t));
	KUNIT_ASSERT_EQ(test, 0,
			p2p_user_fault(t.user, ADDR + PAGES(10), PAGE_SIZE,
				       P2P_READ));
	EXPECT_WINDOW(test, fake, 10, 11, 5, 16);

	/* What is live ends the needed range and the window. */
	KUNIT_ASSERT_EQ(test, 0,
			p2p_user_fault(t.user, ADDR + PAGES(7), PAGES(6),
				       P2P_READ));
	EXPECT_WINDOW(test, fake, 11, 13, 11, 16);
	KUNIT_EXPECT_EQ(test, 4, atomic_read(&fake->maps));
	KUNIT_ASSERT_EQ(test, 0,
			p2p_user_fault(t.user, ADDR, PAGE_SIZE, P2P_READ));
	EXPECT_WINDOW(test, fake, 0, 1, 0, 4);
}

static int request_map_two(struct p2p_fake *fake, struct vm_area_struct *vma,
			   struct p2p_map_req *req)
{
	int ret = p2p_fake_grant(fake, req, req->start,
				 p2p_fake_phys(fake, vma, req->start),
				 PAGE_SIZE, 0);

	/* Far from what is needed, if it is in the window. */
	if (!ret && req->window_end > ADDR + PAGES(8))
		ret = p2p_fake_grant(fake, req, ADDR + PAGES(8),
				     p2p_fake_phys(fake, vma, ADDR + PAGES(8)),
				     PAGE_SIZE, 0);
	return ret;
}

static void request_window_pending(struct kunit *test)
{
	struct request_test t = request_create(test, PROT_READ, true);

	t.fake->map = request_map_two;
	KUNIT_ASSERT_EQ(test, 0,
			p2p_user_fault(t.user, NEEDED, PAGES(2), P2P_READ));
	EXPECT_WINDOW(test, t.fake, 5, 6, 5, 8);
	KUNIT_EXPECT_EQ(test, 2, atomic_read(&t.fake->maps));
	KUNIT_EXPECT_EQ(test, 3, atomic_read(&t.fake->granted));
	KUNIT_EXPECT_EQ(test, 0, p2p_fake_unmaps(t.fake));
	KUNIT_EXPECT_NOT_NULL(test, p2p_user_extent(t.user, ADDR + PAGES(8)));
}

/* Write is asked for whenever it is possible, not when it is needed. */
static void request_write_flag(struct kunit *test)
{
	static const struct {
		int prot;
		bool object;
		bool write;
	} combos[] = {
		{ PROT_READ | PROT_WRITE, true, true },
		{ PROT_READ | PROT_WRITE, false, false },
		{ PROT_READ, true, false },
		{ PROT_READ, false, false },
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(combos); i++) {
		struct p2p_fake *fake = p2p_fake_create(test, SIZE);
		unsigned int flags = combos[i].write ? 0 : P2P_EXT_RDONLY;
		unsigned long pfn = combos[i].write ? P2P_PEER_RW : P2P_PEER_RO;
		unsigned long addr = ADDR + i * SIZE;
		struct p2p_extent *ext;
		struct p2p_user *user;

		p2p_fake_mmap(fake, addr, SIZE, 0, combos[i].prot);
		user = p2p_user_create(test, NULL, addr, SIZE, combos[i].object);
		KUNIT_ASSERT_EQ(test, 0,
				p2p_user_fault(user, addr, PAGE_SIZE, P2P_READ));
		KUNIT_EXPECT_EQ_MSG(test, combos[i].write, fake->req.write, "%d", i);
		ext = p2p_user_extent(user, addr);
		KUNIT_ASSERT_NOT_NULL(test, ext);
		KUNIT_EXPECT_EQ_MSG(test, flags, ext->flags, "%d", i);
		KUNIT_EXPECT_EQ_MSG(test, pfn, p2p_user_pfn(user, addr), "%d", i);
	}
}

static void request_importer(struct kunit *test)
{
	struct p2p_fake *fake = p2p_fake_create(test, SIZE);
	struct device *dev = p2p_test_device(test);
	struct p2p_user *user;

	p2p_fake_mmap(fake, ADDR, SIZE, 0, PROT_READ);
	user = p2p_user_create(test, dev, ADDR, SIZE, true);
	fake->map = p2p_fake_error;
	fake->err = -ENXIO;
	KUNIT_EXPECT_EQ(test, -ENXIO,
			p2p_user_fault(user, ADDR, PAGE_SIZE, P2P_READ));
	KUNIT_EXPECT_PTR_EQ(test, dev, fake->req.importer);
}

/* The upper bits of a file offset may say which object it is. */
static int request_map_offset(struct p2p_fake *fake, struct vm_area_struct *vma,
			      struct p2p_map_req *req)
{
	int ret = p2p_map_linear(vma, req, &fake->exporter,
				 fake->region->start - (7UL << 40));

	if (!ret)
		atomic_inc(&fake->granted);
	return ret;
}

static void request_linear(struct kunit *test)
{
	struct p2p_fake *fake = p2p_fake_create(test, SIZE);
	phys_addr_t phys = fake->region->start + PAGES(3);
	struct p2p_extent *ext;
	struct p2p_user *user;

	p2p_fake_mmap(fake, ADDR, PAGES(8), PAGES(3), PROT_READ);
	p2p_fake_mmap(fake, ADDR + PAGES(8), PAGES(8), (7UL << 40) + PAGES(3),
		      PROT_READ);
	user = p2p_user_create(test, NULL, ADDR + PAGES(1), PAGES(15), true);
	KUNIT_ASSERT_EQ(test, 0,
			p2p_user_fault(user, NEEDED, PAGE_SIZE, P2P_READ));
	ext = p2p_user_extent(user, NEEDED);
	KUNIT_ASSERT_NOT_NULL(test, ext);
	KUNIT_EXPECT_EQ(test, phys + PAGES(1), ext->phys);
	KUNIT_EXPECT_EQ(test, PAGES(7), ext->len);

	fake->map = request_map_offset;
	KUNIT_ASSERT_EQ(test, 0,
			p2p_user_fault(user, ADDR + PAGES(9), PAGE_SIZE,
				       P2P_READ));
	ext = p2p_user_extent(user, ADDR + PAGES(9));
	KUNIT_ASSERT_NOT_NULL(test, ext);
	KUNIT_EXPECT_EQ(test, phys, ext->phys);
	KUNIT_EXPECT_EQ(test, PAGES(8), ext->len);
}

/* Extents that nobody may grant */

/*
 * The mapping is the pages 2 to 14 of the object; @addr counts from there,
 * @phys from the start of the region, both in bytes.
 */
struct request_bad {
	const char *desc;
	long addr;
	long phys;
	size_t len;
	unsigned int flags;
	bool ram;		/* @phys counts from the last page of RAM */
};

static const struct request_bad request_bad[] = {
	{ "addr unaligned", 1, 0, PAGES(4) },
	{ "addr half a page", PAGE_SIZE / 2, 0, PAGES(4) },
	{ "phys unaligned", 0, 1, PAGES(4) },
	{ "phys half a page", 0, PAGE_SIZE / 2, PAGES(4) },
	{ "len unaligned", 0, 0, PAGES(4) + 1 },
	{ "len half a page", 0, 0, PAGE_SIZE / 2 },
	{ "empty", 0, 0, 0 },
	{ "before the window", -(long)PAGE_SIZE, 0, PAGES(4) },
	{ "at the window's end", PAGES(12), 0, PAGE_SIZE },
	{ "over the window's end", PAGES(11), 0, PAGES(2) },
	{ "larger than the window", 0, 0, PAGES(13) },
	{ "len wraps", PAGES(1), 0, -PAGE_SIZE },
	{ "before the region", 0, -(long)PAGE_SIZE, PAGES(4) },
	{ "at the region's end", 0, SIZE, PAGES(4) },
	{ "over the region's end", 0, PAGES(15), PAGES(2) },
	{ "mmio that is said to be ram", 0, 0, PAGES(4), P2P_EXT_RAM },
	{ "ram that is said to be mmio", 0, 0, PAGE_SIZE, 0, true },
	{ "over the end of ram", 0, 0, PAGES(2), P2P_EXT_RAM, true },
	{ "ram unaligned", 0, -1, PAGE_SIZE, P2P_EXT_RAM, true },
};

KUNIT_ARRAY_PARAM_DESC(request_bad, request_bad, desc);

static int request_map_bad(struct p2p_fake *fake, struct vm_area_struct *vma,
			   struct p2p_map_req *req)
{
	const struct request_bad *bad = fake->priv;
	phys_addr_t base = fake->region->start;

	if (bad->ram)
		base = PFN_PHYS(max_pfn - 1);
	return p2p_fake_grant(fake, req, vma->vm_start + bad->addr,
			      base + bad->phys, bad->len, bad->flags);
}

static void request_bad_extent(struct kunit *test)
{
	struct p2p_fake *fake = p2p_fake_create(test, SIZE);
	struct request_test t = { .fake = fake };
	int ret;

	fake->priv = (void *)test->param_value;
	fake->map = request_map_bad;
	p2p_fake_mmap(fake, ADDR + PAGES(2), PAGES(12), 0, PROT_READ);
	p2p_fake_mmap(fake, ADDR, PAGES(2), 0, PROT_READ);
	t.user = p2p_user_create(test, NULL, ADDR, SIZE, true);
	p2p_refusals_take();
	kunit_warning_suppress(test) {
		ret = request_read(&t);
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 1);
	}
	P2P_EXPECT_REFUSED(test, ret, -EINVAL, P2P_REASON_BAD_EXTENT);
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&fake->granted));
	fake->priv = NULL;
	request_expect_unharmed(test, &t);
}

/* Two extents, the second of which does not follow the first. */
static int request_map_after(struct p2p_fake *fake, struct vm_area_struct *vma,
			     struct p2p_map_req *req)
{
	unsigned long second = (unsigned long)fake->priv;

	p2p_fake_grant(fake, req, NEEDED, fake->region->start, PAGES(3), 0);
	p2p_fake_grant(fake, req, second, fake->region->start, PAGES(2), 0);
	/* An error sticks, also if the exporter does not look. */
	KUNIT_EXPECT_EQ(fake->test, -EINVAL,
			p2p_fake_grant(fake, req, ADDR + PAGES(10),
				       fake->region->start, PAGES(1), 0));
	return 0;
}

static void request_after(struct kunit *test, unsigned long second)
{
	struct request_test t = request_create(test, PROT_READ, true);
	int ret;

	t.fake->priv = (void *)second;
	t.fake->map = request_map_after;
	kunit_warning_suppress(test) {
		ret = request_read(&t);
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 1);
	}
	P2P_EXPECT_REFUSED(test, ret, -EINVAL, P2P_REASON_BAD_EXTENT);
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&t.fake->granted));
	request_expect_unharmed(test, &t);
}

static void request_out_of_order(struct kunit *test)
{
	request_after(test, ADDR + PAGES(1));
}

static void request_overlapping(struct kunit *test)
{
	request_after(test, NEEDED + PAGES(2));
}

/* A mapping that is longer than the region */
static void request_linear_too_long(struct kunit *test)
{
	struct p2p_fake *fake = p2p_fake_create(test, SIZE);
	struct request_test t = { .fake = fake };
	int ret;

	p2p_refusals_take();
	p2p_fake_mmap(fake, ADDR, SIZE, PAGES(1), PROT_READ);
	t.user = p2p_user_create(test, NULL, ADDR, SIZE, true);
	kunit_warning_suppress(test) {
		ret = request_read(&t);
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 1);
	}
	P2P_EXPECT_REFUSED(test, ret, -EINVAL, P2P_REASON_BAD_EXTENT);
	request_expect_unharmed(test, &t);
}

static struct kunit_case p2p_request_cases[] = {
	KUNIT_CASE(request_window_vma),
	KUNIT_CASE(request_window_object),
	KUNIT_CASE(request_window_chunk),
	KUNIT_CASE(request_window_live),
	KUNIT_CASE(request_window_pending),
	KUNIT_CASE(request_write_flag),
	KUNIT_CASE(request_importer),
	KUNIT_CASE(request_linear),
	KUNIT_CASE_PARAM(request_bad_extent, request_bad_gen_params),
	KUNIT_CASE(request_out_of_order),
	KUNIT_CASE(request_overlapping),
	KUNIT_CASE(request_linear_too_long),
	{}
};

static struct kunit_suite p2p_request_suite = {
	.name = "p2p_request",
	.suite_init = p2p_refusals_start,
	.suite_exit = p2p_refusals_stop,
	.test_cases = p2p_request_cases,
};

kunit_test_suite(p2p_request_suite);

MODULE_DESCRIPTION("KUnit tests of p2p requests");
MODULE_LICENSE("GPL");
