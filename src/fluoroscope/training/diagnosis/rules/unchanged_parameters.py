"""Parameters that never change: frozen on purpose, forgotten by the optimizer, or never reached by a gradient."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from fluoroscope.results import Finding
from fluoroscope.results.findings import Severity
from fluoroscope.results.record import Array
from fluoroscope.training.diagnosis.evidence import Evidence, Statistic
from fluoroscope.training.diagnosis.robust import row_medians
from fluoroscope.training.diagnosis.rule import Rule, Undecided, rule, threshold
from fluoroscope.training.diagnosis.wording import named

__all__ = ["UnchangedParameters"]

HALF_STEP = 2.0**-24
"""Half the distance of neighbouring numbers in single precision, as a share of them."""


@rule
class UnchangedParameters(Rule):
    """Parameters whose weights are the same at every step although the learning rate is not zero.

    Told apart: ``requires_grad`` is off (a hint); no optimizer holds them although they need a gradient; a gradient
    arrives and the optimizer does nothing with it; no gradient ever arrives; the gradient is exactly zero. Gradients
    too small to change a rounded weight, such as those of biases before batch normalization, are no fault, and neither
    are steps (rate times gradient) that are: the rule about low learning rates tells of those.
    """

    name = "unchanged-parameters"
    title = "Parameters never change"
    lasting = True
    source = "PyTorch, torch.optim and Tensor.requires_grad"
    needs = ("weight/norm",)
    least = 5
    rounding: float = threshold(
        1e-5, "gradient over the largest in the network, below which rounding may hide a change"
    )
    minor: float = threshold(0.15, "share of the parameters up to which it may be meant", high=1)

    def find(self, run: Evidence) -> Iterator[Finding]:
        """One finding for each reason."""
        weights = run.statistic("weight/norm")
        assert weights is not None
        if run.rate is not None and not (run.rate.values > 0).any():
            raise Undecided("the learning rate is zero")
        still = _still(run, weights)
        names = np.array(weights.names)
        gradient = run.statistic("gradient/norm")
        norms = dict(zip(gradient.names, _largest(gradient), strict=True)) if gradient is not None else {}
        frozen = run.facts.frozen or frozenset()
        sizes = dict(zip(weights.names, _largest(weights), strict=True))
        aside = {"outside": sorted(run.facts.outside), "frozen": sorted(frozen - set(weights.names))}
        reasons: dict[str, list[str]] = {reason: found for reason, found in aside.items() if found}
        for name in names[still]:
            reasons.setdefault(self._reason(str(name), norms, frozen, run, sizes), []).append(str(name))
        for reason, found in reasons.items():
            if reason:
                yield self._tell(reason, found, len(names) + sum(map(len, aside.values())), weights, run)

    def _reason(
        self, name: str, norms: dict[str, float], frozen: frozenset[str], run: Evidence, sizes: dict[str, float]
    ) -> str:
        if name in frozen:
            return "frozen"
        if not norms:
            return "unknown"
        if name not in norms:
            return "no gradient" if run.facts.frozen is not None else "no gradient or frozen"
        largest = max((v for v in norms.values() if np.isfinite(v)), default=0.0)
        if norms[name] == 0:
            return "zero gradient" if largest > 0 or len(norms) > 1 else ""
        rate = float(np.nanmax(run.rate.values)) if run.rate is not None else math.inf
        hidden = rate * norms[name] <= HALF_STEP * sizes.get(name, 0.0)  # plain descent could not move a rounded weight
        return "not optimized" if norms[name] > self.rounding * largest and not hidden else ""

    def _tell(self, reason: str, found: list[str], count: int, weights: Statistic, run: Evidence) -> Finding:
        title, text, advice = WORDS[reason]
        part = len(found) / count
        severity = SEVERITY[reason]
        if severity == "problem" and part <= self.minor and reason in ("no gradient", "zero gradient"):
            severity = "warning"
        return self.finding(
            severity,
            f"{len(found)} of {count} parameters ({named(found)}) are the same at every one of {len(weights.steps)} "
            f"steps: {text}.",
            confidence=0.97 if reason in ("frozen", "outside", "not optimized") else 0.9,
            layers=found,
            steps=(int(weights.steps[0]), int(weights.steps[-1])),
            numbers={"parameters": len(found), "share": part},
            curves=[weights.curve(weights.names.index(n)) for n in found if n in weights.names][:4] or [run.loss],
            advice=advice,
            title=title,
        )


SEVERITY: dict[str, Severity] = {
    "frozen": "hint",
    "outside": "problem",
    "not optimized": "problem",
    "no gradient": "problem",
    "no gradient or frozen": "warning",
    "zero gradient": "problem",
    "unknown": "warning",
}
WORDS = {
    "frozen": (
        "Parameters are frozen",
        "requires_grad is off",
        ("nothing, if this was meant; otherwise requires_grad_(True)",),
    ),
    "outside": (
        "No optimizer holds parameters",
        "they need a gradient and are in no optimizer",
        (
            "give the optimizer these parameters: was it made before a layer was replaced, or from a part only?",
            "requires_grad_(False), if they are meant to stay",
        ),
    ),
    "not optimized": (
        "Parameters get a gradient and are not updated",
        "a gradient arrives and the optimizer does nothing with it",
        (
            "give the optimizer these parameters: made before a layer was replaced, or from a part of the network?",
            "look at the learning rate of their group",
        ),
    ),
    "no gradient": (
        "No gradient reaches parameters",
        "requires_grad is on and no gradient ever arrives",
        ("does the forward use them? look for detach(), no_grad(), .data, item() or argmax on the way",),
    ),
    "no gradient or frozen": (
        "Parameters without a gradient",
        "no gradient ever arrives; whether requires_grad is off was not recorded",
        ("if they are not frozen on purpose: does the forward use them? look for detach() on the way",),
    ),
    "zero gradient": (
        "The gradient of parameters is exactly zero",
        "a gradient arrives and is zero",
        (
            "look for units that are dead, or weights that are all zero, in the layers after them",
            "look for a loss that does not depend on them",
        ),
    ),
    "unknown": ("Parameters never change", "gradients were not recorded", ("are they in the optimizer?",)),
}  # fmt: skip


def _still(run: Evidence, weights: Statistic) -> Array:
    """Rows that never change: no update where updates were recorded, else one and the same norm."""
    updates = run.statistic("update/norm")
    norms = np.where(weights.seen, weights.values, np.nan)
    with np.errstate(invalid="ignore"):
        same = np.array([np.ptp(row[np.isfinite(row)]) == 0 if np.isfinite(row).sum() > 1 else False for row in norms])
    if updates is None:
        return same
    moved = {
        n for n, row, seen in zip(updates.names, updates.values, updates.seen, strict=True) if (row[seen] != 0).any()
    }
    known = set(updates.names)
    return np.array([(n in known or s) and n not in moved and s for n, s in zip(weights.names, same, strict=True)])


def _largest(gradient: Statistic) -> Array:
    medians = row_medians(np.where(gradient.seen, gradient.values, np.nan))
    tops = np.array([np.nanmax(np.where(np.isfinite(r), r, 0.0)) for r in gradient.values])
    return np.where(medians > 0, medians, tops)
