// SPDX-License-Identifier: GPL-2.0
/*
 * Counts of what costs more on hardware than its instructions say: flushes of
 * the IOTLB, IOMMU page table entries, config reads, grace periods. Counted at
 * the entry of functions, in a run that measures no instructions.
 */
#include <linux/ftrace.h>
#include <linux/iommu.h>
#include <linux/limits.h>
#include <linux/math.h>

#include "bench.h"

bool bench_gate;
s64 bench_hits[BENCH_COUNTS];

struct bench_probe {
	struct ftrace_ops ops;
	const char *function;
	int count;
	void (*more)(struct ftrace_regs *regs);
	bool on;
};

static void notrace bench_hit(unsigned long ip, unsigned long parent,
			      struct ftrace_ops *op, struct ftrace_regs *regs)
{
	struct bench_probe *p = container_of(op, struct bench_probe, ops);

	if (!READ_ONCE(bench_gate))
		return;
	if (p->count >= 0)
		bench_hits[p->count]++;
	if (p->more)
		p->more(regs);
}

/* qi_submit_sync(iommu, desc, count, options) */
static void notrace bench_descriptors(struct ftrace_regs *regs)
{
	bench_hits[BENCH_C_DESC] += ftrace_regs_get_argument(regs, 2);
}

/* Leaf entries: at each address the largest page that fits, as generic_pt does. */
static void notrace bench_ioptes(struct ftrace_regs *regs)
{
	struct iommu_domain *domain = (void *)ftrace_regs_get_argument(regs, 0);
	unsigned long iova = ftrace_regs_get_argument(regs, 1);
	unsigned long phys = ftrace_regs_get_argument(regs, 2);
	unsigned long size = ftrace_regs_get_argument(regs, 3);
	unsigned long page, n;
	int bit;

	while (size) {
		for (bit = BITS_PER_LONG - 1; bit > PAGE_SHIFT; bit--)
			if (domain->pgsize_bitmap & BIT(bit) &&
			    size >= BIT(bit) &&
			    !((iova | phys) & (BIT(bit) - 1)))
				break;
		page = BIT(bit);
		/* As many of them as come before a larger one may fit. */
		n = bit == PAGE_SHIFT && size > SZ_2M && iova & (SZ_2M - 1) ?
			(SZ_2M - (iova & (SZ_2M - 1))) / page : 1;
		bench_hits[BENCH_C_IOPTE] += n;
		iova += n * page;
		phys += n * page;
		size -= n * page;
	}
}

#define PROBE(fn, c, m) \
	{ .ops.func = bench_hit, .function = fn, .count = c, .more = m }

static struct bench_probe bench_probes[] = {
	PROBE("qi_submit_sync", BENCH_C_FLUSH, bench_descriptors),
	PROBE("iommu_map_nosync", -1, bench_ioptes),
	PROBE("pci_conf1_read", BENCH_C_CONFIG, NULL),
	PROBE("pci_mmcfg_read", BENCH_C_CONFIG, NULL),
	PROBE("synchronize_rcu", BENCH_C_GP, NULL),
	PROBE("synchronize_srcu", BENCH_C_GP, NULL),
	PROBE("queue_work_on", BENCH_C_WORK, NULL),
	PROBE("__alloc_frozen_pages_noprof", BENCH_C_PAGES, NULL),
};

static void bench_probe_on(struct bench_probe *p)
{
	int ret;

	ret = ftrace_set_filter(&p->ops, (unsigned char *)p->function,
				strlen(p->function), 1);
	if (!ret)
		ret = register_ftrace_function(&p->ops);
	p->on = !ret;
	if (ret)
		pr_warn_once("p2p_bench: cannot count %s: %d\n", p->function,
			     ret);
}

void bench_count_begin(void)
{
	int i;

	memset(bench_hits, 0, sizeof(bench_hits));
	for (i = 0; i < ARRAY_SIZE(bench_probes); i++)
		bench_probe_on(&bench_probes[i]);
}

/* What could not be counted is -1. */
void bench_count_end(s64 *counts)
{
	int i;

	memcpy(counts, bench_hits, sizeof(bench_hits));
	for (i = 0; i < ARRAY_SIZE(bench_probes); i++) {
		struct bench_probe *p = &bench_probes[i];

		if (p->on)
			unregister_ftrace_function(&p->ops);
		else if (p->count >= 0)
			counts[p->count] = -1;
		p->on = false;
	}
}
