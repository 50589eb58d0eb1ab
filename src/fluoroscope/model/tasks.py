"""Targets of tasks other than classification: a token at a place, likeness to a reference, a detected box.

Each is called with the network's whole output and gives one score per example; what it holds (a position, a reference,
a box) is for all examples or has a row for each of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any, Self

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own habit)

from fluoroscope.arguments import checked
from fluoroscope.errors import TargetError
from fluoroscope.model.outputs import main_output

__all__ = ["Detection", "Similarity", "Token", "as_numbers"]


MEASURES = ("cosine", "dot", "distance")


@checked
@dataclass(frozen=True)
class Token:
    """Score of ``category`` at ``position`` of an output (N, L, V): a masked word, a tag of one token, the next token.

    Both may be lists with an entry for each example. Categories are numbers, or names where those of the classes are
    known. Negative positions count from the end.

    Raises:
        TargetError: no number was given, the output is not (N, L, V), or the position or category lies outside of it.
    """

    category: int | str | Sequence[int | str]
    position: int | Sequence[int] = -1

    def __post_init__(self) -> None:
        for name, value in (("category", self.category), ("position", self.position)):
            if isinstance(value, Integral):
                object.__setattr__(self, name, int(value))  # also NumPy's, in a frozen record
            elif not hasattr(value, "__len__"):
                raise TargetError(
                    f"fs.Token: {name} is no number",
                    got=repr(value),
                    expected="a whole number, or one for each example",
                )

    def of(self, rows: Sequence[int], count: int) -> Self:
        """That of the examples ``rows``."""
        return replace(self, category=_taken(self.category, rows, count), position=_taken(self.position, rows, count))

    def __call__(self, output: Any) -> torch.Tensor:
        """(N,) scores."""
        scores = main_output(output)
        if scores.ndim != 3:
            raise TargetError("a token is scored in outputs (N, L, V)", got=f"an output of shape {tuple(scores.shape)}")
        count, length, size = scores.shape
        places, categories = _numbers(self.position, count, length), _numbers(self.category, count, size)
        return scores[torch.arange(count, device=scores.device), places.to(scores.device), categories.to(scores.device)]


@checked
@dataclass(frozen=True, eq=False)
class Similarity:
    r"""Likeness of an embedding (N, D) to ``reference`` (D,), or (N, D) for each example.

    ``"cosine"``: x.r / (|x| |r|); ``"dot"``: x.r; ``"distance"``: minus the Euclidean distance. Outputs with
    more axes are flattened.

    Raises:
        TargetError: the reference is no array of numbers or does not fit the output, or there is no such measure.
    """

    reference: Any
    measure: str = "cosine"

    def __post_init__(self) -> None:
        as_numbers(self.reference, "fs.Similarity: the reference", "an embedding (D,), or (N, D) for each example")
        if self.measure not in MEASURES:
            raise TargetError("no such measure of similarity", got=self.measure, expected=" or ".join(MEASURES))

    def __str__(self) -> str:
        """What a map is labelled with; the reference's numbers are not."""
        return f"{self.measure}, reference {tuple(torch.as_tensor(self.reference).shape)}"

    def of(self, rows: Sequence[int], count: int) -> Self:
        """That of the examples ``rows``."""
        reference = torch.as_tensor(self.reference)
        if reference.ndim > 1 and len(reference) == count:
            reference = reference[torch.as_tensor(rows, device=reference.device)]
        return replace(self, reference=reference)

    def __call__(self, output: Any) -> torch.Tensor:
        """(N,) likenesses."""
        found = main_output(output).flatten(1)
        reference = torch.as_tensor(self.reference).to(found.device, found.dtype)
        each = reference.ndim > 1 and len(reference) == len(found)
        reference = reference.flatten(1) if each else reference.flatten()[None]
        if reference.shape[1] != found.shape[1]:
            raise TargetError(
                "the reference does not fit the network's embedding",
                got=f"{reference.shape[1]} numbers",
                expected=f"{found.shape[1]}, an example's output",
            )
        if self.measure == "cosine":
            return F.cosine_similarity(found, reference)
        if self.measure == "dot":
            return (found * reference).sum(dim=1)
        distance: torch.Tensor = torch.linalg.vector_norm(found - reference, dim=1)
        return -distance


@checked
@dataclass(frozen=True, eq=False)
class Detection:
    r"""Score of ``category`` of the detected box that fits ``box`` (x0, y0, x1, y1) best; (N, 4) for each example.

    .. math:: s = p_{j^*}(c), \qquad j^* = \arg\max_j \, \mathrm{IoU}(b, b_j) \, p_j(c)

    with the score s as the network gives it (a logit where it gives logits) and p its softmax or sigmoid. With
    ``overlap=True`` the score is the maximum itself, which also falls when the box moves away: for methods that only
    ask for scores, since the choice of the box has no gradient.

    Source: Petsiuk et al., *Black-box Explanation of Object Detectors via Saliency Maps*, 2021, equation 2 without the
    objectness term, which few detectors give. It understands ``logits``/``pred_logits`` (N, Q, C) with ``pred_boxes``
    (centre, size) in the unit square (DETR), ``scores`` (N, Q, C) with ``boxes`` (N, Q, 4), or a pair of them, with
    corners, and lists of ``{"boxes", "scores", "labels"}`` with one dict per example. ``form`` says how boxes are
    written where this is not the detector's usual way. The box is given in the same unit. The category is a number, or
    its name where those of classes are known.

    Raises:
        TargetError: an output that is none of these, a category outside of it, or a box that is no box.
    """

    category: int | str
    box: Any
    form: str | None = None
    overlap: bool = False

    def __post_init__(self) -> None:
        as_numbers(self.box, "fs.Detection: the box", "(x0, y0, x1, y1), or (N, 4) for each example")

    def of(self, rows: Sequence[int], count: int) -> Self:
        """That of the examples ``rows``."""
        box = torch.as_tensor(self.box, dtype=torch.float32)
        return replace(self, box=box[torch.as_tensor(rows)] if box.ndim == 2 and len(box) == count else box)

    def __call__(self, output: Any) -> torch.Tensor:
        """(N,) scores."""
        found = _detections(output, _number(self.category), self.form)
        wanted = torch.as_tensor(self.box, dtype=torch.float32)
        wanted = wanted.expand(len(found), 4) if wanted.shape in ((4,), (1, 4)) else wanted
        if wanted.shape != (len(found), 4) or not bool((wanted[:, 2:] > wanted[:, :2]).all()):
            raise TargetError(
                "not a box", got=f"{self.box}", expected="(x0, y0, x1, y1) with x0 < x1 and y0 < y1, or a row for each"
            )
        return torch.stack([self._best(*one, box) for one, box in zip(found, wanted, strict=True)])

    def _best(
        self, scores: torch.Tensor, chances: torch.Tensor, boxes: torch.Tensor, wanted: torch.Tensor
    ) -> torch.Tensor:
        """Of one example's scores (Q,), probabilities (Q,) and corners (Q, 4); 0 where nothing was detected."""
        if not len(scores):
            return boxes.sum()
        fit = overlaps(boxes, wanted.to(boxes)) * chances
        return fit.max() if self.overlap else scores[int(fit.detach().argmax())]


def overlaps(boxes: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Intersection over union of boxes (Q, 4) with one (4,), corners."""
    sides = (torch.minimum(boxes[:, 2:], wanted[2:]) - torch.maximum(boxes[:, :2], wanted[:2])).clamp(min=0)
    areas = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(1)
    shared = sides.prod(1)
    return shared / (areas + (wanted[2:] - wanted[:2]).prod() - shared).clamp(min=1e-12)


def _detections(output: Any, category: int, form: str | None) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """(scores, probabilities, corners) of every example."""
    if isinstance(output, (list, tuple)) and output and all(isinstance(o, Mapping) for o in output):
        return [_listed(o, category) for o in output]
    scores, boxes, usual = _paired(output)
    if not 0 <= category < scores.shape[2]:
        raise TargetError("the category is out of range", got=category, expected=f"0 to {scores.shape[2] - 1}")
    boxes = _corners(boxes, form or usual)
    chosen = scores[:, :, category]
    return list(zip(chosen, _chances(scores)[:, :, category], boxes, strict=True))


def _listed(one: Mapping[str, Any], category: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    try:
        boxes, scores, kept = one["boxes"], one["scores"], one["labels"] == category
    except KeyError as error:
        raise _unknown(f"a dict without {error}") from error
    return scores[kept], scores[kept], boxes[kept]


def _paired(output: Any) -> tuple[torch.Tensor, torch.Tensor, str]:
    named = output if isinstance(output, Mapping) else vars(output) if hasattr(output, "__dict__") else {}
    boxes, scores = named.get("pred_boxes"), named.get("logits", named.get("pred_logits"))
    if boxes is not None and scores is not None:
        return scores, boxes, "center"
    if isinstance(output, (list, tuple)) and len(output) >= 2:
        scores, boxes = output[0], output[1]
    else:
        scores, boxes = named.get("scores"), named.get("boxes")
    match scores, boxes:
        case torch.Tensor(ndim=3), torch.Tensor(ndim=3) if scores.shape[:2] == boxes.shape[:2] and boxes.shape[2] == 4:
            return scores, boxes, "corners"
    raise _unknown(_outline(output, named))


def _outline(output: Any, named: Mapping[str, Any]) -> str:
    """What a detector's output is: its kind, and the shapes in it by name."""
    parts = named.items() if named else enumerate(output) if isinstance(output, (list, tuple)) else ()
    shapes = [f"{name} {tuple(part.shape)}" for name, part in parts if isinstance(part, torch.Tensor)]
    return f"{type(output).__name__}{' of ' if shapes else ''}{', '.join(shapes)}"


def _unknown(got: str) -> TargetError:
    return TargetError(
        "the output is not understood as detections",
        got=got,
        expected="logits and pred_boxes, scores (N, Q, C) and boxes (N, Q, 4), or dicts of boxes, scores and labels",
        remedy="give a callable: target=lambda output: ... one score per example",
    )


def _corners(boxes: torch.Tensor, form: str) -> torch.Tensor:
    if form == "corners":
        return boxes
    if form != "center":
        raise TargetError("no such form of boxes", got=form, expected="corners or center")
    return torch.cat([boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2], -1)


def _chances(scores: torch.Tensor) -> torch.Tensor:
    """Probabilities: the scores where they are such already, else their softmax."""
    low, high = torch.aminmax(scores.detach())
    return scores if float(low) >= 0 and float(high) <= 1 else scores.softmax(2)


def _number(category: int | str) -> int:
    """The number of a category; of a name it was found already where the network's classes have names."""
    if isinstance(category, str):
        raise TargetError(
            "the target's category is a name, and the names of the classes are not known",
            got=category,
            remedy="call a method with it and fs.Subject(model, classes=[...]), or give the number",
        )
    return int(category)


def as_numbers(given: Any, what: str, expected: str) -> torch.Tensor:
    """``given`` as a tensor. Raises TargetError where it is no array of numbers."""
    try:
        return torch.as_tensor(given)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TargetError(f"{what} is no array of numbers", got=repr(given), expected=expected) from error


def _taken(given: Any, rows: Sequence[int], count: int) -> Any:
    if isinstance(given, (int, str)):
        return given
    if len(given) != count:
        raise TargetError("one entry for each example is needed", got=len(given), expected=count)
    return [given[row] for row in rows]


def _numbers(given: int | str | Sequence[int | str], count: int, size: int) -> torch.Tensor:
    each = [given] * count if isinstance(given, (int, str)) else given
    numbers = torch.as_tensor([_number(one) for one in each])
    if len(numbers) != count or int(numbers.min()) < -size or int(numbers.max()) >= size:
        raise TargetError("a position or category is out of range", got=numbers.tolist(), expected=f"0 to {size - 1}")
    return numbers % size
