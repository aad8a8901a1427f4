// SPDX-License-Identifier: GPL-2.0
/*
 * Where the instructions of a row go: a timer looks every few thousand of them,
 * at odd times, which function runs.
 */
#include <linux/hrtimer.h>
#include <linux/kallsyms.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <asm/irq_regs.h>

#include "bench.h"

#define PROFILE_MAX	20000	/* samples */
#define PROFILE_REPS	4000
#define PROFILE_TOP	14	/* functions that are named */

struct profile_function {
	unsigned int hits;
	char name[KSYM_NAME_LEN];
};

static struct hrtimer profile_timer;
static unsigned long *profile_ips;
static unsigned int profile_nr;
static u32 profile_random = 1;

static enum hrtimer_restart profile_tick(struct hrtimer *timer)
{
	struct pt_regs *regs = get_irq_regs();

	if (READ_ONCE(bench_gate) && regs && !user_mode(regs) &&
	    profile_nr < PROFILE_MAX)
		profile_ips[profile_nr++] = instruction_pointer(regs);
	profile_random = profile_random * 1664525 + 1013904223;
	hrtimer_forward_now(timer, ns_to_ktime(5000 + (profile_random >> 19)));
	return HRTIMER_RESTART;
}

static int profile_cmp(const void *a, const void *b)
{
	const struct profile_function *x = a, *y = b;

	return x->hits < y->hits ? 1 : x->hits > y->hits ? -1 : 0;
}

static void profile_add(struct profile_function *f, unsigned int *nr,
			unsigned long ip)
{
	char name[KSYM_SYMBOL_LEN];
	unsigned int i;

	sprint_symbol_no_offset(name, ip);
	for (i = 0; i < *nr; i++)
		if (!strcmp(f[i].name, name))
			break;
	if (i == *nr) {
		if (*nr == BENCH_FUNCTIONS)
			return;
		strscpy(f[(*nr)++].name, name);
	}
	f[i].hits++;
}

/* "name share, name share...", shares in tenths of a percent */
static int profile_print(char *text, size_t size)
{
	struct profile_function *f;
	unsigned int i, nr = 0;
	int len = 0;

	f = kvcalloc(BENCH_FUNCTIONS, sizeof(*f), GFP_KERNEL);
	if (!f)
		return -ENOMEM;
	for (i = 0; i < profile_nr; i++)
		profile_add(f, &nr, profile_ips[i]);
	sort(f, nr, sizeof(*f), profile_cmp, NULL);
	for (i = 0; i < min(nr, PROFILE_TOP); i++)
		len += scnprintf(text + len, size - len, "%s%s %u",
				 i ? ", " : "", f[i].name,
				 f[i].hits * 1000 / profile_nr);
	kvfree(f);
	return 0;
}

/* Run a row until there are samples enough. */
int bench_profile(const struct bench_row *row, struct bench *b, char *text,
		  size_t size)
{
	int ret = 0;

	profile_ips = kvcalloc(PROFILE_MAX, sizeof(*profile_ips), GFP_KERNEL);
	if (!profile_ips)
		return -ENOMEM;
	profile_nr = 0;
	hrtimer_setup(&profile_timer, profile_tick, CLOCK_MONOTONIC,
		      HRTIMER_MODE_REL_HARD);
	hrtimer_start(&profile_timer, ns_to_ktime(5000), HRTIMER_MODE_REL_HARD);
	b->counting = true;
	b->held = 0;
	for (b->rep = 0; b->rep < PROFILE_REPS && !ret &&
	     profile_nr < PROFILE_MAX / 4; b->rep++)
		ret = row->once(b);
	hrtimer_cancel(&profile_timer);
	if (!ret && profile_nr)
		ret = profile_print(text, size);
	kvfree(profile_ips);
	return ret;
}
