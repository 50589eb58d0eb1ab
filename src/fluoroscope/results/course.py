"""Training against validation: which series belong together, where the best step is, where overfitting sets in."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

from fluoroscope.results.envelope import gaussian, stretches
from fluoroscope.results.history import History, Series
from fluoroscope.results.record import Array

__all__ = ["HELD_OUT", "Pair", "best_step", "higher_is_better", "is_limit", "overfitting_onset", "pairs"]

HELD_OUT = re.compile(r"(?:^|(?<=[/_.\- ]))(val|valid|validation|eval|test|dev)(?:$|(?=[/_.\- ]))", re.IGNORECASE)
TRAINED = re.compile(r"(?:^|(?<=[/_.\- ]))(train|training|trn)(?:$|(?=[/_.\- ]))", re.IGNORECASE)
HIGH = re.compile(r"acc|f1|auc|precision|recall|bleu|rouge|iou|dice|map|reward|score|r2", re.IGNORECASE)
LOW = re.compile(r"loss|err|perplexity|ppl|nll|bpc|mse|mae|rmse|cross.?entropy", re.IGNORECASE)
LIMIT = re.compile(r"(?:^|/)(?:(?:preconditioned_)?curvature/limit|noise_scale/batch)$")
RISE = 0.02  # share of the whole way down that validation has to come back up


class Pair(NamedTuple):
    """Keys of a training series (empty where there is none) and of its validation series, and the group they share."""

    trained: str
    held_out: str
    subject: str


def is_limit(name: str) -> bool:
    """Whether a series is there for another one to be held against: the curvature that an optimizer bears, the size of
    the batch beside the noise scale.
    """
    return LIMIT.search(name) is not None


def _subject(name: str) -> str:
    bare = TRAINED.sub("", HELD_OUT.sub("", name))
    return re.sub(r"[/_.\- ]+", "_", bare).strip("_").lower()


def pairs(history: History) -> list[Pair]:
    """Series such as ``loss`` and ``val_loss``, ``train/acc`` and ``val/acc``, matched by name within one run."""
    found = []
    trained: dict[tuple[str, str], str] = {}
    for key, series in history.series.items():
        name = series.name or key
        if not HELD_OUT.search(name):
            trained.setdefault((series.run, _subject(name)), key)
    for key, series in history.series.items():
        name = series.name or key
        if HELD_OUT.search(name):
            subject = _subject(name)
            found.append(Pair(trained.get((series.run, subject), ""), key, subject))
    return found


def higher_is_better(name: str) -> bool | None:
    """Whether more of it is good; None where the name does not say."""
    if LOW.search(name):
        return False
    return True if HIGH.search(name) else None


def best_step(series: Series, high: bool) -> int | None:
    """Index of the best finite value, the first of equals; None where none is finite."""
    shown = np.where(np.isfinite(series.values), series.values, np.nan)
    if not np.isfinite(shown).any():
        return None
    return int(np.nanargmax(shown) if high else np.nanargmin(shown))


def overfitting_onset(trained: Series, held_out: Series, high: bool = False) -> int | None:
    """Index in ``held_out`` from which validation gets worse for good while training still gets better; else None.

    Validation is smoothed by a centred Gaussian of a twentieth of its points. Its best smoothed point is the onset, if
    from there to the end it loses more than 2 % of all that it had won and more than three standard errors of its
    scatter about the smoothed line, while the smoothed training series goes on improving.
    """
    if len(held_out.values) < 5 or not len(trained.values) or len(stretches(held_out.steps)) != 1:
        return None
    sign = -1.0 if high else 1.0
    seen = sign * np.asarray(held_out.values, float)
    if not np.isfinite(seen).all():
        return None
    sigma = max(len(seen) / 20, 0.5)
    smooth = gaussian(seen, sigma)
    at = int(np.argmin(smooth))
    rise = smooth[-1] - smooth[at]
    scatter = float(np.std(seen - smooth)) / np.sqrt(max(2 * sigma, 1.0))
    won = max(float(smooth[0] - smooth[at]), 0.0)
    if at >= len(seen) - 2 or rise <= max(RISE * won, 3 * scatter, 1e-12):
        return None
    before, after = _levels(sign * np.asarray(trained.values, float), trained.steps, float(held_out.steps[at]))
    return at if after < before else None


def _levels(values: Array, steps: Array, step: float) -> tuple[float, float]:
    """Mean of the training series about ``step`` and at its end, each over a tenth of its points."""
    width = max(len(values) // 10, 1)
    at = int(np.argmin(np.abs(steps - step)))
    around = values[max(at - width // 2, 0) : at + width // 2 + 1]
    end = values[-width:]
    fine = [part[np.isfinite(part)] for part in (around, end)]
    return tuple(float(p.mean()) if len(p) else np.nan for p in fine)  # type: ignore[return-value]
