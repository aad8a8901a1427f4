// SPDX-License-Identifier: GPL-2.0
/*
 * System calls that must not cost more than before. Under icount the time stamp
 * counter counts instructions, those of the program and the kernel.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <x86intrin.h>

#include "bench_prog.h"

#define REPS	101
#define LEN	(4UL << 20)

static int cmp(const void *a, const void *b)
{
	long x = *(const long *)a, y = *(const long *)b;

	return x < y ? -1 : x > y;
}

static void print(const char *what, long *t)
{
	qsort(t, REPS, sizeof(*t), cmp);
	printf("{\"row\": \"%s\", \"size\": %lu, \"arg\": 0, ", what, LEN);
	printf("\"insn\": [%ld, 0, 0], \"low\": %ld}\n", t[REPS / 2], t[0]);
	fflush(stdout);
}

/* Small pages that are there */
static char *anon(void)
{
	char *p = mmap(NULL, LEN, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED || madvise(p, LEN, MADV_NOHUGEPAGE))
		die("mmap");
	memset(p, 1, LEN);
	return p;
}

static void bench_mprotect(void)
{
	char *p = anon();
	long t[REPS];
	int i;

	for (i = 0; i < REPS; i++) {
		t[i] = -__rdtsc();
		if (mprotect(p, LEN, PROT_READ) ||
		    mprotect(p, LEN, PROT_READ | PROT_WRITE))
			die("mprotect");
		t[i] += __rdtsc();
	}
	munmap(p, LEN);
	print("tax mprotect", t);
}

static void bench_munmap(void)
{
	long t[REPS];
	int i;

	for (i = 0; i < REPS; i++) {
		char *p = anon();

		t[i] = -__rdtsc();
		if (munmap(p, LEN))
			die("munmap");
		t[i] += __rdtsc();
	}
	print("tax munmap", t);
}

static void bench_fork(void)
{
	char *p = anon();
	long t[REPS];
	pid_t pid;
	int i;

	for (i = 0; i < REPS; i++) {
		t[i] = -__rdtsc();
		pid = fork();
		if (!pid)
			_exit(0);
		t[i] += __rdtsc();
		if (pid < 0 || waitpid(pid, NULL, 0) != pid)
			die("fork");
	}
	munmap(p, LEN);
	print("tax fork", t);
}

void bench_syscalls(void)
{
	bench_mprotect();
	bench_munmap();
	bench_fork();
}
