// SPDX-License-Identifier: GPL-2.0
/* KUnit tests of what becomes of a bio of peer memory that a device may refuse. */
#include <linux/bio-p2p.h>
#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/uio.h>

#include "p2p_pages.h"

#define BLOCK	512
#define VECS	4

/* A disk says @says of the first bio, and yes to those behind it. */
struct bounce_test {
	struct p2p_fake *fake;
	struct gendisk *disk;
	struct bio_vec vecs[VECS];
	struct bio bio;
	blk_status_t says;
	blk_status_t other;	/* another bio of the same I/O has failed so */
	unsigned int asked;
};

static void bounce_disk(struct bio *bio)
{
	struct bounce_test *t = bio->bi_bdev->bd_disk->private_data;

	if (t->asked++) {
		bio_endio(bio);
		return;
	}
	/* As blkdev_bio_end_io() does, while ours is on its way. */
	if (t->other)
		t->bio.bi_status = t->other;
	bio_endio_status(bio, t->says);
}

static const struct block_device_operations bounce_disk_ops = {
	.submit_bio = bounce_disk,
};

static void bounce_end(void *data)
{
	struct bounce_test *t = data;

	bio_release_pages(&t->bio, false);
	bio_uninit(&t->bio);
	put_disk(t->disk);
}

static struct bounce_test *bounce_begin(struct kunit *test)
{
	struct queue_limits lim = { .features = BLK_FEAT_PCI_P2PDMA };
	struct bounce_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);
	struct iov_iter iter;

	KUNIT_ASSERT_NOT_NULL(test, t);
	t->fake = pages_fake(test, 0);
	t->disk = blk_alloc_disk(&lim, NUMA_NO_NODE);
	KUNIT_ASSERT_FALSE(test, IS_ERR(t->disk));
	t->disk->private_data = t;
	t->disk->fops = &bounce_disk_ops;
	/* As device_add_disk() would */
	atomic_or(BD_HAS_SUBMIT_BIO, &t->disk->part0->__bd_flags);
	set_capacity(t->disk, PAGE_SECTORS);
	bio_init(&t->bio, t->disk->part0, t->vecs, VECS, REQ_OP_WRITE);
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, bounce_end, t));
	iov_iter_ubuf(&iter, ITER_SOURCE, (void __user *)P2P_TEST_ADDR,
		      PAGE_SIZE);
	KUNIT_ASSERT_EQ(test, 0,
			bio_iov_iter_get_pages(&t->bio, &iter, 3, BLOCK - 1));
	return t;
}

static void bounce_submit(struct bio *bio, void *priv)
{
	bio_p2p_submit(bio);
}

struct bounce_row {
	const char *name;
	blk_status_t says, other, want;
	unsigned int asked;
};

static const struct bounce_row bounce_rows[] = {
	{ "done", BLK_STS_OK, BLK_STS_OK, BLK_STS_OK, 1 },
	{ "failed", BLK_STS_IOERR, BLK_STS_OK, BLK_STS_IOERR, 1 },
	{ "refused", BLK_STS_P2P_REFUSED, BLK_STS_OK, BLK_STS_OK, 2 },
	{ "done, another failed", BLK_STS_OK, BLK_STS_TARGET,
	  BLK_STS_TARGET, 1 },
	{ "refused, another failed", BLK_STS_P2P_REFUSED, BLK_STS_TARGET,
	  BLK_STS_TARGET, 2 },
};

KUNIT_ARRAY_PARAM_DESC(bounce, bounce_rows, name);

/* The bio has the disk's status, or that of another one that failed. */
static void bounce_status(struct kunit *test)
{
	const struct bounce_row *row = test->param_value;
	struct bounce_test *t = bounce_begin(test);

	t->says = row->says;
	t->other = row->other;
	bio_await(&t->bio, NULL, bounce_submit);
	KUNIT_EXPECT_EQ(test, row->want, t->bio.bi_status);
	KUNIT_EXPECT_EQ(test, row->asked, t->asked);
}

static struct kunit_case p2p_bounce_cases[] = {
	KUNIT_CASE_PARAM(bounce_status, bounce_gen_params),
	{}
};

static struct kunit_suite p2p_bounce_suite = {
	.name = "p2p_bounce",
	.test_cases = p2p_bounce_cases,
};

kunit_test_suite(p2p_bounce_suite);

MODULE_DESCRIPTION("KUnit tests of the bounce of direct I/O");
MODULE_LICENSE("GPL");
