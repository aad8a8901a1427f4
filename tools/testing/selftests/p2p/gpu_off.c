// SPDX-License-Identifier: GPL-2.0
/*
 * The same on-demand MR with p2p_vma=off on the kernel command line: GPU memory
 * is as out of reach as it is on stock Linux, and the RAM beside it works.
 *
 * VM: --append p2p_vma=off
 */

#include "kselftest_harness.h"
#include "gpu_mr.h"

#include <errno.h>
#include <string.h>

FIXTURE(off)
{
	struct gpu_mr m;
};

FIXTURE_SETUP(off)
{
	self->m.ram = 2 * GPU_PAGE;
	self->m.gpu = 8 * GPU_PAGE;
	ASSERT_EQ(0, gpu_mr_open(&self->m));
	memset(self->m.buf, 0x22, self->m.len);
	memset(self->m.peer, 0x33, self->m.len);
	ASSERT_EQ(0, p2p_trace_begin());
}

FIXTURE_TEARDOWN(off)
{
	gpu_mr_close(&self->m);
}

TEST_F_TIMEOUT(off, access, 200)
{
	int (*ops[])(struct gpu_mr *m, size_t off, size_t len) = {
		gpu_mr_write, gpu_mr_read, gpu_mr_send,
		gpu_mr_put, gpu_mr_get, gpu_mr_send_from,
	};
	struct gpu_mr *m = &self->m;

	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		EXPECT_NE(IBV_WC_SUCCESS, ops[i](m, m->ram + 100, 9));
		ASSERT_EQ(0, p2p_rdma_reset(&m->r));
		EXPECT_NE(IBV_WC_SUCCESS, ops[i](m, m->ram - 1, 9));
		ASSERT_EQ(0, p2p_rdma_reset(&m->r));
	}
	for (size_t i = 0; i < m->gpu; i++)
		ASSERT_EQ(0x22, m->o.ptr[i]);
	for (size_t i = 0; i < m->len; i++)
		ASSERT_EQ(0x33, m->peer[i]);
	EXPECT_RAM_WORKS(m);
	EXPECT_EQ(0, gpu_extents(&m->o));
	EXPECT_EQ(0, p2p_trace_count("p2p_map", NULL));
	EXPECT_EQ(0, p2p_trace_count("p2p_refuse", NULL));
}

TEST_F(off, prefetch)
{
	struct gpu_mr *m = &self->m;

	EXPECT_EQ(-EFAULT, p2p_rdma_advise(&m->r, IBV_ADVISE_MR_ADVICE_PREFETCH,
					   IBV_ADVISE_MR_FLAG_FLUSH, m->mr->lkey,
					   m->iova, m->len));
	EXPECT_EQ(0, p2p_rdma_advise(&m->r, IBV_ADVISE_MR_ADVICE_PREFETCH,
				     IBV_ADVISE_MR_FLAG_FLUSH, m->mr->lkey,
				     m->iova, m->ram));
}

TEST_F(off, plain_mr)
{
	struct gpu_mr *m = &self->m;

	gpu_mr_dereg(m);
	m->access = P2P_RDMA_ALL;
	EXPECT_EQ(-EFAULT, gpu_mr_reg(m));
	EXPECT_EQ(0, p2p_trace_count("p2p_on_demand", NULL));
}

TEST_HARNESS_MAIN
