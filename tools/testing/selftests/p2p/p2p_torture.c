// SPDX-License-Identifier: GPL-2.0
/*
 * p2p_torture: everything at once, at random, and not one wrong byte.
 *
 *	p2p_torture [--seconds N] [--seed S] [--exporter object|resource|vfio]
 *
 * Workers transfer data between their buffers, and between these and disks by
 * direct I/O, and check each byte; their imps
 * move the memory and change its mapping; processes die at work; drivers and
 * devices come and go; the policy changes. In the end nothing is left over.
 * "make torture" runs it for longer; a seed gives each thread the same random
 * numbers again, but not the same order among the threads.
 *
 * The memory is in objects of p2p_gpu, or a BAR by its file in sysfs or vfio-pci.
 *
 * VM: --topo switch
 * VM: --topo switch --cpu EPYC --iommu lazy --expect-splat DMAR:.*fault
 * TIMEOUT: 300
 */
#include "torture.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "dio_buf.h"

/* Words of free VRAM that are not as they were left. */
static long canary_wrong(void)
{
	char line[32] = "";
	long n = -1;
	glob_t g;
	FILE *f;

	if (glob("/sys/kernel/debug/p2p_gpu*/canary", 0, NULL, &g))
		return -1;
	f = fopen(g.gl_pathv[0], "r");
	globfree(&g);
	if (f && fgets(line, sizeof(line), f))
		n = atol(line);
	if (f)
		fclose(f);
	return n;
}

/* Is the engine behind an IOMMU that translates? */
static bool translated(void)
{
	char type[16] = "";
	glob_t g;
	FILE *f;

	if (glob("/sys/bus/pci/drivers/p2p_edu/*:*:*/iommu_group/type", 0,
		 NULL, &g))
		return false;
	f = fopen(g.gl_pathv[0], "r");
	globfree(&g);
	if (f && !fgets(type, sizeof(type), f))
		type[0] = '\0';
	if (f)
		fclose(f);
	return !strncmp(type, "DMA", 3);
}

/* Can the engine reach the GPU without help, and who stops it if it has to? */
static int probe(void)
{
	struct edu_mem m = { .ram = T_PAGE, .gpu = T_PAGE };
	char c = 1;
	glob_t g;
	int err;

	t->edu = !glob("/dev/p2p_edu*", 0, NULL, &g);
	if (!t->edu)
		return 0;
	globfree(&g);
	err = sysfs_write("/sys/module/pci_p2p/parameters/policy", "\n");
	if (!err)
		err = edu_mem_open(&m);
	if (!err)
		err = edu_write(m.fd, m.dev + m.ram, &c, 1);
	if (err == -EREMOTEIO) {
		snprintf(t->base_policy, sizeof(t->base_policy), "allow=*");
		err = sysfs_write("/sys/module/pci_p2p/parameters/policy",
				  "allow=*\n");
		if (!err)
			err = edu_write(m.fd, m.dev + m.ram, &c, 1);
	}
	t->again = !err && translated() && !edu_dma_live("bus");
	edu_mem_close(&m);
	return err;
}

static pid_t start(void (*run)(int), int arg)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	run(arg);
	_exit(1);
}

static void run_events(int unused)
{
	t_event_process();
}

static unsigned int nr_doomed;

static void run_doomed(int slot)
{
	t_doomed_process(slot, 10000 + nr_doomed);
}

struct child {
	pid_t pid;
	bool doomed;
	uint64_t kill;		/* ms */
};

/* Doomed processes come and go until the time is over. */
static void run(unsigned int seconds)
{
	struct child children[T_PROCESSES + 1 + T_DOOMED] = { };
	const int fixed = T_PROCESSES + 1;
	uint64_t until = t->start + seconds * 1000ULL;
	uint64_t look = 0;
	struct t_rng rng;
	int alive = fixed;

	t_seed(&rng, 9999);
	for (int i = 0; i < T_PROCESSES; i++)
		children[i].pid = start(t_worker_process, i);
	children[T_PROCESSES].pid = start(run_events, 0);

	while (alive) {
		if (t_now() > until)
			t->stop = true;
		if (t_now() > look) {
			t_ways_look();
			look = t_now() + 500;
		}
		if (t_hangs()) {
			/* The kernel log then says where. */
			sysfs_write("/proc/sysrq-trigger", "w");
			break;
		}
		for (int i = 0; i < fixed + T_DOOMED; i++) {
			struct child *c = &children[i];
			int status;

			if (c->pid && i >= fixed && t_now() > c->kill)
				kill(c->pid, SIGKILL);
			if (c->pid && waitpid(c->pid, &status, WNOHANG) == c->pid) {
				c->pid = 0;
				alive -= i < fixed;
				if (i < fixed && status && !t->failed)
					t_fail("process %d ended with status %#x",
					       i, status);
				if (i >= fixed)
					t->progress[T_SLOT_DOOMED + i - fixed].pid = 0;
			}
			if (!c->pid && i >= fixed && !t->stop &&
			    t_one_in(&rng, 40)) {
				nr_doomed++;
				c->pid = start(run_doomed,
					       T_SLOT_DOOMED + i - fixed);
				c->kill = t_now() + t_below(&rng, 8000);
			}
		}
		usleep(20000);
	}
	for (int i = 0; i < fixed + T_DOOMED; i++)
		if (children[i].pid) {
			kill(children[i].pid, SIGKILL);
			/* One that hangs does not even die. */
			for (int n = 0; n < 500; n++) {
				if (waitpid(children[i].pid, NULL, WNOHANG))
					break;
				usleep(20000);
			}
		}
}

/* The last puts run in the background. */
static bool zero(long (*count)(const char *), const char *what)
{
	long n = -1;

	for (int i = 0; i < 1000; i++) {
		n = count(what);
		if (!n)
			return true;
		usleep(10000);
	}
	printf("# %s: %ld\n", what, n);
	return false;
}

static long pinned_before;

static long pinned(const char *unused)
{
	return pins() - pinned_before;
}

static long objects(const char *unused)
{
	return gpu_objects();
}

/* Nobody holds a driver any more: it can be unloaded. */
static bool unload(const char *module)
{
	int ret = -1;

	for (int i = 0; i < 1000 && ret; i++) {
		ret = syscall(SYS_delete_module, module, O_NONBLOCK);
		if (ret)
			usleep(10000);
	}
	if (ret) {
		printf("# rmmod %s: %s\n", module, strerror(errno));
		return false;
	}
	return true;
}

static bool load(const char *module)
{
	return !module_load(module, "");
}

static bool reload(const char *module)
{
	return unload(module) && load(module);
}

static const char *option(int argc, char **argv, const char *name,
			  const char *def)
{
	for (int i = 1; i + 1 < argc; i++)
		if (!strcmp(argv[i], name))
			return argv[i + 1];
	return def;
}

static enum t_exporter by_name(const char *name)
{
	static const char * const names[] = {
		[T_OBJECT] = "object", [T_RESOURCE] = "resource",
		[T_VFIO] = "vfio",
	};

	for (int i = 0; i <= T_VFIO; i++)
		if (!strcmp(name, names[i]))
			return i;
	ksft_exit_fail_msg("no exporter \"%s\"\n", name);
}

static int reload_gpu(void)
{
	char args[64];

	t->pages = !t->disks ? "0" : t->seed % 4 == 3 ? "2M" : "4K";
	snprintf(args, sizeof(args), "pages=%s canary=1", t->pages);
	return unload("p2p_gpu") ? module_load("p2p_gpu", args) : -EBUSY;
}

/* p2p_gpu is there until it is known what can reach the GPU. */
static int begin(void)
{
	bool object = t->exporter == T_OBJECT;
	int err = t_dio_prepare();

	if (!err && object)
		err = reload_gpu();
	if (!err)
		err = probe();
	if (err || object)
		return err;
	t->again = false;	/* without objects nothing tells that it is late */
	if (!unload("p2p_gpu"))
		return -EBUSY;
	err = t_bar_prepare();
	if (err) {
		t_bar_restore();
		load("p2p_gpu");
	}
	return err;
}

/* What can be left over of objects, and of a BAR */
static void check_objects(void)
{
	ksft_test_result(zero(objects, "objects"), "no object is left\n");
	ksft_test_result(!canary_wrong(), "free VRAM is as it was left\n");
}

static void check_bar(void)
{
	ksft_test_result(!t_bar_restore(), "nothing is offered any more\n");
	ksft_test_result(load("p2p_gpu"), "p2p_gpu is back\n");
}

int main(int argc, char **argv)
{
	const char *name = option(argc, argv, "--exporter", "object");
	unsigned int seconds;
	int err;

	setlinebuf(stdout);
	ksft_print_header();
	t = mmap(NULL, sizeof(*t), PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (t == MAP_FAILED)
		ksft_exit_fail_msg("no memory\n");
	seconds = strtoul(option(argc, argv, "--seconds", "20"), NULL, 0);
	t->seed = strtoul(option(argc, argv, "--seed", "1"), NULL, 0);
	t->exporter = by_name(name);
	err = begin();
	if (err)
		ksft_exit_fail_msg("cannot begin: %d\n", err);
	ksft_print_msg("seed %llu, %u seconds, %s, %s, %s, %d disks, pages of %s\n",
		       (unsigned long long)t->seed, seconds, name,
		       t->edu ? "with DMA engine" : "no DMA engine",
		       translated() ? "behind an IOMMU" : "no IOMMU",
		       t->disks, t->pages ? t->pages : "4K, if any");
	ksft_set_plan(7);

	p2p_trace_begin();
	t_ways_begin();
	pinned_before = pins();
	t->start = t_now();
	run(seconds);
	if (t->failed)
		t_print_failure();
	t_print_table();
	ksft_test_result(!t->failed, "every byte right, every failure explained\n");
	ksft_test_result(zero(edu_dma_live, "mappings") &&
			 zero(edu_dma_live, "iova bytes"),
			 "no DMA mapping is left\n");
	ksft_test_result(zero(pinned, "pinned pages"), "no page is pinned\n");
	if (t->exporter != T_OBJECT)
		check_bar();
	ksft_test_result(!t_events_restore(), "both drivers are bound\n");
	if (t->exporter == T_OBJECT)
		check_objects();
	ksft_test_result(reload("p2p_gpu") && (!t->edu || reload("p2p_edu")),
			 "both drivers can go\n");
	printf("# torture: %s, seed %llu, %u seconds, %.1f minutes\n",
	       ksft_get_fail_cnt() ? "FAILED" : "ok",
	       (unsigned long long)t->seed, seconds, seconds / 60.0);
	ksft_finished();
}
