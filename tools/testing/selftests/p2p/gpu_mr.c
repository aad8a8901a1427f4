// SPDX-License-Identifier: GPL-2.0
/* See gpu_mr.h. */

#include "gpu_mr.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GIB		0x40000000UL
#define TRACING		"/sys/kernel/tracing/"

void fill_random(unsigned char *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		p[i] = random() >> 8;
}

/* Addresses [p, p + len) with no others within half a gigabyte. */
static void *lonely(size_t len, bool border)
{
	static uintptr_t next = 0x100000000000;
	void *p;

	do {
		next += 4 * GIB;
		p = mmap((void *)(border ? next - len / 2 : next + GIB / 2),
			 len, GPU_MR_RW,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
			 -1, 0);
	} while (p == MAP_FAILED && errno == EEXIST);
	return p;
}

int gpu_mr_reg(struct gpu_mr *m)
{
	m->mr = p2p_rdma_reg(&m->r, m->buf, m->len, m->iova, m->access);
	return m->mr ? 0 : -errno;
}

void gpu_mr_dereg(struct gpu_mr *m)
{
	if (m->mr)
		ibv_dereg_mr(m->mr);
	m->mr = NULL;
}

int gpu_mr_open(struct gpu_mr *m)
{
	int fd = gpu_open(m->open_flags ? m->open_flags : O_RDWR);
	int err;

	if (fd < 0)
		return fd;
	err = gpu_alloc(&m->o, fd, m->gpu, m->flags);
	if (err) {
		close(fd);
		return err;
	}
	return gpu_mr_open_file(m);
}

int gpu_mr_open_file(struct gpu_mr *m)
{
	int err;

	m->prot = m->prot ? m->prot : GPU_MR_RW;
	m->access = m->access ? m->access : GPU_MR_ODP;
	m->len = m->ram + m->gpu + m->ram;
	m->o.size = m->gpu;

	err = p2p_rdma_open(&m->r, NULL);
	if (err)
		goto close;

	err = -ENOMEM;
	if (!m->buf)
		m->buf = lonely(m->len, m->border);
	if (m->buf == MAP_FAILED)
		goto close;
	err = gpu_map(&m->o, m->buf + m->ram, m->prot);
	if (err)
		goto close;
	if (!m->iova)
		m->iova = (uintptr_t)m->buf;
	if (!m->no_reg)
		err = gpu_mr_reg(m);
	if (err)
		goto close;

	m->peer = malloc(m->len);
	if (m->peer)
		m->peer_mr = p2p_rdma_reg(&m->r, m->peer, m->len,
					  (uintptr_t)m->peer, P2P_RDMA_ALL);
	if (m->peer_mr)
		return 0;
	err = -ENOMEM;
close:
	gpu_mr_close(m);
	return err;
}

void gpu_mr_close(struct gpu_mr *m)
{
	gpu_mr_dereg(m);
	if (m->peer_mr)
		ibv_dereg_mr(m->peer_mr);
	m->peer_mr = NULL;
	p2p_rdma_close(&m->r);
	if (m->buf && m->buf != MAP_FAILED)
		munmap(m->buf, m->len);
	m->buf = NULL;
	free(m->peer);
	m->peer = NULL;
	if (m->o.fd > 0)
		close(m->o.fd);
	m->o.fd = -1;
}

int gpu_mr_write(struct gpu_mr *m, size_t off, size_t len)
{
	return p2p_rdma_write(&m->r, (uintptr_t)m->peer, m->peer_mr->lkey,
			      m->iova + off, m->mr->rkey, len);
}

int gpu_mr_read(struct gpu_mr *m, size_t off, size_t len)
{
	return p2p_rdma_read(&m->r, (uintptr_t)m->peer, m->peer_mr->lkey,
			     m->iova + off, m->mr->rkey, len);
}

int gpu_mr_send(struct gpu_mr *m, size_t off, size_t len)
{
	return p2p_rdma_send(&m->r, (uintptr_t)m->peer, m->peer_mr->lkey,
			     m->iova + off, m->mr->lkey, len);
}

int gpu_mr_put(struct gpu_mr *m, size_t off, size_t len)
{
	return p2p_rdma_write(&m->r, m->iova + off, m->mr->lkey,
			      (uintptr_t)m->peer, m->peer_mr->rkey, len);
}

int gpu_mr_get(struct gpu_mr *m, size_t off, size_t len)
{
	return p2p_rdma_read(&m->r, m->iova + off, m->mr->lkey,
			     (uintptr_t)m->peer, m->peer_mr->rkey, len);
}

int gpu_mr_send_from(struct gpu_mr *m, size_t off, size_t len)
{
	return p2p_rdma_send(&m->r, m->iova + off, m->mr->lkey,
			     (uintptr_t)m->peer, m->peer_mr->lkey, len);
}

int gpu_mr_post(struct gpu_mr *m, enum ibv_wr_opcode op, size_t off,
		size_t peer_off, size_t len)
{
	struct p2p_rdma_op o = {
		.opcode = op,
		.laddr = (uintptr_t)m->peer + peer_off,
		.lkey = m->peer_mr->lkey,
		.len = len,
		.raddr = m->iova + off,
		.rkey = m->mr->rkey,
	};

	return p2p_rdma_post(&m->r, &o);
}

int gpu_mr_works(struct gpu_mr *m, size_t off, size_t len)
{
	int status;

	fill_random(m->peer, len);
	status = gpu_mr_write(m, off, len);
	if (status)
		return status;
	if (memcmp(m->buf + off, m->peer, len))
		return -EBADMSG;
	memset(m->peer, 0, len);
	status = gpu_mr_read(m, off, len);
	if (status)
		return status;
	return memcmp(m->buf + off, m->peer, len) ? -EBADMSG : 0;
}

int gpu_mr_ram_works(struct gpu_mr *m)
{
	int status = gpu_mr_works(m, 0, m->ram);

	return status ? status : gpu_mr_works(m, m->ram + m->gpu, m->ram);
}

static void *traffic_run(void *arg)
{
	struct gpu_traffic *t = arg;
	struct gpu_mr *m = t->m;
	size_t len = 3 * GPU_PAGE + 1;

	while (!t->stop) {
		int status;

		fill_random(m->peer, 2 * len);
		status = gpu_mr_write(m, m->ram + 7, len);
		if (!status)
			status = p2p_rdma_read(&m->r, (uintptr_t)m->peer + len,
					       m->peer_mr->lkey,
					       m->iova + m->ram + 7,
					       m->mr->rkey, len);
		if (status == IBV_WC_REM_ACCESS_ERR)
			t->refused++;
		else if (status || memcmp(m->peer, m->peer + len, len))
			t->wrong++;
		else
			t->good++;
		if (status && p2p_rdma_reset(&m->r)) {
			t->wrong++;
			break;
		}
	}
	return NULL;
}

int gpu_traffic_start(struct gpu_traffic *t, struct gpu_mr *m)
{
	memset(t, 0, sizeof(*t));
	t->m = m;
	return -pthread_create(&t->thread, NULL, traffic_run, t);
}

void gpu_traffic_stop(struct gpu_traffic *t)
{
	t->stop = true;
	pthread_join(t->thread, NULL);
}

bool gpu_traffic_more(atomic_int *count, int n)
{
	int until = *count + n;

	for (int i = 0; i < 20000 && *count < until; i++)
		usleep(1000);
	return *count >= until;
}

static int trace_set(const char *file, const char *value)
{
	char path[128];
	int fd, err = 0;

	snprintf(path, sizeof(path), TRACING "%s", file);
	fd = open(path, O_WRONLY | O_TRUNC);
	if (fd < 0)
		return -errno;
	if (write(fd, value, strlen(value)) < 0)
		err = -errno;
	close(fd);
	return err;
}

int p2p_trace_begin(void)
{
	int err = trace_set("events/p2p/enable", "1");

	if (!err)
		err = trace_set("tracing_on", "1");
	return err ? err : trace_set("trace", "");
}

int p2p_trace_count(const char *event, const char *text)
{
	FILE *f = fopen(TRACING "trace", "r");
	char line[512], name[64];
	int n = 0;

	if (!f)
		return -errno;
	snprintf(name, sizeof(name), ": %s: ", event);
	while (fgets(line, sizeof(line), f))
		if (strstr(line, name) && (!text || strstr(line, text)))
			n++;
	fclose(f);
	return n;
}

bool p2p_trace_seen(const char *event, const char *text, int n)
{
	for (int i = 0; i < 100; i++) {
		if (p2p_trace_count(event, text) >= n)
			return true;
		usleep(100000);
	}
	return false;
}
