"""One optimizer under watch: gradients before its step, weights and changes after it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from fluoroscope.training.recorder.exact import exact_statistics
from fluoroscope.training.recorder.norms import norms, rare_norm
from fluoroscope.training.recorder.packed import Packed
from fluoroscope.training.recorder.samples import Samples
from fluoroscope.training.recorder.settings import Settings
from fluoroscope.training.recorder.shards import Shards
from fluoroscope.training.recorder.sparse import dense_entries
from fluoroscope.training.recorder.updates import Updates
from fluoroscope.training.recorder.watched import group_key, local, watch

__all__ = ["Measured", "OptimizerWatch"]

COPY_LIMIT = 1 << 30
"""Bytes of weights beyond which the change of a step is estimated from samples, unless exact norms are asked for."""


@dataclass(frozen=True)
class Measured:
    """What one step gave, still on the device.

    ``norms`` (4, L) float64 are those of gradient, weight and update; the last row is zero where there is no gradient.
    ``entries`` (3, n) float32 are the samples of the three; ``exact`` (L, 5) statistics by quantity where it was time.
    ``places`` tell which part of each tensor is here (:class:`Shards`), empty where none is spread out.
    """

    names: tuple[str, ...]
    samples: Samples
    norms: torch.Tensor
    entries: torch.Tensor
    exact: dict[str, torch.Tensor]
    estimated: bool
    nonfinite: dict[str, float]
    places: list[list[tuple[int, int]]]


class OptimizerWatch:
    """Reads the parameters of ``optimizer`` around its steps. Nothing of the training is changed."""

    def __init__(
        self, optimizer: Optimizer, names: dict[int, str], settings: Settings, model: nn.Module | None
    ) -> None:
        self.optimizer, self.settings, self._names, self._model = optimizer, settings, names, model
        self.steps = 0
        self._plan()

    def _plan(self) -> None:
        """Look again at which parameters there are."""
        self.watched = watch(self.optimizer, self._names)
        self._parts = [local(p) for p in self.watched.parameters]
        self._shared_out = any(hasattr(p, "_local_tensor") for p in self.watched.parameters)
        self._places, self._kinds = self._addresses(), _kinds(self._parts)
        self.shards = Shards(self.watched.parameters, self._model)
        self.samples = Samples([p.shape for p in self._parts], self.settings.sample)
        size = sum(p.numel() * p.element_size() for p in self._parts)
        wanted = self.settings.updates
        self.copies = wanted == "exact" or (wanted == "auto" and size <= COPY_LIMIT)
        self._host = all(p.device.type == "cpu" for p in self._parts)
        self._packed = Packed(self._parts if self._host else [], self.samples, self.copies)
        packed = set(self._packed.where.tolist())
        self._loose = [i for i in range(len(self._parts)) if i not in packed]
        self._loose_samples, self._loose_slots = self.samples.part(self._loose)
        loose = [self._parts[i] for i in self._loose]
        self._updates = Updates(loose) if self.copies else None
        self._last = self.samples.take(self._parts)
        self._versions = [p._version for p in self.watched.parameters]
        self._gradient_norms: torch.Tensor | None = None
        self._gradient_entries: torch.Tensor | None = None
        self._exact: dict[str, torch.Tensor] = {}

    def fresh(self, all_of_them: bool = False) -> None:
        """Before a step: notice parameters that joined, moved, or were changed by somebody else than the optimizer.

        Counters tell of changes, but not of those of ``.data``. On a processor, small tensors are copied anew at each
        step, and of large ones the samples are compared; on an accelerator that would mean to wait for it.
        """
        moved = self._moved()
        if group_key(self.optimizer) != self.watched.key or (moved and not self._rebound()):
            self._plan()
            return
        versions = [p._version for p in self.watched.parameters]
        changed = [
            i for i, (a, b) in enumerate(zip(versions, self._versions, strict=True)) if a != b or moved or all_of_them
        ]
        self._packed.renew()
        if self._packed and not self.copies:
            self._last.numpy()[self._packed.slots] = self._packed.copied()
        if self._loose:
            self._renew_loose(changed)

    def _renew_loose(self, changed: list[int]) -> None:
        if not changed and not self._host:
            return
        entries = self._loose_samples.take([self._parts[i] for i in self._loose])
        if self._host and not changed and _same_bits(entries, self._last[self._loose_slots]):
            return
        for k, i in enumerate(self._loose):
            if self._updates is not None and (i in changed or not changed):
                self._updates.renew(k)
        self._last[self._loose_slots] = entries

    def _moved(self) -> bool:
        return self._addresses() != self._places

    def _rebound(self) -> bool:
        """Look where the parameters lie now; what they were stays. False where they are no longer of the same kind."""
        parts = [local(p) for p in self.watched.parameters]
        if _kinds(parts) != self._kinds:
            return False
        self._parts, self._places = parts, self._addresses()
        self._packed.rebind(parts)
        if self._updates is not None:
            self._updates.rebind([parts[i] for i in self._loose])
        return True

    def _addresses(self) -> list[int]:
        if not self._shared_out:
            return [p.data_ptr() for p in self.watched.parameters]
        return [getattr(p, "_local_tensor", p).data_ptr() for p in self.watched.parameters]

    # ------------------------------------------------------------------ gradients

    def gradients(self, exact: bool) -> None:
        """Read the gradients as they are now; divided by the scale that a fused optimizer takes off by itself."""
        scale = getattr(self.optimizer, "grad_scale", None)
        found = [p.grad for p in self.watched.parameters]
        self.present = np.array([g is not None for g in found], bool)
        result, entries = self._read(found)
        if scale is not None:
            result, entries = result / scale, entries / scale
        self._gradient_norms, self._gradient_entries = result, entries
        self._gradients, self._scale = found, scale
        self._exact = {"gradient": exact_statistics([_local(g) for g in found], found, scale)} if exact else {}

    def _read(self, found: list[torch.Tensor | None]) -> tuple[torch.Tensor, torch.Tensor]:
        """Norms (L,) and samples (n,) of the gradients: the small ones together, the others one by one."""
        loose, samples, slots = self._loose, self._loose_samples, self._loose_slots
        of_small, taken, odd = self._packed.gradients(found) if self._packed else (None, None, [])
        if of_small is not None and taken is not None and not loose and not odd:
            return torch.from_numpy(of_small), torch.from_numpy(taken)
        result = torch.zeros(len(found), dtype=torch.float64, device=self._last.device)
        entries = torch.empty(len(self._last), device=self._last.device)
        if of_small is not None:
            result.numpy()[self._packed.where] = of_small
            entries.numpy()[self._packed.slots] = taken
            if odd:
                loose = sorted([*loose, *self._packed.where[odd].tolist()])
                samples, slots = self.samples.part(loose)
        parts = {i: _local(found[i]) for i in loose}
        there = [(i, p) for i, p in parts.items() if p is not None and p.numel()]
        if there:
            result[[i for i, _ in there]] = norms([p for _, p in there]).to(result.device)
        if loose:
            entries[slots] = samples.take([dense_entries(found[i], parts[i], self.samples, i) for i in loose])
        return result, entries

    @property
    def unread(self) -> bool:
        """Whether the gradients of this step were not read yet (an optimizer that computes them in its step)."""
        return self._gradient_norms is None

    def gradients_are_new(self) -> bool:
        """Whether gradients that were read are no longer those of the parameters: they were zeroed and made anew."""
        now = [p.grad for p in self.watched.parameters]
        return not self.unread and any(a is not b for a, b in zip(now, self._gradients, strict=True))

    def total_gradient(self) -> torch.Tensor:
        """The norm of all gradients together as they are now."""
        there = [g for g in self.watched.gradients if g is not None and g.numel()]
        found = norms(there) if there else torch.zeros(1, dtype=torch.float64)
        if len(there) == len(self._parts):
            found = self.shards.whole(found[None])[0]
        total: torch.Tensor = torch.linalg.vector_norm(found)
        return total

    # ------------------------------------------------------------------ after the step

    def changes(self, exact: bool) -> Measured | None:
        """After the step: norms of weights and of what the step changed; the copies are renewed. None where the step
        made other tensors of them, whose entries can't be compared.
        """
        if self._moved() and not self._rebound():  # as by ``p.data = p.data - …``
            self._plan()
            return None
        assert self._gradient_norms is not None
        assert self._gradient_entries is not None
        if exact:
            self._exact["weight"] = exact_statistics(self._parts)
            if self.copies:
                self._exact["update"] = exact_statistics(self._changed())
        of_weights, of_changes, entries, moved = self._weights()
        there = torch.as_tensor(self.present, dtype=torch.float64).to(of_weights.device, non_blocking=True)
        together = torch.stack([self._gradient_norms, of_weights, of_changes, there])
        nonfinite = self._mend(together)
        measured = Measured(
            self.watched.names,
            self.samples,
            self.shards.whole(together),
            _stacked([self._gradient_entries, entries, moved]),
            self._exact,
            not self.copies,
            nonfinite,
            self.shards.places if self.shards else [],
        )
        self._last, self._exact, self._gradients = entries, {}, []
        self._gradient_norms = self._gradient_entries = None
        self._versions = [p._version for p in self.watched.parameters]
        return measured

    def _weights(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Norms (L,) of weights and of what the step changed, and samples (n,) of both."""
        if self.copies and not self._loose:
            of_weights, entries, of_changes, moved = map(torch.from_numpy, self._packed.weights())
            return of_weights, of_changes, entries, moved
        entries = torch.empty_like(self._last)
        of_weights, of_changes = (
            torch.zeros(len(self._parts), dtype=torch.float64, device=entries.device) for _ in range(2)
        )
        changes = change = None
        if self._packed:
            weights, taken, changes, change = self._packed.weights()
            of_weights.numpy()[self._packed.where] = weights
            entries.numpy()[self._packed.slots] = taken
        if self._loose:
            loose = [self._parts[i] for i in self._loose]
            entries[self._loose_slots] = self._loose_samples.take(loose)
            if self._updates is not None:
                of_weights[self._loose], of_changes[self._loose] = self._updates.measure()
            else:
                of_weights[self._loose] = norms(loose)
        moved = _difference(entries, self._last)
        if not self.copies:
            of_changes = self._estimated(moved)
        elif changes is not None:
            of_changes.numpy()[self._packed.where] = changes
            moved.numpy()[self._packed.slots] = change
        return of_weights, of_changes, entries, moved

    def _changed(self) -> list[torch.Tensor]:
        """The change of every parameter since its copy was taken."""
        assert self._updates is not None
        found = {int(i): self._packed.change(k) for k, i in enumerate(self._packed.where)}
        found |= {i: self._updates.changes(k) for k, i in enumerate(self._loose)}
        return [found[i] for i in range(len(self._parts))]

    def _estimated(self, moved: torch.Tensor) -> torch.Tensor:
        """Norms of changes from samples alone: the mean square of the entries looked at, for all of them."""
        sizes = torch.as_tensor(self.samples.sizes, device=moved.device)
        owner = torch.repeat_interleave(torch.arange(len(sizes), device=moved.device), sizes)
        squares = torch.zeros(len(sizes), dtype=torch.float64, device=moved.device)
        squares.index_add_(0, owner, moved.double().square())
        share = torch.as_tensor(self.samples.numbers / np.maximum(self.samples.sizes, 1), device=moved.device)
        return (squares * share).sqrt_()

    def _mend(self, found: torch.Tensor) -> dict[str, float]:
        """On a processor: norms whose squares left the range of float32, and how much of a gradient is not finite."""
        if found.device.type != "cpu":
            return {}
        nonfinite: dict[str, float] = {}
        table = found.numpy()
        odd = ~np.isfinite(table[:2])
        odd[:, self._loose] |= table[:2, self._loose] == 0
        for row, i in np.argwhere(odd).tolist() if odd.any() else ():
            part = _local(self._gradients[i]) if row == 0 else self._parts[i]
            if part is None:
                continue
            found[row, i] = rare_norm(part) / (1.0 if self._scale is None or row else float(self._scale))
            if row == 0 and not math.isfinite(float(found[row, i])):
                bad = part.numel() - int(torch.isfinite(part).sum())
                nonfinite[self.watched.names[i]] = bad / max(1, self._parts[i].numel())
        return nonfinite


def _local(gradient: torch.Tensor | None) -> torch.Tensor | None:
    return None if gradient is None else local(gradient)


def _kinds(parts: list[torch.Tensor]) -> list[tuple[object, ...]]:
    """What has to stay the same for tensors to be compared with what they were."""
    return [(p.shape, p.stride(), p.dtype, p.device) for p in parts]


def _same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    return torch.equal(one.view(torch.int32), other.view(torch.int32))


def _difference(new: torch.Tensor, old: torch.Tensor) -> torch.Tensor:
    """On a processor by NumPy: torch would wake its threads for what is done before they are awake."""
    if new.device.type != "cpu":
        return new - old
    with np.errstate(invalid="ignore", over="ignore"):
        return torch.from_numpy(new.numpy() - old.numpy())


def _stacked(parts: list[torch.Tensor]) -> torch.Tensor:
    if any(p.device.type != "cpu" for p in parts):
        return torch.stack(parts)
    return torch.from_numpy(np.stack([p.numpy() for p in parts]))
