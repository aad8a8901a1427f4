#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# VM: --topo matrix
# VM: --topo matrix --cpu EPYC
# VM: --topo matrix --cpu EPYC,hypervisor=off
# VM: --topo matrix --iommu strict
# VM: --topo matrix --cpu EPYC --iommu strict
# VM: --topo matrix --cpu EPYC --iommu lazy
# VM: --topo mf
# VM: --topo mf --cpu EPYC --iommu lazy
# VM: --topo switch --vram 4G --append edu_bits=32
# VM: --topo matrix --cpu EPYC --vram 4G --iommu lazy --append edu_bits=32
# TIMEOUT: 300
"""What p2p-topo says is what mapping then does.

For each DMA engine and each GPU, under several policies: topo_pair tries it,
p2p-topo is asked. Path, permissions, errno and exit status must agree.
"""
import glob
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TOPO = os.path.join(HERE, "../../../p2p/p2p-topo")
PAIR = next(filter(os.path.exists, ("./topo_pair", HERE + "/topo_pair")), "")
POLICY = "/sys/module/pci_p2p/parameters/policy"


def write(path, text):
    """Write a file of sysfs."""
    with open(path, "w", encoding="ascii") as f:
        f.write(text)


def nodes(kind):
    """PCI name of each device of a sample driver, with its node in /dev."""
    out = {}
    for path in glob.glob("/sys/class/misc/p2p_%s*" % kind):
        name = os.path.basename(os.path.realpath(path + "/device"))
        out[name] = "/dev/" + os.path.basename(path)
    return out


def rebind(bits):
    """Bind all engines anew, with so many address bits."""
    write("/sys/module/p2p_edu/parameters/dma_bits", bits)
    for name in nodes("edu"):
        write("/sys/bus/pci/drivers/p2p_edu/unbind", name)
        write("/sys/bus/pci/drivers/p2p_edu/bind", name)


def ask(*args):
    """What p2p-topo says, and its exit status."""
    r = subprocess.run([TOPO, "--json", *args], text=True,
                       stdout=subprocess.PIPE, check=False)
    return json.loads(r.stdout), r.returncode


def attempt(edu, gpu):
    """What happens: path, read, write, errno."""
    r = subprocess.run([PAIR, edu, gpu], text=True, stdout=subprocess.PIPE,
                       check=True)
    path, read, write_, err = r.stdout.split()
    return path, read == "1", write_ == "1", int(err)


def differences(policy):
    """All pairs under a policy: list of complaints, and a line on what was."""
    wrong, seen = [], []
    write(POLICY, policy)
    table = ask()[0]
    for importer, edu in sorted(nodes("edu").items()):
        for owner, gpu in sorted(nodes("gpu").items()):
            region = owner + "/2"
            said = [v for v in table[importer] if v["region"] == region][0]
            was = attempt(edu, gpu)
            want = (said["path"], said["read"], said["write"], said["errno"])
            seen.append("%s %s:%s" % (importer, owner, was[0]))
            if was != want:
                wrong.append("%s %s: p2p-topo says %s, mapping does %s" %
                             (importer, owner, want, was))
            if not policy:
                wrong += explained(importer, region, said)
    write(POLICY, "")
    return wrong, seen


def explained(importer, region, said):
    """Of one pair p2p-topo says the same, what to do, and it as its status."""
    one, status = ask(importer, region)
    wrong = ["%s %s: says another %s when asked of it alone" %
             (importer, region, key) for key in said if one[key] != said[key]]
    if status != (0 if said["read"] and said["write"] else 1):
        wrong.append("%s %s: exit status %d" % (importer, region, status))
    if said["path"] == "none" and not one["advice"]:
        wrong.append("%s %s: no advice" % (importer, region))
    return wrong


def policies():
    """Policies to try: none, all, and one pair denied."""
    edu, gpu = sorted(nodes("edu"))[0], sorted(nodes("gpu"))[0]
    return ["", "allow=*", "deny=*", "allow=*,deny=%s/%s" % (edu, gpu),
            "guest=refuse"]


def cmdline(key):
    """A word of the kernel's command line, or None."""
    with open("/proc/cmdline", encoding="ascii") as f:
        for word in f.read().split():
            if word.startswith(key + "="):
                return word.partition("=")[2]
    return None


def main():
    """A subtest for each policy."""
    bits = cmdline("edu_bits")
    if bits:
        rebind(bits)
    tests = policies()
    print("TAP version 13\n1..%d" % len(tests))
    failed = False
    for i, policy in enumerate(tests, 1):
        try:
            wrong, seen = differences(policy)
        except (OSError, ValueError, KeyError,
                subprocess.CalledProcessError) as e:
            wrong, seen = ["%s: %s" % (type(e).__name__, e)], []
        if not seen:
            wrong.append("no pair was tried")
        for line in seen + wrong:
            print("# " + line)
        name = "policy " + (policy or "empty")
        print("%s %d %s" % ("not ok" if wrong else "ok", i, name))
        failed |= bool(wrong)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    sys.exit(main())
