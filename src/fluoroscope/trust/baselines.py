"""Baselines: what stands in the place of what is taken away, and what may be taken away at all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from fluoroscope.errors import NotApplicable
from fluoroscope.methods.base import option
from fluoroscope.model.texts import special_tokens, stand_in, token_names
from fluoroscope.results import Array
from fluoroscope.trust.places import Places
from fluoroscope.trust.trial import Trial

__all__ = ["Gap", "baseline", "baseline_option", "gap", "hiding"]

CHOICES = ("auto", "zero", "mean", "blur", "mask")
BLUR = 0.05  # standard deviation of the blur, as a share of the longer side


def baseline_option(usual: str, text: str = "what stands for a place taken away") -> str:
    """The option that all checks have which take places away; ``usual`` is what ``"auto"`` means for numbers."""
    made: str = option("auto", f"{text}; auto is {usual}, and mask for texts", choices=CHOICES)
    return made


@dataclass(frozen=True)
class Gap:
    """``others``, shaped like the input, has what stands for places taken away; ``free`` (N, *places) says which places
    may be taken away: special tokens and padding stay.
    """

    others: torch.Tensor
    free: Array


def gap(trial: Trial, kind: str, usual: str, title: str) -> Gap:
    """What stands for places taken away from the inputs of ``trial``; what had to be chosen is told.

    ``"auto"`` means ``usual`` for numbers, and zero or mean where there is no blur or mean; for token numbers the mask
    token, else the tokenizer's unknown, padding or end token, else token 0.

    Raises:
        NotApplicable: there is no such baseline for this input.
    """
    main, places = trial.inputs.main, trial.places
    tokens = not main.is_floating_point()
    chosen = kind if kind != "auto" else _for_tokens(trial) if tokens else _for_numbers(trial, usual, title)
    trial.facts.setdefault("baselines", {})[title] = chosen
    free = _free(trial)
    if chosen != "mask":
        others = baseline(main, places, chosen)
    else:
        others = torch.full_like(main, _mask(trial))
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
            kept[kind] = float(scorer.of(baseline(main, places, kind)).mean())
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


def _mask(trial: Trial) -> int:
    main, tokenizer = trial.inputs.main, trial.subject.tokenizer
    found = stand_in(tokenizer)
    if main.is_floating_point() or found is None:
        raise NotApplicable(
            "only token numbers of a known tokenizer can be masked",
            got="numbers" if main.is_floating_point() else "a network without a tokenizer that has a mask token",
            remedy="baseline='zero'" if main.is_floating_point() else "fs.Subject(model, tokenizer=...)",
        )
    name = token_names([found[0]], tokenizer)[0]
    trial.note(f"a token taken away becomes {name!r}, the tokenizer's {found[1]} token; special tokens stay")
    return found[0]


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


def baseline(inputs: torch.Tensor, places: Places, kind: str) -> torch.Tensor:
    """An input that says nothing, shaped like ``inputs``.

    ``"zero"`` is 0 in the network's own scaling (token number 0 for texts); ``"mean"`` the mean of each channel over
    the example's own places, for rows the mean of each column over the rows given; ``"blur"`` a Gaussian blur whose
    standard deviation is 5 % of the longer side.

    Raises:
        NotApplicable: there is no mean of whole numbers or of a single row, and no blur of places without neighbours.
    """
    if kind == "zero":
        return torch.zeros_like(inputs)
    if not inputs.is_floating_point():
        got = f"token numbers ({str(inputs.dtype).removeprefix('torch.')})"
        raise NotApplicable(f"tokens have no {kind}", got=got, expected="numbers", remedy="baseline='auto'")
    if kind == "mean":
        if not places.continuous and len(inputs) == 1:
            raise NotApplicable("the mean of one row is the row itself", got="one row", remedy="baseline='zero'")
        dims = places.dims if places.continuous else (0,)
        return inputs.mean(dims, keepdim=True).expand_as(inputs)
    if not places.continuous:
        got = f"an input over ({', '.join(places.axes)})"
        raise NotApplicable(
            "there is no blur of such an input", got=got, expected="places with neighbours", remedy="baseline='mean'"
        )
    blurred, sigma = inputs, max(1.0, BLUR * max(places.shape))
    for dim in places.dims:
        blurred = _blurred(blurred, dim, sigma)
    return blurred


def _blurred(tensor: torch.Tensor, dim: int, sigma: float) -> torch.Tensor:
    """Gaussian blur along one dimension; weights outside the border are left out, the others make up for them."""
    length = tensor.shape[dim]
    place = torch.arange(length, dtype=torch.float64, device=tensor.device)
    weights = torch.exp(-((place[:, None] - place) ** 2) / (2 * sigma**2))
    weights = (weights / weights.sum(1, keepdim=True)).to(tensor.dtype)
    return (tensor.movedim(dim, -1) @ weights.T).movedim(-1, dim)
