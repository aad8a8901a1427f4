// SPDX-License-Identifier: GPL-2.0
/*
 * Direct I/O by each interface that user space has for it. By
 * system calls, since neither libaio nor liburing is everywhere.
 */

#include <errno.h>
#include <linux/aio_abi.h>
#include <linux/io_uring.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "dio.h"

#define MANY	64

const char *const dio_names[DIO_ENGINES] = { "sync", "libaio", "io_uring" };

static long dio_sync(bool write, int fd, const struct iovec *iov, int nr,
		     off_t pos, int flags)
{
	ssize_t ret = write ? pwritev2(fd, iov, nr, pos, flags) :
			      preadv2(fd, iov, nr, pos, flags);

	return ret < 0 ? -errno : ret;
}

/* Submit all and wait for all; the result of each is in its event. */
static int aio_run(struct iocb **cbs, struct io_event *events, int nr)
{
	aio_context_t ctx = 0;
	int done = 0, n, err = 0;

	if (syscall(SYS_io_setup, nr, &ctx) < 0)
		return -errno;
	n = syscall(SYS_io_submit, ctx, nr, cbs);
	if (n != nr)
		err = n < 0 ? -errno : -EAGAIN;
	while (done < n) {
		int got = syscall(SYS_io_getevents, ctx, 1, n - done,
				  events + done, NULL);

		/* io_uring's last work may come as a signal. */
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			err = -errno;
			break;
		}
		done += got;
	}
	syscall(SYS_io_destroy, ctx);
	return err;
}

static long dio_aio(bool write, int fd, const struct iovec *iov, int nr,
		    off_t pos, int flags)
{
	struct iocb cb = {
		.aio_lio_opcode = write ? IOCB_CMD_PWRITEV : IOCB_CMD_PREADV,
		.aio_fildes = fd,
		.aio_buf = (uintptr_t)iov,
		.aio_nbytes = nr,
		.aio_offset = pos,
		.aio_rw_flags = flags,
	}, *cbs = &cb;
	struct io_event event;
	int err = aio_run(&cbs, &event, 1);

	return err ? err : event.res;
}

struct ring {
	struct io_uring_params p;
	int fd;
	char *rings;
	size_t ring_bytes;
	struct io_uring_sqe *sqe;
};

static unsigned int *ring_word(struct ring *r, unsigned int off)
{
	return (unsigned int *)(r->rings + off);
}

static int ring_open(struct ring *r, unsigned int flags)
{
	*r = (struct ring) { .p.flags = flags };
	r->fd = syscall(SYS_io_uring_setup, 1, &r->p);
	if (r->fd < 0)
		return -errno;
	/* Both rings are in one mapping (IORING_FEAT_SINGLE_MMAP). */
	r->ring_bytes = r->p.cq_off.cqes +
			r->p.cq_entries * sizeof(struct io_uring_cqe);
	r->rings = mmap(NULL, r->ring_bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
			r->fd, IORING_OFF_SQ_RING);
	r->sqe = mmap(NULL, sizeof(*r->sqe), PROT_READ | PROT_WRITE, MAP_SHARED,
		      r->fd, IORING_OFF_SQES);
	if (r->rings != MAP_FAILED && r->sqe != MAP_FAILED)
		return 0;
	close(r->fd);
	return -ENOMEM;
}

static void ring_close(struct ring *r)
{
	munmap(r->sqe, sizeof(*r->sqe));
	munmap(r->rings, r->ring_bytes);
	close(r->fd);
}

static long ring_run(struct ring *r)
{
	struct io_uring_cqe *cqe = (void *)(r->rings + r->p.cq_off.cqes);
	unsigned int *done = ring_word(r, r->p.cq_off.tail), submit = 1;

	ring_word(r, r->p.sq_off.array)[0] = 0;
	__atomic_store_n(ring_word(r, r->p.sq_off.tail), 1, __ATOMIC_RELEASE);
	do {	/* who polls may come back too early */
		if (syscall(SYS_io_uring_enter, r->fd, submit, 1,
			    IORING_ENTER_GETEVENTS, NULL, 0) < 0)
			return -errno;
		submit = 0;
	} while (!__atomic_load_n(done, __ATOMIC_ACQUIRE));
	return cqe->res;
}

static long dio_uring(unsigned int setup, bool write, int fd,
		      const struct iovec *iov, int nr, off_t pos, int flags)
{
	struct ring r;
	long ret = ring_open(&r, setup);

	if (ret)
		return ret;
	*r.sqe = (struct io_uring_sqe) {
		.opcode = write ? IORING_OP_WRITEV : IORING_OP_READV,
		.fd = fd,
		.off = pos,
		.addr = (uintptr_t)iov,
		.len = nr,
		.rw_flags = flags,
	};
	ret = ring_run(&r);
	ring_close(&r);
	return ret;
}

long dio(enum dio_how how, bool write, int fd, const struct iovec *iov, int nr,
	 off_t pos, int flags)
{
	switch (how) {
	case DIO_AIO:
		return dio_aio(write, fd, iov, nr, pos, flags);
	case DIO_URING:
		return dio_uring(0, write, fd, iov, nr, pos, flags);
	case DIO_URING_POLL:
		return dio_uring(IORING_SETUP_IOPOLL, write, fd, iov, nr, pos,
				 flags);
	default:
		return dio_sync(write, fd, iov, nr, pos, flags);
	}
}

long dio_one(enum dio_how how, bool write, int fd, void *buf, size_t len,
	     off_t pos)
{
	struct iovec iov = { .iov_base = buf, .iov_len = len };

	return dio(how, write, fd, &iov, 1, pos, 0);
}

int dio_many(bool write, int fd, void *buf, size_t len, off_t pos, int nr)
{
	struct io_event events[MANY];
	struct iocb cb[MANY], *cbs[MANY];
	int err;

	if (nr > MANY)
		return -EINVAL;
	for (int i = 0; i < nr; i++) {
		cb[i] = (struct iocb) {
			.aio_lio_opcode = write ? IOCB_CMD_PWRITE :
						  IOCB_CMD_PREAD,
			.aio_fildes = fd,
			.aio_buf = (uintptr_t)buf + i * len,
			.aio_nbytes = len,
			.aio_offset = pos + i * len,
		};
		cbs[i] = &cb[i];
	}
	err = aio_run(cbs, events, nr);
	for (int i = 0; i < nr && !err; i++)
		if (events[i].res != (__s64)len)
			err = events[i].res < 0 ? events[i].res : -EIO;
	return err;
}
