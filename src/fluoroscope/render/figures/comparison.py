"""What two sets of weights do not have in common, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluoroscope.render.figures.label import shortened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fluoroscope.results import TensorSummary

__all__ = ["compared"]


def compared(result: TensorSummary) -> list[str]:
    """Lines about tensors that are missing, extra or of another shape; none where nothing was compared."""
    found = result.comparison
    if found is None:
        return []
    reshaped = [f"{name} ({_shape(old)} to {_shape(new)})" for name, old, new in found.reshaped]
    lists = (
        (f"only in {shortened(found.before, 40)}", found.missing),
        (f"only in {shortened(found.after, 40)}", found.extra),
        ("of another shape", reshaped),
    )
    return [f"{len(names):,} {words}: {_few(names)}" for words, names in lists if names]


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(shortened(n, 48) for n in names[:3])
    return shown + (" …" if len(names) > 3 else "")


def _shape(sizes: Sequence[int]) -> str:
    return "×".join(map(str, sizes))
