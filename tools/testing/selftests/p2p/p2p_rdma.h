/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Two connected queue pairs in one process, over one RDMA device.
 *
 *	struct p2p_rdma r;
 *	struct ibv_mr *src, *dst;
 *
 *	p2p_rdma_open(&r, NULL);
 *	src = p2p_rdma_reg(&r, buf, len, (uintptr_t)buf, P2P_RDMA_ALL);
 *	dst = p2p_rdma_reg(&r, gpu, len, 0, P2P_RDMA_ALL | IBV_ACCESS_ON_DEMAND);
 *	status = p2p_rdma_write(&r, (uintptr_t)buf, src->lkey, 0, dst->rkey, len);
 *	p2p_rdma_close(&r);
 *
 * Every operation is posted on r.req and served by r.resp. A status is an enum
 * ibv_wc_status (0 is IBV_WC_SUCCESS) or a negative errno. A failed operation
 * leaves both queue pairs in the error state: p2p_rdma_reset() makes new ones.
 *
 * Addresses are those that the MR was registered at (its iova).
 */
#ifndef P2P_RDMA_H
#define P2P_RDMA_H

#include <infiniband/verbs.h>
#include <stdbool.h>
#include <stdint.h>

#define P2P_RDMA_ALL (IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | \
		      IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC)

/* Access flags and types of a flush, which the library does not know. */
#define P2P_RDMA_FLUSH_GLOBAL		0x100
#define P2P_RDMA_FLUSH_PERSISTENT	0x200
#define P2P_RDMA_FLUSH_TYPE_GLOBAL	1
#define P2P_RDMA_FLUSH_TYPE_PERSISTENT	2

#define P2P_RDMA_DEPTH		64	/* outstanding operations */
#define P2P_RDMA_TIMEOUT_MS	30000	/* for one operation */

struct p2p_rdma_end {
	struct ibv_cq *cq;
	struct ibv_qp *qp;
};

struct p2p_rdma {
	struct ibv_context *ctx;
	struct ibv_pd *pd;
	struct ibv_port_attr port;
	union ibv_gid gid;
	int gid_index;
	bool odp;		/* the device can do on-demand paging */
	bool atomic_write;	/* the device and its library know IBV_WR_ATOMIC_WRITE */
	struct p2p_rdma_end req, resp;
};

struct p2p_rdma_op {
	enum ibv_wr_opcode opcode;
	uint64_t laddr;		/* the requester's buffer */
	uint32_t lkey;
	uint32_t len;
	uint64_t raddr;		/* the responder's buffer, unused for a send */
	uint32_t rkey;
	uint64_t compare_add;	/* atomics; the value of an atomic write */
	uint64_t swap;
};

/* name: of the device, NULL for the first one. 0 or -errno. */
int p2p_rdma_open(struct p2p_rdma *r, const char *name);
/* The MRs are the caller's: deregister them before. */
void p2p_rdma_close(struct p2p_rdma *r);
int p2p_rdma_reset(struct p2p_rdma *r);

/* NULL and errno on failure. */
struct ibv_mr *p2p_rdma_reg(struct p2p_rdma *r, void *addr, size_t len,
			    uint64_t iova, int access);
/* ibv_advise_mr() of one range on rxe, whose library lacks it. 0 or -errno. */
int p2p_rdma_advise(struct p2p_rdma *r, enum ibv_advise_mr_advice advice,
		    uint32_t flags, uint32_t lkey, uint64_t addr, uint32_t len);

/* In two steps: any number up to P2P_RDMA_DEPTH may be under way. */
int p2p_rdma_post(struct p2p_rdma *r, const struct p2p_rdma_op *op);
int p2p_rdma_post_recv(struct p2p_rdma *r, uint64_t addr, uint32_t lkey,
		       uint32_t len);
/* The next completion; timeout in ms, -ETIMEDOUT after that. wc may be NULL. */
int p2p_rdma_wait(struct p2p_rdma_end *end, struct ibv_wc *wc, int timeout);

/* In one step: post, wait, return the status. */
int p2p_rdma_run(struct p2p_rdma *r, const struct p2p_rdma_op *op);
int p2p_rdma_write(struct p2p_rdma *r, uint64_t laddr, uint32_t lkey,
		   uint64_t raddr, uint32_t rkey, uint32_t len);
int p2p_rdma_read(struct p2p_rdma *r, uint64_t laddr, uint32_t lkey,
		  uint64_t raddr, uint32_t rkey, uint32_t len);
/*
 * A flush, on rxe, whose library lacks it. The MR needs P2P_RDMA_FLUSH_* in its
 * access flags. -EOPNOTSUPP if the library's send queue is not as expected.
 */
int p2p_rdma_flush(struct p2p_rdma *r, uint64_t raddr, uint32_t rkey,
		   uint32_t len, unsigned int type);
/* A receive of raddr/rkey and a send that fills it. */
int p2p_rdma_send(struct p2p_rdma *r, uint64_t laddr, uint32_t lkey,
		  uint64_t raddr, uint32_t rkey, uint32_t len);

#endif
