"""RevealCancel once more, number by number: each layer of a network as a step with lists of floats, slow and plain."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

Vector = list[float]
Step = Callable[[Vector, Vector, Vector, Vector], tuple[Vector, Vector, Vector, Vector, Any]]
"""(x, r, positive parts, negative parts) to the same of the result, and a function from multipliers to multipliers."""


def dense(weight: Any, bias: Any) -> Step:
    """Section 3.4 and the linear rule: w d goes where its sign belongs, with all of d; halves where d is zero."""
    w, b = np.asarray(weight).tolist(), np.asarray(bias).tolist()

    def step(x: Vector, r: Vector, p: Vector, n: Vector) -> tuple[Vector, Vector, Vector, Vector, Any]:
        size, d = range(len(x)), [x[i] - r[i] for i in range(len(x))]
        y, y_r = ([sum(row[i] * v[i] for i in size) + c for row, c in zip(w, b, strict=True)] for v in (x, r))
        up = [sum(row[i] * d[i] for i in size if row[i] * d[i] > 0) for row in w]
        down = [sum(row[i] * d[i] for i in size if row[i] * d[i] < 0) for row in w]

        def back(mp: Vector, mn: Vector) -> tuple[Vector, Vector]:
            m = [0.0 for _ in size]
            for j, row in enumerate(w):
                for i in size:
                    share = mp[j] if row[i] * d[i] > 0 else mn[j] if row[i] * d[i] < 0 else (mp[j] + mn[j]) / 2
                    m[i] += row[i] * share
            return m, m

        return y, y_r, up, down, back

    return step


def curve(f: Callable[[float], float]) -> Step:
    """Section 3.5.3."""

    def step(x: Vector, r: Vector, p: Vector, n: Vector) -> tuple[Vector, Vector, Vector, Vector, Any]:
        corners = list(zip(r, p, n, strict=True))
        up = [(f(c + a) - f(c) + f(c + b + a) - f(c + b)) / 2 for c, a, b in corners]
        down = [(f(c + b) - f(c) + f(c + a + b) - f(c + a)) / 2 for c, a, b in corners]

        def back(mp: Vector, mn: Vector) -> tuple[Vector, Vector]:
            rising = [m * u / a if a else 0.0 for m, u, a in zip(mp, up, p, strict=True)]
            return rising, [m * v / b if b else 0.0 for m, v, b in zip(mn, down, n, strict=True)]

        return [f(v) for v in x], [f(v) for v in r], up, down, back

    return step


def rescaled(f: Callable[[float], float]) -> Step:
    """Section 3.5.2 for both parts."""

    def step(x: Vector, r: Vector, p: Vector, n: Vector) -> tuple[Vector, Vector, Vector, Vector, Any]:
        slope = [(f(a) - f(b)) / (a - b) if a != b else 0.0 for a, b in zip(x, r, strict=True)]

        def times(m: Vector) -> Vector:
            return [a * b for a, b in zip(m, slope, strict=True)]

        return [f(v) for v in x], [f(v) for v in r], times(p), times(n), lambda mp, mn: (times(mp), times(mn))

    return step


def scaled(factor: Sequence[float], shift: Sequence[float]) -> Step:
    """Place by place: a negative factor exchanges the parts."""

    def step(x: Vector, r: Vector, p: Vector, n: Vector) -> tuple[Vector, Vector, Vector, Vector, Any]:
        def line(v: Vector) -> Vector:
            return [c * a + s for c, a, s in zip(factor, v, shift, strict=True)]

        def crossed(a: Vector, b: Vector) -> tuple[Vector, Vector]:
            pairs = [(u, v) if c >= 0 else (v, u) for c, u, v in zip(factor, a, b, strict=True)]
            first, second = zip(*pairs, strict=True)
            return [c * u for c, u in zip(factor, first, strict=True)], [
                c * v for c, v in zip(factor, second, strict=True)
            ]

        return line(x), line(r), *crossed(p, n), crossed

    return step


def pooling(windows: Sequence[Sequence[int]]) -> Step:
    """f is the maximum of a window; a step's rise is shared by the places of both maxima."""

    def step(x: Vector, r: Vector, p: Vector, n: Vector) -> tuple[Vector, Vector, Vector, Vector, Any]:
        upper, lower = ([a + b for a, b in zip(r, part, strict=True)] for part in (p, n))

        def shares(window: Sequence[int], to: Vector, start: Vector) -> dict[int, float]:
            first, second = (max(window, key=lambda i, v=v: v[i]) for v in (to, start))
            top = max(to[first], start[second])
            found = {first: top - start[second]}
            found[second] = found.get(second, 0.0) + to[first] - top
            return found

        ups = [[shares(w, upper, r), shares(w, x, lower)] for w in windows]
        downs = [[shares(w, lower, r), shares(w, x, upper)] for w in windows]
        up, down = ([sum(sum(s.values()) for s in pair) / 2 for pair in part] for part in (ups, downs))

        def back(mp: Vector, mn: Vector) -> tuple[Vector, Vector]:
            made = []
            for m, part, difference in ((mp, ups, p), (mn, downs, n)):
                handed = [0.0 for _ in x]
                for multiplier, pair in zip(m, part, strict=True):
                    for i, share in (item for s in pair for item in s.items()):
                        handed[i] += multiplier * share / 2
                made.append([h / d if d else 0.0 for h, d in zip(handed, difference, strict=True)])
            return made[0], made[1]

        return [max(x[i] for i in w) for w in windows], [max(r[i] for i in w) for w in windows], up, down, back

    return step


def pooled_at_once(windows: Sequence[Sequence[int]]) -> Step:
    """The rescale rule's pooling: the step from r to x, its rise above both maxima and its fall below."""

    def step(x: Vector, r: Vector, p: Vector, n: Vector) -> tuple[Vector, Vector, Vector, Vector, Any]:
        mine, theirs = ([max(w, key=lambda i, v=v: v[i]) for w in windows] for v in (x, r))
        up = [max(x[i] - r[j], 0.0) for i, j in zip(mine, theirs, strict=True)]
        down = [min(x[i] - r[j], 0.0) for i, j in zip(mine, theirs, strict=True)]

        def back(mp: Vector, mn: Vector) -> tuple[Vector, Vector]:
            handed = [0.0 for _ in x]
            for k, (i, j) in enumerate(zip(mine, theirs, strict=True)):
                handed[i] += mp[k] * up[k]
                handed[j] += mn[k] * down[k]
            made = [h / (a - b) if a != b else 0.0 for h, a, b in zip(handed, x, r, strict=True)]
            return made, made

        return [x[i] for i in mine], [r[j] for j in theirs], up, down, back

    return step


def chain(*steps: Step) -> Step:
    """One after the other."""

    def step(x: Vector, r: Vector, p: Vector, n: Vector) -> tuple[Vector, Vector, Vector, Vector, Any]:
        backs = []
        for each in steps:
            x, r, p, n, back = each(x, r, p, n)
            backs.append(back)

        def all_back(mp: Vector, mn: Vector) -> tuple[Vector, Vector]:
            for back in reversed(backs):
                mp, mn = back(mp, mn)
            return mp, mn

        return x, r, p, n, all_back

    return step


def beside(branch: Step) -> Step:
    """A branch, and the input added to it."""

    def step(x: Vector, r: Vector, p: Vector, n: Vector) -> tuple[Vector, Vector, Vector, Vector, Any]:
        *found, back = branch(x, r, p, n)
        y, y_r, up, down = (
            [a + b for a, b in zip(u, v, strict=True)] for u, v in zip(found, (x, r, p, n), strict=True)
        )

        def both(mp: Vector, mn: Vector) -> tuple[Vector, Vector]:
            pairs = zip(back(mp, mn), (mp, mn), strict=True)
            first, second = ([a + b for a, b in zip(u, v, strict=True)] for u, v in pairs)
            return first, second

        return y, y_r, up, down, both

    return step


def by_hand(step: Step, x: torch.Tensor, r: torch.Tensor, target: int) -> np.ndarray:
    """Contributions of one example."""
    values, reference = x.flatten().tolist(), r.flatten().tolist()
    d = [a - b for a, b in zip(values, reference, strict=True)]
    y, _, _, _, back = step(values, reference, [max(v, 0.0) for v in d], [min(v, 0.0) for v in d])
    top = [float(j == target) for j in range(len(y))]
    mp, mn = back(top, top)
    found = [(a if v > 0 else b) * v for a, b, v in zip(mp, mn, d, strict=True)]
    return np.array(found).reshape(tuple(x.shape))


def matrix(layer: Callable[[torch.Tensor], torch.Tensor], shape: tuple[int, ...]) -> Step:
    """A linear layer as the dense layer that it is."""
    size = math.prod(shape)
    with torch.no_grad():
        bias = layer(torch.zeros(1, *shape, dtype=torch.float64)).flatten()
        columns = layer(torch.eye(size, dtype=torch.float64).view(size, *shape)).flatten(1) - bias
    return dense(columns.T.numpy(), bias.numpy())


def relu(v: float) -> float:
    return max(v, 0.0)


def leaky(v: float) -> float:
    return v if v > 0 else 0.2 * v


def gelu(v: float) -> float:
    return v * (1 + math.erf(v / math.sqrt(2))) / 2
