// SPDX-License-Identifier: GPL-2.0
/*
 * What p2p_torture counts and says: operations, the last events of each kind,
 * the first failure, who hangs; and the random numbers of all its threads.
 */
#include "torture.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct t_shared *t;

const char * const t_op_names[NR_OPS] = {
	[OP_WRITE] = "RDMA write", [OP_READ] = "RDMA read",
	[OP_SEND] = "send to it", [OP_PUT] = "RDMA write from it",
	[OP_GET] = "RDMA read to it", [OP_SEND_FROM] = "send from it",
	[OP_DIO_READ] = "direct read", [OP_DIO_WRITE] = "direct write",
	[OP_DIO_CHECK] = "check of disk", [OP_DIO_FREE] = "free under it",
	[OP_EDU_WRITE] = "DMA write", [OP_EDU_READ] = "DMA read",
	[OP_EDU_COPY] = "DMA copy", [OP_EDU_AGAIN] = "late DMA",
	[OP_CPU_WRITE] = "CPU write", [OP_CPU_CHECK] = "check of all",
	[OP_REREG] = "MR again", [OP_ADVISE] = "advise MR",
	[OP_EDU_REREG] = "range again", [OP_RENEW] = "all again",
	[OP_FREE] = "free", [OP_MOVE] = "move", [OP_EVICT] = "evict",
	[OP_MUNMAP] = "munmap", [OP_MMAP] = "mmap",
	[OP_MREMAP_MOVE] = "mremap move", [OP_MREMAP_SHRINK] = "mremap shrink",
	[OP_MREMAP_GROW] = "mremap grow", [OP_MPROTECT] = "mprotect",
	[OP_MAP_FIXED] = "map RAM over", [OP_MADVISE] = "madvise",
	[OP_FORK] = "fork", [OP_EXEC] = "exec", [OP_DOOMED] = "process dies",
	[OP_DOOMED_IO] = "its transfers", [OP_DOOMED_DIO] = "its direct I/O",
	[OP_UNBIND_GPU] = "unbind p2p_gpu",
	[OP_UNBIND_EDU] = "unbind p2p_edu", [OP_UNPLUG_GPU] = "unplug GPU",
	[OP_UNPLUG_EDU] = "unplug engine", [OP_RESET] = "reset",
	[OP_POLICY] = "policy", [OP_ACS] = "ACS",
	[OP_RESET_USED] = "reset in use", [OP_WITHHOLD] = "withhold",
	[OP_STRICT] = "strict",
};

static const char * const why_names[NR_WHY] = {
	[WHY_HOLE] = "hole", [WHY_READONLY] = "read-only",
	[WHY_REMAPPED] = "remapped", [WHY_FREED] = "freed",
	[WHY_GPU_GONE] = "GPU gone", [WHY_EDU_GONE] = "engine gone",
	[WHY_POLICY] = "policy", [WHY_BUSY] = "over a second",
	[WHY_WITHHELD] = "withheld", [WHY_STRICT] = "strict",
	[WHY_RESET] = "reset",
};

uint64_t t_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ULL + ts.tv_nsec / 1000000;
}

void t_count(enum t_op op)
{
	atomic_fetch_add(&t->ops[op], 1);
}

void t_note(enum t_op op, const char *fmt, ...)
{
	unsigned int n = atomic_fetch_add(&t->nr_last[op], 1);
	struct t_last *l = &t->last[op][n % T_LAST];
	va_list ap;

	l->ms = t_now() - t->start;
	va_start(ap, fmt);
	vsnprintf(l->text, sizeof(l->text), fmt, ap);
	va_end(ap);
	t_count(op);
}

int t_fail(const char *fmt, ...)
{
	va_list ap;
	int none = 0;

	if (atomic_compare_exchange_strong(&t->failed, &none, 1)) {
		va_start(ap, fmt);
		vsnprintf(t->why, sizeof(t->why), fmt, ap);
		va_end(ap);
		atomic_store(&t->failed, 2);
	}
	atomic_store(&t->stop, true);
	return -1;
}

void t_begin(int slot, int op)
{
	struct t_progress *p = &t->progress[slot];

	atomic_store(&p->since, t_now());
	atomic_store(&p->op, op);
	atomic_store(&p->pid, getpid());
}

bool t_hangs(void)
{
	uint64_t now = t_now();

	for (size_t i = 0; i < T_SLOTS; i++) {
		struct t_progress *p = &t->progress[i];
		uint64_t since = p->since;	/* it changes meanwhile */

		if (!p->pid || now < since + T_HANG_MS)
			continue;
		t_fail("thread %zu of process %d hangs in \"%s\" for %llu s",
		       i, p->pid, p->op < 0 ? "nothing" : t_op_names[p->op],
		       (unsigned long long)(now - since) / 1000);
		return true;
	}
	return false;
}

/* Why the kernel said no, in its own words: one of the last lines is the one. */
static void print_refusals(void)
{
	FILE *f = fopen("/sys/kernel/tracing/trace", "r");
	static char line[T_LAST][256];
	unsigned int n = 0;

	while (f && fgets(line[n % T_LAST], sizeof(line[0]), f))
		n += !!strstr(line[n % T_LAST], ": p2p_refuse: ");
	if (f)
		fclose(f);
	printf("# last refusals, s since the boot:\n");
	for (unsigned int i = n > T_LAST - 1 ? n - (T_LAST - 1) : 0; i < n; i++)
		printf("# %s", line[i % T_LAST]);
}

void t_print_failure(void)
{
	printf("# FAILED after %.1f s, seed %llu\n# %s\n",
	       (t_now() - t->start) / 1000.0, (unsigned long long)t->seed,
	       t->failed == 2 ? t->why : "(being written)");
	printf("# last events, ms since the begin:\n");
	for (int op = 0; op < NR_OPS; op++) {
		unsigned int n = t->nr_last[op];

		for (unsigned int i = n > T_LAST ? n - T_LAST : 0; i < n; i++) {
			struct t_last *l = &t->last[op][i % T_LAST];

			printf("#   %8llu %-14s %s\n",
			       (unsigned long long)l->ms, t_op_names[op],
			       l->text);
		}
	}
	print_refusals();
}

void t_print_table(void)
{
	for (int op = 0; op < NR_OPS; op++) {
		printf("# %-20s %8lu", t_op_names[op], t->ops[op]);
		for (int why = 0; why < NR_WHY; why++)
			if (t->errors[op][why])
				printf(", failed %lu (%s)",
				       t->errors[op][why], why_names[why]);
		printf("\n");
	}
	t_ways_print();
}

/* splitmix64 */
uint64_t t_rand(struct t_rng *r)
{
	uint64_t z = r->s += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

void t_seed(struct t_rng *r, unsigned int who)
{
	r->s = t->seed * 0x9e3779b97f4a7c15 + who;
	r->s = t_rand(r);
}

unsigned int t_below(struct t_rng *r, unsigned int n)
{
	return (t_rand(r) >> 32) % n;
}

bool t_one_in(struct t_rng *r, unsigned int n)
{
	return !t_below(r, n);
}

void t_nap(struct t_rng *r, unsigned int max_us)
{
	usleep(t_below(r, max_us));
}
