# SPDX-License-Identifier: ISC
"""A curve for each peer over the variants of a workload, as SVG. The axis of sizes is logarithmic, with 0 as a place of its own at its left."""
import math
from xml.sax.saxutils import escape

from .tables import median, values_of

WIDTH, HEIGHT = 860, 480
LEFT, RIGHT, TOP, BOTTOM = 80, 200, 50, 60
COLOURS = ("#1b6ca8", "#c0392b", "#1e8449", "#8e44ad", "#b9770e", "#0e7c7b", "#566573", "#d35498", "#7d6608", "#2c3e50")
# Beyond this, the smaller values would be one line at the bottom.
MANY_TIMES = 8
DASHES = ("", "7 4", "2 3")


def round_step(span, wanted=6):
    """A step of 1, 2 or 5 times a power of ten, by which `span` is divided into about so many parts."""
    rough = span / wanted
    power = 10 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)


def number(value):
    if value >= 1000000 and value % 1000000 == 0:
        return f"{value // 1000000:.0f}M"
    if value >= 10000 and value % 1000 == 0:
        return f"{value // 1000:.0f}k"
    return f"{value:g}"


class Axes:
    """From values to places in the picture. Where the largest value is many times the least, their axis is logarithmic, too."""

    def __init__(self, sizes, values):
        self.sizes = sizes
        logs = [self._log(size) for size in sizes]
        self.least, self.most = min(logs), max(logs)
        self.is_logarithmic = 0 < MANY_TIMES * min(values) < max(values)
        self.ticks = self._steps(min(values), max(values)) if self.is_logarithmic else self._parts(max(values) or 1)
        self.bottom, self.top = map(self._scaled, (self.ticks[0], self.ticks[-1]))

    def _log(self, size):
        positive = [one for one in self.sizes if one > 0]
        return math.log10(size) if size > 0 else math.log10(min(positive, default=1)) - 1

    @staticmethod
    def _parts(most):
        step = round_step(most)
        return [round(part * step, 10) for part in range(math.ceil(most / step) + 1)]

    @staticmethod
    def _steps(least, most):
        powers = range(math.floor(math.log10(least)), math.ceil(math.log10(most)) + 1)
        steps = [round(factor * 10.0 ** power, 10) for power in powers for factor in (1, 2, 5)]
        first, last = max(step for step in steps if step <= least), min(step for step in steps if step >= most)
        return [step for step in steps if first <= step <= last]

    def _scaled(self, value):
        return math.log10(value) if self.is_logarithmic else value

    def x(self, size):
        span = (self.most - self.least) or 1
        return LEFT + (self._log(size) - self.least) / span * (WIDTH - LEFT - RIGHT)

    def y(self, value):
        return HEIGHT - BOTTOM - (self._scaled(value) - self.bottom) / (self.top - self.bottom) * (HEIGHT - TOP - BOTTOM)


def text(x, y, said, anchor="middle", size=13, more=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" {more}>{escape(said)}</text>'


def frame(axes, title, label_x, label_y):
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    yield text(LEFT, TOP - 22, title, "start", 16, 'font-weight="bold"')
    for value in axes.ticks:
        yield f'<line x1="{LEFT}" y1="{axes.y(value):.1f}" x2="{right}" y2="{axes.y(value):.1f}" stroke="#dddddd"/>'
        yield text(LEFT - 8, axes.y(value) + 4, number(value), "end")
    for size in axes.sizes:
        yield f'<line x1="{axes.x(size):.1f}" y1="{bottom}" x2="{axes.x(size):.1f}" y2="{bottom + 5}" stroke="#333333"/>'
        yield text(axes.x(size), bottom + 20, number(size))
    yield f'<path d="M {LEFT} {TOP} V {bottom} H {right}" fill="none" stroke="#333333"/>'
    yield text((LEFT + right) / 2, HEIGHT - 15, label_x)
    yield text(22, (TOP + bottom) / 2, label_y, more=f'transform="rotate(-90 22 {(TOP + bottom) / 2:.1f})"')


def curve(axes, points, order):
    colour, dash = COLOURS[order % len(COLOURS)], DASHES[order // len(COLOURS) % len(DASHES)]
    line = " ".join(f"{axes.x(size):.1f},{axes.y(value):.1f}" for size, value in points)
    yield f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/>'
    for size, value in points:
        yield f'<circle cx="{axes.x(size):.1f}" cy="{axes.y(value):.1f}" r="3" fill="{colour}"/>'


def key_lines(curves):
    """What belongs to whom, beside the picture, in the order of the curves' last points."""
    names = list(curves)
    for place, name in enumerate(sorted(names, key=lambda one: -curves[one][-1][1])):
        order, y = names.index(name), TOP + 10 + 20 * place
        colour, dash = COLOURS[order % len(COLOURS)], DASHES[order // len(COLOURS) % len(DASHES)]
        x = WIDTH - RIGHT + 20
        yield f'<line x1="{x}" y1="{y}" x2="{x + 26}" y2="{y}" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/>'
        yield text(x + 32, y + 4, name, "start")


def curves_of(data, key):
    """Name -> [(size, median)], from variants that begin with their size."""
    found = {}
    for variant, rows in data.items():
        for name, results in rows.items():
            value = median(values_of(results, key))
            if value is not None:
                found.setdefault(name, []).append((int(variant.split()[0]), value))
    return {name: sorted(points) for name, points in found.items()}


def plot(title, data, key, label_x, label_y):
    """The SVG; None when nothing was measured."""
    curves = curves_of(data, key)
    if not curves:
        return None
    points = [point for one in curves.values() for point in one]
    axes = Axes(sorted({size for size, _ in points}), [value for _, value in points])
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
             'font-family="sans-serif" fill="#222222">', f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
             *frame(axes, title, label_x, label_y)]
    for order, name in enumerate(curves):
        parts += curve(axes, curves[name], order)
    return "\n".join([*parts, *key_lines(curves), "</svg>"]) + "\n"
