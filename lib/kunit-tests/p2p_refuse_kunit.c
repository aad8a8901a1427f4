// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of refusals: permissions of the VMA and of the importer, errors
 * of the exporter, and what the importer may still do afterwards.
 */
#include <linux/file.h>
#include <linux/mman.h>

#include "p2p_kunit.h"

#define ADDR		P2P_TEST_ADDR
#define PAGES(n)	((unsigned long)(n) * PAGE_SIZE)
#define SIZE		PAGES(16)
#define NEEDED		(ADDR + PAGES(4))

static struct p2p_user *refuse_user(struct kunit *test, bool write)
{
	p2p_refusals_take();
	return p2p_user_create(test, NULL, ADDR, SIZE, write);
}

/* A VMA that is unfit: the exporter never hears of it. */
static void refuse_vma(struct kunit *test, struct p2p_fake *fake,
		       unsigned long flags, int err, enum p2p_reason reason)
{
	struct p2p_user *user = refuse_user(test, true);

	P2P_EXPECT_REFUSED(test, p2p_user_fault(user, NEEDED, PAGE_SIZE, flags),
			   err, reason);
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&fake->maps));
	KUNIT_EXPECT_NULL(test, p2p_user_extent(user, NEEDED));
}

static void refuse_not_pfnmap(struct kunit *test)
{
	struct p2p_fake *fake = p2p_fake_create(test, SIZE);
	vm_flags_t keep = fake->vm_flags;

	fake->vm_flags &= ~VM_PFNMAP;
	p2p_fake_mmap(fake, ADDR, SIZE, 0, PROT_READ);
	fake->vm_flags = keep;
	kunit_warning_suppress(test) {
		refuse_vma(test, fake, P2P_READ, -EFAULT, P2P_REASON_NOT_PFNMAP);
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 1);
	}
}

/* A zap would be for good. */
static void refuse_no_fault(struct kunit *test)
{
	struct p2p_fake *fake = p2p_fake_create(test, SIZE);

	fake->vm_ops = &p2p_fake_no_fault_ops;
	p2p_fake_mmap(fake, ADDR, SIZE, 0, PROT_READ);
	kunit_warning_suppress(test) {
		refuse_vma(test, fake, P2P_READ, -EFAULT, P2P_REASON_NO_FAULT);
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 1);
	}
}

static void refuse_cow(struct kunit *test)
{
	struct p2p_fake *fake = p2p_fake_create(test, SIZE);

	p2p_test_mmap(test, fake->file, ADDR, SIZE, 0, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE);
	refuse_vma(test, fake, P2P_READ, -EFAULT, P2P_REASON_NOT_SHARED);
}

static void refuse_private(struct kunit *test)
{
	struct p2p_fake *fake = p2p_fake_create(test, SIZE);
	struct file *file = p2p_fake_open(fake, O_RDONLY);

	p2p_test_mmap(test, file, ADDR, SIZE, 0, PROT_READ, MAP_PRIVATE);
	fput(file);
	refuse_vma(test, fake, P2P_READ, -EFAULT, P2P_REASON_NOT_SHARED);
}

static void refuse_prot_none(struct kunit *test)
{
	struct p2p_fake *fake = p2p_fake_create(test, SIZE);

	p2p_fake_mmap(fake, ADDR, SIZE, 0, PROT_NONE);
	refuse_vma(test, fake, P2P_READ, -EFAULT, P2P_REASON_VMA_READ);
}

/* PROT_WRITE alone, as doorbells are mapped: the CPU can read it, too. */
static void refuse_prot_write(struct kunit *test)
{
	struct p2p_fake *fake = p2p_fake_create(test, SIZE);
	struct p2p_user *reader, *writer;

	p2p_fake_mmap(fake, ADDR, SIZE, 0, PROT_WRITE);
	reader = refuse_user(test, false);
	KUNIT_EXPECT_EQ(test, 0, p2p_user_fault(reader, NEEDED, PAGE_SIZE,
						P2P_READ));
	writer = refuse_user(test, true);
	KUNIT_EXPECT_EQ(test, 0, p2p_user_fault(writer, NEEDED, PAGE_SIZE,
						P2P_WRITE));
}

static void refuse_vma_write(struct kunit *test)
{
	struct p2p_fake *fake = p2p_fake_create(test, SIZE);

	p2p_fake_mmap(fake, ADDR, SIZE, 0, PROT_READ);
	refuse_vma(test, fake, P2P_WRITE, -EPERM, P2P_REASON_VMA_WRITE);
}

/* A shared mapping of a file that was opened for reading can be read. */
static void refuse_rdonly_file(struct kunit *test)
{
	struct p2p_fake *fake = p2p_fake_create(test, SIZE);
	struct file *file = p2p_fake_open(fake, O_RDONLY);
	struct p2p_user *user;

	p2p_test_mmap(test, file, ADDR, SIZE, 0, PROT_READ, MAP_SHARED);
	fput(file);
	refuse_vma(test, fake, P2P_WRITE, -EPERM, P2P_REASON_VMA_WRITE);
	user = refuse_user(test, true);
	KUNIT_EXPECT_EQ(test, 0,
			p2p_user_fault(user, NEEDED, PAGE_SIZE, P2P_READ));
	KUNIT_EXPECT_EQ(test, P2P_PEER_RO, p2p_user_pfn(user, NEEDED));
}

static void refuse_importer_write(struct kunit *test)
{
	struct p2p_fake *fake = p2p_fake_create(test, SIZE);
	struct p2p_user *user;

	p2p_fake_mmap(fake, ADDR, SIZE, 0, PROT_READ | PROT_WRITE);
	user = refuse_user(test, false);
	P2P_EXPECT_REFUSED(test,
			   p2p_user_fault(user, NEEDED, PAGE_SIZE, P2P_WRITE),
			   -EPERM, P2P_REASON_IMPORTER_WRITE);
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&fake->maps));
	KUNIT_EXPECT_EQ(test, 0,
			p2p_user_fault(user, NEEDED, PAGE_SIZE, P2P_READ));
}

/* The exporter */

struct refuse_errno {
	const char *desc;
	int ret;
	int err;
};

static const struct refuse_errno refuse_errno[] = {
	{ "ENOMEM", -ENOMEM, -ENOMEM },
	{ "EPERM", -EPERM, -EPERM },
	{ "ENXIO", -ENXIO, -ENXIO },
	{ "EFAULT", -EFAULT, -EFAULT },
	{ "EREMOTE", -EREMOTE, -EREMOTE },
	{ "ETIMEDOUT", -ETIMEDOUT, -ETIMEDOUT },
	{ "EBUSY", -EBUSY, -EIO },
	{ "EAGAIN without a wait", -EAGAIN, -EIO },
	{ "ENOLCK", -ENOLCK, -EIO },
	{ "positive", 1, -EINVAL },
};

KUNIT_ARRAY_PARAM_DESC(refuse_errno, refuse_errno, desc);

/* An errno comes through, if it has no other meaning on the way. */
static void refuse_exporter(struct kunit *test)
{
	const struct refuse_errno *e = test->param_value;
	struct p2p_fake *fake = p2p_fake_create(test, SIZE);
	struct p2p_user *user;

	p2p_fake_mmap(fake, ADDR, SIZE, 0, PROT_READ);
	user = refuse_user(test, true);
	fake->map = p2p_fake_error;
	fake->err = e->ret;
	P2P_EXPECT_REFUSED(test,
			   p2p_user_fault(user, NEEDED, PAGE_SIZE, P2P_READ),
			   e->err, P2P_REASON_EXPORTER);
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&fake->maps));
}

/* Grants, and then thinks better of it. */
static int refuse_map_then_fail(struct p2p_fake *fake,
				struct vm_area_struct *vma,
				struct p2p_map_req *req)
{
	KUNIT_EXPECT_EQ(fake->test, 0, p2p_fake_needed(fake, vma, req));
	return -ENXIO;
}

static void refuse_after_grant(struct kunit *test)
{
	struct p2p_fake *fake = p2p_fake_create(test, SIZE);
	struct p2p_user *user;

	p2p_fake_mmap(fake, ADDR, SIZE, 0, PROT_READ);
	user = refuse_user(test, true);
	fake->map = refuse_map_then_fail;
	P2P_EXPECT_REFUSED(test,
			   p2p_user_fault(user, NEEDED, PAGE_SIZE, P2P_READ),
			   -ENXIO, P2P_REASON_EXPORTER);
	KUNIT_EXPECT_EQ(test, 1, p2p_fake_unmaps(fake));
	KUNIT_EXPECT_NULL(test, p2p_user_extent(user, NEEDED));
}

static void refuse_no_extent(struct kunit *test)
{
	struct p2p_fake *fake = p2p_fake_create(test, SIZE);
	struct p2p_user *user;

	p2p_fake_mmap(fake, ADDR, SIZE, 0, PROT_READ);
	user = refuse_user(test, true);
	/* Success, without a grant */
	fake->map = p2p_fake_error;
	P2P_EXPECT_REFUSED(test,
			   p2p_user_fault(user, NEEDED, PAGE_SIZE, P2P_READ),
			   -EFAULT, P2P_REASON_NO_EXTENT);
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&fake->maps));
}

/* Both neighbours of the page that is needed */
static int refuse_map_elsewhere(struct p2p_fake *fake,
				struct vm_area_struct *vma,
				struct p2p_map_req *req)
{
	int ret = p2p_fake_grant(fake, req, ADDR, fake->region->start, PAGES(4),
				 0);

	return ret ?: p2p_fake_grant(fake, req, NEEDED + PAGES(1),
				     fake->region->start + PAGES(4), PAGES(3), 0);
}

static void refuse_granted_elsewhere(struct kunit *test)
{
	struct p2p_fake *fake = p2p_fake_create(test, SIZE);
	struct p2p_user *user;

	p2p_fake_mmap(fake, ADDR, SIZE, 0, PROT_READ);
	user = refuse_user(test, true);
	fake->map = refuse_map_elsewhere;
	P2P_EXPECT_REFUSED(test,
			   p2p_user_fault(user, NEEDED, PAGES(2), P2P_READ),
			   -EFAULT, P2P_REASON_NO_EXTENT);
	KUNIT_EXPECT_EQ(test, 2, p2p_fake_unmaps(fake));
	KUNIT_EXPECT_NULL(test, p2p_user_extent(user, ADDR));
	KUNIT_EXPECT_NULL(test, p2p_user_extent(user, NEEDED + PAGES(1)));
}

static int refuse_map_rdonly(struct p2p_fake *fake, struct vm_area_struct *vma,
			     struct p2p_map_req *req)
{
	return p2p_fake_grant(fake, req, req->window_start,
			      p2p_fake_phys(fake, vma, req->window_start),
			      req->window_end - req->window_start,
			      P2P_EXT_RDONLY);
}

/* It would say the same again: it is asked once. */
static void refuse_grant_write(struct kunit *test)
{
	struct p2p_fake *fake = p2p_fake_create(test, SIZE);
	struct p2p_user *user;

	p2p_fake_mmap(fake, ADDR, SIZE, 0, PROT_READ | PROT_WRITE);
	user = refuse_user(test, true);
	fake->map = refuse_map_rdonly;
	P2P_EXPECT_REFUSED(test,
			   p2p_user_fault(user, NEEDED, PAGE_SIZE, P2P_WRITE),
			   -EPERM, P2P_REASON_GRANT_WRITE);
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&fake->maps));
	KUNIT_EXPECT_TRUE(test, fake->req.write);
	KUNIT_EXPECT_EQ(test, 1, p2p_fake_unmaps(fake));

	/* Nor is it asked when the extent is live. */
	KUNIT_EXPECT_EQ(test, 0, p2p_user_fault(user, NEEDED, SIZE / 2, P2P_READ));
	KUNIT_EXPECT_EQ(test, P2P_PEER_RO, p2p_user_pfn(user, NEEDED));
	KUNIT_EXPECT_EQ(test, 2, atomic_read(&fake->maps));
	P2P_EXPECT_REFUSED(test,
			   p2p_user_fault(user, NEEDED, PAGE_SIZE, P2P_WRITE),
			   -EPERM, P2P_REASON_GRANT_WRITE);
	KUNIT_EXPECT_EQ(test, 2, atomic_read(&fake->maps));
	KUNIT_EXPECT_NOT_NULL(test, p2p_user_extent(user, NEEDED));
	KUNIT_EXPECT_EQ(test, 1, p2p_fake_unmaps(fake));
}

/* The second of two mappings is refused: nothing of the first stays behind. */
static void refuse_second(struct kunit *test)
{
	struct p2p_fake *one = p2p_fake_create(test, SIZE);
	struct p2p_fake *two = p2p_fake_create(test, SIZE);
	struct p2p_user *user;

	p2p_fake_mmap(one, ADDR, SIZE / 2, 0, PROT_READ);
	p2p_fake_mmap(two, ADDR + SIZE / 2, SIZE / 2, 0, PROT_READ);
	user = refuse_user(test, true);
	two->map = p2p_fake_error;
	two->err = -ENXIO;
	P2P_EXPECT_REFUSED(test, p2p_user_fault(user, ADDR, SIZE, P2P_READ),
			   -ENXIO, P2P_REASON_EXPORTER);
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&one->maps));
	KUNIT_EXPECT_EQ(test, 1, p2p_fake_unmaps(one));
	KUNIT_EXPECT_NULL(test, p2p_user_extent(user, ADDR));

	/* The first alone works as ever. */
	KUNIT_EXPECT_EQ(test, 0,
			p2p_user_fault(user, ADDR, SIZE / 2, P2P_READ));
	KUNIT_EXPECT_NOT_NULL(test, p2p_user_extent(user, ADDR));
	P2P_EXPECT_REFUSED(test, p2p_user_fault(user, ADDR, SIZE, P2P_READ),
			   -ENXIO, P2P_REASON_EXPORTER);
	KUNIT_EXPECT_NOT_NULL(test, p2p_user_extent(user, ADDR));
	KUNIT_EXPECT_EQ(test, 1, p2p_fake_unmaps(one));
}

static void refuse_operation(struct kunit *test)
{
	struct p2p_user *user = NULL;

	p2p_test_anon(test, ADDR, SIZE);
	user = refuse_user(test, true);
	P2P_EXPECT_REFUSED(test, p2p_extents_refuse(&user->set, NEEDED),
			   -EOPNOTSUPP, P2P_REASON_OPERATION);
}

static struct kunit_case p2p_refuse_cases[] = {
	KUNIT_CASE(refuse_not_pfnmap),
	KUNIT_CASE(refuse_no_fault),
	KUNIT_CASE(refuse_cow),
	KUNIT_CASE(refuse_private),
	KUNIT_CASE(refuse_prot_none),
	KUNIT_CASE(refuse_prot_write),
	KUNIT_CASE(refuse_vma_write),
	KUNIT_CASE(refuse_rdonly_file),
	KUNIT_CASE(refuse_importer_write),
	KUNIT_CASE_PARAM(refuse_exporter, refuse_errno_gen_params),
	KUNIT_CASE(refuse_after_grant),
	KUNIT_CASE(refuse_no_extent),
	KUNIT_CASE(refuse_granted_elsewhere),
	KUNIT_CASE(refuse_grant_write),
	KUNIT_CASE(refuse_second),
	KUNIT_CASE(refuse_operation),
	{}
};

static struct kunit_suite p2p_refuse_suite = {
	.name = "p2p_refuse",
	.suite_init = p2p_refusals_start,
	.suite_exit = p2p_refusals_stop,
	.test_cases = p2p_refuse_cases,
};

kunit_test_suite(p2p_refuse_suite);

MODULE_DESCRIPTION("KUnit tests of p2p refusals");
MODULE_LICENSE("GPL");
