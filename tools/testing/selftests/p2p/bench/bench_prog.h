/* SPDX-License-Identifier: GPL-2.0 */
/* The benchmark's program: what its files share. */
#ifndef _BENCH_PROG_H
#define _BENCH_PROG_H

#include <stdbool.h>

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

void die(const char *what);

/* bench_syscalls.c: rows that are system calls */
void bench_syscalls(void);

#endif /* _BENCH_PROG_H */
