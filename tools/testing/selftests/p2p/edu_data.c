// SPDX-License-Identifier: GPL-2.0
/*
 * A device that masters the bus reads and writes RAM and a GPU object through
 * user addresses, on every topology where it may. What it wrote is looked for
 * where the host has the GPU's memory, and "edu_expect" says by which kind of
 * address it must have come there:
 *
 *	bus	a bus address: the transfer stays below a switch
 *	bridge	a physical address, through the host bridge
 *	iova	through the host bridge, translated by an IOMMU
 *
 * VM: --topo switch --append edu_expect=bus
 * VM: --topo default --cpu EPYC --append edu_expect=bridge
 * VM: --topo default --append pci_p2p.policy=allow=0000:00 --append edu_expect=bridge
 * VM: --topo mf --append edu_expect=bus
 * VM: --topo pci --cpu EPYC --append edu_expect=bridge
 * VM: --topo pxb --cpu EPYC --append edu_expect=bridge
 * VM: --topo default --cpu EPYC --iommu strict --append edu_expect=iova
 * VM: --topo default --cpu EPYC --iommu lazy --append edu_expect=iova
 * VM: --topo pxb --cpu EPYC --iommu lazy --append edu_expect=iova
 * VM: --topo switch --cpu EPYC --iommu strict --append edu_expect=iova
 * VM: --topo switch --cpu EPYC --iommu lazy --append edu_expect=iova
 * VM: --topo switch --cpu EPYC,hypervisor=off --append edu_expect=bus
 * TIMEOUT: 300
 */

#include "kselftest_harness.h"
#include "edu.h"
#include "gpu_mr.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

FIXTURE(data)
{
	struct edu_mem m;
	unsigned char *want;	/* what m.buf should hold */
	unsigned char *got;
	const char *expect;
};

FIXTURE_SETUP(data)
{
	struct edu_mem *m = &self->m;

	srandom(3);
	self->expect = edu_expected();
	m->ram = 2 * EDU_PAGE;
	m->gpu = 4 * EDU_PAGE;
	ASSERT_EQ(0, edu_mem_open(m));
	self->want = malloc(m->len);
	self->got = malloc(m->len);
	ASSERT_NE(NULL, self->want);
	ASSERT_NE(NULL, self->got);
	fill_random(self->want, m->len);
	memcpy(m->buf, self->want, m->len);
}

FIXTURE_TEARDOWN(data)
{
	edu_mem_close(&self->m);
	free(self->want);
	free(self->got);
	EXPECT_EQ(0, edu_dma_live("mappings"));
}

static bool iommu(const char *expect)
{
	return !strcmp(expect, "iova");
}

/* Into the object, out of it, and across both borders with RAM. */
TEST_F_TIMEOUT(data, write_read, 120)
{
	struct edu_mem *m = &self->m;
	const struct { size_t off, len; } at[] = {
		{ m->ram, EDU_PAGE },
		{ m->ram - 1001, 2002 },
		{ m->ram + m->gpu - 77, 3000 },
		{ m->ram + EDU_PAGE + 2047, 2 },
		{ 5, 1 },
	};
	struct p2p_gpu_info info;

	for (size_t i = 0; i < ARRAY_SIZE(at); i++) {
		fill_random(self->want + at[i].off, at[i].len);
		ASSERT_EQ(0, edu_write(m->fd, m->dev + at[i].off,
				       self->want + at[i].off, at[i].len));
		ASSERT_EQ(0, memcmp(m->buf, self->want, m->len));
	}
	for (size_t i = 0; i < ARRAY_SIZE(at); i++) {
		ASSERT_EQ(0, edu_read(m->fd, m->dev + at[i].off, self->got,
				      at[i].len));
		ASSERT_EQ(0, memcmp(self->got, self->want + at[i].off,
				    at[i].len));
	}

	ASSERT_EQ(0, gpu_info(&m->o, &info));
	ASSERT_EQ(0, edu_vram(info.vram, self->got, m->gpu));
	EXPECT_EQ(0, memcmp(self->got, self->want + m->ram, m->gpu));
}

TEST_F_TIMEOUT(data, copy, 120)
{
	struct edu_mem *m = &self->m;
	const struct { size_t from, to, len; } at[] = {
		{ 100, m->ram + 200, 3000 },			/* RAM to GPU */
		{ m->ram + 201, m->ram + m->gpu + 3, 3000 },	/* GPU to RAM */
		{ m->ram, m->ram + 2 * EDU_PAGE, 2500 },	/* GPU to GPU */
	};

	for (size_t i = 0; i < ARRAY_SIZE(at); i++) {
		memcpy(self->want + at[i].to, self->want + at[i].from,
		       at[i].len);
		ASSERT_EQ(0, edu_copy(m->fd, m->dev + at[i].from,
				      m->dev + at[i].to, at[i].len));
		ASSERT_EQ(0, memcmp(m->buf, self->want, m->len));
	}
}

/* By what address the object is reached, and what that costs. */
TEST_F_TIMEOUT(data, path, 60)
{
	struct p2p_edu_counters before, c;
	struct edu_mem *m = &self->m;
	struct p2p_gpu_info info;
	char text[64];
	uint64_t dma;

	ASSERT_EQ(0, edu_counters(m->fd, &before));
	ASSERT_EQ(0, p2p_trace_begin());
	for (size_t off = 0; off < m->gpu; off += EDU_PAGE)
		ASSERT_EQ(0, edu_write(m->fd, m->dev + m->ram + off,
				       self->want, 100));
	dma = edu_last_dma() - (m->gpu - EDU_PAGE);
	ASSERT_EQ(0, edu_counters(m->fd, &c));
	EXPECT_EQ(strcmp(self->expect, "bus") ? 0 : 400, c.bus - before.bus);
	EXPECT_EQ(strcmp(self->expect, "bus") ? 400 : 0,
		  c.bridge - before.bridge);
	EXPECT_EQ(0, c.ram - before.ram);

	/* One extent for the whole object, whatever is touched. */
	EXPECT_EQ(1, gpu_extents(&m->o));
	EXPECT_EQ(1, p2p_trace_count("p2p_map", "mmio rw"));
	EXPECT_EQ(1, edu_dma_live("mappings"));
	EXPECT_EQ(1, edu_dma_live(self->expect));
	EXPECT_EQ(iommu(self->expect) ? (long)m->gpu : 0,
		  edu_dma_live("iova bytes"));

	/* The extent's address is physical, or it is an IOVA. */
	ASSERT_EQ(0, gpu_info(&m->o, &info));
	snprintf(text, sizeof(text), "phys=%#llx", (unsigned long long)dma);
	EXPECT_EQ(iommu(self->expect) ? 0 : 1, p2p_trace_count("p2p_map", text));
	snprintf(text, sizeof(text), "dma=%#llx", (unsigned long long)dma);
	EXPECT_EQ(1, p2p_trace_count("p2p_map", text));

	ASSERT_EQ(0, edu_write(m->fd, m->dev, self->want, 100));
	ASSERT_EQ(0, edu_counters(m->fd, &c));
	EXPECT_EQ(100, c.ram - before.ram);
}

/* Evicted: RAM again, whatever the topology says of the device. */
TEST_F_TIMEOUT(data, evicted, 120)
{
	struct p2p_edu_counters before, c;
	struct edu_mem *m = &self->m;
	struct p2p_gpu_info info;
	size_t off = m->ram + EDU_PAGE - 100;

	ASSERT_EQ(0, gpu_info(&m->o, &info));
	fill_random(self->want + off, 200);
	ASSERT_EQ(0, edu_write(m->fd, m->dev + off, self->want + off, 200));
	ASSERT_EQ(0, edu_vram(info.vram, self->got, m->gpu));
	EXPECT_EQ(0, memcmp(self->got, self->want + m->ram, m->gpu));

	ASSERT_EQ(0, gpu_move(&m->o, P2P_GPU_RAM));
	ASSERT_EQ(0, edu_counters(m->fd, &before));
	fill_random(self->want + off, 200);
	ASSERT_EQ(0, edu_write(m->fd, m->dev + off, self->want + off, 200));
	EXPECT_EQ(0, memcmp(m->buf, self->want, m->len));
	EXPECT_LE(1, edu_dma_live(iommu(self->expect) ? "ram iova" : "ram"));
	ASSERT_EQ(0, edu_counters(m->fd, &c));
	EXPECT_EQ(200, c.ram - before.ram);
	EXPECT_EQ(0, c.bus - before.bus + c.bridge - before.bridge);
	/* Nothing came to where the object was. */
	ASSERT_EQ(0, edu_vram(info.vram, self->got, m->gpu));
	EXPECT_NE(0, memcmp(self->got, self->want + m->ram, m->gpu));

	ASSERT_EQ(0, gpu_move(&m->o, P2P_GPU_VRAM));
	ASSERT_EQ(0, edu_read(m->fd, m->dev + off, self->got, 200));
	EXPECT_EQ(0, memcmp(self->got, self->want + off, 200));
	fill_random(self->want + off, 200);
	ASSERT_EQ(0, edu_write(m->fd, m->dev + off, self->want + off, 200));
	ASSERT_EQ(0, gpu_info(&m->o, &info));
	ASSERT_EQ(0, edu_vram(info.vram, self->got, m->gpu));
	EXPECT_EQ(0, memcmp(self->got, self->want + m->ram, m->gpu));
}

/* Ranges over the same memory have mappings of their own. */
TEST_F_TIMEOUT(data, many_ranges, 60)
{
	enum { RANGES = 10 };
	struct edu_mem *m = &self->m;
	uint64_t dev[RANGES];

	for (int i = 0; i < RANGES; i++) {
		ASSERT_EQ(0, edu_reg(m->fd, m->buf + m->ram, m->gpu, 0,
				     &dev[i]));
		ASSERT_EQ(0, edu_write(m->fd, dev[i] + i, &self->want[m->ram],
				       1));
		self->want[m->ram + i] = self->want[m->ram];
	}
	EXPECT_EQ(0, memcmp(m->buf, self->want, m->len));
	EXPECT_EQ(RANGES, gpu_extents(&m->o));
	EXPECT_EQ(RANGES, edu_dma_live("mappings"));
	for (int i = 1; i < RANGES; i++)
		ASSERT_EQ(0, edu_unreg(m->fd, dev[i]));
	EXPECT_EQ(0, gpu_wait_extents(&m->o, 1));
	EXPECT_EQ(1, edu_dma_live("mappings"));
	ASSERT_EQ(0, edu_read(m->fd, dev[0], self->got, 10));
	EXPECT_EQ(0, memcmp(self->got, self->want + m->ram, 10));
}

/* An IOVA is congruent to the physical address, so that large pages fit. */
TEST(congruent)
{
	struct edu_mem small = { .gpu = 3 * EDU_PAGE };
	struct edu_mem m = { .gpu = 5UL << 20 };
	const uint64_t mask = (2UL << 20) - 1;
	struct p2p_gpu_info info;
	uint64_t off = m.gpu - EDU_PAGE, dma;

	ASSERT_EQ(0, edu_mem_open(&small));
	ASSERT_EQ(0, edu_mem_open(&m));
	ASSERT_EQ(0, gpu_info(&m.o, &info));
	ASSERT_NE(0, info.vram & mask);
	ASSERT_EQ(0, edu_write(m.fd, m.dev + off, "congruent", 9));
	EXPECT_EQ(0, memcmp(m.o.ptr + off, "congruent", 9));
	dma = edu_last_dma() - off;
	EXPECT_EQ(info.vram & mask, dma & mask);
	if (iommu(edu_expected()))
		EXPECT_EQ(m.gpu, edu_dma_live("iova bytes"));
	edu_mem_close(&m);
	edu_mem_close(&small);
	EXPECT_EQ(0, edu_dma_live("mappings"));
}

TEST_HARNESS_MAIN
