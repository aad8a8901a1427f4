// SPDX-License-Identifier: GPL-2.0
/*
 * The oracle of p2p_torture: which byte may be where, and which failure has an
 * explanation.
 *
 * A worker knows for each byte of its buffer the value it has, or the two that
 * it may have after an operation that failed half-way. An operation is judged
 * by the epochs of what happened to it: if nothing did, it has to work; if the
 * harm was done before it began, it has to fail; in between it may do either,
 * but with an error that fits.
 */
#include "torture.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define BIT(n)	(1U << (n))

/*
 * Eight bytes say who wrote them, when, and where to: 16 bits of owner and
 * memory or disk, 24 of generation, 24 of offset in words. Odd borders cut words.
 */
static uint64_t word(unsigned int owner, unsigned int gen, size_t off)
{
	return (uint64_t)(0xa000 | owner) << 48 |
	       (uint64_t)(gen & 0xffffff) << 24 | (off / 8 & 0xffffff);
}

unsigned char t_pattern(unsigned int owner, unsigned int gen, size_t off)
{
	return word(owner, gen, off) >> (8 * (off % 8));
}

void t_fill(struct t_worker *w, unsigned char *p, bool over, unsigned int gen,
	    size_t off, size_t len)
{
	for (size_t i = 0; i < len; i++)
		p[i] = t_pattern(2 * w->id + over, gen, off + i);
}

/*
 * Each write has data of its own. But as long as withheld memory may have some of
 * what failed, a write or a read of a disk, the next one writes just that: a byte
 * has two values to choose from, not three.
 */
void t_new_data(struct t_worker *w, size_t off, size_t len)
{
	if (w->unseen)
		memcpy(w->pat, w->main.alt + off, len);
	else
		t_fill(w, w->pat, false, ++w->gen, off, len);
}

/* Whose are the bytes around a wrong one? */
void t_describe(char *text, size_t size, const unsigned char *p, size_t len,
		size_t off)
{
	size_t first = -off % 8;
	uint64_t v = 0;

	if (first + 8 > len) {
		snprintf(text, size, "%zu bytes, first %02x", len, p[0]);
		return;
	}
	memcpy(&v, p + first, 8);
	if (v >> 60 == 0xa)
		snprintf(text, size,
			 "%016llx: worker %u, %s, generation %u, offset %#lx",
			 (unsigned long long)v, (unsigned int)(v >> 49 & 0x3ff),
			 v >> 48 & T_DISK_OWNER ? "its disks" :
			 v >> 48 & 1 ? "RAM mapped over" : "its buffer",
			 (unsigned int)(v >> 24 & 0xffffff),
			 (unsigned long)(v & 0xffffff) * 8);
	else if (v >> 40 == 0xca4a47)
		snprintf(text, size, "%016llx: free VRAM at %#llx",
			 (unsigned long long)v,
			 (unsigned long long)v & 0xffffffffff);
	else
		snprintf(text, size, "%016llx: %s", (unsigned long long)v,
			 v ? "no pattern" : "fresh memory");
}

void t_snap(struct t_worker *w, struct t_snap *s)
{
	s->ms = t_now();
	/* The ends first: whatever begins from here on shows later. */
	s->map_end = w->map_end;
	s->move_end = w->move_end;
	for (int i = 0; i < NR_EV; i++) {
		s->end[i] = t->ev[i].end;
		s->down[i] = t->ev[i].down;
		s->begin[i] = t->ev[i].begin;
	}
	s->denied = t->denied;
	s->withheld = t->withheld;
	s->strict = t->strict;
	s->reset_ms = t_reset_ms();
	s->where = w->where;
	memcpy(s->state, w->state, sizeof(s->state));
	s->move_begin = w->move_begin;
	s->map_begin = w->map_begin;
}

bool t_gpu_dead(struct t_worker *w, const struct t_snap *s)
{
	return w->freed || s->down[EV_GPU] > w->gpu_gen;
}

bool t_gpu_doubtful(struct t_worker *w, const struct t_snap *s)
{
	return s->begin[EV_GPU] > w->gpu_gen;
}

static bool same(const struct t_snap *a, const struct t_snap *b, int ev)
{
	return a->begin[ev] == a->end[ev] && b->begin[ev] == a->begin[ev];
}

bool t_withheld(const struct t_snap *before, const struct t_snap *after,
		enum t_by by, bool *all)
{
	bool stable = same(before, after, EV_OFFER);

	*all = false;
	/* p2p_mmap is about peers only. */
	if (by == BY_CPU && t->exporter != T_VFIO)
		return false;
	*all = stable && before->withheld;
	return !stable || before->withheld;
}

static void expect_offer(const struct t_snap *before,
			 const struct t_snap *after, enum t_by by,
			 struct t_verdict *v)
{
	bool all;

	if (!t_withheld(before, after, by, &all))
		return;
	v->why |= BIT(WHY_WITHHELD);
	v->may_fail = true;
	/* What the CPU sees, direct I/O may do by the page cache. */
	v->must_fail |= all && (by != BY_DIO || t->exporter == T_VFIO);
}

/* What only concerns data that goes through RAM, since the disk does not reach it */
static void expect_bounce(const struct t_snap *before,
			  const struct t_snap *after, enum t_by by,
			  struct t_verdict *v)
{
	if (by != BY_DIO)
		return;
	if (!same(before, after, EV_STRICT) || before->strict) {
		v->why |= BIT(WHY_STRICT);
		v->may_fail = true;
	}
	if (!same(before, after, EV_RESET)) {
		v->why |= BIT(WHY_RESET);
		v->may_fail = true;
	}
}

/* A page of the object whose mapping did not change. */
static void expect_page(struct t_worker *w, const struct t_snap *before,
			const struct t_snap *after, int state, bool write,
			enum t_by by, struct t_verdict *v)
{
	switch (state) {
	case ST_OVER:
		return;
	case ST_HOLE:
	case ST_NONE:
		v->why |= BIT(WHY_HOLE);
		v->must_fail = true;
		return;
	case ST_RO:
		if (write) {
			v->why |= BIT(WHY_READONLY);
			v->must_fail = true;
		}
		break;
	}
	if (t_gpu_dead(w, before)) {
		v->why |= BIT(w->freed ? WHY_FREED : WHY_GPU_GONE);
		v->must_fail = true;
	}
	if (t_gpu_doubtful(w, after)) {
		v->why |= BIT(WHY_GPU_GONE);
		v->may_fail = true;
	}
	expect_offer(before, after, by, v);
	expect_bounce(before, after, by, v);
	if (by != BY_EDU ||
	    (same(before, after, EV_POLICY) && !before->denied))
		return;
	v->why |= BIT(WHY_POLICY);
	v->may_fail = true;
	/* An evicted object is RAM, which no policy is about. */
	if (same(before, after, EV_POLICY) &&
	    before->move_begin == before->move_end &&
	    after->move_begin == before->move_begin &&
	    before->where == P2P_GPU_VRAM)
		v->must_fail = true;
}

void t_expect(struct t_worker *w, const struct t_snap *before,
	      const struct t_snap *after, size_t off, size_t len, bool write,
	      enum t_by by, struct t_verdict *v)
{
	size_t gpu = w->m.gpu / T_PAGE;
	bool changed = before->map_begin != before->map_end ||
		       after->map_begin != before->map_begin;
	bool all;

	v->took = after->ms - before->ms - (after->reset_ms - before->reset_ms);
	if (v->took >= T_BUSY_MS) {
		v->why |= BIT(WHY_BUSY);
		v->may_fail = true;
	}
	for (size_t p = off / T_PAGE; p <= (off + len - 1) / T_PAGE; p++) {
		if (p < T_RAM_PAGES || p >= T_RAM_PAGES + gpu)
			continue;
		if (changed) {
			/* Whatever it was in between. */
			v->lax = true;
			v->may_fail = true;
			v->why |= BIT(WHY_REMAPPED);
			if (t_gpu_dead(w, before) || t_gpu_doubtful(w, after))
				v->why |= BIT(WHY_GPU_GONE) | BIT(WHY_FREED);
			if (by == BY_EDU && !(same(before, after, EV_POLICY) &&
					      !before->denied))
				v->why |= BIT(WHY_POLICY);
			if (t_withheld(before, after, by, &all))
				v->why |= BIT(WHY_WITHHELD);
			expect_bounce(before, after, by, v);
			continue;
		}
		expect_page(w, before, after, before->state[p - T_RAM_PAGES],
			    write, by, v);
	}
	if (by != BY_EDU)
		return;
	if (before->down[EV_EDU] > w->edu_gen) {
		v->why = BIT(WHY_EDU_GONE);	/* nothing else is looked at */
		v->must_fail = true;
	} else if (after->begin[EV_EDU] > w->edu_gen) {
		v->why |= BIT(WHY_EDU_GONE);
		v->may_fail = true;
	}
}

static bool explains(enum t_cause why, enum t_op op, int status)
{
	switch (op) {
	case OP_EDU_WRITE:
	case OP_EDU_READ:
	case OP_EDU_COPY:
	case OP_EDU_AGAIN:
		switch (why) {
		case WHY_HOLE:
			return status == -EFAULT;
		case WHY_READONLY:
			return status == -EPERM;
		case WHY_REMAPPED:
			return status == -EFAULT || status == -EPERM;
		case WHY_POLICY:
			return status == -EACCES;
		case WHY_FREED:
		case WHY_GPU_GONE:
		case WHY_EDU_GONE:
			return status == -ENODEV;
		case WHY_BUSY:
			return status == -EBUSY;
		case WHY_WITHHELD:
			return status == (t->exporter == T_VFIO ? -ENXIO :
								  -EFAULT);
		default:
			return false;
		}
	case OP_DIO_READ:
	case OP_DIO_WRITE:
		switch (why) {
		case WHY_HOLE:
		case WHY_READONLY:
		case WHY_REMAPPED:
		case WHY_FREED:
			return status == -EFAULT;
		case WHY_RESET:
			return status == -ENODEV;
		case WHY_WITHHELD:
		case WHY_GPU_GONE:
			return status == -EFAULT || status == -ENODEV;
		case WHY_BUSY:
			return status == -ETIMEDOUT;
		case WHY_STRICT:
			return status == -EREMOTEIO;
		default:
			return false;
		}
	case OP_WRITE:
	case OP_READ:
		return why != WHY_POLICY && status == IBV_WC_REM_ACCESS_ERR;
	case OP_SEND:
		/* Served by the receiver, which cannot: the sender hears it. */
		return why != WHY_POLICY && status == IBV_WC_REM_OP_ERR;
	case OP_PUT:
	case OP_GET:
	case OP_SEND_FROM:
		/* rxe flushes what its sender cannot read. */
		return why != WHY_POLICY && (status == IBV_WC_LOC_PROT_ERR ||
					     status == IBV_WC_WR_FLUSH_ERR);
	default:
		return false;
	}
}

int t_outcome(struct t_worker *w, enum t_op op, const struct t_verdict *v,
	      int status, size_t off, size_t len)
{
	t_count(op);
	if (!status) {
		if (!v->must_fail)
			return 0;
		return t_fail("worker %d: %s of %zu bytes at %#zx succeeded in spite of %#x",
			      w->id, t_op_names[op], len, off, v->why);
	}
	if (v->may_fail || v->must_fail)
		for (int why = 0; why < NR_WHY; why++)
			if (v->why & BIT(why) && explains(why, op, status)) {
				atomic_fetch_add(&t->errors[op][why], 1);
				return 0;
			}
	return t_fail("worker %d: %s of %zu at %#zx: %d after %llu ms, unexplained (causes %#x)",
		      w->id, t_op_names[op], len, off, status,
		      (unsigned long long)v->took, v->why);
}

/* In which memory is this byte of the buffer? */
static bool in_object(struct t_worker *w, size_t off)
{
	return off >= T_GPU_OFF && off < T_GPU_OFF + w->m.gpu;
}

void t_written(struct t_worker *w, const struct t_snap *before,
	       const struct t_verdict *v, bool done, const unsigned char *pat,
	       size_t off, size_t len)
{
	/* What happened to the mapping after the operation counts, too. */
	bool changed = before->map_begin != before->map_end ||
		       w->map_begin != before->map_begin;

	for (size_t i = off; i < off + len; i++) {
		bool obj = in_object(w, i);
		size_t p = obj ? (i - T_GPU_OFF) / T_PAGE : 0;
		bool over = obj && before->state[p] == ST_OVER;

		if (obj && w->state[p] == ST_OVER) {
			w->over.alt[i] = pat[i - off];
			if (done && !changed)
				w->over.want[i] = pat[i - off];
		}
		if (!obj || !over || v->lax)
			w->main.alt[i] = pat[i - off];
		if (done && !over && !(obj && v->lax))
			w->main.want[i] = pat[i - off];
	}
}

static int bad_byte(struct t_worker *w, const char *what, size_t at,
		    const unsigned char *got, size_t left,
		    const struct t_bytes *b)
{
	char g[128], e[128], a[128], place[128];

	t_describe(g, sizeof(g), got, left, at);
	t_describe(e, sizeof(e), b->want + at, T_MAX_LEN - at, at);
	t_describe(a, sizeof(a), b->alt + at, T_MAX_LEN - at, at);
	snprintf(place, sizeof(place), "offset %#zx (object %#llx%+zd, in %s)",
		 at, (unsigned long long)w->m.o.offset,
		 (ssize_t)(at - T_GPU_OFF), w->where ? "RAM" : "VRAM");
	return t_fail("worker %d: wrong byte, %s, %s: %02x, not %02x or %02x\n%s%s\n%s%s\n%s%s",
		      w->id, what, place, got[0], b->want[at], b->alt[at],
		      "#   found    ", g, "#   expected ", e, "#   or       ", a);
}

int t_check_read(struct t_worker *w, const struct t_snap *before, bool lax,
		 const unsigned char *got, size_t off, size_t len,
		 const char *what)
{
	for (size_t i = off; i < off + len; i++) {
		unsigned char c = got[i - off];
		bool obj = in_object(w, i);
		bool over = obj && !lax &&
			before->state[(i - T_GPU_OFF) / T_PAGE] == ST_OVER;

		if (!over && (c == w->main.want[i] || c == w->main.alt[i]))
			continue;
		if ((over || (obj && lax)) && c == w->was_over[i])
			continue;
		if (obj && lax && c == t_pattern(2 * w->id + 1, 0, i))
			continue;
		return bad_byte(w, what, i, got + (i - off), len - (i - off),
			     over ? &w->over : &w->main);
	}
	return 0;
}

/* The value is known now. */
static int settle(struct t_worker *w, struct t_bytes *b,
		  const unsigned char *got, size_t off, size_t len,
		  const char *what)
{
	for (size_t i = off; i < off + len; i++) {
		unsigned char c = got[i - off];

		if (c != b->want[i] && c != b->alt[i])
			return bad_byte(w, what, i, got + (i - off),
				     len - (i - off), b);
		b->want[i] = c;
		b->alt[i] = c;
	}
	return 0;
}

/* The object through the view, or through the buffer where it shows it. */
static int check_object(struct t_worker *w, size_t off, size_t len,
			bool direct, const char *what)
{
	static __thread unsigned char got[T_PAGE];
	struct t_snap s, after;
	const unsigned char *from = direct ? w->m.buf + off :
					     w->view + (off - T_GPU_OFF);
	bool withheld, all;
	int err;

	t_snap(w, &s);
	err = t_cpu_copy(got, from, len);
	t_snap(w, &after);
	withheld = t_withheld(&s, &after, BY_CPU, &all);
	if (err) {
		if (t_gpu_dead(w, &after) || t_gpu_doubtful(w, &after) ||
		    withheld)
			return 1;
		return t_fail("worker %d: SIGBUS, %s, offset %#zx",
			      w->id, what, off);
	}
	if (t_gpu_dead(w, &s) || all)
		return t_fail("worker %d: the CPU sees an object that is %s, %s, %#zx",
			      w->id, all ? "withheld" : "gone", what, off);
	/* While the device goes, QEMU may answer for it. */
	if (t_gpu_doubtful(w, &after))
		return 1;
	return settle(w, &w->main, got, off, len, what);
}

int t_check(struct t_worker *w, size_t off, size_t len, const char *what)
{
	int gone = 0, ret = 0;
	size_t n;

	for (; len && ret >= 0; off += n, len -= n) {
		n = T_PAGE - off % T_PAGE;
		n = n < len ? n : len;
		if (!in_object(w, off)) {
			ret = settle(w, &w->main, w->m.buf + off, off, n, what);
			continue;
		}
		switch (w->state[(off - T_GPU_OFF) / T_PAGE]) {
		case ST_OVER:
			ret = settle(w, &w->over, w->m.buf + off, off, n, what);
			if (ret)
				return ret;
			break;
		case ST_RW:
		case ST_RO:
			ret = check_object(w, off, n, true, what);
			gone |= ret;
			if (ret < 0)
				return ret;
			break;
		}
		ret = check_object(w, off, n, false, what);
		gone |= ret;
	}
	/* What is gone for good does not matter any more. */
	w->unseen |= gone && t->exporter == T_VFIO;
	return ret < 0 ? ret : gone;
}

/* Loads and stores that may end in SIGBUS */

static __thread void *guard;	/* a sigjmp_buf */

static void on_fault(int sig)
{
	if (guard)
		siglongjmp(*(sigjmp_buf *)guard, 1);
	signal(sig, SIG_DFL);
	raise(sig);
}

int t_cpu_copy(void *to, const void *from, size_t len)
{
	static __thread bool installed;
	struct sigaction sa = {
		.sa_handler = on_fault,
		.sa_flags = SA_NODEFER,
	};
	sigjmp_buf env;

	if (!installed) {
		sigaction(SIGBUS, &sa, NULL);
		sigaction(SIGSEGV, &sa, NULL);
		installed = true;
	}
	if (sigsetjmp(env, 0)) {
		guard = NULL;
		return -EFAULT;
	}
	guard = &env;
	atomic_signal_fence(memory_order_seq_cst);
	memcpy(to, from, len);
	atomic_signal_fence(memory_order_seq_cst);
	guard = NULL;
	return 0;
}
