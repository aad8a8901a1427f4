// SPDX-License-Identifier: GPL-2.0
/*
 * One RDMA buffer that is half ordinary memory and half GPU memory.
 *
 * Plain libibverbs: two connected queue pairs of rxe0 in one program, one as
 * "we", with the mixed buffer, and one as "the peer", with ordinary memory. The
 * GPU is the sample driver p2p_gpu. What should be in the GPU's memory at the
 * end is left in $P2P_SHARE/expect, for whoever can look at it from outside.
 */

#include "gpu.h"
#include "p2p_rdma.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define KIB		1024UL
#define RAM_LEN		(64 * KIB)	/* on either side of the object */
#define GPU_LEN		(256 * KIB)
#define LEN		(RAM_LEN + GPU_LEN + RAM_LEN)

static struct p2p_rdma r;
static struct gpu_obj gpu;
static unsigned char *buf;		/* the mixed buffer */
static struct ibv_mr *buf_mr;
static unsigned char *peer;		/* the peer's, ordinary memory */
static struct ibv_mr *peer_mr;
static unsigned char want[LEN];		/* what buf should hold */

static void die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	printf("\nFAILED: ");
	vprintf(fmt, ap);
	printf("\n");
	va_end(ap);
	exit(1);
}

static void check(int err, const char *what)
{
	if (err)
		die("%s: %s", what, strerror(-err));
}

static void title(const char *text)
{
	printf("\n%s\n", text);
}

static void fill(unsigned char *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		p[i] = random() >> 8;
}

/* "5523 bytes of RAM, 64478 of the GPU" */
static const char *parts(size_t off, size_t len)
{
	static char text[96];
	size_t end = off + len, g0 = RAM_LEN, g1 = RAM_LEN + GPU_LEN;
	size_t lo = off < g0 ? (end < g0 ? end : g0) - off : 0;
	size_t hi = end > g1 ? end - (off > g1 ? off : g1) : 0;

	snprintf(text, sizeof(text), "%zu bytes RAM + %zu GPU + %zu RAM",
		 lo, len - lo - hi, hi);
	return text;
}

static void transfer(enum ibv_wr_opcode op, size_t off, size_t len)
{
	uint64_t b = (uintptr_t)buf + off, p = (uintptr_t)peer;
	const char *name;
	int status;

	if (op == IBV_WR_RDMA_READ) {
		name = "RDMA READ ";
		memset(peer, 0, LEN);
		status = p2p_rdma_read(&r, p, peer_mr->lkey, b, buf_mr->rkey, len);
	} else {
		fill(peer, len);
		memcpy(want + off, peer, len);
		name = op == IBV_WR_SEND ? "SEND      " : "RDMA WRITE";
		if (op == IBV_WR_SEND)
			status = p2p_rdma_send(&r, p, peer_mr->lkey, b,
					       buf_mr->lkey, len);
		else
			status = p2p_rdma_write(&r, p, peer_mr->lkey, b,
						buf_mr->rkey, len);
	}
	printf("  %s %6zu bytes at %6zu (%s): ", name, len, off, parts(off, len));
	if (status < 0)
		die("%s", strerror(-status));
	if (status)
		die("%s", ibv_wc_status_str(status));
	/* The receiver looks at its own memory. */
	if (op == IBV_WR_RDMA_READ && memcmp(peer, want + off, len))
		die("the peer got wrong data");
	if (memcmp(buf, want, LEN))
		die("wrong data in the buffer");
	printf("data right\n");
}

static void transfers(void)
{
	transfer(IBV_WR_RDMA_WRITE, RAM_LEN - 5523, 70001);
	transfer(IBV_WR_SEND, RAM_LEN + GPU_LEN - 30011, 40013);
	transfer(IBV_WR_RDMA_WRITE, RAM_LEN + 100003, 4097);
	transfer(IBV_WR_RDMA_READ, 1237, LEN - 2345);
}

static struct p2p_gpu_info show(void)
{
	struct p2p_gpu_info info;
	char line[128];
	glob_t g;
	FILE *f;

	check(gpu_info(&gpu, &info), "P2P_GPU_IOC_INFO");
	if (glob("/sys/kernel/debug/p2p_gpu*/objects", 0, NULL, &g))
		return info;
	f = fopen(g.gl_pathv[0], "r");
	printf("  The driver's view, %s:\n", g.gl_pathv[0]);
	while (f && fgets(line, sizeof(line), f))
		printf("    %s", line);
	if (f)
		fclose(f);
	globfree(&g);
	return info;
}

/* Bytes that the host should find in the file behind the GPU's memory. */
static void host_expects(uint64_t vram, const unsigned char *data, size_t len,
			 const char *what)
{
	const char *share = getenv("P2P_SHARE");
	static int nr;
	char path[512];
	FILE *f;

	if (!share)
		return;
	snprintf(path, sizeof(path), "%s/expect", share);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), "%s/expect/%d", share, ++nr);
	f = fopen(path, "w");
	if (!f || fwrite(data, len, 1, f) != 1 || fclose(f))
		die("%s: %s", path, strerror(errno));
	snprintf(path, sizeof(path), "%s/expect/list", share);
	f = fopen(path, nr == 1 ? "w" : "a");
	if (!f)
		die("%s: %s", path, strerror(errno));
	fprintf(f, "%d %llu %zu %s\n", nr, (unsigned long long)vram, len, what);
	fclose(f);
}

static void setup(void)
{
	int err, fd;

	title("1. Two queue pairs, we and the peer, on one RDMA device");
	err = p2p_rdma_open(&r, NULL);
	check(err, "no usable RDMA device");
	if (!r.odp)
		die("the RDMA device has no on-demand paging");
	peer = malloc(LEN);
	peer_mr = p2p_rdma_reg(&r, peer, LEN, (uintptr_t)peer, P2P_RDMA_ALL);
	if (!peer || !peer_mr)
		die("the peer's buffer: %s", strerror(errno));
	printf("  %s; the peer has an ordinary buffer of %lu KiB\n",
	       ibv_get_device_name(r.ctx->device), LEN / KIB);

	title("2. A buffer: RAM, a GPU object, RAM, at adjacent addresses");
	fd = gpu_open(O_RDWR);
	check(fd < 0 ? fd : 0, "/dev/p2p_gpu0");
	check(gpu_alloc(&gpu, fd, GPU_LEN, 0), "P2P_GPU_IOC_ALLOC");
	buf = mmap(NULL, LEN, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (buf == MAP_FAILED)
		die("mmap: %s", strerror(errno));
	check(gpu_map(&gpu, buf + RAM_LEN, PROT_READ | PROT_WRITE),
	      "mmap of /dev/p2p_gpu0");
	printf("  %p  %3lu KiB anonymous memory\n", buf, RAM_LEN / KIB);
	printf("  %p  %3lu KiB GPU memory, mmap of /dev/p2p_gpu0\n",
	       buf + RAM_LEN, GPU_LEN / KIB);
	printf("  %p  %3lu KiB anonymous memory\n", buf + RAM_LEN + GPU_LEN,
	       RAM_LEN / KIB);
	fill(buf, LEN);
	memcpy(want, buf, LEN);
}

static void reg(void)
{
	title("3. Register the whole buffer with ibv_reg_mr(), as one MR");
	buf_mr = ibv_reg_mr(r.pd, buf, LEN, P2P_RDMA_ALL);
	if (!buf_mr)
		die("ibv_reg_mr: %s", strerror(errno));
	printf("  registered, lkey %#x rkey %#x\n"
	       "  Stock Linux says EFAULT, as GPU memory cannot be pinned. Here nothing is\n"
	       "  pinned: the driver may move the object at any time.\n",
	       buf_mr->lkey, buf_mr->rkey);
}

int main(void)
{
	static unsigned char left[GPU_LEN];
	struct p2p_gpu_info second, last;
	int status;

	setvbuf(stdout, NULL, _IOLBF, 0);
	srandom(1);
	setup();
	reg();

	title("4. Transfers with odd lengths and offsets, over the borders too");
	transfers();
	show();

	title("5. The driver moves the object to another place in GPU memory");
	check(gpu_move(&gpu, P2P_GPU_VRAM), "P2P_GPU_IOC_MOVE");
	check(gpu_wait_extents(&gpu, 0), "the RDMA device keeps the old place");
	second = show();
	printf("  The RDMA device had to let go of the old place. The MR stays as it is; the\n"
	       "  next transfer asks the driver again and finds the new place.\n");
	transfers();
	show();

	title("6. The driver evicts the object to system RAM");
	memcpy(left, want + RAM_LEN, GPU_LEN);
	check(gpu_move(&gpu, P2P_GPU_RAM), "P2P_GPU_IOC_MOVE");
	transfers();
	show();

	title("7. The driver brings it back into GPU memory");
	check(gpu_move(&gpu, P2P_GPU_VRAM), "P2P_GPU_IOC_MOVE");
	transfers();
	last = show();
	host_expects(last.vram, want + RAM_LEN, GPU_LEN,
		     "the object, with all that was sent");
	if (last.vram != second.vram)
		host_expects(second.vram, left, GPU_LEN,
			     "its former place, untouched since it was evicted");

	title("8. The program unmaps the object while the MR lives on");
	if (munmap(gpu.ptr, GPU_LEN))
		die("munmap: %s", strerror(errno));
	check(gpu_wait_extents(&gpu, 0), "the RDMA device keeps GPU memory");
	show();
	status = p2p_rdma_write(&r, (uintptr_t)peer, peer_mr->lkey,
				(uintptr_t)buf + RAM_LEN + 77, buf_mr->rkey, 99);
	if (status <= 0)
		die("a write to unmapped GPU memory gave status %d", status);
	printf("  RDMA WRITE to where it was: %s\n", ibv_wc_status_str(status));
	check(p2p_rdma_reset(&r), "new queue pairs");
	status = p2p_rdma_read(&r, (uintptr_t)peer, peer_mr->lkey,
			       (uintptr_t)buf + 33, buf_mr->rkey, 9999);
	if (status || memcmp(peer, want + 33, 9999))
		die("RDMA READ of the RAM part: status %d", status);
	printf("  RDMA READ of the RAM part: data right\n");

	ibv_dereg_mr(buf_mr);
	ibv_dereg_mr(peer_mr);
	p2p_rdma_close(&r);
	printf("\nAll data right.\n");
	return 0;
}
