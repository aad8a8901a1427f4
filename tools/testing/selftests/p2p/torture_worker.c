// SPDX-License-Identifier: GPL-2.0
/*
 * The workers of p2p_torture: each has a buffer of RAM, a GPU object and RAM,
 * in an on-demand MR and a range of the DMA engine, and a place on each disk, and
 * checks every byte of every transfer. Its imp moves the object and changes the
 * mapping meanwhile.
 */
#include "torture.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* t_open() and libibverbs' start are for one thread at a time. */
static pthread_mutex_t open_lock = PTHREAD_MUTEX_INITIALIZER;

static bool steady(enum t_event ev, unsigned int *gen)
{
	*gen = t->ev[ev].end;
	return t->ev[ev].begin == *gen;
}

/* Opening and closing */

static void edu_close(struct t_worker *w)
{
	if (w->edu >= 0)
		close(w->edu);
	w->edu = -1;
	w->edu_reg = false;
}

/* May fail while the engine is away, and tells when it was opened. */
static int edu_attach(struct t_worker *w)
{
	bool was_steady;
	int err = 0;

	if (!t->edu)
		return 0;
	edu_close(w);
	was_steady = steady(EV_EDU, &w->edu_gen);
	w->edu = edu_open();
	/* The end of an io_uring is work for its task, which looks like a signal. */
	if (w->edu >= 0)
		do
			err = edu_reg(w->edu, w->m.buf, w->m.len, 0, &w->dev);
		while (err == -EINTR);
	w->edu_reg = w->edu >= 0 && !err;
	if (w->edu_reg && was_steady && t->ev[EV_EDU].begin == w->edu_gen)
		return 0;
	if (!w->edu_reg && was_steady && t->ev[EV_EDU].begin == w->edu_gen)
		return t_fail("worker %d: the engine takes no range: %d",
			      w->id, w->edu < 0 ? w->edu : err);
	edu_close(w);
	return 0;
}

static void unview(struct t_worker *w)
{
	if (w->view)
		munmap(w->view, w->m.gpu);
	w->view = NULL;		/* the address may be somebody else's now */
}

static void worker_close(struct t_worker *w)
{
	struct t_snap s;
	bool tidy;

	pthread_mutex_lock(&w->imp_lock);
	if (!w->open)
		goto unlock;
	w->open = false;
	tidy = t_one_in(&w->rng, 2) || t->stop;
	/* In any order. */
	if (t_one_in(&w->rng, 2))
		edu_close(w);
	if (t_one_in(&w->rng, 2))
		unview(w);
	else
		munmap(w->m.buf, w->m.len);
	if (tidy) {
		gpu_mr_dereg(&w->m);
		edu_close(w);
		t_snap(w, &s);
		if (t->exporter == T_OBJECT && !t_gpu_doubtful(w, &s) &&
		    gpu_wait_extents(&w->m.o, 0)) {
			t_snap(w, &s);
			if (!t_gpu_doubtful(w, &s) && !w->freed)
				t_fail("worker %d: %d extents are left after all was closed",
				       w->id, gpu_extents(&w->m.o));
		}
	}
	unview(w);
	gpu_mr_close(&w->m);
	edu_close(w);
unlock:
	pthread_mutex_unlock(&w->imp_lock);
}

/* The buffer and the view, and all bytes are zeros. */
static int open_memory(struct t_worker *w)
{
	int err;

	memset(&w->m, 0, sizeof(w->m));
	memset(&w->main, 0, sizeof(w->main));
	w->m.ram = T_RAM_PAGES * T_PAGE;
	w->m.gpu = (1 + t_below(&w->rng, T_GPU_PAGES)) * T_PAGE;
	pthread_mutex_lock(&open_lock);
	err = t_open(&w->m, w->id);
	pthread_mutex_unlock(&open_lock);
	if (err)
		return err;
	w->view = mmap(NULL, w->m.gpu, GPU_MR_RW, MAP_SHARED, w->m.o.fd,
		       w->m.o.offset);
	if (w->view == MAP_FAILED) {
		err = -errno;
		w->view = NULL;
	} else if (t->exporter != T_OBJECT) {
		/* A BAR has its bytes for longer than anybody lives. */
		err = t_cpu_copy(w->view, w->main.want, w->m.gpu);
	}
	if (err) {
		unview(w);
		gpu_mr_close(&w->m);
	}
	return err;
}

/* 0, 1: the GPU is away, or -1. */
static int worker_open(struct t_worker *w)
{
	bool was_steady;
	int err;

	worker_close(w);
	was_steady = steady(EV_GPU, &w->gpu_gen);
	/* Opening takes long: not often in vain. */
	if (!was_steady && !t_one_in(&w->rng, 10))
		return 1;
	if (!t_hold_offer())
		return 1;
	err = open_memory(w);
	t_release_offer();
	if (err || !was_steady || t->ev[EV_GPU].begin != w->gpu_gen) {
		if (!err) {
			unview(w);
			gpu_mr_close(&w->m);
		}
		if (was_steady && t->ev[EV_GPU].begin == w->gpu_gen)
			return t_fail("worker %d: cannot open: %d", w->id, err);
		return 1;
	}
	w->freed = false;
	w->unseen = false;
	w->where = P2P_GPU_VRAM;
	memset(w->state, ST_RW, sizeof(w->state));
	pthread_mutex_lock(&w->imp_lock);
	w->open = true;
	pthread_mutex_unlock(&w->imp_lock);
	t_count(OP_RENEW);
	return edu_attach(w);
}

/* What else a worker does */

static int check_all(struct t_worker *w, const char *what)
{
	int ret;

	pthread_mutex_lock(&w->map_lock);
	ret = t_check(w, 0, w->m.len, what);
	pthread_mutex_unlock(&w->map_lock);
	return ret;
}

/* RAM that is given back reads as zeros. */
static int advise_ram(struct t_worker *w)
{
	size_t page = t_below(&w->rng, T_RAM_PAGES);
	size_t off = page * T_PAGE;

	if (t_one_in(&w->rng, 2))
		off += T_GPU_OFF + w->m.gpu;
	t_note(OP_MADVISE, "worker %d RAM at %#zx", w->id, off);
	if (madvise(w->m.buf + off, T_PAGE, MADV_DONTNEED))
		return t_fail("worker %d: MADV_DONTNEED of RAM", w->id);
	memset(w->main.want + off, 0, T_PAGE);
	memset(w->main.alt + off, 0, T_PAGE);
	return 0;
}

/* A child looks at the object and writes to it; or becomes another program. */
static int do_fork(struct t_worker *w, bool exec)
{
	size_t off = T_GPU_OFF + t_below(&w->rng, w->m.gpu - 512), len = 512;
	struct t_snap before, after;
	int status = 0;
	pid_t pid;
	bool all;

	t_new_data(w, off, len);
	t_note(exec ? OP_EXEC : OP_FORK, "worker %d", w->id);
	t_snap(w, &before);
	pid = fork();
	if (pid < 0)
		return t_fail("worker %d: fork: %d", w->id, errno);
	if (!pid) {
		if (exec) {
			execl("/bin/true", "true", NULL);
			_exit(3);
		}
		if (t_cpu_copy(w->tmp, w->view + (off - T_GPU_OFF), len) ||
		    t_cpu_copy(w->view + (off - T_GPU_OFF), w->pat, len))
			_exit(2);
		for (size_t i = 0; i < len; i++)
			if (w->tmp[i] != w->main.want[off + i])
				_exit(1);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	t_snap(w, &after);
	if (exec)
		return status ? t_fail("worker %d: exec: %#x", w->id, status) : 0;
	if (t_gpu_dead(w, &before) || t_gpu_doubtful(w, &after))
		return 0;
	/* It may have got half-way. */
	if (t_withheld(&before, &after, BY_CPU, &all) &&
	    WIFEXITED(status) && WEXITSTATUS(status) == 2) {
		memcpy(w->main.alt + off, w->pat, len);
		w->unseen = true;
		return 0;
	}
	if (status)
		return t_fail("worker %d: a child sees a wrong object, %#x, %#zx+%#zx",
			      w->id, status, off, len);
	memcpy(w->main.want + off, w->pat, len);
	memcpy(w->main.alt + off, w->pat, len);
	return 0;
}

static int rereg(struct t_worker *w)
{
	uint64_t begin;
	int err;

	t_count(OP_REREG);
	gpu_mr_dereg(&w->m);
	do {
		begin = t_now();
		err = gpu_mr_reg(&w->m);
	} while (err == -EBUSY && t_now() - begin >= T_BUSY_MS);
	return err ? t_fail("worker %d: no MR: %d", w->id, err) : 0;
}

static int advise_mr(struct t_worker *w)
{
	static const enum ibv_advise_mr_advice how[] = {
		IBV_ADVISE_MR_ADVICE_PREFETCH,
		IBV_ADVISE_MR_ADVICE_PREFETCH_WRITE,
		IBV_ADVISE_MR_ADVICE_PREFETCH_NO_FAULT,
	};
	size_t off, len;

	t_choose(w, 9000, &off, &len);
	t_count(OP_ADVISE);
	/* A hint: that the memory is not there is no concern of ours. */
	p2p_rdma_advise(&w->m.r, how[t_below(&w->rng, 3)],
			t_one_in(&w->rng, 2) ? IBV_ADVISE_MR_FLAG_FLUSH : 0,
			w->m.mr->lkey, w->m.iova + off, len);
	return 0;
}

static int free_object(struct t_worker *w)
{
	struct t_snap s;
	int err;

	if (t->exporter != T_OBJECT)
		return worker_open(w);
	pthread_mutex_lock(&w->imp_lock);
	t_note(OP_FREE, "worker %d", w->id);
	err = w->freed ? 0 : gpu_free(&w->m.o);
	if (!err)
		w->freed = true;
	pthread_mutex_unlock(&w->imp_lock);
	t_snap(w, &s);
	if (err && !t_gpu_doubtful(w, &s))
		return t_fail("worker %d: free: %d", w->id, err);
	return 0;
}

static int edu_step(struct t_worker *w)
{
	if (!w->edu_reg || t->ev[EV_EDU].begin > w->edu_gen)
		if (!w->edu_reg || t_one_in(&w->rng, 3))
			return edu_attach(w);
	switch (t_below(&w->rng, t->again ? 9 : 7)) {
	case 0:
	case 1:
	case 2:
		return t_transfer(w, OP_EDU_WRITE);
	case 3:
	case 4:
		return t_transfer(w, OP_EDU_READ);
	case 5:
		return t_edu_copy(w);
	case 6:
		t_count(OP_EDU_REREG);
		edu_close(w);
		return edu_attach(w);
	default:
		return w->edu_reg ? t_edu_again(w) : 0;
	}
}

static int step(struct t_worker *w)
{
	static const enum t_op transfers[] = {
		OP_WRITE, OP_WRITE, OP_READ, OP_SEND, OP_PUT, OP_GET,
		OP_SEND_FROM,
	};
	struct t_snap s;
	unsigned int n;

	if (w->unseen) {
		w->unseen = false;
		if (check_all(w, "check of what failed") < 0)
			return -1;
	}
	t_snap(w, &s);
	if ((t_gpu_dead(w, &s) || t_gpu_doubtful(w, &s)) &&
	    t_one_in(&w->rng, 6))
		return worker_open(w);

	/* Of a write that failed, nobody may know yet what came of it. */
	if (t->disks && !w->unseen && t_one_in(&w->rng, 3))
		return t_one_in(&w->rng, 50) ? t_dio_check(w) : t_dio(w);

	n = t_below(&w->rng, 1000);
	if (n < 80 && t->edu)
		return edu_step(w);
	if (n < 780)
		return t_transfer(w, transfers[t_below(&w->rng, 7)]);
	if (n < 840)
		return t_cpu_write(w);
	if (n < 870)
		return advise_ram(w);
	if (n < 910) {
		t_map_op(w, &w->rng);
		return 0;
	}
	if (n < 930) {
		t_count(OP_CPU_CHECK);
		n = check_all(w, "check of all");
		return (int)n < 0 ? -1 : 0;
	}
	if (n < 960)
		return rereg(w);
	if (n < 980)
		return advise_mr(w);
	if (n < 988 && !w->unseen)
		return do_fork(w, false);
	if (n < 991)
		return do_fork(w, true);
	if (n < 995)
		return free_object(w);
	return worker_open(w);
}

/* The imp */

static void imp_move(struct t_worker *w)
{
	unsigned int where = t_below(&w->imp_rng, 3) == 0;
	int err;

	t_note(where ? OP_EVICT : OP_MOVE, "worker %d", w->id);
	atomic_fetch_add(&w->move_begin, 1);
	err = gpu_move(&w->m.o, where);
	if (!err)
		w->where = where;
	atomic_fetch_add(&w->move_end, 1);
	/* The worker frees the object under imp_lock. */
	if (err && !(err == -ENOENT && w->freed) &&
	    !(err == -ENODEV && t->ev[EV_GPU].begin > w->gpu_gen))
		t_fail("worker %d: move to %u: %d", w->id, where, err);
}

static void *imp(void *arg)
{
	struct t_worker *w = arg;
	enum { IDLE, MOVES, STORM } mood = MOVES;

	while (!t->stop) {
		t_begin(T_SLOT_IMP + w->id, -1);
		/* Idle for long enough that a deny meets live extents. */
		if (t_one_in(&w->imp_rng, 40))
			mood = t_below(&w->imp_rng, 3);
		pthread_mutex_lock(&w->imp_lock);
		if (w->open && mood != IDLE) {
			if (mood == STORM && t_one_in(&w->imp_rng, 2))
				t_map_op(w, &w->imp_rng);
			else if (t->exporter != T_OBJECT)
				t_bar_reset(w);
			else
				imp_move(w);
		}
		pthread_mutex_unlock(&w->imp_lock);
		t_nap(&w->imp_rng, mood == STORM ? 20000 : 100000);
	}
	t->progress[T_SLOT_IMP + w->id].pid = 0;
	return NULL;
}

static void *work(void *arg)
{
	struct t_worker *w = arg;

	while (!t->stop) {
		t_begin(w->id, -1);
		if (!w->open) {
			if (worker_open(w) > 0)
				t_nap(&w->rng, 50000);
			continue;
		}
		step(w);
	}
	if (w->open && !t->failed)
		check_all(w, "the end");
	if (!t->failed)
		t_dio_check(w);
	worker_close(w);
	t->progress[w->id].pid = 0;
	return NULL;
}

void t_worker_process(int process)
{
	static struct t_worker workers[T_THREADS];

	for (int i = 0; i < T_THREADS; i++) {
		struct t_worker *w = &workers[i];

		w->id = process * T_THREADS + i;
		w->edu = -1;
		w->ram = aligned_alloc(T_PAGE, T_DISK_LEN);
		if (!w->ram)
			t_fail("no memory");
		pthread_mutex_init(&w->imp_lock, NULL);
		pthread_mutex_init(&w->map_lock, NULL);
		t_seed(&w->rng, 2 * w->id);
		t_seed(&w->imp_rng, 2 * w->id + 1);
		if (pthread_create(&w->thread, NULL, work, w) ||
		    pthread_create(&w->imp, NULL, imp, w))
			t_fail("cannot create a thread");
	}
	for (int i = 0; i < T_THREADS; i++) {
		pthread_join(workers[i].thread, NULL);
		pthread_join(workers[i].imp, NULL);
	}
	_exit(t->failed ? 1 : 0);
}
