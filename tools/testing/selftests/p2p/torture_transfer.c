// SPDX-License-Identifier: GPL-2.0
/*
 * Transfers of p2p_torture, by RDMA, by the DMA engine and by the CPU: each
 * writes data that names itself, or reads, and is judged by the oracle.
 */
#include "torture.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

/* A file, so that the lock goes with its holder: EX for a late DMA, else SH. */
static const char edu_lock_path[] = "/run/p2p_torture.lock";

static bool writes(enum t_op op)
{
	return op == OP_WRITE || op == OP_SEND || op == OP_GET ||
	       op == OP_EDU_WRITE || op == OP_EDU_AGAIN;
}

static int edu_lock(int how)
{
	int fd = open(edu_lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd >= 0)
		flock(fd, how);
	return fd;
}

static int do_transfer(struct t_worker *w, enum t_op op, size_t off, size_t len)
{
	struct gpu_mr *m = &w->m;
	int lock, ret;

	switch (op) {
	case OP_WRITE:
		return gpu_mr_write(m, off, len);
	case OP_READ:
		return gpu_mr_read(m, off, len);
	case OP_SEND:
		return gpu_mr_send(m, off, len);
	case OP_PUT:
		return gpu_mr_put(m, off, len);
	case OP_GET:
		return gpu_mr_get(m, off, len);
	case OP_SEND_FROM:
		return gpu_mr_send_from(m, off, len);
	default:
		break;
	}
	lock = edu_lock(LOCK_SH);
	do	/* the end of an io_uring may come as a signal, later */
		ret = op == OP_EDU_WRITE ?
			edu_write(w->edu, w->dev + off, w->m.peer, len) :
			edu_read(w->edu, w->dev + off, w->m.peer, len);
	while (ret == -EINTR);
	close(lock);
	return ret;
}

void t_choose(struct t_worker *w, size_t most, size_t *off, size_t *len)
{
	struct t_rng *r = &w->rng;
	size_t end;

	switch (t_below(r, 4)) {
	case 0:
		*off = t_below(r, w->m.len);
		break;
	case 1:
		*off = T_GPU_OFF - 1 - t_below(r, 1000);
		break;
	case 2:
		*off = T_GPU_OFF + w->m.gpu - 1 - t_below(r, 1000);
		break;
	case 3:
		*off = T_GPU_OFF + t_below(r, w->m.gpu);
		break;
	}
	end = *off + 1 + t_below(r, t_one_in(r, 3) ? 64 : most);
	*len = (end < w->m.len ? end : w->m.len) - *off;
}

/* After an operation: what does the memory hold? */
static int look(struct t_worker *w, size_t off, size_t len, const char *what)
{
	size_t from = off > 64 ? off - 64 : 0;
	size_t to = off + len + 64 < w->m.len ? off + len + 64 : w->m.len;

	return t_check(w, from, to - from, what);
}

int t_transfer(struct t_worker *w, enum t_op op)
{
	bool edu = op == OP_EDU_WRITE || op == OP_EDU_READ;
	bool write = writes(op);
	struct t_snap before, after;
	struct t_verdict v = { };
	size_t off, len;
	int status, ret;

	t_choose(w, edu ? 3000 : 9000, &off, &len);
	if (write) {
		t_new_data(w, off, len);
		memcpy(w->m.peer, w->pat, len);
	} else {
		memset(w->m.peer, 0xee, len);
	}
	t_snap(w, &before);
	memcpy(w->was_over, w->over.want, sizeof(w->was_over));
	status = do_transfer(w, op, off, len);
	t_snap(w, &after);
	t_expect(w, &before, &after, off, len, write, edu ? BY_EDU : BY_RDMA,
		 &v);
	ret = t_outcome(w, op, &v, status, off, len);
	if (ret)
		return ret;
	if (status && !edu)
		ret = p2p_rdma_reset(&w->m.r);
	if (ret)
		return t_fail("worker %d: no new queue pair: %d", w->id, ret);

	if (!write)
		return status ? 0 : t_check_read(w, &before, v.lax, w->m.peer,
						 off, len, t_op_names[op]);
	pthread_mutex_lock(&w->map_lock);
	t_written(w, &before, &v, !status, w->pat, off, len);
	ret = look(w, off, len, t_op_names[op]);
	pthread_mutex_unlock(&w->map_lock);
	return ret < 0 ? ret : 0;
}

/* The engine copies from the RAM part to anywhere, or from anywhere to RAM. */
int t_edu_copy(struct t_worker *w)
{
	bool from_ram = t_one_in(&w->rng, 2);
	struct t_snap before, after;
	struct t_verdict v = { };
	size_t ram, off, len, dst;
	int status, lock, ret;

	/* That would be other data than that of the write before. */
	from_ram &= !w->unseen;
	do
		t_choose(w, 2000, &off, &len);
	while (off < T_GPU_OFF);
	ram = t_below(&w->rng, T_GPU_OFF - len);
	dst = from_ram ? off : ram;
	t_snap(w, &before);
	memcpy(w->was_over, w->over.want, sizeof(w->was_over));
	lock = edu_lock(LOCK_SH);
	do
		status = edu_copy(w->edu, w->dev + (from_ram ? ram : off),
				  w->dev + dst, len);
	while (status == -EINTR);
	close(lock);
	t_snap(w, &after);
	t_expect(w, &before, &after, off, len, from_ram, BY_EDU, &v);
	t_expect(w, &before, &after, ram, len, !from_ram, BY_EDU, &v);
	ret = t_outcome(w, OP_EDU_COPY, &v, status, dst, len);
	if (ret)
		return ret;

	pthread_mutex_lock(&w->map_lock);
	if (from_ram) {
		memcpy(w->pat, w->main.want + ram, len);
		t_written(w, &before, &v, !status, w->pat, off, len);
		ret = look(w, off, len, "DMA from RAM");
	} else {
		memcpy(w->tmp, w->m.buf + ram, len);
		/* Failed half-way: the end is as it was. */
		for (size_t n = len; status && n; n--) {
			if (w->tmp[n - 1] != w->main.want[ram + n - 1])
				break;
			len = n - 1;
		}
		ret = t_check_read(w, &before, v.lax, w->tmp, off, len,
				   "DMA to RAM");
		memcpy(w->main.want + ram, w->tmp, len);
		memcpy(w->main.alt + ram, w->tmp, len);
	}
	pthread_mutex_unlock(&w->map_lock);
	return ret < 0 ? ret : 0;
}

/*
 * A device that goes on: the engine is sent to the object once more, arrives
 * 0.1 s later, and the object is taken back right before. An IOMMU has to stop
 * it, or the canary of free VRAM shows it. The data is what was there already,
 * so that arriving in time changes nothing.
 */
int t_edu_again(struct t_worker *w)
{
	struct t_snap before, after;
	struct t_verdict v = { };
	size_t off, len;
	int status, err, lock;
	unsigned char c;

	len = 1 + t_below(&w->rng, 500);
	off = T_GPU_OFF + t_below(&w->rng, w->m.gpu / T_PAGE) * T_PAGE +
	      t_below(&w->rng, T_PAGE / 2 - len);
	t_new_data(w, off, len);
	lock = edu_lock(LOCK_EX);
	pthread_mutex_lock(&w->imp_lock);
	t_snap(w, &before);
	memcpy(w->was_over, w->over.want, sizeof(w->was_over));
	do
		status = edu_write(w->edu, w->dev + off, w->pat, len);
	while (status == -EINTR);
	t_snap(w, &after);
	t_expect(w, &before, &after, off, len, true, BY_EDU, &v);
	if (t_outcome(w, OP_EDU_AGAIN, &v, status, off, len))
		goto unlock;
	pthread_mutex_lock(&w->map_lock);
	t_written(w, &before, &v, !status, w->pat, off, len);
	t_check(w, off, len, t_op_names[OP_EDU_AGAIN]);
	pthread_mutex_unlock(&w->map_lock);
	if (status || v.may_fail || edu_again())
		goto unlock;
	usleep(80000 + t_below(&w->rng, 22000));
	if (t_one_in(&w->rng, 4)) {
		w->freed = !gpu_free(&w->m.o);
	} else {
		atomic_fetch_add(&w->move_begin, 1);
		err = gpu_move(&w->m.o, w->where ^ 1);
		if (!err)
			w->where ^= 1;
		atomic_fetch_add(&w->move_end, 1);
	}
	/* Any use waits for the end. */
	edu_read(w->edu, w->dev, &c, 1);
unlock:
	pthread_mutex_unlock(&w->imp_lock);
	close(lock);
	return t->failed ? -1 : 0;
}

int t_cpu_write(struct t_worker *w)
{
	struct t_snap before, after;
	struct t_verdict v = { };
	size_t off, len;
	int err, ret;

	t_choose(w, 5000, &off, &len);
	t_new_data(w, off, len);
	pthread_mutex_lock(&w->map_lock);
	t_snap(w, &before);
	err = t_cpu_copy(w->m.buf + off, w->pat, len);
	t_snap(w, &after);
	t_expect(w, &before, &after, off, len, true, BY_CPU, &v);
	t_count(OP_CPU_WRITE);
	if (err ? !v.may_fail && !v.must_fail : v.must_fail)
		ret = t_fail("worker %d: CPU write of %zu bytes at %#zx: %d (%#x)",
			     w->id, len, off, err, v.why);
	t_written(w, &before, &v, !err, w->pat, off, len);
	ret = look(w, off, len, "CPU write");
	pthread_mutex_unlock(&w->map_lock);
	return ret < 0 ? ret : 0;
}
