// SPDX-License-Identifier: GPL-2.0
/*
 * Bounce direct I/O of peer memory (PCI P2PDMA pages) that the device cannot
 * reach.
 *
 * Whether a device reaches the memory of another is known when the request is
 * mapped, after the pages were pinned and the bio was split, remapped and
 * merged. The mapping then fails with BLK_STS_P2P_REFUSED. So what is submitted
 * is a clone: if that is refused, the bio itself is as its owner made it, and a
 * worker does the same I/O in pieces from kernel pages and copies. The owner
 * sees one completion, of its own bio, as ever.
 *
 * A part of the clone may have been done by DMA: of a striped or mirrored
 * device another leg may be in reach. The bounce does all of it again, with the
 * same data.
 */
#include <linux/bio-integrity.h>
#include <linux/bio-p2p.h>
#include <linux/blk-crypto.h>
#include <linux/blk-integrity.h>
#include <linux/blkdev.h>
#include <linux/io.h>
#include <linux/pci-p2pdma.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/workqueue.h>

#define CREATE_TRACE_POINTS
#include <trace/events/p2p_io.h>

/* One piece. With BIO_P2P_WORKERS it bounds the RAM in use. */
#define BIO_P2P_PIECE	SZ_256K
#define BIO_P2P_WORKERS	64

struct bio_p2p {
	struct work_struct work;
	struct bio clone;	/* bi_private is the bio; must be last */
};

static struct bio_set bio_p2p_set;
static struct workqueue_struct *bio_p2p_wq;

/* Kernel pages for one piece. */
struct bio_p2p_ram {
	unsigned int nr;
	struct bio_vec bv[];
};

static void bio_p2p_ram_free(struct bio_p2p_ram *ram)
{
	while (ram->nr--)
		__free_page(ram->bv[ram->nr].bv_page);
	kfree(ram);
}

/* @len bytes, or less but not less than @min. */
static struct bio_p2p_ram *bio_p2p_ram_alloc(unsigned int len, unsigned int min)
{
	unsigned int nr = DIV_ROUND_UP(len, PAGE_SIZE);
	struct bio_p2p_ram *ram;
	struct page *page;

	ram = kmalloc_flex(*ram, bv, nr, GFP_NOIO);
	if (!ram)
		return NULL;
	for (ram->nr = 0; ram->nr < nr; ram->nr++) {
		page = alloc_page(GFP_NOIO);
		if (!page)
			break;
		bvec_set_page(&ram->bv[ram->nr], page, PAGE_SIZE, 0);
	}
	if (ram->nr * PAGE_SIZE < min) {
		bio_p2p_ram_free(ram);
		return NULL;
	}
	return ram;
}

/*
 * Copy between the pages of @bio, from @at on, and @ram. @at.bi_size says how
 * much. The mapping of P2PDMA pages in the direct map is not cached.
 */
static blk_status_t bio_p2p_copy(struct bio *bio, struct bvec_iter at,
				 struct bio_p2p_ram *ram,
				 struct p2pdma_provider *mem, bool to_peer)
{
	size_t done = 0;

	while (at.bi_size) {
		struct bio_vec bv = bio_iter_iovec(bio, at);
		size_t off = done % PAGE_SIZE;
		size_t n = min(bv.bv_len, PAGE_SIZE - off);
		void *buf = page_address(ram->bv[done / PAGE_SIZE].bv_page) + off;
		void __iomem *io = (void __iomem __force *)bvec_virt(&bv);

		/*
		 * The pin keeps the memory ours, not the BAR answering. Page by
		 * page: whoever turns it off waits, and a device that hangs
		 * takes its time for each word.
		 */
		if (!pci_p2pdma_copy_begin(mem))
			return BLK_STS_OFFLINE;
		if (to_peer)
			memcpy_toio(io, buf, n);
		else
			memcpy_fromio(buf, io, n);
		if (to_peer)
			wmb();	/* in the device before the I/O counts as done */
		pci_p2pdma_copy_end(mem);
		bio_advance_iter_single(bio, &at, n);
		done += n;
	}
	return BLK_STS_OK;
}

/* Did the copy of @len bytes go to, or come from, a device that was taken away? */
static bool bio_p2p_gone(struct p2pdma_provider *mem, struct bio_p2p_ram *ram,
			 unsigned int len, bool to_peer)
{
	/*
	 * What is gone reads as ones, from where it went on: so the last byte
	 * tells, and saves most of the config reads.
	 */
	if (!to_peer) {
		const u8 *page = page_address(ram->bv[(len - 1) / PAGE_SIZE].bv_page);

		if (page[(len - 1) % PAGE_SIZE] != 0xff)
			return false;
	}
	return !pci_device_is_present(to_pci_dev(mem->owner));
}

static void bio_p2p_submit_piece(struct bio *bio, void *priv)
{
	blk_crypto_submit_bio(bio);
}

/* Do @len bytes at offset @done of @bio, which was not submitted, from @ram. */
static blk_status_t bio_p2p_piece(struct bio *bio, unsigned int done,
				  unsigned int len, struct bio_p2p_ram *ram,
				  struct p2pdma_provider *mem)
{
	bool is_read = bio_op(bio) == REQ_OP_READ;
	struct bvec_iter at;
	struct bio piece;
	blk_status_t status;

	if (bio_init_clone(bio->bi_bdev, &piece, bio, GFP_NOIO))
		return BLK_STS_RESOURCE;
	if (len != bio->bi_iter.bi_size)
		bio_trim(&piece, done >> SECTOR_SHIFT, len >> SECTOR_SHIFT);
	at = piece.bi_iter;
	piece.bi_io_vec = ram->bv;
	piece.bi_iter.bi_idx = 0;
	piece.bi_iter.bi_offset = 0;
	piece.bi_opf &= ~(REQ_NOWAIT | REQ_POLLED);

	if (!is_read) {
		status = bio_p2p_copy(bio, at, ram, mem, false);
		if (!status && bio_p2p_gone(mem, ram, len, false))
			status = BLK_STS_OFFLINE;
		if (status) {
			bio_uninit(&piece);
			return status;
		}
	}
	bio_await(&piece, NULL, bio_p2p_submit_piece);
	status = piece.bi_status;
	bio_uninit(&piece);
	if (is_read && !status) {
		status = bio_p2p_copy(bio, at, ram, mem, true);
		if (!status && bio_p2p_gone(mem, ram, len, true))
			status = BLK_STS_OFFLINE;
	}
	return status;
}

static blk_status_t bio_p2p_bounce(struct bio *bio, struct p2pdma_provider *mem)
{
	unsigned int size = bio->bi_iter.bi_size, done, n;
	unsigned int block = bdev_logical_block_size(bio->bi_bdev);
	blk_status_t status = BLK_STS_OK;
	struct bio_p2p_ram *ram;

	/* An atomic write is one bio or none. */
	if (bio->bi_opf & REQ_ATOMIC)
		ram = bio_p2p_ram_alloc(size, size);
	else
		ram = bio_p2p_ram_alloc(min(size, BIO_P2P_PIECE), block);
	if (!ram)
		return BLK_STS_RESOURCE;

	for (done = 0; done < size && !status; done += n) {
		n = min(size - done, rounddown(ram->nr * PAGE_SIZE, block));
		status = bio_p2p_piece(bio, done, n, ram, mem);
		if (!status)
			pci_p2pdma_count(mem, P2PDMA_BOUNCED, n);
		cond_resched();
	}
	bio_p2p_ram_free(ram);
	return status;
}

/*
 * Who makes several bios of one I/O may keep in the first what became of the
 * others, before that has ended: so an error is set, and success is not.
 */
static void bio_p2p_set_status(struct bio *bio, blk_status_t status)
{
	if (status)
		bio->bi_status = status;
}

/* The I/O of @bio from RAM, if the CPU may copy. Ends @bio. */
static void bio_p2p_by_cpu(struct bio *bio)
{
	struct p2pdma_provider *mem;
	blk_status_t status;

	mem = pci_p2pdma_page_provider(bio->bi_io_vec->bv_page);
	if (pci_p2pdma_cpu_allowed(mem)) {
		status = bio_p2p_bounce(bio, mem);
		trace_p2p_bounce(bio, mem->owner, status);
	} else {
		status = BLK_STS_P2P_REFUSED;
		pci_p2pdma_count(mem, P2PDMA_REFUSED, bio->bi_iter.bi_size);
		trace_p2p_io_refuse(bio, mem->owner, status);
	}
	bio_p2p_set_status(bio, status);
	bio_endio(bio);
}

static void bio_p2p_work(struct work_struct *work)
{
	struct bio_p2p *guard = container_of(work, struct bio_p2p, work);
	struct bio *bio = guard->clone.bi_private;

	bio_put(&guard->clone);
	bio_p2p_by_cpu(bio);
}

static void bio_p2p_queue(struct bio *clone)
{
	struct bio_p2p *guard = container_of(clone, struct bio_p2p, clone);

	INIT_WORK(&guard->work, bio_p2p_work);
	queue_work(bio_p2p_wq, &guard->work);
}

/* May be in softirq: copies and waits are for the worker. */
static void bio_p2p_end_io(struct bio *clone)
{
	struct bio *bio = clone->bi_private;

	if (unlikely(clone->bi_status == BLK_STS_P2P_REFUSED)) {
		bio_p2p_queue(clone);
		return;
	}
	bio_p2p_set_status(bio, clone->bi_status);
	bio_put(clone);
	bio_endio(bio);
}

/*
 * Is there no use in asking the device? On the way to it the CPU encrypts the
 * data, or makes or verifies protection information for it.
 */
static bool bio_p2p_at_once(struct bio *bio)
{
#ifdef CONFIG_BLK_INLINE_ENCRYPTION
	if (bio_has_crypt_ctx(bio))
		return !blk_crypto_config_supported_natively(bio->bi_bdev,
				&bio->bi_crypt_context->bc_key->crypto_cfg);
#endif
	return bio_integrity_action(bio) & BI_ACT_CHECK;
}

/*
 * To refuse one of several writes to a zone that are on their way fails those
 * behind it. So the device is not asked. The pieces are written here and now,
 * since those of the next bio must not come in between.
 */
static bool bio_p2p_to_zone(struct bio *bio)
{
	struct p2pdma_provider *mem;

	if (!op_is_write(bio_op(bio)) || !bdev_is_zoned(bio->bi_bdev))
		return false;
	mem = pci_p2pdma_page_provider(bio->bi_io_vec->bv_page);
	if (!pci_p2pdma_cpu_allowed(mem))
		return false;
	if (bio->bi_opf & REQ_NOWAIT)
		bio_wouldblock_error(bio);
	else
		bio_p2p_by_cpu(bio);
	return true;
}

/**
 * __bio_p2p_submit - bio_p2p_submit() of a bio that may be of peer memory
 * @bio: the bio
 */
void __bio_p2p_submit(struct bio *bio)
{
	struct bio *clone;

	/* One bio is of one kind of pages: see zone_device_pages_compatible(). */
	if (!is_pci_p2pdma_page(bio->bi_io_vec->bv_page)) {
		blk_crypto_submit_bio(bio);
		return;
	}
	if (bio_p2p_to_zone(bio))
		return;
	clone = bio_alloc_clone(bio->bi_bdev, bio, GFP_NOIO, &bio_p2p_set);
	if (!clone) {
		bio_endio_status(bio, BLK_STS_RESOURCE);
		return;
	}
	/* Whoever polls looks at @bio. */
	clone->bi_opf &= ~REQ_POLLED;
	clone->bi_private = bio;
	clone->bi_end_io = bio_p2p_end_io;
	if (bio_p2p_at_once(bio))
		bio_p2p_queue(clone);
	else
		blk_crypto_submit_bio(clone);
}
EXPORT_SYMBOL_GPL(__bio_p2p_submit);

static int __init bio_p2p_init(void)
{
	int ret;

	ret = bioset_init(&bio_p2p_set, BIO_POOL_SIZE,
			  offsetof(struct bio_p2p, clone),
			  BIOSET_PERCPU_CACHE);
	if (ret)
		return ret;
	bio_p2p_wq = alloc_workqueue("bio_p2p", WQ_UNBOUND | WQ_MEM_RECLAIM,
				     BIO_P2P_WORKERS);
	if (!bio_p2p_wq) {
		bioset_exit(&bio_p2p_set);
		return -ENOMEM;
	}
	return 0;
}
subsys_initcall(bio_p2p_init);
