/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Direct I/O to peer memory (PCI P2PDMA pages): what the layers that build bios
 * from user buffers need. See Documentation/block/bio-p2p.rst.
 */
#ifndef _LINUX_BIO_P2P_H
#define _LINUX_BIO_P2P_H

#include <linux/bio.h>
#include <linux/blk-crypto.h>
#include <linux/uio.h>

/**
 * enum p2p_cpu_path - why the CPU copies to or from a direct I/O buffer
 * @P2P_CPU_HOLE: zeros for a hole or an unwritten extent
 * @P2P_CPU_INLINE: file data that is in the inode
 * @P2P_CPU_BUFFERED: the page cache
 * @P2P_CPU_STABLE: a private copy, because the data must not change
 */
enum p2p_cpu_path {
	P2P_CPU_HOLE,
	P2P_CPU_INLINE,
	P2P_CPU_BUFFERED,
	P2P_CPU_STABLE,
};

#ifdef CONFIG_PCI_P2PDMA

void __bio_p2p_submit(struct bio *bio);
int __p2p_cpu_access(const struct iov_iter *iter, size_t len,
		     enum p2p_cpu_path path);

/**
 * bio_p2p_submit - submit a bio that may be of peer memory
 * @bio: a read or write of the caller's own pages
 *
 * If @bio is of peer memory and the device that gets it cannot reach that
 * memory, or the CPU has to see the data anyway, the data goes through a buffer in
 * RAM, and @bio ends with the status of that. A bio of RAM is submitted as by
 * blk_crypto_submit_bio().
 *
 * Context: may sleep; for a write of peer memory to a zone, until that is done.
 */
static inline void bio_p2p_submit(struct bio *bio)
{
	/* Whoever adds a peer page to a bio sets this. */
	if (likely(!(bio->bi_opf & REQ_NOMERGE)))
		blk_crypto_submit_bio(bio);
	else
		__bio_p2p_submit(bio);
}

/**
 * p2p_cpu_access - the CPU is about to use a direct I/O buffer
 * @iter: the buffer
 * @len: bytes of it
 * @path: why
 *
 * Counts the bytes that are peer memory.
 *
 * Context: may sleep and fault in pages, but not if @iter is nofault.
 * Return: 0, -EREMOTEIO if the buffer is peer memory that the CPU must not copy,
 * -EFAULT if @iter is nofault and the mapping is busy, or why the exporter could
 * not be asked: -ETIMEDOUT if it moves the memory, -EINTR, -ENOMEM.
 */
static inline int p2p_cpu_access(const struct iov_iter *iter, size_t len,
				 enum p2p_cpu_path path)
{
	if (!user_backed_iter(iter))
		return 0;
	return __p2p_cpu_access(iter, len, path);
}

#else /* !CONFIG_PCI_P2PDMA */

static inline void bio_p2p_submit(struct bio *bio)
{
	blk_crypto_submit_bio(bio);
}

static inline int p2p_cpu_access(const struct iov_iter *iter, size_t len,
				 enum p2p_cpu_path path)
{
	return 0;
}

#endif

#endif /* _LINUX_BIO_P2P_H */
