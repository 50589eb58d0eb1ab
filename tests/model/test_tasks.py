"""Targets of tasks: tokens, embeddings, boxes; for all examples, for each of them, and in batches."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import nn

import fluoroscope as fs
from fluoroscope.errors import TargetError
from fluoroscope.model.outputs import main_output
from fluoroscope.model.targets import Region, Target
from fluoroscope.model.tasks import Detection, Similarity, Token, overlaps

BOXES = torch.tensor([[[0.0, 0, 4, 4], [2, 2, 6, 6], [8, 8, 9, 9]]] * 2)
SCORES = torch.tensor([[[0.9, 0.1], [0.2, 0.6], [0.1, 0.8]], [[0.3, 0.7], [0.6, 0.4], [0.1, 0.9]]])


def pick(wanted: Any, output: Any, count: int = 2) -> torch.Tensor:
    return Target(wanted, count, str).pick(main_output(output), output).scores


def test_token_reads_one_place_of_each_example() -> None:
    output = torch.arange(24.0).reshape(2, 3, 4)
    assert pick(Token(2), output).tolist() == [10.0, 22.0]
    assert pick(Token([1, 3], [0, -2]), output).tolist() == [1.0, 19.0]
    for wrong in (Token(4), Token(0, 3), Token([0, 1, 2])):
        with pytest.raises(TargetError):
            pick(wrong, output)
    with pytest.raises(TargetError, match="N, L, V"):
        pick(Token(0), output[:, 0])


@pytest.mark.parametrize(
    ("measure", "formula"),
    [
        ("cosine", lambda x, r: x @ r / np.linalg.norm(x) / np.linalg.norm(r)),
        ("dot", lambda x, r: x @ r),
        ("distance", lambda x, r: -np.linalg.norm(x - r)),
    ],
)
def test_similarity_by_its_formula(measure: str, formula: Any) -> None:
    output, references = torch.randn(2, 5, dtype=torch.float64), torch.randn(2, 5, dtype=torch.float64)
    expected = [formula(x, r) for x, r in zip(output.numpy(), references.numpy(), strict=True)]
    np.testing.assert_allclose(pick(Similarity(references, measure), output).numpy(), expected, rtol=1e-12)
    expected = [formula(x, references[1].numpy()) for x in output.numpy()]
    np.testing.assert_allclose(pick(Similarity(references[1], measure), output).numpy(), expected, rtol=1e-12)


def test_similarity_says_what_does_not_fit() -> None:
    with pytest.raises(TargetError, match="reference"):
        pick(Similarity(torch.ones(4)), torch.ones(2, 5))
    with pytest.raises(TargetError, match="measure"):
        pick(Similarity(torch.ones(5), "angle"), torch.ones(2, 5))


def slow_overlap(a: list[float], b: list[float]) -> float:
    """Intersection over union counted in cells of a tenth."""
    grid = (np.arange(120) + 0.5) / 10
    inside = [
        (grid[None] > x0) & (grid[None] < x1) & (grid[:, None] > y0) & (grid[:, None] < y1) for x0, y0, x1, y1 in (a, b)
    ]
    return float((inside[0] & inside[1]).sum() / (inside[0] | inside[1]).sum())


def test_overlap_is_the_share_of_area() -> None:
    wanted = [1.0, 1.0, 5.0, 6.0]
    found = overlaps(BOXES[0], torch.tensor(wanted))
    np.testing.assert_allclose(found, [slow_overlap(b.tolist(), wanted) for b in BOXES[0]], atol=1e-6)


def forms() -> list[Any]:
    """The same detections as five kinds of detector give them; the second and third as probabilities."""
    centered = torch.cat([(BOXES[..., :2] + BOXES[..., 2:]) / 2, BOXES[..., 2:] - BOXES[..., :2]], -1)
    listed = [
        {
            "boxes": boxes.repeat(2, 1),
            "scores": scores.T.reshape(-1),
            "labels": torch.tensor([0] * 3 + [1] * 3),
        }
        for boxes, scores in zip(BOXES, SCORES, strict=True)
    ]
    return [
        (SCORES, BOXES),
        {"pred_logits": SCORES, "pred_boxes": centered},
        SimpleNamespace(logits=SCORES, pred_boxes=centered),
        listed,
        {"boxes": BOXES, "scores": SCORES},
    ]


@pytest.mark.parametrize("number", range(5))
def test_detection_takes_the_box_that_fits(number: int) -> None:
    output = forms()[number]
    if isinstance(output, SimpleNamespace):
        found = Detection(1, (2.0, 2, 6, 6))(output)
        best = Detection(1, (2.0, 2, 6, 6), overlap=True)(output)
    else:
        found = pick(Detection(1, (2.0, 2, 6, 6)), output)
        best = pick(Detection(1, (2.0, 2, 6, 6), overlap=True), output)
    expected = [
        max((slow_overlap(b.tolist(), [2.0, 2, 6, 6]) * float(s[1]), float(s[1])) for b, s in zip(bs, ss, strict=True))
        for bs, ss in zip(BOXES, SCORES, strict=True)
    ]
    np.testing.assert_allclose(found, [score for _, score in expected], rtol=1e-5)
    np.testing.assert_allclose(best, [fit for fit, _ in expected], rtol=1e-4)


def test_detection_per_example_and_mistakes() -> None:
    output = (SCORES, BOXES)
    each = Detection(0, torch.tensor([[0.0, 0, 4, 4], [2, 2, 6, 6]]))
    np.testing.assert_allclose(pick(each, output), [0.9, 0.6])
    for wrong in (Detection(0, (4.0, 0, 1, 1)), Detection(2, (0.0, 0, 1, 1)), Detection(0, (0.0, 0, 1, 1), "yolo")):
        with pytest.raises(TargetError):
            pick(wrong, output)
    with pytest.raises(TargetError, match="detections"):
        pick(Detection(0, (0.0, 0, 1, 1)), SCORES)


def test_what_a_detector_gave_instead_is_told() -> None:
    with pytest.raises(TargetError, match="detections") as failed:
        pick(Detection(0, (0.0, 0, 1, 1)), {"boxes": BOXES, "classes": SCORES})
    assert failed.value.got == f"dict of boxes {tuple(BOXES.shape)}, classes {tuple(SCORES.shape)}"


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: fs.Similarity(None), "the reference is no array of numbers"),
        (lambda: fs.Similarity([[1.0], [2.0, 3.0]]), "the reference is no array of numbers"),
        (lambda: fs.Similarity([1.0], measure="l2"), "no such measure"),
        (lambda: fs.Detection(1, None), "the box is no array of numbers"),
        (lambda: fs.Region(1, "disc"), "the mask is no array of numbers"),
        (lambda: fs.Token(1, cast(Any, None)), "position is no number"),
        (lambda: fs.Token(cast(Any, 1.5)), "category is no number"),
    ],
)
def test_targets_that_are_none_are_told_when_they_are_made(make: Callable[[], Any], what: str) -> None:
    with pytest.raises(TargetError, match=what):
        make()


def test_places_of_tokens_may_be_numbers_of_numpy() -> None:
    output = torch.arange(24.0).view(2, 3, 4)
    np.testing.assert_array_equal(pick(fs.Token(cast(Any, np.int64(2)), cast(Any, np.int64(1))), output), [6, 18])


def test_nothing_detected_is_a_score_of_zero() -> None:
    empty = [{"boxes": torch.zeros(0, 4), "scores": torch.zeros(0), "labels": torch.zeros(0, dtype=torch.int64)}]
    assert pick(Detection(0, (0.0, 0, 1, 1)), empty, count=1).tolist() == [0.0]


class Embedder(nn.Module):
    """Dense output (N, 2, 4, 4), flattened on request."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).tanh()


@pytest.mark.parametrize("method", [fs.Saliency(batch_size=2), fs.Occlusion(window=2, stride=2, batch_size=2)])
@pytest.mark.parametrize("kind", ["mask", "region", "similarity"])
def test_rows_follow_their_examples_through_batches(method: Any, kind: str) -> None:
    """Three examples in batches of two, each with a target of its own, equal three calls with one."""
    torch.manual_seed(0)
    network, inputs = Embedder().double(), torch.randn(3, 1, 4, 4, dtype=torch.float64)
    weights = torch.randn(3, 2, 4, 4, dtype=torch.float64)
    masks = weights > 0
    each = {"mask": masks, "region": Region(1, masks[:, 1]), "similarity": Similarity(weights.flatten(1))}[kind]
    alone = {
        "mask": lambda n: masks[n],
        "region": lambda n: Region(1, masks[n, 1]),
        "similarity": lambda n: Similarity(weights[n].flatten()),
    }[kind]
    found = method(network, inputs, target=each).values
    expected = np.concatenate([method(network, inputs[n : n + 1], target=alone(n)).values for n in range(3)])
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert np.abs(found).max() > 1e-3
