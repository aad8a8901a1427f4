// SPDX-License-Identifier: GPL-2.0
/*
 * What p2p_torture does to the mapping of an object, by the worker between its
 * operations or by its imp in the middle of them. The view, another mapping of
 * the same object, stays as it is.
 */
#include "torture.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

struct run {
	struct t_worker *w;
	struct t_rng *rng;
	size_t first, n;	/* pages of the object */
	unsigned char *p;
	size_t len;
};

static void set(struct run *r, enum t_state state)
{
	memset(r->w->state + r->first, state, r->n);
}

static int lost(struct run *r, const char *what)
{
	int err = errno;

	return t_fail("worker %d: %s of pages %zu+%zu of the object: %s",
		      r->w->id, what, r->first, r->n, strerror(err));
}

static void note(struct run *r, enum t_op op, const char *how)
{
	t_note(op, "worker %d pages %zu+%zu %s", r->w->id, r->first, r->n, how);
}

static void map_hole(struct run *r)
{
	note(r, OP_MUNMAP, "");
	set(r, ST_HOLE);
	if (munmap(r->p, r->len))
		lost(r, "munmap");
}

/* Of resource2 not while it is withheld: peers could never use the mapping. */
static void map_back(struct run *r)
{
	bool hold = t->exporter == T_RESOURCE;
	struct gpu_obj *o = &r->w->m.o;
	void *p;

	if (hold && !t_hold_offer())
		return;
	p = mmap(r->p, r->len, GPU_MR_RW, MAP_SHARED | MAP_FIXED, o->fd,
		 o->offset + r->first * T_PAGE);
	if (hold)
		t_release_offer();
	note(r, OP_MMAP, "");
	set(r, ST_RW);
	if (p != MAP_FAILED)
		return;
	/* The file in sysfs goes with the device. */
	if (t->exporter != T_RESOURCE || t->ev[EV_GPU].begin == r->w->gpu_gen)
		lost(r, "mmap");
	else
		map_hole(r);
}

static void map_protect(struct run *r)
{
	static const int prot[] = { GPU_MR_RW, PROT_READ, PROT_NONE };
	static const char * const how[] = { "rw", "ro", "none" };
	int i = t_below(r->rng, 3);

	note(r, OP_MPROTECT, how[i]);
	set(r, ST_RW + i);
	if (mprotect(r->p, r->len, prot[i]))
		lost(r, "mprotect");
}

/* Filled first, then put there at once: no other bytes are ever seen. */
static void map_over(struct run *r)
{
	struct t_worker *w = r->w;
	size_t off = T_GPU_OFF + r->first * T_PAGE;
	unsigned char *p = mmap(NULL, r->len, GPU_MR_RW,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED) {
		lost(r, "anonymous mmap");
		return;
	}
	note(r, OP_MAP_FIXED, "");
	t_fill(w, p, true, 0, off, r->len);
	memcpy(w->over.want + off, p, r->len);
	memcpy(w->over.alt + off, p, r->len);
	set(r, ST_OVER);
	if (mremap(p, r->len, r->len, MREMAP_MAYMOVE | MREMAP_FIXED, r->p) !=
	    r->p)
		lost(r, "mremap of RAM over it");
}

/* Away and back, or away and gone. One page: never more than one VMA. */
static void map_move(struct run *r)
{
	unsigned char *to;

	r->n = 1;
	r->len = T_PAGE;
	to = mmap(NULL, r->len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (to == MAP_FAILED)
		return;
	note(r, OP_MREMAP_MOVE, "");
	if (mremap(r->p, r->len, r->len, MREMAP_MAYMOVE | MREMAP_FIXED, to) !=
	    to) {
		lost(r, "mremap away");
		return;
	}
	t_nap(r->rng, 1000);
	if (t_one_in(r->rng, 2)) {
		set(r, ST_HOLE);
		munmap(to, r->len);
	} else if (mremap(to, r->len, r->len, MREMAP_MAYMOVE | MREMAP_FIXED,
			  r->p) != r->p) {
		lost(r, "mremap back");
	}
}

static void map_shrink(struct run *r)
{
	if (r->n < 2) {
		map_hole(r);
		return;
	}
	note(r, OP_MREMAP_SHRINK, "");
	if (mremap(r->p, r->len, T_PAGE, 0) != r->p) {
		/* Over several VMAs: as before, or a part is gone. */
		map_hole(r);
		map_back(r);
		return;
	}
	r->first++;
	r->n--;
	set(r, ST_HOLE);
}

static void map_grow(struct run *r)
{
	void *p = mremap(r->p, T_PAGE, 2 * T_PAGE, MREMAP_MAYMOVE);

	note(r, OP_MREMAP_GROW, "");
	if (p != MAP_FAILED || (errno != EFAULT && errno != EINVAL))
		t_fail("worker %d: a mapping of an object grew: %s", r->w->id,
		       p == MAP_FAILED ? strerror(errno) : "no error");
}

static void map_advise(struct run *r)
{
	int ret = madvise(r->p, r->len, MADV_DONTNEED);

	note(r, OP_MADVISE, "object");
	if (!ret || errno != EINVAL)
		t_fail("worker %d: MADV_DONTNEED of an object: %s", r->w->id,
		       ret ? strerror(errno) : "no error");
}

static bool shows_object(struct t_worker *w, size_t page)
{
	return w->state[page] <= ST_NONE;
}

void t_map_op(struct t_worker *w, struct t_rng *rng)
{
	struct run r = { .w = w, .rng = rng };
	size_t pages = w->m.gpu / T_PAGE, most;
	bool object;

	pthread_mutex_lock(&w->map_lock);
	if (t_one_in(rng, 4)) {
		/* All is well again, now and then. */
		r.n = pages;
		object = false;
	} else {
		r.first = t_below(rng, pages);
		most = 1 + t_below(rng, pages - r.first);
		object = shows_object(w, r.first);
		/* All of it shows the object, or none. */
		for (r.n = 1; r.n < most; r.n++)
			if (object != shows_object(w, r.first + r.n))
				break;
	}
	r.p = w->m.buf + T_GPU_OFF + r.first * T_PAGE;
	r.len = r.n * T_PAGE;

	atomic_fetch_add(&w->map_begin, 1);
	if (!object) {
		map_back(&r);
	} else {
		static void (* const what[])(struct run *r) = {
			map_hole, map_protect, map_protect, map_over, map_move,
			map_shrink, map_grow, map_advise,
		};

		what[t_below(rng, 8)](&r);
	}
	atomic_fetch_add(&w->map_end, 1);
	pthread_mutex_unlock(&w->map_lock);
}
