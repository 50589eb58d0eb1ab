"""What networks put out: finding the tensor that matters in tuples, dicts and model outputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import torch

from fluoroscope.errors import ModelError

__all__ = ["first_tensor", "last_real", "main_output", "map_first_tensor", "one_of_several", "probabilities"]

MAIN_KEYS = ("logits", "out", "output", "prediction", "predictions", "scores", "pred_logits", "last_hidden_state", "x")


def _members(output: Any) -> list[tuple[Any, Any]] | None:
    """(key, member) pairs of a container, None where ``output`` is no container."""
    if isinstance(output, Mapping):
        return list(output.items())
    if dataclasses.is_dataclass(output) and not isinstance(output, type):
        return [(f.name, getattr(output, f.name)) for f in dataclasses.fields(output)]
    if isinstance(output, (tuple, list)):
        names = getattr(output, "_fields", range(len(output)))
        return list(zip(names, output, strict=True))
    return None


def main_output(output: Any) -> torch.Tensor:
    """The tensor of scores: the output itself, the member with a usual name (``logits`` first), or the first tensor.

    Raises:
        ModelError: the output has no floating-point tensor.
    """
    if isinstance(output, torch.Tensor):
        return output
    named = dict(_members(output) or [])
    key = _usual_key(named)
    found = first_tensor(output) if key is None else named[key]
    if found is None:
        raise ModelError(
            "the network's output holds no tensor of scores",
            got=type(output).__name__,
            expected="a tensor, or a tuple, dict or ModelOutput with one",
            remedy="wrap the network in a module that returns the scores",
        )
    return found


def _usual_key(named: Mapping[Any, Any]) -> str | None:
    """The usual name of scores among the members of an output."""
    return next((key for key in MAIN_KEYS if isinstance(named.get(key), torch.Tensor)), None)


def one_of_several(output: Any) -> str | None:
    """What to tell of an output with several tensors that could as well be the scores as the one that
    :func:`main_output` takes: none has a usual name, and another has as many axes. None for any other output.
    """
    named = dict(_members(output) or [])
    if _usual_key(named) is not None:
        return None
    tensors = {k: m for k, m in named.items() if isinstance(m, torch.Tensor) and m.is_floating_point()}
    taken = next(iter(tensors), None)
    if taken is None or tensors[taken] is not first_tensor(output):
        return None
    others = [key for key, tensor in tensors.items() if key != taken and tensor.ndim == tensors[taken].ndim]
    if not others:
        return None
    place = f".{others[0]}" if dataclasses.is_dataclass(output) else f"[{others[0]!r}]"
    return (
        f"the network gives {len(tensors)} outputs, and the target is read in the first ({taken!r}); another one: "
        f"target=lambda output: output{place}[:, 0]"
    )


def probabilities(output: Any, scores: torch.Tensor) -> torch.Tensor:
    """The network's own probabilities where it ends in a softmax or sigmoid, else the softmax of its scores over
    classes, the sigmoid where there is one score.
    """
    own = main_output(output)
    if own is not scores and own.shape == scores.shape:
        return own if bool((own >= 0).all()) else own.exp()  # the logarithm of a probability is nowhere above 0
    scores = scores.float() if scores.dtype.itemsize < 4 else scores  # half formats hold three digits
    if scores.ndim == 1 or scores.shape[1:] == (1,):
        return scores.sigmoid()
    return scores.softmax(-1 if scores.ndim in (2, 3) else 1)


def last_real(scores: torch.Tensor, real: torch.Tensor | None) -> torch.Tensor:
    """Scores (N, L, V) of padded texts as (N, 1, V): those at the last ``real`` (N, L) token; all others unchanged."""
    if real is None or scores.ndim != 3 or scores.shape[:2] != real.shape:
        return scores
    last = real.long().cumsum(1).argmax(1)
    return scores[torch.arange(len(scores), device=scores.device), last.to(scores.device)][:, None]


def first_tensor(output: Any) -> torch.Tensor | None:
    """The first floating-point tensor in a nested output, depth first."""
    if isinstance(output, torch.Tensor):
        return output if output.is_floating_point() else None
    for _, member in _members(output) or []:
        found = first_tensor(member)
        if found is not None:
            return found
    return None


def map_first_tensor(output: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """The same nested output with its first floating-point tensor replaced by ``change`` of it."""
    done = False

    def walk(item: Any) -> Any:
        nonlocal done
        if done:
            return item
        if isinstance(item, torch.Tensor):
            if item.is_floating_point():
                done = True
                return change(item)
            return item
        members = _members(item)
        if members is None:
            return item
        return _rebuilt(item, [(key, walk(member)) for key, member in members])

    return walk(output)


def _rebuilt(item: Any, members: list[tuple[Any, Any]]) -> Any:
    if isinstance(item, Mapping):
        made: Any = type(item)
        try:
            return made(members)
        except TypeError:  # ModelOutput takes keywords
            return made(**dict(members))
    if isinstance(item, (tuple, list)):
        values = [member for _, member in members]
        return type(item)(*values) if hasattr(item, "_fields") else type(item)(values)
    return dataclasses.replace(item, **dict(members))
