"""Curves: how figures move along an axis, as pictures, as a table, and which of
them grow. Nothing here runs anything; arithmetic.py tests it.

A panel is {"title", "unit", "curves": {name: [[x, {"median", "min", "max"}]]}};
"is_log": its y axis too; "grows": names of curves that may, by what they are.
"""

import math

from figures import median
from report import Picture, aligned

COLOURS = ("#1b6e53", "#c08a3e", "#2f6db5", "#a23b72", "#5c5c5c", "#d1495b", "#4aa3a2", "#7b5ea7")
WIDTH, HEIGHT = 860, 210  # of a picture; of a panel's plot
LEFT, RIGHT, HEAD = 70, 250, 34
# What is no more than this is depth of indexes and noise.
GROWTH_MAX = 1.5
FLOOR = "does nothing"


def stat(values):
    return {"median": median(values), "min": min(values), "max": max(values)}


def growth(points):
    """The last median to the first one; None where there are no two to compare."""
    if len(points) < 2 or points[0][1]["median"] <= 0:
        return None
    return points[-1][1]["median"] / points[0][1]["median"]


def grows(points):
    """Whether the last point lies above the first by more than noise: its least
    above the first one's greatest, and far above."""
    found = growth(points)
    return found is not None and found > GROWTH_MAX and points[-1][1]["min"] > points[0][1]["max"]


def growing(panels):
    """[(panel's title, curve, how many times)] of what should not. Where there is the curve of a program that does
    nothing, what that one grows by too is the machine's."""
    found = []
    for panel in panels:
        of_machine = max(growth(panel["curves"].get(FLOOR, [])) or 1, 1)
        found += [(panel["title"], name, growth(points)) for name, points in panel["curves"].items()
                  if name != FLOOR and name not in panel.get("grows", ()) and grows(points)
                  and growth(points) > GROWTH_MAX * of_machine]
    return found


def short(value):
    """A number for an axis or a table: three digits, and k, M, G."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def steps(top, count=4):
    """Round values from 0 to top or a little above."""
    if top <= 0:
        return [0, 1]
    size = 10 ** math.floor(math.log10(top / count))
    step = next(size * n for n in (1, 2, 2.5, 5, 10) if size * n * count >= top)
    return [i * step for i in range(count + 1) if (i - 1) * step < top]


def decades(low, high):
    return [10.0 ** e for e in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]


class Scale:
    """Values to places; logarithmic, or linear from 0. An x of 0 on a
    logarithmic scale stands one step before the least."""

    def __init__(self, values, begin, end, is_log):
        self.begin, self.end, self.is_log = begin, end, is_log
        if is_log:
            positive = [v for v in values if v > 0] or [1]
            self.zero = min(positive) / 4
            if 0 in values:
                positive.append(self.zero)
            self.low, self.high = math.log10(min(positive)), math.log10(max(positive))
        else:
            self.low, self.high = 0, max(steps(max(values)))

    def place(self, value):
        if self.is_log:
            value = math.log10(value if value > 0 else self.zero)
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return self.begin + (self.end - self.begin) * share


def spread(labels, gap=13):
    """[(place, ...)] moved down where two would stand on each other."""
    moved = []
    for label in sorted(labels):
        place = max(label[0], moved[-1][0] + gap) if moved else label[0]
        moved.append((place,) + label[1:])
    return moved


def is_of_latency(panel):
    """One slow answer would press all others to the ground of a linear scale."""
    return panel["unit"].endswith(" ms")


def draw_panel(picture, top, panel, xs, x_title):
    bottom, right = top + HEAD + HEIGHT, WIDTH - RIGHT
    every = [v for points in panel["curves"].values() for _, s in points for v in (s["min"], s["max"])]
    is_log = panel.get("is_log", is_of_latency(panel))
    x_scale = Scale(xs, LEFT + 12, right - 12, True)
    lines = decades(min(v for v in every if v > 0), max(every)) if is_log else steps(max(every))
    y_scale = Scale(lines, bottom, top + HEAD, is_log)
    picture.text(LEFT, top + 18, f"{panel['title']}, {panel['unit']}", size=13)
    for value in lines:
        y = y_scale.place(value)
        picture.line(LEFT, y, right, y, "#dddddd")
        picture.text(LEFT - 6, y + 4, short(value), "end", 10, "#666666")
    for x in xs:
        picture.line(x_scale.place(x), bottom, x_scale.place(x), bottom + 4, "#666666")
        picture.text(x_scale.place(x), bottom + 16, short(x), "middle", 10, "#666666")
    picture.text((LEFT + right) / 2, bottom + 32, x_title, "middle", 11, "#444444")
    labels = []
    for i, (name, points) in enumerate(panel["curves"].items()):
        colour = COLOURS[i % len(COLOURS)]
        places = [(x_scale.place(x), y_scale.place(max(s["median"], every_least(every) if is_log else 0)))
                  for x, s in points]
        for (px, _), (_, s) in zip(places, points):
            if s["min"] > 0 or not is_log:
                picture.line(px, y_scale.place(s["min"]), px, y_scale.place(s["max"]), colour)
        for a, b in zip(places, places[1:]):
            picture.line(*a, *b, colour)
        for px, py in places:
            picture.bar(px - 2.5, py - 2.5, 5, 5, colour)
        if points:
            labels.append((places[-1][1] + 4, f"{name}: {short(points[-1][1]['median'])}", colour))
    for y, words, colour in spread(labels):
        picture.text(right + 6, y, words, size=11, colour=colour)


def every_least(values):
    return min(v for v in values if v > 0)


def draw(path, title, x_title, panels, note=""):
    """One picture: a panel below the other; vertical strokes are the spread of the rounds. note: below the title."""
    panels = [p for p in panels if any(p["curves"].values())]
    if not panels:
        return
    xs = sorted({x for p in panels for points in p["curves"].values() for x, _ in points})
    height = HEAD + HEIGHT + 44
    top = 54 if note else 36
    picture = Picture(WIDTH, top + 4 + height * len(panels) + 8, title)
    if note:
        picture.text(16, 44, note, size=11, colour="#666666")
    for i, panel in enumerate(panels):
        draw_panel(picture, top + height * i, panel, xs, x_title)
    picture.write(path)


def table(title, x_title, panels):
    """Medians, with the last one's ratio to the first."""
    print(f"\n{title}")
    for panel in panels:
        curves = {n: p for n, p in panel["curves"].items() if p}
        if not curves:
            continue
        xs = sorted({x for points in curves.values() for x, _ in points})
        rows = [[f"{panel['title']}, {panel['unit']}, by {x_title}"] + [short(x) for x in xs] + ["last/first"]]
        for name, points in curves.items():
            by_x = {x: s["median"] for x, s in points}
            times = growth(points)
            rows.append([name] + [short(by_x[x]) if x in by_x else "-" for x in xs]
                        + ["-" if times is None else f"{times:.2f}"])
        print()
        aligned(rows)
        for name, points in curves.items():
            last = points[-1][1]
            if "by" in last:
                print(f"  {name}, at {short(points[-1][0])}: " + ", ".join(f"{role} {short(us)}" for role, us in last["by"].items())
                      + "".join(f"; {last[k]:.2f} {word}" for k, word in (("redis_calls", "commands"), ("sql_calls", "statements"))
                                if last.get(k) is not None))
    for panel_title, name, times in growing(panels):
        print(f"GROWS: {panel_title}: {name}: {times:.1f} times")
