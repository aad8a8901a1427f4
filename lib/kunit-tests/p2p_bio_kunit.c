// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of bios whose buffer is the mapping of an exporter with pages: what
 * is in one bio, and what is not waited for with pages in hand.
 */
#include <linux/anon_inodes.h>
#include <linux/bio.h>
#include <linux/blk-mq.h>
#include <linux/blkdev.h>
#include <linux/completion.h>
#include <linux/file.h>
#include <linux/kthread.h>
#include <linux/mman.h>
#include <linux/p2p_held.h>
#include <linux/rwsem.h>
#include <linux/uio.h>
#include <linux/workqueue.h>

#include "p2p_pages.h"

#define ADDR	P2P_TEST_ADDR
#define BEHIND	(ADDR + PAGES_MAX * PAGE_SIZE)
#define BLOCK	512
#define VECS	4
#define LONG	60000	/* ms; longer than any test */

/* The second page of the mapping is on the move until the mover has run. */
struct bio_test {
	struct p2p_fake *fake;
	struct gendisk *disk;
	struct bio_vec vecs[VECS];
	struct bio bio;
	struct delayed_work mover;
	bool here;
	int refs;	/* of the first page, when the mover ran */
	/* RAM: the page of the exporter, and one that is faulted in */
	struct page *ram, *next;
	unsigned int faults;
	int fault_refs;	/* most of @ram in a fault */
};

static int bio_map(struct p2p_fake *fake, struct vm_area_struct *vma,
		   struct p2p_map_req *req)
{
	struct bio_test *t = fake->priv;

	if (req->start == ADDR || READ_ONCE(t->here))
		return p2p_fake_one(fake, vma, req);
	/* After the last one who asks */
	mod_delayed_work(system_percpu_wq, &t->mover, HZ / 2);
	return p2p_req_wait(req, &fake->exporter);
}

static void bio_mover(struct work_struct *work)
{
	struct bio_test *t = container_of(work, struct bio_test, mover.work);

	t->refs = pages_refs(t->fake, 0);
	WRITE_ONCE(t->here, true);
	p2p_wake(&t->fake->exporter);
}

static void bio_test_end(void *data)
{
	struct bio_test *t = data;

	cancel_delayed_work_sync(&t->mover);
	bio_release_pages(&t->bio, false);
	bio_uninit(&t->bio);
	put_disk(t->disk);
	if (t->next)
		put_page(t->next);
	if (t->ram)
		put_page(t->ram);
}

static struct bio_test *bio_test_begin(struct kunit *test, blk_opf_t opf)
{
	struct queue_limits lim = {
		.features = BLK_FEAT_PCI_P2PDMA,
		.max_hw_sectors = 1024,
		.max_segments = 1024,
	};
	struct bio_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, t);
	p2p_test_wait_ms(test, LONG);
	t->fake = pages_fake(test, 0);
	t->fake->map = bio_map;
	t->fake->priv = t;
	INIT_DELAYED_WORK(&t->mover, bio_mover);
	t->disk = blk_alloc_disk(&lim, NUMA_NO_NODE);
	KUNIT_ASSERT_FALSE(test, IS_ERR(t->disk));
	bio_init(&t->bio, t->disk->part0, t->vecs, VECS, opf);
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, bio_test_end, t));
	return t;
}

static int bio_test_get(struct bio_test *t, struct iov_iter *iter)
{
	return bio_iov_iter_get_pages(&t->bio, iter, 3, BLOCK - 1);
}

/* What is there is a bio, and what moves is for the next one. */
static void bio_ends(struct kunit *test)
{
	struct bio_test *t = bio_test_begin(test, REQ_OP_WRITE);
	struct iov_iter iter;

	iov_iter_ubuf(&iter, ITER_SOURCE, (void __user *)ADDR, 2 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, 0, bio_test_get(t, &iter));
	KUNIT_EXPECT_EQ(test, PAGE_SIZE, t->bio.bi_iter.bi_size);
	KUNIT_EXPECT_EQ(test, PAGE_SIZE, iov_iter_count(&iter));
	KUNIT_EXPECT_FALSE(test, READ_ONCE(t->here));
}

/* A block in both cannot be cut: wait for it, with nothing in hand. */
static void bio_block_waits(struct kunit *test)
{
	struct bio_test *t = bio_test_begin(test, REQ_OP_WRITE);
	unsigned long at = ADDR + PAGE_SIZE - BLOCK / 2;
	struct iov_iter iter;

	iov_iter_ubuf(&iter, ITER_SOURCE, (void __user *)at, 2 * BLOCK);
	KUNIT_EXPECT_EQ(test, 0, bio_test_get(t, &iter));
	KUNIT_EXPECT_EQ(test, 2 * BLOCK, t->bio.bi_iter.bi_size);
	KUNIT_EXPECT_EQ(test, 0, iov_iter_count(&iter));
	KUNIT_EXPECT_TRUE(test, READ_ONCE(t->here));
	KUNIT_EXPECT_EQ(test, 1, t->refs);
	KUNIT_EXPECT_EQ(test, 1 + GUP_PIN_COUNTING_BIAS,
			pages_refs(t->fake, 0));
}

/* Nor can what has to be one bio. */
static void bio_atomic_waits(struct kunit *test)
{
	struct bio_test *t = bio_test_begin(test, REQ_OP_WRITE | REQ_ATOMIC);
	struct iov_iter iter;

	iov_iter_ubuf(&iter, ITER_SOURCE, (void __user *)ADDR, 2 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, 0, bio_test_get(t, &iter));
	KUNIT_EXPECT_EQ(test, 2 * PAGE_SIZE, t->bio.bi_iter.bi_size);
	KUNIT_EXPECT_TRUE(test, READ_ONCE(t->here));
	KUNIT_EXPECT_EQ(test, 1, t->refs);
}

/* It never comes: nothing is left in the bio, and the iterator is as it was. */
static void bio_wait_fails(struct kunit *test)
{
	struct bio_test *t = bio_test_begin(test, REQ_OP_WRITE | REQ_ATOMIC);
	struct iov_iter iter;

	p2p_test_wait_ms(test, 1);
	iov_iter_ubuf(&iter, ITER_SOURCE, (void __user *)ADDR, 2 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, -ETIMEDOUT, bio_test_get(t, &iter));
	KUNIT_EXPECT_EQ(test, 0, t->bio.bi_iter.bi_size);
	KUNIT_EXPECT_EQ(test, 0, t->bio.bi_vcnt);
	KUNIT_EXPECT_EQ(test, 2 * PAGE_SIZE, iov_iter_count(&iter));
	KUNIT_EXPECT_TRUE(test, pages_rest(t->fake, PAGES_MAX));
}

/* RAM is never in a bio with peer memory, so it is not faulted in for one. */
static void bio_no_fault(struct kunit *test)
{
	struct bio_test *t = bio_test_begin(test, REQ_OP_WRITE);
	unsigned long ram = ADDR - 2 * PAGE_SIZE;
	struct iovec iov[] = {
		{ (void __user *)ADDR, PAGE_SIZE },
		{ (void __user *)ram, PAGE_SIZE },
	};
	struct iov_iter iter;
	struct page *page;

	p2p_test_anon(test, ram, PAGE_SIZE);
	iov_iter_init(&iter, ITER_SOURCE, iov, 2, 2 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, 0, bio_test_get(t, &iter));
	KUNIT_EXPECT_EQ(test, PAGE_SIZE, t->bio.bi_iter.bi_size);
	KUNIT_EXPECT_EQ(test, PAGE_SIZE, iov_iter_count(&iter));
	KUNIT_EXPECT_GE(test, 0,
			pin_user_pages_fast(ram, 1, FOLL_NOFAULT, &page));
	/* The next one does. */
	bio_release_pages(&t->bio, false);
	bio_uninit(&t->bio);
	bio_init(&t->bio, t->disk->part0, t->vecs, VECS, REQ_OP_WRITE);
	KUNIT_EXPECT_EQ(test, 0, bio_test_get(t, &iter));
	KUNIT_EXPECT_EQ(test, 0, iov_iter_count(&iter));
}

static int bio_map_ram(struct p2p_fake *fake, struct vm_area_struct *vma,
		       struct p2p_map_req *req)
{
	struct bio_test *t = fake->priv;

	return p2p_fake_grant(fake, req, req->start, page_to_phys(t->ram),
			      PAGE_SIZE, P2P_EXT_RAM);
}

static vm_fault_t bio_next_fault(struct vm_fault *vmf)
{
	struct bio_test *t = vmf->vma->vm_private_data;

	t->faults++;
	if (t->ram)
		t->fault_refs = max(t->fault_refs, page_ref_count(t->ram));
	get_page(t->next);
	vmf->page = t->next;
	return 0;
}

static const struct vm_operations_struct bio_next_ops = {
	.fault = bio_next_fault,
};

static int bio_next_mmap(struct file *file, struct vm_area_struct *vma)
{
	vma->vm_private_data = file->private_data;
	vma->vm_ops = &bio_next_ops;
	return 0;
}

static const struct file_operations bio_next_fops = {
	.mmap = bio_next_mmap,
};

/* Behind the mapping of the object is a page that is not there yet. */
static void bio_test_next(struct kunit *test, struct bio_test *t)
{
	struct file *file;

	t->next = alloc_page(GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, t->next);
	file = anon_inode_create_getfile("[p2p_bio]", &bio_next_fops, t, O_RDWR,
					 NULL);
	KUNIT_ASSERT_FALSE(test, IS_ERR(file));
	p2p_test_mmap(test, file, BEHIND, PAGE_SIZE, 0, PROT_READ, MAP_SHARED);
	fput(file);
}

/* The object is in RAM. */
static struct bio_test *bio_test_evicted(struct kunit *test, blk_opf_t opf)
{
	struct bio_test *t = bio_test_begin(test, opf);

	t->ram = alloc_page(GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, t->ram);
	t->fake->map = bio_map_ram;
	bio_test_next(test, t);
	return t;
}

/*
 * In one call of GUP: an exporter was waited for, and has given a page; what
 * follows it is not faulted in.
 */
static void bio_wait_no_fault(struct kunit *test)
{
	struct bio_test *t = bio_test_begin(test, REQ_OP_WRITE);
	struct page *pages[2];
	int ret;

	bio_test_next(test, t);
	ret = pin_user_pages_fast(BEHIND - PAGE_SIZE, 2, FOLL_PCI_P2PDMA, pages);
	KUNIT_EXPECT_TRUE(test, READ_ONCE(t->here));
	KUNIT_EXPECT_EQ(test, 1, ret);
	KUNIT_EXPECT_EQ(test, 0, t->faults);
	if (ret > 0)
		unpin_user_pages(pages, ret);
}

static void bio_expect_begun_again(struct kunit *test, struct bio_test *t,
				   struct iov_iter *iter)
{
	KUNIT_EXPECT_EQ(test, 0, bio_test_get(t, iter));
	KUNIT_EXPECT_EQ(test, 2 * PAGE_SIZE, t->bio.bi_iter.bi_size);
	KUNIT_EXPECT_EQ(test, 0, iov_iter_count(iter));
	/* The fault was with nothing in hand. */
	KUNIT_EXPECT_EQ(test, 1, t->faults);
	KUNIT_EXPECT_EQ(test, 1, t->fault_refs);
	KUNIT_EXPECT_EQ(test, 2, atomic_read(&t->fake->maps));
	KUNIT_EXPECT_EQ(test, 1 + GUP_PIN_COUNTING_BIAS, page_ref_count(t->ram));
}

/* RAM of an exporter is waited for, too; with other RAM it is one bio, as ever. */
static void bio_ram_no_fault(struct kunit *test)
{
	struct bio_test *t = bio_test_evicted(test, REQ_OP_WRITE);
	struct iov_iter iter;

	iov_iter_ubuf(&iter, ITER_SOURCE, (void __user *)(BEHIND - PAGE_SIZE),
		      2 * PAGE_SIZE);
	bio_expect_begun_again(test, t, &iter);
}

static void bio_ram_no_fault_vec(struct kunit *test)
{
	struct bio_test *t = bio_test_evicted(test, REQ_OP_WRITE | REQ_ATOMIC);
	struct iovec iov[] = {
		{ (void __user *)ADDR, PAGE_SIZE },
		{ (void __user *)BEHIND, PAGE_SIZE },
	};
	struct iov_iter iter;

	iov_iter_init(&iter, ITER_SOURCE, iov, 2, 2 * PAGE_SIZE);
	bio_expect_begun_again(test, t, &iter);
}

/* A hole is no page that comes later: the bio ends there, or fails. */
static void bio_ram_hole(struct kunit *test)
{
	struct bio_test *t = bio_test_evicted(test, REQ_OP_WRITE);
	struct iovec iov[] = {
		{ (void __user *)ADDR, PAGE_SIZE },
		{ (void __user *)(BEHIND + PAGE_SIZE), PAGE_SIZE },
	};
	struct iov_iter iter;

	iov_iter_init(&iter, ITER_SOURCE, iov, 2, 2 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, 0, bio_test_get(t, &iter));
	KUNIT_EXPECT_EQ(test, PAGE_SIZE, t->bio.bi_iter.bi_size);
	KUNIT_EXPECT_EQ(test, PAGE_SIZE, iov_iter_count(&iter));
	bio_release_pages(&t->bio, false);
	bio_uninit(&t->bio);
	bio_init(&t->bio, t->disk->part0, t->vecs, VECS,
		 REQ_OP_WRITE | REQ_ATOMIC);
	iov_iter_init(&iter, ITER_SOURCE, iov, 2, 2 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, -EFAULT, bio_test_get(t, &iter));
	KUNIT_EXPECT_EQ(test, 0, t->bio.bi_vcnt);
	KUNIT_EXPECT_EQ(test, 2 * PAGE_SIZE, iov_iter_count(&iter));
	KUNIT_EXPECT_EQ(test, 1, page_ref_count(t->ram));
}

/*
 * A passthrough request of two bios. The memory of the second one is on the move:
 * it is waited for with nothing in hand, the first bio included.
 */
static void bio_request_waits(struct kunit *test)
{
	struct bio_test *t = bio_test_begin(test, REQ_OP_DRV_OUT);
	struct request rq = { .q = t->disk->queue, .cmd_flags = REQ_OP_DRV_OUT };
	unsigned int i, bios = 0, nr = BIO_MAX_VECS + 1;
	struct iov_iter iter;
	struct iovec *iov;
	struct bio *bio;

	iov = kunit_kcalloc(test, nr, sizeof(*iov), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, iov);
	for (i = 0; i < nr; i++)
		iov[i] = (struct iovec) { (void __user *)ADDR, BLOCK };
	iov[nr - 1].iov_base += PAGE_SIZE;
	iov_iter_init(&iter, ITER_SOURCE, iov, nr, nr * BLOCK);
	KUNIT_ASSERT_EQ(test, 0, blk_rq_map_user_iov(rq.q, &rq, NULL, &iter,
						     GFP_KERNEL));
	for (bio = rq.bio; bio; bio = bio->bi_next)
		bios++;
	KUNIT_EXPECT_EQ(test, 2, bios);
	KUNIT_EXPECT_EQ(test, nr * BLOCK, blk_rq_bytes(&rq));
	KUNIT_EXPECT_TRUE(test, READ_ONCE(t->here));
	KUNIT_EXPECT_EQ(test, 1, t->refs);
	blk_rq_unmap_user(rq.bio);
	KUNIT_EXPECT_TRUE(test, pages_rest(t->fake, PAGES_MAX));
}

/* Has mmap_lock, until it is told to go; but not for ever. */
struct bio_locker {
	struct task_struct *task;
	struct mm_struct *mm;
	bool write;
	struct completion has, go;
};

#define LOCKED	5	/* s */

static int bio_locker_fn(void *data)
{
	struct bio_locker *l = data;

	if (l->write)
		mmap_write_lock(l->mm);
	else
		mmap_read_lock(l->mm);
	complete(&l->has);
	wait_for_completion_timeout(&l->go, LOCKED * HZ);
	if (l->write)
		mmap_write_unlock(l->mm);
	else
		mmap_read_unlock(l->mm);
	return 0;
}

static void bio_locker_start(struct kunit *test, struct bio_locker *l, bool write)
{
	l->mm = current->mm;
	l->write = write;
	init_completion(&l->has);
	init_completion(&l->go);
	l->task = kthread_create(bio_locker_fn, l, "p2p_locker");
	KUNIT_ASSERT_FALSE(test, IS_ERR(l->task));
	get_task_struct(l->task);
	wake_up_process(l->task);
}

static void bio_locker_end(struct bio_locker *l)
{
	complete(&l->go);
	kthread_stop_put(l->task);
}

/*
 * With peer memory in hand nobody waits for mmap_lock: he would wait for a writer
 * in the queue, that one for readers, and these for user space.
 */
static void bio_no_mmap_lock(struct kunit *test)
{
	struct p2p_fake *fake = pages_fake(test, 0);
	unsigned int flags = FOLL_PCI_P2PDMA | FOLL_P2P_HELD;
	struct bio_locker reader, writer;
	unsigned long begin = jiffies;
	struct page *page;

	bio_locker_start(test, &reader, false);
	wait_for_completion(&reader.has);
	KUNIT_EXPECT_EQ(test, 1, pin_user_pages_fast(ADDR, 1, flags, &page));
	unpin_user_page(page);
	bio_locker_start(test, &writer, true);
	while (!rwsem_is_contended(&current->mm->mmap_lock) &&
	       time_before(jiffies, begin + HZ))
		schedule_timeout_uninterruptible(1);
	KUNIT_EXPECT_EQ(test, -EAGAIN,
			pin_user_pages_fast(ADDR, 1, flags, &page));
	KUNIT_EXPECT_FALSE(test, completion_done(&writer.has));
	bio_locker_end(&reader);
	wait_for_completion(&writer.has);
	KUNIT_EXPECT_EQ(test, -EAGAIN,
			pin_user_pages_fast(ADDR, 1, flags, &page));
	bio_locker_end(&writer);
	KUNIT_EXPECT_LT(test, jiffies - begin, LOCKED * HZ);
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&fake->maps));
	KUNIT_EXPECT_TRUE(test, pages_rest(fake, PAGES_MAX));
}

static struct kunit_case p2p_bio_cases[] = {
	KUNIT_CASE(bio_ends),
	KUNIT_CASE(bio_block_waits),
	KUNIT_CASE(bio_atomic_waits),
	KUNIT_CASE(bio_wait_fails),
	KUNIT_CASE(bio_no_fault),
	KUNIT_CASE(bio_wait_no_fault),
	KUNIT_CASE(bio_ram_no_fault),
	KUNIT_CASE(bio_ram_no_fault_vec),
	KUNIT_CASE(bio_ram_hole),
	KUNIT_CASE(bio_request_waits),
	KUNIT_CASE(bio_no_mmap_lock),
	{}
};

static struct kunit_suite p2p_bio_suite = {
	.name = "p2p_bio",
	.test_cases = p2p_bio_cases,
};

kunit_test_suite(p2p_bio_suite);

MODULE_DESCRIPTION("KUnit tests of bios of pages of p2p VMAs");
MODULE_LICENSE("GPL");
