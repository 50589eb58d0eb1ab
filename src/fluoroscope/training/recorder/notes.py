"""What a reader of a run has to know about how its numbers were taken."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from fluoroscope.training.recorder.optimizer_watch import COPY_LIMIT, OptimizerWatch
from fluoroscope.training.recorder.watched import FOREIGN
from fluoroscope.training.store.joined_ranks import of_part

__all__ = ["notes_of", "unstepped", "update_norm"]

LOG = logging.getLogger("fluoroscope")
MANY = 20
"""Values of a series at one step that may be meant so."""
ELSEWHERE = (
    "no optimizer given holds a parameter of this network; where another one trains it, give that one: only its steps "
    "count"
)


def notes_of(watches: Iterable[OptimizerWatch], activations: str, rank: int) -> list[str]:
    """Sentences for the record: of ``activations``, of tensors of which a part is here, of norms that are estimated."""
    found = [activations] if activations else []
    known = list(watches)
    if known and all(n.startswith(FOREIGN) for w in known for n in w.watched.names):
        LOG.warning("fs.record: %s", ELSEWHERE)
        found.append(ELSEWHERE)
    if any(w.shards for w in known):
        found.append(of_part(rank))
    if any(not w.copies for w in known):
        found.append(_estimated(known))
    return found


def unstepped(counts: Mapping[str, int], step: int) -> str | None:
    """What to say of values that were all logged at ``step``, since no optimizer made one; None where they are few."""
    name = max(counts, key=lambda n: counts[n], default="")
    if counts.get(name, 0) <= MANY:
        return None
    text = (
        f"{counts[name]:,} values of {name!r} are all at step {step}, since the optimizer made no step while it was "
        "recorded; run.log(..., step=i) says which step they belong to"
    )
    LOG.warning("fs.record: %s", text)
    return text


def _estimated(watches: list[OptimizerWatch]) -> str:
    sample = max(w.settings.sample for w in watches)
    asked = all(w.settings.updates == "sampled" for w in watches)
    why = "as asked for" if asked else f"since the weights take more than {COPY_LIMIT >> 30} GiB"
    return (
        f"norms of updates are estimated from samples of {sample} entries, {why}; updates='exact' keeps a copy of the "
        "weights for exact ones"
    )


def update_norm(watches: Iterable[OptimizerWatch]) -> str:
    """How norms of updates were had."""
    return "exact" if all(w.copies for w in watches) else "estimated from samples"
