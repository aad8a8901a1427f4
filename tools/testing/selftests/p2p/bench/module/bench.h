/* SPDX-License-Identifier: GPL-2.0 */
/* The benchmark's module: what its files share. */
#ifndef _BENCH_H
#define _BENCH_H

#include <linux/hmm-dma.h>
#include <linux/mm.h>
#include <linux/pci.h>
#include <linux/types.h>
#include <asm/msr.h>

#include "../p2p_bench.h"

/**
 * struct bench - one run of a row
 * @addr: user address of the range
 * @len: its bytes
 * @arg: of the row
 * @rep: how often it was run before
 * @counting: calls and memory are counted, not instructions
 * @held: bytes of kernel memory held after the first phase, -1 before
 * @t: instructions by phase, of the last run
 * @priv: of the row
 */
struct bench {
	unsigned long addr;
	size_t len;
	u64 arg;
	unsigned int rep;
	bool counting;
	s64 held;
	s64 t[BENCH_PHASES];
	void *priv;
};

/**
 * struct bench_row - what is measured
 * @name: as the program knows it
 * @prepare: optional; before the first run
 * @once: one run; puts what bench_stop() says into t[]
 * @finish: optional; after the last run, if prepare succeeded
 */
struct bench_row {
	const char *name;
	int (*prepare)(struct bench *b);
	int (*once)(struct bench *b);
	void (*finish)(struct bench *b);
};

/* Tables of rows, each ends with an empty one */
extern const struct bench_row bench_rows_dmabuf[], bench_rows_pin[],
	bench_rows_hmm[], bench_rows_odp[], bench_rows_tax[];
#ifdef CONFIG_P2P_VMA
extern const struct bench_row bench_rows_extent[], bench_rows_revoke[],
	bench_rows_verdict[];
#endif

/* bench_main.c: under icount, the time stamp counter counts instructions */
extern s64 bench_overhead;

u64 bench_start(struct bench *b);
s64 bench_stop(struct bench *b, u64 start);

/* bench_count.c */
extern bool bench_gate;
extern s64 bench_hits[BENCH_COUNTS];

void bench_count_begin(void);
void bench_count_end(s64 *counts);

/* bench_mem.c */
int bench_mem_begin(void);
s64 bench_mem_held(void);
void bench_mem_off(void);

/* bench_profile.c */
#define BENCH_FUNCTIONS	256

int bench_profile(const struct bench_row *row, struct bench *b, char *text,
		  size_t size);

/* bench_dev.c: the devices */
extern struct pci_dev *bench_gpu, *bench_edu;

int bench_dev_init(void);
void bench_dev_exit(void);

/* bench_exporter.c: maps the GPU's BAR */
int bench_exporter_init(void);
void bench_exporter_exit(void);
int bench_exporter_mmap(struct file *file, struct vm_area_struct *vma);
void bench_exporter_open(struct file *file);
void bench_exporter_grain(size_t grain);
void bench_exporter_move(void);
void bench_exporter_revoke(unsigned long vm_off, size_t len);
void bench_exporter_flush(void);

#ifndef CONFIG_P2P_VMA
/* The kernel as it came has no runs. */
static inline dma_addr_t
hmm_dma_map_pfns(struct device *dev, struct hmm_dma_map *map, size_t idx,
		 size_t nr, struct pci_p2pdma_map_state *state)
{
	return hmm_dma_map_pfn(dev, map, idx, state);
}

static inline size_t
hmm_dma_unmap_pfns(struct device *dev, struct hmm_dma_map *map, size_t idx,
		   size_t nr)
{
	return hmm_dma_unmap_pfn(dev, map, idx);
}
#endif

#endif /* _BENCH_H */
