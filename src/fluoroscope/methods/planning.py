"""Planning: methods that read a layer run together, on one forward for all their layers and one backward per target."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from fluoroscope.errors import FluoroscopeError, NotApplicable
from fluoroscope.methods.base import DEFAULT_BATCH, Batch, Method, provenance
from fluoroscope.methods.progress import Progress
from fluoroscope.methods.sharing import SharedTape, SharingMethod, shared_tape
from fluoroscope.model.inputs import Inputs
from fluoroscope.model.memory import out_of_memory
from fluoroscope.model.study import LayerName, Study
from fluoroscope.model.subject import Subject
from fluoroscope.model.targets import Target, TargetLike
from fluoroscope.results import Attribution, joined

__all__ = ["Together", "plan"]


def plan(methods: Mapping[str, Method]) -> list[dict[str, Method]]:
    """Methods in groups that can run together, in the order asked for; a method by itself is a group of one."""
    groups: dict[Any, dict[str, Method]] = {}
    for name, method in methods.items():
        key = (method.batch_size, method.seed) if isinstance(method, SharingMethod) else name
        groups.setdefault(key, {})[name] = method
    return list(groups.values())


class Together:
    """One run of several sharing methods: their results and errors by name, and the passes that were really spent."""

    def __init__(self, methods: Mapping[str, SharingMethod]) -> None:
        self.methods = dict(methods)
        self.found: dict[str, Attribution] = {}
        self.errors: dict[str, FluoroscopeError] = {}
        self.forwards, self.backwards = 0.0, 0.0
        self._parts: dict[str, list[Attribution]] = defaultdict(list)
        self._facts: dict[str, dict[str, Any]] = defaultdict(dict)
        self._notes: dict[str, list[str]] = defaultdict(list)
        self._own: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])

    def run(self, subject: Subject, data: Inputs, target: TargetLike, bar: Progress) -> None:
        """Every batch through one tape. Raises FluoroscopeError where the tape itself fails: then nothing is kept."""
        first = next(iter(self.methods.values()))
        self._refuse(subject)
        with Study(subject, seed=first.seed) as study:
            study.notes.extend(data.notes)
            data = study.placed(data)
            goal = Target(target, data.count, subject.class_name, subject.classes)
            layers = self._place(study, data)
            size, start = first.batch_size or DEFAULT_BATCH, 0
            while start < data.count and layers:
                stop = min(start + size, data.count)
                batch = Batch(data.part(start, stop), goal.part(start, stop), None, start)
                try:
                    self._batch(study, batch, layers)
                except (RuntimeError, MemoryError) as error:
                    if not out_of_memory(error) or size == 1:
                        raise
                    size = max(1, (stop - start) // 2)
                    study.note(f"memory ran out; batches were cut to {size}")
                    continue
                bar.advance((stop - start) * len(self.methods))
                start = stop
            results = {name: self._joined(study, name) for name in self.methods}
        self.forwards, self.backwards = study.forwards, study.backwards
        self._finish(study, results)

    def _refuse(self, subject: Subject) -> None:
        for name, method in list(self.methods.items()):
            reason = method.check(subject)
            if reason is not None:
                what = f"{method.title} does not apply to this network: {reason}"
                self._drop(name, NotApplicable(what, got=subject.title))

    def _place(self, study: Study, data: Inputs) -> dict[str, LayerName]:
        """The layer of each method; methods that name the same one, or none, look once."""
        layers: dict[str, LayerName] = {}
        known: dict[Any, LayerName] = {}
        for name, method in list(self.methods.items()):
            wanted = getattr(method, "layer", name)
            try:
                if wanted not in known:
                    known[wanted] = method.place(study, data)
            except FluoroscopeError as error:
                self._drop(name, error)
            else:
                layers[name] = known[wanted]
        return layers

    def _batch(self, study: Study, batch: Batch, layers: dict[str, LayerName]) -> None:
        """One tape, read by each method in turn; results are kept once all have theirs, since memory may run out."""
        methods = {n: m for n, m in self.methods.items() if n in layers}
        if not methods:
            return
        shared = shared_tape(study, batch, [layers[n] for n in methods], methods.values())
        made: dict[str, Attribution] = {}
        for name, method in methods.items():
            try:
                made[name] = self._read(study, shared, name, method, layers[name])
            except FluoroscopeError as error:
                self._drop(name, error)
        study.backwards += shared.gradient_cost
        for name, part in made.items():
            self._parts[name].append(part)

    def _read(
        self, study: Study, shared: SharedTape, name: str, method: SharingMethod, layer: LayerName
    ) -> Attribution:
        """One method's part, with facts and notes of its own, and the passes that it alone asked for."""
        facts, notes, forwards, backwards = study.facts, study.notes, study.forwards, study.backwards
        study.facts, study.notes = self._facts[name], self._notes[name]
        shared.gradient_used = False
        try:
            return method.from_tape(shared, layer)  # type: ignore[no-any-return]
        finally:
            study.facts, study.notes = facts, notes
            own = self._own[name]
            own[0] += study.forwards - forwards
            own[1] += study.backwards - backwards
            own[1] += shared.gradient_cost if shared.gradient_used else 0

    def _drop(self, name: str, error: FluoroscopeError) -> None:
        self.errors[name] = error
        self.methods.pop(name, None)
        self._parts.pop(name, None)

    def _joined(self, study: Study, name: str) -> Attribution:
        """All batches of one method, after its last word."""
        study.facts, facts = self._facts[name], study.facts
        study.notes, notes = self._notes[name], study.notes
        try:
            return self.methods[name].finish(joined(self._parts[name]), study)  # type: ignore[no-any-return]
        finally:
            study.facts, study.notes = facts, notes

    def _finish(self, study: Study, results: dict[str, Attribution]) -> None:
        """Provenance: passes are told as if the method had run alone, with the names of those that shared them."""
        shared = study.forwards - sum(forwards for forwards, _ in self._own.values())
        common: dict[str, Any] = {}
        for name, result in results.items():
            method, (forwards, backwards) = self.methods[name], self._own[name]
            common = common or provenance(method, study, {})  # reading the weights once is enough
            meta = {
                "method": method.name,
                "options": method.settings(),
                "source": method.source,
                "forwards": shared + forwards,
                "backwards": backwards,
                "shared_with": [n for n in results if n != name],
                "notes": [*study.notes, *(n for n in self._notes[name] if n not in study.notes)],
            }
            self.found[name] = result.with_meta(**{**common, **self._facts[name], **meta})
