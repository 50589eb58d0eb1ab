"""Orders in which filters are looked at: the strongest first, or like beside like."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["orders"]

MOST = 512  # filters that are clustered


def orders(filters: Any, norms: Any) -> dict[str, Any]:
    """``"norm"``: numbers of the filters by falling norm; ``"similar"``: leaves of an average-linkage tree of their
    cosines. ``filters`` is (F, entries).
    """
    found = {"norm": np.argsort(-norms, kind="stable")}
    if 2 < len(filters) <= MOST:
        found["similar"] = _leaves(filters, norms)
    return found


def _leaves(filters: Any, norms: Any) -> Any:
    """Clusters joined pair by pair (Sokal and Michener, 1958); of each pair the stronger one comes first."""
    unit = np.where(np.isfinite(filters), filters, 0) / np.where(norms > 0, norms, 1)[:, None]
    likeness = unit @ unit.T
    np.fill_diagonal(likeness, -np.inf)
    members = [[i] for i in range(len(filters))]
    strength = norms.astype(float).copy()
    for _ in range(len(filters) - 1):
        a, b = divmod(int(np.argmax(likeness)), len(filters))
        a, b = (a, b) if strength[a] >= strength[b] else (b, a)
        sizes = len(members[a]), len(members[b])
        joined = (sizes[0] * likeness[a] + sizes[1] * likeness[b]) / sum(sizes)
        likeness[a], likeness[:, a] = joined, joined
        likeness[b], likeness[:, b] = -np.inf, -np.inf
        likeness[a, a] = -np.inf
        members[a] += members[b]
    return np.array(members[a])
