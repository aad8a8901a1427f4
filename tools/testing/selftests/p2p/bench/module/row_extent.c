// SPDX-License-Identifier: GPL-2.0
/* Row of the extent path: an importer that works by the extent. */
#include <linux/err.h>

#include "bench.h"
#include "bench_user.h"

static int extent_once(struct bench *b)
{
	struct bench_user *u;
	unsigned int extents;
	u64 t = bench_start(b);
	int ret;

	u = bench_user_create(b->addr, b->len);
	if (IS_ERR(u))
		return PTR_ERR(u);
	ret = bench_user_map(u, &extents);
	b->t[BENCH_MAP] = bench_stop(b, t);

	t = bench_start(b);
	bench_user_destroy(u);
	b->t[BENCH_UNMAP] = bench_stop(b, t);

	t = bench_start(b);
	bench_exporter_flush();
	b->t[BENCH_AFTER] = bench_stop(b, t);
	return ret;
}

const struct bench_row bench_rows_extent[] = {
	{ "extent", NULL, extent_once, NULL },
	{}
};
