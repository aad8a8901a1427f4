// SPDX-License-Identifier: GPL-2.0
/*
 * Direct I/O of p2p_torture: a worker reads a disk into its buffer, and writes
 * its buffer to the disk, whatever happens to the buffer meanwhile.
 *
 * Each worker has a range of each disk that nobody else touches, and knows every
 * byte of it: I/O with buffers in RAM, to which nothing happens, writes it and
 * looks at it. So data that goes to a wrong place of the memory or of the disk is
 * found by whoever has that place.
 */
#include "torture.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "dio.h"

#define SECTOR	512UL
#define PIECES	3

/* A part of the buffer. The first pieces of an operation are done first. */
struct piece {
	size_t off, len;
};

struct op {
	struct t_worker *w;
	enum t_op what;		/* OP_DIO_READ or OP_DIO_WRITE */
	int disk;
	size_t at, len;		/* in the worker's range of the disk */
	int nr;
	struct piece piece[PIECES];
	enum dio_how how;
	bool free, freed;	/* the object, meanwhile: try it; it was done */
	long done;		/* bytes, or -errno */
};

/* Beginning */

int t_dio_prepare(void)
{
	glob_t g;
	int fd;

	if (glob("/dev/nvme*n1", 0, NULL, &g))
		return 0;
	for (size_t i = 0; i < g.gl_pathc && t->disks < T_DISKS; i++) {
		fd = open(g.gl_pathv[i], O_RDWR | O_DIRECT | O_CLOEXEC);
		if (fd < 0) {
			globfree(&g);
			return -errno;
		}
		t->disk[t->disks++] = fd;
	}
	globfree(&g);
	return 0;
}

/* The disk by way of RAM */

static off_t disk_pos(unsigned int owner, size_t at)
{
	return (off_t)owner * T_DISK_LEN + at;
}

/* Between the disk and w->ram, which holds what is in the range */
static int ram_io(struct t_worker *w, int disk, bool write, size_t at,
		  size_t len)
{
	long n = dio_one(DIO_SYNC, write, t->disk[disk], w->ram + at, len,
			 disk_pos(w->id, at));

	if (n == (long)len)
		return 0;
	return t_fail("worker %d: %s of disk %d from RAM, %zu bytes at %#zx: %ld",
		      w->id, write ? "write" : "read", disk, len, at, n);
}

/* Data that is nowhere else */
static int renew(struct t_worker *w, int disk, size_t at, size_t len)
{
	unsigned int owner = T_DISK_OWNER | 2 * w->id;
	struct t_disk *d = &w->disk[disk];

	w->disk_gen++;
	for (size_t i = at; i < at + len; i++)
		d->want[i] = t_pattern(owner, w->disk_gen,
				       disk * T_DISK_LEN + i);
	memcpy(w->ram + at, d->want + at, len);
	return ram_io(w, disk, true, at, len);
}

static int bad_block(struct t_worker *w, int disk, size_t at, const char *what)
{
	const unsigned char *want = w->disk[disk].want;
	char g[128], e[128];

	t_describe(g, sizeof(g), w->ram + at, T_DISK_LEN - at, at);
	t_describe(e, sizeof(e), want + at, T_DISK_LEN - at, at);
	return t_fail("worker %d: wrong byte, disk %d, %s, %#zx: %02x, not %02x\n%s%s\n%s%s",
		      w->id, disk, what, at, w->ram[at], want[at],
		      "#   found    ", g, "#   expected ", e);
}

static int check_disk(struct t_worker *w, int disk, size_t at, size_t len,
		      const char *what)
{
	if (ram_io(w, disk, false, at, len))
		return -1;
	for (size_t i = at; i < at + len; i++)
		if (w->ram[i] != w->disk[disk].want[i])
			return bad_block(w, disk, i, what);
	return 0;
}

int t_dio_check(struct t_worker *w)
{
	int ret = 0;

	for (int i = 0; i < t->disks && w->disk_gen && !ret; i++)
		ret = check_disk(w, i, 0, T_DISK_LEN, "check of all");
	t_count(OP_DIO_CHECK);
	return ret;
}

/* What to do */

static void choose(struct op *op)
{
	struct t_worker *w = op->w;
	struct t_rng *r = &w->rng;
	size_t unit = t_one_in(r, 3) ? T_PAGE : SECTOR;
	size_t off, end, cut, left;

	t_choose(w, t_one_in(r, 4) ? T_MAX_LEN : 9000, &off, &left);
	end = (off + left + unit - 1) / unit * unit;
	off = off / unit * unit;
	op->len = end - off;
	op->at = t_below(r, (T_DISK_LEN - op->len) / SECTOR + 1) * SECTOR;

	/* One range of addresses, or in pieces, in another order */
	op->nr = 0;
	for (int n = t_one_in(r, 2) ? 1 : PIECES; off < end; n--) {
		left = (end - off) / SECTOR;
		cut = n > 1 ? 1 + t_below(r, left) : left;
		op->piece[op->nr++] = (struct piece) { off, cut * SECTOR };
		off += cut * SECTOR;
	}
	if (t_one_in(r, 2)) {
		struct piece p = op->piece[0];

		op->piece[0] = op->piece[op->nr - 1];
		op->piece[op->nr - 1] = p;
	}
	op->free = t->exporter == T_OBJECT && !w->freed && t_one_in(r, 30);
	op->how = op->free ? DIO_AIO : t_below(r, DIO_ENGINES);
}

static void fill_iov(const struct op *op, struct iovec *iov)
{
	for (int i = 0; i < op->nr; i++)
		iov[i] = (struct iovec) {
			op->w->m.buf + op->piece[i].off, op->piece[i].len
		};
}

static void run(struct op *op)
{
	struct iovec iov[PIECES];

	fill_iov(op, iov);
	op->done = dio(op->how, op->what == OP_DIO_WRITE, t->disk[op->disk],
		       iov, op->nr, disk_pos(op->w->id, op->at), 0);
}

static long aio_submit(struct op *op, aio_context_t *ctx, struct iovec *iov)
{
	struct iocb cb = {
		.aio_lio_opcode = op->what == OP_DIO_WRITE ? IOCB_CMD_PWRITEV :
							     IOCB_CMD_PREADV,
		.aio_fildes = t->disk[op->disk],
		.aio_buf = (uintptr_t)iov,
		.aio_nbytes = op->nr,
		.aio_offset = disk_pos(op->w->id, op->at),
	}, *cbs = &cb;

	if (syscall(SYS_io_setup, 1, ctx) ||
	    syscall(SYS_io_submit, *ctx, 1, &cbs) != 1)
		return -errno;
	return 0;
}

/*
 * The object is freed while I/O is on its way. That has its memory, and goes on as
 * if nothing was; who gets the memory next will not see anything of it.
 */
static void run_and_free(struct op *op)
{
	struct t_worker *w = op->w;
	struct iovec iov[PIECES];
	struct io_event event;
	aio_context_t ctx = 0;

	fill_iov(op, iov);
	op->done = aio_submit(op, &ctx, iov);
	op->freed = !gpu_free(&w->m.o);
	t_note(OP_DIO_FREE, "worker %d", w->id);
	if (!op->done) {
		while (syscall(SYS_io_getevents, ctx, 1, 1, &event, NULL) != 1)
			;
		op->done = event.res;
	}
	syscall(SYS_io_destroy, ctx);
}

static void run_op(struct op *op, struct t_snap *before, struct t_snap *after)
{
	struct t_worker *w = op->w;

	t_snap(w, before);
	memcpy(w->was_over, w->over.want, sizeof(w->was_over));
	if (op->free)
		run_and_free(op);
	else
		run(op);
	t_snap(w, after);
}

/* What it has come to */

static int fail(struct op *op, const struct t_verdict *v, const char *why)
{
	char text[64] = "";

	for (int i = 0, n = 0; i < op->nr; i++)
		n += snprintf(text + n, sizeof(text) - n, " %#zx+%#zx",
			      op->piece[i].off, op->piece[i].len);
	return t_fail("worker %d: %s, %s, disk %d at %#zx, to%s: %ld, %s (%#x)",
		      op->w->id, t_op_names[op->what], dio_names[op->how],
		      op->disk, op->at, text, op->done, why, v->why);
}

/* How much is done where it is certain what is in the way */
static long certain(struct op *op, const struct t_snap *before,
		    const struct t_snap *after)
{
	long n = 0;

	for (int i = 0; i < op->nr; i++) {
		const struct piece *p = &op->piece[i];

		for (size_t at = 0; at < p->len; at += SECTOR, n += SECTOR) {
			struct t_verdict v = { };

			t_expect(op->w, before, after, p->off + at, SECTOR,
				 op->what == OP_DIO_READ, BY_DIO, &v);
			if (v.must_fail)
				return n ? n : -EFAULT;
		}
	}
	return n;
}

static int outcome(struct op *op, const struct t_snap *before,
		   const struct t_snap *after, struct t_verdict *v)
{
	const unsigned int goes_away = 1U << WHY_REMAPPED | 1U << WHY_WITHHELD |
				       1U << WHY_GPU_GONE;
	long status = op->done;

	for (int i = 0; i < op->nr; i++)
		t_expect(op->w, before, after, op->piece[i].off,
			 op->piece[i].len, op->what == OP_DIO_READ, BY_DIO, v);
	/*
	 * Where the CPU copies what was left over, memory that goes away
	 * meanwhile ends that at any byte.
	 */
	if (!status || status > (long)op->len ||
	    (status % (long)SECTOR > 0 && !(v->why & goes_away)))
		return fail(op, v, "which is no count");
	/* A short count is for what would else be EFAULT. */
	if (status > 0)
		status = status == (long)op->len ? 0 : -EFAULT;
	if (t_outcome(op->w, op->what, v, status, op->piece[0].off, op->len))
		return -1;
	if (v->must_fail && !v->may_fail &&
	    op->done != certain(op, before, after))
		return fail(op, v, "more or less than there is");
	return 0;
}

/* Bytes of the piece at @pos of the operation that are said to be done */
static size_t done_of(const struct op *op, size_t pos, size_t len)
{
	if (op->done <= (long)pos)
		return 0;
	return op->done - pos < len ? op->done - pos : len;
}

/* The memory has what the disk had; where it failed, perhaps. */
static int check_read(struct op *op, const struct t_snap *before,
		      const struct t_verdict *v)
{
	struct t_worker *w = op->w;
	const unsigned char *data = w->disk[op->disk].want + op->at;
	size_t from = T_MAX_LEN, to = 0, pos = 0;
	int ret;

	pthread_mutex_lock(&w->map_lock);
	for (int i = 0; i < op->nr; i++) {
		struct piece *p = &op->piece[i];
		size_t n = done_of(op, pos, p->len);

		t_written(w, before, v, true, data + pos, p->off, n);
		t_written(w, before, v, false, data + pos + n, p->off + n,
			  p->len - n);
		pos += p->len;
		from = p->off < from ? p->off : from;
		to = p->off + p->len > to ? p->off + p->len : to;
	}
	/* An I/O that failed is looked at for what it did elsewhere, too. */
	from = from < 64 || op->done != (long)op->len ? 0 : from - 64;
	to = to + 64 > w->m.len || op->done != (long)op->len ? w->m.len :
							       to + 64;
	ret = t_check(w, from, to - from, t_op_names[op->what]);
	pthread_mutex_unlock(&w->map_lock);
	return ret < 0 ? ret : 0;
}

/* Of a block that was not done: as it was, or what the memory has */
static int check_left(struct op *op, const struct t_snap *before,
		      const struct t_verdict *v, size_t off, size_t pos,
		      size_t len)
{
	struct t_worker *w = op->w;
	const unsigned char *was = w->disk[op->disk].want + op->at + pos;
	const unsigned char *got = w->ram + op->at + pos;

	for (size_t i = 0; i < len; i++)
		if (got[i] != was[i] &&
		    t_check_read(w, before, v->lax, got + i, off + i, 1,
				 "write to disk that failed"))
			return -1;
	return 0;
}

/*
 * Who is wrong where @len bytes of the disk, from @pos of the operation on, are not
 * those of the memory: the disk, who read it, or the memory? Look again.
 */
static int look_again(struct op *op, const struct t_snap *before,
		      const struct t_verdict *v, size_t off, size_t pos,
		      size_t len)
{
	struct t_worker *w = op->w;
	unsigned char was, mem = 0, *ram = w->ram + op->at + pos;
	size_t i = 0, at;
	int err;

	while (i < len - 1 && !t_check_read(w, before, v->lax, ram + i, off + i,
					    1, ""))
		i++;
	was = ram[i];
	err = t_cpu_copy(&mem, w->m.buf + off + i, 1);
	at = op->at + pos + i;
	if (!ram_io(w, op->disk, false, at / SECTOR * SECTOR, SECTOR))
		t_note(OP_DIO_WRITE, "%#zx: disk %02x, again %02x, had %02x; memory %02x (%d)",
		       at, was, ram[i], w->disk[op->disk].want[at], mem, err);
	return -1;
}

/* The disk has what the memory has, and beside that what it had. */
static int check_write(struct op *op, const struct t_snap *before,
		       const struct t_verdict *v)
{
	struct t_worker *w = op->w;
	unsigned char *want = w->disk[op->disk].want;
	bool all = op->done != (long)op->len || t_one_in(&w->rng, 20);
	size_t from = all || op->at < T_PAGE ? 0 : op->at - T_PAGE;
	size_t to = op->at + op->len + T_PAGE, pos = 0;
	char what[96];

	snprintf(what, sizeof(what), "%s by %s to %#zx, %ld of %zu",
		 t_op_names[op->what], dio_names[op->how], op->at, op->done,
		 op->len);
	to = all || to > T_DISK_LEN ? T_DISK_LEN : to;
	if (ram_io(w, op->disk, false, from, to - from))
		return -1;
	for (int i = 0; i < op->nr; i++) {
		struct piece *p = &op->piece[i];
		size_t n = done_of(op, pos, p->len);

		if (t_check_read(w, before, v->lax, w->ram + op->at + pos,
				 p->off, n, what))
			return look_again(op, before, v, p->off, pos, n);
		if (check_left(op, before, v, p->off + n, pos + n, p->len - n))
			return -1;
		pos += p->len;
	}
	memcpy(want + op->at, w->ram + op->at, op->len);
	for (size_t i = from; i < to; i++)
		if (w->ram[i] != want[i])
			return bad_block(w, op->disk, i, "beside a write");
	return 0;
}

static void count_ways(struct op *op, const struct t_snap *before,
		       const struct t_snap *after)
{
	struct t_worker *w = op->w;
	bool still = before->move_begin == before->move_end &&
		     after->move_begin == before->move_begin;
	size_t ram = 0, pos = 0;

	for (int i = 0; i < op->nr; i++) {
		struct piece *p = &op->piece[i];
		size_t n = done_of(op, pos, p->len);

		for (size_t at = p->off; at < p->off + n; at += SECTOR)
			if (at < T_GPU_OFF || at >= T_GPU_OFF + w->m.gpu)
				ram += SECTOR;
		pos += p->len;
	}
	if (op->done <= 0)
		return;
	atomic_fetch_add(&t->dio_ram, ram);
	if (still && before->where != P2P_GPU_VRAM)
		atomic_fetch_add(&t->dio_evicted, op->done - ram);
}

int t_dio(struct t_worker *w)
{
	struct op op = {
		.w = w,
		.disk = t_below(&w->rng, t->disks),
		.what = t_one_in(&w->rng, 2) ? OP_DIO_READ : OP_DIO_WRITE,
	};
	struct t_snap before, after;
	struct t_verdict v = { };
	bool fresh = !w->disk_gen;
	int ret;

	for (int i = 0; i < t->disks && fresh; i++)
		if (renew(w, i, 0, T_DISK_LEN))
			return -1;
	choose(&op);
	if (op.what == OP_DIO_READ && !t_one_in(&w->rng, 4) &&
	    renew(w, op.disk, op.at, op.len))
		return -1;
	t_begin(w->id, op.what);
	if (op.free)
		pthread_mutex_lock(&w->imp_lock);
	run_op(&op, &before, &after);
	ret = outcome(&op, &before, &after, &v);
	if (op.free) {
		w->freed |= op.freed;
		pthread_mutex_unlock(&w->imp_lock);
	}
	if (ret)
		return ret;
	count_ways(&op, &before, &after);
	return op.what == OP_DIO_READ ? check_read(&op, &before, &v) :
					check_write(&op, &before, &v);
}

/* I/O of a process that dies, to a range of its own that nobody looks at */
void t_dio_post(struct t_rng *rng, aio_context_t *ctx, int slot,
		unsigned char *buf, size_t len)
{
	struct io_event events[T_DIO_DEPTH];
	struct iocb cb, *cbs = &cb;
	size_t off, n, most = len < T_DISK_LEN ? len : T_DISK_LEN;

	if (!t->disks || (!*ctx && syscall(SYS_io_setup, T_DIO_DEPTH, ctx)))
		return;
	n = 1 + t_below(rng, most / SECTOR);
	off = t_below(rng, (len / SECTOR) - n + 1) * SECTOR;
	cb = (struct iocb) {
		.aio_lio_opcode = t_one_in(rng, 2) ? IOCB_CMD_PREAD :
						     IOCB_CMD_PWRITE,
		.aio_fildes = t->disk[t_below(rng, t->disks)],
		.aio_buf = (uintptr_t)buf + off,
		.aio_nbytes = n * SECTOR,
		.aio_offset = disk_pos(T_WORKERS + slot - T_SLOT_DOOMED, 0),
	};
	if (syscall(SYS_io_submit, *ctx, 1, &cbs) == 1)
		t_count(OP_DOOMED_DIO);
	syscall(SYS_io_getevents, *ctx, 0, T_DIO_DEPTH, events,
		&(struct timespec) { });
}
