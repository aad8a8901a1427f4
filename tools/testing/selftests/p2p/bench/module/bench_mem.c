// SPDX-License-Identifier: GPL-2.0
/*
 * Kernel memory that a registration holds: what kmalloc() and the slab caches
 * gave and did not get back, and pages of vmalloc() and of IOMMU page tables.
 * Exact where these are all that is used; nothing else runs on the processor.
 */
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/slab.h>
#include <trace/events/kmem.h>

#include "bench.h"

static s64 bench_slab_bytes;
static long bench_pages_before;

static void bench_mem_add(const void *ptr)
{
	if (READ_ONCE(bench_gate) && ptr)
		bench_slab_bytes += ksize(ptr);
}

static void bench_mem_sub(const void *ptr)
{
	if (READ_ONCE(bench_gate) && !ZERO_OR_NULL_PTR(ptr))
		bench_slab_bytes -= ksize(ptr);
}

static void bench_on_kmalloc(void *data, unsigned long site, const void *ptr,
			     size_t req, size_t alloc, gfp_t flags, int node)
{
	bench_mem_add(ptr);
}

static void bench_on_cache_alloc(void *data, unsigned long site,
				 const void *ptr, struct kmem_cache *s,
				 gfp_t flags, int node)
{
	bench_mem_add(ptr);
}

static void bench_on_kfree(void *data, unsigned long site, const void *ptr)
{
	bench_mem_sub(ptr);
}

static void bench_on_cache_free(void *data, unsigned long site,
				const void *ptr, const struct kmem_cache *s)
{
	bench_mem_sub(ptr);
}

/* Per-CPU differences included: there is one processor. */
static long bench_mem_pages(void)
{
	static const enum node_stat_item items[] = {
		NR_IOMMU_PAGES, NR_VMALLOC,
	};
	struct pglist_data *pgdat = NODE_DATA(0);
	long pages = 0;
	int i, cpu;

	for (i = 0; i < ARRAY_SIZE(items); i++) {
		pages += atomic_long_read(&pgdat->vm_stat[items[i]]);
		for_each_online_cpu(cpu)
			pages += per_cpu_ptr(pgdat->per_cpu_nodestats, cpu)
					->vm_node_stat_diff[items[i]];
	}
	return pages;
}

void bench_mem_off(void)
{
	unregister_trace_kmem_cache_free(bench_on_cache_free, NULL);
	unregister_trace_kfree(bench_on_kfree, NULL);
	unregister_trace_kmem_cache_alloc(bench_on_cache_alloc, NULL);
	unregister_trace_kmalloc(bench_on_kmalloc, NULL);
	tracepoint_synchronize_unregister();
}

int bench_mem_begin(void)
{
	int ret = register_trace_kmalloc(bench_on_kmalloc, NULL);

	if (!ret)
		ret = register_trace_kmem_cache_alloc(bench_on_cache_alloc,
						      NULL);
	if (!ret)
		ret = register_trace_kfree(bench_on_kfree, NULL);
	if (!ret)
		ret = register_trace_kmem_cache_free(bench_on_cache_free, NULL);
	if (ret) {
		bench_mem_off();
		return ret;
	}
	bench_slab_bytes = 0;
	bench_pages_before = bench_mem_pages();
	return 0;
}

/* Bytes held since bench_mem_begin() */
s64 bench_mem_held(void)
{
	return bench_slab_bytes +
	       (bench_mem_pages() - bench_pages_before) * (s64)PAGE_SIZE;
}
