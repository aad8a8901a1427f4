# SPDX-License-Identifier: GPL-2.0
"""An SVG of curves over sizes, both axes logarithmic, one panel by IOMMU mode."""
import math
from html import escape

COLOURS = ('#1b6ca8', '#d1495b', '#3a7d44', '#e28413', '#6a4c93', '#00798c',
           '#8d6b48', '#555555', '#c2b100', '#e377c2')
WIDTH, HEIGHT, LEFT, TOP, LEGEND = 460, 320, 64, 40, 22
TICKS = ((1 << 12, '4 KiB'), (1 << 21, '2 MiB'), (1 << 30, '1 GiB'),
         (1 << 34, '16 GiB'))


def panel(curves, title, x0, decades, colour):
    def x(size):
        return x0 + LEFT + (math.log2(size) - 12) / 22 * (WIDTH - LEFT - 20)

    def y(insn):
        return TOP + HEIGHT * (1 - math.log10(insn) / decades)

    out = [f'<text x="{x0 + LEFT}" y="{TOP - 14}" font-weight="bold">'
           f'{escape(title)}</text>']
    for d in range(decades + 1):
        out.append(f'<line x1="{x(1 << 12):.1f}" x2="{x(1 << 34):.1f}" '
                   f'y1="{y(10 ** d):.1f}" y2="{y(10 ** d):.1f}" stroke="#ddd"/>'
                   f'<text x="{x0 + LEFT - 8}" y="{y(10 ** d) + 4:.1f}" '
                   f'text-anchor="end">10<tspan dy="-5" font-size="9">{d}</tspan></text>')
    for size, name in TICKS:
        out.append(f'<text x="{x(size):.1f}" y="{TOP + HEIGHT + 18}" '
                   f'text-anchor="middle">{name}</text>')
    for name, points, _ in curves:
        at = [(x(s), y(v)) for s, v in points if v and v > 0]
        path = ' '.join(f'{a:.1f},{b:.1f}' for a, b in at)
        out.append(f'<polyline points="{path}" fill="none" stroke-width="2" '
                   f'stroke="{colour[name]}"/>')
        out += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colour[name]}"/>'
                for a, b in at]
    return out


def plot(path, curves):
    """curves: (name, [(size, instructions or None)], IOMMU mode)."""
    curves = [c for c in curves if any(v for _, v in c[1])]
    names = list(dict.fromkeys(c[0] for c in curves))
    modes = list(dict.fromkeys(c[2] for c in curves))
    colour = {n: COLOURS[i % len(COLOURS)] for i, n in enumerate(names)}
    top = max([v for c in curves for _, v in c[1] if v], default=10)
    decades = math.ceil(math.log10(top))
    width = max(1, len(modes)) * WIDTH
    height = TOP + HEIGHT + 40 + LEGEND * len(names)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" '
           f'height="{height}" font-family="sans-serif" font-size="12">',
           '<rect width="100%" height="100%" fill="white"/>']
    for i, mode in enumerate(modes):
        out += panel([c for c in curves if c[2] == mode],
                     f'map + unmap, instructions, IOMMU {mode}', i * WIDTH,
                     decades, colour)
    for i, name in enumerate(names):
        y = TOP + HEIGHT + 44 + LEGEND * i
        out.append(f'<rect x="{LEFT}" y="{y - 9}" width="18" height="4" '
                   f'fill="{colour[name]}"/><text x="{LEFT + 26}" y="{y}">'
                   f'{escape(name)}</text>')
    with open(path, 'w', encoding='utf-8') as f:
        f.write('\n'.join(out + ['</svg>', '']))
