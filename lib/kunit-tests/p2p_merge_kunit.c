// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of requests of two bios: pages that are mapped for DMA in another way
 * are not for the same request.
 */
#include <linux/bio.h>
#include <linux/blk-mq.h>
#include <linux/blkdev.h>

#include "p2p_pages.h"

enum merge_page { RAM, PEER };

struct merge_row {
	const char *name;
	enum merge_page bio[2];
	int want;
};

static const struct merge_row merge_rows[] = {
	{ "RAM, RAM", { RAM, RAM }, 0 },
	{ "RAM, peer", { RAM, PEER }, -EINVAL },
	{ "peer, RAM", { PEER, RAM }, -EINVAL },
	{ "peer, peer", { PEER, PEER }, 0 },
};

KUNIT_ARRAY_PARAM_DESC(merge, merge_rows, name);

struct merge_test {
	struct p2p_fake *fake;
	struct gendisk *disk;
	struct page *ram;
	struct bio_vec vec[2];
	struct bio bio[2];
	unsigned int bios;
};

static void merge_end(void *data)
{
	struct merge_test *t = data;

	while (t->bios)
		bio_uninit(&t->bio[--t->bios]);
	put_disk(t->disk);
	__free_page(t->ram);
}

static struct merge_test *merge_begin(struct kunit *test)
{
	struct queue_limits lim = {
		.features = BLK_FEAT_PCI_P2PDMA,
		.max_hw_sectors = 1024,
		.max_segments = 16,
	};
	struct merge_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, t);
	t->fake = pages_fake(test, 0);
	t->ram = alloc_page(GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, t->ram);
	t->disk = blk_alloc_disk(&lim, NUMA_NO_NODE);
	if (IS_ERR(t->disk))
		__free_page(t->ram);
	KUNIT_ASSERT_FALSE(test, IS_ERR(t->disk));
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, merge_end, t));
	return t;
}

static struct bio *merge_bio(struct merge_test *t, enum merge_page what)
{
	struct bio_vec *vec = &t->vec[t->bios];
	struct bio *bio = &t->bio[t->bios++];

	bio_init(bio, t->disk->part0, vec, 1, REQ_OP_DRV_OUT);
	__bio_add_page(bio, what == PEER ? pages_page(t->fake, 0) : t->ram,
		       SECTOR_SIZE, 0);
	return bio;
}

static void merge_append(struct kunit *test)
{
	const struct merge_row *row = test->param_value;
	struct merge_test *t = merge_begin(test);
	struct request rq = { .q = t->disk->queue, .cmd_flags = REQ_OP_DRV_OUT };

	KUNIT_ASSERT_EQ(test, 0,
			blk_rq_append_bio(&rq, merge_bio(t, row->bio[0])));
	KUNIT_EXPECT_EQ(test, row->want,
			blk_rq_append_bio(&rq, merge_bio(t, row->bio[1])));
}

static struct kunit_case p2p_merge_cases[] = {
	KUNIT_CASE_PARAM(merge_append, merge_gen_params),
	{}
};

static struct kunit_suite p2p_merge_suite = {
	.name = "p2p_merge",
	.test_cases = p2p_merge_cases,
};

kunit_test_suite(p2p_merge_suite);

MODULE_DESCRIPTION("KUnit tests of requests of peer memory");
MODULE_LICENSE("GPL");
