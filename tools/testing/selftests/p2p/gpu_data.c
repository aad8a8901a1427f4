// SPDX-License-Identifier: GPL-2.0
/*
 * RDMA to and from GPU memory: the data, while the object stays, moves inside
 * VRAM, is evicted to system RAM and comes back.
 *
 * TIMEOUT: 600
 */

#include "kselftest_harness.h"
#include "gpu_mr.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OPS		200
#define KINDS		6

static const char * const kinds[KINDS] = {
	"write", "read", "send", "put", "get", "send_from",
};

/* 1: into the buffer, 0: out of it */
static const int into[KINDS] = { 1, 0, 1, 0, 1, 0 };

static int run(struct gpu_mr *m, unsigned int kind, size_t off, size_t len)
{
	switch (kind) {
	case 0: return gpu_mr_write(m, off, len);
	case 1: return gpu_mr_read(m, off, len);
	case 2: return gpu_mr_send(m, off, len);
	case 3: return gpu_mr_put(m, off, len);
	case 4: return gpu_mr_get(m, off, len);
	default: return gpu_mr_send_from(m, off, len);
	}
}

FIXTURE(data)
{
	struct gpu_mr m;
	unsigned char *want;	/* what m.buf should hold */
};

FIXTURE_VARIANT(data)
{
	size_t ram;
	uint64_t iova;
};

FIXTURE_VARIANT_ADD(data, mixed)
{
	.ram = 8 * GPU_PAGE,
};

FIXTURE_VARIANT_ADD(data, gpu_only)
{
	.ram = 0,
};

FIXTURE_VARIANT_ADD(data, mixed_iova)
{
	.ram = 3 * GPU_PAGE,
	.iova = 0x10000,
};

FIXTURE_SETUP(data)
{
	srandom(11);
	self->m.ram = variant->ram;
	self->m.gpu = 24 * GPU_PAGE;
	self->m.iova = variant->iova;
	ASSERT_EQ(0, gpu_mr_open(&self->m));
	self->want = malloc(self->m.len);
	ASSERT_NE(NULL, self->want);
	fill_random(self->want, self->m.len);
	memcpy(self->m.buf, self->want, self->m.len);
}

FIXTURE_TEARDOWN(data)
{
	gpu_mr_close(&self->m);
	free(self->want);
}

/* One random operation, and a look at all memory that it may have changed. */
static bool random_op(struct __test_metadata *_metadata, struct gpu_mr *m,
		      unsigned char *want, int i)
{
	unsigned int kind = random() % KINDS;
	size_t len = 1 + random() % (random() % 2 ? 64 : m->len / 2);
	size_t off = random() % (m->len - len + 1);
	int status;

	fill_random(m->peer, len);
	if (into[kind])
		memcpy(want + off, m->peer, len);
	status = run(m, kind, off, len);
	if (status) {
		TH_LOG("operation %d: %s, %zu bytes at %zu: status %d", i,
		       kinds[kind], len, off, status);
		return false;
	}
	if (memcmp(m->buf, want, m->len) ||
	    (!into[kind] && memcmp(m->peer, want + off, len))) {
		TH_LOG("operation %d: %s, %zu bytes at %zu: wrong data", i,
		       kinds[kind], len, off);
		return false;
	}
	return true;
}

TEST_F_TIMEOUT(data, random, 200)
{
	for (int i = 0; i < OPS; i++)
		ASSERT_TRUE(random_op(_metadata, &self->m, self->want, i));
}

TEST_F_TIMEOUT(data, moved_between, 200)
{
	for (int i = 0; i < OPS; i++) {
		if (random() % 8 == 0)
			ASSERT_EQ(0, gpu_move(&self->m.o, random() % 2));
		ASSERT_TRUE(random_op(_metadata, &self->m, self->want, i));
	}
}

struct mover {
	pthread_t thread;
	struct gpu_obj *o;
	atomic_bool stop;
	atomic_int moves;
	int err;
};

static void *mover_run(void *arg)
{
	struct mover *mv = arg;
	unsigned int where[] = { P2P_GPU_VRAM, P2P_GPU_RAM, P2P_GPU_VRAM };

	for (int i = 0; !mv->stop && !mv->err; i++) {
		mv->err = gpu_move(mv->o, where[i % 3]);
		mv->moves++;
		usleep(200);	/* else the object is nearly always on the move */
	}
	return NULL;
}

static int mover_start(struct mover *mv, struct gpu_obj *o)
{
	*mv = (struct mover) { .o = o };
	return pthread_create(&mv->thread, NULL, mover_run, mv);
}

static int mover_stop(struct mover *mv)
{
	mv->stop = true;
	pthread_join(mv->thread, NULL);
	return mv->err;
}

TEST_F_TIMEOUT(data, moved_during, 300)
{
	struct mover mv;
	int i;

	ASSERT_EQ(0, mover_start(&mv, &self->m.o));
	for (i = 0; i < OPS || mv.moves < 50; i++)
		ASSERT_TRUE(random_op(_metadata, &self->m, self->want, i));
	EXPECT_EQ(0, mover_stop(&mv));
	TH_LOG("%d operations, %d moves", i, mv.moves);
	EXPECT_EQ(0, memcmp(self->m.buf, self->want, self->m.len));
}

/* Many operations under way at once, each on bytes of its own. */
TEST_F_TIMEOUT(data, queue_moved_during, 300)
{
	enum { DEPTH = 16, ROUNDS = 12 };
	struct gpu_mr *m = &self->m;
	size_t piece = m->len / DEPTH, len = piece - 13;
	struct mover mv;
	int i, moves;

	ASSERT_EQ(0, mover_start(&mv, &m->o));
	for (int round = 0; round < ROUNDS; round++) {
		enum ibv_wr_opcode op = round % 2 ? IBV_WR_RDMA_READ :
						    IBV_WR_RDMA_WRITE;

		moves = mv.moves;
		fill_random(m->peer, m->len);
		for (i = 0; i < DEPTH; i++) {
			if (op == IBV_WR_RDMA_WRITE)
				memcpy(self->want + i * piece + 5,
				       m->peer + i * piece, len);
			ASSERT_EQ(0, gpu_mr_post(m, op, i * piece + 5,
						 i * piece, len));
		}
		for (i = 0; i < DEPTH; i++)
			ASSERT_EQ(IBV_WC_SUCCESS,
				  p2p_rdma_wait(&m->r.req, NULL,
						P2P_RDMA_TIMEOUT_MS));
		for (i = 0; i < DEPTH && op == IBV_WR_RDMA_READ; i++)
			ASSERT_EQ(0, memcmp(self->want + i * piece + 5,
					    m->peer + i * piece, len));
		ASSERT_EQ(0, memcmp(m->buf, self->want, m->len));
		while (mv.moves == moves)
			usleep(100);
	}
	EXPECT_EQ(0, mover_stop(&mv));
}

/* The CPU writes the even blocks and the peer the odd ones. */
struct cpu_writer {
	pthread_t thread;
	struct gpu_mr *m;
	unsigned char *want;
	atomic_bool stop;
	atomic_int writes;
};

#define BLOCK	1000UL

static void *cpu_writer_run(void *arg)
{
	struct cpu_writer *w = arg;
	unsigned char data[BLOCK];
	unsigned int seed = 5;

	while (!w->stop) {
		size_t nr = w->m->len / (2 * BLOCK);
		size_t at = rand_r(&seed) % nr * 2 * BLOCK;

		memset(data, rand_r(&seed) >> 8, BLOCK);
		memcpy(w->m->buf + at, data, BLOCK);
		memcpy(w->want + at, data, BLOCK);
		w->writes++;
	}
	return NULL;
}

TEST_F_TIMEOUT(data, cpu_and_peer, 300)
{
	struct gpu_mr *m = &self->m;
	struct cpu_writer w = { .m = m, .want = self->want };
	size_t nr = m->len / (2 * BLOCK);
	struct mover mv;

	ASSERT_EQ(0, mover_start(&mv, &m->o));
	ASSERT_EQ(0, pthread_create(&w.thread, NULL, cpu_writer_run, &w));
	for (int i = 0; i < OPS || mv.moves < 20 || w.writes < 100; i++) {
		size_t at = (random() % nr * 2 + 1) * BLOCK;

		fill_random(m->peer, BLOCK);
		memcpy(self->want + at, m->peer, BLOCK);
		ASSERT_EQ(IBV_WC_SUCCESS, gpu_mr_write(m, at, BLOCK));
	}
	w.stop = true;
	pthread_join(w.thread, NULL);
	EXPECT_EQ(0, mover_stop(&mv));
	EXPECT_EQ(0, memcmp(m->buf, self->want, m->len));
	ASSERT_EQ(IBV_WC_SUCCESS, gpu_mr_read(m, 0, m->len));
	EXPECT_EQ(0, memcmp(m->peer, self->want, m->len));
}

TEST_F_TIMEOUT(data, lands_in_vram, 120)
{
	struct gpu_mr *m = &self->m;
	struct p2p_gpu_info info;
	unsigned char *vram;
	size_t vram_len = 0;

	vram = gpu_map_vram(&vram_len);
	ASSERT_NE(MAP_FAILED, vram);
	ASSERT_EQ(0, gpu_info(&m->o, &info));
	ASSERT_EQ(P2P_GPU_VRAM, info.where);

	fill_random(m->peer, m->gpu);
	ASSERT_EQ(IBV_WC_SUCCESS, gpu_mr_write(m, m->ram + 7, m->gpu - 99));
	EXPECT_EQ(0, memcmp(vram + info.vram + 7, m->peer, m->gpu - 99));

	/* What the device writes is what the peer reads. */
	memset(vram + info.vram + 3 * GPU_PAGE + 1, 0x5a, 5000);
	ASSERT_EQ(IBV_WC_SUCCESS, gpu_mr_read(m, m->ram, m->gpu));
	EXPECT_EQ(0, memcmp(vram + info.vram, m->peer, m->gpu));

	/* Nothing lands in the place that the object left. */
	memcpy(self->want, vram + info.vram, m->gpu);
	ASSERT_EQ(0, gpu_move(&m->o, P2P_GPU_RAM));
	fill_random(m->peer, m->gpu);
	ASSERT_EQ(IBV_WC_SUCCESS, gpu_mr_write(m, m->ram, m->gpu));
	EXPECT_EQ(0, memcmp(vram + info.vram, self->want, m->gpu));
	EXPECT_EQ(0, memcmp(m->o.ptr, m->peer, m->gpu));

	ASSERT_EQ(0, gpu_move(&m->o, P2P_GPU_VRAM));
	ASSERT_EQ(0, gpu_info(&m->o, &info));
	EXPECT_EQ(0, memcmp(vram + info.vram, m->peer, m->gpu));
	munmap(vram, vram_len);
}

/* An object in VRAM is granted once, whatever is touched in whatever order. */
TEST_F_TIMEOUT(data, extents, 120)
{
	struct gpu_mr *m = &self->m;
	size_t pages = m->gpu / GPU_PAGE;

	ASSERT_EQ(0, gpu_wait_extents(&m->o, 0));
	ASSERT_EQ(0, p2p_trace_begin());
	for (size_t i = 0; i < 3 * pages; i++) {
		size_t off = m->ram + i * 7 % pages * GPU_PAGE + 11;

		ASSERT_EQ(IBV_WC_SUCCESS, i % 2 ? gpu_mr_read(m, off, 100) :
						  gpu_mr_write(m, off, 100));
	}
	EXPECT_EQ(1, gpu_extents(&m->o));
	EXPECT_EQ(1, p2p_trace_count("p2p_map", "mmio"));
	EXPECT_EQ(0, p2p_trace_count("p2p_cut", NULL));

	/* Taken back by a move, and granted again when it is needed. */
	ASSERT_EQ(0, gpu_move(&m->o, P2P_GPU_VRAM));
	ASSERT_EQ(0, gpu_wait_extents(&m->o, 0));
	ASSERT_EQ(IBV_WC_SUCCESS, gpu_mr_write(m, m->ram, 1));
	EXPECT_EQ(1, gpu_extents(&m->o));

	/* In RAM only what is needed. */
	ASSERT_EQ(0, gpu_move(&m->o, P2P_GPU_RAM));
	ASSERT_EQ(0, gpu_wait_extents(&m->o, 0));
	ASSERT_EQ(IBV_WC_SUCCESS, gpu_mr_write(m, m->ram + 5 * GPU_PAGE, 1));
	EXPECT_EQ(1, gpu_extents(&m->o));
	EXPECT_EQ(1, p2p_trace_count("p2p_map", "len=0x1000 ram"));
	ASSERT_EQ(IBV_WC_SUCCESS, gpu_mr_read(m, m->ram, m->gpu));
	EXPECT_LE(2, gpu_extents(&m->o));

	/* The last one goes with the MR. */
	gpu_mr_dereg(m);
	EXPECT_EQ(0, gpu_wait_extents(&m->o, 0));
	EXPECT_TRUE(p2p_trace_seen("p2p_unmap", NULL, 3));
}

/* No extent crosses a multiple of 1 GiB: two for one object, and right data. */
TEST_F_TIMEOUT(data, gib_border, 120)
{
	struct gpu_mr *m = &self->m;

	gpu_mr_close(m);
	m->border = true;
	m->iova = variant->iova;
	ASSERT_EQ(0, gpu_mr_open(m));
	memcpy(m->buf, self->want, m->len);
	ASSERT_EQ(0, p2p_trace_begin());
	for (int i = 0; i < 20; i++)
		ASSERT_TRUE(random_op(_metadata, m, self->want, i));
	EXPECT_WORKS(m, m->len / 2 - 1, 2);
	EXPECT_EQ(2, gpu_extents(&m->o));
	EXPECT_EQ(2, p2p_trace_count("p2p_map", NULL));
}

/* Each MR has extents of its own. */
TEST_F_TIMEOUT(data, two_mrs, 120)
{
	struct gpu_mr *m = &self->m;
	struct ibv_mr *first = m->mr, *second;

	second = p2p_rdma_reg(&m->r, m->buf, m->len, m->iova, GPU_MR_ODP);
	ASSERT_NE(NULL, second);
	EXPECT_WORKS(m, m->ram + 1, 5000);
	EXPECT_EQ(1, gpu_extents(&m->o));
	m->mr = second;
	EXPECT_WORKS(m, m->ram + 1, 5000);
	EXPECT_EQ(2, gpu_extents(&m->o));
	m->mr = first;
	gpu_mr_dereg(m);
	EXPECT_EQ(0, gpu_wait_extents(&m->o, 1));
	m->mr = second;
	EXPECT_WORKS(m, m->ram + 1, 5000);
}

/* The object copied within one MR, by RDMA. */
TEST_F_TIMEOUT(data, gpu_to_gpu, 120)
{
	struct gpu_mr *m = &self->m;
	size_t half = m->gpu / 2, len = half - 777;

	ASSERT_EQ(IBV_WC_SUCCESS,
		  p2p_rdma_write(&m->r, m->iova + m->ram + 1, m->mr->lkey,
				 m->iova + m->ram + half + 3, m->mr->rkey, len));
	EXPECT_EQ(0, memcmp(m->o.ptr + 1, m->o.ptr + half + 3, len));
	EXPECT_EQ(0, memcmp(m->o.ptr + 1, self->want + m->ram + 1, len));
}

static int advise(struct gpu_mr *m, enum ibv_advise_mr_advice advice,
		  size_t off, size_t len)
{
	return p2p_rdma_advise(&m->r, advice, IBV_ADVISE_MR_FLAG_FLUSH,
			       m->mr->lkey, m->iova + off, len);
}

TEST_F_TIMEOUT(data, prefetch, 120)
{
	struct gpu_mr *m = &self->m;

	/* A snapshot asks nobody; the others get the object. */
	ASSERT_EQ(0, advise(m, IBV_ADVISE_MR_ADVICE_PREFETCH_NO_FAULT, 0,
			    m->len));
	EXPECT_EQ(0, gpu_extents(&m->o));
	ASSERT_EQ(0, advise(m, IBV_ADVISE_MR_ADVICE_PREFETCH, m->ram + 77, 99));
	EXPECT_EQ(1, gpu_extents(&m->o));

	/* Read was asked, but read and write were granted. */
	ASSERT_EQ(0, p2p_trace_begin());
	ASSERT_EQ(0, advise(m, IBV_ADVISE_MR_ADVICE_PREFETCH_WRITE, 0, m->len));
	EXPECT_EQ(1, gpu_extents(&m->o));
	EXPECT_WORKS(m, m->ram, m->gpu);
	EXPECT_EQ(0, p2p_trace_count("p2p_map", "mmio"));

	ASSERT_EQ(0, gpu_move(&m->o, P2P_GPU_RAM));
	ASSERT_EQ(0, gpu_wait_extents(&m->o, 0));
	ASSERT_EQ(0, advise(m, IBV_ADVISE_MR_ADVICE_PREFETCH_NO_FAULT, 0,
			    m->len));
	EXPECT_EQ(0, gpu_extents(&m->o));
	ASSERT_EQ(0, advise(m, IBV_ADVISE_MR_ADVICE_PREFETCH_WRITE, 0, m->len));
	EXPECT_LE(1, gpu_extents(&m->o));
	EXPECT_WORKS(m, m->ram, m->gpu);

	/* In the background */
	ASSERT_EQ(0, gpu_move(&m->o, P2P_GPU_VRAM));
	ASSERT_EQ(0, gpu_wait_extents(&m->o, 0));
	ASSERT_EQ(0, p2p_rdma_advise(&m->r, IBV_ADVISE_MR_ADVICE_PREFETCH_WRITE,
				     0, m->mr->lkey, m->iova, m->len));
	EXPECT_EQ(0, gpu_wait_extents(&m->o, 1));
}

TEST_HARNESS_MAIN
