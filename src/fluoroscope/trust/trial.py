"""Trial: methods of attribution, run once on the same inputs and targets, for checks to look at."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn

from fluoroscope import axes as ax
from fluoroscope.errors import FluoroscopeError, InputError, NotApplicable, OptionError, TargetError
from fluoroscope.methods.attributing import to_numpy
from fluoroscope.methods.base import Method
from fluoroscope.methods.explain import as_method
from fluoroscope.model.inputs import Inputs, prepare_inputs
from fluoroscope.model.source import chosen_input
from fluoroscope.model.study import Study
from fluoroscope.model.subject import Subject, as_subject
from fluoroscope.model.targets import Target, TargetLike
from fluoroscope.results import Array, Attribution
from fluoroscope.trust.controls import edge_map, random_map
from fluoroscope.trust.places import Places, on_places
from fluoroscope.trust.scorer import Scorer

__all__ = ["EDGES", "Trial"]

EDGES = "Control: edge detector"


@dataclass
class Trial:
    """What all checks of one call share.

    ``methods`` and ``maps`` are by the name of their row; a method's layer is pinned to the one that it found, and
    ``wanted`` is the target pinned to the classes that the network as it is gives, so that both stay the same when
    weights or inputs are changed. ``errors`` has the methods that failed. ``masks`` (N, H, W) is the known truth.
    """

    subject: Subject
    inputs: Inputs
    wanted: TargetLike
    methods: dict[str, Method]
    maps: dict[str, Attribution]
    errors: dict[str, FluoroscopeError]
    masks: Array | None = None
    seed: int = 0
    batch_size: int = 32
    notes: list[str] = field(default_factory=list)
    forwards: float = 0.0
    backwards: float = 0.0
    started: float = field(default_factory=time.perf_counter)
    facts: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls, methods: Any, model: nn.Module | Subject, inputs: Any, masks: Any, target: TargetLike, **options: Any
    ) -> Trial:
        """Run ``methods`` on ``inputs``. One that fails with a FluoroscopeError does not stop the others.

        Raises:
            OptionError: no method named, or one that gives no attribution.
            TargetError: more than one target per example.
            FluoroscopeError: every method failed; it is the first one's error.
        """
        subject = as_subject(model)
        data = prepare_inputs(inputs, subject)
        trial = cls(subject, data, target, {}, {}, {}, None, **options)
        trial.wanted = trial._pinned(target)
        for method in _listed(methods):
            trial._run(method)
        if not trial.maps:
            raise next(iter(trial.errors.values()))
        trial.masks = _checked_masks(masks, trial)
        return trial

    def _pinned(self, target: TargetLike) -> TargetLike:
        with self.study() as study:
            self.inputs = study.placed(self.inputs)
            goal = Target(target, self.inputs.count, self.subject.class_name, self.subject.classes)
            found = []
            for start, stop in self.inputs.batches(self.batch_size):
                with torch.no_grad():
                    output, scores = study.scored(self.inputs.part(start, stop))
                found.append(goal.part(start, stop).pick(scores, output))
        if any(picked.scores.ndim > 1 for picked in found):
            raise TargetError(
                "a check takes one target per example",
                got=goal.description,
                expected="'predicted', a class, or a list of one class per example",
            )
        indices = np.concatenate([picked.indices for picked in found])
        return target if (indices < 0).all() else indices

    def _run(self, method: Method) -> None:
        try:
            self._check_input(method)
            found: Attribution = method(self.subject, self.inputs, target=self.wanted)
        except FluoroscopeError as error:
            self.errors[self._row(method.title)] = error
            return
        row = self._row(found.title or method.title)
        options = {f.name: getattr(method, f.name) for f in dataclasses.fields(method)}
        # By name, since the modules of a private copy are others.
        pinned = {k: str(Study(self.subject).layer(v)) for k, v in options.items() if isinstance(v, nn.Module)}
        if "layer" in options and found.meta.get("layer"):
            pinned["layer"] = found.meta["layer"]
        self.methods[row], self.maps[row] = method.replace(**pinned), found
        self._spent(found)

    def _check_input(self, method: Method) -> None:
        """Raise NotApplicable where a method explains another input than the one that checks change."""
        which = getattr(method, "input", None)
        if which is not None and chosen_input(self.inputs, which) is not self.inputs.main:
            raise NotApplicable(
                "checks change the first input of real numbers, and this map is about another",
                got=f"{method.title} with input={which!r}",
                remedy="check a module whose forward takes that input first",
            )

    def _row(self, title: str) -> str:
        taken, row, number = {*self.maps, *self.errors}, title, 2
        while row in taken:
            row, number = f"{title} {number}", number + 1
        return row

    def explained(self, row: str, subject: Subject, inputs: Inputs, wanted: TargetLike | None = None) -> Attribution:
        """The map of method ``row`` for another network, or other inputs."""
        found: Attribution = self.methods[row](subject, inputs, target=self.wanted if wanted is None else wanted)
        self._spent(found)
        return found

    def _spent(self, found: Attribution) -> None:
        self.forwards += found.meta.get("forwards", 0)
        self.backwards += found.meta.get("backwards", 0)

    @contextmanager
    def study(self) -> Iterator[Study]:
        """The network as it is, guarded; what is spent is counted."""
        with Study(self.subject, seed=self.seed) as study:
            yield study
        self.forwards += study.forwards
        self.note(*study.notes)

    def scorer(self, study: Study, kind: str) -> Scorer:
        """Scores of changed inputs."""
        goal = Target(self.wanted, self.inputs.count, self.subject.class_name, self.subject.classes)
        return Scorer(study, self.inputs, goal, kind, self.batch_size)

    def note(self, *texts: str) -> None:
        """Add what had to be assumed, once."""
        self.notes.extend(t for t in dict.fromkeys(texts) if t not in self.notes)

    # ------------------------------------------------------------------ maps

    @cached_property
    def places(self) -> Places:
        """The places of the input that the maps speak of."""
        return Places.of(self.inputs, next(iter(self.maps.values())))

    @cached_property
    def controls(self) -> dict[str, Attribution]:
        """Maps that know nothing of the network: random ones at every resolution, and the edges of pictures."""
        found: dict[str, Attribution] = {}
        for like in self.maps.values():
            control = random_map(like, self.seed)
            found.setdefault(control.title, control)
        if self.places.axes == (ax.H, ax.W):
            pictures = self.inputs.main
            grey = pictures if self.places.channel is None else pictures.mean(self.places.channel)
            edges = edge_map(like, to_numpy(grey))
            found[edges.title] = edges
        return found

    def chance(self, row: str) -> str:
        """The name of the random control at the resolution of method ``row``."""
        return random_map(self.maps[row], self.seed).title

    def fields(self, controls: bool) -> Mapping[str, Array]:
        """By row, the maps on the places of the input, (N, *places) float64; controls after the methods."""
        return {row: on_places(found, self.places) for row, found in self.rows(controls).items()}

    def rows(self, controls: bool) -> dict[str, Attribution]:
        """The maps of the methods, and of the controls where they are wanted."""
        return {**self.maps, **(self.controls if controls else {})}


def _listed(methods: Any) -> list[Method]:
    single = isinstance(methods, (str, type, Method))
    made = [as_method(item, Attribution) for item in ([methods] if single else methods)]
    if not made:
        raise OptionError("there is nothing to check", got="no method", expected="one such as 'grad-cam'")
    return made


def _checked_masks(masks: Any, trial: Trial) -> Array | None:
    if masks is None:
        return None
    made = np.asarray(masks.detach().cpu() if isinstance(masks, torch.Tensor) else masks)
    expected = (trial.inputs.count, *trial.places.shape)
    if made.shape != expected:
        raise InputError("the masks do not fit the inputs", got=f"shape {made.shape}", expected=f"{expected}")
    if made.dtype != bool and not np.isin(made, (0, 1)).all():
        raise InputError("masks say yes or no", got=str(made.dtype), expected="bool, or only 0 and 1")
    made = made.astype(bool)
    if not made.reshape(len(made), -1).any(1).all():
        empty = int(np.flatnonzero(~made.reshape(len(made), -1).any(1))[0])
        raise InputError("a mask marks nothing", got=f"example {empty}", expected="at least one place per example")
    return made
