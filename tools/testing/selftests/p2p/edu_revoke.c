// SPDX-License-Identifier: GPL-2.0
/*
 * A device that goes on when its memory is taken back. Its driver did all that
 * it should, but the device uses the old address once more (debugfs "again"):
 * behind an IOMMU that must not reach the memory, which has a new owner. If a
 * lazily flushed mapping were ended by dma_unmap_phys(), it could for up to
 * 10 ms. The tests "late" hit that time: the device is started in advance.
 *
 * VM: --topo default --cpu EPYC --iommu lazy --expect-splat DMAR:.*fault
 * VM: --topo default --cpu EPYC --iommu strict --expect-splat DMAR:.*fault
 * VM: --topo switch --cpu EPYC --iommu lazy --expect-splat DMAR:.*fault
 * TIMEOUT: 400
 */

#include "kselftest_harness.h"
#include "edu.h"
#include "gpu_mr.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

FIXTURE(revoke)
{
	struct edu_mem m;
	struct p2p_gpu_info info;	/* where the object was */
	unsigned char was[4 * EDU_PAGE], now[4 * EDU_PAGE];
};

FIXTURE_SETUP(revoke)
{
	struct edu_mem *m = &self->m;

	srandom(7);
	m->ram = EDU_PAGE;
	m->gpu = 4 * EDU_PAGE;
	ASSERT_EQ(0, edu_mem_open(m));
	fill_random(self->was, m->gpu);
	memcpy(m->o.ptr, self->was, m->gpu);
	ASSERT_EQ(0, gpu_info(&m->o, &self->info));
	/* The engine wrote the place, so the IOMMU knows the address. */
	fill_random(self->was + EDU_PAGE, 700);
	ASSERT_EQ(0, edu_write(m->fd, m->dev + m->ram + EDU_PAGE,
			       self->was + EDU_PAGE, 700));
	ASSERT_EQ(0, edu_vram(self->info.vram, self->now, m->gpu));
	ASSERT_EQ(0, memcmp(self->now, self->was, m->gpu));
	ASSERT_EQ(1, edu_dma_live("mappings"));
}

FIXTURE_TEARDOWN(revoke)
{
	edu_mem_close(&self->m);
	EXPECT_EQ(0, edu_dma_live("mappings"));
}

/* Once more, and wait for the end: the next access does. */
static int again(struct edu_mem *m)
{
	unsigned char c;
	uint64_t dev;
	int err = edu_again();

	if (!err)
		err = edu_reg(m->fd, m->buf, EDU_PAGE, 0, &dev);
	if (!err)
		err = edu_read(m->fd, dev, &c, 1);
	return err ? err : edu_unreg(m->fd, dev);
}

/*
 * The memory is not the object's any more. Give it to somebody else, let the
 * device write to the old address, and look whether anything changed.
 */
static void goes_on(struct __test_metadata *_metadata, struct edu_mem *m,
		    uint64_t vram)
{
	unsigned char now[4 * EDU_PAGE];
	struct p2p_gpu_info info;
	struct gpu_obj next;

	EXPECT_EQ(0, edu_dma_live("mappings"));
	EXPECT_EQ(0, edu_dma_live("iova bytes"));
	ASSERT_EQ(0, gpu_alloc(&next, m->o.fd, m->gpu, 0));
	ASSERT_EQ(0, gpu_map(&next, NULL, EDU_RW));
	ASSERT_EQ(0, gpu_info(&next, &info));
	ASSERT_EQ(vram, info.vram);
	memset(next.ptr, 0, m->gpu);

	ASSERT_EQ(0, again(m));
	ASSERT_EQ(sizeof(now), m->gpu);
	ASSERT_EQ(0, edu_vram(vram, now, m->gpu));
	for (size_t i = 0; i < m->gpu; i++)
		ASSERT_EQ(0, now[i]);
	munmap(next.ptr, m->gpu);
}

/* With nothing taken back the same address does work: the aid is not broken. */
TEST_F_TIMEOUT(revoke, not_revoked, 60)
{
	struct edu_mem *m = &self->m;

	memset(m->o.ptr, 0, m->gpu);
	ASSERT_EQ(0, again(m));
	ASSERT_EQ(0, edu_vram(self->info.vram, self->now, m->gpu));
	EXPECT_EQ(0, memcmp(self->now + EDU_PAGE, self->was + EDU_PAGE, 700));
}

TEST_F_TIMEOUT(revoke, evicted, 60)
{
	ASSERT_EQ(0, gpu_move(&self->m.o, P2P_GPU_RAM));
	goes_on(_metadata, &self->m, self->info.vram);
	EXPECT_EQ(0, memcmp(self->m.o.ptr, self->was, self->m.gpu));
}

TEST_F_TIMEOUT(revoke, freed, 60)
{
	ASSERT_EQ(0, gpu_free(&self->m.o));
	goes_on(_metadata, &self->m, self->info.vram);
}

TEST_F_TIMEOUT(revoke, unmapped, 60)
{
	ASSERT_EQ(0, munmap(self->m.o.ptr, self->m.gpu));
	ASSERT_EQ(0, gpu_wait_extents(&self->m.o, 0));
	ASSERT_EQ(0, gpu_free(&self->m.o));
	goes_on(_metadata, &self->m, self->info.vram);
}

TEST_F_TIMEOUT(revoke, unregistered, 60)
{
	ASSERT_EQ(0, edu_unreg(self->m.fd, self->m.dev));
	ASSERT_EQ(0, gpu_free(&self->m.o));
	goes_on(_metadata, &self->m, self->info.vram);
}

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000ULL + t.tv_nsec / 1000;
}

/* Ways to take memory back; the place in VRAM is free afterwards. */
static int by_free(struct edu_mem *m)
{
	return gpu_free(&m->o);
}

static int by_move(struct edu_mem *m)
{
	return gpu_move(&m->o, P2P_GPU_RAM);
}

static int by_munmap(struct edu_mem *m)
{
	return munmap(m->o.ptr, m->o.size) ? -errno : gpu_free(&m->o);
}

static int by_unreg(struct edu_mem *m)
{
	int err = edu_unreg(m->fd, m->dev);

	return err ? err : gpu_free(&m->o);
}

/*
 * Send the device to the object, where it arrives after 0.1 s. Take the memory
 * back @us after the start, and give it to another object at once. Return how
 * many bytes of that one changed.
 */
static int late(struct __test_metadata *_metadata,
		int (*revoke)(struct edu_mem *m), unsigned int us)
{
	struct edu_mem m = { .ram = EDU_PAGE, .gpu = EDU_PAGE };
	unsigned char data[EDU_PAGE];
	struct p2p_gpu_info info;
	struct gpu_obj next;
	int changed = 0;
	uint64_t vram, start;

	ASSERT_EQ(0, edu_mem_open(&m));
	ASSERT_EQ(0, gpu_info(&m.o, &info));
	vram = info.vram;
	memset(data, 0x5a, sizeof(data));
	ASSERT_EQ(0, edu_write(m.fd, m.dev + m.ram, data, 100));

	start = now_us();
	ASSERT_EQ(0, edu_again());
	while (now_us() < start + us)
		;
	ASSERT_EQ(0, revoke(&m));
	/* Its memory is zero when this returns. */
	ASSERT_EQ(0, gpu_alloc(&next, m.o.fd, EDU_PAGE, 0));
	usleep(250000);
	ASSERT_EQ(0, gpu_info(&next, &info));
	ASSERT_EQ(vram, info.vram);
	ASSERT_EQ(0, edu_vram(vram, data, EDU_PAGE));
	for (size_t i = 0; i < EDU_PAGE; i++)
		changed += data[i] != 0;
	edu_mem_close(&m);
	return changed;
}

FIXTURE(late)
{
};

FIXTURE_VARIANT(late)
{
	int (*revoke)(struct edu_mem *m);
};

FIXTURE_VARIANT_ADD(late, freed) { .revoke = by_free };
FIXTURE_VARIANT_ADD(late, moved) { .revoke = by_move };
FIXTURE_VARIANT_ADD(late, unmapped) { .revoke = by_munmap };
FIXTURE_VARIANT_ADD(late, unregistered) { .revoke = by_unreg };

FIXTURE_SETUP(late)
{
}

FIXTURE_TEARDOWN(late)
{
	EXPECT_EQ(0, edu_dma_live("mappings"));
}

TEST_F_TIMEOUT(late, sweep, 200)
{
	int hits = 0;

	for (unsigned int us = 82000; us <= 102000; us += 1000) {
		int n = late(_metadata, variant->revoke, us);

		if (n)
			TH_LOG("revoked %u us after the start: %d bytes changed",
			       us, n);
		hits += n != 0;
	}
	EXPECT_EQ(0, hits);
}

TEST_HARNESS_MAIN
