"""Baselines: what stands in the place of what is taken away, and what may be taken away at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from fluoroscope import axes as ax
from fluoroscope.methods.baselines import baseline_of, baseline_option
from fluoroscope.model.texts import special_tokens, stand_in, token_names
from fluoroscope.options import plain
from fluoroscope.results import Array
from fluoroscope.trust.trial import Trial

__all__ = ["Gap", "gap", "gap_option", "hiding"]


def gap_option(usual: str, text: str = "what stands for a place taken away") -> Any:
    """The option that all checks have which take places away; ``usual`` is what ``"auto"`` means for numbers."""
    return baseline_option(f"{text}; 'auto' is {usual}, and the mask for texts. Also", "auto", more=("auto",))


@dataclass(frozen=True)
class Gap:
    """``others``, shaped like the input, has what stands for places taken away; ``free`` (N, *places) says which places
    may be taken away: special tokens and padding stay.
    """

    others: torch.Tensor
    free: Array


def gap(trial: Trial, kind: Any, usual: str, title: str) -> Gap:
    """What stands for places taken away from the inputs of ``trial``; what had to be chosen is told.

    ``kind`` is a baseline as :mod:`fluoroscope.methods.baselines` has them, for rows of a table also their mean.

    ``"auto"`` means ``usual`` for numbers, and zero or mean where there is no blur or mean; for token numbers the mask
    token, else the tokenizer's unknown, padding or end token, else token 0.

    Raises:
        OptionError: there is no such baseline for this input.
    """
    main, places = trial.inputs.main, trial.places
    chosen = kind
    if isinstance(kind, str) and kind == "auto":
        chosen = _for_numbers(trial, usual, title) if main.is_floating_point() else _for_tokens(trial)
    trial.facts.setdefault("baselines", {})[title] = plain(chosen)
    free, others = _free(trial), _standing(trial, chosen)
    if isinstance(chosen, str) and chosen == "mask":
        _tell_mask(trial)
    if not free.all():
        others = torch.where(places.spread(torch.as_tensor(free, device=main.device), main), others, main)
    return Gap(others, free)


def hiding(trial: Trial) -> str:
    """The baseline that deletion and insertion usually take: for pictures and series a blurred input, for rows the mean
    of the rows; where more than half of the score stays with it (means over examples, probabilities), the first of mean
    and zero with which it does not, else the one with which least stays. What was chosen against the usual is told.
    """
    main, places = trial.inputs.main, trial.places
    if not main.is_floating_point() or not (places.continuous or trial.inputs.count > 1):
        return "auto"
    kinds = ("blur", "mean", "zero") if places.continuous else ("mean", "zero")
    if not isinstance(trial.wanted, np.ndarray):
        return kinds[0]
    kept: dict[str, float] = {}
    with trial.study() as study:
        scorer = trial.scorer(study, "probability")
        whole = float(scorer.of(main).mean())
        for kind in kinds:
            kept[kind] = float(scorer.of(_standing(trial, kind)).mean())
            if kept[kind] <= whole / 2:
                break
    chosen = next((kind for kind in kept if kept[kind] <= whole / 2), min(kept, key=lambda kind: kept[kind]))
    if chosen != kinds[0]:
        trial.note(
            f"deletion and insertion: {chosen} stands for what is taken away, since {kinds[0]} keeps "
            f"{kept[kinds[0]]:.3g} of the probability {whole:.3g}"
        )
    return chosen


def _for_tokens(trial: Trial) -> str:
    if stand_in(trial.subject.tokenizer) is not None:
        return "mask"
    trial.note("no mask token is known, so a token taken away becomes token 0: give the network its tokenizer")
    return "zero"


def _for_numbers(trial: Trial, usual: str, title: str) -> str:
    if trial.places.continuous or usual == "zero":
        return usual
    if trial.inputs.count > 1:
        return "mean"
    trial.note(f"{title}: one row has no mean of rows, so a value taken away becomes 0")
    return "zero"


def _standing(trial: Trial, kind: Any) -> torch.Tensor:
    """The baseline of all inputs of ``trial``, over the places that maps speak of."""
    main, places = trial.inputs.main, trial.places
    named = dict(zip(places.dims, places.axes, strict=True))
    axes = (ax.N, *(named.get(i, ax.C) for i in range(1, main.ndim)))
    return baseline_of(kind, main, trial.subject, axes=axes, seed=trial.seed, rows=True)


def _tell_mask(trial: Trial) -> None:
    found = stand_in(trial.subject.tokenizer)
    if found is not None:
        name = token_names([found[0]], trial.subject.tokenizer)[0]
        trial.note(f"a token taken away becomes {name!r}, the tokenizer's {found[1]} token; special tokens stay")


def _free(trial: Trial) -> Array:
    """(N, *places): neither padding nor special tokens; where a text has nothing else, its special tokens, too."""
    main, places, real = trial.inputs.main, trial.places, trial.inputs.real
    free = np.ones((trial.inputs.count, *places.shape), dtype=bool)
    if real is not None and free.shape == real.shape:
        free &= real.cpu().numpy()
    special = special_tokens(trial.subject.tokenizer)
    if special and not main.is_floating_point():
        words = free & ~np.isin(main.cpu().numpy(), list(special))
        some = words.reshape(len(words), -1).any(1)
        free[some] = words[some]
    return free
