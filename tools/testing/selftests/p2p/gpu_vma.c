// SPDX-License-Identifier: GPL-2.0
/*
 * GPU memory under a live MR while the address space changes: munmap, mremap,
 * MAP_FIXED, mprotect, fork, exit. What is gone fails, the rest goes on.
 *
 * TIMEOUT: 300
 */

#include "kselftest_harness.h"
#include "gpu_mr.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGES	16

FIXTURE(vma)
{
	struct gpu_mr m;
};

FIXTURE_VARIANT(vma)
{
	size_t ram;
	bool touched;		/* the CPU has page tables for the object */
	unsigned int where;
};

FIXTURE_VARIANT_ADD(vma, vram)
{
	.ram = 4 * GPU_PAGE,
	.touched = true,
};

/* Peers use the object, the CPU never did: no page tables. */
FIXTURE_VARIANT_ADD(vma, vram_untouched)
{
	.ram = 0,
};

FIXTURE_VARIANT_ADD(vma, evicted)
{
	.ram = 4 * GPU_PAGE,
	.touched = true,
	.where = P2P_GPU_RAM,
};

FIXTURE_VARIANT_ADD(vma, evicted_untouched)
{
	.ram = 0,
	.where = P2P_GPU_RAM,
};

FIXTURE_SETUP(vma)
{
	struct gpu_mr *m = &self->m;

	srandom(3);
	m->ram = variant->ram;
	m->gpu = PAGES * GPU_PAGE;
	ASSERT_EQ(0, gpu_mr_open(m));
	if (variant->where == P2P_GPU_RAM)
		ASSERT_EQ(0, gpu_move(&m->o, P2P_GPU_RAM));
	if (variant->touched)
		memset(m->buf, 0x11, m->len);
	/* Every page is in the MR's hands now. */
	memset(m->peer, 0x22, m->len);
	ASSERT_EQ(IBV_WC_SUCCESS, gpu_mr_write(m, 0, m->len));
	ASSERT_LE(1, gpu_extents(&m->o));
}

FIXTURE_TEARDOWN(vma)
{
	gpu_mr_close(&self->m);
}

static size_t page(struct gpu_mr *m, int nr)
{
	return m->ram + nr * GPU_PAGE;
}

TEST_F_TIMEOUT(vma, munmap_part, 120)
{
	struct gpu_mr *m = &self->m;

	ASSERT_EQ(0, munmap(m->buf + page(m, 5), 2 * GPU_PAGE));
	EXPECT_REFUSED(m, gpu_mr_write(m, page(m, 5), 1));
	EXPECT_REFUSED(m, gpu_mr_read(m, page(m, 7) - 1, 1));
	EXPECT_REFUSED(m, gpu_mr_write(m, page(m, 5) - 9, 10));
	EXPECT_REFUSED(m, gpu_mr_read(m, page(m, 7) - 1, 10));
	EXPECT_WORKS(m, 0, page(m, 5));
	EXPECT_WORKS(m, page(m, 7), m->len - page(m, 7));

	/* as the local buffer: an error, and soon */
	EXPECT_LT(0, gpu_mr_put(m, page(m, 5), 10));
	ASSERT_EQ(0, p2p_rdma_reset(&m->r));
	EXPECT_LT(0, gpu_mr_get(m, page(m, 5), 10));
	ASSERT_EQ(0, p2p_rdma_reset(&m->r));
	EXPECT_LT(0, gpu_mr_send(m, page(m, 5), 10));
	ASSERT_EQ(0, p2p_rdma_reset(&m->r));

	/* The object moves with two VMAs of it left. */
	ASSERT_EQ(0, gpu_move(&m->o, P2P_GPU_VRAM));
	EXPECT_WORKS(m, 0, page(m, 5));
	EXPECT_WORKS(m, page(m, 7), m->len - page(m, 7));
}

TEST_F_TIMEOUT(vma, munmap_all, 120)
{
	struct gpu_mr *m = &self->m;

	ASSERT_EQ(0, munmap(m->o.ptr, m->gpu));
	EXPECT_EQ(0, gpu_wait_extents(&m->o, 0));
	EXPECT_REFUSED(m, gpu_mr_write(m, page(m, 0), 1));
	EXPECT_REFUSED(m, gpu_mr_read(m, page(m, PAGES) - 1, 1));
	if (m->ram)
		EXPECT_WORKS(m, 0, m->ram);

	/* Mapped again at the same place: the MR finds it. */
	ASSERT_EQ(0, gpu_map(&m->o, m->buf + m->ram, GPU_MR_RW));
	EXPECT_WORKS(m, 0, m->len);
}

TEST_F_TIMEOUT(vma, map_fixed_ram, 120)
{
	struct gpu_mr *m = &self->m;
	unsigned char *p = m->buf + page(m, 3), *view;

	ASSERT_EQ(p, mmap(p, 2 * GPU_PAGE, GPU_MR_RW, MAP_PRIVATE |
			  MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	memset(m->peer, 0x33, m->len);
	ASSERT_EQ(IBV_WC_SUCCESS, gpu_mr_write(m, 0, m->len));
	EXPECT_EQ(0, memcmp(m->buf, m->peer, m->len));
	EXPECT_WORKS(m, page(m, 2), 4 * GPU_PAGE);

	/* The object's pages below were not written. */
	view = mmap(NULL, m->gpu, PROT_READ, MAP_SHARED, m->o.fd, m->o.offset);
	ASSERT_NE(MAP_FAILED, view);
	for (size_t i = 3 * GPU_PAGE; i < 5 * GPU_PAGE; i++)
		ASSERT_EQ(0x22, view[i]);
	munmap(view, m->gpu);
}

TEST_F_TIMEOUT(vma, map_fixed_other_object, 120)
{
	struct gpu_mr *m = &self->m;
	struct gpu_obj other;
	unsigned char *view;

	ASSERT_EQ(0, gpu_alloc(&other, m->o.fd, m->gpu, 0));
	ASSERT_EQ(0, gpu_map(&other, m->o.ptr, GPU_MR_RW));
	EXPECT_EQ(0, gpu_wait_extents(&m->o, 0));
	ASSERT_EQ(IBV_WC_SUCCESS, gpu_mr_read(m, page(m, 0), m->gpu));
	for (size_t i = 0; i < m->gpu; i++)
		ASSERT_EQ(0, m->peer[i]);
	EXPECT_WORKS(m, 0, m->len);
	EXPECT_EQ(1, gpu_extents(&other));

	view = mmap(NULL, m->gpu, PROT_READ, MAP_SHARED, m->o.fd, m->o.offset);
	ASSERT_NE(MAP_FAILED, view);
	for (size_t i = 0; i < m->gpu; i++)
		ASSERT_EQ(0x22, view[i]);
	munmap(view, m->gpu);
}

TEST_F_TIMEOUT(vma, mremap_move, 120)
{
	struct gpu_mr *m = &self->m;
	struct ibv_mr *old = m->mr;
	uint64_t old_iova = m->iova;
	unsigned char *to;

	/* Away from the MR: a hole where it was. */
	to = mmap(NULL, m->gpu, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, to);
	ASSERT_EQ(to, mremap(m->o.ptr, m->gpu, m->gpu,
			     MREMAP_MAYMOVE | MREMAP_FIXED, to));
	EXPECT_EQ(0, gpu_wait_extents(&m->o, 0));
	EXPECT_REFUSED(m, gpu_mr_write(m, page(m, 0), 1));
	EXPECT_REFUSED(m, gpu_mr_read(m, page(m, 2) + 7, 99));
	if (m->ram)
		EXPECT_WORKS(m, 0, m->ram);
	EXPECT_EQ(0x22, to[77]);

	/* An MR at the new place */
	m->mr = p2p_rdma_reg(&m->r, to, m->gpu, (uintptr_t)to, GPU_MR_ODP);
	ASSERT_NE(NULL, m->mr);
	m->iova = (uintptr_t)to;
	ASSERT_EQ(IBV_WC_SUCCESS, gpu_mr_read(m, 0, m->gpu));
	EXPECT_EQ(0, memcmp(to, m->peer, m->gpu));
	gpu_mr_dereg(m);
	m->mr = old;
	m->iova = old_iova;

	/* And back without its first page: the offsets in the file follow. */
	to[GPU_PAGE] = 0x44;
	ASSERT_EQ(m->o.ptr, mremap(to + GPU_PAGE, m->gpu - GPU_PAGE,
				   m->gpu - GPU_PAGE,
				   MREMAP_MAYMOVE | MREMAP_FIXED, m->o.ptr));
	ASSERT_EQ(IBV_WC_SUCCESS, gpu_mr_read(m, page(m, 0), 9));
	EXPECT_EQ(0x44, m->peer[0]);
	EXPECT_EQ(0x22, m->peer[1]);
	EXPECT_WORKS(m, page(m, 0), m->gpu - GPU_PAGE);
	EXPECT_REFUSED(m, gpu_mr_read(m, page(m, PAGES - 1), 1));
	munmap(to, GPU_PAGE);
}

TEST_F_TIMEOUT(vma, mremap_shrink, 120)
{
	struct gpu_mr *m = &self->m;

	ASSERT_EQ(m->o.ptr, mremap(m->o.ptr, m->gpu, 6 * GPU_PAGE, 0));
	EXPECT_WORKS(m, 0, page(m, 6));
	EXPECT_REFUSED(m, gpu_mr_write(m, page(m, 6), 1));
	EXPECT_REFUSED(m, gpu_mr_read(m, page(m, PAGES) - 1, 1));
	if (m->ram)
		EXPECT_WORKS(m, m->ram + m->gpu, m->ram);
}

TEST_F_TIMEOUT(vma, mprotect_read, 120)
{
	struct gpu_mr *m = &self->m;
	unsigned char *p = m->buf + page(m, 4);

	/* Part of the object: three VMAs. */
	ASSERT_EQ(0, mprotect(p, 2 * GPU_PAGE, PROT_READ));
	EXPECT_REFUSED(m, gpu_mr_write(m, page(m, 4) + 5, 1));
	EXPECT_REFUSED(m, gpu_mr_write(m, page(m, 6) - 1, 1));
	EXPECT_REFUSED(m, gpu_mr_write(m, page(m, 4) - 1, 2));
	memset(m->peer, 0, m->len);
	ASSERT_EQ(IBV_WC_SUCCESS, gpu_mr_read(m, 0, m->len));
	/* A write that ends in the read-only part may have begun. */
	EXPECT_EQ(0, memcmp(m->peer + page(m, 4), p, 2 * GPU_PAGE));
	for (size_t i = 0; i < 2 * GPU_PAGE; i++)
		ASSERT_EQ(0x22, m->peer[page(m, 4) + i]);
	EXPECT_WORKS(m, 0, page(m, 4));
	EXPECT_WORKS(m, page(m, 6), m->len - page(m, 6));

	ASSERT_EQ(0, mprotect(p, 2 * GPU_PAGE, GPU_MR_RW));
	EXPECT_WORKS(m, 0, m->len);

	/* All of it */
	ASSERT_EQ(0, mprotect(m->o.ptr, m->gpu, PROT_READ));
	EXPECT_REFUSED(m, gpu_mr_write(m, page(m, 0), 1));
	ASSERT_EQ(IBV_WC_SUCCESS, gpu_mr_read(m, 0, m->len));
	ASSERT_EQ(0, mprotect(m->o.ptr, m->gpu, GPU_MR_RW));
	EXPECT_WORKS(m, 0, m->len);
}

TEST_F_TIMEOUT(vma, mprotect_none, 120)
{
	struct gpu_mr *m = &self->m;

	ASSERT_EQ(0, mprotect(m->o.ptr, m->gpu, PROT_NONE));
	EXPECT_REFUSED(m, gpu_mr_write(m, page(m, 0), 1));
	EXPECT_REFUSED(m, gpu_mr_read(m, page(m, 3) + 3, 1));
	if (m->ram)
		EXPECT_WORKS(m, 0, m->ram);
	ASSERT_EQ(0, mprotect(m->o.ptr, m->gpu, GPU_MR_RW));
	EXPECT_WORKS(m, 0, m->len);
}

/* The address space changes all the time while peers use it. */
struct churn {
	pthread_t thread;
	struct gpu_mr *m;
	atomic_bool stop;
	atomic_int rounds;
	int err;
};

static void *churn_run(void *arg)
{
	struct churn *c = arg;
	struct gpu_mr *m = c->m;
	unsigned char *p = m->o.ptr + 4 * GPU_PAGE;
	size_t len = 6 * GPU_PAGE;

	while (!c->stop && !c->err) {
		if (mprotect(p, len, PROT_READ) ||
		    mprotect(p, len, GPU_MR_RW) ||
		    munmap(p, len) ||
		    gpu_map(&m->o, m->o.ptr, GPU_MR_RW) ||
		    mmap(p, len, GPU_MR_RW, MAP_PRIVATE | MAP_ANONYMOUS |
			 MAP_FIXED, -1, 0) != p ||
		    gpu_move(&m->o, c->rounds % 2) ||
		    gpu_map(&m->o, m->o.ptr, GPU_MR_RW))
			c->err = errno;
		c->rounds++;
		usleep(500);
	}
	return NULL;
}

TEST_F_TIMEOUT(vma, churn, 200)
{
	struct gpu_mr *m = &self->m;
	struct churn c = { .m = m };
	int good = 0, bad = 0;

	ASSERT_EQ(0, pthread_create(&c.thread, NULL, churn_run, &c));
	for (int i = 0; i < 200 || c.rounds < 20; i++) {
		size_t len = 1 + random() % m->len;
		size_t off = random() % (m->len - len + 1);
		int status = random() % 2 ? gpu_mr_write(m, off, len) :
					    gpu_mr_read(m, off, len);

		if (!status) {
			good++;
			continue;
		}
		ASSERT_EQ(IBV_WC_REM_ACCESS_ERR, status);
		bad++;
		ASSERT_EQ(0, p2p_rdma_reset(&m->r));
	}
	c.stop = true;
	pthread_join(c.thread, NULL);
	TH_LOG("%d rounds; %d operations succeeded, %d failed", c.rounds, good,
	       bad);
	EXPECT_EQ(0, c.err);
	EXPECT_LT(0, good);
	EXPECT_WORKS(m, 0, m->len);
	gpu_mr_dereg(m);
	EXPECT_EQ(0, gpu_wait_extents(&m->o, 0));
}

/* A child has the same mapping: what it does to its own changes nothing here. */
TEST_F_TIMEOUT(vma, fork_child_unmaps, 120)
{
	struct gpu_mr *m = &self->m;
	int status;
	pid_t pid;

	ASSERT_EQ(0, p2p_trace_begin());
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		if (m->o.ptr[77] != 0x22)
			_exit(1);
		m->o.ptr[77] = 0x55;
		if (munmap(m->o.ptr + 2 * GPU_PAGE, GPU_PAGE) ||
		    mprotect(m->o.ptr + 3 * GPU_PAGE, GPU_PAGE, PROT_NONE))
			_exit(2);
		_exit(0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(0, p2p_trace_count("p2p_cut", NULL));
	ASSERT_EQ(IBV_WC_SUCCESS, gpu_mr_read(m, page(m, 0), 100));
	EXPECT_EQ(0x55, m->peer[77]);
	EXPECT_WORKS(m, 0, m->len);
}

static void *traffic(void *arg)
{
	struct gpu_mr *m = arg;

	for (;;) {
		enum ibv_wr_opcode op = random() % 2 ? IBV_WR_RDMA_WRITE :
						       IBV_WR_RDMA_READ;

		if (gpu_mr_post(m, op, random() % 100, 0, m->len - 100))
			continue;
		if (p2p_rdma_wait(&m->r.req, NULL, P2P_RDMA_TIMEOUT_MS))
			_exit(3);
	}
	return NULL;
}

/* A process with an MR, an object and operations under way goes at once. */
TEST_F_TIMEOUT(vma, exit_under_traffic, 200)
{
	int before = gpu_objects(), status, pipes[2];
	struct gpu_mr *m = &self->m;
	char ready;
	pid_t pid;

	ASSERT_LE(1, before);
	for (int i = 0; i < 6; i++) {
		ASSERT_EQ(0, pipe(pipes));
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			struct gpu_mr c = { .ram = m->ram, .gpu = m->gpu };
			pthread_t t;

			if (gpu_mr_open(&c) ||
			    gpu_move(&c.o, variant->where) ||
			    gpu_mr_write(&c, 0, c.len) ||
			    pthread_create(&t, NULL, traffic, &c) ||
			    write(pipes[1], "x", 1) != 1)
				_exit(1);
			if (i % 3 == 0) {
				usleep(20000);
				_exit(0);
			}
			/* or die in the middle of a move */
			for (;;)
				if (i % 3 == 1)
					gpu_move(&c.o, random() % 2);
				else
					pause();
		}
		close(pipes[1]);
		ASSERT_EQ(1, read(pipes[0], &ready, 1));
		close(pipes[0]);
		if (i % 3) {
			usleep(20000 + random() % 30000);
			kill(pid, SIGKILL);
		}
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_EQ(i % 3 ? SIGKILL : 0, status);
		/* Its file may be closed a little later, by a worker. */
		for (int t = 0; t < 1000 && gpu_objects() != before; t++)
			usleep(10000);
		EXPECT_EQ(before, gpu_objects());
	}
	EXPECT_WORKS(m, 0, m->len);
}

TEST_HARNESS_MAIN
