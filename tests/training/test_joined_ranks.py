"""Records of several processes as one: parts add up to the statistics of whole tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fluoroscope.errors import InputError
from fluoroscope.results import Array, TensorHistograms, TensorHistory
from fluoroscope.training.store.joined_ranks import Part, joined, of_part

EDGES = np.array([-8.0, -1.0, 0.0, 1.0, 8.0])
STEPS = np.array([1, 2, 5])


def said(pieces: Array) -> dict[str, Array]:
    """What a process says of its piece at each step (S, n)."""
    shares = {"zero_share": (pieces == 0).mean(1), "nonfinite_share": (~np.isfinite(pieces)).mean(1)}
    return {"mean": pieces.mean(1), "std": pieces.std(1), "min": pieces.min(1), "max": pieces.max(1), **shares}


def history(tensors: dict[str, Array], rank: int, share: float = 1.0, **extra: Any) -> TensorHistory:
    """A record of pieces (S, n) by name, of which the first ``share`` is in the histograms."""
    table = {q: np.stack([said(p)[q] for p in tensors.values()]) for q in said(next(iter(tensors.values())))}
    looked = [[row[: int(share * len(row))] for row in piece] for piece in tensors.values()]
    counts = np.array([[np.histogram(row, EDGES)[0] for row in piece] for piece in looked], np.uint16)
    statistics = {f"weight/{q}": v for q, v in table.items()} | extra
    return TensorHistory(
        names=tuple(tensors),
        steps=STEPS,
        statistics=statistics,
        recorded={q: np.ones(v.shape, bool) for q, v in statistics.items()},
        units=dict.fromkeys(statistics, "1"),
        histograms={"weight": TensorHistograms(steps=STEPS, edges=EDGES, counts=counts, sampled=share)},
        layers=tuple(tensors),
        meta={"notes": [of_part(rank), "something else"]},
    )


def part(piece: Array, which: int, of: int, share: float = 1.0) -> Part:
    return Part(piece.shape[1], int(share * piece.shape[1]), ((which, of),))


def assert_whole(found: TensorHistory, name: str, whole: Array) -> None:
    row = found.names.index(name)
    for quantity, wanted in said(whole).items():
        np.testing.assert_allclose(found.statistics[f"weight/{quantity}"][row], wanted, rtol=1e-12, atol=1e-14)
        assert found.recorded[f"weight/{quantity}"][row].all()
    counts = found.histograms["weight"].counts[row]
    assert counts.tolist() == [np.histogram(w, EDGES)[0].tolist() for w in whole]


def test_parts_of_different_sizes_add_up_to_the_whole() -> None:
    rng = np.random.default_rng(0)
    whole, copy = rng.normal(3, 2, (3, 40)), rng.normal(0, 1, (3, 6))
    whole[:, 5:9] = 0
    pieces = np.split(whole, [5, 32, 32], axis=1)  # one of the processes holds nothing
    records = {}
    for rank, piece in enumerate(pieces):
        tensors = {"w": piece, "copy": copy} if piece.size else {"copy": copy}
        records[rank] = (history(tensors, rank), {"w": part(piece, rank, 4)})
    found = joined(records)
    assert_whole(found, "w", whole)
    assert_whole(found, "copy", copy)
    assert found.notes == (
        "something else",
        "statistics and histograms are of whole tensors, joined of the parts that 4 processes recorded",
    )
    assert found.meta["ranks_joined"] == [0, 1, 2, 3] and found.units == dict.fromkeys(found.statistics, "1")


def test_the_spread_does_not_drown_in_a_large_mean() -> None:
    whole = 1e6 + np.random.default_rng(1).normal(0, 1e-3, (3, 10))
    parts = {r: whole[:, 5 * r : 5 * r + 5] for r in range(2)}
    found = joined({r: (history({"w": p}, r), {"w": part(p, r, 2)}) for r, p in parts.items()})
    np.testing.assert_allclose(found.statistics["weight/std"][0], whole.std(1), rtol=1e-6)


def test_a_part_that_two_processes_hold_counts_once() -> None:
    whole = np.random.default_rng(2).normal(1, 1, (3, 9))
    parts = {r: whole[:, :2] if r % 2 == 0 else whole[:, 2:] for r in range(4)}
    assert_whole(joined({r: (history({"w": p}, r), {"w": part(p, r % 2, 2)}) for r, p in parts.items()}), "w", whole)


def test_two_dimensions_of_a_mesh() -> None:
    whole = np.random.default_rng(3).normal(1, 1, (3, 12))
    cells = {r: whole[:, 3 * r : 3 * r + 3] for r in range(4)}
    records = {r: (history({"w": p}, r), {"w": Part(3, 3, ((r // 2, 2), (r % 2, 2)))}) for r, p in cells.items()}
    assert_whole(joined(records), "w", whole)
    del records[3]
    assert not joined(records).recorded["weight/mean"].any()


def test_a_sampled_part_stands_for_its_entries() -> None:
    whole = np.repeat(np.array([[0.5], [2.0], [-2.0]]), 40, axis=1)
    a, b = whole[:, :20], whole[:, 20:]
    found = joined(
        {0: (history({"w": a}, 0), {"w": part(a, 0, 2)}), 1: (history({"w": b}, 1, 0.5), {"w": part(b, 1, 2, 0.5)})}
    )
    assert found.histograms["weight"].counts[0].sum(1).tolist() == [30, 30, 30]  # as many as were looked at
    assert found.histograms["weight"].sampled == 0.75


def test_what_is_not_a_number_and_what_is_missing() -> None:
    whole = np.ones((3, 6))
    whole[1, 4] = np.nan
    a, b = history({"w": whole[:, :3]}, 0), history({"w": whole[:, 3:]}, 1)
    gone = b.replace(recorded={q: v & (STEPS < 5) for q, v in b.recorded.items()})
    key = "weight/nonfinite_share"  # which is written where there is something to tell
    gone = gone.replace(recorded={**gone.recorded, key: np.array([[False, True, False]])})
    a = a.replace(recorded={**a.recorded, key: np.zeros((1, 3), bool)})
    found = joined({0: (a, {"w": Part(3, 3, ((0, 2),))}), 1: (gone, {"w": Part(3, 3, ((1, 2),))})})
    for quantity in ("mean", "std", "min", "max"):
        values, seen = found.statistics[f"weight/{quantity}"][0], found.recorded[f"weight/{quantity}"][0]
        assert seen.tolist() == [True, True, False] and np.isnan(values[1]) and np.isfinite(values[0])
    assert found.statistics[key][0][1] == pytest.approx(1 / 6)
    assert found.recorded[key][0].tolist() == [False, True, False]


def test_norms_are_whole_already_and_what_can_not_be_added_is_left_out() -> None:
    whole = np.random.default_rng(4).normal(1, 1, (3, 8))
    extra = {
        "weight/norm": np.full((1, 3), 7.0),
        "alignment/update": np.ones((1, 3)),
        "activation/std": np.ones((1, 3)),
    }
    parts = {r: whole[:, 4 * r : 4 * r + 4] for r in range(2)}
    found = joined({r: (history({"w": p}, r, **extra), {"w": part(p, r, 2)}) for r, p in parts.items()})
    assert found.statistics["weight/norm"].tolist() == [[7.0] * 3]
    assert not {"alignment/update", "activation/std"} & found.statistics.keys()
    assert found.notes[-1] == "not joined, since each process has its own: alignment/update, activation/std"


def test_a_record_of_one_process_is_no_whole() -> None:
    piece = np.ones((3, 4))
    with pytest.raises(InputError, match="the record of one process"):
        joined({0: (history({"w": piece}, 0), {"w": part(piece, 0, 2)})})
    with pytest.raises(InputError, match="does not say which parts"):
        joined({0: (history({"w": piece}, 0), {}), 1: (history({"w": piece}, 1), {})})
