/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the files of p2p_torture share: the state that all its processes see,
 * events and when they happen, workers with their buffers, and what a worker
 * knows about the bytes in them.
 */
#ifndef TORTURE_H
#define TORTURE_H

#include <linux/aio_abi.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "kselftest.h"
#include "edu.h"
#include "gpu_mr.h"
#include "sysfs.h"

#define T_PAGE		4096UL
#define T_RAM_PAGES	2		/* on either side of the object */
#define T_GPU_PAGES	12		/* at most, of a worker's object */
#define T_GPU_OFF	(T_RAM_PAGES * T_PAGE)
#define T_MAX_LEN	((2 * T_RAM_PAGES + T_GPU_PAGES) * T_PAGE)
#define T_DISKS		2
#define T_DISK_LEN	(2 * T_MAX_LEN)	/* of each, for each worker */
#define T_DISK_OWNER	0x800		/* in t_pattern(): it was made for a disk */
#define T_DIO_DEPTH	16		/* of processes that die */
#define T_WAYS		5		/* of data: see torture_ways.c */
#define T_PROCESSES	3
#define T_THREADS	2		/* workers of one process */
#define T_WORKERS	(T_PROCESSES * T_THREADS)
#define T_DOOMED	3		/* processes that die at work, at a time */
/* One for each thread that can hang: workers, imps, doomed, events */
#define T_SLOT_IMP	T_WORKERS
#define T_SLOT_DOOMED	(2 * T_WORKERS)
#define T_SLOT_EVENTS	(T_SLOT_DOOMED + T_DOOMED)
#define T_SLOTS		(T_SLOT_EVENTS + 2)
#define T_HANG_MS	120000		/* no operation takes longer */

/*
 * Whatever one process does to all others: @begin is raised before it, @down
 * when the harm is done, @end when all is well again.
 */
enum t_event {
	EV_GPU,			/* exporter unbound or unplugged, and back */
	EV_EDU,			/* importer likewise */
	EV_POLICY,		/* @down and @end mean the write returned */
	EV_ACS,			/* breaks nothing in any of our topologies */
	EV_OFFER,		/* withheld and given back, as EV_POLICY */
	EV_STRICT,		/* no device memory by way of RAM, as EV_POLICY */
	EV_RESET,		/* of the GPU while it is used; not T_OBJECT */
	NR_EV
};

struct t_epoch {
	atomic_uint begin, down, end;
};

/* Whose memory is between the RAM. */
enum t_exporter {
	T_OBJECT,		/* of p2p_gpu */
	T_RESOURCE,		/* resource2 in sysfs, with p2p_mmap */
	T_VFIO,			/* BAR 2, by vfio-pci */
};

/* Who does something */
enum t_by { BY_CPU, BY_RDMA, BY_EDU, BY_DIO };

/* What is counted in the last table. */
enum t_op {
	OP_WRITE, OP_READ, OP_SEND, OP_PUT, OP_GET, OP_SEND_FROM,
	OP_DIO_READ, OP_DIO_WRITE, OP_DIO_CHECK, OP_DIO_FREE,
	OP_EDU_WRITE, OP_EDU_READ, OP_EDU_COPY, OP_EDU_AGAIN,
	OP_CPU_WRITE, OP_CPU_CHECK, OP_REREG, OP_ADVISE, OP_EDU_REREG,
	OP_RENEW, OP_FREE, OP_MOVE, OP_EVICT,
	OP_MUNMAP, OP_MMAP, OP_MREMAP_MOVE, OP_MREMAP_SHRINK, OP_MREMAP_GROW,
	OP_MPROTECT, OP_MAP_FIXED, OP_MADVISE, OP_FORK, OP_EXEC,
	OP_DOOMED, OP_DOOMED_IO, OP_DOOMED_DIO, OP_UNBIND_GPU, OP_UNBIND_EDU, OP_UNPLUG_GPU,
	OP_UNPLUG_EDU, OP_RESET, OP_POLICY, OP_ACS, OP_RESET_USED, OP_WITHHOLD,
	OP_STRICT,
	NR_OPS
};

/* Why an operation may fail. */
enum t_cause {
	WHY_HOLE,		/* nothing is mapped there, or it is PROT_NONE */
	WHY_READONLY,
	WHY_REMAPPED,		/* somebody changed the mapping meanwhile */
	WHY_FREED,		/* the worker freed the object */
	WHY_GPU_GONE,
	WHY_EDU_GONE,
	WHY_POLICY,
	WHY_BUSY,		/* see T_BUSY_MS */
	WHY_WITHHELD,
	WHY_STRICT,
	WHY_RESET,
	NR_WHY
};

/*
 * A fault that loses against invalidations for as long as this ends with -EBUSY,
 * on RAM as on stock Linux (HMM_RANGE_DEFAULT_TIMEOUT). Only a machine with too
 * much else to do gets there. Waiting for the end of a reset does not count.
 */
#define T_BUSY_MS	1000

#define T_LAST	6		/* events of each kind that a report shows */

struct t_last {
	uint64_t ms;
	char text[72];
};

struct t_progress {
	atomic_int pid;
	atomic_int op;		/* enum t_op, -1: between two */
	atomic_ullong since;	/* ms */
};

struct t_shared {
	uint64_t seed;
	uint64_t start;		/* ms */
	enum t_exporter exporter;
	bool edu;		/* there is a DMA engine */
	bool again;		/* and an IOMMU that stops it: see OP_EDU_AGAIN */
	int disks;
	int disk[T_DISKS];	/* files, O_DIRECT */
	const char *pages;	/* of the memory: "0", or what p2p_gpu calls them */
	char base_policy[32];	/* with which all can reach all */
	atomic_bool stop;
	atomic_int failed;
	char why[4096];
	struct t_epoch ev[NR_EV];
	atomic_bool denied;	/* by the policy; stable between its epochs */
	atomic_bool withheld;	/* by the owner, likewise */
	atomic_bool strict;	/* likewise */
	atomic_ullong ways[T_WAYS];	/* bytes */
	atomic_ullong dio_ram, dio_evicted;
	pthread_rwlock_t offer_lock;	/* not T_OBJECT; see t_hold_offer() */
	atomic_ullong reset_due;	/* ms; UINT64_MAX: under way, or never */
	atomic_ullong reset_since;	/* ms, 0: none is under way */
	atomic_ullong reset_ms;		/* all resets together */
	atomic_ulong ops[NR_OPS];
	atomic_ulong errors[NR_OPS][NR_WHY];
	atomic_uint nr_last[NR_OPS];
	struct t_last last[NR_OPS][T_LAST];
	struct t_progress progress[T_SLOTS];
};

extern struct t_shared *t;

/* torture_report.c: counting, the report of a failure */
extern const char * const t_op_names[NR_OPS];
uint64_t t_now(void);
void t_count(enum t_op op);
/* Say what happens, for the report. */
void __printf(2, 3) t_note(enum t_op op, const char *fmt, ...);
/* The first failure counts; everything stops. Always -1. */
int __printf(1, 2) t_fail(const char *fmt, ...);
void t_begin(int slot, int op);
void t_print_failure(void);
void t_print_table(void);
/* True if something hangs, which is a failure. */
bool t_hangs(void);

/* One generator for each thread, so that a seed means the same again. */
struct t_rng {
	uint64_t s;
};

void t_seed(struct t_rng *r, unsigned int who);
uint64_t t_rand(struct t_rng *r);
unsigned int t_below(struct t_rng *r, unsigned int n);
bool t_one_in(struct t_rng *r, unsigned int n);
void t_nap(struct t_rng *r, unsigned int max_us);

/* How a page of the object's place in the buffer is mapped. */
enum t_state { ST_RW, ST_RO, ST_NONE, ST_HOLE, ST_OVER };

/* What is known of the bytes of one memory: each has one of these two values. */
struct t_bytes {
	unsigned char want[T_MAX_LEN], alt[T_MAX_LEN];
};

/* A worker's range of a disk */
struct t_disk {
	unsigned char want[T_DISK_LEN];
};

struct t_worker {
	int id;
	struct t_rng rng, imp_rng;
	pthread_t thread, imp;

	/* Worker only, but the imp uses the object under @imp_lock. */
	struct gpu_mr m;
	unsigned char *view;	/* another mapping of the object, never changed */
	unsigned int gpu_gen;	/* of EV_GPU when it was opened */
	int edu;		/* file, -1 if none */
	bool edu_reg;
	uint64_t dev;		/* where the engine sees the buffer */
	unsigned int edu_gen;
	bool freed;
	unsigned int gen;	/* of the data, see t_new_data() */
	bool unseen;		/* writes failed that nobody could look at yet */
	struct t_bytes main;	/* RAM, the object, RAM */
	struct t_bytes over;	/* RAM mapped over the object */
	unsigned char was_over[T_MAX_LEN];	/* before an operation */
	unsigned char tmp[T_MAX_LEN], pat[T_MAX_LEN];
	struct t_disk disk[T_DISKS];
	unsigned int disk_gen;	/* 0: nothing is there yet */
	unsigned char *ram;	/* T_DISK_LEN bytes, for the disks */

	pthread_mutex_t imp_lock;
	bool open;		/* under imp_lock */

	/* Changes only under @map_lock and between the two epochs. */
	pthread_mutex_t map_lock;
	atomic_uint map_begin, map_end;
	uint8_t state[T_GPU_PAGES];
	atomic_uint move_begin, move_end;
	atomic_uint where;
};

/* What a worker saw before or after an operation. */
struct t_snap {
	uint64_t ms;
	unsigned int map_begin, map_end, move_begin, move_end, where;
	unsigned int begin[NR_EV], down[NR_EV], end[NR_EV];
	bool denied, withheld, strict;
	uint64_t reset_ms;
	uint8_t state[T_GPU_PAGES];
};

struct t_verdict {
	bool may_fail, must_fail;
	bool lax;		/* the mapping changed: where data went is open */
	unsigned int why;	/* BIT(enum t_cause): what explains a failure */
	uint64_t took;		/* ms, without resets */
};

/* torture_oracle.c: who may fail, and which byte may be where */
unsigned char t_pattern(unsigned int owner, unsigned int gen, size_t off);
void t_fill(struct t_worker *w, unsigned char *p, bool over, unsigned int gen,
	    size_t off, size_t len);
void t_new_data(struct t_worker *w, size_t off, size_t len);
void t_describe(char *text, size_t size, const unsigned char *p, size_t len,
		size_t off);
void t_snap(struct t_worker *w, struct t_snap *s);
bool t_gpu_dead(struct t_worker *w, const struct t_snap *s);
bool t_gpu_doubtful(struct t_worker *w, const struct t_snap *s);
/* May the owner have withheld the memory from @by, and did he all the time? */
bool t_withheld(const struct t_snap *before, const struct t_snap *after,
		enum t_by by, bool *all);
void t_expect(struct t_worker *w, const struct t_snap *before,
	      const struct t_snap *after, size_t off, size_t len, bool write,
	      enum t_by by, struct t_verdict *v);
/* Is the outcome one that @v explains? Counts it. */
int t_outcome(struct t_worker *w, enum t_op op, const struct t_verdict *v,
	      int status, size_t off, size_t len);
/* [off, off + len) was to become @pat. */
void t_written(struct t_worker *w, const struct t_snap *before,
	       const struct t_verdict *v, bool done, const unsigned char *pat,
	       size_t off, size_t len);
/* Compare what was read from [off, off + len). */
int t_check_read(struct t_worker *w, const struct t_snap *before, bool lax,
		 const unsigned char *got, size_t off, size_t len,
		 const char *what);
/* Compare the memory itself; under map_lock. 1: the object cannot be seen. */
int t_check(struct t_worker *w, size_t off, size_t len, const char *what);
int t_cpu_copy(void *to, const void *from, size_t len);

/* torture_map.c: what happens to the mapping of the object */
void t_map_op(struct t_worker *w, struct t_rng *rng);

/* torture_bar.c: exporters that are a BAR; t_open() is for all of them */
int t_bar_prepare(void);
int t_bar_restore(void);
int t_bar_enable(void);		/* again: the device is a new one */
int t_open(struct gpu_mr *m, int slot);
/* The memory is not withheld until it is released; false: it is, or soon. */
bool t_hold_offer(void);
void t_release_offer(void);
uint64_t t_reset_ms(void);
void t_bar_reset(struct t_worker *w);
void t_bar_withhold(struct t_rng *rng);

/* torture_transfer.c: one operation, and whether it did what it should */
int t_transfer(struct t_worker *w, enum t_op op);
int t_edu_copy(struct t_worker *w);
int t_edu_again(struct t_worker *w);
int t_cpu_write(struct t_worker *w);
/* Places are mostly around the borders of pages and of the object. */
void t_choose(struct t_worker *w, size_t most, size_t *off, size_t *len);

/* torture_dio.c: between the buffer and disks, if there are any */
int t_dio_prepare(void);
int t_dio(struct t_worker *w);
int t_dio_check(struct t_worker *w);
/* A part of @buf, and do not wait. *@ctx begins as 0. */
void t_dio_post(struct t_rng *rng, aio_context_t *ctx, int slot,
		unsigned char *buf, size_t len);

/* torture_ways.c: which way that went */
void t_ways_begin(void);
void t_ways_look(void);
void t_ways_print(void);

/* torture_worker.c, torture_doomed.c, torture_events.c: processes */
void t_worker_process(int process);
void t_doomed_process(int slot, unsigned int who);
void t_event_process(void);
/* Nothing is mapped of VRAM for DMA, or it is a failure. */
void t_nothing_is_live(const char *why);

/* Back to how it was found; also when a run was cut short. */
int t_events_restore(void);

#endif
