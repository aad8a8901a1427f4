// SPDX-License-Identifier: GPL-2.0
/*
 * O_DIRECT of an NVMe disk from and to a BAR that a program maps by resourceN, or
 * by vfio-pci as a user-space driver does: by peer DMA where root has allowed
 * struct pages, which QEMU's trace proves, and EFAULT as on stock Linux elsewhere.
 *
 * VM: --topo switch --trace pci_nvme_map_addr
 * SKIP-OK: dio_bar\.vfio\.(fio|off_and_on|removed)
 * TIMEOUT: 600
 */

#include "kselftest_harness.h"
#include "dio.h"
#include "dio_peer.h"
#include "dio_trace.h"
#include "vfio.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define DISK	"/dev/nvme0n1"
#define MODULE	"/sys/module/vfio_pci_core/parameters/p2p_pages"
#define BAR	2
#define OFF	0x40000UL	/* of the buffer in the BAR */
#define LEN	0x40000UL
#define RW	(PROT_READ | PROT_WRITE)

struct bar {
	bool vfio;
	char gpu[PCI_NAME];
	struct vfio_dev v;
	int fd, disk;
	unsigned char *buf, *ram;
};

static int resource_open(struct bar *b, bool pages)
{
	char path[96];
	int err = pci_write(b->gpu, "enable", "1");

	if (!err)
		err = pci_write(b->gpu, "p2p_mmap", pages ? "pages" : "1");
	if (err)
		return err;
	snprintf(path, sizeof(path), PCI_DEVICES "%s/resource%d", b->gpu, BAR);
	b->fd = open(path, O_RDWR | O_CLOEXEC);
	if (b->fd < 0)
		return -errno;
	b->buf = mmap(NULL, LEN, RW, MAP_SHARED, b->fd, OFF);
	return b->buf == MAP_FAILED ? -errno : 0;
}

static int vfio_bar_open(struct bar *b, bool pages)
{
	int err = sysfs_write(MODULE, pages ? "1" : "0");

	if (!err)
		err = vfio_bind(&b->v, b->gpu);
	if (!err)
		err = vfio_open(&b->v);
	if (err)
		return err;
	b->buf = vfio_map(&b->v, BAR, OFF, LEN, RW, NULL);
	return b->buf == MAP_FAILED ? -errno : 0;
}

static int bar_open(struct bar *b, bool pages)
{
	return b->vfio ? vfio_bar_open(b, pages) : resource_open(b, pages);
}

static void bar_close(struct bar *b)
{
	munmap(b->buf, LEN);
	if (b->vfio) {
		vfio_close(&b->v);
		vfio_unbind(&b->v);
		sysfs_write(MODULE, "0");
	} else {
		close(b->fd);
		pci_write(b->gpu, "p2p_mmap", "0");
		pci_write(b->gpu, "enable", "0");
	}
}

FIXTURE(dio_bar)
{
	struct bar b;
};

FIXTURE_VARIANT(dio_bar)
{
	bool vfio;
};

FIXTURE_VARIANT_ADD(dio_bar, resource) { .vfio = false };
FIXTURE_VARIANT_ADD(dio_bar, vfio) { .vfio = true };

FIXTURE_SETUP(dio_bar)
{
	struct bar *b = &self->b;

	b->vfio = variant->vfio;
	ASSERT_EQ(0, pci_find_gpu(b->gpu));
	/* What a test that was cut short has left would be in the way. */
	pci_write(b->gpu, "p2p_mmap", "0");
	/* The driver of the GPU maps the BAR in another cache mode. */
	if (!b->vfio)
		ASSERT_EQ(0, sysfs_write(PCI_DRIVERS "p2p_gpu/unbind", b->gpu));
	b->disk = open(DISK, O_RDWR | O_DIRECT | O_CLOEXEC);
	ASSERT_LE(0, b->disk);
	b->ram = mmap(NULL, LEN, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, b->ram);
}

FIXTURE_TEARDOWN(dio_bar)
{
	struct bar *b = &self->b;

	munmap(b->ram, LEN);
	close(b->disk);
	if (!b->vfio)
		EXPECT_EQ(0, sysfs_write(PCI_DRIVERS "p2p_gpu/bind", b->gpu));
}

/* What the disk's DMA touched of the buffer since @start */
static long traced(struct bar *b, long start)
{
	return trace_bytes(start, pci_bar(b->gpu, BAR) + OFF, LEN);
}

TEST_F_TIMEOUT(dio_bar, read_write, 120)
{
	struct bar *b = &self->b;
	long start = trace_end();

	ASSERT_EQ(0, bar_open(b, true));
	for (int e = 0; e < DIO_ENGINES; e++) {
		TH_LOG("%s", dio_names[e]);
		dio_fill(b->ram, LEN, 1 + e);
		ASSERT_EQ(LEN, dio_one(e, true, b->disk, b->ram, LEN, 0));
		dio_fill(b->buf, LEN, 90);
		EXPECT_EQ(LEN, dio_one(e, false, b->disk, b->buf, LEN, 0));
		EXPECT_EQ(-1, dio_differs(b->buf, LEN, 1 + e));
		dio_fill(b->buf, LEN, 50 + e);
		EXPECT_EQ(LEN, dio_one(e, true, b->disk, b->buf, LEN, LEN));
		ASSERT_EQ(LEN, dio_one(e, false, b->disk, b->ram, LEN, LEN));
		EXPECT_EQ(-1, dio_differs(b->ram, LEN, 50 + e));
	}
	EXPECT_EQ(2 * DIO_ENGINES * LEN, traced(b, start));
	bar_close(b);
}

/* RAM, BAR and RAM in one call */
TEST_F_TIMEOUT(dio_bar, mixed, 120)
{
	struct bar *b = &self->b;
	long start = trace_end();
	struct iovec iov[3] = {
		{ b->ram, 8192 }, { NULL, 12288 }, { b->ram + 65536, 4096 },
	};
	size_t len = 8192 + 12288 + 4096;

	ASSERT_EQ(0, bar_open(b, true));
	iov[1].iov_base = b->buf + 4096;
	for (int e = 0; e < DIO_ENGINES; e++) {
		TH_LOG("%s", dio_names[e]);
		dio_fill(iov[0].iov_base, 8192, 10);
		dio_fill(iov[1].iov_base, 12288, 11);
		dio_fill(iov[2].iov_base, 4096, 12);
		EXPECT_EQ((long)len, dio(e, true, b->disk, iov, 3, 0, 0));
		memset(b->ram, 0, LEN);
		memset(b->buf, 0, LEN);
		EXPECT_EQ((long)len, dio(e, false, b->disk, iov, 3, 0, 0));
		EXPECT_EQ(-1, dio_differs(iov[0].iov_base, 8192, 10));
		EXPECT_EQ(-1, dio_differs(iov[1].iov_base, 12288, 11));
		EXPECT_EQ(-1, dio_differs(iov[2].iov_base, 4096, 12));
		EXPECT_EQ(0, b->buf[0]);
		EXPECT_EQ(0, b->buf[4096 + 12288]);
	}
	EXPECT_EQ(2 * DIO_ENGINES * 12288, traced(b, start));
	bar_close(b);
}

/* Peers may have the BAR, but nobody has allowed pages. */
TEST_F_TIMEOUT(dio_bar, no_pages, 60)
{
	struct bar *b = &self->b;
	long start = trace_end();

	ASSERT_EQ(0, bar_open(b, false));
	dio_fill(b->buf, LEN, 3);
	for (int e = 0; e < DIO_ENGINES; e++) {
		EXPECT_EQ(-EFAULT, dio_one(e, false, b->disk, b->buf, LEN, 0));
		EXPECT_EQ(-EFAULT, dio_one(e, true, b->disk, b->buf, LEN, 0));
	}
	EXPECT_EQ(-1, dio_differs(b->buf, LEN, 3));
	EXPECT_EQ(0, traced(b, start));
	bar_close(b);
}

/* Reads PLACES places of the disk in turn, and compares. */
#define PLACES	4
#define SAMPLE	64	/* bytes of each page, from its byte SAMPLE on */

struct reader {
	pthread_t thread;
	struct bar *b;
	unsigned char *want;	/* PLACES times LEN */
	atomic_bool stop;
	atomic_uint good, wrong, refused, other;
};

static bool sample_is(const unsigned char *buf, const unsigned char *want)
{
	for (size_t at = SAMPLE; at < LEN; at += 4096)
		if (memcmp(buf + at, want + at, SAMPLE))
			return false;
	return true;
}

static void *reader_run(void *arg)
{
	struct reader *r = arg;

	for (unsigned int i = 0; !r->stop; i = (i + 1) % PLACES) {
		long n;

		for (size_t at = SAMPLE; at < LEN; at += 4096)
			memset(r->b->buf + at, 0xa5, SAMPLE);
		n = dio_one(DIO_SYNC, false, r->b->disk, r->b->buf, LEN,
			    i * LEN);
		if (n == (long)LEN && !sample_is(r->b->buf, r->want + i * LEN))
			r->wrong++;
		else if (n == (long)LEN)
			r->good++;
		else if (n >= 0 || n == -EFAULT)
			r->refused++;
		else
			r->other++;
	}
	return NULL;
}

static bool reader_start(struct reader *r)
{
	r->want = mmap(NULL, PLACES * LEN, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		       0);
	if (r->want == MAP_FAILED)
		return false;
	for (unsigned int i = 0; i < PLACES; i++) {
		unsigned char *p = r->want + i * LEN;

		dio_fill(p, LEN, 5 + i);
		if (dio_one(DIO_SYNC, true, r->b->disk, p, LEN, i * LEN) !=
		    (long)LEN)
			return false;
	}
	return !pthread_create(&r->thread, NULL, reader_run, r);
}

static void reader_stop(struct reader *r)
{
	r->stop = true;
	pthread_join(r->thread, NULL);
	munmap(r->want, PLACES * LEN);
}

static bool more(atomic_uint *what)
{
	unsigned int was = *what;

	for (int i = 0; i < 20000 && *what == was; i++)
		usleep(1000);
	return *what != was;
}

/* Resets under I/O: it waits, nothing fails. */
TEST_F_TIMEOUT(dio_bar, reset, 120)
{
	struct bar *b = &self->b;
	struct reader r = { .b = b };

	ASSERT_EQ(0, bar_open(b, true));
	ASSERT_TRUE(reader_start(&r));
	for (int i = 0; i < 3; i++) {
		EXPECT_TRUE(more(&r.good));
		EXPECT_EQ(0, b->vfio ? vfio_reset(&b->v) :
				       pci_write(b->gpu, "reset", "1"));
	}
	EXPECT_TRUE(more(&r.good));
	reader_stop(&r);
	EXPECT_EQ(0, r.wrong);
	EXPECT_EQ(0, r.refused);
	EXPECT_EQ(0, r.other);
	EXPECT_EQ(LEN, dio_one(DIO_SYNC, false, b->disk, b->buf, LEN, 0));
	EXPECT_EQ(-1, dio_differs(b->buf, LEN, 5));
	bar_close(b);
}

static bool p2p_mmap_is(struct bar *b, const char *want)
{
	char path[96], is[16] = "";
	FILE *f;

	snprintf(path, sizeof(path), PCI_DEVICES "%s/p2p_mmap", b->gpu);
	f = fopen(path, "r");
	if (f && fscanf(f, "%15s", is) != 1)
		is[0] = 0;
	if (f)
		fclose(f);
	return !strcmp(is, want);
}

/* Root changes his mind under I/O; the program's mapping goes on. */
TEST_F_TIMEOUT(dio_bar, off_and_on, 120)
{
	static const char *const to[] = { "0", "pages", "1", "pages" };
	struct bar *b = &self->b;
	struct reader r = { .b = b };

	if (b->vfio)
		SKIP(return, "that is resourceN's");
	ASSERT_EQ(0, bar_open(b, true));
	ASSERT_TRUE(reader_start(&r));
	EXPECT_TRUE(more(&r.good));
	for (size_t i = 0; i < ARRAY_SIZE(to); i++) {
		ASSERT_EQ(0, pci_write(b->gpu, "p2p_mmap", to[i]));
		EXPECT_TRUE(p2p_mmap_is(b, to[i]));
		EXPECT_TRUE(more(i % 2 ? &r.good : &r.refused));
		b->buf[0] = i;
	}
	reader_stop(&r);
	EXPECT_EQ(0, r.wrong);
	EXPECT_EQ(0, r.other);
	EXPECT_EQ(-EINVAL, pci_write(b->gpu, "p2p_mmap", "page"));
	bar_close(b);
}

/* Reads into the first half of the buffer, and writes from the second. */
struct user {
	pthread_t thread;
	struct bar *b;
	bool write;
	atomic_uint good;
	long last;
};

static void *user_run(void *arg)
{
	struct user *u = arg;
	unsigned long off = u->write ? LEN / 2 : 0;

	do {
		u->last = dio_one(DIO_SYNC, u->write, u->b->disk,
				  u->b->buf + off, LEN / 2, off);
		if (u->last == (long)LEN / 2)
			u->good++;
	} while (u->last == (long)LEN / 2);
	return NULL;
}

/*
 * The device is removed under I/O: that ends with the error for a mapping that is
 * gone, and from then on the memory is left alone, and so is what is beside it.
 */
TEST_F_TIMEOUT(dio_bar, removed, 120)
{
	struct bar *b = &self->b;
	struct user u[2] = { { .b = b }, { .b = b, .write = true } };
	unsigned char *all;
	char path[96];
	int fd;

	if (b->vfio)
		SKIP(return, "vfio-pci waits for the program to close it");
	snprintf(path, sizeof(path), PCI_DEVICES "%s/resource%d", b->gpu, BAR);
	ASSERT_EQ(0, bar_open(b, true));
	fd = open(path, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, fd);
	all = mmap(NULL, 3 * LEN, RW, MAP_SHARED, fd, OFF - LEN);
	ASSERT_NE(MAP_FAILED, all);
	close(fd);
	dio_fill(all, 3 * LEN, 71);
	dio_fill(b->ram, LEN, 72);
	ASSERT_EQ(LEN, dio_one(DIO_SYNC, true, b->disk, b->ram, LEN, 0));
	dio_fill(b->buf + LEN / 2, LEN / 2, 73);
	for (int i = 0; i < 2; i++)
		ASSERT_EQ(0, pthread_create(&u[i].thread, NULL, user_run, &u[i]));
	EXPECT_TRUE(more(&u[0].good));
	EXPECT_TRUE(more(&u[1].good));
	EXPECT_EQ(0, pci_write(b->gpu, "remove", "1"));
	for (int i = 0; i < 2; i++) {
		pthread_join(u[i].thread, NULL);
		EXPECT_EQ(-EFAULT, u[i].last);
	}
	munmap(all, 3 * LEN);
	munmap(b->buf, LEN);
	close(b->fd);
	EXPECT_EQ(LEN, dio_one(DIO_SYNC, false, b->disk, b->ram, LEN, 0));
	EXPECT_EQ(-1, dio_differs(b->ram + LEN / 2, LEN / 2, 73));

	ASSERT_EQ(0, sysfs_write("/sys/bus/pci/rescan", "1"));
	ASSERT_EQ(0, sysfs_write(PCI_DRIVERS "p2p_gpu/unbind", b->gpu));
	ASSERT_EQ(0, resource_open(b, true));
	fd = open(path, O_RDWR | O_CLOEXEC);
	all = mmap(NULL, 3 * LEN, RW, MAP_SHARED, fd, OFF - LEN);
	ASSERT_NE(MAP_FAILED, all);
	close(fd);
	/* The pattern goes on where it was not written over. */
	EXPECT_EQ(-1, dio_differs(all, LEN, 71));
	memcpy(b->ram, all + 2 * LEN, LEN);
	dio_fill(all, 3 * LEN, 71);
	EXPECT_EQ(0, memcmp(b->ram, all + 2 * LEN, LEN));
	usleep(200000);
	EXPECT_EQ(-1, dio_differs(all, 3 * LEN, 71));
	munmap(all, 3 * LEN);
	bar_close(b);
}

/* fio, which knows nothing of all this, with its buffers in the BAR */
TEST_F_TIMEOUT(dio_bar, fio, 300)
{
	static const char *const engines[] = { "psync", "libaio", "io_uring" };
	struct bar *b = &self->b;
	long start = trace_end();
	char cmd[512];

	if (b->vfio)
		SKIP(return, "fio cannot open vfio-pci");
	if (system("fio --version >/dev/null 2>&1"))
		SKIP(return, "no fio");
	ASSERT_EQ(0, bar_open(b, true));
	for (size_t i = 0; i < ARRAY_SIZE(engines); i++) {
		TH_LOG("%s", engines[i]);
		snprintf(cmd, sizeof(cmd),
			 "fio --name=p2p --filename=%s --direct=1 --ioengine=%s --iodepth=4 --mem=mmapshared:%s%s/resource%d --rw=randrw --bsrange=4k-256k --size=16M --verify=crc32c --verify_state_save=0 --thread --randseed=1 >&2",
			 DISK, engines[i], PCI_DEVICES, b->gpu, BAR);
		EXPECT_EQ(0, system(cmd));
	}
	/* It maps the BAR from its start, and more of it than our buffer is. */
	EXPECT_LT(0, trace_bytes(start, pci_bar(b->gpu, BAR), 4 * LEN));
	bar_close(b);
}

TEST_HARNESS_MAIN
