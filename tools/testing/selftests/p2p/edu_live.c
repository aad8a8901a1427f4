// SPDX-License-Identifier: GPL-2.0
/*
 * Memory that goes away or moves while the DMA engine uses it: moves, eviction,
 * munmap, mremap, mprotect, unregister, close, exit, unbinding of either
 * driver. The data is right or the access fails, and nothing stays mapped.
 *
 * VM: --topo switch
 * VM: --topo default --cpu EPYC --iommu lazy
 * TIMEOUT: 500
 */

#include "kselftest_harness.h"
#include "edu.h"
#include "gpu_mr.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

FIXTURE(live)
{
	struct edu_mem m;
	unsigned char *want;
	unsigned char *got;
};

FIXTURE_SETUP(live)
{
	struct edu_mem *m = &self->m;

	srandom(17);
	m->ram = EDU_PAGE;
	m->gpu = 4 * EDU_PAGE;
	ASSERT_EQ(0, edu_mem_open(m));
	self->want = malloc(m->len);
	self->got = malloc(m->len);
	ASSERT_NE(NULL, self->want);
	ASSERT_NE(NULL, self->got);
	fill_random(self->want, m->len);
	memcpy(m->buf, self->want, m->len);
}

FIXTURE_TEARDOWN(live)
{
	edu_mem_close(&self->m);
	free(self->want);
	free(self->got);
	EXPECT_EQ(0, edu_dma_live("mappings"));
	EXPECT_EQ(0, edu_dma_live("iova bytes"));
}

/* The engine, busy in the background until it is stopped or an access fails. */
struct busy {
	pthread_t thread;
	struct edu_mem *m;
	size_t off, len;
	unsigned char *data;
	bool write;
	atomic_bool stop;
	atomic_int done;
	atomic_int err;
};

static void *busy_run(void *arg)
{
	struct busy *b = arg;

	while (!b->stop && !b->err) {
		b->err = b->write ?
			edu_write(b->m->fd, b->m->dev + b->off, b->data, b->len) :
			edu_read(b->m->fd, b->m->dev + b->off, b->data, b->len);
		b->done++;
	}
	return NULL;
}

static int busy_start(struct busy *b)
{
	int err = pthread_create(&b->thread, NULL, busy_run, b);

	while (!err && !b->done && !b->err)
		usleep(1000);
	return -err;
}

static int busy_stop(struct busy *b)
{
	b->stop = true;
	pthread_join(b->thread, NULL);
	return b->err;
}

/* What ends it; it may take its time to notice. */
static int busy_fails(struct busy *b)
{
	for (int i = 0; i < 20000 && !b->err; i++)
		usleep(1000);
	return busy_stop(b);
}

static void *mover_run(void *arg)
{
	static const unsigned int where[] = {
		P2P_GPU_VRAM, P2P_GPU_RAM, P2P_GPU_VRAM,
	};
	struct busy *b = arg;

	for (int i = 0; !b->stop && !b->err; i++) {
		b->err = gpu_move(&b->m->o, where[i % 3]);
		b->done++;
	}
	return NULL;
}

/* What the engine writes is not lost, wherever the object is by then. */
TEST_F_TIMEOUT(live, moved, 200)
{
	struct edu_mem *m = &self->m;
	struct busy mover = { .m = m };
	struct p2p_edu_counters before, c;

	ASSERT_EQ(0, edu_counters(m->fd, &before));
	ASSERT_EQ(0, pthread_create(&mover.thread, NULL, mover_run, &mover));
	for (int i = 0; i < 25 || mover.done < 25; i++) {
		size_t len = 1 + random() % 3000;
		size_t off = random() % (m->len - len + 1);

		fill_random(self->want + off, len);
		ASSERT_EQ(0, edu_write(m->fd, m->dev + off, self->want + off,
				       len));
		ASSERT_EQ(0, edu_read(m->fd, m->dev + off, self->got, len));
		ASSERT_EQ(0, memcmp(self->got, self->want + off, len));
		ASSERT_EQ(0, memcmp(m->buf, self->want, m->len));
	}
	EXPECT_EQ(0, busy_stop(&mover));
	ASSERT_EQ(0, edu_counters(m->fd, &c));
	TH_LOG("%d moves, %llu invalidations, %llu faults; bytes: bus %llu, bridge %llu, RAM %llu",
	       mover.done, c.invalidations - before.invalidations,
	       c.faults - before.faults, c.bus - before.bus,
	       c.bridge - before.bridge, c.ram - before.ram);
	EXPECT_LT(0, c.bus + c.bridge - before.bus - before.bridge);
	EXPECT_EQ(0, memcmp(m->buf, self->want, m->len));
}

/* RAM of the process that moves under the engine: fork, madvise, remap. */
TEST_F_TIMEOUT(live, ram_changes, 60)
{
	struct edu_mem *m = &self->m;
	unsigned char data[300];
	int status;
	pid_t pid;

	fill_random(data, sizeof(data));
	ASSERT_EQ(0, edu_write(m->fd, m->dev + 1, data, 300));
	pid = fork();
	if (!pid) {
		pause();
		_exit(0);
	}
	/* Copy on write: ours must get it, the child's must not. */
	fill_random(data, sizeof(data));
	ASSERT_EQ(0, edu_write(m->fd, m->dev + 1, data, 300));
	EXPECT_EQ(0, memcmp(m->buf + 1, data, 300));
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);

	ASSERT_EQ(0, madvise(m->buf, m->ram, MADV_DONTNEED));
	ASSERT_EQ(0, edu_read(m->fd, m->dev + 1, data, 300));
	for (int i = 0; i < 300; i++)
		ASSERT_EQ(0, data[i]);
	ASSERT_EQ(m->buf, mmap(m->buf, m->ram, EDU_RW, MAP_PRIVATE |
			       MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	fill_random(data, sizeof(data));
	ASSERT_EQ(0, edu_write(m->fd, m->dev + 1, data, 300));
	EXPECT_EQ(0, memcmp(m->buf + 1, data, 300));
}

TEST_F_TIMEOUT(live, munmap_during, 60)
{
	struct edu_mem *m = &self->m;
	struct busy b = {
		.m = m, .off = m->ram, .len = EDU_PAGE, .data = self->got,
		.write = true,
	};
	struct p2p_gpu_info info;

	ASSERT_EQ(0, gpu_info(&m->o, &info));
	fill_random(self->got, m->len);
	ASSERT_EQ(0, busy_start(&b));
	ASSERT_EQ(0, munmap(m->o.ptr, m->gpu));
	/* From now on nothing may land there. */
	ASSERT_EQ(0, edu_vram(info.vram, self->want, m->gpu));
	EXPECT_EQ(0, gpu_wait_extents(&m->o, 0));
	EXPECT_EQ(0, edu_dma_live("mappings"));
	EXPECT_EQ(-EFAULT, busy_fails(&b));
	ASSERT_EQ(0, edu_vram(info.vram, self->got, m->gpu));
	EXPECT_EQ(0, memcmp(self->got, self->want, m->gpu));
}

/* Half of the object goes, an extent goes as a whole, the rest comes back. */
TEST_F_TIMEOUT(live, partial_munmap, 60)
{
	struct edu_mem *m = &self->m;
	size_t half = m->gpu / 2;

	ASSERT_EQ(0, edu_write(m->fd, m->dev + m->ram, self->want, 9));
	ASSERT_EQ(0, munmap(m->o.ptr + half, half));
	EXPECT_EQ(-EFAULT, edu_write(m->fd, m->dev + m->ram + half, "x", 1));
	fill_random(self->want, 500);
	ASSERT_EQ(0, edu_write(m->fd, m->dev + m->ram + half - 500,
			       self->want, 500));
	EXPECT_EQ(0, memcmp(m->o.ptr + half - 500, self->want, 500));
	EXPECT_EQ(1, edu_dma_live("mappings"));
}

TEST_F_TIMEOUT(live, mremap_away, 60)
{
	struct edu_mem *m = &self->m;
	unsigned char *there;

	ASSERT_EQ(0, edu_write(m->fd, m->dev + m->ram, self->want, 9));
	there = mmap(NULL, m->gpu, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, there);
	ASSERT_EQ(there, mremap(m->o.ptr, m->gpu, m->gpu,
				MREMAP_MAYMOVE | MREMAP_FIXED, there));
	EXPECT_EQ(-EFAULT, edu_write(m->fd, m->dev + m->ram, "x", 1));
	EXPECT_EQ(0, memcmp(there, self->want, 9));
	EXPECT_EQ(0, gpu_wait_extents(&m->o, 0));
	munmap(there, m->gpu);
}

TEST_F_TIMEOUT(live, mprotect_during, 60)
{
	struct edu_mem *m = &self->m;
	struct busy b = {
		.m = m, .off = m->ram + 100, .len = 1000, .data = self->want,
		.write = true,
	};

	ASSERT_EQ(0, busy_start(&b));
	ASSERT_EQ(0, mprotect(m->o.ptr, m->gpu, PROT_READ));
	EXPECT_EQ(-EPERM, busy_fails(&b));
	ASSERT_EQ(0, edu_read(m->fd, m->dev + m->ram + 100, self->got, 1000));
	EXPECT_EQ(0, memcmp(self->got, self->want, 1000));
	ASSERT_EQ(0, mprotect(m->o.ptr, m->gpu, EDU_RW));
	EXPECT_EQ(0, edu_write(m->fd, m->dev + m->ram, self->got, 10));
}

TEST_F_TIMEOUT(live, unregister_during, 60)
{
	struct edu_mem *m = &self->m;
	struct busy b = {
		.m = m, .off = m->ram, .len = 2 * EDU_PAGE, .data = self->got,
	};

	ASSERT_EQ(0, busy_start(&b));
	ASSERT_EQ(0, edu_unreg(m->fd, m->dev));
	EXPECT_EQ(0, edu_dma_live("mappings"));
	EXPECT_EQ(-ENOENT, busy_fails(&b));
	EXPECT_EQ(0, gpu_wait_extents(&m->o, 0));
}

/* A child with memory of its own dies in the middle of a transfer. */
TEST_F_TIMEOUT(live, exit_during, 90)
{
	static const int how[] = { SIGKILL, SIGTERM, 0 };

	for (size_t i = 0; i < ARRAY_SIZE(how); i++) {
		int status;
		pid_t pid = fork();

		if (!pid) {
			struct edu_mem m = { .ram = EDU_PAGE, .gpu = EDU_PAGE };
			struct busy b = {
				.m = &m, .len = 3 * EDU_PAGE, .write = true,
				.data = self->want,
			};

			if (edu_mem_open(&m) || busy_start(&b))
				_exit(1);
			if (!how[i])
				_exit(0);
			raise(how[i]);
		}
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_EQ(how[i], status);
		for (int t = 0; t < 100 && edu_dma_live("mappings"); t++)
			usleep(100000);
		EXPECT_EQ(0, edu_dma_live("mappings"));
	}
	ASSERT_EQ(0, edu_write(self->m.fd, self->m.dev, self->want, 9));
	EXPECT_EQ(0, memcmp(self->m.buf, self->want, 9));
}

/* The importer's driver goes, with the file still open. */
TEST_F_TIMEOUT(live, unbind_importer, 90)
{
	struct edu_mem *m = &self->m;
	struct busy b = {
		.m = m, .off = 0, .len = m->len, .data = self->want, .write = true,
	};
	char name[32];

	ASSERT_EQ(0, busy_start(&b));
	ASSERT_EQ(0, edu_unbind("p2p_edu", name, sizeof(name)));
	EXPECT_EQ(0, edu_dma_live("mappings"));
	EXPECT_EQ(0, gpu_wait_extents(&m->o, 0));
	EXPECT_EQ(-ENODEV, busy_fails(&b));
	EXPECT_EQ(-ENODEV, edu_unreg(m->fd, m->dev));
	ASSERT_EQ(0, edu_bind("p2p_edu", name));

	close(m->fd);
	m->fd = edu_open();
	ASSERT_LE(0, m->fd);
	ASSERT_EQ(0, edu_reg(m->fd, m->buf, m->len, 0, &m->dev));
	fill_random(self->want, m->len);
	ASSERT_EQ(0, edu_write(m->fd, m->dev + m->ram, self->want, 3000));
	EXPECT_EQ(0, memcmp(m->o.ptr, self->want, 3000));
}

/* The exporter's driver goes: the object is no memory any more, RAM is. */
TEST_F_TIMEOUT(live, unbind_exporter, 90)
{
	struct edu_mem *m = &self->m;
	struct busy b = {
		.m = m, .off = m->ram, .len = EDU_PAGE, .data = self->want,
		.write = true,
	};
	char name[32];

	ASSERT_EQ(0, busy_start(&b));
	ASSERT_EQ(0, edu_unbind("p2p_gpu", name, sizeof(name)));
	EXPECT_EQ(0, edu_dma_live("mappings"));
	EXPECT_EQ(-ENODEV, busy_fails(&b));
	EXPECT_EQ(0, edu_write(m->fd, m->dev, self->want, 100));
	EXPECT_EQ(0, memcmp(m->buf, self->want, 100));
	ASSERT_EQ(0, edu_bind("p2p_gpu", name));
}

TEST_HARNESS_MAIN
