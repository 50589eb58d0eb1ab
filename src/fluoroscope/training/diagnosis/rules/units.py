"""Units that say nothing: dead ReLUs and saturated sigmoids and tanhs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from fluoroscope.results import Finding
from fluoroscope.results.findings import Severity
from fluoroscope.training.diagnosis.evidence import Evidence
from fluoroscope.training.diagnosis.progress import progress
from fluoroscope.training.diagnosis.robust import sureness
from fluoroscope.training.diagnosis.rule import Rule, rule, threshold
from fluoroscope.training.diagnosis.wording import named, share

__all__ = ["DeadUnits", "SaturatedUnits"]


class Units(Rule):
    """Layers most of whose units are useless in the last third of the run, at every step of it."""

    word: ClassVar[str] = ""
    later: ClassVar[tuple[str, ...]] = ()  # advice against what happens in training, not before its first step
    few: float
    many: float
    arrived: ClassVar[float] = 0.97  # share of the first loss that is gone, from which the units have done their work

    def _layers(self, run: Evidence, least: float) -> Iterator[tuple[str, float, float, int]]:
        """Name, median share and row of each layer whose share stays above ``least``."""
        found = run.statistic(self.needs[0])
        assert found is not None
        for row, name in enumerate(found.names):
            values = found.values[row, found.seen[row]]
            late = values[-max(5, len(values) // 3) :]
            late = late[np.isfinite(late)]
            lasts = len(late) >= 3 and np.median(late) >= least and np.quantile(late, 0.1) >= 0.8 * least
            if lasts and late[-1] >= np.median(late) - 0.1:  # not about to recover
                yield name, float(np.median(late)), float(values[0]), row

    def find(self, run: Evidence) -> Iterator[Finding]:
        """One finding for all layers."""
        few, many = self.few, self.many
        layers = list(self._layers(run, few))
        if not layers:
            return
        found = run.statistic(self.needs[0])
        assert found is not None
        worst = max(layers, key=lambda item: item[1])
        names = [name for name, *_ in layers]
        total = len(found.names)
        last = set(names) == {found.names[-1]} and total > 1
        severity: Severity = "problem" if worst[1] >= many and not last else "warning"
        if severity == "warning" and run.loss is not None and progress(run.loss).gained >= self.arrived:
            severity = "hint"  # answers that are sure push units to their ends
        yield self.finding(
            severity,
            f"In the last third of the run {share(worst[1])} of the units of {worst[0]} are {self.word} at a typical "
            f"step (at the first step {share(worst[2])}); {len(names)} of {total} layers ({named(names)}) have more "
            f"than {share(few)}.",
            confidence=sureness(worst[1], few, 0.3),
            layers=names,
            steps=(int(found.steps[-max(5, len(found.steps) // 3) :][0]), int(found.steps[-1])),
            numbers={"largest share": worst[1], "share at the first step": worst[2], "layers": len(names)},
            curves=[found.curve(row) for *_, row in sorted(layers, key=lambda item: -item[1])[:4]],
            reference=few,
            advice=self.advice if worst[2] < few else tuple(a for a in self.advice if a not in self.later),
        )


@rule
class DeadUnits(Units):
    """ReLU units that are zero for every example of a batch, step after step."""

    name = "dead-units"
    title = "Units are dead"
    follows = (
        "learning-rate-high",
        "weights-collapse",
        "exploding-gradients",
    )
    lasting = True
    word = "dead"
    source = "Lu et al. 2019, arXiv:1903.06733"
    needs = ("activation/dead",)
    later = ("lower the learning rate or warm it up: a large step throws units to the side without a gradient",)
    advice = (
        *later,
        "look for large negative biases and inputs that are not centred",
        "LeakyReLU or GELU, which keep a gradient",
    )
    few: float = threshold(0.67, "share of a layer's units from which it is told", high=1)
    many: float = threshold(0.9, "share from which it is a problem", high=1)


@rule
class SaturatedUnits(Units):
    """Sigmoid or tanh outputs at the ends of their range, where the gradient is nearly zero."""

    name = "saturated-units"
    title = "Units are saturated"
    follows = ("learning-rate-high",)
    lasting = True
    word = "saturated"
    source = "Glorot and Bengio 2010, section 3"
    needs = ("activation/saturated",)
    later = ("a lower learning rate: at the first step they were not saturated",)
    advice = (
        *later,
        "scale the inputs to about zero mean and unit spread",
        "smaller first weights (Glorot's initialization)",
        "normalization before the activation",
    )
    few: float = threshold(0.5, "share of a layer's outputs from which it is told", high=1)
    many: float = threshold(0.7, "share from which it is a problem", high=1)
