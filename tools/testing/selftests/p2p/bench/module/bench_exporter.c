// SPDX-License-Identifier: GPL-2.0
/*
 * The exporter: maps the GPU's BAR into the program, linearly. On the kernel as
 * it came that is a mapping that no peer can use.
 */
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#ifdef CONFIG_P2P_VMA
#include <linux/p2p_vma.h>
#endif
#include <linux/pci.h>
#include <linux/sizes.h>

#include "bench.h"

#define BENCH_BAR	2

static DEFINE_MUTEX(bench_exporter_lock);	/* grants against moves */
static struct address_space *bench_mapping;	/* of the one device node */
static phys_addr_t bench_base;
static size_t bench_bar_len;
static size_t bench_shift;	/* offset 0 of the file is there in the BAR */
static size_t bench_grain;	/* largest extent, 0: what is asked for */

static vm_fault_t bench_fault(struct vm_fault *vmf)
{
	guard(mutex)(&bench_exporter_lock);
	return vmf_insert_pfn(vmf->vma, vmf->address,
			      PHYS_PFN(bench_base + bench_shift) + vmf->pgoff);
}

#ifdef CONFIG_P2P_VMA
static struct p2p_region *bench_region;

static void bench_zap(struct p2p_exporter *e)
{
	if (bench_mapping)
		unmap_mapping_range(bench_mapping, 0, 0, 1);
}

static const struct p2p_exporter_ops bench_exporter_ops = { .zap = bench_zap };
static struct p2p_exporter bench_exporter = { .ops = &bench_exporter_ops };

static int bench_p2p_map(struct vm_area_struct *vma, struct p2p_map_req *req)
{
	unsigned long start, end;

	bench_hits[BENCH_C_EXPORTER] += READ_ONCE(bench_gate);
	guard(mutex)(&bench_exporter_lock);
	if (!bench_grain)
		return p2p_map_linear(vma, req, &bench_exporter,
				      bench_base + bench_shift);
	start = max(ALIGN_DOWN(req->start, bench_grain), req->window_start);
	end = min(ALIGN_DOWN(req->start, bench_grain) + bench_grain,
		  req->window_end);
	return p2p_req_add(req, &bench_exporter, start,
			   bench_base + bench_shift +
			   ((phys_addr_t)vma->vm_pgoff << PAGE_SHIFT) +
			   (start - vma->vm_start), end - start, 0, NULL);
}
#endif

static const struct vm_operations_struct bench_vm_ops = {
	.fault = bench_fault,
#ifdef CONFIG_P2P_VMA
	.p2p_map = bench_p2p_map,
#endif
};

int bench_exporter_mmap(struct file *file, struct vm_area_struct *vma)
{
	unsigned long pages = bench_bar_len >> PAGE_SHIFT;

	if (!(vma->vm_flags & VM_MAYSHARE) || vma->vm_pgoff > pages ||
	    vma_pages(vma) > pages - vma->vm_pgoff)
		return -EINVAL;
	vm_flags_set(vma, VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_page_prot =
		pgprot_decrypted(pgprot_writecombine(vma->vm_page_prot));
	vma->vm_ops = &bench_vm_ops;
	return 0;
}

void bench_exporter_open(struct file *file)
{
	bench_mapping = file->f_mapping;
}

/* Grant extents of at most @grain bytes from now on, 0: as large as possible. */
void bench_exporter_grain(size_t grain)
{
	guard(mutex)(&bench_exporter_lock);
	bench_grain = grain;
}

/* Take [@off, @off + @len) of the file from everybody, as it moves. */
void bench_exporter_revoke(unsigned long off, size_t len)
{
	unmap_mapping_range(bench_mapping, off, len, 1);
}

/* To and fro between two places that large IOPTEs fit alike */
void bench_exporter_move(void)
{
	scoped_guard(mutex, &bench_exporter_lock)
		bench_shift ^= SZ_2M;
	unmap_mapping_range(bench_mapping, 0, 0, 1);
}

/* Wait for what is released later. */
void bench_exporter_flush(void)
{
#ifdef CONFIG_P2P_VMA
	flush_work(&bench_exporter.put_work);
#endif
}

int bench_exporter_init(void)
{
	bench_base = pci_resource_start(bench_gpu, BENCH_BAR);
	bench_bar_len = pci_resource_len(bench_gpu, BENCH_BAR);
#ifdef CONFIG_P2P_VMA
	bench_region = p2p_region_bar(bench_gpu, BENCH_BAR);
	if (IS_ERR(bench_region))
		return PTR_ERR(bench_region);
	return p2p_region_attach(bench_region, &bench_exporter);
#else
	return 0;
#endif
}

void bench_exporter_exit(void)
{
#ifdef CONFIG_P2P_VMA
	p2p_region_detach(bench_region, &bench_exporter);
	p2p_region_put(bench_region);
#endif
}
