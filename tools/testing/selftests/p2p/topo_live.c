// SPDX-License-Identifier: GPL-2.0
/*
 * The topology or its policy changes while extents are live: what is forbidden
 * now is taken back, what is not goes on, and a mistake changes nothing.
 *
 * VM: --topo default
 * VM: --topo default --cpu EPYC --iommu lazy
 * VM: --topo mf
 * TIMEOUT: 200
 */

#include "kselftest_harness.h"
#include "edu.h"
#include "gpu_mr.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define POLICY	"/sys/module/pci_p2p/parameters/policy"

static int policy(const char *text)
{
	int fd = open(POLICY, O_WRONLY), err = 0;

	if (fd < 0)
		return -errno;
	/* An empty policy, too, is a write. */
	if (dprintf(fd, "%s\n", text) < 0)
		err = -errno;
	close(fd);
	return err;
}

static int policy_is(const char *text)
{
	char line[256] = "";
	FILE *f = fopen(POLICY, "r");

	if (!f)
		return -errno;
	if (!fgets(line, sizeof(line), f))
		line[0] = '\0';
	fclose(f);
	line[strcspn(line, "\n")] = '\0';
	return strcmp(line, text);
}

/* PCI name of a driver's device; above: of the bridge above it. */
static int pci_name(const char *driver, bool above, char *name, size_t len)
{
	char path[PATH_MAX], real[PATH_MAX];
	FILE *f;

	snprintf(path, sizeof(path),
		 "readlink -f /sys/bus/pci/drivers/%s/*:*:*", driver);
	f = popen(path, "r");
	if (!f || !fgets(real, sizeof(real), f))
		real[0] = '\0';
	if (f)
		pclose(f);
	real[strcspn(real, "\n")] = '\0';
	if (!real[0])
		return -ENODEV;
	snprintf(name, len, "%s", basename(above ? dirname(real) : real));
	return 0;
}

/* Bits of a register that setpci names. */
static int pci_set(const char *dev, const char *reg, unsigned int val,
		   unsigned int mask)
{
	char cmd[128];

	snprintf(cmd, sizeof(cmd), "setpci -s %s %s=%x:%x", dev, reg, val, mask);
	return system(cmd) ? -EIO : 0;
}

/* A field of the record that sysfs has of the importer and its only peer. */
static int verdict(const char *key, char *val, size_t len)
{
	char dev[32], path[64], record[512], word[32], *p;
	FILE *f;

	if (pci_name("p2p_edu", false, dev, sizeof(dev)))
		return -ENODEV;
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/p2p_topology", dev);
	f = fopen(path, "r");
	if (!f)
		return -errno;
	if (!fgets(record, sizeof(record), f))
		record[0] = '\0';
	fclose(f);
	snprintf(word, sizeof(word), " %s=", key);
	p = strstr(record, word);
	if (!p)
		return -ENOENT;
	p += strlen(word);
	p[strcspn(p, " ")] = '\0';
	snprintf(val, len, "%s", p);
	return 0;
}

static long generation(void)
{
	char val[32];

	return verdict("generation", val, sizeof(val)) ? -1 : atol(val);
}

/* The work that takes extents back runs in the background. */
static int wait_live(long n)
{
	for (int i = 0; i < 500 && edu_dma_live("mappings") != n; i++)
		usleep(10000);
	return edu_dma_live("mappings") == n ? 0 : -ETIME;
}

FIXTURE(live)
{
	struct edu_mem m;
	char edu[32], gpu[32], port[32];
	bool allowed;		/* without any policy */
	char pair[80];
};

FIXTURE_SETUP(live)
{
	struct edu_mem *m = &self->m;
	char path[16];

	ASSERT_EQ(0, policy(""));
	ASSERT_EQ(0, pci_name("p2p_edu", false, self->edu, 32));
	ASSERT_EQ(0, pci_name("p2p_gpu", false, self->gpu, 32));
	ASSERT_EQ(0, pci_name("p2p_edu", true, self->port, 32));
	snprintf(self->pair, sizeof(self->pair), "deny=%s/%s", self->gpu,
		 self->edu);
	m->ram = EDU_PAGE;
	m->gpu = 2 * EDU_PAGE;
	ASSERT_EQ(0, edu_mem_open(m));
	ASSERT_EQ(0, verdict("path", path, sizeof(path)));
	self->allowed = strcmp(path, "none");
}

FIXTURE_TEARDOWN(live)
{
	EXPECT_EQ(0, policy(""));
	edu_mem_close(&self->m);
	EXPECT_EQ(0, edu_dma_live("mappings"));
	EXPECT_EQ(0, edu_dma_live("iova bytes"));
}

static int try(struct edu_mem *m)
{
	static const char data[] = "topology";
	int err = edu_write(m->fd, m->dev + m->ram + 50, data, sizeof(data));

	if (!err && memcmp(m->o.ptr + 50, data, sizeof(data)))
		return -EBADMSG;
	memset(m->o.ptr + 50, 0, sizeof(data));
	return err;
}

/* When the write of a deny returns, nothing is mapped that it forbids. */
TEST_F_TIMEOUT(live, deny, 60)
{
	const char * const deny[] = { self->pair, "deny=*", "deny=0000:00" };
	struct edu_mem *m = &self->m;
	char val[64];

	EXPECT_EQ(self->allowed ? 0 : -EREMOTEIO, try(m));
	for (size_t i = 0; i < ARRAY_SIZE(deny); i++) {
		ASSERT_EQ(0, policy("allow=0000:00"));
		EXPECT_EQ(0, policy_is("allow=0000:00"));
		ASSERT_EQ(0, try(m));
		ASSERT_EQ(1, edu_dma_live("mappings"));
		ASSERT_EQ(0, verdict("flags", val, sizeof(val)));
		EXPECT_EQ(!self->allowed, !!strstr(val, "allowed"));

		ASSERT_EQ(0, policy(deny[i]));
		EXPECT_EQ(0, edu_dma_live("mappings"));
		EXPECT_EQ(-EACCES, try(m));
		ASSERT_EQ(0, verdict("reason", val, sizeof(val)));
		EXPECT_STREQ("policy", val);
		/* Memory of the process is none of its business. */
		EXPECT_EQ(0, edu_write(m->fd, m->dev, "x", 1));
		EXPECT_EQ(1, m->buf[0] == 'x');
	}
	ASSERT_EQ(0, policy(""));
	EXPECT_EQ(self->allowed ? 0 : -EREMOTEIO, try(m));
}

TEST_F_TIMEOUT(live, malformed, 60)
{
	static const char * const bad[] = {
		"allow", "allow=", "permit=*", "allow=*,", ",allow=*",
		"allow=0:0", "allow=0000:00:1f.8/0000:00:00.0",
		"allow=0000:01:00.0", "deny=**", "guest=maybe", "deny=* allow=*",
		"allow=0000:100",
	};
	struct edu_mem *m = &self->m;

	ASSERT_EQ(0, policy("allow=*"));
	ASSERT_EQ(0, try(m));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(-EINVAL, policy(bad[i]))
			TH_LOG("policy \"%s\"", bad[i]);
		EXPECT_EQ(0, policy_is("allow=*"));
	}
	EXPECT_EQ(1, edu_dma_live("mappings"));
	EXPECT_EQ(0, try(m));
}

/* The port above the importer forwards no requests: gone; does again: back. */
TEST_F_TIMEOUT(live, bus_master, 60)
{
	struct edu_mem *m = &self->m;
	char val[64];

	ASSERT_EQ(0, policy("allow=*"));
	ASSERT_EQ(0, try(m));
	/* Functions of one device do not need the port. */
	if (!strncmp(self->edu, self->gpu, strlen("0000:00:00"))) {
		ASSERT_EQ(0, pci_set(self->port, "COMMAND.w", 0, 4));
		EXPECT_EQ(1, edu_dma_live("mappings"));
		ASSERT_EQ(0, pci_set(self->port, "COMMAND.w", 4, 4));
		EXPECT_EQ(0, try(m));
		return;
	}
	ASSERT_EQ(0, pci_set(self->port, "COMMAND.w", 0, 4));
	EXPECT_EQ(0, wait_live(0));
	EXPECT_EQ(-EREMOTEIO, try(m));
	EXPECT_EQ(0, verdict("reason", val, sizeof(val)));
	EXPECT_STREQ("bridge-off", val);
	EXPECT_EQ(0, verdict("culprit", val, sizeof(val)));
	EXPECT_STREQ(self->port, val);
	ASSERT_EQ(0, pci_set(self->port, "COMMAND.w", 4, 4));
	EXPECT_EQ(0, try(m));
}

/*
 * ACS redirect on the root port above: the answer is the same, and it is
 * looked at anew. Two functions of a device turn inside of it, whatever the
 * port above redirects; what comes from another port is above all ports.
 */
TEST_F_TIMEOUT(live, acs, 60)
{
	struct edu_mem *m = &self->m;
	char before[64], after[64];
	long gen;

	ASSERT_EQ(0, policy("allow=*"));
	ASSERT_EQ(0, try(m));
	ASSERT_EQ(0, verdict("path", before, sizeof(before)));
	for (int i = 0; i < 4; i++) {
		gen = generation();
		ASSERT_EQ(0, pci_set(self->port, "ECAP_ACS+6.w", i & 1 ? 0x1d : 0,
				     0x1d));
		/* Off at boot or on: the first write may change nothing. */
		if (i)
			EXPECT_LT(gen, generation());
		ASSERT_EQ(0, verdict("path", after, sizeof(after)));
		EXPECT_STREQ(before, after);
		EXPECT_EQ(1, edu_dma_live("mappings"));
		ASSERT_EQ(0, try(m));
	}
}

TEST_HARNESS_MAIN
