// SPDX-License-Identifier: GPL-2.0
/*
 * siw, an RDMA device without on-demand paging: it says why it cannot register
 * GPU memory, and its READs are right where a short one crosses a page border.
 *
 * The connection manager finds no iWARP device on lo: an Ethernet device whose
 * wire goes nowhere will do.
 *
 * VM: --no-rxe --cable siw:1
 * TIMEOUT: 300
 */

#include "kselftest_harness.h"
#include "gpu_mr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <rdma/rdma_verbs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MODULE		"$P2P_BUILD/drivers/infiniband/sw/siw/siw.ko"
#define LOAD		"test -d /sys/module/siw || insmod " MODULE
#define LINK		"/sys/class/infiniband/siw0"
#define ADDRESS		"192.168.77.1"	/* scripts/vm --cable */
#define ADD_LINK	"test -d " LINK " || rdma link add siw0 type siw netdev eth0"
#define SHORT_MAX	64	/* siw sends up to 32 bytes with the header */

/* Two connected endpoints, and a buffer of two pages at either. */
FIXTURE(siw)
{
	struct rdma_cm_id *listener, *server, *client;
	pthread_t thread;
	int accepted;
	unsigned char *buf, *peer;
	struct ibv_mr *mr, *peer_mr;
};

static int make_qp(struct rdma_cm_id *id)
{
	struct ibv_qp_init_attr attr = {
		.cap = {
			.max_send_wr = 4,
			.max_recv_wr = 4,
			.max_send_sge = 1,
			.max_recv_sge = 1,
		},
		.qp_type = IBV_QPT_RC,
		.sq_sig_all = 1,
	};

	return rdma_create_qp(id, NULL, &attr);
}

static void *serve(void *arg)
{
	FIXTURE_DATA(siw) * const self = arg;

	self->accepted = rdma_get_request(self->listener, &self->server);
	if (!self->accepted)
		self->accepted = make_qp(self->server);
	if (!self->accepted)
		self->accepted = rdma_accept(self->server, NULL);
	return NULL;
}

static unsigned char *two_pages(void)
{
	return mmap(NULL, 2 * GPU_PAGE, GPU_MR_RW,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

FIXTURE_SETUP(siw)
{
	struct sockaddr_in in = {
		.sin_family = AF_INET,
		.sin_port = htons(7471),
		.sin_addr.s_addr = inet_addr(ADDRESS),
	};
	struct sockaddr *addr = (struct sockaddr *)&in;

	/* Once for all tests: each is a process of its own. */
	ASSERT_EQ(0, system(LOAD));
	ASSERT_EQ(0, system(ADD_LINK));

	ASSERT_EQ(0, rdma_create_id(NULL, &self->listener, NULL, RDMA_PS_TCP));
	ASSERT_EQ(0, rdma_bind_addr(self->listener, addr));
	ASSERT_EQ(0, rdma_listen(self->listener, 1));
	ASSERT_EQ(0, pthread_create(&self->thread, NULL, serve, self));

	ASSERT_EQ(0, rdma_create_id(NULL, &self->client, NULL, RDMA_PS_TCP));
	ASSERT_EQ(0, rdma_resolve_addr(self->client, NULL, addr, 5000));
	ASSERT_EQ(0, rdma_resolve_route(self->client, 5000));
	ASSERT_EQ(0, make_qp(self->client));
	ASSERT_EQ(0, rdma_connect(self->client, NULL));
	pthread_join(self->thread, NULL);
	ASSERT_EQ(0, self->accepted);

	self->buf = two_pages();
	self->peer = two_pages();
	self->mr = ibv_reg_mr(self->client->pd, self->buf, 2 * GPU_PAGE,
			      IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE);
	ASSERT_NE(NULL, self->mr);
	self->peer_mr = ibv_reg_mr(self->server->pd, self->peer, 2 * GPU_PAGE,
				   IBV_ACCESS_REMOTE_READ);
	ASSERT_NE(NULL, self->peer_mr);
	ASSERT_EQ(0, p2p_trace_begin());
}

FIXTURE_TEARDOWN(siw)
{
	rdma_disconnect(self->client);
	ibv_dereg_mr(self->mr);
	ibv_dereg_mr(self->peer_mr);
	rdma_destroy_ep(self->client);
	rdma_destroy_ep(self->server);
	rdma_destroy_ep(self->listener);
	munmap(self->buf, 2 * GPU_PAGE);
	munmap(self->peer, 2 * GPU_PAGE);
}

static int read_peer(FIXTURE_DATA(siw) * const self, size_t off, size_t len)
{
	struct ibv_wc wc;

	memset(self->buf, 0, 2 * GPU_PAGE);
	if (rdma_post_read(self->client, NULL, self->buf, len, self->mr, 0,
			   (uintptr_t)self->peer + off, self->peer_mr->rkey) ||
	    rdma_get_send_comp(self->client, &wc) != 1)
		return -errno;
	return wc.status;
}

/* With every number of bytes in the first page. */
TEST_F_TIMEOUT(siw, short_reads, 250)
{
	fill_random(self->peer, 2 * GPU_PAGE);
	for (size_t len = 1; len <= SHORT_MAX; len += len < 36 ? 1 : 7) {
		for (size_t part = 0; part <= len; part++) {
			size_t off = GPU_PAGE - part;

			ASSERT_EQ(0, read_peer(self, off, len));
			ASSERT_EQ(0, memcmp(self->buf, self->peer + off, len)) {
				TH_LOG("%zu bytes, %zu of them in the first page",
				       len, part);
			}
			ASSERT_EQ(0, self->buf[len]);
		}
	}
}

TEST_F(siw, gpu_memory)
{
	const int access = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE;
	struct ibv_pd *pd = self->client->pd;
	struct gpu_obj o;
	char text[64];
	int fd;

	fd = gpu_open(O_RDWR);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, gpu_alloc(&o, fd, 4 * GPU_PAGE, 0));
	ASSERT_EQ(0, gpu_map(&o, NULL, GPU_MR_RW));
	memset(o.ptr, 1, o.size);

	EXPECT_EQ(NULL, ibv_reg_mr(pd, o.ptr, o.size, access));
	EXPECT_EQ(EOPNOTSUPP, errno);
	snprintf(text, sizeof(text), "importer=siw0 addr=%#lx reason=pin err=-95",
		 (unsigned long)o.ptr);
	EXPECT_EQ(1, p2p_trace_count("p2p_refuse", text));
	EXPECT_EQ(NULL, ibv_reg_mr(pd, o.ptr + 5, 9, IBV_ACCESS_REMOTE_READ));
	EXPECT_EQ(EOPNOTSUPP, errno);
	EXPECT_EQ(2, p2p_trace_count("p2p_refuse", "reason=pin"));

	/* asked for in so many words: as on stock Linux */
	EXPECT_EQ(NULL, ibv_reg_mr(pd, o.ptr, o.size,
				   access | IBV_ACCESS_ON_DEMAND));
	EXPECT_EQ(EOPNOTSUPP, errno);
	/* and where nothing is, too */
	ASSERT_EQ(0, munmap(o.ptr, o.size));
	EXPECT_EQ(NULL, ibv_reg_mr(pd, o.ptr, o.size, access));
	EXPECT_EQ(EFAULT, errno);

	EXPECT_EQ(2, p2p_trace_count("p2p_refuse", NULL));
	EXPECT_EQ(0, p2p_trace_count("p2p_on_demand", NULL));
	EXPECT_EQ(0, p2p_trace_count("p2p_map", NULL));
	close(fd);
	/* nothing of all this broke the connection */
	EXPECT_EQ(0, read_peer(self, 1, 2 * GPU_PAGE - 1));
}

TEST_HARNESS_MAIN
