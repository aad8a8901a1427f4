// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of users that copy by the CPU: through the exporter's operations,
 * from a BAR, and where an object was evicted to RAM.
 */
#include <linux/mman.h>

#include "p2p_kunit.h"

#define ADDR		P2P_TEST_ADDR
#define PAGES(n)	((unsigned long)(n) * PAGE_SIZE)
#define SIZE		PAGES(4)

static struct p2p_extent *copy_extent(struct kunit *test,
				      struct p2p_user *user, unsigned long flags)
{
	struct p2p_extent *ext;

	KUNIT_ASSERT_EQ(test, 0, p2p_user_fault(user, ADDR, PAGE_SIZE, flags));
	ext = p2p_user_extent(user, ADDR);
	KUNIT_ASSERT_NOT_NULL(test, ext);
	return ext;
}

/* What may be asked of an extent of SIZE bytes, and what may not. */
static void copy_expect_bounds(struct kunit *test, struct p2p_extent *ext)
{
	static const struct {
		size_t off;
		size_t len;
		int ret;
	} cases[] = {
		{ 0, 1, 0 },
		{ SIZE - 1, 1, 0 },
		{ SIZE, 0, 0 },
		{ SIZE, 1, -EINVAL },
		{ SIZE - 1, 2, -EINVAL },
		{ SIZE + 1, 0, -EINVAL },
		{ 0, SIZE + 1, -EINVAL },
		{ 1, SIZE_MAX, -EINVAL },
		{ SIZE_MAX, 1, -EINVAL },
		{ SIZE_MAX, 2, -EINVAL },
	};
	u8 buf[2] = {};
	int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		KUNIT_EXPECT_EQ_MSG(test, cases[i].ret,
				    p2p_copy_to(ext, cases[i].off, buf,
						cases[i].len), "%d", i);
		KUNIT_EXPECT_EQ_MSG(test, cases[i].ret,
				    p2p_copy_from(ext, cases[i].off, buf,
						  cases[i].len), "%d", i);
	}
}

/* Odd offsets and lengths, across a page: what goes in comes out. */
static void copy_expect_data(struct kunit *test, struct p2p_extent *ext)
{
	const size_t off = PAGE_SIZE - 3, len = 1031;
	u8 *in = kunit_kzalloc(test, len, GFP_KERNEL);
	u8 *out = kunit_kzalloc(test, len + 2, GFP_KERNEL);
	int i;

	KUNIT_ASSERT_NOT_NULL(test, in);
	KUNIT_ASSERT_NOT_NULL(test, out);
	for (i = 0; i < len; i++)
		in[i] = i * 7 + 1;
	memset(out, 0xee, len + 2);
	KUNIT_ASSERT_EQ(test, 0, p2p_copy_to(ext, off - 1, out, len + 2));
	KUNIT_ASSERT_EQ(test, 0, p2p_copy_to(ext, off, in, len));
	memset(out, 0, len + 2);
	KUNIT_ASSERT_EQ(test, 0, p2p_copy_from(ext, off - 1, out, len + 2));
	KUNIT_EXPECT_EQ(test, 0xee, out[0]);
	KUNIT_EXPECT_MEMEQ(test, in, out + 1, len);
	KUNIT_EXPECT_EQ(test, 0xee, out[len + 1]);
}

static void copy_by_ops(struct kunit *test)
{
	struct p2p_fake *fake = p2p_fake_create(test, 2 * SIZE);
	struct p2p_extent *ext;
	struct p2p_user *user;
	u8 byte = 0x5a;

	p2p_fake_add_vram(fake);
	p2p_fake_mmap(fake, ADDR, SIZE, SIZE, PROT_READ | PROT_WRITE);
	user = p2p_user_create(test, NULL, ADDR, SIZE, true);
	ext = copy_extent(test, user, P2P_WRITE);
	KUNIT_EXPECT_TRUE(test, !ext->kva);
	copy_expect_bounds(test, ext);
	copy_expect_data(test, ext);

	KUNIT_EXPECT_EQ(test, 0, p2p_copy_to(ext, 5, &byte, 1));
	KUNIT_EXPECT_EQ(test, 0x5a, fake->vram[SIZE + 5]);

	/* The exporter's errno comes through. */
	fake->err = -EIO;
	KUNIT_EXPECT_EQ(test, -EIO, p2p_copy_to(ext, 5, &byte, 1));
	KUNIT_EXPECT_EQ(test, -EIO, p2p_copy_from(ext, 5, &byte, 1));
}

static void copy_rdonly(struct kunit *test)
{
	struct p2p_fake *fake = p2p_fake_create(test, SIZE);
	struct p2p_extent *ext;
	struct p2p_user *user;
	u8 byte = 1;

	p2p_fake_add_vram(fake);
	p2p_fake_mmap(fake, ADDR, SIZE, 0, PROT_READ);
	user = p2p_user_create(test, NULL, ADDR, SIZE, true);
	ext = copy_extent(test, user, P2P_READ);
	KUNIT_EXPECT_EQ(test, -EPERM, p2p_copy_to(ext, 0, &byte, 1));
	KUNIT_EXPECT_EQ(test, 0, fake->vram[0]);
	KUNIT_EXPECT_EQ(test, 0, p2p_copy_from(ext, 0, &byte, 1));
	KUNIT_EXPECT_EQ(test, 0, byte);
}

static struct p2p_fake *copy_ram_fake(struct kunit *test)
{
	struct p2p_fake *fake = p2p_fake_create(test, SIZE);

	p2p_fake_evict(fake);
	p2p_fake_mmap(fake, ADDR, SIZE, 0, PROT_READ | PROT_WRITE);
	return fake;
}

static void copy_ram(struct kunit *test)
{
	struct p2p_fake *fake = copy_ram_fake(test);
	struct page *page = virt_to_page(fake->priv);
	int refs = page_count(page);
	struct p2p_extent *ext;
	struct p2p_user *user;
	u8 byte = 0x5a;

	/* The exporter's operations are for its own memory. */
	fake->err = -EIO;
	user = p2p_user_create(test, NULL, ADDR, SIZE, true);
	ext = copy_extent(test, user, P2P_WRITE);
	KUNIT_EXPECT_EQ(test, P2P_EXT_RAM, ext->flags);
	KUNIT_EXPECT_TRUE(test, !ext->kva);
	copy_expect_bounds(test, ext);
	copy_expect_data(test, ext);
	KUNIT_EXPECT_EQ(test, 0, p2p_copy_to(ext, PAGE_SIZE + 5, &byte, 1));
	KUNIT_EXPECT_EQ(test, 0x5a, ((u8 *)fake->priv)[PAGE_SIZE + 5]);
	KUNIT_EXPECT_EQ(test, P2P_PEER_RW, p2p_user_pfn(user, ADDR));
	KUNIT_EXPECT_EQ(test, refs, page_count(page));

	/* What the exporter said comes back to it. */
	KUNIT_ASSERT_EQ(test, 0, vm_munmap(ADDR, PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, 1, p2p_fake_unmaps(fake));
	KUNIT_EXPECT_PTR_EQ(test, fake->priv, fake->last.priv);
	KUNIT_EXPECT_PTR_EQ(test, &fake->exporter, fake->last.exporter);
	KUNIT_EXPECT_EQ(test, virt_to_phys(fake->priv), fake->last.phys);
	KUNIT_EXPECT_EQ(test, SIZE, fake->last.len);
}

/* Nor is it mapped where the exporter has no operations. */
static void copy_ram_without_ops(struct kunit *test)
{
	struct p2p_fake *fake = p2p_fake_create(test, SIZE);
	struct p2p_fake *plain = p2p_fake_attach(test, fake->region);
	struct p2p_extent *ext;
	struct p2p_user *user;

	p2p_fake_evict(plain);
	p2p_fake_mmap(plain, ADDR, SIZE, 0, PROT_READ | PROT_WRITE);
	user = p2p_user_create(test, NULL, ADDR, SIZE, true);
	ext = copy_extent(test, user, P2P_WRITE);
	KUNIT_EXPECT_TRUE(test, !ext->kva);
	copy_expect_data(test, ext);
}

/* An extent of a device is not for the CPU. */
static void copy_of_device(struct kunit *test)
{
	struct p2p_extent *ext;
	struct p2p_user *user;
	u8 byte = 0;

	copy_ram_fake(test);
	user = p2p_user_create(test, p2p_test_device(test), ADDR, SIZE, true);
	ext = copy_extent(test, user, P2P_WRITE);
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, p2p_copy_to(ext, 0, &byte, 1));
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, p2p_copy_from(ext, 0, &byte, 1));
}

/* Without operations the core maps the extent, and no more than that. */
static void copy_ioremap(struct kunit *test)
{
	struct p2p_fake *fake = p2p_fake_create(test, SIZE);
	struct p2p_fake *plain = p2p_fake_attach(test, fake->region);
	struct p2p_extent *ext;
	struct p2p_user *user;

	p2p_fake_mmap(plain, ADDR, SIZE, 0, PROT_READ);
	plain->map = p2p_fake_needed;
	user = p2p_user_create(test, NULL, ADDR, SIZE, true);
	ext = copy_extent(test, user, P2P_READ);
	KUNIT_EXPECT_NOT_NULL(test, (void __force *)ext->kva);
	KUNIT_ASSERT_EQ(test, 0, vm_munmap(ADDR, SIZE));
	KUNIT_EXPECT_EQ(test, 1, p2p_fake_unmaps(plain));
}

/* A real BAR, by memcpy_toio() */
static void copy_bar(struct kunit *test)
{
	struct p2p_fake *fake = p2p_fake_ivshmem(test);
	struct p2p_extent *ext;
	struct p2p_user *user;

	p2p_fake_mmap(fake, ADDR, SIZE, SIZE, PROT_READ | PROT_WRITE);
	user = p2p_user_create(test, NULL, ADDR, SIZE, true);
	ext = copy_extent(test, user, P2P_WRITE);
	KUNIT_EXPECT_EQ(test, fake->region->start + SIZE, ext->phys);
	copy_expect_bounds(test, ext);
	copy_expect_data(test, ext);
}

static struct kunit_case p2p_copy_cases[] = {
	KUNIT_CASE(copy_by_ops),
	KUNIT_CASE(copy_rdonly),
	KUNIT_CASE(copy_ram),
	KUNIT_CASE(copy_ram_without_ops),
	KUNIT_CASE(copy_of_device),
	KUNIT_CASE(copy_ioremap),
	KUNIT_CASE(copy_bar),
	{}
};

static struct kunit_suite p2p_copy_suite = {
	.name = "p2p_copy",
	.suite_init = p2p_refusals_start,
	.suite_exit = p2p_refusals_stop,
	.test_cases = p2p_copy_cases,
};

kunit_test_suite(p2p_copy_suite);

MODULE_DESCRIPTION("KUnit tests of CPU copies of peer memory");
MODULE_LICENSE("GPL");
