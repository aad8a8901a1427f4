// SPDX-License-Identifier: GPL-2.0
/*
 * What every exporter promises, whoever it is: one suite, the exporter is its
 * parameter. What only one of them can do is in a program of its own.
 *
 * VM: --topo switch
 * SKIP-OK: two_at_once
 * TIMEOUT: 600
 */

#include "kselftest_harness.h"
#include "edu.h"
#include "vfio.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGES	16
#define BAR	2
#define OFF	(64 * GPU_PAGE)	/* of the buffer in the BAR */
#define POLICY	"/sys/module/pci_p2p/parameters/policy"

struct exporter;

struct exporter_ops {
	/*
	 * Sets m.o.fd, which will be closed with m, and m.o.offset. The device
	 * is found, and p2p_gpu bound to it.
	 */
	int (*open)(struct exporter *x);
	/* Everything is unmapped. May be NULL. */
	void (*close)(struct exporter *x);
	/* The memory is taken away, and given back in the end: move or reset. */
	int (*take)(struct exporter *x);
	/* It is taken away for good: removal, or its owner turned it off. */
	int (*end)(struct exporter *x);
};

struct exporter {
	const struct exporter_ops *ops;
	const char *file;	/* of resourceN */
	char gpu[PCI_NAME];
	struct gpu_mr m;
	struct vfio_dev v;
};

/* p2p_gpu: objects that move */

static int object_open(struct exporter *x)
{
	int fd = gpu_open(O_RDWR);

	return fd < 0 ? fd : gpu_alloc(&x->m.o, fd, PAGES * GPU_PAGE, 0);
}

static int object_take(struct exporter *x)
{
	int err = gpu_move(&x->m.o, P2P_GPU_RAM);

	return err ? err : gpu_move(&x->m.o, P2P_GPU_VRAM);
}

static int pci_end(struct exporter *x)
{
	return pci_write(x->gpu, "remove", "1");
}

static const struct exporter_ops object_ops = {
	.open = object_open,
	.take = object_take,
	.end = pci_end,
};

/* resourceN in sysfs */

static int resource_open(struct exporter *x)
{
	char path[96];
	int err = pci_write(x->gpu, "p2p_mmap", "1");

	if (err)
		return err;
	snprintf(path, sizeof(path), PCI_DEVICES "%s/%s", x->gpu, x->file);
	x->m.o.fd = open(path, O_RDWR | O_CLOEXEC);
	x->m.o.offset = OFF;
	return x->m.o.fd < 0 ? -errno : 0;
}

static void resource_close(struct exporter *x)
{
	pci_write(x->gpu, "p2p_mmap", "0");
}

static int resource_take(struct exporter *x)
{
	return pci_write(x->gpu, "reset", "1");
}

static const struct exporter_ops resource_ops = {
	.open = resource_open,
	.close = resource_close,
	.take = resource_take,
	.end = pci_end,
};

/* vfio-pci, without IOMMU */

static int user_open(struct exporter *x)
{
	int err = vfio_bind(&x->v, x->gpu);

	if (!err)
		err = vfio_open(&x->v);
	if (err)
		return err;
	x->m.o.fd = dup(x->v.fd);
	x->m.o.offset = vfio_offset(&x->v, BAR) + OFF;
	return 0;
}

static void user_close(struct exporter *x)
{
	vfio_close(&x->v);
	vfio_unbind(&x->v);
}

static int user_take(struct exporter *x)
{
	return vfio_reset(&x->v);
}

static int user_end(struct exporter *x)
{
	return vfio_decode(&x->v, false);
}

static const struct exporter_ops user_ops = {
	.open = user_open,
	.close = user_close,
	.take = user_take,
	.end = user_end,
};

/* RAM, the exporter's memory and RAM, and an MR over it */
static int mr_open(struct exporter *x)
{
	x->m.ram = 2 * GPU_PAGE;
	x->m.gpu = PAGES * GPU_PAGE;
	return gpu_mr_open_file(&x->m);
}

FIXTURE(exporter)
{
	struct exporter x;
};

FIXTURE_VARIANT(exporter)
{
	const struct exporter_ops *ops;
	const char *file;
	bool no_driver;
};

FIXTURE_VARIANT_ADD(exporter, p2p_gpu)
{
	.ops = &object_ops,
};

FIXTURE_VARIANT_ADD(exporter, resource)
{
	.ops = &resource_ops,
	.file = "resource2",
	.no_driver = true,
};

FIXTURE_VARIANT_ADD(exporter, resource_wc)
{
	.ops = &resource_ops,
	.file = "resource2_wc",
	.no_driver = true,
};

FIXTURE_VARIANT_ADD(exporter, resource_beside_driver)
{
	.ops = &resource_ops,
	.file = "resource2",
};

FIXTURE_VARIANT_ADD(exporter, vfio)
{
	.ops = &user_ops,
};

FIXTURE_SETUP(exporter)
{
	struct exporter *x = &self->x;

	srandom(17);
	ASSERT_EQ(0, pci_find_gpu(x->gpu));
	if (variant->no_driver) {
		ASSERT_EQ(0, sysfs_write(PCI_DRIVERS "p2p_gpu/unbind", x->gpu));
		ASSERT_EQ(0, pci_write(x->gpu, "enable", "1"));
	}
	x->ops = variant->ops;
	x->file = variant->file;
	ASSERT_EQ(0, x->ops->open(x));
	ASSERT_EQ(0, mr_open(x));
	ASSERT_EQ(0, p2p_trace_begin());
}

/* Whatever happened: p2p_gpu has the device for the next one. */
FIXTURE_TEARDOWN(exporter)
{
	struct exporter *x = &self->x;

	gpu_mr_close(&x->m);
	sysfs_write(POLICY, "\n");
	if (x->ops->close)
		x->ops->close(x);
	sysfs_write("/sys/bus/pci/rescan", "1");
	if (variant->no_driver) {
		sysfs_write(PCI_DRIVERS "p2p_gpu/unbind", x->gpu);
		pci_write(x->gpu, "enable", "0");
		EXPECT_EQ(0, sysfs_write(PCI_DRIVERS "p2p_gpu/bind", x->gpu));
	}
}

/* One extent for all of it, and both sides see the same bytes. */
TEST_F_TIMEOUT(exporter, transfers, 120)
{
	struct gpu_mr *m = &self->x.m;
	unsigned char *vram = malloc(m->gpu);
	off_t off = OFF;

	for (int i = 0; i < 30; i++) {
		size_t n = 1 + random() % (m->len / 2);
		size_t at = random() % (m->len - n + 1);

		EXPECT_WORKS(m, at, n);
	}
	EXPECT_EQ(1, p2p_trace_count("p2p_map", NULL));
	EXPECT_EQ(0, p2p_trace_count("p2p_refuse", NULL));
	if (self->x.ops == &object_ops) {
		struct p2p_gpu_info info;

		ASSERT_EQ(0, gpu_info(&m->o, &info));
		off = info.vram;
	}
	ASSERT_EQ(0, edu_vram(off, vram, m->gpu));
	EXPECT_EQ(0, memcmp(vram, m->o.ptr, m->gpu));
	free(vram);
}

TEST_F_TIMEOUT(exporter, permissions, 120)
{
	struct gpu_mr *m = &self->x.m;

	memset(m->o.ptr, 0x42, m->gpu);
	ASSERT_EQ(0, gpu_map(&m->o, m->o.ptr, PROT_READ));
	EXPECT_REFUSED(m, gpu_mr_write(m, m->ram + 5, 10));
	EXPECT_TRUE(p2p_trace_seen("p2p_refuse", "reason=vma-write err=-1", 1));
	EXPECT_EQ(0, gpu_mr_read(m, m->ram, m->gpu));
	EXPECT_EQ(0, memcmp(m->peer, m->o.ptr, m->gpu));
	EXPECT_EQ(1, p2p_trace_count("p2p_map", " ro"));

	ASSERT_EQ(0, gpu_map(&m->o, m->o.ptr, GPU_MR_RW));
	EXPECT_WORKS(m, 0, m->len);
	ASSERT_EQ(0, mprotect(m->o.ptr, m->gpu, PROT_READ));
	EXPECT_REFUSED(m, gpu_mr_write(m, m->ram, 1));
	EXPECT_EQ(0, gpu_mr_read(m, m->ram, m->gpu));
	ASSERT_EQ(0, mprotect(m->o.ptr, m->gpu, PROT_NONE));
	EXPECT_REFUSED(m, gpu_mr_read(m, m->ram, 1));
	EXPECT_TRUE(p2p_trace_seen("p2p_refuse", "reason=vma-read err=-14", 1));
	ASSERT_EQ(0, mprotect(m->o.ptr, m->gpu, GPU_MR_RW));
	EXPECT_WORKS(m, 0, m->len);
}

/* Unmapped and moved by the page */
TEST_F_TIMEOUT(exporter, pieces, 120)
{
	struct gpu_mr *m = &self->x.m;
	size_t last = m->ram + m->gpu - GPU_PAGE;
	unsigned char *to;

	EXPECT_WORKS(m, 0, m->len);
	ASSERT_EQ(0, munmap(m->o.ptr + 2 * GPU_PAGE, GPU_PAGE));
	EXPECT_REFUSED(m, gpu_mr_write(m, m->ram + 2 * GPU_PAGE, 1));
	EXPECT_REFUSED(m, gpu_mr_read(m, m->ram + 2 * GPU_PAGE - 1, 2));
	EXPECT_WORKS(m, 0, m->ram + 2 * GPU_PAGE);
	EXPECT_WORKS(m, m->ram + 3 * GPU_PAGE, m->gpu - 3 * GPU_PAGE + 100);

	/* Moved: the old address is a hole, and the bytes are those. */
	m->buf[last + 5] = 0x6b;
	to = mremap(m->buf + last, GPU_PAGE, GPU_PAGE,
		    MREMAP_MAYMOVE | MREMAP_FIXED, m->o.ptr + 2 * GPU_PAGE);
	ASSERT_EQ(m->o.ptr + 2 * GPU_PAGE, to);
	EXPECT_REFUSED(m, gpu_mr_write(m, last, 1));
	EXPECT_EQ(0, gpu_mr_read(m, m->ram + 2 * GPU_PAGE + 5, 1));
	EXPECT_EQ(0x6b, m->peer[0]);
	EXPECT_WORKS(m, 0, last);
}

/* The child has the mapping, the parent the MR. */
TEST_F_TIMEOUT(exporter, fork, 120)
{
	struct gpu_mr *m = &self->x.m;
	int status;
	pid_t pid;

	EXPECT_WORKS(m, 0, m->len);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		memset(m->o.ptr, 0x33, GPU_PAGE);
		munmap(m->o.ptr + GPU_PAGE, GPU_PAGE);
		_exit(*m->o.ptr);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0x33, WEXITSTATUS(status));
	EXPECT_EQ(0, gpu_mr_read(m, m->ram, GPU_PAGE));
	EXPECT_EQ(0x33, m->peer[GPU_PAGE - 1]);
	EXPECT_WORKS(m, 0, m->len);
	EXPECT_EQ(1, p2p_trace_count("p2p_map", NULL));
}

/* Moved or reset under traffic: everybody waits, and goes on. */
TEST_F_TIMEOUT(exporter, taken_and_given, 200)
{
	struct gpu_mr *m = &self->x.m;
	struct gpu_traffic t;

	ASSERT_EQ(0, gpu_traffic_start(&t, m));
	for (int i = 0; i < 4; i++) {
		int cut = p2p_trace_count("p2p_cut", NULL);

		EXPECT_TRUE(gpu_traffic_more(&t.good, 2));
		EXPECT_EQ(0, self->x.ops->take(&self->x));
		EXPECT_LT(cut, p2p_trace_count("p2p_cut", NULL));
	}
	EXPECT_TRUE(gpu_traffic_more(&t.good, 2));
	gpu_traffic_stop(&t);
	EXPECT_EQ(0, t.refused);
	EXPECT_EQ(0, t.wrong);
	EXPECT_WORKS(m, 0, m->len);
}

/* Taken for good under traffic: errors, each with a reason, and no hang. */
TEST_F_TIMEOUT(exporter, ended, 200)
{
	struct gpu_mr *m = &self->x.m;
	struct gpu_traffic t;

	ASSERT_EQ(0, gpu_traffic_start(&t, m));
	EXPECT_TRUE(gpu_traffic_more(&t.good, 2));
	ASSERT_EQ(0, self->x.ops->end(&self->x));
	EXPECT_TRUE(gpu_traffic_more(&t.refused, 3));
	gpu_traffic_stop(&t);
	EXPECT_EQ(0, t.wrong);
	EXPECT_LE(3, p2p_trace_count("p2p_refuse", "reason=exporter"));
	EXPECT_TRUE(p2p_trace_seen("p2p_unmap", NULL,
				   p2p_trace_count("p2p_map", NULL)));
	EXPECT_RAM_WORKS(m);
}

/* The topology is asked, whoever exports. */
TEST_F_TIMEOUT(exporter, policy, 120)
{
	unsigned char want[500], got[500];
	struct gpu_mr *m = &self->x.m;
	int edu = edu_open();
	uint64_t dev;

	ASSERT_LE(0, edu);
	ASSERT_EQ(0, edu_reg(edu, m->buf, m->len, 0, &dev));
	fill_random(want, sizeof(want));
	ASSERT_EQ(0, edu_write(edu, dev + m->ram + 40, want, sizeof(want)));
	EXPECT_EQ(0, memcmp(m->o.ptr + 40, want, sizeof(want)));
	EXPECT_EQ(1, edu_dma_live("mappings"));

	ASSERT_EQ(0, sysfs_write(POLICY, "deny=*\n"));
	EXPECT_EQ(0, edu_dma_live("mappings"));
	EXPECT_EQ(-EACCES, edu_write(edu, dev + m->ram, want, 8));
	EXPECT_TRUE(p2p_trace_seen("p2p_refuse", "reason=topology err=-13", 1));
	EXPECT_EQ(want[0], m->o.ptr[40]);
	ASSERT_EQ(0, sysfs_write(POLICY, "\n"));
	ASSERT_EQ(0, edu_read(edu, dev + m->ram + 40, got, sizeof(got)));
	EXPECT_EQ(0, memcmp(got, want, sizeof(got)));
	close(edu);
}

/* A user-space driver, and somebody with the file in sysfs. */
TEST_F_TIMEOUT(exporter, two_at_once, 200)
{
	struct exporter *x = &self->x, other = { .ops = &resource_ops };
	struct gpu_mr *m = &x->m, *n = &other.m;

	if (x->ops != &user_ops)
		SKIP(return, "p2p_gpu does not map a BAR, resourceN is the other");
	strcpy(other.gpu, x->gpu);
	other.file = "resource2";
	ASSERT_EQ(0, other.ops->open(&other));
	ASSERT_EQ(0, mr_open(&other));
	for (int i = 0; i < 3; i++) {
		EXPECT_WORKS(m, m->ram, m->gpu);
		EXPECT_EQ(0, gpu_mr_read(n, n->ram, n->gpu));
		EXPECT_EQ(0, memcmp(n->peer, m->o.ptr, m->gpu));
		EXPECT_WORKS(n, n->ram, n->gpu);
		EXPECT_EQ(0, gpu_mr_read(m, m->ram, m->gpu));
		EXPECT_EQ(0, memcmp(m->peer, n->o.ptr, n->gpu));
		/* Each can reset it under the other. */
		EXPECT_EQ(0, i ? x->ops->take(x) : other.ops->take(&other));
	}
	/* One goes, the other stays. */
	gpu_mr_close(n);
	other.ops->close(&other);
	EXPECT_WORKS(m, 0, m->len);

	/* The driver resets what it closes: the other has to ask again. */
	memset(n, 0, sizeof(*n));
	ASSERT_EQ(0, other.ops->open(&other));
	ASSERT_EQ(0, mr_open(&other));
	EXPECT_WORKS(n, 0, n->len);
	gpu_mr_close(m);
	ASSERT_EQ(0, p2p_trace_begin());
	vfio_close(&x->v);
	EXPECT_WORKS(n, 0, n->len);
	EXPECT_EQ(1, p2p_trace_count("p2p_map", NULL));
	gpu_mr_close(n);
	other.ops->close(&other);
}

TEST_HARNESS_MAIN
