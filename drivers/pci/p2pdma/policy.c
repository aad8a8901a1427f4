// SPDX-License-Identifier: GPL-2.0
/*
 * What the administrator says about peer-to-peer DMA: pci_p2p.policy= on the
 * kernel command line, /sys/module/pci_p2p/parameters/policy at run time.
 *
 *   policy := [ item { "," item } ]
 *   item   := ( "allow" | "deny" ) "=" what | "guest=refuse" | "guest=accept"
 *   what   := bridge | function "/" function | "*"
 *   bridge := domain ":" bus			a host bridge, by its root bus
 *   function := domain ":" bus ":" device "." number
 *
 * "allow" lets requests pass a host bridge that is not known to forward them;
 * what hardware cannot do stays refused. "deny" refuses everything between two
 * functions, or with any function below a host bridge. Deny wins.
 */
#define pr_fmt(fmt) "pci_p2p: " fmt

#include <linux/ctype.h>
#include <linux/hex.h>
#include <linux/moduleparam.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/spinlock.h>

#include "topology.h"

#undef MODULE_PARAM_PREFIX
#define MODULE_PARAM_PREFIX "pci_p2p."

#define P2P_POLICY_RULES	64
#define P2P_POLICY_TEXT		2048

enum p2p_rule_kind { P2P_RULE_ANY, P2P_RULE_BRIDGE, P2P_RULE_PAIR };

struct p2p_rule {
	enum p2p_rule_kind kind;
	bool deny;
	bool logged;
	u16 pos;		/* in the text, for the log */
	u16 len;
	struct p2p_fn fn[2];	/* of a bridge: fn[0], bus number in the rid */
};

struct p2p_policy {
	unsigned int nr;
	bool guest_refuse;
	struct p2p_rule rules[P2P_POLICY_RULES];
	char text[P2P_POLICY_TEXT];
};

/* No allocation: the command line is read before there is an allocator. */
static struct p2p_policy p2p_policy, p2p_policy_new;
static DEFINE_MUTEX(p2p_policy_mutex);		/* p2p_policy_new */
static DEFINE_RAW_SPINLOCK(p2p_policy_lock);	/* p2p_policy */

/* Exactly @min to @max hexadecimal digits below @limit. */
static bool p2p_parse_hex(const char **s, int min, int max, u32 limit,
			  u32 *val)
{
	int n;

	*val = 0;
	for (n = 0; isxdigit(**s); n++, (*s)++) {
		if (n == max)
			return false;
		*val = *val << 4 | hex_to_bin(**s);
	}
	return n >= min && *val < limit;
}

static bool p2p_parse_char(const char **s, char c)
{
	if (**s != c)
		return false;
	(*s)++;
	return true;
}

static bool p2p_parse_bus(const char **s, struct p2p_fn *fn)
{
	u32 bus;

	if (!p2p_parse_hex(s, 4, 8, U32_MAX, &fn->domain) ||
	    !p2p_parse_char(s, ':') || !p2p_parse_hex(s, 2, 2, 256, &bus))
		return false;
	fn->rid = bus << 8;
	fn->valid = true;
	return true;
}

static bool p2p_parse_devfn(const char **s, struct p2p_fn *fn)
{
	u32 dev, func;

	if (!p2p_parse_char(s, ':') || !p2p_parse_hex(s, 2, 2, 32, &dev) ||
	    !p2p_parse_char(s, '.') || !p2p_parse_hex(s, 1, 1, 8, &func))
		return false;
	fn->rid |= PCI_DEVFN(dev, func);
	return true;
}

static bool p2p_parse_what(const char **s, struct p2p_rule *rule)
{
	if (p2p_parse_char(s, '*')) {
		rule->kind = P2P_RULE_ANY;
		return true;
	}
	if (!p2p_parse_bus(s, &rule->fn[0]))
		return false;
	if (**s != ':') {
		rule->kind = P2P_RULE_BRIDGE;
		return true;
	}
	rule->kind = P2P_RULE_PAIR;
	return p2p_parse_devfn(s, &rule->fn[0]) && p2p_parse_char(s, '/') &&
	       p2p_parse_bus(s, &rule->fn[1]) &&
	       p2p_parse_devfn(s, &rule->fn[1]);
}

/* Moves *@s past @word if it is there. */
static bool p2p_parse_word(const char **s, const char *word)
{
	size_t len = strlen(word);

	if (strncmp(*s, word, len))
		return false;
	*s += len;
	return true;
}

/* Returns NULL, or where it went wrong. */
static const char *p2p_policy_parse(struct p2p_policy *p, const char *text)
{
	const char *s = text, *item;

	if (!*s)
		return NULL;
	do {
		struct p2p_rule *rule = &p->rules[p->nr];

		item = s;
		if (p2p_parse_word(&s, "guest=refuse")) {
			p->guest_refuse = true;
			continue;
		}
		if (p2p_parse_word(&s, "guest=accept")) {
			p->guest_refuse = false;
			continue;
		}
		if (p->nr == P2P_POLICY_RULES)
			return item;
		*rule = (struct p2p_rule) {};
		if (p2p_parse_word(&s, "deny="))
			rule->deny = true;
		else if (!p2p_parse_word(&s, "allow="))
			return item;
		if (!p2p_parse_what(&s, rule))
			return s;
		rule->pos = item - text;
		rule->len = s - item;
		p->nr++;
	} while (p2p_parse_char(&s, ','));
	return *s ? s : NULL;
}

/**
 * p2p_policy_set - replace the policy
 * @text: the new one
 *
 * When it returns, no extent is live that the new policy denies, but for those
 * of an exporter that is being detached at the moment, and so are going anyway.
 *
 * Return: 0, or -EINVAL; then the old one stays.
 */
int p2p_policy_set(const char *text)
{
	struct p2p_policy *p = &p2p_policy_new;
	unsigned long flags;
	const char *bad;
	size_t len;
	int ret = 0;

	mutex_lock(&p2p_policy_mutex);
	p->nr = 0;
	p->guest_refuse = false;
	text = skip_spaces(text);
	len = strlen(text);
	while (len && isspace(text[len - 1]))
		len--;
	if (len >= sizeof(p->text)) {
		pr_err("policy is longer than %zu bytes, ignored\n",
		       sizeof(p->text) - 1);
		ret = -EINVAL;
		goto out;
	}
	memcpy(p->text, text, len);
	p->text[len] = 0;

	bad = p2p_policy_parse(p, p->text);
	if (bad) {
		if (p->nr == P2P_POLICY_RULES)
			pr_err("policy has more than %d rules, ignored\n",
			       P2P_POLICY_RULES);
		else
			pr_err("policy is wrong at \"%.32s\" (byte %td), ignored\n",
			       bad, bad - p->text);
		ret = -EINVAL;
		goto out;
	}
	/* The command line is read with interrupts off, and they must stay so. */
	raw_spin_lock_irqsave(&p2p_policy_lock, flags);
	p2p_policy = *p;
	raw_spin_unlock_irqrestore(&p2p_policy_lock, flags);
	p2p_topology_changed();
out:
	mutex_unlock(&p2p_policy_mutex);
	if (!ret && system_state >= SYSTEM_SCHEDULING)
		p2p_topology_settle();
	return ret;
}

/**
 * p2p_policy_get - the policy as it was set
 * @buf: where to
 * @size: of @buf
 *
 * Return: length of the string.
 */
int p2p_policy_get(char *buf, size_t size)
{
	int len;

	mutex_lock(&p2p_policy_mutex);
	len = scnprintf(buf, size, "%s\n", p2p_policy.text);
	mutex_unlock(&p2p_policy_mutex);
	return len;
}

static bool p2p_fn_is(const struct p2p_fn *fn, struct pci_dev *pdev)
{
	return fn->domain == pci_domain_nr(pdev->bus) &&
	       fn->rid == pci_dev_id(pdev);
}

static bool p2p_host_is(const struct p2p_fn *fn, const struct p2p_host *host)
{
	return fn->domain == host->domain && fn->rid >> 8 == host->bus;
}

static void p2p_rule_log(struct p2p_rule *rule, struct pci_dev *owner,
			 struct pci_dev *importer, bool log)
{
	if (!log || rule->logged)
		return;
	rule->logged = true;
	pr_notice("policy \"%.*s\" decides for %s and the memory of %s; logged once\n",
		  rule->len, p2p_policy.text + rule->pos, pci_name(importer),
		  pci_name(owner));
}

/**
 * p2p_policy_ask - what the policy says of two functions
 * @owner: whose memory it is
 * @importer: who wants to use it
 * @host: the host bridges of both
 * @log: it decides; log that if it is the first time for the item
 *
 * Context: any.
 * Return: P2P_VERDICT_DENIED, P2P_VERDICT_ALLOWED or 0. The order of the two
 * does not matter.
 */
unsigned int p2p_policy_ask(struct pci_dev *owner, struct pci_dev *importer,
			    const struct p2p_host *host, bool log)
{
	struct p2p_rule *deny = NULL, *allow = NULL, *bridge[2] = {};
	unsigned long flags;
	unsigned int i, ret = 0;

	raw_spin_lock_irqsave(&p2p_policy_lock, flags);
	for (i = 0; i < p2p_policy.nr; i++) {
		struct p2p_rule *rule = &p2p_policy.rules[i];
		bool hit[2] = {};

		switch (rule->kind) {
		case P2P_RULE_ANY:
			hit[0] = true;
			hit[1] = true;
			break;
		case P2P_RULE_BRIDGE:
			hit[0] = p2p_host_is(&rule->fn[0], &host[0]);
			hit[1] = p2p_host_is(&rule->fn[0], &host[1]);
			break;
		case P2P_RULE_PAIR:
			hit[0] = (p2p_fn_is(&rule->fn[0], owner) &&
				  p2p_fn_is(&rule->fn[1], importer)) ||
				 (p2p_fn_is(&rule->fn[1], owner) &&
				  p2p_fn_is(&rule->fn[0], importer));
			hit[1] = hit[0];
			break;
		}
		if (rule->deny) {
			if (hit[0] || hit[1])
				deny = deny ?: rule;
			continue;
		}
		if (hit[0] && hit[1])
			allow = allow ?: rule;
		else if (hit[0])
			bridge[0] = rule;
		else if (hit[1])
			bridge[1] = rule;
	}
	if (!allow && bridge[0] && bridge[1])
		allow = bridge[0];
	if (deny) {
		ret = P2P_VERDICT_DENIED;
		p2p_rule_log(deny, owner, importer, log);
	} else if (allow) {
		ret = P2P_VERDICT_ALLOWED;
		p2p_rule_log(allow, owner, importer, log);
	}
	raw_spin_unlock_irqrestore(&p2p_policy_lock, flags);
	return ret;
}

/**
 * p2p_policy_guest_refuse - does the policy refuse every guest?
 *
 * Context: any.
 * Return: true if guest=refuse was said last.
 */
bool p2p_policy_guest_refuse(void)
{
	return READ_ONCE(p2p_policy.guest_refuse);
}

static int p2p_policy_param_set(const char *val, const struct kernel_param *kp)
{
	return p2p_policy_set(val);
}

static int p2p_policy_param_get(char *buf, const struct kernel_param *kp)
{
	return p2p_policy_get(buf, PAGE_SIZE);
}

static const struct kernel_param_ops p2p_policy_ops = {
	.set = p2p_policy_param_set,
	.get = p2p_policy_param_get,
};
module_param_cb(policy, &p2p_policy_ops, NULL, 0644);
