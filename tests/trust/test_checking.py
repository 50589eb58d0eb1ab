"""All usual checks at once: the table, the words, what fails, what is left out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import fluoroscope as fs
from fluoroscope.errors import NumericalError, OptionError, TargetError
from tests.contract.networks import differences, images, network, snapshot
from tests.trust.networks import PATCH, Backwards, FromInput, Noise, PatchNet, bright


class Failing(FromInput):
    """Always fails."""

    title = "Failing"

    def compute(self, study: Any, batch: Any) -> Any:
        raise NumericalError("planted")


def test_verdicts_in_plain_words() -> None:
    masks = np.repeat(PATCH[None], 8, 0)
    checks = [
        fs.Deletion(),
        fs.Insertion(baseline="zero"),
        fs.SensitivityN(baseline="zero"),
        fs.ROAD(),
        fs.Localization(),
    ]
    methods = [fs.Saliency(), Backwards(), Noise(), Failing()]
    card = fs.check_trust(methods, PatchNet(), bright(8), masks, target=1, checks=checks)
    assert card.title == "Is the picture true?"
    assert "is not claimed" in card.caption
    said = dict(zip(card.rows, card.verdicts, strict=True))
    assert "points at the object" in said["Saliency"]
    assert (
        "Better than a random map and an edge detector by Deletion, Insertion and Sensitivity-n; no better"
        in said["Saliency"]
    )
    assert "Worse than a random map by Deletion" in said["Backwards"]
    assert "better than" not in said["Noise"].lower().replace("no better than", "")
    assert said["Failing"] == "failed: planted"
    assert np.isnan(card.table[card.rows.index("Failing")]).all()
    assert {"deletion", "insertion", "ROAD: gap", "peak on the object"} <= set(card.columns)
    assert card.meta["forwards"] > 100
    assert card.meta["methods"]["Saliency"]["method"] == "saliency"


def test_the_network_is_as_before() -> None:
    model = network()
    before = snapshot(model)
    fs.check_trust("saliency", model, images(2))
    assert differences(before, snapshot(model)) == []


def test_seed_repeats() -> None:
    cards = [fs.check_trust("saliency", PatchNet(), bright(3), target=1, seed=s) for s in (3, 3, 4)]
    np.testing.assert_array_equal(cards[0].table, cards[1].table)
    assert not np.array_equal(cards[0].table, cards[2].table, equal_nan=True)


def test_rows_of_a_table() -> None:
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2))
    card = fs.check_trust(fs.Saliency(), model, torch.randn(5, 6))
    assert "Control: random, 6" in card.rows
    assert "Control: edge detector" not in card.rows
    assert not any(c.startswith("ROAD") for c in card.columns)


def test_series() -> None:
    model = nn.Sequential(
        nn.Conv1d(2, 4, 5, padding=2), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 3)
    )
    card = fs.check_trust([fs.Saliency(), fs.GradCAM()], model, torch.randn(4, 2, 20))
    assert "ROAD: gap" in card.columns
    assert np.isfinite(card.table[0]).all()


def test_channels_last() -> None:
    class Last(PatchNet):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x.movedim(-1, 1))

    first = fs.check_trust(fs.Saliency(), PatchNet(), bright(3).expand(-1, 3, -1, -1), target=1)
    last = fs.check_trust(fs.Saliency(), Last(), bright(3).expand(-1, 3, -1, -1).movedim(1, -1), target=1)
    names = [i for i, c in enumerate(first.columns) if not c.startswith("ROAD")]  # its noise is drawn per layout
    np.testing.assert_allclose(first.table[0, names], last.table[0, names], atol=1e-6)


def test_a_check_that_does_not_apply_is_left_out_with_a_note() -> None:
    card = fs.check_trust("saliency", PatchNet(), bright(3), target=1, checks=[fs.PointingGame(), fs.Deletion(steps=3)])
    assert card.columns == ("deletion",)
    assert any("Pointing game was left out" in note for note in card.notes)


def test_a_verdict_is_put_on_an_attribution() -> None:
    model, x = PatchNet(), bright(3)
    card = fs.check_trust("saliency", model, x, target=1, checks=[fs.Deletion(steps=3)])
    found = fs.with_verdict(fs.Saliency()(model, x, target=1), card)
    assert found.meta["verdict"] == card.verdicts[0]
    assert card.verdicts[0] in found.to_html()
    with pytest.raises(OptionError, match="no such row"):
        fs.with_verdict(found.replace(title="Other"), card)


def test_the_table_is_saved_drawn_and_put_on_a_page(tmp_path: Any) -> None:
    card = fs.check_trust([fs.Saliency(), Failing()], PatchNet(), bright(3), target=1)
    opened = fs.open_result(card.save(tmp_path / "trust"))
    np.testing.assert_array_equal(opened.values, card.values)
    assert opened.meta == card.meta
    assert card.plot() is not None
    assert "Control: random, 12 x 12" in card.to_html()


def test_mistakes_are_told() -> None:
    model, x = PatchNet(), bright(2)
    with pytest.raises(OptionError, match="no method of attribution"):
        fs.check_trust(fs.WeightMaps(), model, x)
    with pytest.raises(OptionError, match="nothing to check"):
        fs.check_trust([], model, x)
    with pytest.raises(OptionError, match="no check"):
        fs.check_trust("saliency", model, x, checks=[])
    with pytest.raises(TargetError, match="one target per example"):
        fs.check_trust("saliency", model, x, target="top2")
    with pytest.raises(NumericalError, match="planted"):
        fs.check_trust(Failing(), model, x)


class Mean(nn.Module):
    """Class 1's score is the mean brightness, which a blur does not change: it says nothing when parts are blurred."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        score = 8 * x.flatten(1).mean(1) - 4
        return torch.stack([torch.zeros_like(score), score], 1)


class Last(nn.Module):
    """Gives class 0 whatever comes in."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        score = 0 * x.flatten(1).sum(1)
        return torch.stack([score + 3, score], 1)


def test_what_is_taken_away_takes_the_score_with_it() -> None:
    model, x = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), Mean()), 0.8 + 0.2 * images(4, (12, 12))[:, :1].sigmoid()
    nn.init.ones_(model[0].weight)
    card = fs.check_trust("saliency", model, x, target=1)
    assert card.meta["baselines"]["Deletion"] == card.meta["baselines"]["Insertion"] == "zero"
    assert any("zero stands for what is taken away, since blur keeps" in note for note in card.notes)
    curve = card.meta["deletion_curves"]["Saliency"]
    assert curve[-1] == pytest.approx(1 / (1 + np.exp(4)), abs=1e-6)
    usual = fs.check_trust("saliency", PatchNet(gain=40), bright(4) - 0.5, target=1)
    assert usual.meta["baselines"]["Deletion"] in ("blur", "mean", "zero")


def test_rows_of_one_kind_have_no_mean_that_says_nothing() -> None:
    model = nn.Sequential(nn.Linear(3, 2, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[0.0, 0, 0], [2, 2, 2]]))
    card = fs.check_trust("saliency", model, 1 + 0.1 * torch.rand(5, 3), target=1)
    assert card.meta["baselines"]["Deletion"] == "zero"


@pytest.mark.parametrize("check", [fs.Deletion(), fs.Insertion(), fs.Deletion(score="accuracy")])
def test_no_verdict_where_the_score_stays(check: Any) -> None:
    model = nn.Sequential(nn.Conv2d(1, 1, 1), Last())
    card = check(fs.Occlusion(), model, images(3, (12, 12))[:, :1])
    said = card.verdicts[0]
    assert said.startswith("not told apart from a random map on 3 inputs (")
    assert said.endswith(" stays with everything taken away)")
