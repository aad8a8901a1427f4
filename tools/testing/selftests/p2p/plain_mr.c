// SPDX-License-Identifier: GPL-2.0
/*
 * ibv_reg_mr() without IBV_ACCESS_ON_DEMAND over GPU memory: the MR is made
 * on-demand and works at once, or is refused with the errno of the refusal.
 * MRs of RAM only are pinned as ever.
 *
 * TIMEOUT: 300
 */

#include "kselftest_harness.h"
#include "gpu_mr.h"

#include <errno.h>
#include <rdma/ib_user_verbs.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAGES	8

FIXTURE(plain)
{
	struct gpu_mr m;
	unsigned char *vram;
	size_t vram_len;
};

FIXTURE_SETUP(plain)
{
	srandom(6);
	self->m.ram = 2 * GPU_PAGE;
	self->m.gpu = PAGES * GPU_PAGE;
	self->m.access = P2P_RDMA_ALL;
	self->vram = gpu_map_vram(&self->vram_len);
	ASSERT_NE(MAP_FAILED, self->vram);
	ASSERT_EQ(0, p2p_trace_begin());
}

FIXTURE_TEARDOWN(plain)
{
	gpu_mr_close(&self->m);
	munmap(self->vram, self->vram_len);
}

/* Does VRAM hold what the program sees in the object? -1 if it is not there. */
static int in_vram(FIXTURE_DATA(plain) * const self)
{
	struct gpu_mr *m = &self->m;
	struct p2p_gpu_info info;

	if (gpu_info(&m->o, &info) || info.where != P2P_GPU_VRAM)
		return -1;
	return !memcmp(self->vram + info.vram, m->o.ptr, m->gpu);
}

/* Both ends, both directions, over both borders. */
static int all_ways(struct gpu_mr *m)
{
	int (*in[])(struct gpu_mr *m, size_t off, size_t len) = {
		gpu_mr_write, gpu_mr_send, gpu_mr_get,
	};
	int (*out[])(struct gpu_mr *m, size_t off, size_t len) = {
		gpu_mr_read, gpu_mr_put, gpu_mr_send_from,
	};
	size_t off = m->ram ? m->ram - 99 : 1, len = m->len - 2 * off;
	int status;

	for (size_t i = 0; i < ARRAY_SIZE(in); i++) {
		fill_random(m->peer, len);
		status = in[i](m, off, len);
		if (status)
			return status;
		if (memcmp(m->buf + off, m->peer, len))
			return -EBADMSG;
		memset(m->peer, 0, len);
		status = out[i](m, off, len);
		if (status)
			return status;
		if (memcmp(m->buf + off, m->peer, len))
			return -EBADMSG;
	}
	return 0;
}

/* What the library of rxe lacks. */
static int rereg(struct gpu_mr *m, int flags, struct ibv_pd *pd, int access)
{
	struct ib_uverbs_rereg_mr_resp resp;
	struct {
		struct ib_uverbs_cmd_hdr hdr;
		struct ib_uverbs_rereg_mr cmd;
	} req = {
		.hdr = {
			.command = IB_USER_VERBS_CMD_REREG_MR,
			.in_words = sizeof(req) / 4,
			.out_words = sizeof(resp) / 4,
		},
		.cmd = {
			.response = (uintptr_t)&resp,
			.mr_handle = m->mr->handle,
			.flags = flags,
			.start = (uintptr_t)m->buf,
			.length = m->len,
			.hca_va = m->iova,
			.pd_handle = pd ? pd->handle : 0,
			.access_flags = access,
		},
	};

	return write(m->r.ctx->cmd_fd, &req, sizeof(req)) == sizeof(req) ?
		0 : -errno;
}

TEST_F_TIMEOUT(plain, ram_gpu_ram, 120)
{
	struct gpu_mr *m = &self->m;
	char text[80];

	ASSERT_EQ(0, gpu_mr_open(m));
	snprintf(text, sizeof(text), "importer=rxe0 addr=%#lx len=%#zx err=0",
		 (unsigned long)m->buf, m->len);
	EXPECT_EQ(1, p2p_trace_count("p2p_on_demand", text));
	EXPECT_EQ(1, p2p_trace_count("p2p_on_demand", NULL));

	/* All of it is there already: no transfer asks the driver. */
	EXPECT_EQ(1, p2p_trace_count("p2p_map", "mmio rw"));
	EXPECT_EQ(1, gpu_extents(&m->o));
	EXPECT_EQ(0, all_ways(m));
	EXPECT_EQ(1, in_vram(self));
	EXPECT_WORKS(m, 0, m->len);
	EXPECT_EQ(1, in_vram(self));
	EXPECT_EQ(1, p2p_trace_count("p2p_map", NULL));
	EXPECT_EQ(0, p2p_trace_count("p2p_refuse", NULL));

	gpu_mr_dereg(m);
	EXPECT_EQ(0, gpu_wait_extents(&m->o, 0));
}

/* No page tables are there, neither borders nor addresses are round. */
TEST_F_TIMEOUT(plain, gpu_only, 120)
{
	struct gpu_mr *m = &self->m;

	m->ram = 0;
	m->no_reg = true;
	ASSERT_EQ(0, gpu_mr_open(m));
	m->buf += 77;
	m->len -= 77 + 1111;
	m->iova = (1UL << 40) + 77;
	ASSERT_EQ(0, gpu_mr_reg(m));
	EXPECT_EQ(0, all_ways(m));
	EXPECT_EQ(1, in_vram(self));
	EXPECT_WORKS(m, 0, m->len);
	gpu_mr_dereg(m);
	m->buf -= 77;
	m->len = m->gpu;
}

TEST_F_TIMEOUT(plain, moves, 120)
{
	struct gpu_mr *m = &self->m;

	ASSERT_EQ(0, gpu_mr_open(m));
	for (int i = 0; i < 6; i++) {
		EXPECT_WORKS(m, 0, m->len);
		ASSERT_EQ(0, gpu_move(&m->o, i % 3 == 1 ? P2P_GPU_RAM :
							  P2P_GPU_VRAM));
		/* what was written before the move has come along */
		ASSERT_EQ(IBV_WC_SUCCESS, gpu_mr_read(m, 0, m->len));
		EXPECT_EQ(0, memcmp(m->buf, m->peer, m->len));
		EXPECT_EQ(0, all_ways(m));
		EXPECT_EQ(i % 3 == 1 ? -1 : 1, in_vram(self));
	}
	EXPECT_EQ(1, p2p_trace_count("p2p_on_demand", NULL));
}

/* Nothing is pinned, also not the RAM beside the object. */
TEST_F_TIMEOUT(plain, munmap_ends_access, 120)
{
	struct gpu_mr *m = &self->m;

	ASSERT_EQ(0, gpu_mr_open(m));
	EXPECT_WORKS(m, 0, m->len);
	ASSERT_EQ(0, munmap(m->o.ptr + 2 * GPU_PAGE, GPU_PAGE));
	EXPECT_REFUSED(m, gpu_mr_read(m, m->ram + 2 * GPU_PAGE, 1));
	EXPECT_WORKS(m, 0, m->ram + 2 * GPU_PAGE);
	EXPECT_WORKS(m, m->ram + 3 * GPU_PAGE, m->gpu - 3 * GPU_PAGE + m->ram);
	ASSERT_EQ(0, munmap(m->o.ptr, m->gpu));
	EXPECT_EQ(0, gpu_wait_extents(&m->o, 0));
	EXPECT_REFUSED(m, gpu_mr_write(m, m->ram, 1));
	EXPECT_RAM_WORKS(m);
	ASSERT_EQ(0, munmap(m->buf, GPU_PAGE));
	EXPECT_REFUSED(m, gpu_mr_read(m, 5, 1));
}

/* RAM alone is pinned: it can be used when the program has unmapped it. */
TEST_F_TIMEOUT(plain, ram_only, 120)
{
	struct gpu_mr *m = &self->m;
	unsigned char want[2 * GPU_PAGE];

	m->no_reg = true;
	ASSERT_EQ(0, gpu_mr_open(m));
	m->len = m->ram;
	ASSERT_EQ(0, gpu_mr_reg(m));
	fill_random(want, m->ram);
	memcpy(m->buf, want, m->ram);
	ASSERT_EQ(0, munmap(m->buf, m->ram));
	ASSERT_EQ(IBV_WC_SUCCESS, gpu_mr_read(m, 0, m->ram));
	EXPECT_EQ(0, memcmp(m->peer, want, m->ram));
	gpu_mr_dereg(m);

	/* now a hole, and no GPU memory: as on stock Linux */
	EXPECT_EQ(-EFAULT, gpu_mr_reg(m));
	EXPECT_EQ(0, p2p_trace_count("p2p_on_demand", NULL));
	EXPECT_EQ(0, p2p_trace_count("p2p_refuse", NULL));
	m->len = 2 * m->ram + m->gpu;
}

/* All of it must be there: otherwise no MR, and nothing is left of the try. */
TEST_F_TIMEOUT(plain, hole, 120)
{
	struct gpu_mr *m = &self->m;

	m->no_reg = true;
	ASSERT_EQ(0, gpu_mr_open(m));
	ASSERT_EQ(0, munmap(m->buf + m->len - GPU_PAGE, GPU_PAGE));
	for (int i = 0; i < 100; i++)
		ASSERT_EQ(-EFAULT, gpu_mr_reg(m));
	EXPECT_EQ(100, p2p_trace_count("p2p_on_demand", "err=-14"));
	EXPECT_EQ(0, gpu_wait_extents(&m->o, 0));

	/* a hole in the object itself, and then none */
	m->len -= GPU_PAGE;
	ASSERT_EQ(0, munmap(m->o.ptr, GPU_PAGE));
	EXPECT_EQ(-EFAULT, gpu_mr_reg(m));
	ASSERT_EQ(0, gpu_map(&m->o, m->o.ptr, GPU_MR_RW));
	ASSERT_EQ(0, gpu_mr_reg(m));
	EXPECT_WORKS(m, 0, m->len);
}

TEST_F_TIMEOUT(plain, no_peers, 120)
{
	struct gpu_mr *m = &self->m;

	m->flags = P2P_GPU_PEERS_NONE;
	m->no_reg = true;
	ASSERT_EQ(0, gpu_mr_open(m));
	EXPECT_EQ(-EACCES, gpu_mr_reg(m));
	EXPECT_EQ(1, p2p_trace_count("p2p_refuse", "reason=exporter err=-13"));
	EXPECT_EQ(1, p2p_trace_count("p2p_on_demand", "err=-13"));
	m->access = IBV_ACCESS_REMOTE_READ;
	EXPECT_EQ(-EACCES, gpu_mr_reg(m));
	EXPECT_EQ(0, gpu_extents(&m->o));
}

/* What peers may only read can be registered for reading, and be read. */
static void read_only(struct __test_metadata *_metadata,
		      FIXTURE_DATA(plain) * const self, const char *reason)
{
	struct gpu_mr *m = &self->m;

	m->no_reg = true;
	ASSERT_EQ(0, gpu_mr_open(m));
	EXPECT_EQ(-EPERM, gpu_mr_reg(m));
	EXPECT_LE(1, p2p_trace_count("p2p_refuse", reason));

	m->access = IBV_ACCESS_REMOTE_READ;
	ASSERT_EQ(0, gpu_mr_reg(m));
	ASSERT_EQ(0, p2p_trace_begin());
	ASSERT_EQ(IBV_WC_SUCCESS, gpu_mr_read(m, 0, m->len));
	EXPECT_EQ(0, memcmp(m->buf, m->peer, m->len));
	EXPECT_EQ(0, p2p_trace_count("p2p_map", NULL));
	EXPECT_REFUSED(m, gpu_mr_write(m, m->ram, 1));
	ASSERT_EQ(0, gpu_move(&m->o, P2P_GPU_RAM));
	ASSERT_EQ(IBV_WC_SUCCESS, gpu_mr_put(m, 0, m->len));
	EXPECT_EQ(0, memcmp(m->buf, m->peer, m->len));
}

TEST_F_TIMEOUT(plain, peers_may_read, 120)
{
	self->m.flags = P2P_GPU_PEERS_READ;
	read_only(_metadata, self, "reason=grant-write err=-1");
}

TEST_F_TIMEOUT(plain, read_only_mapping, 120)
{
	self->m.prot = PROT_READ;
	read_only(_metadata, self, "reason=vma-write err=-1");
}

/* An MR for reading of memory that may be written: peers are not given more. */
TEST_F_TIMEOUT(plain, read_only_mr, 120)
{
	struct gpu_mr *m = &self->m;

	m->access = IBV_ACCESS_REMOTE_READ;
	ASSERT_EQ(0, gpu_mr_open(m));
	EXPECT_EQ(1, p2p_trace_count("p2p_map", "mmio ro"));
	EXPECT_EQ(1, p2p_trace_count("p2p_map", NULL));
	ASSERT_EQ(IBV_WC_SUCCESS, gpu_mr_read(m, 0, m->len));
	EXPECT_EQ(0, memcmp(m->buf, m->peer, m->len));
	EXPECT_REFUSED(m, gpu_mr_write(m, m->ram, 1));
}

/* The program does not know that its MR is on-demand, and need not. */
TEST_F_TIMEOUT(plain, rereg, 120)
{
	struct gpu_mr *m = &self->m;
	struct ibv_pd *pd;

	ASSERT_EQ(0, gpu_mr_open(m));
	EXPECT_WORKS(m, 0, m->len);
	ASSERT_EQ(0, rereg(m, IBV_REREG_MR_CHANGE_ACCESS, NULL,
			   IBV_ACCESS_REMOTE_READ));
	EXPECT_REFUSED(m, gpu_mr_write(m, m->ram, 1));
	ASSERT_EQ(IBV_WC_SUCCESS, gpu_mr_read(m, 0, m->len));
	EXPECT_EQ(0, memcmp(m->buf, m->peer, m->len));
	ASSERT_EQ(0, gpu_move(&m->o, P2P_GPU_VRAM));
	ASSERT_EQ(IBV_WC_SUCCESS, gpu_mr_read(m, 0, m->len));
	ASSERT_EQ(0, rereg(m, IBV_REREG_MR_CHANGE_ACCESS, NULL, P2P_RDMA_ALL));
	EXPECT_WORKS(m, 0, m->len);

	pd = ibv_alloc_pd(m->r.ctx);
	ASSERT_NE(NULL, pd);
	ASSERT_EQ(0, rereg(m, IBV_REREG_MR_CHANGE_PD, pd, 0));
	EXPECT_REFUSED(m, gpu_mr_write(m, m->ram, 1));
	EXPECT_NE(0, ibv_dealloc_pd(pd));	/* the MR is in it */
	ASSERT_EQ(0, rereg(m, IBV_REREG_MR_CHANGE_PD, m->r.pd, 0));
	EXPECT_WORKS(m, 0, m->len);
	EXPECT_EQ(0, ibv_dealloc_pd(pd));

	/* rxe cannot do this, whatever the MR */
	EXPECT_EQ(-EOPNOTSUPP, rereg(m, IBV_REREG_MR_CHANGE_TRANSLATION, NULL,
				     0));
	EXPECT_WORKS(m, 0, m->len);
	gpu_mr_dereg(m);
	EXPECT_EQ(0, gpu_wait_extents(&m->o, 0));
}

TEST_HARNESS_MAIN
