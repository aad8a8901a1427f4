// SPDX-License-Identifier: GPL-2.0
/*
 * Where the topology or the DMA mask forbids peer-to-peer DMA: the errno and the
 * reason as documented, nothing mapped, no warning, and RAM goes on working.
 * "edu_expect" says which refusal it is:
 *
 *	topology	EREMOTEIO: no path that the kernel trusts
 *	mask		ERANGE: without an IOMMU a device that drives 32 address
 *			bits cannot reach a BAR above 4 GiB
 *	reach		the same device, behind an IOMMU: it can
 *
 * VM: --topo default --append edu_expect=topology
 * VM: --topo pxb --append edu_expect=topology
 * VM: --topo default --iommu strict --append edu_expect=topology
 * VM: --topo switch --iommu lazy --append edu_expect=topology
 * VM: --topo default --cpu max,la57=off,hypervisor=off --append edu_expect=topology
 * VM: --topo switch --vram 4G --append edu_expect=mask
 * VM: --topo default --cpu EPYC --vram 4G --append edu_expect=mask
 * VM: --topo default --cpu EPYC --vram 4G --iommu lazy --append edu_expect=reach
 * TIMEOUT: 200
 */

#include "kselftest_harness.h"
#include "edu.h"
#include "gpu_mr.h"

#include <errno.h>
#include <string.h>

FIXTURE(refuse)
{
	struct edu_mem m;
	bool topology, reach;
	int err;
	const char *text;
};

FIXTURE_SETUP(refuse)
{
	struct edu_mem *m = &self->m;

	self->topology = !strcmp(edu_expected(), "topology");
	self->reach = !strcmp(edu_expected(), "reach");
	self->err = self->topology ? -EREMOTEIO : -ERANGE;
	self->text = self->topology ? "reason=topology err=-121" :
				      "reason=dma-mask err=-34";
	ASSERT_EQ(0, edu_rebind(self->topology ? 64 : 32));
	m->ram = EDU_PAGE;
	m->gpu = 2 * EDU_PAGE;
	ASSERT_EQ(0, edu_mem_open(m));
	ASSERT_EQ(0, p2p_trace_begin());
}

FIXTURE_TEARDOWN(refuse)
{
	edu_mem_close(&self->m);
	EXPECT_EQ(0, edu_dma_live("mappings"));
	EXPECT_EQ(0, edu_rebind(64));
}

TEST_F_TIMEOUT(refuse, access, 90)
{
	struct edu_mem *m = &self->m;
	unsigned char out[300], in[300];

	fill_random(out, sizeof(out));
	memset(m->buf, 0x11, m->len);
	if (self->reach) {
		ASSERT_EQ(0, edu_write(m->fd, m->dev + m->ram, out, 300));
		EXPECT_EQ(0, memcmp(m->buf + m->ram, out, 300));
		ASSERT_EQ(0, edu_read(m->fd, m->dev + m->ram, in, 300));
		EXPECT_EQ(0, memcmp(in, out, 300));
		EXPECT_GT(1ULL << 32, edu_last_dma() + 300);
		EXPECT_EQ(1, edu_dma_live("iova"));
		EXPECT_EQ(0, p2p_trace_count("p2p_refuse", NULL));
		return;
	}

	/* Both directions, and again: nothing depends on the first answer. */
	for (int i = 0; i < 2; i++) {
		EXPECT_EQ(self->err, edu_write(m->fd, m->dev + m->ram, out, 9));
		EXPECT_EQ(self->err, edu_read(m->fd, m->dev + m->ram, in, 9));
	}
	EXPECT_EQ(4, p2p_trace_count("p2p_refuse", self->text));
	EXPECT_EQ(0, p2p_trace_count("p2p_map", NULL));
	EXPECT_EQ(0, gpu_wait_extents(&m->o, 0));
	EXPECT_EQ(0, edu_dma_live("mappings"));
	for (size_t i = 0; i < m->gpu; i++)
		ASSERT_EQ(0x11, m->buf[m->ram + i]);
}

/* The rest of the range is usable, up to the border. */
TEST_F_TIMEOUT(refuse, ram_beside, 90)
{
	struct edu_mem *m = &self->m;
	unsigned char out[300], in[300];

	fill_random(out, sizeof(out));
	ASSERT_EQ(0, edu_write(m->fd, m->dev + m->ram - 300, out, 300));
	EXPECT_EQ(0, memcmp(m->buf + m->ram - 300, out, 300));
	ASSERT_EQ(0, edu_copy(m->fd, m->dev + m->ram - 300,
			      m->dev + m->len - 300, 300));
	ASSERT_EQ(0, edu_read(m->fd, m->dev + m->len - 300, in, 300));
	EXPECT_EQ(0, memcmp(in, out, 300));
	if (!self->reach)
		EXPECT_EQ(self->err, edu_write(m->fd, m->dev + m->ram - 100,
					       out, 200));
}

/* Evicted, it is RAM, which this device reaches. */
TEST_F_TIMEOUT(refuse, evicted, 90)
{
	struct edu_mem *m = &self->m;
	unsigned char out[300], in[300];

	fill_random(out, sizeof(out));
	ASSERT_EQ(0, gpu_move(&m->o, P2P_GPU_RAM));
	ASSERT_EQ(0, edu_write(m->fd, m->dev + m->ram + 5, out, 300));
	EXPECT_EQ(0, memcmp(m->buf + m->ram + 5, out, 300));
	ASSERT_EQ(0, gpu_move(&m->o, P2P_GPU_VRAM));
	if (!self->reach)
		EXPECT_EQ(self->err, edu_read(m->fd, m->dev + m->ram, in, 9));
	EXPECT_EQ(0, memcmp(m->buf + m->ram + 5, out, 300));
}

TEST_HARNESS_MAIN
