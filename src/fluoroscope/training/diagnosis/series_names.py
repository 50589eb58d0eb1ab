"""Which of the logged series is the loss, which the validation loss, …: told from the words in its name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

__all__ = ["ROLES", "find_roles", "is_rate", "moving_target", "words"]

VALIDATION = {"val", "valid", "validation", "eval", "evaluation", "dev", "test", "holdout"}
TRAINING = {"train", "training", "batch", "total", "step"}
ACCURACY = {"acc", "accuracy", "top1"}
LOSS = {"loss", "nll", "objective", "crossentropy", "mse"}
FACTORS = {"scale", "scaler", "scaling", "weight", "weights", "coef", "coefficient", "lambda"}
"""What is multiplied with a loss, and is none."""
REWARD = {"reward", "rewards", "return", "returns"}
AGAINST = (
    ("two networks that play against each other", {"d", "disc", "discriminator", "critic"}, {"g", "gen", "generator"}),
    ("an actor and its critic", {"actor", "policy", "pi"}, {"critic", "value", "v", "q", "qf"}),
)
ROLES = ("loss", "val_loss", "accuracy", "val_accuracy", "epoch")


def words(name: str) -> set[str]:
    """Lower-case words of a name: ``"train/valLoss_1"`` gives train, val, loss, 1."""
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return set(re.split(r"[^a-z0-9]+", parted.lower())) - {""}


def find_roles(names: Iterable[str], given: Mapping[str, str]) -> dict[str, str]:
    """Name of the series for each role that is known; ``given`` wins. The plainest name is taken where several fit."""
    found: dict[str, str] = {}
    for role in ROLES:
        if role in given:
            found[role] = given[role]
            continue
        fitting = [n for n in names if _fits(role, words(n))]
        if fitting:
            found[role] = min(fitting, key=lambda n: (_strangeness(role, words(n)), len(n), n))
    return found


def moving_target(names: Iterable[str]) -> str | None:
    """Whose losses these are, where they need not fall in a training that goes well; None where they should."""
    found = [words(n) for n in names]
    if any(n & REWARD for n in found):
        return "a training by rewards"
    losses = [n for n in found if n & LOSS and not n & FACTORS]
    for whose, one, other in AGAINST:
        if any(n & one for n in losses) and any(n & other for n in losses):
            return whose
    return None


def is_rate(name: str) -> bool:
    """Whether a series is a learning rate."""
    found = words(name)
    return "lr" in found or {"learning", "rate"} <= found


def _fits(role: str, found: set[str]) -> bool:
    validating = bool(found & VALIDATION)
    if role == "epoch":
        return found <= {"epoch", "epochs"} and bool(found)
    if role.endswith("loss"):
        return bool(found & LOSS) and not found & FACTORS and validating == role.startswith("val")
    return bool(found & ACCURACY) and validating == role.startswith("val")


def _strangeness(role: str, found: set[str]) -> int:
    """Words that the role does not explain."""
    known = LOSS | ACCURACY | TRAINING | VALIDATION | {"epoch"}
    return len(found - known) * 10 + len(found)
