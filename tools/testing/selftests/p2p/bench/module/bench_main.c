// SPDX-License-Identifier: GPL-2.0
/*
 * Benchmark of peer-to-peer DMA: runs one row of the table for the program that
 * asks, in its address space, and returns what it took.
 *
 * Built for our kernel and for the kernel as it came; rows of ours are missing
 * in the latter. Meant for a guest with one processor whose time stamp counter
 * counts instructions (QEMU's -icount shift=0).
 */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pci-p2pdma.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <linux/uaccess.h>

#include "bench.h"

#define BENCH_MAX_REPS	1000

static const struct bench_row * const bench_tables[] = {
#ifdef CONFIG_P2P_VMA
	bench_rows_extent, bench_rows_revoke, bench_rows_verdict,
#endif
	bench_rows_odp, bench_rows_dmabuf, bench_rows_pin, bench_rows_hmm,
	bench_rows_tax,
};

s64 bench_overhead;
static DEFINE_MUTEX(bench_lock);

u64 bench_start(struct bench *b)
{
	WRITE_ONCE(bench_gate, b->counting);
	return rdtsc_ordered();
}

s64 bench_stop(struct bench *b, u64 start)
{
	s64 t = rdtsc_ordered() - start - bench_overhead;

	if (b->counting && b->held < 0)
		b->held = bench_mem_held();
	WRITE_ONCE(bench_gate, false);
	return t;
}

static int bench_cmp(const void *a, const void *b)
{
	s64 x = *(const s64 *)a, y = *(const s64 *)b;

	return x < y ? -1 : x > y;
}

/* What it takes to measure nothing. */
static void bench_calibrate(void)
{
	static s64 t[101];
	struct bench b = {};
	int i;

	bench_overhead = 0;
	for (i = 0; i < ARRAY_SIZE(t); i++)
		t[i] = bench_stop(&b, bench_start(&b));
	sort(t, ARRAY_SIZE(t), sizeof(t[0]), bench_cmp, NULL);
	bench_overhead = t[ARRAY_SIZE(t) / 2];
}

static const struct bench_row *bench_find(const char *name)
{
	const struct bench_row *row;
	int i;

	for (i = 0; i < ARRAY_SIZE(bench_tables); i++)
		for (row = bench_tables[i]; row->name; row++)
			if (!strcmp(row->name, name))
				return row;
	return NULL;
}

static int bench_reps(const struct bench_row *row, struct bench *b,
		      struct p2p_bench_run *run)
{
	s64 *t = kcalloc(run->reps * BENCH_PHASES, sizeof(*t), GFP_KERNEL);
	int ret = 0, p;

	if (!t)
		return -ENOMEM;
	for (b->rep = 0; b->rep < run->reps && !ret; b->rep++) {
		memset(b->t, 0, sizeof(b->t));
		ret = row->once(b);
		for (p = 0; p < BENCH_PHASES; p++)
			t[p * run->reps + b->rep] = b->t[p];
	}
	for (p = 0; p < BENCH_PHASES && !ret; p++) {
		s64 *phase = t + p * run->reps;

		sort(phase, run->reps, sizeof(*t), bench_cmp, NULL);
		run->insn[p] = phase[run->reps / 2];
		run->low[p] = phase[0];
	}
	kfree(t);
	return ret;
}

/* Memory first, then calls: those of a run that finds all warm. */
static int bench_counted(const struct bench_row *row, struct bench *b,
			 struct p2p_bench_run *run)
{
	int ret = bench_mem_begin();

	if (ret)
		return ret;
	b->counting = true;
	ret = row->once(b);
	bench_mem_off();
	run->held = b->held;
	if (ret)
		return ret;

	bench_count_begin();
	b->rep = 1;
	ret = row->once(b);
	bench_count_end(run->counts);
	return ret;
}

static int bench_run(struct p2p_bench_run *run)
{
	const struct bench_row *row;
	struct bench b = {
		.addr = run->addr,
		.len = run->len,
		.arg = run->arg,
		.held = -1,
	};
	int ret;

	run->row[sizeof(run->row) - 1] = 0;
	row = bench_find(run->row);
	if (!row)
		return -ENOENT;
	if (!run->reps || run->reps > BENCH_MAX_REPS)
		return -EINVAL;
	ret = row->prepare ? row->prepare(&b) : 0;
	if (ret)
		return ret;
	switch (run->what) {
	case BENCH_COUNT:
		ret = bench_counted(row, &b, run);
		break;
	case BENCH_PROFILE:
		ret = bench_profile(row, &b, run->text, sizeof(run->text));
		break;
	default:
		ret = bench_reps(row, &b, run);
	}
	if (row->finish)
		row->finish(&b);
	return ret;
}

static long bench_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct p2p_bench_run *run __free(kfree) = NULL;
	void __user *uarg = (void __user *)arg;
	u64 len;
	int ret;

	guard(mutex)(&bench_lock);
	switch (cmd) {
	case P2P_BENCH_IOC_RUN:
		run = memdup_user(uarg, sizeof(*run));
		if (IS_ERR(run))
			return PTR_ERR(no_free_ptr(run));
		ret = bench_run(run);
		if (!ret && copy_to_user(uarg, run, sizeof(*run)))
			ret = -EFAULT;
		return ret;
	case P2P_BENCH_IOC_PAGES:
		if (get_user(len, (u64 __user *)uarg))
			return -EFAULT;
		return pci_p2pdma_add_resource(bench_gpu, 2, len, 0);
	}
	return -ENOTTY;
}

static int bench_open(struct inode *inode, struct file *file)
{
	bench_exporter_open(file);
	return 0;
}

static const struct file_operations bench_fops = {
	.owner = THIS_MODULE,
	.open = bench_open,
	.mmap = bench_exporter_mmap,
	.unlocked_ioctl = bench_ioctl,
};

static struct miscdevice bench_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "p2p_bench",
	.fops = &bench_fops,
};

static int __init bench_init(void)
{
	int ret = bench_dev_init();

	if (ret)
		return ret;
	ret = bench_exporter_init();
	if (ret)
		goto dev;
	ret = misc_register(&bench_misc);
	if (ret)
		goto exporter;
	bench_calibrate();
	return 0;

exporter:
	bench_exporter_exit();
dev:
	bench_dev_exit();
	return ret;
}
module_init(bench_init);

static void __exit bench_exit(void)
{
	misc_deregister(&bench_misc);
	bench_exporter_exit();
	bench_dev_exit();
}
module_exit(bench_exit);

MODULE_DESCRIPTION("Benchmark of peer-to-peer DMA");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS("DMA_BUF");
