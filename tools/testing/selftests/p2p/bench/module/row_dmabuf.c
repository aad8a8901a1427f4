// SPDX-License-Identifier: GPL-2.0
/*
 * Row of dma-buf: map a part of the BAR for a device by an attachment, as an
 * exporter without struct pages does (vfio-pci).
 */
#include <linux/dma-buf-mapping.h>
#include <linux/dma-buf.h>
#include <linux/dma-resv.h>
#include <linux/err.h>
#include <linux/fcntl.h>
#include <linux/pci-p2pdma.h>

#include "bench.h"

static struct sg_table *dmabuf_map(struct dma_buf_attachment *attach,
				   enum dma_data_direction dir)
{
	struct phys_vec vec = {
		.paddr = pci_resource_start(bench_gpu, 2),
		.len = attach->dmabuf->size,
	};

	return dma_buf_phys_vec_to_sgt(attach,
				       pcim_p2pdma_provider(bench_gpu, 2),
				       &vec, 1, vec.len, dir);
}

static void dmabuf_unmap(struct dma_buf_attachment *attach,
			 struct sg_table *sgt, enum dma_data_direction dir)
{
	dma_buf_free_sgt(attach, sgt, dir);
}

static void dmabuf_release(struct dma_buf *buf)
{
}

static const struct dma_buf_ops dmabuf_ops = {
	.map_dma_buf = dmabuf_map,
	.unmap_dma_buf = dmabuf_unmap,
	.release = dmabuf_release,
};

static void dmabuf_invalidate(struct dma_buf_attachment *attach)
{
}

static const struct dma_buf_attach_ops dmabuf_attach_ops = {
	.allow_peer2peer = true,
	.invalidate_mappings = dmabuf_invalidate,
};

static int dmabuf_prepare(struct bench *b)
{
	DEFINE_DMA_BUF_EXPORT_INFO(info);
	struct dma_buf_attachment *attach;
	struct dma_buf *buf;
	int ret = pcim_p2pdma_init(bench_gpu);

	if (ret)
		return ret;
	info.ops = &dmabuf_ops;
	info.size = b->len;
	info.flags = O_RDWR;
	info.priv = b;
	buf = dma_buf_export(&info);
	if (IS_ERR(buf))
		return PTR_ERR(buf);
	attach = dma_buf_dynamic_attach(buf, &bench_edu->dev,
					&dmabuf_attach_ops, NULL);
	if (IS_ERR(attach)) {
		dma_buf_put(buf);
		return PTR_ERR(attach);
	}
	b->priv = attach;
	return 0;
}

static int dmabuf_once(struct bench *b)
{
	struct dma_buf_attachment *attach = b->priv;
	struct dma_resv *resv = attach->dmabuf->resv;
	struct sg_table *sgt;
	u64 t = bench_start(b);

	dma_resv_lock(resv, NULL);
	sgt = dma_buf_map_attachment(attach, DMA_BIDIRECTIONAL);
	dma_resv_unlock(resv);
	b->t[BENCH_MAP] = bench_stop(b, t);
	if (IS_ERR(sgt))
		return PTR_ERR(sgt);

	t = bench_start(b);
	dma_resv_lock(resv, NULL);
	dma_buf_unmap_attachment(attach, sgt, DMA_BIDIRECTIONAL);
	dma_resv_unlock(resv);
	b->t[BENCH_UNMAP] = bench_stop(b, t);
	return 0;
}

static void dmabuf_finish(struct bench *b)
{
	struct dma_buf_attachment *attach = b->priv;
	struct dma_buf *buf = attach->dmabuf;

	dma_buf_detach(buf, attach);
	dma_buf_put(buf);
}

const struct bench_row bench_rows_dmabuf[] = {
	{ "dmabuf", dmabuf_prepare, dmabuf_once, dmabuf_finish },
	{}
};
