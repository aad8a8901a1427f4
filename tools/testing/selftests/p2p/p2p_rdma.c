// SPDX-License-Identifier: GPL-2.0
/* See p2p_rdma.h. */

#include "p2p_rdma.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>
#include <rdma/rdma_user_ioctl.h>
#include <rdma/ib_user_ioctl_cmds.h>
#include <rdma/ib_user_ioctl_verbs.h>

static int end_create(struct p2p_rdma *r, struct p2p_rdma_end *end)
{
	struct ibv_qp_init_attr_ex attr = {
		.qp_type = IBV_QPT_RC,
		.sq_sig_all = 1,
		.pd = r->pd,
		.cap = {
			.max_send_wr = P2P_RDMA_DEPTH,
			.max_recv_wr = P2P_RDMA_DEPTH,
			.max_send_sge = 1,
			.max_recv_sge = 1,
		},
		.comp_mask = IBV_QP_INIT_ATTR_PD |
			     IBV_QP_INIT_ATTR_SEND_OPS_FLAGS,
		.send_ops_flags = IBV_QP_EX_WITH_ATOMIC_WRITE |
				  IBV_QP_EX_WITH_RDMA_WRITE,
	};

	end->cq = ibv_create_cq(r->ctx, 2 * P2P_RDMA_DEPTH, NULL, NULL, 0);
	if (!end->cq)
		return -errno;

	attr.send_cq = end->cq;
	attr.recv_cq = end->cq;
	end->qp = ibv_create_qp_ex(r->ctx, &attr);
	r->atomic_write = !!end->qp;
	if (!end->qp) {
		attr.comp_mask = IBV_QP_INIT_ATTR_PD;
		end->qp = ibv_create_qp_ex(r->ctx, &attr);
	}
	return end->qp ? 0 : -errno;
}

static void end_destroy(struct p2p_rdma_end *end)
{
	if (end->qp)
		ibv_destroy_qp(end->qp);
	if (end->cq)
		ibv_destroy_cq(end->cq);
	memset(end, 0, sizeof(*end));
}

static int end_connect(struct p2p_rdma *r, struct ibv_qp *qp, struct ibv_qp *to)
{
	struct ibv_qp_attr attr = {
		.qp_state = IBV_QPS_INIT,
		.port_num = 1,
		.qp_access_flags = P2P_RDMA_ALL | P2P_RDMA_FLUSH_GLOBAL |
				   P2P_RDMA_FLUSH_PERSISTENT,
	};
	int err;

	err = ibv_modify_qp(qp, &attr, IBV_QP_STATE | IBV_QP_PKEY_INDEX |
			    IBV_QP_PORT | IBV_QP_ACCESS_FLAGS);
	if (err)
		return -err;

	attr = (struct ibv_qp_attr) {
		.qp_state = IBV_QPS_RTR,
		.path_mtu = r->port.active_mtu,
		.dest_qp_num = to->qp_num,
		.max_dest_rd_atomic = 16,
		.min_rnr_timer = 12,
		.ah_attr = {
			.is_global = 1,
			.port_num = 1,
			.grh = {
				.dgid = r->gid,
				.sgid_index = r->gid_index,
				.hop_limit = 1,
			},
		},
	};
	err = ibv_modify_qp(qp, &attr, IBV_QP_STATE | IBV_QP_AV |
			    IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
			    IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER);
	if (err)
		return -err;

	/* 18: a second until a retry, as an emulated machine can be slow. */
	attr = (struct ibv_qp_attr) {
		.qp_state = IBV_QPS_RTS,
		.timeout = 18,
		.retry_cnt = 7,
		.rnr_retry = 7,
		.max_rd_atomic = 16,
	};
	return -ibv_modify_qp(qp, &attr, IBV_QP_STATE | IBV_QP_TIMEOUT |
			      IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
			      IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC);
}

int p2p_rdma_reset(struct p2p_rdma *r)
{
	int err;

	end_destroy(&r->req);
	end_destroy(&r->resp);

	err = end_create(r, &r->req);
	if (!err)
		err = end_create(r, &r->resp);
	if (!err)
		err = end_connect(r, r->req.qp, r->resp.qp);
	if (!err)
		err = end_connect(r, r->resp.qp, r->req.qp);
	return err;
}

/* RoCE v2 over IPv4: the GID that maps an IPv4 address. */
static int find_gid(struct p2p_rdma *r)
{
	static const uint8_t v4[12] = { [10] = 0xff, [11] = 0xff };
	int i;

	for (i = 0; i < r->port.gid_tbl_len; i++) {
		if (!ibv_query_gid(r->ctx, 1, i, &r->gid) &&
		    !memcmp(r->gid.raw, v4, sizeof(v4))) {
			r->gid_index = i;
			return 0;
		}
	}
	return -EADDRNOTAVAIL;
}

int p2p_rdma_open(struct p2p_rdma *r, const char *name)
{
	struct ibv_device_attr_ex attr;
	struct ibv_device **list;
	int i, err = -ENODEV;

	memset(r, 0, sizeof(*r));

	list = ibv_get_device_list(NULL);
	if (!list)
		return -errno;
	for (i = 0; list[i] && !r->ctx; i++) {
		if (name && strcmp(name, ibv_get_device_name(list[i])))
			continue;
		r->ctx = ibv_open_device(list[i]);
		if (!r->ctx)
			err = -errno;
	}
	ibv_free_device_list(list);
	if (!r->ctx)
		return err;

	err = -ibv_query_port(r->ctx, 1, &r->port);
	if (!err)
		err = find_gid(r);
	if (err)
		goto fail;

	if (!ibv_query_device_ex(r->ctx, NULL, &attr))
		r->odp = attr.odp_caps.general_caps & IBV_ODP_SUPPORT;

	r->pd = ibv_alloc_pd(r->ctx);
	if (!r->pd) {
		err = -errno;
		goto fail;
	}

	err = p2p_rdma_reset(r);
	if (!err)
		return 0;
fail:
	p2p_rdma_close(r);
	return err;
}

void p2p_rdma_close(struct p2p_rdma *r)
{
	end_destroy(&r->req);
	end_destroy(&r->resp);
	if (r->pd)
		ibv_dealloc_pd(r->pd);
	if (r->ctx)
		ibv_close_device(r->ctx);
	memset(r, 0, sizeof(*r));
}

struct ibv_mr *p2p_rdma_reg(struct p2p_rdma *r, void *addr, size_t len,
			    uint64_t iova, int access)
{
	return ibv_reg_mr_iova(r->pd, addr, len, iova, access);
}

int p2p_rdma_advise(struct p2p_rdma *r, enum ibv_advise_mr_advice advice,
		    uint32_t flags, uint32_t lkey, uint64_t addr, uint32_t len)
{
	struct ibv_sge sge = { .addr = addr, .length = len, .lkey = lkey };
	struct {
		struct ib_uverbs_ioctl_hdr hdr;
		struct ib_uverbs_attr attrs[4];
	} cmd = {
		.hdr = {
			.length = sizeof(cmd),
			.object_id = UVERBS_OBJECT_MR,
			.method_id = UVERBS_METHOD_ADVISE_MR,
			.num_attrs = 4,
			.driver_id = RDMA_DRIVER_RXE,
		},
		.attrs = {
			{
				.attr_id = UVERBS_ATTR_ADVISE_MR_PD_HANDLE,
				.flags = UVERBS_ATTR_F_MANDATORY,
				.data = r->pd->handle,
			}, {
				.attr_id = UVERBS_ATTR_ADVISE_MR_ADVICE,
				.flags = UVERBS_ATTR_F_MANDATORY,
				.len = sizeof(uint64_t),
				.data = advice,
			}, {
				.attr_id = UVERBS_ATTR_ADVISE_MR_FLAGS,
				.flags = UVERBS_ATTR_F_MANDATORY,
				.len = sizeof(uint64_t),
				.data = flags,
			}, {
				.attr_id = UVERBS_ATTR_ADVISE_MR_SGE_LIST,
				.flags = UVERBS_ATTR_F_MANDATORY,
				.len = sizeof(sge),
				.data = (uintptr_t)&sge,
			},
		},
	};

	return ioctl(r->ctx->cmd_fd, RDMA_VERBS_IOCTL, &cmd.hdr) ? -errno : 0;
}

int p2p_rdma_post(struct p2p_rdma *r, const struct p2p_rdma_op *op)
{
	struct ibv_sge sge = {
		.addr = op->laddr,
		.length = op->len,
		.lkey = op->lkey,
	};
	struct ibv_send_wr *bad, wr = {
		.sg_list = &sge,
		.num_sge = 1,
		.opcode = op->opcode,
	};

	switch (op->opcode) {
	case IBV_WR_RDMA_WRITE:
	case IBV_WR_RDMA_READ:
		wr.wr.rdma.remote_addr = op->raddr;
		wr.wr.rdma.rkey = op->rkey;
		break;
	case IBV_WR_ATOMIC_CMP_AND_SWP:
	case IBV_WR_ATOMIC_FETCH_AND_ADD:
		wr.wr.atomic.remote_addr = op->raddr;
		wr.wr.atomic.rkey = op->rkey;
		wr.wr.atomic.compare_add = op->compare_add;
		wr.wr.atomic.swap = op->swap;
		break;
	case IBV_WR_ATOMIC_WRITE: {
		struct ibv_qp_ex *qpx = ibv_qp_to_qp_ex(r->req.qp);

		if (!r->atomic_write)
			return -EOPNOTSUPP;
		ibv_wr_start(qpx);
		ibv_wr_atomic_write(qpx, op->rkey, op->raddr, &op->compare_add);
		return -ibv_wr_complete(qpx);
	}
	default:
		break;
	}
	return -ibv_post_send(r->req.qp, &wr, &bad);
}

int p2p_rdma_post_recv(struct p2p_rdma *r, uint64_t addr, uint32_t lkey,
		       uint32_t len)
{
	struct ibv_sge sge = { .addr = addr, .length = len, .lkey = lkey };
	struct ibv_recv_wr *bad, wr = { .sg_list = &sge, .num_sge = 1 };

	return -ibv_post_recv(r->resp.qp, &wr, &bad);
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

int p2p_rdma_wait(struct p2p_rdma_end *end, struct ibv_wc *wc, int timeout)
{
	int64_t until = now_ms() + timeout;
	struct ibv_wc unused;
	int n;

	if (!wc)
		wc = &unused;
	for (;;) {
		n = ibv_poll_cq(end->cq, 1, wc);
		if (n > 0)
			return wc->status;
		if (n < 0)
			return -EIO;
		if (now_ms() > until)
			return -ETIMEDOUT;
		usleep(50);
	}
}

int p2p_rdma_run(struct p2p_rdma *r, const struct p2p_rdma_op *op)
{
	int err = p2p_rdma_post(r, op);

	return err ? err : p2p_rdma_wait(&r->req, NULL, P2P_RDMA_TIMEOUT_MS);
}

/* The head of rxe's send queue entry, as its library and the kernel know it. */
struct rxe_send_entry {
	uint64_t wr_id;
	uint32_t reserved;
	uint32_t opcode;
	uint32_t send_flags;
	uint32_t imm_data;
	uint64_t remote_addr;
	uint32_t length;	/* from here on: of a flush */
	uint32_t rkey;
	uint8_t type;
	uint8_t level;
};

#define RXE_OPCODE_FLUSH	14
#define RXE_FLUSH_RANGE		0
#define RXE_FLUSH_MAGIC		0x7032705f666c7573ULL

/* The entry with the magic wr_id in the queues that are mapped from the device. */
static struct rxe_send_entry *find_entry(void)
{
	FILE *f = fopen("/proc/self/maps", "r");
	struct rxe_send_entry *e = NULL;
	unsigned long start, end;
	char line[512];

	while (f && !e && fgets(line, sizeof(line), f)) {
		if (!strstr(line, "/dev/infiniband/uverbs") ||
		    sscanf(line, "%lx-%lx", &start, &end) != 2)
			continue;
		for (; !e && start + sizeof(*e) <= end; start += 8)
			if (*(uint64_t *)start == RXE_FLUSH_MAGIC)
				e = (struct rxe_send_entry *)start;
	}
	if (f)
		fclose(f);
	return e;
}

/* A write, turned into a flush while the kernel does not look yet. */
int p2p_rdma_flush(struct p2p_rdma *r, uint64_t raddr, uint32_t rkey,
		   uint32_t len, unsigned int type)
{
	struct ibv_qp_ex *qpx = ibv_qp_to_qp_ex(r->req.qp);
	struct rxe_send_entry *e;
	int err;

	if (!r->atomic_write)	/* no ibv_wr_ calls */
		return -EOPNOTSUPP;
	ibv_wr_start(qpx);
	qpx->wr_id = RXE_FLUSH_MAGIC;
	ibv_wr_rdma_write(qpx, rkey, raddr);
	ibv_wr_set_sge(qpx, 0, 0, len);	/* only its length is used */
	e = find_entry();
	if (!e) {
		ibv_wr_abort(qpx);
		return -EOPNOTSUPP;
	}
	e->wr_id = 0;
	e->opcode = RXE_OPCODE_FLUSH;
	e->length = len;
	e->rkey = rkey;
	e->type = type;
	e->level = RXE_FLUSH_RANGE;
	err = -ibv_wr_complete(qpx);
	return err ? err : p2p_rdma_wait(&r->req, NULL, P2P_RDMA_TIMEOUT_MS);
}

int p2p_rdma_write(struct p2p_rdma *r, uint64_t laddr, uint32_t lkey,
		   uint64_t raddr, uint32_t rkey, uint32_t len)
{
	struct p2p_rdma_op op = {
		.opcode = IBV_WR_RDMA_WRITE,
		.laddr = laddr, .lkey = lkey, .len = len,
		.raddr = raddr, .rkey = rkey,
	};

	return p2p_rdma_run(r, &op);
}

int p2p_rdma_read(struct p2p_rdma *r, uint64_t laddr, uint32_t lkey,
		  uint64_t raddr, uint32_t rkey, uint32_t len)
{
	struct p2p_rdma_op op = {
		.opcode = IBV_WR_RDMA_READ,
		.laddr = laddr, .lkey = lkey, .len = len,
		.raddr = raddr, .rkey = rkey,
	};

	return p2p_rdma_run(r, &op);
}

int p2p_rdma_send(struct p2p_rdma *r, uint64_t laddr, uint32_t lkey,
		  uint64_t raddr, uint32_t rkey, uint32_t len)
{
	struct p2p_rdma_op op = {
		.opcode = IBV_WR_SEND,
		.laddr = laddr, .lkey = lkey, .len = len,
	};
	int err, status;

	err = p2p_rdma_post_recv(r, raddr, rkey, len);
	if (err)
		return err;
	status = p2p_rdma_run(r, &op);
	if (status)
		return status;
	return p2p_rdma_wait(&r->resp, NULL, P2P_RDMA_TIMEOUT_MS);
}
