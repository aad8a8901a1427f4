/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A model of peer memory for the checker spin: an exporter that moves its memory
 * and then goes away, importers that fault it in and use it, and a program that
 * takes addresses away. spin tries every order in which their steps can happen.
 * "make model" runs it; scripts/model has the list of checks and of bugs.
 *
 * What has to hold:
 *  - No importer reaches a place after the zap that took it back has returned,
 *    nor a page after munmap() returned, nor anything through an extent that is
 *    not mapped for DMA any more.
 *  - A move loses nothing: importers find what was written last.
 *  - Each granted extent is given back once, and then ->p2p_unmap() runs once, in
 *    the worker. It may take the exporter's lock, which a zap may hold: called
 *    inside of an invalidation it deadlocks, and the search finds that.
 *  - Every fault ends, and nobody waits for ever. The model has no timeouts: that
 *    of p2p_fault_wait() would only turn a lost wake-up into seconds of silence.
 *  - p2p_region_detach() ends; then there is no extent, and no grant any more.
 * Each BUG_ breaks one of these on purpose, and the search has to find it. Each
 * HALF_ leaves out one of two guards of which one is enough.
 *
 * How near it is to the code: every step names the function that it stands for.
 * What happens under a lock is one step where nobody can look in between without
 * that lock. Those who look without user_lock are the device, whose accesses are
 * steps of their own, and the walk of a fault, whose view is only a hint that is
 * checked again at the commit. Weak memory ordering is outside of the model: what
 * is shared here is under a lock in the code, or a comment there says why not.
 *
 * What is small: two pages, two places, two faulting threads, and at most MOVES
 * moves. With IMPORTERS=1 the threads fault for one importer and their grants
 * collide; with 2 each has its own, and unregisters it some time. All are in one
 * mm, and share its sequence. An importer is of the hardest kind, a device that
 * reads its own page table whenever it likes (mlx5); p2p_edu and rxe hold
 * user_lock while they access memory. Left out: RAM in the same range, the
 * topology, permissions, CPU faults, signals, and short-term pins.
 */
/* The exporter: struct p2p_exporter, and what a driver has around it. */
bool xlock;			/* the driver's lock: p2p_gpu.lock */
bit place;			/* obj->place */
bool moving;			/* obj->moving */
bool dead;			/* e->dead */
byte users;			/* e->users */
byte wakes;			/* e->wakes */
byte put_list;			/* e->put_list: how many */
bool working;			/* p2p_put_work() runs */

/* Sets of pages: 1 is the first page, 2 the second. */
#define BOTH		3
#define LOWEST(set)	((set) & 1 -> 1 : (set))

/* Extents: what thread t was granted from page p on is ext[2 * t + p]. */
#define EXTENTS		4
#define NONE		EXTENTS
#define THREAD(e)	((e) / 2)
mtype = { FREE, PENDING, LIVE, CUT };	/* mapped for DMA, unless FREE */
typedef extent {
	mtype is = FREE;
	unsigned pages : 2;	/* ext->node: user addresses */
	bit at;			/* ext->phys: the place */
	byte seq		/* ext->seq */
};
extent ext[EXTENTS];

/* The mm. A waiting writer holds up new readers of mmap_lock. */
byte readers;
bool writer, writer_waits;
unsigned vma : 2 = BOTH;	/* pages that are mapped */
byte mm_seq = 2;		/* subscriptions->invalidate_seq */
byte invalidating;		/* subscriptions->active_invalidate_ranges */

typedef importer {
	bool lock;		/* user_lock */
	byte seq = 1;		/* interval_sub->invalidate_seq */
	bool gone;		/* mmu_interval_notifier_remove() returned */
	unsigned cut : EXTENTS;	/* set.cut, a set of extents */
	byte pte[2] = NONE;	/* the device's page table: extents */
	byte busy = NONE;	/* the device is using this extent */
	bit page		/* at this page */
};
importer imp[IMPORTERS];

/* Not part of the code: what must hold. */
bool open[2] = { true, false };		/* importers may reach this place */
bool fresh[2] = { true, false };	/* it holds what was written last */
unsigned unmapped : 2;			/* pages: munmap() returned */
bool stays, detached;			/* how the exporter ended */

#define IMP(thread)	((thread) * (IMPORTERS - 1))
#define IS(e, what)	(ext[e].is == what)
#define MINE(e)		(IS(e, PENDING) && THREAD(e) == t)
#define ITS(e)		(IS(e, LIVE) && IMP(THREAD(e)) == i)
#define EITHER(e)	(MINE(e) || ITS(e))
/* All pages of the extents for which this is true. */
#define OF(e, which)	(which(e) -> ext[e].pages : 0)
#define PAGES(which)	(OF(0, which) | OF(1, which) | OF(2, which) | OF(3, which))

/* p2p_extent_release(): no DMA any more, the worker does the rest. */
inline release(e)
{
	assert(!IS(e, FREE));
	ext[e].is = FREE;
	ext[e].seq = 0; ext[e].pages = 0; ext[e].at = 0;
	put_list++
}

/* p2p_fault_drop() */
inline drop_pending()
{
	for (e : 0 .. EXTENTS - 1) {
		if :: MINE(e) -> release(e) :: else fi
	}
	e = 0
}

/* Invalidation */

/* p2p_extents_cut(): takes extents out of the index and widens the set. */
inline cut_extents(i, set)
{
	wide = set;
	for (e : 0 .. EXTENTS - 1) {
		if
		:: ITS(e) && (ext[e].pages & set) ->
			ext[e].is = CUT;
			imp[i].cut = imp[i].cut | (1 << e);
#ifndef BUG_NO_WIDEN
			wide = wide | ext[e].pages
#endif
		:: else
		fi
	}
	e = 0
}

/* p2p_extents_cut_finish() */
inline cut_finish(i)
{
	for (e : 0 .. EXTENTS - 1) {
		if :: imp[i].cut & (1 << e) -> release(e) :: else fi
	}
	e = 0;
#ifndef BUG_UNMAP_TWICE
	imp[i].cut = 0
#endif
}

/* Clears entries of the device's page table: mlx5r_umr_update_xlt() ... */
inline zap_device(i)
{
	imp[i].pte[0] = (wide & 1 -> NONE : imp[i].pte[0]);
	imp[i].pte[1] = (wide & 2 -> NONE : imp[i].pte[1])
}

/* ... which also waits for what the device does by an old entry. */
#ifdef BUG_NO_FENCE
#define IDLE(i)		true
#else
#define IDLE(i)		(imp[i].busy == NONE || !((1 << imp[i].page) & wide))
#endif

#ifdef BUG_FINISH_FIRST
#define FIRST(i)	cut_finish(i)
#define THEN(i)		zap_device(i)
#else
#define FIRST(i)	zap_device(i)
#define THEN(i)		cut_finish(i)
#endif

/* mlx5_ib_invalidate_range(), p2p_edu_invalidate() and p2p_edu_unmap() */
inline take_back(i, set, new_seq)
{
	atomic {
		!imp[i].lock ->
		imp[i].lock = true;
		imp[i].seq = new_seq;		/* mmu_interval_set_seq() */
		cut_extents(i, set);
		FIRST(i)
	}
#ifdef BUG_CUT_UNLOCKED
	imp[i].lock = false;
#endif
	atomic {
		IDLE(i) ->
#ifdef BUG_UNMAP_INSIDE
		!imp[i].cut || !xlock;
#endif
		THEN(i);
		wide = 0; imp[i].lock = false
	}
}

/* What unmap_mapping_range(), munmap(), mprotect() do for a set of pages. */
inline invalidate(set)
{
	/* mn_itree_inv_start_range() */
	atomic { invalidating++; mm_seq = mm_seq | 1 }
#if IMPORTERS == 1
	take_back(0, set, mm_seq)
#else
	if :: !imp[0].gone -> take_back(0, set, mm_seq) :: imp[0].gone fi;
	if :: !imp[1].gone -> take_back(1, set, mm_seq) :: imp[1].gone fi
#endif
}

/* mn_itree_inv_end(): an even sequence lets readers go on. */
inline invalidate_end()
{
	invalidating--;
	mm_seq = (invalidating -> mm_seq : mm_seq + 1)
}

/* Importers */

inline mmap_read_lock() { !writer && !writer_waits -> readers++ }

/* The first thread needs both pages in one fault, the other the second page. */
#define WANT		(t -> 2 : BOTH)
#define MISSES		(imp[i].pte[1] == NONE || (!t && imp[i].pte[0] == NONE))

/* Not granted under an older sequence, nor in the way of a live extent. */
#if defined(BUG_NO_STAMP) || defined(HALF_NO_STAMP)
#define FITS(e)		(!(have & ext[e].pages))
#elif defined(BUG_OVERLAP)
#define FITS(e)		(ext[e].seq == seq)
#else
#define FITS(e)		(ext[e].seq == seq && !(have & ext[e].pages))
#endif

/* p2p_fault_commit() */
inline commit_pending()
{
	have = PAGES(ITS);
	for (e : 0 .. EXTENTS - 1) {
		if
		:: MINE(e) && FITS(e) ->
			assert(!(have & ext[e].pages));
			have = have | ext[e].pages;
			ext[e].is = LIVE; ext[e].seq = 0
		:: MINE(e) && !FITS(e) -> release(e)
		:: else
		fi
	}
	e = 0
}

/* Fill in the entries that were asked for. */
inline publish()
{
	for (e : 0 .. EXTENTS - 1) {
		if
		:: ITS(e) ->
			imp[i].pte[0] = (WANT & ext[e].pages & 1 -> e : imp[i].pte[0]);
			imp[i].pte[1] = (ext[e].pages & 2 -> e : imp[i].pte[1])
		:: else
		fi
	}
	e = 0
}

/* A thread that faults: ib_umem_odp_map_dma_and_lock(), p2p_edu_fault() */
active [2] proctype fault()
{
	byte e, seq, seen;
	unsigned have : 2, need : 2, window : 2, wide : 2;
	bit t = _pid, i = IMP(_pid);

end:	/* until the device has no translation */
	if
	:: MISSES
#if IMPORTERS > 1
	:: goto unregister
#endif
	fi;

retry:	/* hmm_range_fault_unlocked_timeout() */
	atomic {
		seq = imp[i].seq;	/* mmu_interval_read_begin() */
#if !defined(BUG_NO_STAMP) && !defined(HALF_NO_DROP)
		drop_pending()
#endif
	}
	atomic { seq != mm_seq -> mmap_read_lock() }

walk:	/* hmm_range_fault_locked(), p2p_req_init(): what is there already? */
	atomic {
		need = LOWEST(WANT & ~PAGES(EITHER));
#ifdef BUG_NO_CLIP
		window = vma & ~PAGES(MINE);
#else
		window = vma & ~PAGES(EITHER);
#endif
		if
		:: imp[i].seq != seq -> readers--; goto retry
		:: imp[i].seq == seq && !need -> readers--; goto commit
		:: imp[i].seq == seq && need && !(need & vma) -> readers--; goto fail
		:: else
		fi
	}

	/* p2p_fault_map(), ->p2p_map(): p2p_gpu_p2p_map() */
	atomic {
		!xlock ->
		if
		:: moving -> xlock = true; goto wait
		:: !moving -> readers--; goto fail	/* -ENODEV, -ENOMEM */
		:: !moving && !dead
		fi;
		if :: window = need :: window != need fi;	/* narrow or wide */
		/* p2p_req_add(), p2p_req_map(), p2p_fault_add() */
		assert(!detached);
		users++;
		e = 2 * t + (window & 1 -> 0 : 1);
		assert(IS(e, FREE));	/* or the model has too few */
		ext[e].is = PENDING; ext[e].pages = window;
		ext[e].at = place; ext[e].seq = seq;
		e = 0; need = 0; window = 0;
		goto walk
	}

wait:	/*
	 * p2p_req_wait(). Wakes are counted first: p2p_exporter_drain() wakes
	 * once, after "dead" is set, and does not take the driver's lock there.
	 */
#ifdef BUG_SEEN_UNLOCKED
	xlock = false;
#endif
#ifndef BUG_SEEN_LATE
	seen = wakes;
#endif
	atomic {
		need = 0; window = 0;
		if
		:: dead -> xlock = false; readers--; goto fail	/* -ENODEV */
		:: else -> users++
		fi;
#ifdef BUG_SEEN_LATE
	}
	atomic {
		seen = wakes;
#endif
		xlock = false;
		/* hmm_do_peer(), p2p_fault_wait() */
#ifndef BUG_WAIT_LOCKED
		readers--;
#endif
		drop_pending()
	}
	atomic {
		wakes != seen ->
#ifdef BUG_WAIT_LOCKED
		readers--;
#endif
		users--; seen = 0;
		goto retry
	}

commit:	/* under user_lock: mmu_interval_read_retry() */
	atomic {
		!imp[i].lock ->
#ifndef BUG_PUBLISH_FIRST
		if :: imp[i].seq != seq -> goto retry :: else fi;
#endif
		commit_pending();
		need = WANT & ~have;	/* ib_umem_odp_peers_live() */
		have = 0;
		if :: need -> need = 0; goto retry :: else fi;
		publish();
#ifdef BUG_PUBLISH_FIRST
	}
	atomic {
		if :: imp[i].seq != seq -> goto retry :: else fi;
#endif
		seq = 0;
		goto end
	}

fail:	/* HMM drops what is pending, and the access fails */
	atomic {
		seq = 0; seen = 0; need = 0; window = 0;
#ifndef BUG_NO_DROP
		drop_pending()
#endif
	}
#if IMPORTERS > 1
unregister:	/* p2p_edu_unregister(), mmu_interval_notifier_remove() */
#ifdef BUG_REMOVE_FIRST
	atomic { !(mm_seq & 1) -> imp[i].gone = true }
#endif
	take_back(i, BOTH, imp[i].seq);
	atomic { !(mm_seq & 1) -> imp[i].gone = true }
#endif
}

/* A device: its accesses overlap with everything else. */
active [IMPORTERS] proctype device()
{
	bit i = IMP(_pid - 2);

#define USED	ext[imp[i].busy]
end:	do
	:: atomic {
		if
		:: imp[i].pte[0] != NONE -> imp[i].busy = imp[i].pte[0]
		:: imp[i].pte[1] != NONE -> imp[i].busy = imp[i].pte[1];
			imp[i].page = 1
		fi
	   }
progress:  atomic {
		assert(USED.is == LIVE || USED.is == CUT);
		assert(open[USED.at]);
		assert(!(unmapped & (1 << imp[i].page)));
		assert(fresh[USED.at]);
		if :: true :: fresh[!USED.at] = false fi;	/* a read, a write */
		imp[i].busy = NONE; imp[i].page = 0
	   }
	od
}

/* A program that takes the first page away, or only changes its permissions. */
active [PROGRAMS] proctype program()
{
	byte e;
	unsigned wide : 2;

	/* mmap_write_lock() */
	writer_waits = true;
	atomic {
		!readers ->
		writer_waits = false;
		if
		:: writer = true		/* mprotect() */
		:: vma = 2; readers++		/* munmap() downgrades the lock */
		fi
	}
#ifndef BUG_NO_NOTIFY
	invalidate(1);
#endif
	atomic {
#ifndef BUG_NO_NOTIFY
		invalidate_end();
#endif
		if
		:: writer -> writer = false
		:: else -> unmapped = 1; readers--
		fi
	}
}

/* The exporter */

/* p2p_put_work(): ->p2p_unmap(), which may take the driver's lock; put */
active proctype worker()
{
end:	do
	:: atomic {
		put_list && !xlock ->
		assert(!detached);
		put_list--; working = true
	   }
	   atomic { users--; working = false }
	od
}

/* The steps of p2p_gpu_move(). From flip to reopen nothing is granted. */
inline flip() { atomic { !xlock -> moving = true } }
inline zap_all(where)
{
	invalidate(BOTH);
	atomic { invalidate_end(); open[where] = false }
}
inline copy()			/* an exporter may need mmap_lock for that */
{
	atomic { mmap_read_lock() };
	atomic { fresh[new] = fresh[old]; readers-- }
}
inline reopen()
{
	atomic {
		!xlock ->
		place = new;
		open[new] = true;
		fresh[old] = false;	/* p2p_gpu_place_free() */
		moving = false;
		wakes++			/* p2p_wake() */
	}
}

active proctype exporter()
{
	byte e, moves;
	unsigned wide : 2;
	bit old, new;

	do
	:: atomic { moves < MOVES -> moves++; old = place; new = !place }
#if defined(BUG_ZAP_FIRST)
		zap_all(old); flip(); copy(); reopen()
#elif defined(BUG_COPY_FIRST)
		flip(); copy(); zap_all(old); reopen()
#elif defined(BUG_OPEN_EARLY)
		flip(); zap_all(old); reopen(); copy()
#else
		flip(); zap_all(old); copy();
		if :: reopen() :: break fi	/* break: lost in the middle */
#endif
	:: break
	:: stays = true -> goto end	/* nobody removes the driver */
	od;

	/* p2p_exporter_drain() */
#if !defined(BUG_NO_DEAD) && !defined(BUG_DEAD_LATE)
	dead = true;
#endif
#ifndef BUG_NO_WAKE
	wakes++;
#endif
#ifndef BUG_NO_ZAP
	atomic { !xlock -> xlock = true };	/* p2p_gpu_zap() */
	zap_all(place);
	xlock = false;
#endif
#ifdef BUG_DEAD_LATE
	dead = true;
#endif
	atomic {
#ifndef BUG_NO_WAIT
		!users ->
		!put_list && !working;		/* flush_work() */
#endif
		assert(IS(0, FREE) && IS(1, FREE) && IS(2, FREE) && IS(3, FREE));
		detached = true
	}
end:	skip
}

#ifdef LIVENESS
/* However long importers go on: a detach that has begun ends. */
ltl ends { <> (stays || detached) }
#endif
