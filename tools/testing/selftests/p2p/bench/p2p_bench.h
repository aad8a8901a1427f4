/* SPDX-License-Identifier: GPL-2.0 */
/* What the benchmark's program asks of its module: run one row. */
#ifndef _P2P_BENCH_H
#define _P2P_BENCH_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* Phases of a row */
enum {
	BENCH_MAP,		/* make usable; or the one thing that is measured */
	BENCH_UNMAP,		/* end the device's access */
	BENCH_AFTER,		/* what a worker does later */
	BENCH_PHASES
};

/* Counted calls; names in bench_count.c */
enum {
	BENCH_C_EXPORTER,	/* ->p2p_map() */
	BENCH_C_FLUSH,		/* submissions to the invalidation queue */
	BENCH_C_DESC,		/* descriptors in them */
	BENCH_C_IOPTE,		/* leaf entries of the IOMMU's page table */
	BENCH_C_CONFIG,		/* reads of config space */
	BENCH_C_GP,		/* grace periods waited for */
	BENCH_C_WORK,		/* work items queued */
	BENCH_C_PAGES,		/* calls of the page allocator */
	BENCH_COUNTS
};

/* What to do with a row */
enum {
	BENCH_MEASURE,		/* instructions */
	BENCH_COUNT,		/* calls and memory, of one run each */
	BENCH_PROFILE,		/* the functions that take the instructions */
};

#define BENCH_TEXT	1024

/**
 * struct p2p_bench_run - one row
 * @row: name
 * @addr: user address of the range
 * @len: its bytes
 * @arg: of the row
 * @reps: how often; the medians are returned
 * @what: BENCH_MEASURE...
 * @insn: instructions by phase
 * @low: the lowest seen
 * @held: bytes of kernel memory held after the first phase
 * @counts: calls, in all phases together
 * @text: the profile: "function share, function share...", in 1/1000
 */
struct p2p_bench_run {
	char row[24];
	__u64 addr;
	__u64 len;
	__u64 arg;
	__u32 reps;
	__u32 what;
	__s64 insn[BENCH_PHASES];
	__s64 low[BENCH_PHASES];
	__s64 held;
	__s64 counts[BENCH_COUNTS];
	char text[BENCH_TEXT];
};

#define P2P_BENCH_IOC_RUN	_IOWR('B', 1, struct p2p_bench_run)
/* Struct pages for the first bytes of the BAR: not undone before unbind. */
#define P2P_BENCH_IOC_PAGES	_IOW('B', 2, __u64)

#endif /* _P2P_BENCH_H */
