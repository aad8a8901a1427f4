/* SPDX-License-Identifier: GPL-2.0 */
/* Direct I/O, one at a time mostly, by each interface that user space has for it. */
#ifndef P2P_DIO_H
#define P2P_DIO_H

#include <stdbool.h>
#include <sys/types.h>
#include <sys/uio.h>

enum dio_how {
	DIO_SYNC,		/* preadv2() and pwritev2() */
	DIO_AIO,		/* io_submit() */
	DIO_URING,		/* io_uring_enter() */
	DIO_URING_POLL,		/* the same, and completion is polled for */
};

/* Those that need no polled queues */
#define DIO_ENGINES	3
extern const char *const dio_names[DIO_ENGINES];

/* Read or write @iov at @pos, with RWF_* @flags: bytes done, or -errno. */
long dio(enum dio_how how, bool write, int fd, const struct iovec *iov, int nr,
	 off_t pos, int flags);
/* The same for one buffer. */
long dio_one(enum dio_how how, bool write, int fd, void *buf, size_t len,
	     off_t pos);
/* @nr reads or writes of @len bytes at once, side by side: 0 or -errno. */
int dio_many(bool write, int fd, void *buf, size_t len, off_t pos, int nr);

#endif
