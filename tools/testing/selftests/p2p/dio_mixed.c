// SPDX-License-Identifier: GPL-2.0
/*
 * O_DIRECT on a block device with buffers that mix RAM and p2pmem: all of it
 * goes by DMA, straight into and out of the buffer. Data that took the way
 * through the page cache would be right too, so that the proof is QEMU's trace
 * of what the disk maps, and that the page cache stays empty.
 *
 * No block may lie in two pages of p2pmem: QEMU 7.2 moves wrong data there.
 *
 * VM: --topo cmb --no-gpu --no-rxe --append nvme.poll_queues=1 --trace pci_nvme_map_addr
 * SKIP-OK: atomic_stays_one
 * TIMEOUT: 900
 */

#include "kselftest_harness.h"
#include "dio.h"
#include "dio_buf.h"
#include "dio_trace.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/fs.h>
#include <linux/nvme_ioctl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef RWF_ATOMIC
#define RWF_ATOMIC	0x40
#endif

#define MAX_LEN		(4 << 20)

struct run {
	enum dio_how how;
	struct providers p;
	int disk;
	off_t pos;
	long pins;
	char *ram;		/* for the second path: plain O_DIRECT */
	struct mixed m;
	struct dma d;
};

FIXTURE(dio)
{
	struct run r;
};

FIXTURE_VARIANT(dio)
{
	enum dio_how how;
};

FIXTURE_VARIANT_ADD(dio, sync)
{
	.how = DIO_SYNC,
};

FIXTURE_VARIANT_ADD(dio, aio)
{
	.how = DIO_AIO,
};

FIXTURE_VARIANT_ADD(dio, uring)
{
	.how = DIO_URING,
};

FIXTURE_VARIANT_ADD(dio, uring_poll)
{
	.how = DIO_URING_POLL,
};

FIXTURE_SETUP(dio)
{
	struct run *r = &self->r;
	glob_t g;

	ASSERT_EQ(0, glob("/dev/nvme[0-9]n1", 0, NULL, &g));
	r->disk = open(g.gl_pathv[0], O_RDWR | O_DIRECT | O_CLOEXEC);
	globfree(&g);
	ASSERT_LE(0, r->disk);
	r->how = variant->how;
	r->pos = 5 * 512;
	ASSERT_EQ(0, providers_find(&r->p));
	ASSERT_LE(0, trace_end());
	r->pins = pins();
	r->ram = mmap(NULL, MAX_LEN, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, r->ram);
}

/* Completion may be seen before the pages are given back. */
static long pins_left(struct run *r)
{
	for (int try = 0; try < 50 && pins() != r->pins; try++)
		usleep(100 * 1000);
	return pins() - r->pins;
}

FIXTURE_TEARDOWN(dio)
{
	struct run *r = &self->r;

	EXPECT_EQ(0, pins_left(r));
	munmap(r->ram, MAX_LEN);
	close(r->disk);
}

/* The disk does whole blocks. */
static size_t blocks(size_t len)
{
	return (len + 511) / 512 * 512;
}

/* Bytes on the disk that are right, from @pos on, by the second path. */
static size_t disk_same(struct run *r, size_t len, unsigned int seed)
{
	unsigned char *want = malloc(len);
	size_t n = 0;

	pattern_fill(want, len, seed);
	if (pread(r->disk, r->ram, blocks(len), r->pos) == (ssize_t)blocks(len))
		while (n < len && (unsigned char)r->ram[n] == want[n])
			n++;
	free(want);
	return n;
}

static bool disk_fill(struct run *r, size_t len, unsigned int seed)
{
	pattern_fill(r->ram, blocks(len), seed);
	return pwrite(r->disk, r->ram, blocks(len), r->pos) ==
	       (ssize_t)blocks(len);
}

/* Read or write the buffer: returns what dio() does; @d is what DMA touched. */
static long mixed_io(struct run *r, bool write, bool one_range, int flags)
{
	struct mixed *m = &r->m;
	long ret, start;

	if (ioctl(r->disk, BLKFLSBUF, 0) || !disk_fill(r, m->len, 1 + write))
		return -EIO;
	mixed_fill(m, 2 - write);
	start = trace_end();
	if (one_range)
		ret = dio(r->how, write, r->disk, &m->virt, 1, r->pos, flags);
	else
		ret = dio(r->how, write, r->disk, m->piece, m->nr, r->pos,
			  flags);
	return trace_dma(start, m, &r->d) ? -ENODATA : ret;
}

/* After mixed_io(): how many bytes have arrived where they should. */
static size_t mixed_arrived(struct run *r, bool write)
{
	return write ? disk_same(r, r->m.len, 1) : mixed_same(&r->m, 1);
}

/* Did DMA touch the first @len bytes of the buffer, once, and nothing else? */
static bool dma_right(struct run *r, size_t len)
{
	for (int i = 0; i < r->m.nr; i++) {
		size_t part = r->m.piece[i].iov_len;

		part = part < len ? part : len;
		if (r->d.in[i] != part)
			return false;
		len -= part;
	}
	return !r->d.elsewhere && !r->d.twice;
}

static void complain(struct run *r, const char *layout, bool write,
		     bool one_range, long ret, size_t arrived, int cached)
{
	fprintf(stderr, "%s %s, %s: returned %ld of %zu, %zu bytes right, %d pages cached, DMA",
		write ? "write" : "read", layout,
		one_range ? "one range" : "vectors", ret, r->m.len, arrived,
		cached);
	for (int i = 0; i < r->m.nr; i++)
		fprintf(stderr, " %zu", r->d.in[i]);
	fprintf(stderr, " elsewhere %zu%s\n", r->d.elsewhere,
		r->d.twice ? ", twice" : "");
}

/*
 * Transfer one buffer: @len bytes of it are to arrive and to be reported, the
 * first @by_dma by DMA. Only what preadv() and pwritev() do in the end when DMA
 * cannot go on may use the page cache.
 */
static bool one(struct run *r, const char *layout, bool write, bool one_range,
		size_t len, size_t by_dma)
{
	size_t arrived;
	int cached;
	long ret;
	bool ok;

	ret = mixed_io(r, write, one_range, 0);
	cached = cached_pages(r->disk, r->pos, r->m.len);
	arrived = mixed_arrived(r, write);
	ok = ret == (long)len && arrived == len;
	if (by_dma == r->m.len || r->how != DIO_SYNC)
		ok = ok && dma_right(r, by_dma) && !cached;
	for (int i = 0; i < r->m.nr; i++)
		by_dma -= r->d.in[i];
	ok = ok && !by_dma;
	if (!ok)
		complain(r, layout, write, one_range, ret, arrived, cached);
	return ok;
}

/* Transfer a buffer of @layout in each way: true if all went by DMA. */
static bool all(struct run *r, const char *layout)
{
	bool ok = true;

	if (mixed_map(&r->m, &r->p, layout)) {
		fprintf(stderr, "cannot map %s\n", layout);
		return false;
	}
	for (int write = 0; write < 2; write++) {
		size_t len = r->m.len;

		ok &= one(r, layout, write, false, len, len);
		if (r->m.virt.iov_len)
			ok &= one(r, layout, write, true, len, len);
	}
	mixed_unmap(&r->m);
	return ok;
}

/* The same for a buffer that does not go to its end by DMA. */
static bool part(struct run *r, const char *layout, size_t len, size_t by_dma)
{
	bool ok = true;

	if (mixed_map(&r->m, &r->p, layout)) {
		fprintf(stderr, "cannot map %s\n", layout);
		return false;
	}
	for (int write = 0; write < 2; write++)
		ok &= one(r, layout, write, false, len, by_dma);
	mixed_unmap(&r->m);
	return ok;
}

/* Without a border nothing is special. */
TEST_F_TIMEOUT(dio, plain, 120)
{
	EXPECT_TRUE(all(&self->r, "R16384"));
	EXPECT_TRUE(all(&self->r, "R4096 R8192 R4096"));
	EXPECT_TRUE(all(&self->r, "A16384"));
	EXPECT_TRUE(all(&self->r, "A4096 A12288"));
}

TEST_F_TIMEOUT(dio, border, 120)
{
	EXPECT_TRUE(all(&self->r, "R4096 A4096"));
	EXPECT_TRUE(all(&self->r, "A4096 R4096"));
	EXPECT_TRUE(all(&self->r, "A4096 B4096"));
	EXPECT_TRUE(all(&self->r, "B12288 R20480"));
}

TEST_F_TIMEOUT(dio, borders, 120)
{
	EXPECT_TRUE(all(&self->r, "R4096 A8192 R4096"));
	EXPECT_TRUE(all(&self->r, "A8192 R4096 A4096"));
	EXPECT_TRUE(all(&self->r, "A4096 B4096 A4096 B4096"));
	EXPECT_TRUE(all(&self->r,
			"R4096 A4096 B8192 R4096 B4096 A12288 R4096 R4096"));
}

TEST_F_TIMEOUT(dio, parts_of_pages, 120)
{
	EXPECT_TRUE(all(&self->r, "R512 A512@0"));
	EXPECT_TRUE(all(&self->r, "R1536 A1024@512 R512@1024"));
	EXPECT_TRUE(all(&self->r, "A512 R4608@0 B5120"));
	EXPECT_TRUE(all(&self->r, "R512 A8192 B2560@0"));
}

/* Vectors that end within a block, but are aligned for DMA. */
TEST_F_TIMEOUT(dio, whole_blocks_in_odd_vectors, 120)
{
	EXPECT_TRUE(all(&self->r, "R4 R508 A512 R256 R256@4 B1024"));
}

TEST_F_TIMEOUT(dio, many_pages, 120)
{
	EXPECT_TRUE(all(&self->r, "R524288 A458752"));
	EXPECT_TRUE(all(&self->r, "A65536 R1048576 B262144 R4096"));
}

/* No border, and pages that cannot be had: as it always was. */
TEST_F_TIMEOUT(dio, short_as_ever, 120)
{
	bool sync = variant->how == DIO_SYNC;

	EXPECT_TRUE(part(&self->r, "R4096 H4096", 4096, 4096));
	EXPECT_TRUE(part(&self->r, "A4096 H4096", 4096, 4096));
	EXPECT_TRUE(part(&self->r, "T8448@0 H7936@0", sync ? 8448 : 8192,
			 8192));
	/* The disk needs vectors aligned to 4 bytes. */
	ASSERT_EQ(0, mixed_map(&self->r.m, &self->r.p, "R4096 R4096@2"));
	EXPECT_EQ(-EINVAL, mixed_io(&self->r, false, false, 0));
	EXPECT_EQ(-EINVAL, mixed_io(&self->r, true, false, 0));
	mixed_unmap(&self->r.m);
}

/*
 * Behind a border too, pages that cannot be had end the I/O, and take nothing
 * away from what was before.
 */
TEST_F_TIMEOUT(dio, border_and_short, 120)
{
	bool sync = variant->how == DIO_SYNC;

	EXPECT_TRUE(part(&self->r, "R4096 A8192 H4096", 12288, 12288));
	EXPECT_TRUE(part(&self->r, "A4096 R4096 H4096 A4096", 8192, 8192));
	/* Of B4096 and what follows there is no bio: the alignment is wrong. */
	EXPECT_TRUE(part(&self->r, "R4096 A4096 B4096 R4096@2",
			 sync ? 16384 : 8192, 8192));
}

/* A block with a border inside cannot be part of any bio: this ends the I/O. */
TEST_F_TIMEOUT(dio, border_in_a_block, 120)
{
	bool sync = variant->how == DIO_SYNC;

	EXPECT_TRUE(part(&self->r, "R4352 A3840@256", sync ? 8192 : 4096,
			 4096));
	EXPECT_TRUE(part(&self->r, "R4096 A4352@0 R3840@256",
			 sync ? 12288 : 8192, 8192));
	EXPECT_TRUE(part(&self->r, "B4096 T8448@0 A3840@256",
			 sync ? 16384 : 12288, 12288));
}

/* Several bios cannot be sure not to wait: none of them is sent. */
TEST_F_TIMEOUT(dio, nowait, 120)
{
	bool sync = variant->how == DIO_SYNC;

	for (int write = 0; write < 2; write++) {
		ASSERT_EQ(0, mixed_map(&self->r.m, &self->r.p, "R4096 A4096"));
		EXPECT_EQ(-EAGAIN, mixed_io(&self->r, write, true, RWF_NOWAIT));
		EXPECT_TRUE(dma_right(&self->r, 0));
		EXPECT_EQ(0, mixed_arrived(&self->r, write));
		mixed_unmap(&self->r.m);

		ASSERT_EQ(0, mixed_map(&self->r.m, &self->r.p, "A4096 A4096"));
		EXPECT_EQ(8192, mixed_io(&self->r, write, true, RWF_NOWAIT));
		EXPECT_TRUE(dma_right(&self->r, 8192));
		mixed_unmap(&self->r.m);

		ASSERT_EQ(0, mixed_map(&self->r.m, &self->r.p, "R4096 H4096"));
		EXPECT_EQ(4096, mixed_io(&self->r, write, true, RWF_NOWAIT));
		EXPECT_TRUE(sync || dma_right(&self->r, 4096));
		mixed_unmap(&self->r.m);
	}
}

/* An atomic write is one bio or none. */
TEST_F_TIMEOUT(dio, atomic_stays_one, 120)
{
	long ret;

	self->r.pos = 8192;	/* aligned to the length */
	ASSERT_EQ(0, mixed_map(&self->r.m, &self->r.p, "R8192"));
	ret = mixed_io(&self->r, true, true, RWF_ATOMIC);
	mixed_unmap(&self->r.m);
	if (ret != 8192)
		SKIP(return, "the disk has no atomic writes of two pages");
	EXPECT_TRUE(dma_right(&self->r, 8192));

	ASSERT_EQ(0, mixed_map(&self->r.m, &self->r.p, "R4096 A4096"));
	EXPECT_EQ(-EINVAL, mixed_io(&self->r, true, true, RWF_ATOMIC));
	EXPECT_TRUE(dma_right(&self->r, 0));
	EXPECT_EQ(0, mixed_arrived(&self->r, true));
	mixed_unmap(&self->r.m);
}

/* One command of the disk, of all pieces: 0, the status of NVMe, or -errno. */
static int passthrough(struct run *r, const char *layout)
{
	struct nvme_passthru_cmd64 cmd = { .opcode = 2, .nsid = 1 };
	int ret;

	if (mixed_map(&r->m, &r->p, layout))
		return -ENOMEM;
	cmd.addr = (uintptr_t)r->m.piece;
	cmd.vec_cnt = r->m.nr;
	cmd.cdw10 = r->pos / 512;
	cmd.cdw12 = r->m.len / 512 - 1;
	ret = disk_fill(r, r->m.len, 1) ? 0 : -EIO;
	mixed_fill(&r->m, 2);
	if (!ret && ioctl(r->disk, NVME_IOCTL_IO64_CMD_VEC, &cmd))
		ret = -errno;
	if (!ret && mixed_same(&r->m, 1) != r->m.len)
		ret = -EBADMSG;
	mixed_unmap(&r->m);
	return ret;
}

/* A request is mapped in one way: it cannot have pages of several pgmaps. */
TEST_F_TIMEOUT(dio, one_command, 120)
{
	if (variant->how != DIO_SYNC)
		return;
	EXPECT_EQ(0, passthrough(&self->r, "R4096 R4096"));
	EXPECT_EQ(0, passthrough(&self->r, "A4096 A4096"));
	EXPECT_EQ(-EINVAL, passthrough(&self->r, "R4096 A4096"));
	EXPECT_EQ(-EINVAL, passthrough(&self->r, "A4096 R4096"));
	EXPECT_EQ(-EINVAL, passthrough(&self->r, "A4096 B4096"));
}

TEST_HARNESS_MAIN
