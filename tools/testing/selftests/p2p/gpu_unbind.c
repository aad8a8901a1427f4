// SPDX-License-Identifier: GPL-2.0
/*
 * The driver of the GPU goes while peers use its memory: unbind through sysfs,
 * rmmod, and another driver for the same device.
 *
 * TIMEOUT: 300
 */

#include "kselftest_harness.h"
#include "gpu_mr.h"
#include "sysfs.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

FIXTURE(unbind)
{
	struct gpu_mr m;
	char bdf[PCI_NAME];
};

/* One step of sysfs: the driver's file, and the device's name in it. */
static int drv(const char *bdf, const char *driver, const char *file)
{
	char path[128];

	snprintf(path, sizeof(path), PCI_DRIVERS "%s/%s", driver, file);
	return sysfs_write(path, bdf);
}

FIXTURE_SETUP(unbind)
{
	glob_t g;

	srandom(9);
	ASSERT_EQ(0, glob(PCI_DRIVERS "p2p_gpu/*:*", 0, NULL, &g));
	snprintf(self->bdf, sizeof(self->bdf), "%s",
		 strrchr(g.gl_pathv[0], '/') + 1);
	globfree(&g);
	self->m.ram = 2 * GPU_PAGE;
	self->m.gpu = 8 * GPU_PAGE;
	ASSERT_EQ(0, gpu_mr_open(&self->m));
}

/* Whatever happened: the driver is there for the next test. */
FIXTURE_TEARDOWN(unbind)
{
	int fd;

	gpu_mr_close(&self->m);
	fd = gpu_open(O_RDWR);
	if (fd >= 0) {
		close(fd);
		return;
	}
	drv(self->bdf, "p2p_minimal", "unbind");
	pci_write(self->bdf, "driver_override", "\n");
	module_unload("p2p_minimal");
	if (module_load("p2p_gpu", "") == -EEXIST)
		drv(self->bdf, "p2p_gpu", "bind");
}

/* Does the CPU get SIGBUS there? */
static bool cpu_is_out(unsigned char *p)
{
	pid_t pid = fork();
	int status = 0;

	if (!pid)
		_exit(*p);
	waitpid(pid, &status, 0);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS;
}

/* A new object and MR with the driver that is there now. */
static int fresh_works(void)
{
	struct gpu_mr n = { .ram = GPU_PAGE, .gpu = 4 * GPU_PAGE };
	int err = gpu_mr_open(&n);

	if (err)
		return err;
	fill_random(n.peer, n.len);
	err = gpu_mr_write(&n, 0, n.len);
	if (!err && memcmp(n.peer, n.buf, n.len))
		err = -EBADMSG;
	if (!err && gpu_extents(&n.o) != 1)
		err = -ENOENT;
	gpu_mr_close(&n);
	return err;
}

static void gone(struct __test_metadata *_metadata, struct gpu_mr *m)
{
	struct p2p_gpu_info info;

	EXPECT_REFUSED(m, gpu_mr_write(m, m->ram, 1));
	EXPECT_REFUSED(m, gpu_mr_read(m, m->ram + 77, 999));
	EXPECT_REFUSED(m, gpu_mr_write(m, m->ram - 1, 2));
	EXPECT_RAM_WORKS(m);
	EXPECT_TRUE(cpu_is_out(m->o.ptr + 5));
	EXPECT_EQ(-ENODEV, gpu_info(&m->o, &info));
	EXPECT_EQ(-ENODEV, gpu_move(&m->o, P2P_GPU_RAM));
}

TEST_F_TIMEOUT(unbind, live_mr, 120)
{
	struct gpu_mr *m = &self->m;

	for (int evicted = 0; evicted < 2; evicted++) {
		if (evicted)
			ASSERT_EQ(0, gpu_move(&m->o, P2P_GPU_RAM));
		ASSERT_EQ(0, gpu_wait_extents(&m->o, 0));
		ASSERT_EQ(0, p2p_trace_begin());
		EXPECT_WORKS(m, 0, m->len);
		EXPECT_LE(1, p2p_trace_count("p2p_map", NULL));
		ASSERT_EQ(0, drv(self->bdf, "p2p_gpu", "unbind"));
		/* Every extent is given back when unbind returns. */
		EXPECT_EQ(p2p_trace_count("p2p_map", NULL),
			  p2p_trace_count("p2p_unmap", NULL));
		gone(_metadata, m);
		ASSERT_EQ(0, drv(self->bdf, "p2p_gpu", "bind"));
		/* The old mapping stays dead, a new one lives. */
		gone(_metadata, m);
		EXPECT_EQ(0, fresh_works());
		gpu_mr_close(m);
		ASSERT_EQ(0, gpu_mr_open(m));
	}
}

struct mover {
	pthread_t thread;
	struct gpu_obj *o;
	atomic_bool stop;
	atomic_int moves;
};

static void *mover_run(void *arg)
{
	struct mover *mv = arg;

	while (!mv->stop) {
		if (!gpu_move(mv->o, random() % 2))
			mv->moves++;
		usleep(200);
	}
	return NULL;
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1000000000.0;
}

struct unbinder {
	pthread_t thread;
	const char *bdf;
	atomic_bool done;
	int err;
};

static void *unbinder_run(void *arg)
{
	struct unbinder *u = arg;

	usleep(50000 + random() % 100000);
	u->err = drv(u->bdf, "p2p_gpu", "unbind");
	u->done = true;
	return NULL;
}

/* Operations and moves go on all the time: success, then errors, and no hang. */
TEST_F_TIMEOUT(unbind, under_traffic, 250)
{
	struct gpu_mr *m = &self->m;

	for (int round = 0; round < 4; round++) {
		struct unbinder u = { .bdf = self->bdf };
		struct mover mv = { .o = &m->o };
		int good = 0, bad = 0;
		double start = now();

		ASSERT_EQ(0, pthread_create(&mv.thread, NULL, mover_run, &mv));
		ASSERT_EQ(0, pthread_create(&u.thread, NULL, unbinder_run, &u));
		while (!u.done || bad < 3) {
			int status = round % 2 ? gpu_mr_write(m, 1, m->len - 2) :
						 gpu_mr_read(m, 1, m->len - 2);

			if (!status) {
				ASSERT_EQ(0, bad);
				good++;
				continue;
			}
			ASSERT_EQ(IBV_WC_REM_ACCESS_ERR, status);
			bad++;
			ASSERT_EQ(0, p2p_rdma_reset(&m->r));
		}
		mv.stop = true;
		pthread_join(mv.thread, NULL);
		pthread_join(u.thread, NULL);
		EXPECT_EQ(0, u.err);
		EXPECT_GT(30, now() - start);
		EXPECT_LT(0, good);
		gone(_metadata, m);
		ASSERT_EQ(0, drv(self->bdf, "p2p_gpu", "bind"));
		EXPECT_EQ(0, fresh_works());
		gpu_mr_close(m);
		ASSERT_EQ(0, gpu_mr_open(m));
	}
}

/* The module: pinned by the file, free after that. */
TEST_F_TIMEOUT(unbind, rmmod, 120)
{
	struct gpu_mr *m = &self->m;

	EXPECT_WORKS(m, 0, m->len);
	EXPECT_EQ(-EAGAIN, module_unload("p2p_gpu"));
	ASSERT_EQ(0, drv(self->bdf, "p2p_gpu", "unbind"));
	EXPECT_EQ(-EAGAIN, module_unload("p2p_gpu"));
	gone(_metadata, m);
	close(m->o.fd);
	m->o.fd = -1;
	EXPECT_EQ(-EAGAIN, module_unload("p2p_gpu"));	/* the mapping */
	EXPECT_REFUSED(m, gpu_mr_read(m, m->ram, 1));
	ASSERT_EQ(0, munmap(m->o.ptr, m->gpu));
	ASSERT_EQ(0, module_unload("p2p_gpu"));
	EXPECT_EQ(-ENODEV, gpu_open(O_RDWR));
	/* The MR is still there, over a hole. */
	EXPECT_REFUSED(m, gpu_mr_read(m, m->ram, 1));
	EXPECT_WORKS(m, 0, m->ram);
	ASSERT_EQ(0, module_load("p2p_gpu", ""));
	EXPECT_EQ(0, fresh_works());
}

/* rmmod of a bound driver right after the last user went: extents may linger. */
TEST_F_TIMEOUT(unbind, rmmod_bound, 120)
{
	for (int i = 0; i < 5; i++) {
		EXPECT_WORKS(&self->m, 0, self->m.len);
		gpu_mr_close(&self->m);
		ASSERT_EQ(0, module_unload("p2p_gpu"));
		ASSERT_EQ(0, module_load("p2p_gpu", ""));
		ASSERT_EQ(0, gpu_mr_open(&self->m));
	}
}

/* The README's example, p2p_minimal, for the same device. */
TEST_F_TIMEOUT(unbind, minimal_exporter, 120)
{
	struct gpu_mr *m = &self->m;
	size_t len, gpu = 8 * GPU_PAGE, off;
	unsigned char *vram;
	int fd;

	gpu_mr_close(m);
	ASSERT_EQ(0, module_load("p2p_minimal", ""));
	ASSERT_EQ(0, drv(self->bdf, "p2p_gpu", "unbind"));
	ASSERT_EQ(0, pci_write(self->bdf, "driver_override", "p2p_minimal"));
	ASSERT_EQ(0, drv(self->bdf, "p2p_minimal", "bind"));
	fd = open("/dev/p2p_minimal", O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, fd);

	/* The fixture's buffer with the BAR, from its third page on, inside. */
	ASSERT_EQ(0, p2p_rdma_open(&m->r, NULL));
	m->ram = 2 * GPU_PAGE;
	m->len = 2 * m->ram + gpu;
	m->buf = mmap(NULL, m->len, GPU_MR_RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, m->buf);
	m->iova = (uintptr_t)m->buf;
	len = 64UL << 20;
	vram = mmap(NULL, len, GPU_MR_RW, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, vram);
	off = 3 * GPU_PAGE;
	ASSERT_EQ(m->buf + m->ram,
		  mmap(m->buf + m->ram, gpu, GPU_MR_RW, MAP_SHARED | MAP_FIXED,
		       fd, off));
	ASSERT_EQ(0, gpu_mr_reg(m));
	m->peer = malloc(m->len);
	m->peer_mr = p2p_rdma_reg(&m->r, m->peer, m->len, (uintptr_t)m->peer,
				  P2P_RDMA_ALL);
	ASSERT_NE(NULL, m->peer_mr);

	ASSERT_EQ(0, p2p_trace_begin());
	for (int i = 0; i < 50; i++) {
		size_t n = 1 + random() % (m->len / 2);
		size_t at = random() % (m->len - n + 1);

		EXPECT_WORKS(m, at, n);
		EXPECT_EQ(0, memcmp(vram + off, m->buf + m->ram, gpu));
	}
	EXPECT_EQ(1, p2p_trace_count("p2p_map", "len=0x8000 mmio rw"));
	EXPECT_EQ(1, p2p_trace_count("p2p_map", NULL));

	/* Past the end of the BAR there is nothing to map. */
	EXPECT_EQ(MAP_FAILED, mmap(NULL, gpu, GPU_MR_RW, MAP_SHARED, fd, len));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, gpu, GPU_MR_RW, MAP_PRIVATE, fd, 0));

	/* Gone while the MR and the mapping live on */
	ASSERT_EQ(0, drv(self->bdf, "p2p_minimal", "unbind"));
	EXPECT_REFUSED(m, gpu_mr_write(m, m->ram, 1));
	EXPECT_REFUSED(m, gpu_mr_read(m, m->ram + gpu - 1, 1));
	EXPECT_TRUE(p2p_trace_seen("p2p_refuse", "reason=exporter err=-19", 2));
	EXPECT_TRUE(cpu_is_out(vram));
	EXPECT_WORKS(m, 0, m->ram);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, gpu, GPU_MR_RW, MAP_SHARED, fd, 0));
	EXPECT_EQ(ENODEV, errno);

	munmap(vram, len);
	close(fd);
	gpu_mr_close(m);
	ASSERT_EQ(0, pci_write(self->bdf, "driver_override", "\n"));
	ASSERT_EQ(0, module_unload("p2p_minimal"));
	ASSERT_EQ(0, drv(self->bdf, "p2p_gpu", "bind"));
	EXPECT_EQ(0, fresh_works());
}

TEST_HARNESS_MAIN
