"""What a step changed: norms of weights and of their change, from copies that are renewed in the same pass.

The weights are read in pieces that stay in the processor's cache: subtract the copy, take both norms, renew the copy.
Every weight and every copy is read once and the copy written once, which is the least that an exact answer needs.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from fluoroscope.training.recorder.norms import PIECE, doubles, flat, pieces, square

__all__ = ["Updates"]


class Updates:
    """Copies of ``weights`` (what this process holds of them), and the norms of weights and changes since the copy."""

    def __init__(self, weights: Sequence[torch.Tensor]) -> None:
        self.copies = [w.clone(memory_format=torch.preserve_format) for w in weights]
        self._room: torch.Tensor | None = None
        self.rebind(weights)

    def rebind(self, weights: Sequence[torch.Tensor]) -> None:
        """The same weights lie elsewhere; what they were is remembered."""
        self.weights = list(weights)
        device = self.weights[0].device if self.weights else torch.device("cpu")
        owned = [(i, *pair) for i in range(len(self.weights)) for pair in self._pairs(i)]
        self._owners = torch.tensor([entry[0] for entry in owned], dtype=torch.long, device=device)
        self._work = [(w, c, self._scratch(w)) for _, w, c in owned]

    def _pairs(self, index: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        weight, copy = self.weights[index], self.copies[index]
        if flat(weight) is None:  # scattered: as a whole
            return [(weight, copy)]
        return list(zip(pieces(weight), pieces(copy), strict=True))

    def _scratch(self, piece: torch.Tensor) -> torch.Tensor | None:
        """Room for the difference of a piece, one for all; None where the format needs a wider one."""
        if piece.device.type != "cpu" or piece.dtype not in (torch.float32, torch.float64) or piece.ndim != 1:
            return None
        if self._room is None or self._room.dtype != piece.dtype:
            self._room = torch.empty(PIECE, dtype=piece.dtype)
        return self._room[: piece.numel()]

    def renew(self, index: int) -> None:
        """Take a fresh copy of one weight: somebody else than the optimizer changed it."""
        self.copies[index].copy_(self.weights[index])

    def changes(self, index: int) -> torch.Tensor:
        """The change of one weight since its copy, in float32 at least."""
        return _wide(self.weights[index]) - _wide(self.copies[index])

    def measure(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Norms (L,) float64 of weights and of their changes; afterwards the copies are what the weights are now."""
        of_weights, of_changes = [], []
        for weight, copy, room in self._work:
            if room is not None:
                torch.sub(weight, copy, out=room)
                of_changes.append(room.dot(room))
                of_weights.append(weight.dot(weight))
            else:
                of_changes.append(square((_wide(weight) - _wide(copy)).reshape(-1)))
                of_weights.append(square(weight.reshape(-1)))
            copy.copy_(weight)
        return self._added(of_weights), self._added(of_changes)

    def _added(self, parts: list[torch.Tensor]) -> torch.Tensor:
        if not parts:
            return torch.zeros(0, dtype=torch.float64)
        squares = doubles(parts)
        total = torch.zeros(len(self.weights), dtype=torch.float64, device=squares.device)
        return total.index_add_(0, self._owners, squares).sqrt_()


def _wide(tensor: torch.Tensor) -> torch.Tensor:
    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.to(torch.float32)
