// SPDX-License-Identifier: GPL-2.0
/*
 * Direct I/O of peer memory to devices on top of others: a mirror of which only
 * one leg reaches the peer, stripes likewise, two paths to a disk of which one does,
 * and one that takes no peer memory at all. And to zones.
 *
 * VM: --topo dio
 */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "dio.h"
#include "dio_peer.h"

#include <fcntl.h>
#include <glob.h>
#include <linux/blkzoned.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define STRICT	"/sys/module/pci_p2p/parameters/strict"
#define LEN	(64 << 10)
#define POS	0x100000

FIXTURE(stacked)
{
	char peer[PCI_NAME], far[64], near[64];
	char *buf, *ram;
};

FIXTURE_SETUP(stacked)
{
	ASSERT_EQ(0, dio_find_p2pmem(self->peer));
	ASSERT_EQ(0, dio_find_disk("far", self->far, sizeof(self->far)));
	ASSERT_EQ(0, dio_find_disk("near", self->near, sizeof(self->near)));
	self->buf = dio_map_p2pmem(self->peer, LEN);
	ASSERT_NE(MAP_FAILED, self->buf);
	self->ram = mmap(NULL, LEN, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->ram);
}

FIXTURE_TEARDOWN(stacked)
{
	sysfs_write(STRICT, "0");
	munmap(self->ram, LEN);
	munmap(self->buf, LEN);
}

/* An array of this process; the kernel may keep its name when it is stopped. */
static const char *md_path(const char *dir, const char *file)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/md_p2p%d%s", dir, getpid(), file);
	return path;
}

static int md_write(const char *file, const char *text)
{
	return sysfs_write(md_path("/sys/block", file), text);
}

/* Add a disk to the array in a slot: 0 or -errno. */
static int md_add(const char *disk, const char *slot)
{
	char text[32], file[64];
	const char *name = strrchr(disk, '/') + 1;
	struct stat st;
	int err;

	if (stat(disk, &st))
		return -errno;
	snprintf(text, sizeof(text), "%u:%u", major(st.st_rdev),
		 minor(st.st_rdev));
	err = md_write("/md/new_dev", text);
	if (err)
		return err;
	snprintf(file, sizeof(file), "/md/dev-%s/size", name);
	err = md_write(file, "131072");
	if (err)
		return err;
	snprintf(file, sizeof(file), "/md/dev-%s/slot", name);
	return md_write(file, slot);
}

/* Make an array without metadata and without a first resync: 0 or -errno. */
static int md_start(const char *level, const char *a, const char *b)
{
	const char *const settings[][2] = {
		{ "/md/metadata_version", "none" },
		{ "/md/level", level },
		{ "/md/raid_disks", "2" },
		{ "/md/chunk_size", "32768" },
	};
	bool stripes = !strcmp(level, "raid0");
	int err;

	err = sysfs_write("/sys/module/md_mod/parameters/new_array",
			  md_path("", "") + 1);
	for (int i = 0; i < 3 + stripes && !err; i++)
		err = md_write(settings[i][0], settings[i][1]);
	if (!err)
		err = md_add(a, "0");
	if (!err)
		err = md_add(b, "1");
	if (!err && !stripes)
		err = md_write("/md/component_size", "131072");
	if (!err && !stripes)
		err = md_write("/md/resync_start", "none");
	return err ? err : md_write("/md/array_state", "active");
}

static int md_degraded(void)
{
	FILE *f = fopen(md_path("/sys/block", "/md/degraded"), "r");
	int n = -1;

	if (f && fscanf(f, "%d", &n) != 1)
		n = -1;
	if (f)
		fclose(f);
	return n;
}

/* Is it on this disk? Read with a buffer in RAM. */
static long disk_differs(const char *disk, void *ram, unsigned int seed)
{
	int fd = open(disk, O_RDONLY | O_DIRECT);
	ssize_t n = dio_one(DIO_SYNC, false, fd, ram, LEN, POS);

	close(fd);
	return n == LEN ? dio_differs(ram, LEN, seed) : -2;
}

/* Both legs get the data, and none is thrown out. */
TEST_F_TIMEOUT(stacked, mirror, 120)
{
	uint64_t bounced = dio_stat(self->peer, "bounced");
	uint64_t bus = dio_stat(self->peer, "bus");
	int fd;

	ASSERT_EQ(0, md_start("raid1", self->near, self->far));
	fd = open(md_path("/dev", ""), O_RDWR | O_DIRECT);
	ASSERT_LE(0, fd);
	for (int e = 0; e < DIO_ENGINES; e++) {
		TH_LOG("%s", dio_names[e]);
		dio_fill(self->buf, LEN, 10 + e);
		EXPECT_EQ(LEN, dio_one(e, true, fd, self->buf, LEN, POS));
		EXPECT_EQ(-1, disk_differs(self->near, self->ram, 10 + e));
		EXPECT_EQ(-1, disk_differs(self->far, self->ram, 10 + e));
		/* Reads go to the one leg or to the other. */
		for (int i = 0; i < 4; i++) {
			dio_fill(self->buf, LEN, 1);
			EXPECT_EQ(LEN, dio_one(e, false, fd, self->buf, LEN,
					       POS));
			EXPECT_EQ(-1, dio_differs(self->buf, LEN, 10 + e));
		}
	}
	/* Each write, once by DMA to the near leg, and then once more by RAM */
	EXPECT_LE(3 * LEN, dio_stat(self->peer, "bounced") - bounced);
	EXPECT_LE(3 * LEN, dio_stat(self->peer, "bus") - bus);
	ASSERT_EQ(0, sysfs_write(STRICT, "1"));
	dio_fill(self->buf, LEN, 99);
	EXPECT_EQ(-EREMOTEIO, dio_one(DIO_SYNC, true, fd, self->buf, LEN, POS));
	EXPECT_EQ(-EREMOTEIO, dio_one(DIO_AIO, true, fd, self->buf, LEN, POS));
	ASSERT_EQ(0, sysfs_write(STRICT, "0"));
	/* On no leg */
	EXPECT_EQ(-1, disk_differs(self->near, self->ram, 9 + DIO_ENGINES));
	EXPECT_EQ(-1, disk_differs(self->far, self->ram, 9 + DIO_ENGINES));
	EXPECT_EQ(0, md_degraded());
	close(fd);
	EXPECT_EQ(0, md_write("/md/array_state", "clear"));
}

/* Half of each request is in reach: all of it bounces. */
TEST_F_TIMEOUT(stacked, stripes, 120)
{
	uint64_t bounced = dio_stat(self->peer, "bounced");
	uint64_t bus = dio_stat(self->peer, "bus");
	int fd;

	ASSERT_EQ(0, md_start("raid0", self->near, self->far));
	fd = open(md_path("/dev", ""), O_RDWR | O_DIRECT);
	ASSERT_LE(0, fd);
	for (int e = 0; e < DIO_ENGINES; e++) {
		TH_LOG("%s", dio_names[e]);
		dio_fill(self->buf, LEN, 20 + e);
		EXPECT_EQ(LEN, dio_one(e, true, fd, self->buf, LEN, POS));
		EXPECT_EQ(LEN, dio_one(DIO_SYNC, false, fd, self->ram, LEN,
				       POS));
		EXPECT_EQ(-1, dio_differs(self->ram, LEN, 20 + e));
		dio_fill(self->buf, LEN, 1);
		EXPECT_EQ(LEN, dio_one(e, false, fd, self->buf, LEN, POS));
		EXPECT_EQ(-1, dio_differs(self->buf, LEN, 20 + e));
	}
	EXPECT_EQ(2 * DIO_ENGINES * LEN,
		  dio_stat(self->peer, "bounced") - bounced);
	EXPECT_EQ(DIO_ENGINES * LEN, dio_stat(self->peer, "bus") - bus);
	ASSERT_EQ(0, sysfs_write(STRICT, "1"));
	EXPECT_EQ(-EREMOTEIO, dio_one(DIO_SYNC, true, fd, self->buf, LEN, POS));
	/* One stripe, on the near disk */
	EXPECT_EQ(LEN / 2, dio_one(DIO_SYNC, true, fd, self->buf, LEN / 2, POS));
	close(fd);
	EXPECT_EQ(0, md_write("/md/array_state", "clear"));
}

/*
 * RAM and peer memory in one stripe, side by side: md lets their bios be merged,
 * but each is mapped for what it is.
 */
TEST_F_TIMEOUT(stacked, neighbours, 120)
{
	const size_t half = LEN / 4;	/* of a stripe */
	uint64_t bounced, bus;
	int fd;

	ASSERT_EQ(0, md_start("raid0", self->near, self->far));
	fd = open(md_path("/dev", ""), O_RDWR | O_DIRECT);
	ASSERT_LE(0, fd);
	for (int i = 0; i < 4; i++) {
		bool far = i & 1, peer_first = i & 2;
		off_t pos = POS + (far ? LEN / 2 : 0);
		struct iovec iov[] = {
			{ peer_first ? self->buf : self->ram, half },
			{ peer_first ? self->ram : self->buf, half },
		};

		TH_LOG("%s, %s first", far ? "far" : "near",
		       peer_first ? "peer" : "RAM");
		bounced = dio_stat(self->peer, "bounced");
		bus = dio_stat(self->peer, "bus");
		dio_fill(iov[0].iov_base, half, 40 + i);
		dio_fill(iov[1].iov_base, half, 50 + i);
		EXPECT_EQ(2 * half, dio(DIO_SYNC, true, fd, iov, 2, pos, 0));
		dio_fill(iov[0].iov_base, half, 1);
		dio_fill(iov[1].iov_base, half, 2);
		EXPECT_EQ(2 * half, dio(DIO_AIO, false, fd, iov, 2, pos, 0));
		EXPECT_EQ(-1, dio_differs(iov[0].iov_base, half, 40 + i));
		EXPECT_EQ(-1, dio_differs(iov[1].iov_base, half, 50 + i));
		EXPECT_EQ(far ? 2 * half : 0,
			  dio_stat(self->peer, "bounced") - bounced);
		EXPECT_EQ(far ? 0 : 2 * half,
			  dio_stat(self->peer, "bus") - bus);
	}
	close(fd);
	EXPECT_EQ(0, md_write("/md/array_state", "clear"));
}

/* Controllers of disk "both" that work */
static int paths_live(void)
{
	char word[SYSFS_WORD];
	int live = 0;
	glob_t g;

	if (glob("/sys/class/nvme/nvme*", 0, NULL, &g))
		return 0;
	for (size_t i = 0; i < g.gl_pathc; i++)
		if (!sysfs_word(g.gl_pathv[i], "serial", word) &&
		    !strcmp(word, "both") &&
		    !sysfs_word(g.gl_pathv[i], "state", word) &&
		    !strcmp(word, "live"))
			live++;
	globfree(&g);
	return live;
}

/* The two ways to one disk, in turn: a refusal is not the fault of the path. */
TEST_F_TIMEOUT(stacked, paths, 120)
{
	uint64_t bounced = dio_stat(self->peer, "bounced");
	uint64_t bus = dio_stat(self->peer, "bus");
	char disk[64], policy[128];
	long n, refused = 0;
	int fd;

	ASSERT_EQ(0, dio_find_disk("both", disk, sizeof(disk)));
	EXPECT_EQ(2, paths_live());
	snprintf(policy, sizeof(policy), "/sys/block/%s/device/iopolicy",
		 disk + strlen("/dev/"));
	ASSERT_EQ(0, sysfs_write(policy, "round-robin"));
	fd = open(disk, O_RDWR | O_DIRECT);
	ASSERT_LE(0, fd);
	for (int i = 0; i < 8 * DIO_ENGINES; i++) {
		int e = i / 8;

		dio_fill(self->buf, LEN, 30 + i);
		EXPECT_EQ(LEN, dio_one(e, true, fd, self->buf, LEN, POS));
		EXPECT_EQ(-1, disk_differs(disk, self->ram, 30 + i));
		dio_fill(self->buf, LEN, 1);
		EXPECT_EQ(LEN, dio_one(e, false, fd, self->buf, LEN, POS));
		EXPECT_EQ(-1, dio_differs(self->buf, LEN, 30 + i));
	}
	EXPECT_LE(LEN, dio_stat(self->peer, "bounced") - bounced);
	EXPECT_LE(LEN, dio_stat(self->peer, "bus") - bus);
	ASSERT_EQ(0, sysfs_write(STRICT, "1"));
	for (int i = 0; i < 8; i++) {
		n = dio_one(DIO_SYNC, false, fd, self->buf, LEN, POS);
		if (n != LEN)
			EXPECT_EQ(-EREMOTEIO, n);
		refused += n != LEN;
	}
	EXPECT_LT(0, refused);
	EXPECT_GT(8, refused);
	EXPECT_EQ(2, paths_live());
	close(fd);
}

#define ZONE	(2 << 20)	/* more than one bio of base pages */

/*
 * Not on top of others, but it, too, cannot take a refusal: a zone is written
 * from its beginning on, without gaps, though it is in several bios.
 */
TEST_F_TIMEOUT(stacked, zones, 120)
{
	struct blk_zone_range zone = { .nr_sectors = 32768 };
	uint64_t bounced = dio_stat(self->peer, "bounced");
	char disk[64], *buf, *ram;
	int fd;

	ASSERT_EQ(0, dio_find_disk("zones", disk, sizeof(disk)));
	buf = dio_map_p2pmem(self->peer, ZONE);
	ASSERT_NE(MAP_FAILED, buf);
	ram = mmap(NULL, ZONE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, ram);
	fd = open(disk, O_RDWR | O_DIRECT);
	ASSERT_LE(0, fd);
	for (int e = 0; e < DIO_ENGINES; e++) {
		TH_LOG("%s", dio_names[e]);
		ASSERT_EQ(0, ioctl(fd, BLKRESETZONE, &zone));
		dio_fill(buf, ZONE, 60 + e);
		EXPECT_EQ(ZONE, dio_one(e, true, fd, buf, ZONE, 0));
		/* And many at once */
		EXPECT_EQ(0, dio_many(true, fd, buf, ZONE / 8, ZONE, 8));
		EXPECT_EQ(ZONE, dio_one(e, false, fd, ram, ZONE, 0));
		EXPECT_EQ(-1, dio_differs(ram, ZONE, 60 + e));
		EXPECT_EQ(ZONE, dio_one(e, false, fd, ram, ZONE, ZONE));
		EXPECT_EQ(-1, dio_differs(ram, ZONE, 60 + e));
	}
	EXPECT_EQ(2 * DIO_ENGINES * ZONE,
		  dio_stat(self->peer, "bounced") - bounced);
	close(fd);
	munmap(ram, ZONE);
	munmap(buf, ZONE);
}

/* Device mapper does not pass peer memory on: refused before there is a bio. */
TEST_F_TIMEOUT(stacked, linear, 120)
{
	char cmd[256];
	int fd;

	snprintf(cmd, sizeof(cmd),
		 "dmsetup --noudevsync --noudevrules create p2p_lin --table '0 131072 linear %s 0' >/dev/null",
		 self->far);
	ASSERT_EQ(0, system(cmd));
	fd = open("/dev/dm-0", O_RDWR | O_DIRECT);
	ASSERT_LE(0, fd);
	EXPECT_EQ(LEN, dio_one(DIO_SYNC, true, fd, self->ram, LEN, POS));
	for (int e = 0; e < DIO_ENGINES; e++) {
		EXPECT_EQ(-EREMOTEIO, dio_one(e, true, fd, self->buf, LEN,
					      POS));
		EXPECT_EQ(-EREMOTEIO, dio_one(e, false, fd, self->buf, LEN,
					      POS));
	}
	close(fd);
	EXPECT_EQ(0, system("dmsetup --noudevsync --noudevrules remove p2p_lin"));
}

TEST_HARNESS_MAIN
