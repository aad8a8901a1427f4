// SPDX-License-Identifier: GPL-2.0
/*
 * I/O to device memory that lasts longer than anybody wants to wait: the disk does
 * one request a second. Whoever takes the memory back, or wants to do something to
 * the device, is told so, nobody else gets the memory, and all is well when the
 * I/O has ended.
 *
 * VM: --topo slow --no-rxe --trace pci_nvme_map_addr
 * TIMEOUT: 600
 */
#include "kselftest_harness.h"
#include "dio.h"
#include "dio_peer.h"
#include "gpu_disk.h"
#include "vfio.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <unistd.h>

#define PAGES	"/sys/module/vfio_pci_core/parameters/p2p_pages"
#define WAIT	"/sys/module/pci_p2p/parameters/pin_wait_ms"
#define WAIT_AT_BOOT	"60000"
#define BAR	2
#define PIECE	4096UL
#define NR	24	/* pieces: more than 15 s, whatever the disk saved up */
#define LEN	(NR * PIECE)
#define SEED	81
#define RW	(PROT_READ | PROT_WRITE)

/* Reads the first pieces of the disk to @to, all at once */
struct slow {
	pthread_t thread;
	int disk, err;
	void *to;
	atomic_bool done;
};

static void *slow_run(void *arg)
{
	struct slow *s = arg;

	s->err = dio_many(false, s->disk, s->to, PIECE, 0, NR);
	s->done = true;
	return NULL;
}

static int slow_start(struct slow *s, void *to)
{
	void *ram = mmap(NULL, LEN, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	long n;

	*s = (struct slow) { .to = to };
	s->disk = open(DIO_DISK, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (s->disk < 0 || ram == MAP_FAILED)
		return -errno;
	dio_fill(ram, LEN, SEED);
	n = dio_one(DIO_SYNC, true, s->disk, ram, LEN, 0);
	munmap(ram, LEN);
	if (n != (long)LEN)
		return -EIO;
	n = pthread_create(&s->thread, NULL, slow_run, s);
	/* All of it has been submitted when the first piece is here. */
	for (int i = 0; !n && i < 10000 && dio_differs(to, PIECE, SEED) >= 0; i++)
		usleep(1000);
	return -n;
}

/* What came of it: 0 or -errno. */
static int slow_end(struct slow *s)
{
	pthread_join(s->thread, NULL);
	close(s->disk);
	return s->err;
}

FIXTURE(bar)
{
	char gpu[PCI_NAME], path[96];
	struct vfio_dev v;
	struct slow s;
	unsigned char *buf;
};

FIXTURE_SETUP(bar)
{
	ASSERT_EQ(0, pci_find_gpu(self->gpu));
	snprintf(self->path, sizeof(self->path), PCI_DEVICES "%s/resource%d",
		 self->gpu, BAR);
	pci_write(self->gpu, "p2p_mmap", "0");
	ASSERT_EQ(0, sysfs_write(PCI_DRIVERS "p2p_gpu/unbind", self->gpu));
	ASSERT_EQ(0, sysfs_write(WAIT, "1000"));
}

FIXTURE_TEARDOWN(bar)
{
	EXPECT_EQ(0, sysfs_write(WAIT, WAIT_AT_BOOT));
	EXPECT_EQ(0, sysfs_write(PCI_DRIVERS "p2p_gpu/bind", self->gpu));
}

static int vfio_take(struct vfio_dev *v, const char *gpu, unsigned char **buf)
{
	int err = sysfs_write(PAGES, "1");

	if (!err)
		err = vfio_bind(v, gpu);
	if (!err)
		err = vfio_open(v);
	if (err)
		return err;
	*buf = vfio_map(v, BAR, 0, LEN, RW, NULL);
	if (*buf == MAP_FAILED)
		return -errno;
	memset(*buf, 0, LEN);
	return 0;
}

/* -EBUSY for as long as memory is pinned; ends some time after that. */
static int open_again(struct vfio_dev *v, struct slow *s)
{
	int err = -ETIMEDOUT;

	for (int i = 0; i < 600; i++) {
		bool done = s->done;

		err = vfio_open(v);
		if (err != -EBUSY)
			return err || done ? err : -EPROTO;
		usleep(100000);
	}
	return err;
}

/* What the user-space driver asks for would hurt his own I/O: he is told. */
TEST_F_TIMEOUT(bar, vfio_busy, 200)
{
	ASSERT_EQ(0, vfio_take(&self->v, self->gpu, &self->buf));
	ASSERT_EQ(0, slow_start(&self->s, self->buf));
	EXPECT_EQ(-EBUSY, vfio_decode(&self->v, false));
	EXPECT_EQ(-EBUSY, vfio_reset(&self->v));
	EXPECT_FALSE(self->s.done);
	EXPECT_EQ(0, slow_end(&self->s));
	EXPECT_EQ(-1, dio_differs(self->buf, LEN, SEED));
	/* All of it was undone. */
	EXPECT_EQ(0, vfio_reset(&self->v));
	EXPECT_EQ(0, vfio_decode(&self->v, false));
	EXPECT_EQ(0, vfio_decode(&self->v, true));
	munmap(self->buf, LEN);
	vfio_close(&self->v);
	vfio_unbind(&self->v);
	sysfs_write(PAGES, "0");
	ASSERT_EQ(0, sysfs_write(PCI_DRIVERS "p2p_gpu/unbind", self->gpu));
}

/* The user-space driver is gone, and its I/O is not: nobody gets the device. */
TEST_F_TIMEOUT(bar, vfio_closed, 200)
{
	ASSERT_EQ(0, vfio_take(&self->v, self->gpu, &self->buf));
	ASSERT_EQ(0, slow_start(&self->s, self->buf));
	munmap(self->buf, LEN);
	vfio_close(&self->v);
	EXPECT_FALSE(self->s.done);
	EXPECT_EQ(0, open_again(&self->v, &self->s));
	EXPECT_EQ(0, slow_end(&self->s));
	self->buf = vfio_map(&self->v, BAR, 0, LEN, RW, NULL);
	ASSERT_NE(MAP_FAILED, self->buf);
	EXPECT_EQ(-1, dio_differs(self->buf, LEN, SEED));
	munmap(self->buf, LEN);
	vfio_close(&self->v);
	vfio_unbind(&self->v);
	sysfs_write(PAGES, "0");
	ASSERT_EQ(0, sysfs_write(PCI_DRIVERS "p2p_gpu/unbind", self->gpu));
}

static int resource_take(const char *gpu, const char *path,
			 unsigned char **buf)
{
	int fd, err = pci_write(gpu, "enable", "1");

	if (!err)
		err = pci_write(gpu, "p2p_mmap", "pages");
	if (err)
		return err;
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	*buf = mmap(NULL, LEN, RW, MAP_SHARED, fd, 0);
	err = *buf == MAP_FAILED ? -errno : 0;
	close(fd);
	if (!err)
		memset(*buf, 0, LEN);
	return err;
}

/* The I/O has ended: soon a driver can have the device. */
static int bind_again(const char *gpu)
{
	int err = -ETIMEDOUT;

	for (int i = 0; i < 100 && err; i++) {
		err = sysfs_write(PCI_DRIVERS "p2p_gpu/bind", gpu);
		usleep(100000);
	}
	return err;
}

/* The same with resourceN: no driver can have the device. */
TEST_F_TIMEOUT(bar, resource_off, 200)
{
	ASSERT_EQ(0, resource_take(self->gpu, self->path, &self->buf));
	ASSERT_EQ(0, slow_start(&self->s, self->buf));
	EXPECT_EQ(-EBUSY, pci_write(self->gpu, "p2p_mmap", "0"));
	EXPECT_EQ(-EBUSY, sysfs_write(PCI_DRIVERS "p2p_gpu/bind", self->gpu));
	EXPECT_FALSE(self->s.done);
	EXPECT_EQ(0, slow_end(&self->s));
	EXPECT_EQ(-1, dio_differs(self->buf, LEN, SEED));
	munmap(self->buf, LEN);
	ASSERT_EQ(0, pci_write(self->gpu, "enable", "0"));
	ASSERT_EQ(0, bind_again(self->gpu));
	ASSERT_EQ(0, sysfs_write(PCI_DRIVERS "p2p_gpu/unbind", self->gpu));
}

/*
 * Nor can it by removing the device and finding it again: the disk writes to the
 * address, whoever has it now. What becomes of that I/O does not matter.
 */
TEST_F_TIMEOUT(bar, found_again, 200)
{
	ASSERT_EQ(0, resource_take(self->gpu, self->path, &self->buf));
	ASSERT_EQ(0, slow_start(&self->s, self->buf));
	EXPECT_EQ(0, pci_write(self->gpu, "remove", "1"));
	ASSERT_EQ(0, sysfs_write("/sys/bus/pci/rescan", "1"));
	EXPECT_FALSE(self->s.done);
	EXPECT_EQ(-EBUSY, sysfs_write(PCI_DRIVERS "p2p_gpu/bind", self->gpu));
	EXPECT_FALSE(self->s.done);
	slow_end(&self->s);
	munmap(self->buf, LEN);
	ASSERT_EQ(0, bind_again(self->gpu));
	ASSERT_EQ(0, sysfs_write(PCI_DRIVERS "p2p_gpu/unbind", self->gpu));
}

#define MNT	"/run/p2p-slow"
/* What a test left that did not get to its end goes first. */
#define MAKE	"(umount " MNT "; losetup -D; truncate -s 64M " MNT ".img" \
		" && mkfs.ext4 -q -F " MNT ".img && mkdir -p " MNT \
		" && mount -t ext4 $(losetup -f --show " MNT ".img) " MNT ") >/dev/null 2>&1"

FIXTURE(object)
{
	struct gpu_disk d;
	struct slow s;
	int hole;	/* a file of LEN bytes that is all hole */
};

/* What takes time comes before the I/O, which does not last for ever. */
FIXTURE_SETUP(object)
{
	ASSERT_EQ(0, system(MAKE));
	self->hole = open(MNT "/hole", O_RDWR | O_CREAT | O_DIRECT, 0600);
	ASSERT_LE(0, self->hole);
	ASSERT_EQ(0, ftruncate(self->hole, LEN));
	self->d.pages = "4K";
	ASSERT_EQ(0, gpu_disk_open(&self->d));
	memset(self->d.o.ptr, 0, DIO_SIZE);
	ASSERT_EQ(0, slow_start(&self->s, self->d.o.ptr));
}

FIXTURE_TEARDOWN(object)
{
	gpu_disk_close(&self->d);
	close(self->hole);
	EXPECT_EQ(0, umount(MNT));
	EXPECT_EQ(0, system("losetup -D"));
}

/* An object that cannot be moved stays where it is, and is open again. */
TEST_F_TIMEOUT(object, stays, 200)
{
	struct p2p_gpu_info info;

	EXPECT_EQ(-ETIMEDOUT, gpu_move(&self->d.o, P2P_GPU_RAM));
	EXPECT_FALSE(self->s.done);
	EXPECT_EQ(0, gpu_info(&self->d.o, &info));
	EXPECT_EQ(P2P_GPU_VRAM, info.where);
	EXPECT_EQ(0, slow_end(&self->s));
	EXPECT_EQ(-1, dio_differs(self->d.o.ptr, LEN, SEED));
	EXPECT_EQ(0, gpu_move(&self->d.o, P2P_GPU_RAM));
	EXPECT_EQ(-1, dio_differs(self->d.o.ptr, LEN, SEED));
}

/* Memory that is freed under I/O is lost: the next one gets another place. */
TEST_F_TIMEOUT(object, is_lost, 200)
{
	struct gpu_obj next;

	ASSERT_EQ(0, gpu_free(&self->d.o));
	EXPECT_FALSE(self->s.done);
	ASSERT_EQ(0, gpu_alloc(&next, self->d.o.fd, DIO_SIZE, 0));
	ASSERT_EQ(0, gpu_map(&next, NULL, RW));
	dio_fill(next.ptr, DIO_SIZE, 82);
	EXPECT_EQ(0, slow_end(&self->s));
	EXPECT_EQ(-1, dio_differs(next.ptr, DIO_SIZE, 82));
	munmap(next.ptr, DIO_SIZE);
}

#define WAIT_PEERS	"/sys/module/p2p_vma/parameters/wait_ms"
#define WAIT_PEERS_AT_BOOT	"5000"

static void *mover_run(void *arg)
{
	return (void *)(long)gpu_move(arg, P2P_GPU_RAM);
}

/*
 * A hole is read into an object on the move: may the CPU fill it? Who cannot find
 * out in time says no, and does not go on without an answer.
 */
TEST_F_TIMEOUT(object, on_the_move, 200)
{
	void *moved, *to = self->d.o.ptr + LEN;
	pthread_t mover;
	long n = LEN;

	EXPECT_EQ(LEN, dio_one(DIO_SYNC, false, self->hole, to, LEN, 0));
	ASSERT_EQ(0, sysfs_write(WAIT_PEERS, "100"));
	ASSERT_EQ(0, pthread_create(&mover, NULL, mover_run, &self->d.o));
	/*
	 * A read that has its answer already when the move begins sleeps in the
	 * fault until the end of it, or has a short count.
	 */
	usleep(500000);
	while (n > 0 && !self->s.done)
		n = dio_one(DIO_SYNC, false, self->hole, to, LEN, 0);
	EXPECT_EQ(-ETIMEDOUT, n);
	pthread_join(mover, &moved);
	EXPECT_EQ(-ETIMEDOUT, (long)moved);
	ASSERT_EQ(0, sysfs_write(WAIT_PEERS, WAIT_PEERS_AT_BOOT));
	EXPECT_EQ(LEN, dio_one(DIO_SYNC, false, self->hole, to, LEN, 0));
	EXPECT_EQ(0, slow_end(&self->s));
}

TEST_HARNESS_MAIN
