// SPDX-License-Identifier: GPL-2.0
/*
 * O_DIRECT of an NVMe disk from and to the memory of a GPU, whose driver has
 * given it struct pages: by real peer DMA, below one PCIe switch, or through
 * the host bridge and an IOMMU if there is one. And what did not opt in gets what
 * stock Linux gives.
 *
 * The proof is QEMU's trace of what the disk maps, and of what the IOMMU makes of
 * it: data that took the way through RAM would be right, too.
 *
 * VM: --topo switch --trace pci_nvme_map_addr
 * VM: --topo nvme --cpu EPYC --iommu lazy --trace pci_nvme_map_addr --trace vtd_dmar_t*
 * VM: --topo nvme --cpu EPYC --iommu strict --trace pci_nvme_map_addr --trace vtd_dmar_t*
 * VM: --topo switch --cpu EPYC --iommu lazy --trace pci_nvme_map_addr --trace vtd_dmar_t*
 * TIMEOUT: 600
 */

#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "dio_peer.h"
#include "dio_trace.h"
#include "gpu_disk.h"
#include "gpu_mr.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define MNT	"/run/p2p_dio"
#define FILE_	MNT "/file"

FIXTURE(dio)
{
	struct gpu_disk d;
};

FIXTURE_VARIANT(dio)
{
	const char *pages;
};

FIXTURE_VARIANT_ADD(dio, base_pages) { .pages = "4K" };
FIXTURE_VARIANT_ADD(dio, folios) { .pages = "2M" };

FIXTURE_SETUP(dio)
{
	self->d.pages = variant->pages;
	srandom(11);
	ASSERT_EQ(0, gpu_disk_open(&self->d));
	memset(self->d.o.ptr, 0x11, DIO_SIZE);
	ASSERT_EQ(0, p2p_trace_begin());
}

FIXTURE_TEARDOWN(dio)
{
	gpu_disk_close(&self->d);
}

TEST_F_TIMEOUT(dio, read, 60)
{
	struct gpu_disk *d = &self->d;

	ASSERT_EQ(0, gpu_disk_fill(d, 0, DIO_SIZE));
	EXPECT_EQ(0, gpu_disk_traced(d, 0, DIO_SIZE));
	ASSERT_EQ(DIO_SIZE, pread(d->disk, d->o.ptr, DIO_SIZE, 0));
	EXPECT_EQ(DIO_SIZE, gpu_disk_traced(d, 0, DIO_SIZE));
	EXPECT_EQ(0, gpu_disk_check(d, 0, DIO_SIZE));
	EXPECT_LE(1, p2p_trace_count("p2p_pin", NULL));
	EXPECT_EQ(0, p2p_trace_count("p2p_refuse", NULL));
	/* The exporter's bookkeeping ends with the call. */
	EXPECT_EQ(0, gpu_wait_extents(&d->o, 0));
}

TEST_F_TIMEOUT(dio, write, 60)
{
	struct gpu_disk *d = &self->d;

	fill_random(d->o.ptr, DIO_SIZE);
	ASSERT_EQ(DIO_SIZE, pwrite(d->disk, d->o.ptr, DIO_SIZE, 0));
	ASSERT_EQ(DIO_SIZE, pread(d->disk, d->ram, DIO_SIZE, 0));
	EXPECT_EQ(DIO_SIZE, gpu_disk_traced(d, 0, DIO_SIZE));
	EXPECT_EQ(0, gpu_disk_check(d, 0, DIO_SIZE));
	EXPECT_EQ(0, p2p_trace_count("p2p_refuse", NULL));
}

/* What the kernel says of the way */
TEST_F_TIMEOUT(dio, path, 60)
{
	static const char *const ways[] = {
		"bus", "host", "bounced", "cpu", "refused",
	};
	size_t way = trace_iommu();
	struct gpu_disk *d = &self->d;
	uint64_t was[ARRAY_SIZE(ways)];
	char gpu[PCI_NAME];

	ASSERT_EQ(0, pci_find_gpu(gpu));
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++)
		was[i] = dio_stat(gpu, ways[i]);
	ASSERT_EQ(DIO_SIZE, pread(d->disk, d->o.ptr, DIO_SIZE, 0));
	ASSERT_EQ(DIO_SIZE, pwrite(d->disk, d->o.ptr, DIO_SIZE, 0));
	EXPECT_EQ(2 * DIO_SIZE, gpu_disk_traced(d, 0, DIO_SIZE));
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++)
		EXPECT_EQ(i == way ? 2 * DIO_SIZE : 0,
			  dio_stat(gpu, ways[i]) - was[i]);
}

/* Sectors, not pages; what is beside them stays. */
TEST_F_TIMEOUT(dio, sectors, 60)
{
	struct gpu_disk *d = &self->d;
	size_t off = 3 * DIO_SECTOR, len = 19 * DIO_SECTOR;

	ASSERT_EQ(0, gpu_disk_fill(d, off, len));
	ASSERT_EQ((ssize_t)len, pread(d->disk, d->o.ptr + off, len, off));
	EXPECT_EQ((long)len, gpu_disk_traced(d, off, len));
	EXPECT_EQ(0, gpu_disk_check(d, off, len));
	for (size_t i = 0; i < off; i++)
		ASSERT_EQ(0x11, d->o.ptr[i]);
	for (size_t i = off + len; i < 4 * DIO_PAGE; i++)
		ASSERT_EQ(0x11, d->o.ptr[i]);
}

TEST_F_TIMEOUT(dio, vectors, 60)
{
	struct gpu_disk *d = &self->d;
	unsigned char *p = d->o.ptr;
	struct iovec iov[] = {
		{ p + 8 * DIO_PAGE, 2 * DIO_PAGE },
		{ p, DIO_SECTOR },
		{ p + 100 * DIO_PAGE, 50 * DIO_PAGE },
	};
	ssize_t len = 52 * DIO_PAGE + DIO_SECTOR;
	size_t at = 0;

	ASSERT_EQ(0, gpu_disk_fill(d, 0, 64 * DIO_PAGE));
	ASSERT_EQ(len, preadv(d->disk, iov, ARRAY_SIZE(iov), 0));
	for (size_t i = 0; i < ARRAY_SIZE(iov); at += iov[i++].iov_len)
		EXPECT_EQ(0, memcmp(iov[i].iov_base, d->ram + at,
				    iov[i].iov_len));
	ASSERT_EQ(len, pwritev(d->disk, iov, ARRAY_SIZE(iov), DIO_SIZE));
	ASSERT_EQ(len + (ssize_t)DIO_SECTOR,
		  pread(d->disk, p, len + DIO_SECTOR, DIO_SIZE));
	EXPECT_EQ(0, memcmp(p, d->ram, len));
}

/* A part of the object that is mapped twice, read-only, and not at all */
TEST_F_TIMEOUT(dio, mappings, 60)
{
	struct gpu_disk *d = &self->d;
	unsigned char *p = d->o.ptr;

	ASSERT_EQ(0, gpu_disk_fill(d, 0, 8 * DIO_PAGE));
	ASSERT_EQ(0, mprotect(p, DIO_PAGE, PROT_READ));
	EXPECT_EQ(-1, pread(d->disk, p, DIO_PAGE, 0));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ((ssize_t)DIO_PAGE, pwrite(d->disk, p, DIO_PAGE, DIO_SIZE));
	ASSERT_EQ(0, munmap(p + 2 * DIO_PAGE, DIO_PAGE));
	/* As far as it goes, which is what stock Linux does for RAM. */
	EXPECT_EQ((ssize_t)DIO_PAGE,
		  pread(d->disk, p + DIO_PAGE, 4 * DIO_PAGE, DIO_PAGE));
	EXPECT_EQ(0, memcmp(p + DIO_PAGE, d->ram + DIO_PAGE, DIO_PAGE));
	EXPECT_EQ(0x11, p[0]);
	EXPECT_EQ(0x11, p[3 * DIO_PAGE]);
	/* Before the CPU has touched it, with no page table */
	ASSERT_EQ(0, munmap(p, DIO_SIZE));
	d->o.ptr = NULL;
	ASSERT_EQ(0, gpu_map(&d->o, (void *)(77UL << 30),
			     PROT_READ | PROT_WRITE));
	EXPECT_EQ((ssize_t)(8 * DIO_PAGE),
		  pread(d->disk, d->o.ptr, 8 * DIO_PAGE, 0));
	EXPECT_EQ(0, gpu_disk_check(d, 0, 8 * DIO_PAGE));
}

/* RAM, GPU memory and RAM in one call: each part in its place, by DMA */
TEST_F_TIMEOUT(dio, mixed, 60)
{
	struct gpu_disk *d = &self->d;
	size_t part = 9 * DIO_PAGE, len = 3 * part;
	unsigned char *out = d->ram + 64 * DIO_PAGE;
	struct iovec iov[3] = {
		{ d->ram, part },
		{ d->o.ptr + DIO_PAGE, part },
		{ d->ram + 16 * DIO_PAGE, part },
	};

	fill_random(out, len);
	ASSERT_EQ((ssize_t)len, pwrite(d->disk, out, len, 0));
	EXPECT_EQ((ssize_t)len, preadv(d->disk, iov, 3, 0));
	EXPECT_EQ((long)part, gpu_disk_traced(d, 0, DIO_SIZE));
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(0, memcmp(out + i * part, iov[i].iov_base, part));
	EXPECT_EQ(0x11, d->o.ptr[DIO_PAGE - 1]);
	EXPECT_EQ(0x11, d->o.ptr[DIO_PAGE + part]);

	for (int i = 0; i < 3; i++)
		fill_random(iov[i].iov_base, part);
	EXPECT_EQ((ssize_t)len, pwritev(d->disk, iov, 3, DIO_SIZE));
	EXPECT_EQ((long)part, gpu_disk_traced(d, DIO_PAGE, part));
	EXPECT_EQ((ssize_t)len, pread(d->disk, out, len, DIO_SIZE));
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(0, memcmp(out + i * part, iov[i].iov_base, part));
}

/* A file, and a buffer of RAM, GPU memory and RAM */
TEST_F_TIMEOUT(dio, mixed_file, 120)
{
	struct gpu_disk *d = &self->d;
	size_t part = 5 * DIO_PAGE, len = 3 * part;
	unsigned char *out = d->ram + 32 * DIO_PAGE;
	struct iovec iov[3] = {
		{ d->ram + 16 * DIO_PAGE, part },
		{ d->o.ptr + DIO_PAGE, part },
		{ d->ram + 24 * DIO_PAGE, part },
	};
	int fd;

	ASSERT_EQ(0, system("mkfs.ext4 -q -F " DIO_DISK " 64M >/dev/null 2>&1"));
	/* What is open for writing cannot be mounted. */
	close(d->disk);
	d->disk = -1;
	mkdir(MNT, 0700);
	ASSERT_EQ(0, mount(DIO_DISK, MNT, "ext4", 0, NULL));
	fd = open(FILE_, O_RDWR | O_CREAT | O_TRUNC | O_DIRECT, 0600);
	ASSERT_LE(0, fd);

	for (int i = 0; i < 3; i++)
		fill_random(iov[i].iov_base, part);
	EXPECT_EQ((ssize_t)len, pwritev(fd, iov, 3, 0));
	EXPECT_EQ((long)part, gpu_disk_traced(d, 0, DIO_SIZE));
	EXPECT_EQ((ssize_t)len, pread(fd, out, len, 0));
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(0, memcmp(out + i * part, iov[i].iov_base, part));

	fill_random(out, len);
	EXPECT_EQ((ssize_t)len, pwrite(fd, out, len, 0));
	EXPECT_EQ((ssize_t)len, preadv(fd, iov, 3, 0));
	EXPECT_EQ((long)part, gpu_disk_traced(d, DIO_PAGE, part));
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(0, memcmp(out + i * part, iov[i].iov_base, part));
	EXPECT_EQ(0, p2p_trace_count("p2p_refuse", NULL));
	close(fd);
	EXPECT_EQ(0, umount(MNT));
}

/* An object in RAM works in the same way, without anybody's verdict. */
TEST_F_TIMEOUT(dio, evicted, 120)
{
	struct gpu_disk *d = &self->d;

	ASSERT_EQ(0, gpu_move(&d->o, P2P_GPU_RAM));
	ASSERT_EQ(0, gpu_disk_fill(d, 0, DIO_SIZE));
	ASSERT_EQ(DIO_SIZE, pread(d->disk, d->o.ptr, DIO_SIZE, 0));
	EXPECT_EQ(0, gpu_disk_check(d, 0, DIO_SIZE));
	ASSERT_EQ(0, gpu_move(&d->o, P2P_GPU_VRAM));
	EXPECT_EQ(0, gpu_disk_check(d, 0, DIO_SIZE));
	memset(d->ram, 0, DIO_SIZE);
	ASSERT_EQ(DIO_SIZE, pwrite(d->disk, d->o.ptr, DIO_SIZE, DIO_SIZE));
	ASSERT_EQ(DIO_SIZE, pread(d->disk, d->ram, DIO_SIZE, DIO_SIZE));
	EXPECT_EQ(0, gpu_disk_check(d, 0, DIO_SIZE));
}

/* Does the kernel say EFAULT to everybody who wants pages? */
static int vmsplice_err(void *p)
{
	struct iovec iov = { p, DIO_PAGE };
	int fds[2], err;

	if (pipe(fds))
		return -errno;
	err = vmsplice(fds[1], &iov, 1, 0) < 0 ? -errno : 0;
	close(fds[0]);
	close(fds[1]);
	return err;
}

static int fixed_buffer_err(void *p)
{
	struct io_uring_params params = { };
	struct iovec iov = { p, DIO_PAGE };
	int fd = syscall(SYS_io_uring_setup, 2, &params), err;

	if (fd < 0)
		return -errno;
	err = syscall(SYS_io_uring_register, fd, IORING_REGISTER_BUFFERS, &iov,
		      1) ? -errno : 0;
	close(fd);
	return err;
}

static int vm_readv_err(void *p)
{
	unsigned char data[DIO_PAGE];
	struct iovec to = { data, sizeof(data) }, from = { p, DIO_PAGE };

	return process_vm_readv(getpid(), &to, 1, &from, 1, 0) < 0 ? -errno : 0;
}

/* With or without pages */
static void as_stock(struct __test_metadata *_metadata, struct gpu_disk *d)
{
	EXPECT_EQ(-EFAULT, vmsplice_err(d->o.ptr));
	EXPECT_EQ(-EFAULT, fixed_buffer_err(d->o.ptr));
	EXPECT_EQ(-EFAULT, vm_readv_err(d->o.ptr));
	EXPECT_EQ(-1, madvise(d->o.ptr, DIO_PAGE, MADV_POPULATE_WRITE));
	EXPECT_EQ(EINVAL, errno);
}

TEST_F_TIMEOUT(dio, others_as_stock, 120)
{
	as_stock(_metadata, &self->d);
	EXPECT_EQ(0, p2p_trace_count("p2p_pin", NULL));
	EXPECT_EQ(0, p2p_trace_count("p2p_refuse", NULL));
}

TEST_F_TIMEOUT(dio, exporter_refuses, 120)
{
	struct gpu_disk *d = &self->d;

	gpu_disk_obj_close(d);
	d->flags = P2P_GPU_PEERS_NONE;
	ASSERT_EQ(0, gpu_disk_obj_open(d));
	EXPECT_EQ(-1, pread(d->disk, d->o.ptr, DIO_PAGE, 0));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-1, pwrite(d->disk, d->o.ptr, DIO_PAGE, 0));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_LE(2, p2p_trace_count("p2p_refuse", "reason=exporter"));

	gpu_disk_obj_close(d);
	d->flags = P2P_GPU_PEERS_READ;
	ASSERT_EQ(0, gpu_disk_obj_open(d));
	EXPECT_EQ(-1, pread(d->disk, d->o.ptr, DIO_PAGE, 0));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_LE(1, p2p_trace_count("p2p_refuse", "reason=grant-write"));
	EXPECT_EQ((ssize_t)DIO_PAGE, pwrite(d->disk, d->o.ptr, DIO_PAGE, 0));
	EXPECT_EQ(0, gpu_wait_extents(&d->o, 0));
}

FIXTURE(no_pages)
{
	struct gpu_disk d;
};

FIXTURE_SETUP(no_pages)
{
	self->d.pages = "0";
	ASSERT_EQ(0, gpu_disk_open(&self->d));
	memset(self->d.o.ptr, 0x11, DIO_SIZE);
	ASSERT_EQ(0, p2p_trace_begin());
}

FIXTURE_TEARDOWN(no_pages)
{
	gpu_disk_close(&self->d);
}

TEST_F_TIMEOUT(no_pages, all_as_stock, 120)
{
	struct gpu_disk *d = &self->d;

	EXPECT_EQ(-1, pread(d->disk, d->o.ptr, DIO_PAGE, 0));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-1, pwrite(d->disk, d->o.ptr, DIO_PAGE, 0));
	EXPECT_EQ(EFAULT, errno);
	as_stock(_metadata, d);
	EXPECT_EQ(0x11, d->o.ptr[0]);
	EXPECT_EQ(0, p2p_trace_count("p2p_pin", NULL));
	EXPECT_EQ(0, p2p_trace_count("p2p_refuse", NULL));
}

TEST_HARNESS_MAIN
