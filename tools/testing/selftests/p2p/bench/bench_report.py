#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Make bench.json, bench.md and bench.svg of the rows in a directory, and print
the table with its targets.

The argument is the directory, which has KERNEL-IOMMU-GROUP.rows.
"""
import glob
import json
import os
import sys

import bench_plot

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
SIZES = (4 * KIB, 2 * MIB, GIB, 16 * GIB)
IOMMUS = ('off', 'lazy', 'strict')
COUNTS = (('exporter', 'exporter calls'), ('flushes', 'IOTLB flushes'),
          ('descriptors', 'descriptors'), ('ioptes', 'IOPTEs'),
          ('config_reads', 'config reads'), ('grace_periods', 'grace periods'),
          ('works', 'work items'), ('page_allocs', 'page allocations'))
# (kernel, row, what it is)
PATHS = (('ours', 'extent', 'peer, by the extent'),
         ('ours', 'odp', 'peer, on-demand MR, all of it'),
         ('ours', 'dma-buf', 'dma-buf of the BAR'),
         ('stock', 'dma-buf', 'dma-buf of the BAR, stock'),
         ('stock', 'pin', 'p2pmem: pin + dma_map_sgtable, stock'),
         ('stock', 'hmm ram', 'RAM, 4 KiB pages: hmm + hmm_dma_map_pfn, stock'),
         ('ours', 'hmm ram', 'RAM, 4 KiB pages: hmm + hmm_dma_map_pfns'),
         ('stock', 'hmm ram huge', 'RAM, 2 MiB folios: hmm + hmm_dma_map_pfn, stock'),
         ('ours', 'hmm ram huge', 'RAM, 2 MiB folios: hmm + hmm_dma_map_pfns'),
         ('stock', 'pin ram', 'RAM: pin + dma_map_sgtable, stock'))


def size_name(size):
    for unit, name in ((GIB, 'GiB'), (MIB, 'MiB'), (KIB, 'KiB')):
        if size >= unit:
            return f'{size // unit} {name}'
    return str(size)


class Results:
    """Rows by (kernel, iommu, row, size, arg)."""

    def __init__(self, directory):
        self.rows = []
        self.index = {}
        for path in sorted(glob.glob(os.path.join(directory, '*.rows'))):
            name = os.path.basename(path)[:-len('.rows')]
            stock = name.startswith('stock-')
            iommu = name.removeprefix('stock-').split('-')[1]
            with open(path, encoding='utf-8') as f:
                for line in f:
                    if line.startswith('{'):
                        self.add(json.loads(line), 'stock' if stock else 'ours',
                                 iommu)

    def add(self, row, kernel, iommu):
        row['kernel'] = kernel
        row['iommu'] = iommu
        self.rows.append(row)
        self.index[kernel, iommu, row['row'], row['size'], row['arg']] = row

    def get(self, kernel, iommu, row, size=0, arg=0):
        return self.index.get((kernel, iommu, row, size, arg))

    def insn(self, *key):
        """Instructions of all phases that the caller waits for, or None."""
        row = self.get(*key)
        if not row or 'insn' not in row:
            return None
        return row['insn'][0] + row['insn'][1]

    def spread(self):
        """Largest difference of two runs of one row, and of which."""
        worst = (0.0, None)
        for row in self.rows:
            if 'again' not in row:
                continue
            a, b = sum(row['insn'][:2]), sum(row['again'][:2])
            if max(a, b) > 0 and abs(a - b) / max(a, b) > worst[0]:
                worst = (abs(a - b) / max(a, b), row)
        return worst


def num(n):
    return '-' if n is None else f'{n:,}'


class Table:
    def __init__(self, title, head):
        self.title = title
        self.head = head
        self.rows = []
        self.notes = []

    def add(self, *cells):
        self.rows.append([str(c) for c in cells])

    def text(self):
        width = [max(len(r[i]) for r in [self.head] + self.rows)
                 for i in range(len(self.head))]
        lines = [self.title]
        for r in [self.head] + self.rows:
            lines.append('  ' + '  '.join(
                c.ljust(w) if i == 0 else c.rjust(w)
                for i, (c, w) in enumerate(zip(r, width))))
        return '\n'.join(lines + ['  ' + n for n in self.notes])

    def markdown(self):
        lines = [f'## {self.title}', '', '| ' + ' | '.join(self.head) + ' |',
                 '|---' + '|---:' * (len(self.head) - 1) + '|']
        lines += ['| ' + ' | '.join(r) + ' |' for r in self.rows]
        return '\n'.join(lines + [''] + self.notes)


def table_paths(res, iommu):
    what = {'off': 'no IOMMU', 'lazy': 'vIOMMU, lazy',
            'strict': 'vIOMMU, strict'}[iommu]
    t = Table(f'1. Map + unmap, instructions, {what}',
              ['path'] + [size_name(s) for s in SIZES])
    for kernel, row, name in PATHS:
        values = [res.insn(kernel, iommu, row, s) for s in SIZES]
        if any(v is not None for v in values):
            t.add(name, *map(num, values))
    values = [res.insn('ours', iommu, 'odp random', s) for s in SIZES]
    if any(values):
        t.add('peer, on-demand MR, random 4 KiB, by page', *map(num, values))
    return t


def table_counts(res, iommu):
    t = Table(f'1. What is behind 1 GiB, IOMMU {iommu}',
              ['path'] + [name for _, name in COUNTS] + ['later', 'bytes held'])
    for kernel, row, name in PATHS:
        r = res.get(kernel, iommu, row, GIB)
        if r and 'counts' in r:
            t.add(name, *[num(r['counts'][c]) for c, _ in COUNTS],
                  num(r['insn'][2]), num(r['held']))
    return t


def table_faults(res):
    t = Table('2. One fault of an on-demand MR, instructions',
              ['fault'] + [f'IOMMU {i}' for i in IOMMUS])
    for kernel, row, name in (
            ('ours', 'fault_first', 'first touch, peer'),
            ('ours', 'fault_live', 'inside a live extent'),
            ('ours', 'fault_again', 'of a page that is mapped, peer'),
            ('ours', 'fault_moved', 'after a move'),
            ('ours', 'fault_live ram', 'RAM that is there'),
            ('stock', 'fault_live ram', 'RAM that is there, stock'),
            ('ours', 'fault_again ram', 'of a page that is mapped, RAM'),
            ('stock', 'fault_again ram', 'of a page that is mapped, RAM, stock')):
        t.add(name, *[num(res.insn(kernel, i, row, 2 * MIB)) for i in IOMMUS])
    return t


def revoke(res, iommu, size, importers, extent=0):
    row = res.get('ours', iommu, 'revoke extents' if extent else 'revoke', size,
                  importers | extent << 32)
    return row if row and 'insn' in row else None


def table_revoke(res):
    t = Table('3. Revocation, from the call of the exporter to its return',
              ['what'] + [f'IOMMU {i}' for i in IOMMUS] +
              ['flushes (strict)', 'later (strict)'])
    cases = [(s, n, 0) for s in (2 * MIB, GIB) for n in (1, 10, 100)]
    cases += [(2 * MIB, 1, 2 * MIB // n) for n in (8, 64, 512)]
    for size, n, extent in cases:
        rows = [revoke(res, i, size, n, extent) for i in IOMMUS]
        if not any(rows):
            continue
        name = f'{size_name(size)}, {n} importer{"s" * (n > 1)}'
        if extent:
            name += f', {size // extent} extents'
        t.add(name, *[num(r and r['insn'][0]) for r in rows],
              num(rows[2] and rows[2]['counts']['flushes']),
              num(rows[2] and rows[2]['insn'][2]))
    return t


def table_verdict(res):
    t = Table('4. Verdict, instructions', ['query', 'instructions', 'config reads'])
    for row, args, name in (('verdict cached', (0,), 'cached'),
                            ('verdict turn', (10, 100, 1000),
                             'asked before, {} devices in turn'),
                            ('verdict cold', (1, 4, 8),
                             'first time, bridges above: {}')):
        for arg in args:
            r = res.get('ours', 'off', row, 0, arg)
            if r and 'insn' in r:
                t.add(name.format(arg), num(r['insn'][0]),
                      num(r['counts']['config_reads']))
    return t


def table_profile(res):
    t = Table('Where the instructions go, by function, %',
              ['row', 'kernel', 'size', 'IOMMU', 'functions'])
    for r in res.rows:
        if 'profile' in r:
            t.add(r['row'], r['kernel'], size_name(r['size']), r['iommu'],
                  ', '.join(f'{f} {share}' for f, share in r['profile'].items()
                            if share >= 2))
    return t


def table_dio(res):
    t = Table('5. O_DIRECT read, processor time of the process in ns, by request',
              ['buffer', '4 KiB', '1 MiB'])
    for kernel, row, name in (('stock', 'dio ram', 'RAM, stock'),
                              ('ours', 'dio ram', 'RAM'),
                              ('stock', 'dio peer', 'p2pmem, stock'),
                              ('ours', 'dio peer', 'peer'),
                              ('ours', 'dio bounce', 'peer that the disk cannot reach')):
        t.add(name, *[num(res.insn(kernel, 'off', row, s)) for s in (4 * KIB, MIB)])
    return t


def table_memory(res):
    t = Table('6. Kernel memory held for 1 GiB registered, bytes',
              ['path'] + [f'IOMMU {i}' for i in IOMMUS])
    for kernel, row, name in PATHS:
        held = [(res.get(kernel, i, row, GIB) or {}).get('held') for i in IOMMUS]
        if any(h is not None for h in held):
            t.add(name, *map(num, held))
    pages = [(res.get('stock', i, 'struct pages', 16 * GIB) or {}).get('held')
             for i in IOMMUS]
    if any(pages):
        t.add('p2pmem: struct pages, as long as the driver is bound',
              *[num(p and p // 16) for p in pages])
    return t


TAX = ('hmm', 'hmm huge', 'gup fast', 'gup slow', 'dma_map_page', 'mprotect',
       'munmap', 'fork')


def tax(res, iommu, what):
    """Ours / stock, or None."""
    size = 2 * MIB
    if what == 'dma_map_page':
        size = 4 * KIB
    elif what in ('mprotect', 'munmap', 'fork'):
        size = 4 * MIB
    ours, stock = (res.insn(k, iommu, f'tax {what}', size)
                   for k in ('ours', 'stock'))
    return ours, stock, ours / stock if ours and stock else None


def table_tax(res):
    t = Table('7. What others pay: ours / stock', ['call', 'IOMMU', 'stock',
                                                   'ours', 'ratio'])
    for iommu in ('off', 'strict'):
        for what in TAX:
            ours, stock, ratio = tax(res, iommu, what)
            if ratio:
                t.add(what, iommu, num(stock), num(ours), f'{ratio:.4f}')
    return t


def targets(res):
    """(row, target, figure, met or None if there is no figure)."""
    out = []

    def add(row, target, figure, met):
        out.append((row, target, figure, met if figure is not None else None))

    for iommu, limit in (('off', 10000), ('lazy', 50000), ('strict', 50000)):
        v = res.insn('ours', iommu, 'extent', GIB)
        add(1, f'extent path, 1 GiB, IOMMU {iommu}: at most {limit:,}', v,
            v is not None and v <= limit)
    sizes = [res.insn('ours', 'off', 'extent', s) for s in SIZES[1:]]
    if all(sizes):
        ratio = max(sizes) / min(sizes)
        add(1, 'extent path, 2 MiB to 16 GiB, no IOMMU: within 2x',
            f'{ratio:.2f}x', ratio <= 2)
    for iommu in IOMMUS:
        odp = res.insn('ours', iommu, 'odp', GIB)
        pin = res.insn('stock', iommu, 'pin', GIB)
        if odp and pin:
            add(1, f'on-demand MR, 1 GiB / p2pmem, IOMMU {iommu}: at most 0.2',
                f'{odp / pin:.3f}', odp <= pin / 5)
    for iommu in IOMMUS:
        live = res.insn('ours', iommu, 'fault_live', 2 * MIB)
        ram = res.insn('stock', iommu, 'fault_live ram', 2 * MIB)
        if live and ram:
            add(2, f'fault in a live extent / of RAM, stock, IOMMU {iommu}: at most 0.5',
                f'{live / ram:.3f}', live <= ram / 2)
    target_revoke(res, add)
    for row, arg, name in (('verdict cached', 0, 'one device'),
                           ('verdict turn', 1000, '1,000 devices')):
        v = res.insn('ours', 'off', row, 0, arg)
        add(4, f'cached verdict, {name}: under 100', v, v is not None and v < 100)
    held = (res.get('ours', 'off', 'extent', GIB) or {}).get('held')
    add(6, 'extent path: at most 4,096 bytes for 1 GiB', held,
        held is not None and held <= 4096)
    for iommu in ('off', 'strict'):
        for what in TAX:
            ratio = tax(res, iommu, what)[2]
            if ratio:
                add(7, f'{what}, IOMMU {iommu}: 1.000 +- 0.005', f'{ratio:.4f}',
                    abs(ratio - 1) <= 0.005)
    return out


def target_revoke(res, add):
    one, ten, hundred = (revoke(res, 'strict', GIB, n) for n in (1, 10, 100))
    small = revoke(res, 'strict', 2 * MIB, 1)
    if not (one and ten and hundred and small):
        return
    slope = (ten['insn'][0] - one['insn'][0]) / 9
    last = (hundred['insn'][0] - ten['insn'][0]) / 90
    add(3, 'linear in importers: the same slope to 10 and to 100 (10 %)',
        f'{slope:,.0f} and {last:,.0f} instructions by importer',
        abs(slope - last) <= 0.1 * slope)
    ratio = one['insn'][0] / small['insn'][0]
    add(3, 'one extent: 1 GiB as 2 MiB (10 %)', f'{ratio:.3f}x',
        abs(ratio - 1) <= 0.1)
    flushes = hundred['counts']['flushes']
    add(3, '100 importers: one flush each', flushes, flushes == 100)


def main():
    directory = sys.argv[1]
    res = Results(directory)
    tables = [table_paths(res, i) for i in IOMMUS]
    tables += [table_counts(res, i) for i in ('off', 'strict')]
    tables += [table_faults(res), table_revoke(res), table_verdict(res),
               table_dio(res), table_memory(res), table_tax(res),
               table_profile(res)]
    tables = [t for t in tables if t.rows]
    checked = targets(res)
    goal = Table('Targets', ['row', 'target', 'figure', ''])
    for row, text, figure, met in checked:
        goal.add(row, text, num(figure) if isinstance(figure, int) else figure,
                 {True: 'met', False: 'MISSED', None: 'no figure'}[met])
    tables.append(goal)
    spread = res.spread()
    note = 'Two runs of a row differ by at most {:.3f} %{}.'.format(
        spread[0] * 100, f' ({spread[1]["row"]}, {size_name(spread[1]["size"])}, '
        f'{spread[1]["kernel"]}, IOMMU {spread[1]["iommu"]})' if spread[1] else '')
    errors = {}
    for r in res.rows:
        if 'error' in r:
            where = errors.setdefault((r['row'], r['kernel'], r['error']), [])
            where.append(f'{size_name(r["size"])} {r["iommu"]}')

    with open(os.path.join(directory, 'bench.json'), 'w', encoding='utf-8') as f:
        json.dump({'rows': res.rows,
                   'targets': [dict(zip(('row', 'target', 'figure', 'met'), c))
                               for c in checked]}, f, indent=1)
    with open(os.path.join(directory, 'bench.md'), 'w', encoding='utf-8') as f:
        f.write('# What peer memory costs\n\nInstructions of the guest. What they '
                'say and what not:\nDocumentation/mm/p2p_bench.rst. ' + note + '\n\n'
                '![map + unmap by size](bench.svg)\n\n')
        f.write('\n\n'.join(t.markdown() for t in tables) + '\n')
    bench_plot.plot(os.path.join(directory, 'bench.svg'), [
        (name, [(s, res.insn(kernel, iommu, row, s)) for s in SIZES], iommu)
        for iommu in ('off', 'strict') for kernel, row, name in PATHS])

    print('\n\n'.join(t.text() for t in tables))
    print(note)
    for (row, kernel, error), where in errors.items():
        print(f'not possible: {row}, {kernel}, {error}: {", ".join(where)}')
    met = sum(c[3] is True for c in checked)
    print(f'bench: {met} of {len(checked)} targets met')


if __name__ == '__main__':
    main()
