/* SPDX-License-Identifier: GPL-2.0 */
/*
 * One on-demand MR over RAM, a GPU object and RAM at adjacent addresses, and a
 * peer with an ordinary MR. What the tests of the GPU's memory begin with.
 *
 * A status is as in p2p_rdma.h. Offsets count from the begin of the buffer.
 */
#ifndef GPU_MR_H
#define GPU_MR_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include "gpu.h"
#include "p2p_rdma.h"

#define GPU_MR_ODP	(P2P_RDMA_ALL | IBV_ACCESS_ON_DEMAND)
#define GPU_MR_RW	(PROT_READ | PROT_WRITE)
#define GPU_PAGE	4096UL

struct gpu_mr {
	/* set before gpu_mr_open() */
	size_t ram;		/* bytes of RAM on either side, may be 0 */
	size_t gpu;		/* bytes of the object */
	unsigned int flags;	/* P2P_GPU_PEERS_* */
	int prot;		/* of the object's mapping, 0: read and write */
	int access;		/* of the MR, 0: GPU_MR_ODP */
	int open_flags;		/* of the device, 0: O_RDWR */
	bool border;		/* a border of 1 GiB in the middle of the buffer */
	bool no_reg;		/* leave it to the test to register an MR */
	uint64_t iova;		/* 0: the address */

	struct p2p_rdma r;
	struct gpu_obj o;
	unsigned char *buf;
	size_t len;
	struct ibv_mr *mr;
	unsigned char *peer;	/* as long as buf */
	struct ibv_mr *peer_mr;
};

/*
 * 0 or -errno. The buffer is alone in a gigabyte of addresses, so that without
 * RAM beside it the CPU has no page tables there at all.
 */
int gpu_mr_open(struct gpu_mr *m);
/*
 * The same over any file that can be mapped: m->o.fd at m->o.offset. The file is
 * closed with all the rest, also after a failure. m->buf may be m->len bytes of
 * RAM that are there already.
 */
int gpu_mr_open_file(struct gpu_mr *m);
void gpu_mr_close(struct gpu_mr *m);
int gpu_mr_reg(struct gpu_mr *m);
void gpu_mr_dereg(struct gpu_mr *m);

/* The buffer is the remote one: the peer writes to it, reads it, sends. */
int gpu_mr_write(struct gpu_mr *m, size_t off, size_t len);
int gpu_mr_read(struct gpu_mr *m, size_t off, size_t len);
int gpu_mr_send(struct gpu_mr *m, size_t off, size_t len);
/* The buffer is the local one: we write to the peer, read from it, send. */
int gpu_mr_put(struct gpu_mr *m, size_t off, size_t len);
int gpu_mr_get(struct gpu_mr *m, size_t off, size_t len);
int gpu_mr_send_from(struct gpu_mr *m, size_t off, size_t len);

/* Post a write or read without waiting; p2p_rdma_wait() for m->r.req. */
int gpu_mr_post(struct gpu_mr *m, enum ibv_wr_opcode op, size_t off,
		size_t peer_off, size_t len);

/*
 * The peer writes [off, off + len) and reads it back, and the CPU agrees with
 * both. The status, or -EBADMSG if the data is wrong.
 */
int gpu_mr_works(struct gpu_mr *m, size_t off, size_t len);
int gpu_mr_ram_works(struct gpu_mr *m);

/*
 * Writes to the memory between the RAM, and reads it back, by the peer only, until
 * told to stop: the CPU would get SIGBUS. Nobody else uses m->r meanwhile.
 */
struct gpu_traffic {
	pthread_t thread;
	struct gpu_mr *m;
	atomic_bool stop;
	atomic_int good, refused, wrong;
};

int gpu_traffic_start(struct gpu_traffic *t, struct gpu_mr *m);
void gpu_traffic_stop(struct gpu_traffic *t);
/* Wait up to 20 s for @n more of a counter. */
bool gpu_traffic_more(atomic_int *count, int n);

void fill_random(unsigned char *p, size_t len);

/* Trace events p2p:*, of whatever happens since p2p_trace_begin(). */
int p2p_trace_begin(void);
/* How often, with text in the line (NULL: any); -errno if there is no tracing. */
int p2p_trace_count(const char *event, const char *text);
/* Wait up to 10 s for at least n of them. */
bool p2p_trace_seen(const char *event, const char *text, int n);

/* The operation is refused by the remote side. Makes new queue pairs. */
#define EXPECT_REFUSED(m, operation) do {				\
	EXPECT_EQ(IBV_WC_REM_ACCESS_ERR, (operation));			\
	ASSERT_EQ(0, p2p_rdma_reset(&(m)->r));				\
} while (0)

/* The peer can write and read [off, off + len). */
#define EXPECT_WORKS(m, off, len)	EXPECT_EQ(0, gpu_mr_works(m, off, len))
/* and the RAM around the object */
#define EXPECT_RAM_WORKS(m)		EXPECT_EQ(0, gpu_mr_ram_works(m))

#endif
