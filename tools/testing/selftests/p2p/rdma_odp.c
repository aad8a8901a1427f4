// SPDX-License-Identifier: GPL-2.0
/*
 * On-demand paging of the software RDMA device (rxe), on ordinary memory.
 *
 * One MR in the middle of an anonymous mapping, registered on demand at an iova
 * that is its address or something else, and one plain MR to compare with.
 *
 * TIMEOUT: 400
 */

#include "kselftest_harness.h"
#include "p2p_rdma.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGES	16
#define GUARD	2	/* pages before and behind the MR */
#define OPS	400
#define ODP	(P2P_RDMA_ALL | IBV_ACCESS_ON_DEMAND)

#define ADVISE_RO	IBV_ADVISE_MR_ADVICE_PREFETCH
#define ADVISE_RW	IBV_ADVISE_MR_ADVICE_PREFETCH_WRITE
#define ADVISE_SNAP	IBV_ADVISE_MR_ADVICE_PREFETCH_NO_FAULT
#define ADVISE_SYNC	IBV_ADVISE_MR_FLAG_FLUSH

FIXTURE(odp)
{
	struct p2p_rdma r;
	size_t page;
	size_t len;		/* of both buffers */
	size_t area_len;
	unsigned char *area;	/* the mapping around buf */
	unsigned char *buf;	/* on demand */
	struct ibv_mr *mr;
	uint64_t iova;
	unsigned char *ram;	/* plain */
	struct ibv_mr *ram_mr;
	uint64_t ram_iova;
};

FIXTURE_VARIANT(odp)
{
	bool own;		/* the iova is the address */
	uint64_t iova;		/* of the page in which the MR begins */
	size_t skew;		/* where in that page */
};

FIXTURE_VARIANT_ADD(odp, va)
{
	.own = true, .skew = 104,
};

FIXTURE_VARIANT_ADD(odp, iova_zero)
{
	.iova = 0, .skew = 0,
};

FIXTURE_VARIANT_ADD(odp, iova_low)
{
	.iova = 0x10000, .skew = 2048,
};

FIXTURE_VARIANT_ADD(odp, iova_high)
{
	.iova = 0xfffffffffff00000, .skew = 104,
};

FIXTURE_SETUP(odp)
{
	int err = p2p_rdma_open(&self->r, NULL);

	if (err == -ENODEV)
		SKIP(return, "no RDMA device");
	ASSERT_EQ(0, err);
	if (!self->r.odp)
		SKIP(return, "the RDMA device has no on-demand paging");

	self->page = sysconf(_SC_PAGESIZE);
	self->len = PAGES * self->page - 2 * variant->skew;

	self->area_len = (PAGES + 2 * GUARD) * self->page;
	self->area = mmap(NULL, self->area_len, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->area);
	self->buf = self->area + GUARD * self->page + variant->skew;
	self->iova = variant->own ? (uintptr_t)self->buf :
				    variant->iova + variant->skew;
	self->mr = p2p_rdma_reg(&self->r, self->buf, self->len, self->iova, ODP);
	ASSERT_NE(NULL, self->mr);

	self->ram = mmap(NULL, self->len, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->ram);
	self->ram_iova = (uintptr_t)self->ram;
	self->ram_mr = p2p_rdma_reg(&self->r, self->ram, self->len,
				    self->ram_iova, P2P_RDMA_ALL);
	ASSERT_NE(NULL, self->ram_mr);
}

FIXTURE_TEARDOWN(odp)
{
	if (self->ram_mr)
		ibv_dereg_mr(self->ram_mr);
	if (self->mr)
		ibv_dereg_mr(self->mr);
	p2p_rdma_close(&self->r);
}

/* The MR as its peer sees it. */
static int odp_write(FIXTURE_DATA(odp) * const self, size_t off, size_t len)
{
	return p2p_rdma_write(&self->r, self->ram_iova, self->ram_mr->lkey,
			      self->iova + off, self->mr->rkey, len);
}

static int odp_read(FIXTURE_DATA(odp) * const self, size_t off, size_t len)
{
	return p2p_rdma_read(&self->r, self->ram_iova, self->ram_mr->lkey,
			     self->iova + off, self->mr->rkey, len);
}

static void fill(unsigned char *p, size_t len)
{
	while (len--)
		*p++ = random();
}

/*
 * Any operation, in any direction, at any offset and length; the two buffers are
 * compared as a whole with what they should hold after each.
 */
TEST_F_TIMEOUT(odp, random_ops, 300)
{
	static const char * const names[] = {
		"write to ODP", "read from ODP", "send to ODP",
		"write from ODP", "read to ODP", "send from ODP",
	};
	unsigned char *want_buf = malloc(self->len);
	unsigned char *want_ram = malloc(self->len);
	int i, bad = 0;

	ASSERT_NE(NULL, want_buf);
	ASSERT_NE(NULL, want_ram);
	srandom(7);
	fill(self->ram, self->len);
	memcpy(want_ram, self->ram, self->len);
	memset(want_buf, 0, self->len);

	for (i = 0; i < OPS; i++) {
		unsigned int kind = random() % ARRAY_SIZE(names);
		size_t len = 1 + random() % (random() % 2 ? 64 : 3 * self->page);
		size_t boff = random() % (self->len - len + 1);
		size_t roff = random() % (self->len - len + 1);
		uint64_t b = self->iova + boff, r = self->ram_iova + roff;
		uint32_t bkey = self->mr->lkey, rkey = self->ram_mr->lkey;
		int status = -1;

		/* Now and then some pages of the ODP buffer go away. */
		if (random() % 8 == 0) {
			size_t p = GUARD + 1 + random() % (PAGES - 2);
			size_t at = p * self->page - (self->buf - self->area);

			ASSERT_EQ(0, madvise(self->area + p * self->page,
					     self->page, MADV_DONTNEED));
			memset(want_buf + at, 0, self->page);
		}

		switch (kind) {
		case 0:
			status = p2p_rdma_write(&self->r, r, rkey, b, bkey, len);
			memcpy(want_buf + boff, want_ram + roff, len);
			break;
		case 1:
			status = p2p_rdma_read(&self->r, r, rkey, b, bkey, len);
			memcpy(want_ram + roff, want_buf + boff, len);
			break;
		case 2:
			status = p2p_rdma_send(&self->r, r, rkey, b, bkey, len);
			memcpy(want_buf + boff, want_ram + roff, len);
			break;
		case 3:
			status = p2p_rdma_write(&self->r, b, bkey, r, rkey, len);
			memcpy(want_ram + roff, want_buf + boff, len);
			break;
		case 4:
			status = p2p_rdma_read(&self->r, b, bkey, r, rkey, len);
			memcpy(want_buf + boff, want_ram + roff, len);
			break;
		case 5:
			status = p2p_rdma_send(&self->r, b, bkey, r, rkey, len);
			memcpy(want_ram + roff, want_buf + boff, len);
			break;
		}
		ASSERT_EQ(IBV_WC_SUCCESS, status) {
			TH_LOG("operation %d: %s", i, names[kind]);
		}

		if (!memcmp(self->buf, want_buf, self->len) &&
		    !memcmp(self->ram, want_ram, self->len))
			continue;
		if (!bad++)
			TH_LOG("operation %d: %s, %zu bytes, offset %zu: wrong data",
			       i, names[kind], len, boff);
		memcpy(self->buf, want_buf, self->len);
		memcpy(self->ram, want_ram, self->len);
	}
	EXPECT_EQ(0, bad) {
		TH_LOG("%d of %d operations moved wrong data", bad, OPS);
	}
	free(want_buf);
	free(want_ram);
}

/* The first and the last byte, and not one more. */
TEST_F_TIMEOUT(odp, edges, 120)
{
	size_t last = self->len - 1;

	memset(self->area, 0x11, self->area_len);
	memset(self->ram, 0xa5, self->len);

	ASSERT_EQ(IBV_WC_SUCCESS, odp_write(self, 0, 1));
	EXPECT_EQ(0xa5, self->buf[0]);
	EXPECT_EQ(0x11, self->buf[1]);
	EXPECT_EQ(0x11, self->buf[-1]);

	ASSERT_EQ(IBV_WC_SUCCESS, odp_write(self, last, 1));
	EXPECT_EQ(0xa5, self->buf[last]);
	EXPECT_EQ(0x11, self->buf[last - 1]);
	EXPECT_EQ(0x11, self->buf[last + 1]);

	self->buf[0] = 0x22;
	self->buf[last] = 0x33;
	ASSERT_EQ(IBV_WC_SUCCESS, odp_read(self, 0, 1));
	EXPECT_EQ(0x22, self->ram[0]);
	ASSERT_EQ(IBV_WC_SUCCESS, odp_read(self, last, 1));
	EXPECT_EQ(0x33, self->ram[0]);

	ASSERT_EQ(IBV_WC_SUCCESS, odp_write(self, 0, self->len));
	EXPECT_EQ(0, memcmp(self->buf, self->ram, self->len));

	/* Each of these is refused and changes nothing. */
	memset(self->area, 0x11, self->area_len);
	EXPECT_EQ(IBV_WC_REM_ACCESS_ERR, odp_write(self, -1, 1));
	ASSERT_EQ(0, p2p_rdma_reset(&self->r));
	EXPECT_EQ(IBV_WC_REM_ACCESS_ERR, odp_write(self, -1, 2));
	ASSERT_EQ(0, p2p_rdma_reset(&self->r));
	EXPECT_EQ(IBV_WC_REM_ACCESS_ERR, odp_write(self, self->len, 1));
	ASSERT_EQ(0, p2p_rdma_reset(&self->r));
	EXPECT_EQ(IBV_WC_REM_ACCESS_ERR, odp_write(self, last, 2));
	ASSERT_EQ(0, p2p_rdma_reset(&self->r));
	EXPECT_EQ(IBV_WC_REM_ACCESS_ERR, odp_read(self, self->len, 1));
	ASSERT_EQ(0, p2p_rdma_reset(&self->r));
	/* The address of the buffer, where that is not its iova. */
	if (!variant->own) {
		EXPECT_EQ(IBV_WC_REM_ACCESS_ERR,
			  odp_write(self, (uintptr_t)self->buf - self->iova, 1));
		ASSERT_EQ(0, p2p_rdma_reset(&self->r));
	}
	for (size_t i = 0; i < self->area_len; i++)
		ASSERT_EQ(0x11, self->area[i]);

	ASSERT_EQ(IBV_WC_SUCCESS, odp_write(self, 0, self->len));
}

TEST_F_TIMEOUT(odp, atomics, 120)
{
	uint64_t *word, *old = (uint64_t *)self->ram;
	size_t off[] = { 0, 3 * self->page + 8, self->len - 8 };
	struct p2p_rdma_op op = {
		.laddr = self->ram_iova,
		.lkey = self->ram_mr->lkey,
		.len = 8,
		.rkey = self->mr->rkey,
	};

	for (size_t i = 0; i < ARRAY_SIZE(off); i++) {
		word = (uint64_t *)(self->buf + off[i]);
		*word = 1000 + i;
		op.raddr = self->iova + off[i];

		op.opcode = IBV_WR_ATOMIC_FETCH_AND_ADD;
		op.compare_add = 5;
		ASSERT_EQ(IBV_WC_SUCCESS, p2p_rdma_run(&self->r, &op));
		EXPECT_EQ(1000 + i, *old);
		EXPECT_EQ(1005 + i, *word);

		op.opcode = IBV_WR_ATOMIC_CMP_AND_SWP;
		op.compare_add = 1005 + i;
		op.swap = 0x0123456789abcdef;
		ASSERT_EQ(IBV_WC_SUCCESS, p2p_rdma_run(&self->r, &op));
		EXPECT_EQ(1005 + i, *old);
		EXPECT_EQ(0x0123456789abcdef, *word);

		/* compares unequal: no change */
		op.swap = 1;
		ASSERT_EQ(IBV_WC_SUCCESS, p2p_rdma_run(&self->r, &op));
		EXPECT_EQ(0x0123456789abcdef, *old);
		EXPECT_EQ(0x0123456789abcdef, *word);
	}

	/* The old value goes to an on-demand MR. */
	op.opcode = IBV_WR_ATOMIC_FETCH_AND_ADD;
	op.laddr = self->iova + self->page + 16;
	op.lkey = self->mr->lkey;
	op.raddr = self->iova + 2 * self->page;
	word = (uint64_t *)(self->buf + 2 * self->page);
	*word = 41;
	op.compare_add = 1;
	ASSERT_EQ(IBV_WC_SUCCESS, p2p_rdma_run(&self->r, &op));
	EXPECT_EQ(42, *word);
	EXPECT_EQ(41, *(uint64_t *)(self->buf + self->page + 16));

	op.raddr = self->iova + self->len;
	EXPECT_EQ(IBV_WC_REM_ACCESS_ERR, p2p_rdma_run(&self->r, &op));
	ASSERT_EQ(0, p2p_rdma_reset(&self->r));
	op.raddr = self->iova - 8;
	EXPECT_EQ(IBV_WC_REM_ACCESS_ERR, p2p_rdma_run(&self->r, &op));
	ASSERT_EQ(0, p2p_rdma_reset(&self->r));

	ASSERT_EQ(IBV_WC_SUCCESS, odp_write(self, 0, self->len));
}

TEST_F_TIMEOUT(odp, atomic_write, 120)
{
	size_t off[] = { 0, 3 * self->page + 8, self->len - 8 };
	struct p2p_rdma_op op = {
		.opcode = IBV_WR_ATOMIC_WRITE,
		.rkey = self->mr->rkey,
		.compare_add = 0xfedcba9876543210,
	};

	if (!self->r.atomic_write)
		SKIP(return, "the RDMA library has no atomic write");

	for (size_t i = 0; i < ARRAY_SIZE(off); i++) {
		op.raddr = self->iova + off[i];
		ASSERT_EQ(IBV_WC_SUCCESS, p2p_rdma_run(&self->r, &op));
		EXPECT_EQ(op.compare_add, *(uint64_t *)(self->buf + off[i]));
	}
	op.raddr = self->iova + self->len - 4;
	EXPECT_EQ(IBV_WC_REM_ACCESS_ERR, p2p_rdma_run(&self->r, &op));
	ASSERT_EQ(0, p2p_rdma_reset(&self->r));
	op.raddr = self->iova + 4;
	EXPECT_EQ(IBV_WC_REM_INV_REQ_ERR, p2p_rdma_run(&self->r, &op));
}

/* Which pages of the area are there? Bit 0 is the first page of the MR. */
static unsigned long resident(FIXTURE_DATA(odp) * const self)
{
	unsigned char vec[PAGES + 2 * GUARD];
	unsigned long mask = 0;

	if (mincore(self->area, self->area_len, vec))
		return ~0UL;
	for (int i = 0; i < PAGES; i++)
		mask |= (unsigned long)(vec[GUARD + i] & 1) << i;
	return mask | (vec[GUARD - 1] & 1UL) << 62 |
	       (vec[GUARD + PAGES] & 1UL) << 63;
}

TEST_F_TIMEOUT(odp, prefetch, 120)
{
	uint32_t key = self->mr->lkey;
	uint64_t iova = self->iova;

	/* The pages that were asked for, and no others. */
	ASSERT_EQ(0, resident(self));
	ASSERT_EQ(0, p2p_rdma_advise(&self->r, ADVISE_SNAP, ADVISE_SYNC, key,
				     iova, self->len));
	EXPECT_EQ(0, resident(self));
	ASSERT_EQ(0, p2p_rdma_advise(&self->r, ADVISE_RW, ADVISE_SYNC, key,
				     iova + 3 * self->page, 1));
	EXPECT_EQ(1 << 3, resident(self));
	ASSERT_EQ(0, p2p_rdma_advise(&self->r, ADVISE_RO, ADVISE_SYNC, key,
				     iova + 5 * self->page, self->page));
	EXPECT_EQ(variant->skew ? 0x68 : 0x28, resident(self));
	ASSERT_EQ(0, p2p_rdma_advise(&self->r, ADVISE_RW, ADVISE_SYNC, key,
				     iova, self->len));
	EXPECT_EQ(0xffff, resident(self));

	/* In the background: it is done some time. */
	ASSERT_EQ(0, madvise(self->area, self->area_len, MADV_DONTNEED));
	ASSERT_EQ(0, p2p_rdma_advise(&self->r, ADVISE_RW, 0, key,
				     iova + 9 * self->page, 1));
	for (int i = 0; i < 1000 && !resident(self); i++)
		usleep(10000);
	EXPECT_EQ(1 << 9, resident(self));
}

/* An MR that can only be read can be prefetched for reading. */
TEST_F_TIMEOUT(odp, prefetch_read_only, 120)
{
	unsigned int flags[] = { ADVISE_SYNC, 0 };
	struct ibv_mr *mr = p2p_rdma_reg(&self->r, self->buf, self->len,
					 self->iova, IBV_ACCESS_REMOTE_READ |
					 IBV_ACCESS_ON_DEMAND);

	ASSERT_NE(NULL, mr);
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		EXPECT_EQ(0, p2p_rdma_advise(&self->r, ADVISE_RO, flags[i],
					     mr->lkey, self->iova, 1));
		EXPECT_EQ(-EINVAL, p2p_rdma_advise(&self->r, ADVISE_RW, flags[i],
						   mr->lkey, self->iova, 1));
	}
	EXPECT_EQ(0, ibv_dereg_mr(mr));
}

TEST_F_TIMEOUT(odp, prefetch_bad, 120)
{
	uint32_t key = self->mr->lkey, len = self->len;
	uint64_t iova = self->iova;
	struct { uint64_t addr; uint32_t len; } bad[] = {
		{ iova - 1, 1 },
		{ iova - 1, len },
		{ iova + len, 1 },
		{ iova + len - 1, 2 },
		{ iova, len + 1 },
		{ iova, 0x80000000 },
		{ iova, 0xffffffff },
		{ iova + self->page, 0xffffffff - self->page },
		{ iova - 4 * self->page, 8 * self->page },
		{ 0xfffffffffffff000, 0x2000 },
		{ 0xfffffffffffff000, 0xfff },
		{ (uintptr_t)self->buf + 8 * self->page, 8 },
	};
	size_t n = ARRAY_SIZE(bad) - variant->own; /* the last is good then */

	for (size_t i = 0; i < n; i++) {
		EXPECT_EQ(-EFAULT, p2p_rdma_advise(&self->r, ADVISE_RW,
						   ADVISE_SYNC, key, bad[i].addr,
						   bad[i].len)) {
			TH_LOG("range %zu", i);
		}
		/* In the background nobody is told. */
		EXPECT_EQ(0, p2p_rdma_advise(&self->r, ADVISE_RW, 0, key,
					     bad[i].addr, bad[i].len));
	}

	EXPECT_EQ(-EINVAL, p2p_rdma_advise(&self->r, ADVISE_RW, ADVISE_SYNC,
					   key ^ 1, iova, 1));
	EXPECT_EQ(-EOPNOTSUPP, p2p_rdma_advise(&self->r, 77, ADVISE_SYNC,
					       key, iova, 1));
	usleep(200000);
	EXPECT_EQ(0, resident(self));
	ASSERT_EQ(IBV_WC_SUCCESS, odp_write(self, 0, self->len));
}

/* An MR that is not on demand has nothing to prefetch. */
TEST_F(odp, prefetch_plain_mr)
{
	uint32_t key = self->ram_mr->lkey;

	EXPECT_EQ(-EINVAL, p2p_rdma_advise(&self->r, ADVISE_RW, ADVISE_SYNC,
					   key, self->ram_iova, 1));
	EXPECT_EQ(-EINVAL, p2p_rdma_advise(&self->r, ADVISE_RO, ADVISE_SYNC,
					   key, self->ram_iova, 1));
	EXPECT_EQ(-EINVAL, p2p_rdma_advise(&self->r, ADVISE_RW, 0,
					   key, self->ram_iova, 1));
}

/* One page is unmapped: its access fails, the rest of the MR goes on. */
TEST_F_TIMEOUT(odp, hole, 120)
{
	size_t hole = 4 * self->page - variant->skew;

	memset(self->ram, 0x5a, self->len);
	ASSERT_EQ(IBV_WC_SUCCESS, odp_write(self, 0, self->len));
	ASSERT_EQ(0, munmap(self->buf + hole, self->page));

	EXPECT_EQ(IBV_WC_REM_ACCESS_ERR, odp_write(self, hole, 8));
	ASSERT_EQ(0, p2p_rdma_reset(&self->r));
	EXPECT_EQ(IBV_WC_REM_ACCESS_ERR, odp_read(self, hole - 8, 16));
	ASSERT_EQ(0, p2p_rdma_reset(&self->r));
	EXPECT_EQ(-EFAULT, p2p_rdma_advise(&self->r, ADVISE_RW, ADVISE_SYNC,
					   self->mr->lkey, self->iova + hole, 1));

	/* as a local buffer: some error, and soon */
	EXPECT_LT(0, p2p_rdma_write(&self->r, self->iova + hole, self->mr->lkey,
				    self->ram_iova, self->ram_mr->rkey, 8));
	ASSERT_EQ(0, p2p_rdma_reset(&self->r));
	EXPECT_LT(0, p2p_rdma_read(&self->r, self->iova + hole, self->mr->lkey,
				   self->ram_iova, self->ram_mr->rkey, 8));
	ASSERT_EQ(0, p2p_rdma_reset(&self->r));

	ASSERT_EQ(IBV_WC_SUCCESS, odp_write(self, hole - 100, 100));
	ASSERT_EQ(IBV_WC_SUCCESS, odp_write(self, hole + self->page, 100));

	/* and with new memory in its place it is whole again */
	ASSERT_EQ(self->buf + hole,
		  mmap(self->buf + hole, self->page, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	ASSERT_EQ(IBV_WC_SUCCESS, odp_write(self, 0, self->len));
	EXPECT_EQ(0, memcmp(self->buf, self->ram, self->len));
}

TEST_F_TIMEOUT(odp, read_only_memory, 120)
{
	size_t off = 4 * self->page - variant->skew;

	memset(self->buf, 0x77, self->len);
	memset(self->ram, 0x5a, self->len);
	ASSERT_EQ(IBV_WC_SUCCESS, odp_write(self, off, 8));
	ASSERT_EQ(0, mprotect(self->buf + off, self->page, PROT_READ));

	EXPECT_EQ(IBV_WC_REM_ACCESS_ERR, odp_write(self, off + 16, 8));
	ASSERT_EQ(0, p2p_rdma_reset(&self->r));
	EXPECT_EQ(0x77, self->buf[off + 16]);
	ASSERT_EQ(IBV_WC_SUCCESS, odp_read(self, off + 4, 8));
	EXPECT_EQ(0, memcmp(self->ram, self->buf + off + 4, 8));
}

/*
 * What a peer wrote is not lost: memory that was offered to the kernel by
 * MADV_FREE is kept from the write on, whoever writes.
 */
TEST_F_TIMEOUT(odp, write_is_dirty, 120)
{
	size_t off = 4 * self->page - variant->skew;
	unsigned char *p = self->buf + off;
	struct p2p_rdma_op op = {
		.opcode = IBV_WR_ATOMIC_FETCH_AND_ADD,
		.laddr = self->ram_iova,
		.lkey = self->ram_mr->lkey,
		.len = 8,
		.raddr = self->iova + off + 2 * self->page,
		.rkey = self->mr->rkey,
		.compare_add = 1,
	};
	cpu_set_t cpu;

	/* The LRU lists are fed by processor. */
	CPU_ZERO(&cpu);
	CPU_SET(0, &cpu);
	ASSERT_EQ(0, sched_setaffinity(0, sizeof(cpu), &cpu));

	memset(self->ram, 0x5a, self->len);
	memset(p, 0x11, 6 * self->page);
	ASSERT_EQ(0, madvise(p, 6 * self->page, MADV_FREE));
	ASSERT_EQ(IBV_WC_SUCCESS, odp_write(self, off, 64));
	ASSERT_EQ(IBV_WC_SUCCESS, p2p_rdma_run(&self->r, &op));
	ASSERT_EQ(0, madvise(p, 6 * self->page, MADV_PAGEOUT));

	if (p[1 * self->page] || p[3 * self->page] || p[5 * self->page])
		SKIP(return, "the kernel did not take back the memory");
	EXPECT_EQ(0x5a, p[0]);
	EXPECT_EQ(0x11, p[64]);
	EXPECT_EQ(0x1111111111111112, *(uint64_t *)(p + 2 * self->page));
	EXPECT_EQ(0, p[4 * self->page]);
}

/* The MR goes away under operations: each ends, nothing else is hurt. */
TEST_F_TIMEOUT(odp, deregister, 120)
{
	struct p2p_rdma_op op = {
		.opcode = IBV_WR_RDMA_WRITE,
		.laddr = self->ram_iova,
		.lkey = self->ram_mr->lkey,
		.len = self->len,
		.rkey = self->mr->rkey,
		.raddr = self->iova,
	};

	for (int i = 0; i < P2P_RDMA_DEPTH; i++)
		ASSERT_EQ(0, p2p_rdma_post(&self->r, &op));
	ASSERT_EQ(0, ibv_dereg_mr(self->mr));
	self->mr = NULL;
	for (int i = 0; i < P2P_RDMA_DEPTH; i++)
		ASSERT_LE(0, p2p_rdma_wait(&self->r.req, NULL,
					   P2P_RDMA_TIMEOUT_MS));

	ASSERT_EQ(0, p2p_rdma_reset(&self->r));
	self->mr = p2p_rdma_reg(&self->r, self->buf, self->len, self->iova, ODP);
	ASSERT_NE(NULL, self->mr);
	memset(self->ram, 0x5a, self->len);
	ASSERT_EQ(IBV_WC_SUCCESS, odp_write(self, 0, self->len));
	EXPECT_EQ(0, memcmp(self->buf, self->ram, self->len));
}

/* Lengths that do not fit into 31 and 32 bits. */
TEST_F_TIMEOUT(odp, long_mr, 120)
{
	size_t lens[] = { 1UL << 31, 3UL << 30, 1UL << 32, (4UL << 30) + 4096 };

	for (size_t i = 0; i < ARRAY_SIZE(lens); i++) {
		size_t len = lens[i];
		unsigned char *p = mmap(NULL, len, PROT_READ | PROT_WRITE,
					MAP_PRIVATE | MAP_ANONYMOUS |
					MAP_NORESERVE, -1, 0);
		uint64_t iova = variant->own ? (uintptr_t)p : 0x10000;
		struct ibv_mr *mr;

		ASSERT_NE(MAP_FAILED, p);
		p[len - 1] = 9;
		mr = p2p_rdma_reg(&self->r, p, len, iova, ODP);
		ASSERT_NE(NULL, mr) {
			TH_LOG("%zu bytes: %s", len, strerror(errno));
		}
		memset(self->ram, 0x3c, 64);
		ASSERT_EQ(IBV_WC_SUCCESS,
			  p2p_rdma_write(&self->r, self->ram_iova,
					 self->ram_mr->lkey, iova + len - 65,
					 mr->rkey, 64));
		EXPECT_EQ(0x3c, p[len - 65]);
		EXPECT_EQ(0x3c, p[len - 2]);
		EXPECT_EQ(9, p[len - 1]);
		EXPECT_EQ(0, p[len - 66]);
		ASSERT_EQ(0, p2p_rdma_advise(&self->r, ADVISE_SNAP, ADVISE_SYNC,
					     mr->lkey, iova,
					     len > UINT32_MAX ? UINT32_MAX : len));
		ASSERT_EQ(0, ibv_dereg_mr(mr));
		munmap(p, len);
	}
}

TEST_HARNESS_MAIN
