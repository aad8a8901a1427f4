// SPDX-License-Identifier: GPL-2.0
/*
 * Row of revocation: from the exporter's call to its return, by importers and
 * extents.
 */
#include <linux/err.h>
#include <linux/slab.h>

#include "bench.h"
#include "bench_user.h"

/* @arg: importers in the lower half, bytes of an extent in the upper, 0: all */
static unsigned int revoke_importers(const struct bench *b)
{
	return lower_32_bits(b->arg);
}

static int revoke_prepare(struct bench *b)
{
	unsigned int i, n = revoke_importers(b);
	struct bench_user **u;

	bench_exporter_grain(upper_32_bits(b->arg));
	u = kzalloc_objs(*u, n);
	if (!u)
		return -ENOMEM;
	for (i = 0; i < n; i++) {
		u[i] = bench_user_create(b->addr, b->len);
		if (IS_ERR(u[i]))
			goto undo;
	}
	b->priv = u;
	return 0;
undo:
	while (i--)
		bench_user_destroy(u[i]);
	kfree(u);
	bench_exporter_grain(0);
	return -ENOMEM;
}

static int revoke_once(struct bench *b)
{
	unsigned int i, extents, n = revoke_importers(b);
	struct bench_user **u = b->priv;
	u64 t;
	int ret;

	for (i = 0; i < n; i++) {
		ret = bench_user_map(u[i], &extents);
		if (ret)
			return ret;
	}
	t = bench_start(b);
	bench_exporter_revoke(0, b->len);
	b->t[BENCH_MAP] = bench_stop(b, t);

	t = bench_start(b);
	bench_exporter_flush();
	b->t[BENCH_AFTER] = bench_stop(b, t);
	return 0;
}

static void revoke_finish(struct bench *b)
{
	struct bench_user **u = b->priv;
	unsigned int i;

	for (i = 0; i < revoke_importers(b); i++)
		bench_user_destroy(u[i]);
	kfree(u);
	bench_exporter_flush();
	bench_exporter_grain(0);
}

const struct bench_row bench_rows_revoke[] = {
	{ "revoke", revoke_prepare, revoke_once, revoke_finish },
	{}
};
