// SPDX-License-Identifier: GPL-2.0
/*
 * Rows of on-demand paging: whole memory regions, single pages, and faults, as
 * an RDMA driver whose device does its own DMA makes them. On RAM they run on
 * the kernel as it came, too.
 */
#include <linux/hmm-dma.h>
#include <linux/hmm.h>
#include <linux/pci-p2pdma.h>
#include <rdma/ib_umem_odp.h>

#include "bench.h"

#define ODP_RANDOM	64	/* pages in a row of random ones */

static struct ib_device *odp_ibdev;

static bool odp_invalidate(struct mmu_interval_notifier *mni,
			   const struct mmu_notifier_range *range,
			   unsigned long seq)
{
	struct ib_umem_odp *odp = container_of(mni, struct ib_umem_odp,
					       notifier);

	if (!mmu_notifier_range_blockable(range))
		return false;
	guard(mutex)(&odp->umem_mutex);
	mmu_interval_set_seq(mni, seq);
	ib_umem_odp_unmap_dma_pages(odp, range->start, range->end);
	return true;
}

static const struct mmu_interval_notifier_ops odp_ops = {
	.invalidate = odp_invalidate,
};

static struct ib_umem_odp *odp_get(struct bench *b)
{
	return ib_umem_odp_get(odp_ibdev, b->addr, b->len,
			       IB_ACCESS_ON_DEMAND | IB_ACCESS_LOCAL_WRITE,
			       &odp_ops);
}

/* What a driver does in a fault and a prefetch: all but the device's tables. */
static int odp_fault(struct ib_umem_odp *odp, unsigned long addr, size_t len)
{
	struct pci_p2pdma_map_state state = {};
	struct device *dev = odp_ibdev->dma_device;
	size_t i = (addr - ib_umem_start(odp)) >> PAGE_SHIFT;
	size_t end = i + (len >> PAGE_SHIFT);
	int ret;

	ret = ib_umem_odp_map_dma_and_lock(odp, addr, len, HMM_PFN_WRITE, true);
	if (ret < 0)
		return ret;
	for (ret = 0; i < end; i++) {
		if (hmm_dma_map_pfns(dev, &odp->map, i, end - i, &state) ==
		    DMA_MAPPING_ERROR) {
			ret = -EIO;
			break;
		}
		odp->npages++;
	}
	mutex_unlock(&odp->umem_mutex);
	return ret;
}

static int odp_prepare(struct bench *b)
{
	odp_ibdev = kzalloc_obj(*odp_ibdev);
	if (!odp_ibdev)
		return -ENOMEM;
	odp_ibdev->dma_device = &bench_edu->dev;
	return 0;
}

static void odp_finish(struct bench *b)
{
	kfree(odp_ibdev);
}

/* Register, make all of it usable, deregister */
static int odp_whole(struct bench *b)
{
	struct ib_umem_odp *odp;
	u64 t = bench_start(b);
	int ret;

	odp = odp_get(b);
	if (IS_ERR(odp))
		return PTR_ERR(odp);
	ret = odp_fault(odp, b->addr, b->len);
	b->t[BENCH_MAP] = bench_stop(b, t);

	t = bench_start(b);
	ib_umem_odp_release(odp);
	b->t[BENCH_UNMAP] = bench_stop(b, t);

	t = bench_start(b);
	bench_exporter_flush();
	b->t[BENCH_AFTER] = bench_stop(b, t);
	return ret;
}

/* Register, use pages here and there, deregister: by page */
static int odp_random(struct bench *b)
{
	unsigned int n = min(b->len >> PAGE_SHIFT, ODP_RANDOM);
	struct ib_umem_odp *odp;
	u32 rnd = 1;
	unsigned int i;
	int ret = 0;
	u64 t;

	odp = odp_get(b);
	if (IS_ERR(odp))
		return PTR_ERR(odp);
	t = bench_start(b);
	for (i = 0; i < n && !ret; i++) {
		rnd = rnd * 1664525 + 1013904223;
		ret = odp_fault(odp, b->addr +
				(rnd % (b->len >> PAGE_SHIFT)) * PAGE_SIZE,
				PAGE_SIZE);
	}
	b->t[BENCH_MAP] = div_s64(bench_stop(b, t), n);
	t = bench_start(b);
	ib_umem_odp_release(odp);
	b->t[BENCH_UNMAP] = div_s64(bench_stop(b, t), n);
	bench_exporter_flush();
	return ret;
}

/* Faults in a region that stays registered */

static int odp_fault_prepare(struct bench *b)
{
	struct ib_umem_odp *odp;
	int ret = odp_prepare(b);

	if (ret)
		return ret;
	odp = odp_get(b);
	if (IS_ERR(odp)) {
		odp_finish(b);
		return PTR_ERR(odp);
	}
	b->priv = odp;
	return 0;
}

static void odp_fault_finish(struct bench *b)
{
	ib_umem_odp_release(b->priv);
	bench_exporter_flush();
	odp_finish(b);
}

static int odp_fault_timed(struct bench *b, unsigned long addr)
{
	u64 t = bench_start(b);
	int ret = odp_fault(b->priv, addr, PAGE_SIZE);

	b->t[BENCH_MAP] = bench_stop(b, t);
	return ret;
}

static void odp_forget(struct bench *b)
{
	struct ib_umem_odp *odp = b->priv;

	scoped_guard(mutex, &odp->umem_mutex)
		ib_umem_odp_unmap_dma_pages(odp, ib_umem_start(odp),
					    ib_umem_end(odp));
	bench_exporter_flush();
}

/* Nothing is mapped for the device. RAM is there: the program touched it. */
static int odp_fault_first(struct bench *b)
{
	odp_forget(b);
	return odp_fault_timed(b, b->addr);
}

/* A page that the device has not used, in an extent that it has */
static int odp_fault_live(struct bench *b)
{
	unsigned long page = 1 + b->rep % ((b->len >> PAGE_SHIFT) - 1);
	int ret = b->rep ? 0 : odp_fault(b->priv, b->addr, PAGE_SIZE);

	return ret ? ret : odp_fault_timed(b, b->addr + page * PAGE_SIZE);
}

/* A page that the device has already */
static int odp_fault_again(struct bench *b)
{
	int ret = b->rep ? 0 : odp_fault(b->priv, b->addr, PAGE_SIZE);

	return ret ? ret : odp_fault_timed(b, b->addr);
}

/* The exporter has moved the memory. */
static int odp_fault_moved(struct bench *b)
{
	int ret = b->rep ? 0 : odp_fault(b->priv, b->addr, PAGE_SIZE);

	if (ret)
		return ret;
	bench_exporter_move();
	bench_exporter_flush();
	return odp_fault_timed(b, b->addr);
}

const struct bench_row bench_rows_odp[] = {
	{ "odp_whole", odp_prepare, odp_whole, odp_finish },
	{ "odp_random", odp_prepare, odp_random, odp_finish },
	{ "fault_first", odp_fault_prepare, odp_fault_first, odp_fault_finish },
	{ "fault_live", odp_fault_prepare, odp_fault_live, odp_fault_finish },
	{ "fault_again", odp_fault_prepare, odp_fault_again, odp_fault_finish },
	{ "fault_moved", odp_fault_prepare, odp_fault_moved, odp_fault_finish },
	{}
};
