// SPDX-License-Identifier: GPL-2.0
/*
 * The GPU takes memory back while O_DIRECT of an NVMe disk uses it: by a move, an
 * eviction, a free, the close of the file, munmap, and the end of the driver. The
 * data is where the object is, and nowhere else: the canary of the driver looks at
 * what is free.
 *
 * VM: --topo switch --trace pci_nvme_map_addr
 * TIMEOUT: 600
 */

#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "dio.h"
#include "gpu_disk.h"
#include "gpu_mr.h"
#include "sysfs.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/aio_abi.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define CHUNK	(DIO_SIZE / 4)
#define DEPTH	8
#define PIECE	(DIO_SIZE / DEPTH)

FIXTURE(revoke)
{
	struct gpu_disk d;
};

FIXTURE_VARIANT(revoke)
{
	const char *pages;
};

FIXTURE_VARIANT_ADD(revoke, base_pages) { .pages = "4K" };
FIXTURE_VARIANT_ADD(revoke, folios) { .pages = "2M" };

FIXTURE_SETUP(revoke)
{
	self->d.pages = variant->pages;
	srandom(13);
	ASSERT_EQ(0, gpu_disk_open(&self->d));
}

/* How many words of free memory the driver has found changed, since it came */
static long wrong_words(void)
{
	long bad = -ENOENT;
	glob_t g;
	FILE *f;

	if (glob("/sys/kernel/debug/p2p_gpu*/canary", 0, NULL, &g))
		return bad;
	f = fopen(g.gl_pathv[0], "r");
	globfree(&g);
	if (f && fscanf(f, "%ld", &bad) != 1)
		bad = -EIO;
	if (f)
		fclose(f);
	return bad;
}

FIXTURE_TEARDOWN(revoke)
{
	EXPECT_EQ(0, wrong_words());
	gpu_disk_close(&self->d);
}

/* Reads the disk into the object, all the time, and counts what comes of it. */
struct reader {
	pthread_t thread;
	struct gpu_disk *d;
	unsigned char *to;
	atomic_bool stop;
	atomic_uint good, refused, other;
	int last;		/* errno of the last that was neither */
};

static void *reader_run(void *arg)
{
	struct reader *r = arg;

	for (size_t off = 0; !r->stop; off = (off + CHUNK) % DIO_SIZE) {
		ssize_t n = pread(r->d->disk, r->to + off, CHUNK, off);

		if (n == (ssize_t)CHUNK) {
			r->good++;
		} else if (n >= 0 || errno == EFAULT) {
			r->refused++;
		} else {
			r->last = errno;
			r->other++;
		}
	}
	return NULL;
}

static int reader_start(struct reader *r, struct gpu_disk *d)
{
	*r = (struct reader) { .d = d, .to = d->o.ptr };
	return -pthread_create(&r->thread, NULL, reader_run, r);
}

static void reader_stop(struct reader *r)
{
	r->stop = true;
	pthread_join(r->thread, NULL);
}

static bool reader_gets(struct reader *r, atomic_uint *what)
{
	unsigned int was = *what;

	for (int i = 0; i < 20000 && *what == was; i++)
		usleep(1000);
	return *what != was;
}

/* An object on the move is waited for; nothing is lost, in whichever place. */
TEST_F_TIMEOUT(revoke, moved, 200)
{
	struct gpu_disk *d = &self->d;
	struct reader r;

	ASSERT_EQ(0, gpu_disk_fill(d, 0, DIO_SIZE));
	ASSERT_EQ(0, reader_start(&r, d));
	for (int i = 0; i < 60; i++) {
		ASSERT_EQ(0, gpu_move(&d->o, i % 3 == 1 ? P2P_GPU_RAM :
							  P2P_GPU_VRAM));
		if (i % 10 == 0)
			EXPECT_TRUE(reader_gets(&r, &r.good));
	}
	reader_stop(&r);
	EXPECT_LE(1, r.good);
	EXPECT_EQ(0, r.refused);
	EXPECT_EQ(0, r.other);
	ASSERT_EQ(0, gpu_move(&d->o, P2P_GPU_VRAM));
	EXPECT_EQ((ssize_t)DIO_SIZE, pread(d->disk, d->o.ptr, DIO_SIZE, 0));
	EXPECT_EQ(0, gpu_disk_check(d, 0, DIO_SIZE));
}

/* Each round reads new data, moves the object on the way, and compares. */
TEST_F_TIMEOUT(revoke, data_moves, 200)
{
	struct gpu_disk *d = &self->d;

	for (int i = 0; i < 12; i++) {
		size_t off = random() % 4 * CHUNK;

		ASSERT_EQ(0, gpu_disk_fill(d, off, CHUNK));
		ASSERT_EQ((ssize_t)CHUNK,
			  pread(d->disk, d->o.ptr + off, CHUNK, off));
		ASSERT_EQ(0, gpu_move(&d->o, i % 2 ? P2P_GPU_VRAM :
						     P2P_GPU_RAM));
		ASSERT_EQ(0, gpu_disk_check(d, off, CHUNK));
		memset(d->ram + off, 0, CHUNK);
		ASSERT_EQ((ssize_t)CHUNK,
			  pwrite(d->disk, d->o.ptr + off, CHUNK, DIO_SIZE));
		ASSERT_EQ((ssize_t)CHUNK,
			  pread(d->disk, d->ram + off, CHUNK, DIO_SIZE));
		ASSERT_EQ(0, gpu_disk_check(d, off, CHUNK));
	}
}

/* What is given to the next one is his alone. */
TEST_F_TIMEOUT(revoke, freed, 200)
{
	struct gpu_disk *d = &self->d;
	struct reader r;

	ASSERT_EQ(0, gpu_disk_fill(d, 0, DIO_SIZE));
	for (int i = 0; i < 10; i++) {
		struct gpu_obj next;

		ASSERT_EQ(0, reader_start(&r, d));
		EXPECT_TRUE(reader_gets(&r, &r.good));
		usleep(random() % 3000);
		ASSERT_EQ(0, gpu_free(&d->o));
		/* Its memory is zero when this returns, and stays so. */
		ASSERT_EQ(0, gpu_alloc(&next, d->o.fd, DIO_SIZE, 0));
		ASSERT_EQ(0, gpu_map(&next, NULL, PROT_READ | PROT_WRITE));
		EXPECT_TRUE(reader_gets(&r, &r.refused));
		for (size_t at = 0; at < DIO_SIZE; at++)
			ASSERT_EQ(0, next.ptr[at]);
		reader_stop(&r);
		EXPECT_EQ(0, r.other);
		munmap(next.ptr, DIO_SIZE);
		gpu_disk_obj_close(d);
		ASSERT_EQ(0, gpu_disk_obj_open(d));
	}
}

/* The whole object, in pieces */
static long aio_read(aio_context_t *ctx, struct gpu_disk *d)
{
	struct iocb io[DEPTH], *list[DEPTH];

	for (unsigned int i = 0; i < DEPTH; i++) {
		io[i] = (struct iocb) {
			.aio_lio_opcode = IOCB_CMD_PREAD,
			.aio_fildes = d->disk,
			.aio_buf = (uintptr_t)(d->o.ptr + i * PIECE),
			.aio_nbytes = PIECE,
			.aio_offset = i * PIECE,
		};
		list[i] = &io[i];
	}
	return syscall(SYS_io_submit, *ctx, DEPTH, list);
}

/* The mapping and the file go while I/O is on its way; the object lasts. */
TEST_F_TIMEOUT(revoke, closed, 200)
{
	struct gpu_disk *d = &self->d;
	struct io_event events[DEPTH];
	aio_context_t ctx = 0;

	ASSERT_EQ(0, syscall(SYS_io_setup, DEPTH, &ctx));
	ASSERT_EQ(0, gpu_disk_fill(d, 0, DIO_SIZE));
	for (int i = 0; i < 15; i++) {
		ASSERT_EQ(DEPTH, aio_read(&ctx, d));
		gpu_disk_obj_close(d);
		ASSERT_EQ(DEPTH, syscall(SYS_io_getevents, ctx, DEPTH, DEPTH,
					 events, NULL));
		for (int j = 0; j < DEPTH; j++)
			EXPECT_EQ((long long)PIECE, events[j].res);
		ASSERT_EQ(0, gpu_disk_obj_open(d));
		for (size_t at = 0; at < DIO_SIZE; at += DIO_SECTOR)
			ASSERT_EQ(0, d->o.ptr[at]);
	}
	syscall(SYS_io_destroy, ctx);
}

/* A page that is not there until uffd_end(): all who touch it wait. */
static int uffd_begin(void *page)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {
		.range = { .start = (uintptr_t)page, .len = DIO_PAGE },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) ||
	    ioctl(fd, UFFDIO_REGISTER, &reg))
		return -errno;
	return fd;
}

static int uffd_end(int fd, void *page)
{
	struct uffdio_zeropage zero = {
		.range = { .start = (uintptr_t)page, .len = DIO_PAGE },
	};
	int ret = ioctl(fd, UFFDIO_ZEROPAGE, &zero) ? -errno : 0;

	close(fd);
	return ret;
}

static bool uffd_waits(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 20000) == 1;
}

struct split_read {
	pthread_t thread;
	struct iovec iov[2];
	int nr;
	int disk;
	ssize_t ret;
};

static void *split_read_run(void *arg)
{
	struct split_read *r = arg;

	r->ret = preadv(r->disk, r->iov, r->nr, 0);
	return NULL;
}

/*
 * The page behind the object comes when user space likes. Whoever moves the
 * object does not wait for that: nobody has the object meanwhile.
 */
TEST_F_TIMEOUT(revoke, fault_behind_it, 200)
{
	struct gpu_disk *d = &self->d;
	struct split_read r = { .disk = d->disk };
	unsigned char *area, *last, *after;
	struct gpu_obj o = d->o;
	int uffd;

	ASSERT_EQ(0, gpu_disk_fill(d, 0, DIO_SIZE));
	area = mmap(NULL, DIO_SIZE + DIO_PAGE, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, area);
	ASSERT_EQ(0, gpu_map(&o, area, PROT_READ | PROT_WRITE));
	after = area + DIO_SIZE;
	last = after - DIO_PAGE;
	/* As one range of addresses, and by two iovecs; then after an eviction */
	for (int i = 0; i < 4; i++) {
		unsigned int at = i < 2 ? P2P_GPU_VRAM : P2P_GPU_RAM;

		r.nr = 1 + i % 2;
		ASSERT_EQ(0, gpu_move(&d->o, at));
		ASSERT_EQ(after, mmap(after, DIO_PAGE, PROT_READ | PROT_WRITE,
				      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
				      -1, 0));
		r.iov[0] = (struct iovec) { last, DIO_PAGE * (3 - r.nr) };
		r.iov[1] = (struct iovec) { after, DIO_PAGE };
		uffd = uffd_begin(after);
		ASSERT_LE(0, uffd);
		ASSERT_EQ(0, pthread_create(&r.thread, NULL, split_read_run, &r));
		EXPECT_TRUE(uffd_waits(uffd));
		EXPECT_EQ(0, gpu_move(&d->o, i < 2 ? P2P_GPU_RAM :
						     P2P_GPU_VRAM));
		EXPECT_EQ(0, gpu_move(&d->o, at));
		EXPECT_EQ(0, uffd_end(uffd, after));
		pthread_join(r.thread, NULL);
		EXPECT_EQ((ssize_t)(2 * DIO_PAGE), r.ret);
		EXPECT_EQ(0, memcmp(last, d->ram, DIO_PAGE));
		EXPECT_EQ(0, memcmp(after, d->ram + DIO_PAGE, DIO_PAGE));
	}
	munmap(area, DIO_SIZE + DIO_PAGE);
}

/* The page before the object comes and goes, by mprotect(). */
struct flicker {
	pthread_t thread;
	unsigned char *page;
	atomic_bool stop;
};

static void *flicker_run(void *arg)
{
	struct flicker *f = arg;

	while (!f->stop) {
		mprotect(f->page, DIO_PAGE, PROT_NONE);
		mprotect(f->page, DIO_PAGE, PROT_READ | PROT_WRITE);
	}
	return NULL;
}

/*
 * I/O over a border takes its pages once more, for several bios. If they are gone
 * by then, that is no error of the disk.
 */
TEST_F_TIMEOUT(revoke, gone_at_border, 200)
{
	unsigned int refused = 0, good = 0;
	struct gpu_disk *d = &self->d;
	struct gpu_obj o = d->o;
	struct flicker f = { };

	ASSERT_EQ(0, gpu_disk_fill(d, 0, 2 * DIO_PAGE));
	f.page = mmap(NULL, DIO_PAGE + DIO_SIZE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, f.page);
	ASSERT_EQ(0, gpu_map(&o, f.page + DIO_PAGE, PROT_READ | PROT_WRITE));
	ASSERT_EQ(0, pthread_create(&f.thread, NULL, flicker_run, &f));
	for (int i = 0; i < 600; i++) {
		long n = dio_one(i % 2 ? DIO_AIO : DIO_SYNC, false, d->disk,
				 f.page, 2 * DIO_PAGE, 0);

		if (n == -EFAULT)
			refused++;
		else if (n == (long)(2 * DIO_PAGE))
			good++;
		else
			TH_LOG("round %d: %ld", i, n);
	}
	f.stop = true;
	pthread_join(f.thread, NULL);
	EXPECT_EQ(600, refused + good);
	EXPECT_LE(1, refused);
	EXPECT_LE(1, good);
	munmap(f.page, DIO_PAGE + DIO_SIZE);
}

TEST_F_TIMEOUT(revoke, unmapped, 100)
{
	struct gpu_disk *d = &self->d;
	struct reader r;

	ASSERT_EQ(0, gpu_disk_fill(d, 0, DIO_SIZE));
	ASSERT_EQ(0, reader_start(&r, d));
	EXPECT_TRUE(reader_gets(&r, &r.good));
	ASSERT_EQ(0, munmap(d->o.ptr, DIO_SIZE));
	EXPECT_TRUE(reader_gets(&r, &r.refused));
	ASSERT_EQ(0, gpu_map(&d->o, r.to, PROT_READ | PROT_WRITE));
	EXPECT_TRUE(reader_gets(&r, &r.good));
	reader_stop(&r);
	EXPECT_EQ(0, r.other);
	EXPECT_EQ((ssize_t)DIO_SIZE, pread(d->disk, d->o.ptr, DIO_SIZE, 0));
	EXPECT_EQ(0, gpu_disk_check(d, 0, DIO_SIZE));
}

/* The driver goes, and comes again. */
TEST_F_TIMEOUT(revoke, unbound, 200)
{
	struct gpu_disk *d = &self->d;
	char gpu[PCI_NAME];
	struct reader r;

	ASSERT_EQ(0, pci_find_gpu(gpu));
	ASSERT_EQ(0, gpu_disk_fill(d, 0, DIO_SIZE));
	for (int i = 0; i < 4; i++) {
		ASSERT_EQ(0, reader_start(&r, d));
		EXPECT_TRUE(reader_gets(&r, &r.good));
		usleep(random() % 3000);
		ASSERT_EQ(0, sysfs_write(PCI_DRIVERS "p2p_gpu/unbind", gpu));
		EXPECT_TRUE(reader_gets(&r, &r.refused));
		reader_stop(&r);
		EXPECT_EQ(0, r.other);
		/* The old mapping stays dead. */
		ASSERT_EQ(0, sysfs_write(PCI_DRIVERS "p2p_gpu/bind", gpu));
		EXPECT_EQ(-1, pread(d->disk, d->o.ptr, CHUNK, 0));
		EXPECT_EQ(EFAULT, errno);
		gpu_disk_obj_close(d);
		ASSERT_EQ(0, gpu_disk_obj_open(d));
		EXPECT_EQ((ssize_t)DIO_SIZE,
			  pread(d->disk, d->o.ptr, DIO_SIZE, 0));
		EXPECT_EQ(0, gpu_disk_check(d, 0, DIO_SIZE));
	}
}

static bool asleep(const char *gpu)
{
	char path[96], is[16] = "";

	snprintf(path, sizeof(path), PCI_DEVICES "%s/power/runtime_status", gpu);
	for (int i = 0; i < 1000 && strcmp(is, "suspended"); i++) {
		FILE *f = fopen(path, "r");

		usleep(10000);
		if (f && fscanf(f, "%15s", is) != 1)
			is[0] = 0;
		if (f)
			fclose(f);
	}
	return !strcmp(is, "suspended");
}

/* It sleeps when I/O is over, not before, and wakes up for the next. */
TEST_F_TIMEOUT(revoke, asleep, 100)
{
	struct gpu_disk *d = &self->d;
	char gpu[PCI_NAME];

	ASSERT_EQ(0, pci_find_gpu(gpu));
	ASSERT_EQ(0, gpu_disk_fill(d, 0, DIO_SIZE));
	ASSERT_EQ(0, pci_write(gpu, "power/control", "auto"));
	for (int i = 0; i < 5; i++) {
		EXPECT_TRUE(asleep(gpu));
		EXPECT_EQ((ssize_t)DIO_SIZE,
			  pread(d->disk, d->o.ptr, DIO_SIZE, 0));
	}
	EXPECT_EQ(0, gpu_disk_check(d, 0, DIO_SIZE));
	EXPECT_EQ(0, pci_write(gpu, "power/control", "on"));
}

TEST_HARNESS_MAIN
