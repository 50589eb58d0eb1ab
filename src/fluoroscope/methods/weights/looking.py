"""What the methods of this family share: they look at the weights of a network, or of files without a network."""

from __future__ import annotations

import fnmatch
import hashlib
import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from fluoroscope.errors import NotApplicable, OptionError, nearest
from fluoroscope.methods.base import Batch, Method, versions
from fluoroscope.methods.progress import progress
from fluoroscope.model.study import Study
from fluoroscope.model.subject import Subject
from fluoroscope.model.targets import TargetLike
from fluoroscope.model.weights import Checkpoint, Weight, weights_of
from fluoroscope.results import Result

__all__ = ["WeightMethod", "chosen", "fingerprint", "with_values"]

Note = Callable[[str], None]
SAMPLE = 64


@dataclass(frozen=True, kw_only=True)
class WeightMethod(Method):
    """Base of methods that look at weights: of a network (left as it is), or of a file given by its path."""

    def check(self, subject: Subject) -> str | None:
        """A network without parameters, or without their values, has nothing to show."""
        found = list(subject.module.parameters())
        if not found:
            return "it has no parameters"
        lost = all(p.device.type == "meta" for p in found)
        return "its parameters are on the meta device and have no values" if lost else None

    @abstractmethod
    def look(self, weights: Sequence[Weight], note: Note, advance: Callable[[], None]) -> Result:
        """The result for the chosen weights; ``note`` takes what had to be assumed, ``advance`` counts tensors."""

    def compute(self, study: Study, batch: Batch) -> Result:
        """The result for the network's parameters, one tensor after the other."""
        weights = self._chosen(weights_of(study.module), study.note)
        return self.look(weights, study.note, lambda: None)

    def __call__(
        self,
        model: nn.Module | Subject | Checkpoint | str | Path,
        inputs: Any = None,
        loss: Any = None,
        *,
        target: TargetLike = "predicted",
    ) -> Any:
        """Run on a network, or on a file or folder of weights; files are read piece by piece."""
        if isinstance(model, (str, Path)):
            model = Checkpoint.open(model)
        if not isinstance(model, Checkpoint):
            return super().__call__(model, inputs, loss, target=target)
        return self._of_file(model)

    def _of_file(self, checkpoint: Checkpoint) -> Any:
        started, notes = time.perf_counter(), list(checkpoint.notes)
        if not checkpoint.weights:
            raise NotApplicable(f"{self.title} does not apply: the file holds no tensors", got=checkpoint.title)
        weights = self._chosen(checkpoint.weights, notes.append)
        with progress(self.title, len(weights)) as bar:
            result = self.look(weights, notes.append, bar.advance)
        entries = {
            "method": self.name,
            "options": self.settings(),
            "model": checkpoint.title,
            "fingerprint": fingerprint(checkpoint.weights),
            "bytes": checkpoint.bytes,
            "seed": self.seed,
            "seconds": round(time.perf_counter() - started, 4),
            "forwards": 0.0,
            "backwards": 0.0,
            "versions": versions(),
            "source": self.source,
        }
        return result.with_meta(**entries, notes=[*result.notes, *dict.fromkeys(notes)])

    def _chosen(self, weights: Sequence[Weight], note: Note) -> list[Weight]:
        return with_values(chosen(weights, getattr(self, "match", "*")), note)


def chosen(weights: Sequence[Weight], pattern: str) -> list[Weight]:
    """The weights one of whose names fits ``pattern``. Raises OptionError where there is none."""
    found = [w for w in weights if any(fnmatch.fnmatchcase(n, pattern) for n in (w.name, *w.shared_with))]
    if not found:
        raise OptionError(
            "no tensor's name fits the pattern",
            got=pattern,
            expected=f"one of {len(weights)} names such as {weights[0].name!r}",
            nearest=nearest(pattern.strip("*."), [w.name for w in weights]),
        )
    return found


def with_values(weights: Sequence[Weight], note: Note) -> list[Weight]:
    """The weights that have values. Raises NotApplicable where none has."""
    there = [w for w in weights if getattr(getattr(w, "tensor", None), "device", None) is None or not w.tensor.is_meta]  # type: ignore[attr-defined]
    if not there:
        raise NotApplicable("the chosen parameters are on the meta device and have no values", got=weights[0].name)
    if len(there) < len(weights):
        note(f"{len(weights) - len(there)} tensors on the meta device have no values and were left out")
    return there


def fingerprint(weights: Sequence[Weight]) -> str:
    """Twelve hexadecimal digits of names, shapes, formats and the first entries of each tensor."""
    found = hashlib.sha256()
    for weight in weights:
        found.update(repr((weight.name, weight.dtype, weight.shape)).encode("utf-8", "surrogatepass"))
        if weight.size:
            found.update(weight.flat(0, min(weight.columns, SAMPLE)).tobytes())
    return found.hexdigest()[:12]
