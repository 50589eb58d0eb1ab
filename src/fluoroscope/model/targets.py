"""Targets: which number of the output is to be explained.

| target | score of an example |
|---|---|
| ``"predicted"``, ``"top3"`` | the class with the largest score; the three largest (a target axis K) |
| ``281``, ``"tabby"`` | that class, by number or by name |
| list or array (N,) | one class per example; (N, K) several per example |
| bool mask shaped like an example's output | the sum over the mask; (N, ...) is a mask for each example |
| float tensor shaped like an example's output | the dot product with it; (N, ...) likewise |
| ``Region(category, mask)`` | the category's scores (N, C, H, W) summed over a region |
| ``Token(category, position)`` | the category's score at one position of (N, L, V) |
| ``Similarity(reference)`` | how much the output, an embedding, is like a reference |
| ``Detection(category, box)`` | the score of the detected box that fits the given one best |
| callable | its result (N,) or (N, K), called with the network's whole output |

Regions and the three that follow (:mod:`fluoroscope.model.tasks`) take one mask, reference or box for all examples or
one for each of them.

Outputs (N, C) are classes; (N,) and (N, 1) have one score, number 0; (N, L, V) are tokens, read at the last position;
(N, C, H, W) are dense: a class is averaged over all positions. Scores are logits where the network ends in a softmax or
sigmoid that can be seen; the result's notes say so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
import torch

from fluoroscope.arguments import checked
from fluoroscope.errors import FluoroscopeError, InputError, NumericalError, TargetError, nearest
from fluoroscope.model.memory import out_of_memory
from fluoroscope.model.outputs import one_of_several
from fluoroscope.model.tasks import Detection, Token, as_numbers

__all__ = ["Picked", "Region", "RowTarget", "Target", "TargetLike", "class_scores"]

TargetLike = Any
"""int, str, list, array, tensor, Region or callable: see this module's table."""


@checked
@dataclass(frozen=True)
class Region:
    """Sum of a category's scores over ``mask`` (H, W), or (N, H, W) for each example; all positions without a mask.

    The category is a number, or its name where the names of the classes are known.

    Raises:
        TargetError: the mask is no array of numbers.
    """

    category: int | str
    mask: Any = None

    def __post_init__(self) -> None:
        if self.mask is not None:
            as_numbers(self.mask, "fs.Region: the mask", "(H, W), or (N, H, W) for each example")


@runtime_checkable
class RowTarget(Protocol):
    """A callable target with something of its own for each of ``count`` examples; :meth:`of` gives that of some."""

    def of(self, rows: Sequence[int], count: int) -> Self:
        """The target of the examples ``rows`` of ``count``; rows may repeat."""
        ...

    def __call__(self, output: Any) -> torch.Tensor:
        """(N,) scores of the network's whole output."""
        ...


@dataclass(frozen=True)
class Picked:
    """Scores chosen from an output: ``scores`` (N,) or (N, K), still on the tape; ``indices`` likewise, -1 for no
    class. ``note`` is what had to be assumed.
    """

    scores: torch.Tensor
    indices: np.ndarray[Any, Any]
    labels: tuple[tuple[str, ...], ...]
    note: str | None = None


class Target:
    """A target as the user wrote it, for ``count`` examples in all; batches take their :meth:`part`."""

    def __init__(
        self, wanted: TargetLike, count: int, name_of: Callable[[int], str], classes: Sequence[str] | None = None
    ) -> None:
        self.wanted = self._per_example(wanted, count, classes)
        self.rows: Sequence[int] = range(count)
        self.total = count
        self.name_of = name_of
        self.classes = classes

    def part(self, start: int, stop: int) -> Target:
        """The target of examples ``start`` to ``stop``."""
        return self._of(range(start, stop))

    def _of(self, rows: Sequence[int]) -> Target:
        """The target of some of its examples, which may repeat."""
        clone = object.__new__(Target)
        clone.name_of, clone.classes, clone.total = self.name_of, self.classes, self.total
        clone.rows = [self.rows[row] for row in rows]
        clone.wanted = self.wanted[np.asarray(rows)] if isinstance(self.wanted, np.ndarray) else self.wanted
        return clone

    def settled(self, picked: Picked, output: torch.Tensor) -> Callable[[Sequence[int]], Target]:
        """The target of variants of examples, by the examples' rows: the same classes as picked here for ``output``."""
        classes = picked.indices if isinstance(self.wanted, (str, np.ndarray)) else None

        def target(rows: Sequence[int]) -> Target:
            clone = self._of(rows)
            if classes is not None:
                clone.wanted = classes[np.asarray(rows)]
            return clone

        return target

    @property
    def description(self) -> str:
        """The target in a few words, for the provenance."""
        wanted = self.wanted
        if isinstance(wanted, np.ndarray):
            return str(wanted.tolist()) if wanted.size <= 16 else f"one of {wanted.size} per example"
        if isinstance(wanted, torch.Tensor):
            return f"{'mask' if wanted.dtype == torch.bool else 'direction'} {tuple(wanted.shape)}"
        if isinstance(wanted, Region):
            return f"{self.name_of(int(wanted.category))}, {self._extent(wanted.mask)}"
        return getattr(wanted, "__qualname__", None) or str(wanted)

    def _extent(self, mask: Any) -> str:
        """How large a region is; from the first to the last of these examples where it has a mask for each of them."""
        if mask is None:
            return "all positions"
        sizes = torch.as_tensor(mask) != 0
        if sizes.ndim < 3:
            return f"region of {int(sizes.sum())} positions"
        counts = [int(sizes[row].sum()) for row in self.rows] if len(sizes) == self.total else [int(sizes.sum())]
        low, high = min(counts), max(counts)
        return f"region of {low} positions" if low == high else f"regions of {low} to {high} positions"

    def more_than(self, picked: Picked) -> int | None:
        """How many outputs there are, where ``topK`` asks for more of them; else None."""
        if not isinstance(self.wanted, str) or self.wanted == "predicted" or picked.scores.ndim != 2:
            return None
        return picked.scores.shape[1] if picked.scores.shape[1] < int(self.wanted[3:]) else None

    def _per_example(self, wanted: Any, count: int, classes: Sequence[str] | None) -> Any:
        if isinstance(wanted, (str, bytes)) and not _is_rank(wanted):
            return np.full(count, _class_number(str(wanted), classes))
        if isinstance(wanted, bool):
            raise TargetError("a target can't be a single truth value", got=wanted, expected="a class number or a mask")
        if isinstance(wanted, (int, np.integer)):
            return np.full(count, int(wanted))
        if isinstance(wanted, torch.Tensor):
            if wanted.is_floating_point() or wanted.dtype == torch.bool:
                return wanted
            wanted = wanted.detach().cpu().numpy()
        if isinstance(wanted, np.ndarray) and wanted.dtype.kind in "fb":
            return torch.from_numpy(wanted)
        if isinstance(wanted, (list, tuple, range, np.ndarray)):
            return self._list(wanted, count, classes)
        if isinstance(wanted, (Region, Token, Detection)):
            return replace(wanted, category=_numbered(wanted.category, classes))
        if isinstance(wanted, str) or callable(wanted):
            return wanted
        raise TargetError(
            "a target of this type is not understood",
            got=type(wanted).__name__,
            expected="int, str, list, mask, tensor, Region or callable",
        )

    def _list(self, wanted: Any, count: int, classes: Sequence[str] | None) -> np.ndarray[Any, Any]:
        try:
            numbers = np.asarray(_numbered(wanted, classes))
        except ValueError as error:
            raise TargetError(
                "the list of targets is ragged", got=str(error), expected="(N,) or (N, K) class numbers"
            ) from error
        if numbers.dtype.kind not in "iu" or numbers.ndim not in (1, 2) or len(numbers) != count:
            raise TargetError(
                "the list of targets does not fit the examples",
                got=f"shape {numbers.shape}, {numbers.dtype}",
                expected=f"({count},) or ({count}, K) class numbers, one row per example",
                remedy="for several targets of one example write [[3, 5]]",
            )
        return numbers

    def pick(self, output: torch.Tensor, whole: Any = None) -> Picked:
        """The scores of this target in ``output``, the network's scores for a batch.

        Raises:
            TargetError: an index out of range, a mask, direction or callable that does not fit, a callable that fails.
            InputError: more or fewer names of classes than outputs.
            NumericalError: NaN among the scores that were asked for.
        """
        if not isinstance(self.wanted, (str, np.ndarray)):
            scores = self._special(output, output if whole is None else whole)
            picked = Picked(
                scores,
                np.full(tuple(scores.shape), -1),
                self._labels(len(scores), scores.shape[1] if scores.ndim > 1 else 1),
            )
        else:
            picked = replace(self._classes(class_scores(output)), note=one_of_several(whole))
            self._check_names(output)
        if not bool(torch.isfinite(picked.scores).all()):
            bad = int((~torch.isfinite(picked.scores)).sum())
            raise NumericalError(
                "the network's score of the target is not a number",
                got=f"{bad} of {picked.scores.numel()} scores NaN or infinite",
            )
        return picked

    def _check_names(self, output: torch.Tensor) -> None:
        """Names that are not those of the outputs would be told of others. Tokens may have more scores than names."""
        if self.classes is None or output.ndim == 3:
            return
        names, count = len(self.classes), class_scores(output).shape[1]
        if names != count:
            raise InputError(
                "the names of classes are not those of this network's outputs",
                got=f"{names:,} {'name' if names == 1 else 'names'}",
                expected=f"{count:,}, one for each output, in their order",
                remedy="fs.Subject(model, classes=[...]), or none",
            )

    def _labels(self, count: int, each: int) -> tuple[tuple[str, ...], ...]:
        """Labels of ``count`` scores of a target that is no class, ``each`` per example."""
        if isinstance(self.wanted, Region) and count == len(self.rows):
            return tuple((self._of([row]).description,) * each for row in range(count))
        return ((self.description,) * each,) * count

    def _classes(self, scores: torch.Tensor) -> Picked:
        if isinstance(self.wanted, str):
            count = 1 if self.wanted == "predicted" else min(int(self.wanted[3:]), scores.shape[1])
            best = scores.detach().topk(count, dim=1).indices
            indices = best[:, 0] if self.wanted == "predicted" else best
        else:
            low, high = int(self.wanted.min()), int(self.wanted.max())
            if low < 0 or high >= scores.shape[1]:
                raise TargetError(
                    "the target is out of range",
                    got=low if low < 0 else high,
                    expected=f"0 to {scores.shape[1] - 1}: the network has {scores.shape[1]} outputs",
                )
            indices = torch.as_tensor(self.wanted, device=scores.device)
        flat = indices if indices.ndim == 2 else indices[:, None]
        chosen = scores.gather(1, flat)
        numbers = indices.cpu().numpy()
        labels = tuple(tuple(self.name_of(int(i)) for i in row) for row in flat.cpu().numpy())
        return Picked(chosen if indices.ndim == 2 else chosen[:, 0], numbers, labels)

    def _special(self, output: torch.Tensor, whole: Any) -> torch.Tensor:
        wanted = self.wanted
        if isinstance(wanted, Region):
            return self._region(output, wanted)
        if isinstance(wanted, torch.Tensor):
            return self._weighted(output, wanted)
        expected = (len(output), len(self.rows))  # detections are no tensor with a row per example
        scores = self._called(wanted, whole)
        if not isinstance(scores, torch.Tensor) or scores.ndim not in (1, 2) or len(scores) not in expected:
            got = tuple(scores.shape) if isinstance(scores, torch.Tensor) else type(scores).__name__
            raise TargetError(
                "the target's callable gave something else than scores",
                got=got,
                expected=f"a tensor ({len(output)},) or ({len(output)}, K)",
            )
        return scores

    def _called(self, wanted: Any, whole: Any) -> Any:
        """What a function of the user's makes of the whole output; its error is told as its own."""
        try:
            return (wanted.of(self.rows, self.total) if isinstance(wanted, RowTarget) else wanted)(whole)
        except FluoroscopeError:
            raise
        except Exception as error:
            if out_of_memory(error):
                raise
            shape = f" {tuple(whole.shape)}" if isinstance(whole, torch.Tensor) else ""
            raise TargetError(
                f"the target's function failed: {type(error).__name__}",
                got=f"{self.description}, called with the network's output, {type(whole).__name__}{shape}: {error}",
                expected="a function of the whole output that returns scores (N,) or (N, K)",
            ) from error

    def _region(self, output: torch.Tensor, region: Region) -> torch.Tensor:
        category = int(region.category)
        if output.ndim < 3 or not 0 <= category < output.shape[1]:
            raise TargetError(
                "the region does not fit the output",
                got=f"category {category}, output {tuple(output.shape)}",
                expected=f"category 0 to {output.shape[1] - 1}" if output.ndim >= 3 else "an output (N, C, H, W)",
            )
        scores = output[:, category]
        if region.mask is None:
            return scores.flatten(1).sum(1)
        mask = torch.as_tensor(region.mask)
        if not mask.any():
            raise TargetError("the region is empty", got="a mask that marks nothing", expected="at least one position")
        return self._weighted(scores, mask)

    def _weighted(self, output: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """The sum of an example's output times weights of its shape, or times those of its own row."""
        shape, given = tuple(output.shape[1:]), tuple(weights.shape)
        if given == (self.total, *shape):
            weights = weights[torch.as_tensor(self.rows, device=weights.device)]
        elif given != shape:
            raise TargetError(
                "the mask or direction does not fit the output",
                got=f"shape {given}",
                expected=f"{shape}, an example's output, or {(self.total, *shape)}, one for each example",
            )
        weights = weights.to(output.device, output.dtype)
        return (output * weights).flatten(1).sum(1) if output.ndim > 1 else output * weights


def _is_rank(text: str | bytes) -> bool:
    return isinstance(text, str) and (text == "predicted" or re.fullmatch(r"top[1-9]\d*", text) is not None)


def _numbered(wanted: Any, classes: Sequence[str] | None) -> Any:
    """A class or a list of them, names replaced by numbers."""
    if isinstance(wanted, str):
        return _class_number(wanted, classes)
    if isinstance(wanted, (list, tuple)) and any(isinstance(w, str) for w in wanted):
        return [_numbered(w, classes) for w in wanted]
    return wanted


def _class_number(name: str, classes: Sequence[str] | None) -> int:
    names = [str(c) for c in classes or ()]
    if name in names:
        return names.index(name)
    loose = [i for i, c in enumerate(names) if name.lower() in [part.strip().lower() for part in c.split(",")]]
    if len(loose) == 1:
        return loose[0]
    if re.fullmatch(r"top-?\d+", name):
        raise TargetError("no number of classes that can be shown", got=name, expected="top1, top2, ...")
    raise TargetError(
        "no class of that name" if names else "the target is a name, and the names of the classes are not known",
        got=name,
        expected="'predicted', 'top5', a class number, or a class name" + _listed(names),
        nearest=nearest(name, names),
        remedy=None if names else "give them: fs.Subject(model, classes=[...]), or --classes FILE",
    )


def _listed(names: Sequence[str]) -> str:
    """The first names of classes, for messages."""
    return f": {', '.join(names[:10])}{', ...' if len(names) > 10 else ''}" if names else ""


def class_scores(output: torch.Tensor) -> torch.Tensor:
    """(N, classes) of an output of any rank, as the module's docstring says."""
    if output.ndim == 1:
        return output[:, None]
    if output.ndim == 2:
        return output
    if output.ndim == 3:
        return output[:, -1]
    if output.ndim in (4, 5):
        return output.flatten(2).mean(2)
    raise TargetError(
        "the network's output has no classes",
        got=f"shape {tuple(output.shape)}",
        expected="(N, classes)",
        remedy="give a callable: target=lambda output: ...",
    )
