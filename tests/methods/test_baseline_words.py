"""One set of words for baselines, whatever takes one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import fluoroscope as fs
from fluoroscope.errors import OptionError

METHODS = (fs.IntegratedGradients, fs.DeepLIFT, fs.Occlusion, fs.FeatureAblation, fs.ShapleySampling, fs.KernelSHAP)


def network() -> nn.Module:
    """Three classes of small pictures."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 3)).eval()


def by_method(kind: Callable[..., Any], word: str) -> Any:
    """An attribution with that baseline."""
    options = {"samples": 200} if kind in (fs.ShapleySampling, fs.KernelSHAP) else {}
    return kind(baseline=word, **options)(network(), torch.rand(1, 1, 8, 8), target=1)


def by_check(kind: Callable[..., Any], word: str) -> Any:
    """A scorecard with that baseline."""
    return kind(baseline=word)(fs.Saliency(), network(), torch.rand(1, 1, 8, 8), target=1)


@pytest.mark.parametrize("word", ["mean", "blur"])
def test_methods_and_checks_take_the_same_words(word: str) -> None:
    for method in METHODS:
        assert by_method(method, word).values.any(), method
    for check in (fs.Deletion, fs.Insertion):
        assert by_check(check, word).table.size, check


def test_another_spelling_is_answered_with_the_word() -> None:
    for make, kinds in ((by_method, METHODS), (by_check, (fs.Deletion, fs.Insertion))):
        for kind in kinds:
            with pytest.raises(OptionError, match=r"nearest: +'blur'"):
                make(kind, "blurred")
