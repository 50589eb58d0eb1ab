"""How the tensors of a file fit a network: names, shapes and kinds of number, compared before anything is copied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from fluoroscope.errors import ModelError, nearest

__all__ = ["Match", "unwrapped"]

WRAPPINGS = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "params", "module")
SHOWN = 3
COUNTER = "num_batches_tracked"


def unwrapped(content: Any, name: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The state_dict inside the usual wrappings of checkpoints, and notes on what was taken off.

    Raises:
        ModelError: there is no mapping of names to tensors.
    """
    notes: list[str] = []
    while isinstance(content, Mapping) and not _has_tensors(content):
        key = next((k for k in WRAPPINGS if isinstance(content.get(k), Mapping)), None)
        if key is None:
            break
        others = [str(k) for k in content if k != key]
        notes.append(
            f"weights taken from {key!r} of the file" + (f", which also holds {_brief(others)}" if others else "")
        )
        content = content[key]
    if not isinstance(content, Mapping) or not _has_tensors(content):
        raise ModelError(
            f"{name} holds no state_dict",
            got=f"a dict of {_brief([str(k) for k in content])}"
            if isinstance(content, Mapping)
            else f"a {type(content).__name__}",
            expected="a dict of names and tensors, plain or under 'state_dict' or 'model'",
        )
    kept = {str(k): v for k, v in content.items() if isinstance(v, torch.Tensor) or str(k).endswith("_extra_state")}
    if left := [str(k) for k in content if str(k) not in kept]:
        notes.append(f"entries that are no tensors were left out: {_brief(left)}")
    return kept, tuple(notes)


def _has_tensors(value: Any) -> bool:
    return isinstance(value, Mapping) and any(isinstance(v, torch.Tensor) for v in value.values())


def _brief(names: Sequence[str]) -> str:
    shown = ", ".join(repr(n) for n in names[:SHOWN])
    return (shown or "nothing") + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


@dataclass
class Match:
    """Tensors of a file beside those of a network.

    ``fitting`` can be copied as they are; ``missing`` are the network's only, ``unexpected`` the file's only; ``wrong``
    are in both but of another shape or kind, in words.
    """

    model: str
    fitting: dict[str, Any]
    missing: list[str]
    unexpected: list[str]
    wrong: dict[str, str]
    prefix: str = ""
    converted: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, module: nn.Module, tensors: Mapping[str, Any]) -> Self:
        """Compare; prefixes of DataParallel, torch.compile and trainers are taken off where more fits then."""
        own = module.state_dict(keep_vars=True)
        found, prefix = _without_prefix(tensors, set(own))
        wrong = {n: trouble for n, t in found.items() if n in own and (trouble := _trouble(t, own[n]))}
        shared = {id(own[n]) for n in found if n in own}  # tied tensors are saved once
        missing = [n for n in own if n not in found and id(own[n]) not in shared and not n.endswith(COUNTER)]
        fitting = {n: t for n, t in found.items() if n in own and n not in wrong}
        unexpected = [n for n in found if n not in own]
        match = cls(type(module).__name__, fitting, missing, unexpected, wrong, prefix)
        for name, tensor in fitting.items():
            if isinstance(tensor, torch.Tensor) and tensor.dtype != own[name].dtype:
                key = f"{_short(tensor)} to {_short(own[name])}"
                match.converted[key] = match.converted.get(key, 0) + 1
        return match

    @property
    def trouble(self) -> bool:
        """Whether anything does not fit."""
        return bool(self.missing or self.unexpected or self.wrong)

    def copy_into(self, module: nn.Module) -> None:
        """Copy what fits; a network on the meta device takes the tensors themselves."""
        abstract = any(p.device.type == "meta" for p in module.parameters())
        module.load_state_dict(self.fitting, strict=False, assign=abstract)

    def error(self, file: str, strict: bool) -> ModelError:
        """One compact message with all that does not fit."""
        counts = {
            "missing": len(self.missing),
            "unexpected": len(self.unexpected),
            "of the wrong shape": len(self.wrong),
        }
        some = ", ".join(f"{n} {word}" for word, n in counts.items() if n)
        got = [f"unexpected {_brief(self.unexpected)}"] if self.unexpected else []
        got += [f"{name!r} {text}" for name, text in list(self.wrong.items())[:SHOWN]]
        likely = {n: near for n in self.unexpected[:SHOWN] if (near := nearest(n, self.missing, count=1))}
        return ModelError(
            f"{file} does not fit {self.model}: {some}",
            got="; ".join(got) or None,
            expected=f"also {_brief(self.missing)}" if self.missing else None,
            nearest="; ".join(f"{n!r} for {near}" for n, near in likely.items()) or None,
            remedy="give the weights of this very network, or pass strict=False to take what fits"
            if strict and self.fitting
            else "give the weights of this very network",
        )

    def notes(self) -> tuple[str, ...]:
        """What was assumed, converted or left out, and where the values are no numbers."""
        notes = [f"prefix {self.prefix!r} taken off the names of the weights"] if self.prefix else []
        notes += [f"{count} tensors converted from {how}" for how, count in self.converted.items()]
        if self.missing:
            notes.append(f"not in the file, kept as they were: {_brief(self.missing)}")
        if self.unexpected:
            notes.append(f"in the file but not in the network: {_brief(self.unexpected)}")
        notes += [f"not loaded: {name!r} {text}" for name, text in list(self.wrong.items())[:SHOWN]]
        if len(self.wrong) > SHOWN:
            notes.append(f"not loaded: {len(self.wrong) - SHOWN} more of the wrong shape")
        return (*notes, *_not_finite(self.fitting))


def _without_prefix(tensors: Mapping[str, Any], own: set[str]) -> tuple[dict[str, Any], str]:
    """The tensors under the names of the network, with the common first parts of names taken off if more fit then."""
    best, best_prefix = dict(tensors), ""
    names = {n: n for n in tensors}
    prefix = ""
    while True:
        heads = {n.partition(".")[0] for n in names}
        compiled = {n.replace("_orig_mod.", "") for n in names}
        if any("_orig_mod." in n for n in names) and len(compiled) == len(names):
            names, prefix = {n.replace("_orig_mod.", ""): source for n, source in names.items()}, prefix + "_orig_mod."
        elif len(heads) == 1 and all("." in n for n in names):
            names, prefix = {n.partition(".")[2]: source for n, source in names.items()}, prefix + heads.pop() + "."
        else:
            return best, best_prefix
        if len(own & set(names)) > len(own & set(best)):
            best, best_prefix = {n: tensors[source] for n, source in names.items()}, prefix


def _trouble(given: Any, own: Any) -> str:
    """Why a tensor can't be copied into the network's; empty where it can."""
    if not isinstance(own, torch.Tensor) or not isinstance(given, torch.Tensor):
        return (
            "" if isinstance(own, torch.Tensor) == isinstance(given, torch.Tensor) else f"is a {type(given).__name__}"
        )
    if is_lazy(own):
        return ""
    if given.shape != own.shape:
        return f"is {tuple(given.shape)}, not {tuple(own.shape)}"
    if given.is_complex() != own.is_complex() or given.is_floating_point() != own.is_floating_point():
        return f"is {_short(given)}, not {_short(own)}"
    return ""


def _short(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _not_finite(tensors: Mapping[str, Any]) -> tuple[str, ...]:
    bad = []
    for name, tensor in tensors.items():
        if isinstance(tensor, torch.Tensor) and tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            count = int((~torch.isfinite(tensor)).sum())
            bad.append(f"{name} ({count} of {tensor.numel()})")
    return (f"NaN or infinity among the weights: {_brief(bad)}",) if bad else ()
