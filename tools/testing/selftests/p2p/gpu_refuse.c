// SPDX-License-Identifier: GPL-2.0
/*
 * What peers may not do with GPU memory, and that the refusal is as documented:
 * a completion error, a reason in the p2p_refuse trace event, and an MR that
 * goes on. And that who did not opt in gets what stock Linux gives.
 *
 * TIMEOUT: 300
 */

#include "kselftest_harness.h"
#include "gpu_mr.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>
#include <linux/loop.h>

#define PAGES		8
#define FLUSH		(P2P_RDMA_FLUSH_GLOBAL | P2P_RDMA_FLUSH_PERSISTENT)
#define WAIT_MS		"/sys/module/p2p_vma/parameters/wait_ms"

FIXTURE(refuse)
{
	struct gpu_mr m;
};

FIXTURE_SETUP(refuse)
{
	srandom(5);
	self->m.ram = 2 * GPU_PAGE;
	self->m.gpu = PAGES * GPU_PAGE;
	ASSERT_EQ(0, p2p_trace_begin());
}

FIXTURE_TEARDOWN(refuse)
{
	gpu_mr_close(&self->m);
}

static int advise(struct gpu_mr *m, enum ibv_advise_mr_advice advice)
{
	return p2p_rdma_advise(&m->r, advice, IBV_ADVISE_MR_FLAG_FLUSH,
			       m->mr->lkey, m->iova + m->ram, m->gpu);
}

#define READ_AHEAD	IBV_ADVISE_MR_ADVICE_PREFETCH
#define WRITE_AHEAD	IBV_ADVISE_MR_ADVICE_PREFETCH_WRITE

TEST_F_TIMEOUT(refuse, no_peers, 120)
{
	struct gpu_mr *m = &self->m;

	m->flags = P2P_GPU_PEERS_NONE;
	ASSERT_EQ(0, gpu_mr_open(m));
	EXPECT_REFUSED(m, gpu_mr_write(m, m->ram, 1));
	EXPECT_TRUE(p2p_trace_seen("p2p_refuse", "reason=exporter err=-13", 1));
	EXPECT_REFUSED(m, gpu_mr_read(m, m->ram - 3, 7));
	EXPECT_EQ(-EACCES, advise(m, READ_AHEAD));
	EXPECT_EQ(0, p2p_trace_count("p2p_map", NULL));
	EXPECT_EQ(0, gpu_extents(&m->o));
	EXPECT_RAM_WORKS(m);
	m->o.ptr[0] = 1;	/* the owner may */
}

TEST_F_TIMEOUT(refuse, peers_may_read, 120)
{
	struct gpu_mr *m = &self->m;

	m->flags = P2P_GPU_PEERS_READ;
	ASSERT_EQ(0, gpu_mr_open(m));
	fill_random(m->o.ptr, m->gpu);

	/* a write first, a read first, and after a move */
	for (int i = 0; i < 3; i++) {
		if (i)
			ASSERT_EQ(0, gpu_move(&m->o, i == 1));
		ASSERT_EQ(0, p2p_trace_begin());
		if (i != 1)
			EXPECT_REFUSED(m, gpu_mr_write(m, m->ram, 100));
		ASSERT_EQ(IBV_WC_SUCCESS, gpu_mr_read(m, m->ram, m->gpu));
		EXPECT_EQ(0, memcmp(m->peer, m->o.ptr, m->gpu));
		EXPECT_REFUSED(m, gpu_mr_write(m, m->ram + 77, 100));
		EXPECT_EQ(0, memcmp(m->peer, m->o.ptr, m->gpu));
		EXPECT_TRUE(p2p_trace_seen("p2p_refuse",
					   "reason=grant-write err=-1", 1));
		EXPECT_EQ(-EPERM, advise(m, WRITE_AHEAD));
		EXPECT_EQ(0, advise(m, READ_AHEAD));
	}
	EXPECT_RAM_WORKS(m);
}

/* One that was freed while peers use it. */
TEST_F_TIMEOUT(refuse, freed_object, 120)
{
	struct gpu_mr *m = &self->m;

	ASSERT_EQ(0, gpu_mr_open(m));
	EXPECT_WORKS(m, 0, m->len);
	ASSERT_EQ(0, gpu_free(&m->o));
	EXPECT_REFUSED(m, gpu_mr_write(m, m->ram, 1));
	EXPECT_TRUE(p2p_trace_seen("p2p_refuse", "reason=exporter err=-19", 1));
	EXPECT_REFUSED(m, gpu_mr_read(m, m->ram + 99, 1));
	EXPECT_EQ(-ENODEV, advise(m, READ_AHEAD));
	EXPECT_RAM_WORKS(m);
}

TEST_F_TIMEOUT(refuse, read_only_mapping, 120)
{
	struct gpu_mr *m = &self->m;

	m->prot = PROT_READ;
	ASSERT_EQ(0, gpu_mr_open(m));
	EXPECT_REFUSED(m, gpu_mr_write(m, m->ram, 1));
	EXPECT_TRUE(p2p_trace_seen("p2p_refuse", "reason=vma-write err=-1", 1));
	memset(m->peer, 1, m->len);
	ASSERT_EQ(IBV_WC_SUCCESS, gpu_mr_read(m, m->ram, m->gpu));
	EXPECT_EQ(0, memcmp(m->peer, m->o.ptr, m->gpu));
	EXPECT_REFUSED(m, gpu_mr_write(m, m->ram, 1));
	EXPECT_EQ(-EPERM, advise(m, WRITE_AHEAD));
	EXPECT_RAM_WORKS(m);
}

TEST_F_TIMEOUT(refuse, write_only_mapping, 120)
{
	struct gpu_mr *m = &self->m;

	m->prot = PROT_WRITE;
	ASSERT_EQ(0, gpu_mr_open(m));
	EXPECT_WORKS(m, 0, m->len);
	ASSERT_EQ(0, mprotect(m->o.ptr, m->gpu, PROT_NONE));
	EXPECT_REFUSED(m, gpu_mr_read(m, m->ram, 1));
	EXPECT_TRUE(p2p_trace_seen("p2p_refuse", "reason=vma-read err=-14", 1));
	EXPECT_RAM_WORKS(m);
}

/* A file that cannot be written, a shared mapping of it, and an MR for reads. */
TEST_F_TIMEOUT(refuse, read_only_everything, 120)
{
	struct gpu_mr *m = &self->m;
	struct p2p_gpu_info info;
	unsigned char *vram;
	size_t vram_len;

	m->ram = 0;
	m->open_flags = O_RDONLY;
	m->prot = PROT_READ;
	m->access = IBV_ACCESS_REMOTE_READ | IBV_ACCESS_ON_DEMAND;
	ASSERT_EQ(0, gpu_mr_open(m));
	vram = gpu_map_vram(&vram_len);
	ASSERT_NE(MAP_FAILED, vram);
	ASSERT_EQ(0, gpu_info(&m->o, &info));
	fill_random(vram + info.vram, m->gpu);

	for (int i = 0; i < 3; i++) {
		memset(m->peer, 0, m->gpu);
		ASSERT_EQ(IBV_WC_SUCCESS, gpu_mr_read(m, 0, m->gpu));
		EXPECT_EQ(0, memcmp(m->peer, vram + info.vram, m->gpu));
		EXPECT_EQ(0, memcmp(m->peer, m->o.ptr, m->gpu));
		EXPECT_REFUSED(m, gpu_mr_write(m, 0, 1));
		ASSERT_EQ(0, gpu_move(&m->o, i == 0));
	}
	munmap(vram, vram_len);
}

/* As for RAM on stock Linux, registration looks at nothing. */
TEST_F_TIMEOUT(refuse, hole_in_range, 120)
{
	struct gpu_mr *m = &self->m;
	size_t hole = m->ram + 3 * GPU_PAGE, end = m->ram + m->gpu;

	m->no_reg = true;
	ASSERT_EQ(0, gpu_mr_open(m));
	ASSERT_EQ(0, munmap(m->buf + hole, GPU_PAGE));
	ASSERT_EQ(0, munmap(m->buf + end, m->ram));
	ASSERT_EQ(0, gpu_mr_reg(m));
	EXPECT_REFUSED(m, gpu_mr_write(m, hole, 1));
	EXPECT_REFUSED(m, gpu_mr_read(m, hole - 1, 2));
	EXPECT_REFUSED(m, gpu_mr_write(m, end, 1));
	EXPECT_REFUSED(m, gpu_mr_read(m, end - 1, 2));
	EXPECT_WORKS(m, 0, hole);
	EXPECT_WORKS(m, hole + GPU_PAGE, end - hole - GPU_PAGE);
}

/* What needs a kernel mapping of RAM: fails on GPU memory, works beside it. */
TEST_F_TIMEOUT(refuse, atomics, 120)
{
	static const enum ibv_wr_opcode ops[] = {
		IBV_WR_ATOMIC_FETCH_AND_ADD, IBV_WR_ATOMIC_CMP_AND_SWP,
		IBV_WR_ATOMIC_WRITE,
	};
	struct gpu_mr *m = &self->m;

	ASSERT_EQ(0, gpu_mr_open(m));
	memset(m->buf, 0, m->len);
	ASSERT_TRUE(m->r.atomic_write);
	for (int i = 0; i < 3 * (int)ARRAY_SIZE(ops); i++) {
		struct p2p_rdma_op op = {
			.opcode = ops[i % ARRAY_SIZE(ops)],
			.laddr = (uintptr_t)m->peer,
			.lkey = m->peer_mr->lkey,
			.len = 8,
			.raddr = m->iova + m->ram + 3 * GPU_PAGE + 8,
			.rkey = m->mr->rkey,
			.compare_add = op.opcode == IBV_WR_ATOMIC_CMP_AND_SWP ?
				       0 : 0x1111,
			.swap = 0x1111,
		};

		/* not faulted in yet, faulted in, evicted */
		if (i == 3)
			EXPECT_WORKS(m, 0, m->len);
		if (i == 6)
			ASSERT_EQ(0, gpu_move(&m->o, P2P_GPU_RAM));
		memset(m->buf, 0, m->len);
		ASSERT_EQ(0, p2p_trace_begin());
		EXPECT_LT(0, p2p_rdma_run(&m->r, &op)) {
			TH_LOG("round %d, opcode %d", i, op.opcode);
		}
		EXPECT_TRUE(p2p_trace_seen("p2p_refuse",
					   "reason=operation err=-95", 1));
		ASSERT_EQ(0, p2p_rdma_reset(&m->r));
		for (size_t at = 0; at < m->len; at++)
			ASSERT_EQ(0, m->buf[at]);

		/* the same in the same MR, on RAM */
		op.raddr = m->iova + GPU_PAGE + 8;
		ASSERT_EQ(IBV_WC_SUCCESS, p2p_rdma_run(&m->r, &op));
		EXPECT_EQ(0x1111, *(uint64_t *)(m->buf + GPU_PAGE + 8));
	}

	/* The old value of an atomic may go into GPU memory: a plain copy. */
	{
		struct p2p_rdma_op op = {
			.opcode = IBV_WR_ATOMIC_FETCH_AND_ADD,
			.laddr = m->iova + m->ram + 16,
			.lkey = m->mr->lkey,
			.len = 8,
			.raddr = (uintptr_t)m->peer,
			.rkey = m->peer_mr->rkey,
			.compare_add = 1,
		};

		*(uint64_t *)m->peer = 41;
		ASSERT_EQ(IBV_WC_SUCCESS, p2p_rdma_run(&m->r, &op));
		EXPECT_EQ(41, *(uint64_t *)(m->o.ptr + 16));
		EXPECT_EQ(42, *(uint64_t *)m->peer);
	}
	EXPECT_WORKS(m, 0, m->len);
}

TEST_F_TIMEOUT(refuse, flush, 120)
{
	static const unsigned int types[] = {
		P2P_RDMA_FLUSH_TYPE_GLOBAL, P2P_RDMA_FLUSH_TYPE_PERSISTENT,
		P2P_RDMA_FLUSH_TYPE_GLOBAL | P2P_RDMA_FLUSH_TYPE_PERSISTENT,
	};
	struct gpu_mr *m = &self->m;

	m->access = GPU_MR_ODP | FLUSH;
	ASSERT_EQ(0, gpu_mr_open(m));
	for (int i = 0; i < 3 * (int)ARRAY_SIZE(types); i++) {
		unsigned int type = types[i % ARRAY_SIZE(types)];
		uint32_t key = m->mr->rkey;

		/* not faulted in yet, faulted in, evicted */
		if (i == 3)
			EXPECT_WORKS(m, 0, m->len);
		if (i == 6)
			ASSERT_EQ(0, gpu_move(&m->o, P2P_GPU_RAM));
		ASSERT_EQ(0, p2p_trace_begin());
		/* RAM alone is fine, RAM and the first byte of the GPU is not */
		EXPECT_EQ(IBV_WC_SUCCESS,
			  p2p_rdma_flush(&m->r, m->iova, key, m->ram, type));
		EXPECT_LT(0, p2p_rdma_flush(&m->r, m->iova, key, m->ram + 1,
					    type)) {
			TH_LOG("type %u", type);
		}
		ASSERT_EQ(0, p2p_rdma_reset(&m->r));
		EXPECT_LT(0, p2p_rdma_flush(&m->r, m->iova + m->ram + 11, key,
					    99, type)) {
			TH_LOG("type %u", type);
		}
		ASSERT_EQ(0, p2p_rdma_reset(&m->r));
		EXPECT_TRUE(p2p_trace_seen("p2p_refuse",
					   "reason=operation err=-95", 2));
	}
	EXPECT_WORKS(m, 0, m->len);
}

/* An object on the move is waited for; what takes too long fails. */
struct mover {
	pthread_t thread;
	struct gpu_obj *o;
	atomic_bool stop;
};

static void *mover_run(void *arg)
{
	struct mover *mv = arg;

	while (!mv->stop) {
		gpu_move(mv->o, P2P_GPU_VRAM);
		usleep(1000);
	}
	return NULL;
}

static int set_wait_ms(const char *ms)
{
	int fd = open(WAIT_MS, O_WRONLY), ok;

	ok = fd >= 0 && write(fd, ms, strlen(ms)) > 0;
	close(fd);
	return ok ? 0 : -errno;
}

TEST_F_TIMEOUT(refuse, wait, 200)
{
	struct gpu_mr *m = &self->m;
	struct mover mv = { .o = &m->o };
	int status = 0;

	m->gpu = 8UL << 20;	/* a move takes a while */
	ASSERT_EQ(0, gpu_mr_open(m));
	ASSERT_EQ(0, pthread_create(&mv.thread, NULL, mover_run, &mv));
	for (int i = 0; i < 500 && !p2p_trace_count("p2p_wait", "err=0"); i++)
		ASSERT_EQ(IBV_WC_SUCCESS, gpu_mr_write(m, m->ram + i, 1));
	EXPECT_LE(1, p2p_trace_count("p2p_wait", "err=0"));
	EXPECT_EQ(0, p2p_trace_count("p2p_refuse", NULL));

	ASSERT_EQ(0, set_wait_ms("1"));
	for (int i = 0; i < 500 && !status; i++)
		status = gpu_mr_read(m, m->ram + i, 1);
	EXPECT_EQ(0, set_wait_ms("5000"));
	EXPECT_EQ(IBV_WC_REM_ACCESS_ERR, status);
	EXPECT_LE(1, p2p_trace_count("p2p_refuse",
				     "reason=wait-timeout err=-110"));
	EXPECT_LE(1, p2p_trace_count("p2p_wait", "err=-110"));
	ASSERT_EQ(0, p2p_rdma_reset(&m->r));
	ASSERT_EQ(IBV_WC_SUCCESS, gpu_mr_write(m, m->ram, 1));
	mv.stop = true;
	pthread_join(mv.thread, NULL);
	EXPECT_WORKS(m, 0, 3 * m->ram);
}

/* All five trace events, each where it belongs. */
TEST_F_TIMEOUT(refuse, trace, 120)
{
	struct gpu_mr *m = &self->m;
	char text[96];

	ASSERT_EQ(0, gpu_mr_open(m));
	ASSERT_EQ(0, p2p_trace_begin());
	ASSERT_EQ(IBV_WC_SUCCESS, gpu_mr_write(m, m->ram, 1));
	snprintf(text, sizeof(text), "importer=cpu addr=%#lx ",
		 (unsigned long)m->o.ptr);
	EXPECT_EQ(1, p2p_trace_count("p2p_map", text));
	EXPECT_EQ(1, p2p_trace_count("p2p_map", "len=0x8000 mmio rw"));
	EXPECT_EQ(0, p2p_trace_count("p2p_cut", NULL));
	EXPECT_EQ(0, p2p_trace_count("p2p_unmap", NULL));

	ASSERT_EQ(0, munmap(m->o.ptr + 2 * GPU_PAGE, GPU_PAGE));
	snprintf(text, sizeof(text), "importer=cpu start=%#lx end=%#lx extents=1",
		 (unsigned long)m->o.ptr, (unsigned long)m->o.ptr + m->gpu);
	EXPECT_EQ(1, p2p_trace_count("p2p_cut", text));
	EXPECT_TRUE(p2p_trace_seen("p2p_unmap", "len=0x8000 mmio rw", 1));
	EXPECT_EQ(0, p2p_trace_count("p2p_refuse", NULL));
	EXPECT_EQ(0, p2p_trace_count("p2p_wait", NULL));
}

/* Those who did not opt in: as on stock Linux. */

TEST_F_TIMEOUT(refuse, process_vm, 60)
{
	struct gpu_mr *m = &self->m;
	struct iovec gpu, ram;
	char buf[64] = "";

	ASSERT_EQ(0, gpu_mr_open(m));
	m->o.ptr[0] = 1;
	gpu = (struct iovec) { m->o.ptr, sizeof(buf) };
	ram = (struct iovec) { buf, sizeof(buf) };
	EXPECT_EQ(-1, process_vm_readv(getpid(), &ram, 1, &gpu, 1, 0));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-1, process_vm_writev(getpid(), &ram, 1, &gpu, 1, 0));
	EXPECT_EQ(EFAULT, errno);
	gpu.iov_base = m->buf;
	EXPECT_EQ(sizeof(buf), process_vm_readv(getpid(), &ram, 1, &gpu, 1, 0));
	EXPECT_EQ(0, p2p_trace_count("p2p_map", NULL));
	EXPECT_EQ(0, p2p_trace_count("p2p_refuse", NULL));
}

/* A loop device: RAM behind it, and direct I/O that pins user pages. */
TEST_F_TIMEOUT(refuse, direct_io, 60)
{
	struct gpu_mr *m = &self->m;
	int control, nr, back, loop;
	char path[32];

	ASSERT_EQ(0, gpu_mr_open(m));
	m->o.ptr[0] = 1;
	back = memfd_create("disk", 0);
	ASSERT_LE(0, back);
	ASSERT_EQ(0, ftruncate(back, 1 << 20));
	control = open("/dev/loop-control", O_RDWR);
	ASSERT_LE(0, control);
	nr = ioctl(control, LOOP_CTL_GET_FREE);
	ASSERT_LE(0, nr);
	snprintf(path, sizeof(path), "/dev/loop%d", nr);
	loop = open(path, O_RDWR | O_DIRECT);
	ASSERT_LE(0, loop);
	ASSERT_EQ(0, ioctl(loop, LOOP_SET_FD, back));

	EXPECT_EQ(-1, pread(loop, m->o.ptr, GPU_PAGE, 0));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-1, pwrite(loop, m->o.ptr, GPU_PAGE, 0));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(GPU_PAGE, pread(loop, m->buf, GPU_PAGE, 0));
	EXPECT_EQ(0, p2p_trace_count("p2p_map", NULL));
	EXPECT_EQ(0, p2p_trace_count("p2p_refuse", NULL));
	ioctl(loop, LOOP_CLR_FD);
	close(loop);
	close(control);
	close(back);
}

TEST_HARNESS_MAIN
