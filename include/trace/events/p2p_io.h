/* SPDX-License-Identifier: GPL-2.0 */
/* Tracepoints of direct I/O to peer memory that did not go by DMA. */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM p2p

#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE p2p_io

#if !defined(_TRACE_P2P_IO_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_P2P_IO_H

#include <linux/bio-p2p.h>
#include <linux/blkdev.h>
#include <linux/device.h>
#include <linux/tracepoint.h>

#define P2P_CPU_PATHS						\
	EM(P2P_CPU_HOLE,	"hole")				\
	EM(P2P_CPU_INLINE,	"inline")			\
	EM(P2P_CPU_BUFFERED,	"buffered")			\
	EMe(P2P_CPU_STABLE,	"stable")

#undef EM
#undef EMe
#define EM(a, b)	TRACE_DEFINE_ENUM(a);
#define EMe(a, b)	TRACE_DEFINE_ENUM(a);
P2P_CPU_PATHS
#undef EM
#undef EMe
#define EM(a, b)	{ a, b },
#define EMe(a, b)	{ a, b }

DECLARE_EVENT_CLASS(p2p_bio,
	TP_PROTO(const struct bio *bio, const struct device *owner,
		 blk_status_t status),
	TP_ARGS(bio, owner, status),
	TP_STRUCT__entry(
		__string(owner, dev_name(owner))
		__field(dev_t, dev)
		__field(sector_t, sector)
		__field(unsigned int, bytes)
		__field(bool, write)
		__field(int, err)
	),
	TP_fast_assign(
		__assign_str(owner);
		__entry->dev = bio_dev(bio);
		__entry->sector = bio->bi_iter.bi_sector;
		__entry->bytes = bio->bi_iter.bi_size;
		__entry->write = op_is_write(bio_op(bio));
		__entry->err = blk_status_to_errno(status);
	),
	TP_printk("owner=%s dev=%d,%d %s sector=%llu bytes=%u reason=topology err=%d",
		  __get_str(owner), MAJOR(__entry->dev), MINOR(__entry->dev),
		  __entry->write ? "write" : "read",
		  (unsigned long long)__entry->sector, __entry->bytes,
		  __entry->err)
);

/* The device cannot reach the memory: the data went through RAM. */
DEFINE_EVENT(p2p_bio, p2p_bounce,
	TP_PROTO(const struct bio *bio, const struct device *owner,
		 blk_status_t status),
	TP_ARGS(bio, owner, status)
);

/* The device cannot reach the memory, and the data must not go through RAM. */
DEFINE_EVENT(p2p_bio, p2p_io_refuse,
	TP_PROTO(const struct bio *bio, const struct device *owner,
		 blk_status_t status),
	TP_ARGS(bio, owner, status)
);

/* No device is asked: the CPU copies, or must not (err). */
TRACE_EVENT(p2p_cpu,
	TP_PROTO(const struct device *owner, size_t bytes,
		 enum p2p_cpu_path path, int err),
	TP_ARGS(owner, bytes, path, err),
	TP_STRUCT__entry(
		__string(owner, dev_name(owner))
		__field(size_t, bytes)
		__field(int, path)
		__field(int, err)
	),
	TP_fast_assign(
		__assign_str(owner);
		__entry->bytes = bytes;
		__entry->path = path;
		__entry->err = err;
	),
	TP_printk("owner=%s bytes=%zu reason=%s err=%d", __get_str(owner),
		  __entry->bytes, __print_symbolic(__entry->path, P2P_CPU_PATHS),
		  __entry->err)
);

#endif /* _TRACE_P2P_IO_H */

#include <trace/define_trace.h>
