"""The colour of a box: by what kind of layer it is, by what it costs, or by the user's own numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fluoroscope.errors import OptionError, nearest
from fluoroscope.render import design
from fluoroscope.render.graph.sheet import mixed

if TYPE_CHECKING:
    from fluoroscope.render.design import Theme
    from fluoroscope.results import GraphNode, ModelGraph

__all__ = ["FAMILIES", "ColorBy", "Legend", "Tints", "family"]

ColorBy = str | Mapping[str, float]
"""``"class"``, ``"parameters"``, ``"flops"``, ``"activations"``, ``"none"``, a title in the graph's values, or
numbers by name of node.
"""

FAMILIES = design.layer_families()
"""Kinds of layers by the names of classes and operations; the first that fits counts."""

COSTS = {"parameters": "parameters", "flops": "flops", "activations": "activation_bytes"}
READING = {"leaf": 0, "function": None, "saved": 1, "output": 2}
"""Blue, gray, orange and green, as users of torchviz know them: places in the categorical palette."""
GRAY = "#a9abb0"

Swatch = tuple[str, str]


@dataclass(frozen=True)
class Legend:
    """What colours mean: swatches (colour, meaning), or a ramp of colours from the text ``low`` to ``high``."""

    title: str = ""
    swatches: tuple[Swatch, ...] = ()
    ramp: tuple[str, ...] = ()
    low: str = ""
    high: str = ""


def family(node: GraphNode) -> str:
    """The kind of layer ``node`` is, by its class or operation; "" where it is none of :data:`FAMILIES`."""
    if node.role not in ("module", "operation"):
        return ""
    name = "linear" if node.type == "Conv1D" and "pytorch_utils" in node.code else node.type[:200]  # GPT-2's matrix
    return next((f.name for f in FAMILIES if re.search(f.pattern, name, re.IGNORECASE)), "")


class Tints:
    """Fill and frame of every box.

    Raises:
        OptionError: ``by`` is no way to colour, or names no node of the graph.
    """

    def __init__(self, graph: ModelGraph, by: ColorBy, theme: Theme) -> None:
        self.graph, self.theme, self.by = graph, theme, by
        self._strength = 0.24 if theme.name == "light" else 0.34
        self._numbers = self._given()
        self._scale = self._range()

    def _given(self) -> dict[int, float] | None:
        """The number of each node, None where colours are those of kinds."""
        nodes, by = self.graph.nodes, self.by
        if not isinstance(by, str):
            return self._named(by)
        if by in ("class", "none"):
            return None
        if by in COSTS:
            return {n.id: float(getattr(n, COSTS[by])) for n in nodes if getattr(n, COSTS[by])}
        own = self.graph.meta.get("values", {})
        if by in own:
            return self._named(own[by])
        known = ["class", "none", *COSTS, *own]
        raise OptionError(
            "color_by of the drawing of model-graph",
            got=by,
            expected=", ".join(known) + ", or numbers by name of node",
            nearest=nearest(by, known),
        )

    def _named(self, numbers: Mapping[str, float]) -> dict[int, float]:
        found = {n.id: float(numbers[n.name]) for n in self.graph.nodes if n.name in numbers}
        if numbers and not found:
            names = [n.name for n in self.graph.nodes]
            first = str(next(iter(numbers)))
            raise OptionError(
                "color_by names no node of this graph",
                got=first,
                expected="a node's name",
                nearest=nearest(first, names),
            )
        return found

    def _range(self) -> tuple[float, float]:
        finite = [v for v in (self._numbers or {}).values() if math.isfinite(v)]
        return (min(finite), max(finite)) if finite else (0.0, 0.0)

    @property
    def signed(self) -> bool:
        """Whether numbers go both ways from zero."""
        return self._numbers is not None and self._scale[0] < 0

    def _cost(self) -> bool:
        return isinstance(self.by, str) and self.by in COSTS

    def base(self, node: GraphNode) -> str:
        """The full colour of ``node``; "" where it has none."""
        if self.graph.reading == "autograd" and self.by == "class":
            return _reading(node.role)
        if self._numbers is not None:
            number = self._numbers.get(node.id)
            return self._ramp(self._position(number)) if number is not None and math.isfinite(number) else ""
        if self.by == "none":
            return ""
        if node.role in ("input", "output"):
            return self.theme.accent
        kind = family(node)
        return next((f.color for f in FAMILIES if f.name == kind), "")

    def fill(self, node: GraphNode) -> str:
        """The colour inside of a closed box."""
        base = self.base(node)
        if not base:
            return mixed(self.theme.surface, self.theme.raised, 0.6)
        if self._numbers is not None:
            return base
        strength = 0.45 if self.graph.reading == "autograd" else self._strength
        return mixed(self.theme.surface, base, strength)

    def frame(self, node: GraphNode) -> str:
        """The colour of the frame."""
        base = self.base(node)
        if not base or self._numbers is not None:
            return mixed(self.theme.line, self.theme.muted, 0.45)
        return mixed(self.theme.surface, base, 0.75)

    def _position(self, number: float) -> float:
        """From 0 to 1: by logarithm for costs, which span many magnitudes; about zero where numbers are signed."""
        low, high = self._scale
        if self._cost():
            return math.log1p(number) / math.log1p(high) if high else 0.0
        if self.signed:
            reach = max(-low, high)
            return 0.5 + 0.5 * number / reach
        return (number - low) / (high - low) if high > low else 0.5

    def _ramp(self, at: float) -> str:
        if self.signed:
            red, green, blue = design.color_at("diverging", at)
            return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"
        share = at**3 if self._cost() else at
        return mixed(mixed(self.theme.surface, self.theme.accent, 0.06), self.theme.accent, share)

    def legend(self, shown: list[GraphNode]) -> Legend:
        """What the colours of the boxes ``shown`` mean."""
        if self._numbers is not None:
            from fluoroscope.render.figures.label import amount, number

            low, high = (0.0, self._scale[1]) if self._cost() else self._scale
            low, high = (-max(-low, high), max(-low, high)) if self.signed else (low, high)
            words = amount if self._cost() else number
            title = self.by if isinstance(self.by, str) else "value"
            return Legend(title, (), tuple(self._ramp(i / 24) for i in range(25)), words(low), words(high))
        if self.by == "none":
            return Legend()
        if self.graph.reading == "autograd":
            roles = {n.role for n in shown}
            return Legend("", tuple((_reading(role), role) for role in READING if role in roles))
        kinds = {family(n) for n in shown}
        return Legend("", tuple((f.color, f.name) for f in FAMILIES if f.name in kinds))


def _reading(role: str) -> str:
    """The colour of a role in the autograd graph; "" where it has none."""
    place = READING.get(role)
    return design.palette("categorical")[place] if place is not None else GRAY if role in READING else ""
