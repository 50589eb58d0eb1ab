"""Targets: each kind of target on each kind of output, and mistakes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn

import fluoroscope as fs
from fluoroscope.errors import InputError, NumericalError, TargetError
from fluoroscope.model.inputs import prepare_inputs
from fluoroscope.model.outputs import main_output, map_first_tensor
from fluoroscope.model.subject import as_subject
from fluoroscope.model.targets import Region, Target
from fluoroscope.model.tasks import Detection, Similarity, Token

CLASSES = ["cat, tabby", "dog", "dog house"]


def pick(wanted: Any, output: torch.Tensor, classes: Any = CLASSES) -> Any:
    return Target(wanted, len(output), lambda i: CLASSES[i] if i < 3 else str(i), classes).pick(output)


OUTPUT = torch.tensor([[0.1, 3.0, 0.2], [5.0, -1.0, 0.3]])


@pytest.mark.parametrize(
    ("wanted", "scores", "indices"),
    [
        ("predicted", [3.0, 5.0], [1, 0]),
        (2, [0.2, 0.3], [2, 2]),
        ("dog", [3.0, -1.0], [1, 1]),
        ("tabby", [0.1, 5.0], [0, 0]),
        ([2, 0], [0.2, 5.0], [2, 0]),
        (["dog house", "dog"], [0.2, -1.0], [2, 1]),
        (torch.tensor([1, 2]), [3.0, 0.3], [1, 2]),
        ("top2", [[3.0, 0.2], [5.0, 0.3]], [[1, 2], [0, 2]]),
        ([[0, 1], [2, 0]], [[0.1, 3.0], [0.3, 5.0]], [[0, 1], [2, 0]]),
        (torch.tensor([True, False, True]), [0.3, 5.3], [-1, -1]),
        (torch.tensor([1.0, -1.0, 0.0]), [-2.9, 6.0], [-1, -1]),
        (lambda o: o[:, 0] * 10, [1.0, 50.0], [-1, -1]),
    ],
)
def test_scores_and_indices(wanted: Any, scores: Any, indices: Any) -> None:
    picked = pick(wanted, OUTPUT)
    torch.testing.assert_close(picked.scores, torch.tensor(scores))
    assert picked.indices.tolist() == indices


def test_labels_are_class_names() -> None:
    assert pick("top2", OUTPUT).labels == (("dog", "dog house"), ("cat, tabby", "dog house"))


def test_outputs_of_other_ranks() -> None:
    assert pick("predicted", torch.tensor([1.5, -2.0]), None).scores.tolist() == [1.5, -2.0]
    tokens = torch.arange(12.0).reshape(1, 4, 3)
    assert pick("predicted", tokens).scores.tolist() == [11.0]  # the last position
    dense = torch.arange(24.0).reshape(1, 3, 2, 4)
    assert pick(1, dense).scores.tolist() == [dense[0, 1].mean()]
    mask = torch.zeros(2, 4)
    mask[0, 1] = mask[1, 3] = 1
    assert pick(Region(2, mask), dense).scores.tolist() == [17.0 + 23.0]
    assert pick(Region(0), dense).scores.tolist() == [28.0]


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (3, "0 to 2"),
        (-1, "0 to 2"),
        ([0], r"\(2,\)"),
        ([[0], [1, 2]], "ragged"),
        ("dogg", "'dog'"),
        (True, "truth value"),
        (1.5, "type"),
        (torch.ones(4), "does not fit the output"),
        (lambda o: 3, "callable"),
        (Region(7), "category 7"),
    ],
)
def test_mistakes(wanted: Any, said: str) -> None:
    with pytest.raises(TargetError, match=said):
        pick(wanted, OUTPUT)


def test_nan_scores() -> None:
    with pytest.raises(NumericalError, match="1 of 2 scores"):
        pick(1, torch.tensor([[0.0, float("nan")], [0.0, 1.0]]), None)


def test_the_main_output_is_found() -> None:
    a, b = torch.rand(2), torch.rand(3)
    assert main_output((a, b)) is a
    assert main_output({"loss": a, "logits": b}) is b
    assert main_output({"ids": torch.tensor([1]), "x9": [None, b]}) is b
    changed = map_first_tensor({"ids": torch.tensor([1]), "h": (a, b)}, lambda t: t * 2)
    assert torch.equal(changed["h"][0], a * 2)
    assert changed["h"][1] is b


@dataclass
class Both:
    """Two outputs by name."""

    species: torch.Tensor
    sex: torch.Tensor


class Heads(nn.Module):
    """Two kinds of classes from the same features, given as ``kind`` says."""

    def __init__(self, kind: Any) -> None:
        super().__init__()
        self.species, self.sex, self.kind = nn.Linear(4, 3), nn.Linear(4, 2), kind

    def forward(self, x: torch.Tensor) -> Any:
        return self.kind(self.species(x), self.sex(x))


def test_which_of_several_outputs_is_read_is_told() -> None:
    x = torch.randn(2, 4)
    told: list[Callable[..., Any]] = [lambda a, b: {"species": a, "sex": b}, lambda a, b: (a, b), Both]
    for kind in told:
        found = fs.Saliency()(Heads(kind), x, target=1)
        assert len(found.notes) == 1
        assert found.notes[0].startswith("the network gives 2 outputs, and the target is read in the first (")
        assert fs.Saliency()(Heads(kind), x, target=lambda output: main_output(output)[:, 1]).notes == ()
    clear: list[Callable[..., Any]] = [
        lambda a, b: {"sex": b, "logits": a},  # a usual name
        lambda a, b: (a, None),
        lambda a, b: (a, b[:, :, None]),  # no scores of classes
        lambda a, b: (a, b.sum()),  # a loss
    ]
    for kind in clear:
        assert fs.Saliency()(Heads(kind), x, target=1).notes == ()


def test_what_a_region_and_a_name_could_be_is_told() -> None:
    output = torch.zeros(2, 3, 4, 4)
    with pytest.raises(TargetError, match="category 0 to 2"):
        pick(Region(3), output)
    with pytest.raises(TargetError, match="the region is empty"):
        pick(Region(1, torch.zeros(4, 4, dtype=torch.bool)), output)
    with pytest.raises(TargetError, match="a class name: cat, tabby, dog, dog house"):
        pick("zebra", OUTPUT)


def test_categories_of_regions_tokens_and_boxes_have_names() -> None:
    dense, mask = torch.arange(24.0).reshape(2, 3, 2, 2), torch.tensor([[True, False], [True, True]])
    named = pick(Region("dog", mask), dense)
    assert named.scores.tolist() == pick(Region(1, mask), dense).scores.tolist() == [4.0 + 6 + 7, 16.0 + 18 + 19]
    tokens, boxes = torch.arange(12.0).reshape(2, 2, 3), torch.tensor([[[0.0, 0, 1, 1]]]).expand(2, 1, 4)
    assert pick(Token(["dog", "tabby"], 0), tokens).scores.tolist() == [1.0, 6.0]
    scores = torch.tensor([[[1.0, 2, 3]], [[4.0, 5, 6]]])
    found = Target(Detection("dog", (0, 0, 1, 1)), 2, CLASSES.__getitem__, CLASSES).pick(scores, (scores, boxes))
    assert found.scores.tolist() == [2.0, 5.0]
    with pytest.raises(TargetError, match="'dog'"):
        pick(Region("dogg", mask), dense)
    with pytest.raises(TargetError, match="names of the classes are not known"):
        Target(Region("dog", mask), 2, str)
    with pytest.raises(TargetError, match="names of the classes are not known"):
        Token("dog")(tokens)


def test_labels_of_regions_and_references_are_short() -> None:
    dense, masks = torch.rand(2, 3, 4, 4), torch.zeros(2, 4, 4, dtype=torch.bool)
    masks[0, :2], masks[1, 0] = True, True
    assert pick(Region("dog", masks[0]), dense).labels == (("dog, region of 8 positions",),) * 2
    assert pick(Region(1), dense).labels == (("dog, all positions",),) * 2
    each = Target(Region(1, masks), 2, CLASSES.__getitem__, CLASSES)
    assert each.pick(dense).labels == (("dog, region of 8 positions",), ("dog, region of 4 positions",))
    assert each.description == "dog, regions of 4 to 8 positions"
    assert each.part(1, 2).pick(dense[1:]).labels == (("dog, region of 4 positions",),)
    likeness = pick(Similarity(torch.rand(300)), torch.rand(2, 300))
    assert likeness.labels == (("cosine, reference (300,)",),) * 2


def test_a_table_of_another_library_is_told_how() -> None:
    class DataFrame:
        pass

    with pytest.raises(InputError, match=r"to_numpy\('float32'\)"):
        prepare_inputs(DataFrame(), as_subject(torch.nn.Linear(2, 2)))
