// SPDX-License-Identifier: GPL-2.0
/*
 * A process of p2p_torture that dies at work: with transfers under way, with
 * everything open or closed in any order, by exit, exec or a signal. Nobody
 * checks its data; the others and free VRAM must not notice it.
 */
#include "torture.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct doomed {
	struct t_rng rng;
	struct gpu_mr m;
	int edu;
	uint64_t dev;
	int slot;
	aio_context_t aio;
};

static void post(struct doomed *d)
{
	size_t off = t_below(&d->rng, d->m.len);
	size_t len = 1 + t_below(&d->rng, d->m.len - off);

	if (!d->m.mr)
		return;
	memset(d->m.peer, 0xd0, len);
	gpu_mr_post(&d->m, t_one_in(&d->rng, 2) ? IBV_WR_RDMA_READ :
						  IBV_WR_RDMA_WRITE,
		    off, 0, len);
	t_count(OP_DOOMED_IO);
}

static void use_edu(struct doomed *d)
{
	size_t off = t_below(&d->rng, d->m.len - 16);

	if (d->edu < 0)
		d->edu = edu_open();
	if (d->edu < 0)
		return;
	if (!d->dev && edu_reg(d->edu, d->m.buf, d->m.len, 0, &d->dev))
		return;
	edu_write(d->edu, d->dev + off, d->m.peer, 16);
	t_count(OP_DOOMED_IO);
}

static void act(struct doomed *d)
{
	struct ibv_wc wc[16];

	switch (t_below(&d->rng, 24)) {
	case 0:
		if (t->exporter == T_OBJECT)
			gpu_move(&d->m.o, t_below(&d->rng, 2));
		break;
	case 1:
		munmap(d->m.o.ptr + t_below(&d->rng, d->m.gpu), T_PAGE);
		break;
	case 2:
		mprotect(d->m.o.ptr, T_PAGE, PROT_READ);
		break;
	case 3:
		/* A late DMA needs to know who used the engine last. */
		if (t->edu && !t->again && t_one_in(&d->rng, 3))
			use_edu(d);
		break;
	case 4:
		p2p_rdma_reset(&d->m.r);
		break;
	case 5:
		if (t->exporter == T_OBJECT && t_one_in(&d->rng, 10))
			gpu_free(&d->m.o);
		break;
	case 6:
		if (t_one_in(&d->rng, 5) && !fork())
			_exit(0);
		break;
	case 7:
	case 8:
	case 9:
		t_dio_post(&d->rng, &d->aio, d->slot, d->m.buf, d->m.len);
		break;
	default:
		post(d);
		ibv_poll_cq(d->m.r.req.cq, 16, wc);
		break;
	}
}

static void die(struct doomed *d)
{
	switch (t_below(&d->rng, 8)) {
	case 0:
		munmap(d->m.buf, d->m.len);
		break;
	case 1:
		close(d->m.o.fd);
		break;
	case 2:
		if (t->exporter == T_OBJECT)
			gpu_free(&d->m.o);
		break;
	case 3:
		gpu_mr_dereg(&d->m);
		break;
	case 4:
		if (d->edu >= 0)
			close(d->edu);
		break;
	case 5:
		execl("/bin/true", "true", NULL);
		break;
	case 6:
		gpu_mr_close(&d->m);
		break;
	case 7:
		abort();
	}
	_exit(0);
}

void t_doomed_process(int slot, unsigned int who)
{
	struct doomed d = { .edu = -1, .slot = slot };
	unsigned int n;

	t_seed(&d.rng, who);
	d.m.ram = T_PAGE;
	d.m.gpu = (1 + t_below(&d.rng, 16)) * T_PAGE;
	if (t_open(&d.m, slot))
		_exit(0);	/* the GPU is away */
	memset(d.m.peer, 0xd0, d.m.len);
	t_note(OP_DOOMED, "process %d", getpid());
	n = t_below(&d.rng, 200);
	for (unsigned int i = 0; i < n && !t->stop; i++) {
		t_begin(slot, OP_DOOMED);
		act(&d);
	}
	die(&d);
}
