/* SPDX-License-Identifier: GPL-2.0 */
/* Buffers of RAM and of devices' p2pmem, and what the disk's DMA touched. */
#ifndef P2P_DIO_BUF_H
#define P2P_DIO_BUF_H

#include <stdbool.h>
#include <sys/types.h>
#include <sys/uio.h>

#define PROVIDERS	2
#define MAX_PIECES	8

struct providers {
	char allocate[PROVIDERS][64];
};

/*
 * A buffer in pieces. @virt is all of them as one range of addresses; of length
 * 0 if they do not adjoin.
 */
struct mixed {
	struct iovec piece[MAX_PIECES];
	char kind[MAX_PIECES];
	int nr;
	struct iovec virt;
	size_t len;
	char *map;
	void *mapped;
};

struct dma {
	size_t in[MAX_PIECES];		/* bytes of each piece */
	size_t elsewhere;
	bool twice;			/* a byte of the buffer was touched twice */
};

/* The first devices that give p2pmem to user space: 0, or -ENOENT. */
int providers_find(struct providers *p);

/*
 * @layout: pieces "KIND LENGTH", such as "R4096 A8192 R512". R is RAM, T is RAM
 * in a huge page, A and B are p2pmem of two devices, H is a hole, where nothing
 * is mapped. A piece ends where a page ends; or "KIND LENGTH@OFFSET" says where
 * in its first page it begins. Lengths are multiples of 4.
 */
int mixed_map(struct mixed *m, const struct providers *p, const char *layout);
void mixed_unmap(struct mixed *m);
void mixed_fill(struct mixed *m, unsigned int seed);
/* The number of bytes, from the start, that mixed_fill() would write too. */
size_t mixed_same(const struct mixed *m, unsigned int seed);
/* The same for ordinary memory. */
void pattern_fill(void *buf, size_t len, unsigned int seed);

/* What disks mapped from @start, a trace_end(), on: 0 or -errno. */
int trace_dma(long start, const struct mixed *m, struct dma *d);

/* Pages that GUP has pinned in the whole system, and not given back. */
long pins(void);
/* Pages of [@pos, @pos + @len) of @fd that are in the page cache, or -errno. */
int cached_pages(int fd, off_t pos, size_t len);

#endif
