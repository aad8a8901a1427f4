/* SPDX-License-Identifier: GPL-2.0 */
/* Tracepoints of peer-to-peer DMA through VMAs: one for each step of an extent. */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM p2p

#if !defined(_TRACE_P2P_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_P2P_H

#include <linux/device.h>
#include <linux/p2p_vma.h>
#include <linux/tracepoint.h>

#define P2P_REASONS						\
	EM(P2P_REASON_NOT_PFNMAP,	"not-pfnmap")		\
	EM(P2P_REASON_NO_FAULT,		"no-fault")		\
	EM(P2P_REASON_NOT_SHARED,	"not-shared")		\
	EM(P2P_REASON_VMA_READ,		"vma-read")		\
	EM(P2P_REASON_VMA_WRITE,	"vma-write")		\
	EM(P2P_REASON_IMPORTER_WRITE,	"importer-write")	\
	EM(P2P_REASON_EXPORTER,		"exporter")		\
	EM(P2P_REASON_GRANT_WRITE,	"grant-write")		\
	EM(P2P_REASON_NO_EXTENT,	"no-extent")		\
	EM(P2P_REASON_BAD_EXTENT,	"bad-extent")		\
	EM(P2P_REASON_WAIT_TIMEOUT,	"wait-timeout")		\
	EM(P2P_REASON_TOPOLOGY,		"topology")		\
	EM(P2P_REASON_DMA_MASK,		"dma-mask")		\
	EM(P2P_REASON_DMA_MAP,		"dma-map")		\
	EM(P2P_REASON_CPU_MAP,		"cpu-map")		\
	EM(P2P_REASON_NO_MEMORY,	"no-memory")		\
	EM(P2P_REASON_OPERATION,	"operation")		\
	EM(P2P_REASON_GONE,		"gone")			\
	EM(P2P_REASON_PIN,		"pin")			\
	EMe(P2P_REASON_NO_PAGES,	"no-pages")

#undef EM
#undef EMe
#define EM(a, b)	TRACE_DEFINE_ENUM(a);
#define EMe(a, b)	TRACE_DEFINE_ENUM(a);
P2P_REASONS
#undef EM
#undef EMe
#define EM(a, b)	{ a, b },
#define EMe(a, b)	{ a, b }

DECLARE_EVENT_CLASS(p2p_extent,
	TP_PROTO(const struct p2p_extent *ext),
	TP_ARGS(ext),
	TP_STRUCT__entry(
		__string(importer, ext->importer ?
				   dev_name(ext->importer) : "cpu")
		__field(unsigned long, addr)
		__field(u64, phys)
		__field(u64, dma)
		__field(size_t, len)
		__field(unsigned int, flags)
	),
	TP_fast_assign(
		__assign_str(importer);
		__entry->addr = ext->node.start;
		__entry->phys = ext->phys;
		__entry->dma = ext->dma;
		__entry->len = ext->len;
		__entry->flags = ext->flags;
	),
	TP_printk("importer=%s addr=%#lx phys=%#llx len=%#zx %s %s dma=%#llx",
		  __get_str(importer), __entry->addr, __entry->phys,
		  __entry->len, __entry->flags & P2P_EXT_RAM ? "ram" : "mmio",
		  __entry->flags & P2P_EXT_RDONLY ? "ro" : "rw", __entry->dma)
);

/* An extent was granted and mapped for its importer; it is pending. */
DEFINE_EVENT(p2p_extent, p2p_map,
	TP_PROTO(const struct p2p_extent *ext),
	TP_ARGS(ext)
);

/* get_user_pages() got pages of the extent; it is released at once, they later. */
DEFINE_EVENT(p2p_extent, p2p_pin,
	TP_PROTO(const struct p2p_extent *ext),
	TP_ARGS(ext)
);

/* No importer uses the extent any more; ->p2p_unmap() comes next. */
DEFINE_EVENT(p2p_extent, p2p_unmap,
	TP_PROTO(const struct p2p_extent *ext),
	TP_ARGS(ext)
);

TRACE_EVENT(p2p_refuse,
	TP_PROTO(const struct device *importer, unsigned long addr,
		 enum p2p_reason reason, int err),
	TP_ARGS(importer, addr, reason, err),
	TP_STRUCT__entry(
		__string(importer, importer ? dev_name(importer) : "cpu")
		__field(unsigned long, addr)
		__field(int, reason)
		__field(int, err)
	),
	TP_fast_assign(
		__assign_str(importer);
		__entry->addr = addr;
		__entry->reason = reason;
		__entry->err = err;
	),
	TP_printk("importer=%s addr=%#lx reason=%s err=%d",
		  __get_str(importer), __entry->addr,
		  __print_symbolic(__entry->reason, P2P_REASONS), __entry->err)
);

/* The topology does not let the importer reach, or write to, the memory. */
TRACE_EVENT(p2p_unreachable,
	TP_PROTO(const struct p2p_extent *ext, const char *reason, int err),
	TP_ARGS(ext, reason, err),
	TP_STRUCT__entry(
		__string(importer, dev_name(ext->importer))
		__string(owner, dev_name(ext->exporter->region->owner))
		__string(reason, reason)
		__field(int, err)
	),
	TP_fast_assign(
		__assign_str(importer);
		__assign_str(owner);
		__assign_str(reason);
		__entry->err = err;
	),
	TP_printk("importer=%s owner=%s reason=%s err=%d",
		  __get_str(importer), __get_str(owner), __get_str(reason),
		  __entry->err)
);

/* The exporter asked to wait; the wait is over after @ms milliseconds. */
TRACE_EVENT(p2p_wait,
	TP_PROTO(const struct device *importer, unsigned int ms, int err),
	TP_ARGS(importer, ms, err),
	TP_STRUCT__entry(
		__string(importer, importer ? dev_name(importer) : "cpu")
		__field(unsigned int, ms)
		__field(int, err)
	),
	TP_fast_assign(
		__assign_str(importer);
		__entry->ms = ms;
		__entry->err = err;
	),
	TP_printk("importer=%s ms=%u err=%d", __get_str(importer), __entry->ms,
		  __entry->err)
);

/* A range that was to be pinned has peer memory and was registered on demand. */
TRACE_EVENT(p2p_on_demand,
	TP_PROTO(const struct device *importer, unsigned long addr,
		 u64 len, int err),
	TP_ARGS(importer, addr, len, err),
	TP_STRUCT__entry(
		__string(importer, dev_name(importer))
		__field(unsigned long, addr)
		__field(u64, len)
		__field(int, err)
	),
	TP_fast_assign(
		__assign_str(importer);
		__entry->addr = addr;
		__entry->len = len;
		__entry->err = err;
	),
	TP_printk("importer=%s addr=%#lx len=%#llx err=%d",
		  __get_str(importer), __entry->addr, __entry->len,
		  __entry->err)
);

/* An invalidation took @nr extents out of an importer's index. */
TRACE_EVENT(p2p_cut,
	TP_PROTO(const struct device *importer, unsigned long start,
		 unsigned long end, unsigned int nr),
	TP_ARGS(importer, start, end, nr),
	TP_STRUCT__entry(
		__string(importer, importer ? dev_name(importer) : "cpu")
		__field(unsigned long, start)
		__field(unsigned long, end)
		__field(unsigned int, nr)
	),
	TP_fast_assign(
		__assign_str(importer);
		__entry->start = start;
		__entry->end = end;
		__entry->nr = nr;
	),
	TP_printk("importer=%s start=%#lx end=%#lx extents=%u",
		  __get_str(importer), __entry->start, __entry->end,
		  __entry->nr)
);

#endif /* _TRACE_P2P_H */

#include <trace/define_trace.h>
