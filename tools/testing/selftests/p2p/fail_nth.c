// SPDX-License-Identifier: GPL-2.0
/*
 * Out of memory: each allocation on the way fails once, for every way into the
 * kernel that exporters and importers have. The operation fails or does without,
 * nothing leaks, and the next one works.
 *
 * VM: --topo default --cpu EPYC --iommu strict --kmemleak --expect-splat vmalloc.error
 * TIMEOUT: 500
 */

#include "kselftest_harness.h"
#include "edu.h"
#include "gpu_mr.h"
#include "sysfs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DEBUGFS		"/sys/kernel/debug/"
#define MAX_NTH		3000

FIXTURE(nth)
{
	struct edu_mem m;	/* for the engine */
	struct gpu_mr mr;	/* for RDMA */
	char gpu[PCI_NAME], edu[PCI_NAME];
	int nth;		/* file descriptor of fail-nth */
	int cleanup;		/* what undoing said, which must not fail */
};

FIXTURE_SETUP(nth)
{
	char path[64];

	/* Also allocations that may wait, and single pages; and say nothing. */
	ASSERT_EQ(0, sysfs_write(DEBUGFS "failslab/ignore-gfp-wait", "N"));
	ASSERT_EQ(0, sysfs_write(DEBUGFS "fail_page_alloc/ignore-gfp-wait", "N"));
	ASSERT_EQ(0, sysfs_write(DEBUGFS "fail_page_alloc/min-order", "0"));
	ASSERT_EQ(0, sysfs_write(DEBUGFS "failslab/verbose", "0"));
	ASSERT_EQ(0, sysfs_write(DEBUGFS "fail_page_alloc/verbose", "0"));

	snprintf(path, sizeof(path), "/proc/self/task/%ld/fail-nth",
		 syscall(SYS_gettid));
	self->nth = open(path, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->nth);
	ASSERT_EQ(0, pci_find_gpu(self->gpu));
	ASSERT_EQ(0, pci_find_edu(self->edu));

	self->m.ram = EDU_PAGE;
	self->m.gpu = 4 * EDU_PAGE;
	self->m.no_reg = true;
	ASSERT_EQ(0, edu_mem_open(&self->m));
	self->mr.ram = GPU_PAGE;
	self->mr.gpu = 4 * GPU_PAGE;
	self->mr.no_reg = true;
	ASSERT_EQ(0, gpu_mr_open(&self->mr));
}

FIXTURE_TEARDOWN(nth)
{
	edu_mem_close(&self->m);
	gpu_mr_close(&self->mr);
	close(self->nth);
	EXPECT_EQ(0, edu_dma_live("mappings"));
	EXPECT_EQ(0, edu_dma_live("iova bytes"));
}

/* Operations. Each undoes all that it did, also after an error. */

/* Map, by a fault, DMA, and unmap. */
static int op_edu(FIXTURE_DATA(nth) * const self)
{
	struct edu_mem *m = &self->m;
	char data[100] = "0123456789";
	uint64_t dev;
	int err;

	err = edu_reg(m->fd, m->buf, m->len, 0, &dev);
	if (err)
		return err;
	err = edu_write(m->fd, dev + EDU_PAGE - 50, data, sizeof(data));
	if (!err)
		err = edu_read(m->fd, dev + EDU_PAGE - 50, data, sizeof(data));
	self->cleanup |= edu_unreg(m->fd, dev);
	return err;
}

static int op_revoke(FIXTURE_DATA(nth) * const self)
{
	struct edu_mem *m = &self->m;
	char data[8] = "moved";
	uint64_t dev;
	int err;

	err = edu_reg(m->fd, m->buf, m->len, 0, &dev);
	if (err)
		return err;
	err = edu_write(m->fd, dev + EDU_PAGE, data, sizeof(data));
	if (!err)
		err = gpu_move(&m->o, P2P_GPU_RAM);
	if (!err)
		err = edu_write(m->fd, dev + EDU_PAGE, data, sizeof(data));
	if (!err)
		err = gpu_move(&m->o, P2P_GPU_VRAM);
	self->cleanup |= edu_unreg(m->fd, dev);
	return err;
}

static int op_object(FIXTURE_DATA(nth) * const self)
{
	struct gpu_obj o = { .fd = self->m.o.fd };
	int err;

	err = gpu_alloc(&o, o.fd, 2 * GPU_PAGE, 0);
	if (err)
		return err;
	err = gpu_map(&o, NULL, EDU_RW);
	if (!err && munmap(o.ptr, o.size))
		err = -errno;
	self->cleanup |= gpu_free(&o);
	return err;
}

static int op_mr(FIXTURE_DATA(nth) * const self)
{
	struct gpu_mr *m = &self->mr;
	int err;

	m->mr = ibv_reg_mr(m->r.pd, m->buf, m->len, GPU_MR_ODP);
	if (!m->mr)
		return -errno;
	err = p2p_rdma_advise(&m->r, IBV_ADVISE_MR_ADVICE_PREFETCH_WRITE,
			      IBV_ADVISE_MR_FLAG_FLUSH, m->mr->lkey,
			      (uintptr_t)m->buf, m->len);
	self->cleanup |= ibv_dereg_mr(m->mr);
	m->mr = NULL;
	return err > 0 ? -err : err;
}

/* The driver cannot pin it, registers it on demand, and it is faulted in. */
static int op_plain_mr(FIXTURE_DATA(nth) * const self)
{
	struct gpu_mr *m = &self->mr;

	m->mr = ibv_reg_mr(m->r.pd, m->buf, m->len, P2P_RDMA_ALL);
	if (!m->mr)
		return -errno;
	self->cleanup |= ibv_dereg_mr(m->mr);
	m->mr = NULL;
	return 0;
}

static int rebind(FIXTURE_DATA(nth) * const self, const char *driver, const char *bdf)
{
	char path[64];
	int err;

	snprintf(path, sizeof(path), PCI_DRIVERS "%s/bind", driver);
	err = sysfs_write(path, bdf);
	/* A write to sysfs needs a buffer; what it starts must not fail. */
	if (!err && pci_write(bdf, "driver/unbind", bdf))
		self->cleanup |= pci_write(bdf, "driver/unbind", bdf);
	return err;
}

static int op_bind_gpu(FIXTURE_DATA(nth) * const self)
{
	return rebind(self, "p2p_gpu", self->gpu);
}

static int op_bind_edu(FIXTURE_DATA(nth) * const self)
{
	return rebind(self, "p2p_edu", self->edu);
}

/* With the n-th allocation failing, for each n. */
static void fail_each(struct __test_metadata *_metadata,
		      FIXTURE_DATA(nth) * const self,
		      int (*op)(FIXTURE_DATA(nth) * const self), int at_least)
{
	int nth, ret, errors = 0;
	char left[16];

	ASSERT_EQ(0, op(self));
	for (nth = 1; nth < MAX_NTH; nth++) {
		ASSERT_LT(0, dprintf(self->nth, "%d", nth));
		ret = op(self);
		memset(left, 0, sizeof(left));
		ASSERT_LT(0, pread(self->nth, left, sizeof(left) - 1, 0));
		ASSERT_LT(0, dprintf(self->nth, "0"));
		ASSERT_EQ(0, self->cleanup)
			TH_LOG("undoing failed, nth %d", nth);
		if (atoi(left)) {	/* there are not so many */
			EXPECT_EQ(0, ret);
			break;
		}
		if (ret) {
			errors++;
			EXPECT_TRUE(ret == -ENOMEM || ret == -EFAULT ||
				    ret == -EIO || ret == -ENOSPC ||
				    ret == -EBUSY || ret == -EINVAL)
				TH_LOG("nth %d: %s", nth, strerror(-ret));
		}
		if (nth % 16 == 0)
			ASSERT_EQ(0, op(self));
	}
	EXPECT_LT(nth, MAX_NTH);
	EXPECT_LE(at_least, errors);
	EXPECT_EQ(0, op(self));
	TH_LOG("%d allocations, %d errors", nth - 1, errors);
}

TEST_F_TIMEOUT(nth, map_and_dma, 200)
{
	fail_each(_metadata, self, op_edu, 2);
	EXPECT_EQ(0, gpu_wait_extents(&self->m.o, 0));
}

TEST_F_TIMEOUT(nth, move, 200)
{
	fail_each(_metadata, self, op_revoke, 5);
	EXPECT_EQ(0, gpu_wait_extents(&self->m.o, 0));
}

TEST_F_TIMEOUT(nth, object, 100)
{
	fail_each(_metadata, self, op_object, 2);
}

TEST_F_TIMEOUT(nth, memory_region, 200)
{
	fail_each(_metadata, self, op_mr, 5);
	EXPECT_EQ(0, gpu_wait_extents(&self->mr.o, 0));
}

TEST_F_TIMEOUT(nth, plain_memory_region, 200)
{
	fail_each(_metadata, self, op_plain_mr, 5);
	EXPECT_EQ(0, gpu_wait_extents(&self->mr.o, 0));
}

TEST_F_TIMEOUT(nth, attach, 200)
{
	edu_mem_close(&self->m);
	self->m.buf = MAP_FAILED;
	self->m.fd = -1;
	self->m.o.fd = -1;
	gpu_mr_close(&self->mr);
	memset(&self->mr, 0, sizeof(self->mr));

	/* Enabled all the time: ACPI routes no interrupts then. It would crash. */
	ASSERT_EQ(0, pci_write(self->gpu, "driver/unbind", self->gpu));
	ASSERT_EQ(0, pci_write(self->gpu, "enable", "1"));
	fail_each(_metadata, self, op_bind_gpu, 5);
	EXPECT_EQ(0, pci_write(self->gpu, "enable", "0"));
	EXPECT_EQ(0, sysfs_write(PCI_DRIVERS "p2p_gpu/bind", self->gpu));

	ASSERT_EQ(0, pci_write(self->edu, "driver/unbind", self->edu));
	ASSERT_EQ(0, pci_write(self->edu, "enable", "1"));
	fail_each(_metadata, self, op_bind_edu, 5);
	EXPECT_EQ(0, pci_write(self->edu, "enable", "0"));
	EXPECT_EQ(0, sysfs_write(PCI_DRIVERS "p2p_edu/bind", self->edu));
}

TEST_HARNESS_MAIN
