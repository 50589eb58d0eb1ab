"""Padding that a mask hides: every method of the registry gives a padded text or series what it gets alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import nn

from fluoroscope.errors import FluoroscopeError
from fluoroscope.methods.base import Method
from fluoroscope.methods.registry import methods
from fluoroscope.results import Attribution

LONG, SHORT, WORDS, WIDTH = 6, 4, 12, 8
METHODS = [cls for cls in methods().values() if cls.returns is Attribution]


class Encoder(nn.Module):
    """One block of attention on tokens and their positions, as transformers' networks are called: scores of the text,
    or of each next token (``causal``).
    """

    def __init__(self, causal: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.causal = causal
        self.words, self.places = nn.Embedding(WORDS, WIDTH), nn.Embedding(LONG, WIDTH)
        self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.mix, self.act, self.out = nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH)
        self.head = nn.Linear(WIDTH, WORDS if causal else 3)

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, position_ids: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        x = 3 * self.words(input_ids) + self.places(position_ids)
        likeness = self.query(x) @ self.key(x).mT / WIDTH**0.5
        seen = (attention_mask[:, None] != 0).expand_as(likeness)
        if self.causal:
            seen = seen & torch.ones_like(seen).tril()
        weights = likeness.masked_fill(~seen, -1e9).softmax(2)
        x = x + weights @ self.value(x)
        x = x + self.out(self.act(self.mix(x)))
        if self.causal:
            return {"logits": self.head(x)}
        kept = attention_mask[..., None].to(x)
        return {"logits": self.head((x * kept).sum(1) / kept.sum(1))}


class Waves(nn.Module):
    """Convolutions along a series (N, T, C) that see nothing of the padding."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.second = nn.Conv1d(3, WIDTH, 3, padding=1), nn.Conv1d(WIDTH, WIDTH, 3, padding=1)
        self.act, self.last, self.head = nn.ReLU(), nn.ReLU(), nn.Linear(WIDTH, 3)
        with torch.no_grad():
            for layer in (self.conv, self.second, self.head):
                layer.weight.mul_(4)
            self.head.weight[1].abs_()  # so that there is evidence for class 1

    def forward(self, x: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        kept = attention_mask[:, None].to(x)
        y = self.act(self.conv(x.mT * kept)) * kept
        y = self.last(self.second(y))
        return self.head((y * kept).sum(2) / kept.sum(2))


def texts(left: bool) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], slice]:
    """A batch of a long and a short text, a batch of the short one twice without padding, and where its tokens are."""
    ids = torch.tensor([[3, 7, 2, 9, 4, 11], [5, 8, 6, 10, 0, 0]])
    mask = torch.tensor([[1] * 6, [1] * 4 + [0] * 2])
    places = torch.arange(LONG).expand(2, -1) * mask
    alone = {"input_ids": ids[[1, 1], :SHORT], "attention_mask": mask[[1, 1], :SHORT]}
    alone["position_ids"] = places[[1, 1], :SHORT]
    if left:
        ids, mask, places = (torch.stack([t[0], t[1].roll(2)]) for t in (ids, mask, places))
    both = {"input_ids": ids, "attention_mask": mask, "position_ids": places}
    return both, alone, slice(LONG - SHORT, None) if left else slice(SHORT)


def series(left: bool) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], slice]:
    """The same of series; what stands on the padding is large, so that it would be noticed."""
    x = torch.randn(2, LONG, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    mask = torch.tensor([[1] * 6, [1] * 4 + [0] * 2])
    alone = {"x": x[[1, 1], :SHORT], "attention_mask": mask[[1, 1], :SHORT]}
    x[1, SHORT:] = 50
    if left:
        x, mask = (torch.stack([t[0], t[1].roll(2, 0)]) for t in (x, mask))
    return {"x": x, "attention_mask": mask}, alone, slice(LONG - SHORT, None) if left else slice(SHORT)


CASES = {
    "a text": (lambda: Encoder(False), texts, "mix"),
    "a next token": (lambda: Encoder(True), texts, "mix"),
    "a series": (Waves, series, "last"),
}
NOT = {
    ("a text", "cam"): "no weighted sum",
    ("a next token", "cam"): "does not average",
    **{(c, n): "whole numbers" for c in ("a text", "a next token") for n in ("full-grad", "guided-grad-cam")},
    **{(c, "smooth-grad-cam++"): "whole numbers" for c in ("a text", "a next token")},
    **{(c, n): "laid over" for c in ("a text", "a next token") for n in ("score-cam", "is-cam", "ss-cam")},
    **{(c, "deep-lift"): "does not apply" for c in ("a text", "a next token")},
    **{(c, "sobol"): "can't be mixed" for c in ("a text", "a next token")},
    ("a series", "cam"): "no weighted sum",
}
"""What does not apply, and what is said of it."""


def made(cls: type[Method], layer: str) -> Method:
    names = {f.name for f in dataclasses.fields(cls)}
    few = {
        "samples": 64,
        "window": 1,
        "stride": 1,
        "count": LONG,
        "cells": 3,
        "layer": layer,
        "tolerance": 1e-5,
        "seed": 1,
    }
    if cls.name == "cam":
        del few["layer"]
    return cls(**{k: v for k, v in few.items() if k in names})


@pytest.mark.parametrize("left", [False, True], ids=["right", "left"])
@pytest.mark.parametrize("cls", METHODS, ids=lambda c: c.name)
@pytest.mark.parametrize("case", CASES)
def test_padding_changes_nothing(case: str, cls: type[Method], left: bool) -> None:
    network, given, layer = CASES[case]
    model, (both, alone, place) = network().double().eval(), given(left)
    method = made(cls, layer)

    def found(inputs: Mapping[str, torch.Tensor]) -> Attribution:
        return method(model, inputs, target=1)

    if (case, cls.name) in NOT:
        with pytest.raises(FluoroscopeError, match=NOT[case, cls.name]):
            found(both)
        return
    padded, own = found(both), found(alone)
    values, expected = padded.data[1], own.data[1]
    assert values.shape[-1] == LONG and expected.shape[-1] == SHORT
    np.testing.assert_allclose(padded.scores[1], own.scores[1], rtol=1e-9)
    np.testing.assert_allclose(values[..., place], expected, rtol=1e-5, atol=1e-7)
    rest = np.delete(values, np.arange(LONG)[place], axis=-1)
    np.testing.assert_allclose(rest, 0, atol=1e-9)
    assert np.abs(expected).max() > 1e-4
