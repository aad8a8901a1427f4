// SPDX-License-Identifier: GPL-2.0
/*
 * Direct I/O between a disk and the memory of a peer that it cannot reach: goes
 * through RAM, quietly and counted, or fails with a reason in strict mode. One
 * disk is near the peer and reaches it.
 *
 * The second run is on a host bridge that forwards, but with no bounce buffers
 * for peer memory where they are forced: what the topology allows, the mapping
 * refuses.
 *
 * VM: --topo dio
 * VM: --topo dio --cpu EPYC --append swiotlb=force
 * SKIP-OK: dio\.bdev\.hole|dio\.(ext4|xfs)\.(near|shown)
 * TIMEOUT: 600
 */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "dio.h"
#include "dio_peer.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define STRICT		"/sys/module/pci_p2p/parameters/strict"
#define TRACING		"/sys/kernel/tracing/"
#define BUF		0x100000
#define LEN		(64 << 10)
#define MNT		"/run/p2p-dio"
#define POS		0x100000	/* of the data on disk or in the file */

enum target { BDEV, EXT4, XFS };

/* Run a command, its output out of the way: true if it succeeded. */
static bool run(const char *cmd)
{
	char line[320];

	snprintf(line, sizeof(line), "(%s) >/dev/null 2>&1", cmd);
	return system(line) == 0;
}

/* Does a file have a line with both words, from now on if it is the kernel log? */
static bool has_line(int fd, const char *a, const char *b)
{
	char buf[8192];
	bool found = false;
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf) - 1)) > 0) {
		buf[n] = 0;
		if (strstr(buf, a) && strstr(buf, b))
			found = true;
	}
	return found;
}

FIXTURE(dio)
{
	char peer[PCI_NAME], far[64], near[64], file[128];
	char *buf, *ram;
	uint64_t host;
	int fd, kmsg;
};

FIXTURE_VARIANT(dio)
{
	enum target target;
};

FIXTURE_VARIANT_ADD(dio, bdev) { .target = BDEV };
FIXTURE_VARIANT_ADD(dio, ext4) { .target = EXT4 };
FIXTURE_VARIANT_ADD(dio, xfs) { .target = XFS };

FIXTURE_SETUP(dio)
{
	const char *fs = variant->target == EXT4 ? "ext4" : "xfs";
	char cmd[128];

	ASSERT_EQ(0, dio_find_p2pmem(self->peer));
	ASSERT_EQ(0, dio_find_disk("far", self->far, sizeof(self->far)));
	ASSERT_EQ(0, dio_find_disk("near", self->near, sizeof(self->near)));
	ASSERT_EQ(0, sysfs_write(STRICT, "0"));
	ASSERT_EQ(0, pci_write(self->peer, "p2p_cpu", "default"));
	self->buf = dio_map_p2pmem(self->peer, BUF);
	ASSERT_NE(MAP_FAILED, self->buf);
	self->ram = mmap(NULL, BUF, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->ram);
	strcpy(self->file, self->far);
	if (variant->target != BDEV) {
		snprintf(cmd, sizeof(cmd), "mkfs.%s %s %s", fs,
			 variant->target == EXT4 ? "-F" : "-f", self->far);
		ASSERT_TRUE(run(cmd));
		mkdir(MNT, 0700);
		ASSERT_EQ(0, mount(self->far, MNT, fs, 0, NULL));
		strcpy(self->file, MNT "/f");
	}
	self->fd = open(self->file, O_RDWR | O_DIRECT | O_CREAT, 0600);
	ASSERT_LE(0, self->fd);
	/* Written, so that reads of it are reads of the disk. */
	for (int i = 0; i < 3; i++)
		ASSERT_EQ(BUF, dio_one(DIO_SYNC, true, self->fd, self->ram, BUF,
				       i * BUF));
	self->kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	ASSERT_LE(0, self->kmsg);
	lseek(self->kmsg, 0, SEEK_END);
	self->host = dio_stat(self->peer, "host");
}

FIXTURE_TEARDOWN(dio)
{
	EXPECT_FALSE(has_line(self->kmsg, "error", "dev nvme"));
	/* What the mapping refused is not counted as allowed by the topology. */
	EXPECT_EQ(self->host, dio_stat(self->peer, "host"));
	close(self->kmsg);
	sysfs_write(STRICT, "0");
	pci_write(self->peer, "p2p_cpu", "default");
	close(self->fd);
	if (variant->target != BDEV)
		EXPECT_EQ(0, umount(MNT));
	munmap(self->ram, BUF);
	munmap(self->buf, BUF);
}

/* What is on disk: read with a buffer in RAM. */
#define EXPECT_ON_DISK(seed, len, pos) do {				\
	size_t n_ = (len);						\
									\
	EXPECT_EQ((ssize_t)n_, dio_one(DIO_SYNC, false, self->fd,	\
				       self->ram, n_, pos));		\
	EXPECT_EQ(-1, dio_differs(self->ram, n_, seed));		\
} while (0)

#define PUT_ON_DISK(seed, len, pos) do {				\
	size_t n_ = (len);						\
									\
	dio_fill(self->ram, n_, seed);					\
	ASSERT_EQ((ssize_t)n_, dio_one(DIO_SYNC, true, self->fd,	\
				       self->ram, n_, pos));		\
} while (0)

TEST_F_TIMEOUT(dio, read, 120)
{
	for (int e = 0; e < DIO_ENGINES; e++) {
		uint64_t was = dio_stat(self->peer, "bounced");

		TH_LOG("%s", dio_names[e]);
		PUT_ON_DISK(10 + e, LEN, POS);
		dio_fill(self->buf, LEN + 4096, 1);
		EXPECT_EQ(LEN, dio_one(e, false, self->fd, self->buf, LEN,
				       POS));
		EXPECT_EQ(-1, dio_differs(self->buf, LEN, 10 + e));
		/* and nothing behind it */
		EXPECT_EQ(LEN, dio_differs(self->buf, LEN + 4096, 10 + e));
		EXPECT_EQ(LEN, dio_stat(self->peer, "bounced") - was);
	}
}

TEST_F_TIMEOUT(dio, write, 120)
{
	for (int e = 0; e < DIO_ENGINES; e++) {
		uint64_t was = dio_stat(self->peer, "bounced");

		TH_LOG("%s", dio_names[e]);
		PUT_ON_DISK(2, LEN + 4096, POS);
		dio_fill(self->buf, LEN, 20 + e);
		EXPECT_EQ(LEN, dio_one(e, true, self->fd, self->buf, LEN, POS));
		EXPECT_ON_DISK(20 + e, LEN, POS);
		EXPECT_EQ(LEN, dio_stat(self->peer, "bounced") - was);
		EXPECT_EQ(4096, dio_one(DIO_SYNC, false, self->fd, self->ram,
					4096, POS + LEN));
		EXPECT_NE(-1, dio_differs(self->ram, 4096, 20 + e));
	}
}

/* Several pieces, the last one short; and starting in the middle of a page. */
TEST_F_TIMEOUT(dio, pieces, 120)
{
	size_t len = 700 << 10;

	PUT_ON_DISK(3, len, POS);
	EXPECT_EQ((ssize_t)len, dio_one(DIO_SYNC, false, self->fd, self->buf,
					len, POS));
	EXPECT_EQ(-1, dio_differs(self->buf, len, 3));
	dio_fill(self->buf, len, 4);
	EXPECT_EQ((ssize_t)len, dio_one(DIO_AIO, true, self->fd, self->buf, len,
					POS));
	EXPECT_ON_DISK(4, len, POS);

	PUT_ON_DISK(5, 8192, POS);
	EXPECT_EQ(7168, dio_one(DIO_SYNC, false, self->fd, self->buf + 1536,
				7168, POS));
	EXPECT_EQ(-1, dio_differs(self->buf + 1536, 7168, 5));
	dio_fill(self->buf + 512, 5632, 6);
	EXPECT_EQ(5632, dio_one(DIO_URING, true, self->fd, self->buf + 512,
				5632, POS + 512));
	EXPECT_EQ(8192, dio_one(DIO_SYNC, false, self->fd, self->ram, 8192,
				POS));
	EXPECT_EQ(-1, dio_differs(self->ram + 512, 5632, 6));
	EXPECT_EQ(512, dio_differs(self->ram, 8192, 5));
}

TEST_F_TIMEOUT(dio, many_at_once, 120)
{
	PUT_ON_DISK(7, 512 << 10, POS);
	EXPECT_EQ(0, dio_many(false, self->fd, self->buf, 16 << 10, POS, 32));
	EXPECT_EQ(-1, dio_differs(self->buf, 512 << 10, 7));
	dio_fill(self->buf, 512 << 10, 8);
	EXPECT_EQ(0, dio_many(true, self->fd, self->buf, 16 << 10, POS, 32));
	EXPECT_ON_DISK(8, 512 << 10, POS);
}

TEST_F_TIMEOUT(dio, synchronous_write, 120)
{
	int fd = open(self->file, O_RDWR | O_DIRECT | O_DSYNC);

	ASSERT_LE(0, fd);
	dio_fill(self->buf, LEN, 9);
	EXPECT_EQ(LEN, dio_one(DIO_SYNC, true, fd, self->buf, LEN, POS));
	EXPECT_EQ(LEN, dio_one(DIO_AIO, true, fd, self->buf, LEN, POS + LEN));
	close(fd);
	EXPECT_ON_DISK(9, LEN, POS);
	EXPECT_ON_DISK(9, LEN, POS + LEN);
}

/* RAM, peer, RAM in one vector. */
TEST_F_TIMEOUT(dio, mixed, 120)
{
	struct iovec iov[3] = {
		{ .iov_base = self->ram + (512 << 10), .iov_len = 8192 },
		{ .iov_base = self->buf, .iov_len = LEN },
		{ .iov_base = self->ram + (768 << 10), .iov_len = 4096 },
	};
	size_t len = 8192 + LEN + 4096;

	for (int e = 0; e < DIO_ENGINES; e++) {
		uint64_t was = dio_stat(self->peer, "bounced");

		TH_LOG("%s", dio_names[e]);
		PUT_ON_DISK(30 + e, len, POS);
		EXPECT_EQ((ssize_t)len, dio(e, false, self->fd, iov, 3, POS, 0));
		EXPECT_EQ(LEN, dio_stat(self->peer, "bounced") - was);
		dio_fill(self->ram, len, 30 + e);
		EXPECT_EQ(0, memcmp(self->ram, iov[0].iov_base, 8192));
		EXPECT_EQ(0, memcmp(self->ram + 8192, self->buf, LEN));
		EXPECT_EQ(0, memcmp(self->ram + 8192 + LEN, iov[2].iov_base,
				    4096));

		dio_fill(iov[0].iov_base, 8192, 40);
		dio_fill(self->buf, LEN, 41);
		dio_fill(iov[2].iov_base, 4096, 42);
		EXPECT_EQ((ssize_t)len, dio(e, true, self->fd, iov, 3, POS, 0));
		EXPECT_ON_DISK(40, 8192, POS);
		EXPECT_ON_DISK(41, LEN, POS + 8192);
		EXPECT_ON_DISK(42, 4096, POS + 8192 + LEN);
		EXPECT_EQ(2 * LEN, dio_stat(self->peer, "bounced") - was);
	}
}

/* For each BAR by itself: the memory is in BAR 2 of the controller, its registers in 0. */
TEST_F_TIMEOUT(dio, policy_of_bar, 120)
{
	static const struct {
		const char *text;
		int err;
		bool refused;
	} steps[] = {
		{ "bar=2 refuse", 0, true },
		{ "allow", 0, false },
		{ "bar=0 refuse", 0, false },
		{ "bar=2 refuse", 0, true },
		{ "bar=0 allow", 0, true },
		{ "bar=2 default", 0, false },
		{ "bar=5 refuse", -EINVAL, false },
		{ "bar=9 refuse", -EINVAL, false },
		{ "bar=4294967298 refuse", -EINVAL, false },
		{ "bar=2 sometimes", -EINVAL, false },
		{ "bar=2", -EINVAL, false },
		{ "refuse", 0, true },
	};
	char path[128], line[64];
	bool found = false;
	FILE *f;

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		TH_LOG("%s", steps[i].text);
		EXPECT_EQ(steps[i].err,
			  pci_write(self->peer, "p2p_cpu", steps[i].text));
		EXPECT_EQ(steps[i].refused ? -EREMOTEIO : LEN,
			  dio_one(DIO_SYNC, false, self->fd, self->buf, LEN,
				  POS));
	}
	ASSERT_EQ(0, pci_write(self->peer, "p2p_cpu", "bar=0 allow"));
	snprintf(path, sizeof(path), PCI_DEVICES "%s/p2p_cpu", self->peer);
	f = fopen(path, "r");
	ASSERT_NE(NULL, f);
	while (fgets(line, sizeof(line), f)) {
		if (!strcmp(line, "bar=2 refuse\n"))
			found = true;
		if (!strncmp(line, "bar=0 ", 6))
			EXPECT_STREQ("bar=0 allow\n", line);
	}
	fclose(f);
	EXPECT_TRUE(found);
}

/* By parameter and by device; RAM is not touched by it. */
TEST_F_TIMEOUT(dio, strict, 120)
{
	int fd, e;

	ASSERT_EQ(0, sysfs_write(TRACING "trace", ""));
	ASSERT_EQ(0, sysfs_write(TRACING "events/p2p/p2p_io_refuse/enable",
				 "1"));
	PUT_ON_DISK(50, LEN, POS);
	dio_fill(self->buf, LEN, 51);
	ASSERT_EQ(0, sysfs_write(STRICT, "1"));
	for (e = 0; e < DIO_ENGINES; e++) {
		uint64_t was = dio_stat(self->peer, "refused");
		uint64_t bounced = dio_stat(self->peer, "bounced");

		TH_LOG("%s", dio_names[e]);
		EXPECT_EQ(-EREMOTEIO, dio_one(e, false, self->fd, self->buf,
					      LEN, POS));
		EXPECT_EQ(-EREMOTEIO, dio_one(e, true, self->fd, self->buf,
					      LEN, POS));
		EXPECT_EQ(2 * LEN, dio_stat(self->peer, "refused") - was);
		EXPECT_EQ(bounced, dio_stat(self->peer, "bounced"));
	}
	EXPECT_EQ(-1, dio_differs(self->buf, LEN, 51));
	EXPECT_ON_DISK(50, LEN, POS);

	ASSERT_EQ(0, pci_write(self->peer, "p2p_cpu", "allow"));
	EXPECT_EQ(LEN, dio_one(DIO_SYNC, false, self->fd, self->buf, LEN, POS));
	ASSERT_EQ(0, sysfs_write(STRICT, "0"));
	ASSERT_EQ(0, pci_write(self->peer, "p2p_cpu", "refuse"));
	EXPECT_EQ(-EREMOTEIO, dio_one(DIO_SYNC, false, self->fd, self->buf, LEN,
				      POS));

	fd = open(TRACING "trace", O_RDONLY);
	EXPECT_TRUE(has_line(fd, "p2p_io_refuse:", "reason=topology err=-121"));
	close(fd);
	sysfs_write(TRACING "events/p2p/p2p_io_refuse/enable", "0");
}

/* A hole, and extents that were never written: no disk is asked. */
TEST_F_TIMEOUT(dio, hole, 120)
{
	int fd;

	if (variant->target == BDEV)
		SKIP(return, "a disk has no holes");
	fd = open(MNT "/sparse", O_RDWR | O_DIRECT | O_CREAT, 0600);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ftruncate(fd, BUF));
	ASSERT_EQ(0, fallocate(fd, 0, LEN, LEN));
	for (int i = 0; i < 2; i++) {
		uint64_t was = dio_stat(self->peer, "cpu");
		uint64_t refused = dio_stat(self->peer, "refused");

		dio_fill(self->buf, LEN, 60);
		EXPECT_EQ(LEN, dio_one(DIO_SYNC, false, fd, self->buf, LEN,
				       i * LEN));
		memset(self->ram, 0, LEN);
		EXPECT_EQ(0, memcmp(self->ram, self->buf, LEN));
		EXPECT_EQ(LEN, dio_stat(self->peer, "cpu") - was);

		ASSERT_EQ(0, sysfs_write(STRICT, "1"));
		dio_fill(self->buf, LEN, 61);
		EXPECT_EQ(-EREMOTEIO, dio_one(DIO_SYNC, false, fd, self->buf,
					      LEN, i * LEN));
		EXPECT_EQ(LEN, dio_one(DIO_SYNC, false, fd, self->ram, LEN,
				       i * LEN));
		EXPECT_EQ(-1, dio_differs(self->buf, LEN, 61));
		EXPECT_LT(refused, dio_stat(self->peer, "refused"));
		ASSERT_EQ(0, sysfs_write(STRICT, "0"));
	}
	close(fd);
}

/* A read that meets the end of the file, or of the disk. */
TEST_F_TIMEOUT(dio, end, 120)
{
	off_t end = lseek(self->fd, 0, SEEK_END);

	ASSERT_LT(LEN, end);
	if (variant->target != BDEV) {
		end -= 3000;
		ASSERT_EQ(0, ftruncate(self->fd, end));
	}
	for (int e = 0; e < DIO_ENGINES; e++) {
		off_t pos = (end - 1) / 4096 * 4096;

		TH_LOG("%s", dio_names[e]);
		EXPECT_EQ(end - pos, dio_one(e, false, self->fd, self->buf, LEN,
					     pos));
		EXPECT_EQ(0, dio_one(e, false, self->fd, self->buf, LEN,
				     pos + 4096));
	}
}

/* The disk that reaches the peer does, also in strict mode. */
TEST_F_TIMEOUT(dio, near, 120)
{
	uint64_t was = dio_stat(self->peer, "bus");
	uint64_t bounced = dio_stat(self->peer, "bounced");
	int fd;

	if (variant->target != BDEV)
		SKIP(return, "once is enough");
	ASSERT_EQ(0, sysfs_write(STRICT, "1"));
	fd = open(self->near, O_RDWR | O_DIRECT);
	ASSERT_LE(0, fd);
	for (int e = 0; e < DIO_ENGINES; e++) {
		dio_fill(self->buf, LEN, 70 + e);
		EXPECT_EQ(LEN, dio_one(e, true, fd, self->buf, LEN, 0));
		dio_fill(self->buf, LEN, 1);
		EXPECT_EQ(LEN, dio_one(e, false, fd, self->buf, LEN, 0));
		EXPECT_EQ(-1, dio_differs(self->buf, LEN, 70 + e));
	}
	close(fd);
	EXPECT_EQ(2 * LEN * DIO_ENGINES, dio_stat(self->peer, "bus") - was);
	EXPECT_EQ(bounced, dio_stat(self->peer, "bounced"));
}

/* p2p-topo shows the counters. It is at another place in a kernel tree. */
TEST_F_TIMEOUT(dio, shown, 120)
{
	char cmd[256];

	if (variant->target != BDEV)
		SKIP(return, "once is enough");
	EXPECT_EQ(LEN, dio_one(DIO_SYNC, false, self->fd, self->buf, LEN, POS));
	snprintf(cmd, sizeof(cmd),
		 "$(ls ../../tools/p2p/p2p-topo ../../../p2p/p2p-topo | head -n 1) --io | grep '^%s/.* %llu '",
		 self->peer,
		 (unsigned long long)dio_stat(self->peer, "bounced"));
	EXPECT_TRUE(run(cmd));
}

TEST_HARNESS_MAIN
