"""Event files of TensorBoard, beside TensorBoard's own reader."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from bench.case import Bar, Row, Setting, Unmeasured, case
from bench.timing import quartiles
from fluoroscope.integrations.tensorboard import EventWriter, read_log_folder

RECORDS = 1_000_000
TAGS = 20
RATIO, SAME = Bar(8, at_least=True), Bar(0)


@case("event-files", "Event files of TensorBoard", on_accelerator=False)
def event_files(setting: Setting) -> Iterator[Row | Unmeasured]:
    """One file with 1,000,000 scalars of 20 series (100,000 with `--quick`), read with all checksums, processor time,
    in alternation with `EventAccumulator` of the tensorboard package that keeps every point. One half of the file is
    written series by series, the other step by step, as `torch.utils.tensorboard` writes it.
    """
    try:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    except ModuleNotFoundError:
        yield Unmeasured("event files", "the tensorboard package is not installed")
        return
    count = RECORDS // 10 if setting.quick else RECORDS
    with tempfile.TemporaryDirectory() as folder:
        _write(Path(folder), count)
        peer = lambda: EventAccumulator(folder, size_guidance={"scalars": 0}).Reload()  # noqa: E731
        ours, theirs = read_log_folder(folder)["."].scalars, peer()
        yield Row("points that differ", float(_different(ours, theirs)), "of " + f"{count:,}", SAME, values=True)
        rounds = 1 if setting.quick else 3
        pairs = [(_processor(lambda: read_log_folder(folder)), _processor(peer)) for _ in range(rounds)]
        ratios = [b / a for a, b in pairs]
        low, high = quartiles(ratios)
        mine, other = (statistics.median(p[i] for p in pairs) for i in range(2))
        detail = f"fluoroscope {mine:.2f} s, EventAccumulator {other:.1f} s, {rounds} rounds"
        yield Row("EventAccumulator / fluoroscope", statistics.median(ratios), "×", RATIO, low, high, detail)


def _write(folder: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    half = count // 2 // TAGS
    names = [f"layer{i}/loss" for i in range(TAGS)]
    steps = np.arange(half)
    with EventWriter(folder) as writer:
        for name in names:
            writer.scalars(name, steps, rng.standard_normal(half), 1e9 + steps)
        for step, row in enumerate(rng.standard_normal((half, TAGS)).tolist()):
            for name, value in zip(names, row, strict=True):
                writer.scalar(name, half + step, value, 1e9 + half + step)


def _different(ours, theirs) -> int:
    """Points whose step, value or time is not the same, NaN being equal to NaN."""
    found = 0
    for name, column in ours.items():
        seen = theirs.Scalars(name)
        if len(seen) != len(column.steps):
            return len(column.steps)
        for mine, attribute in zip(column, ("step", "value", "wall_time"), strict=True):
            other = np.array([getattr(s, attribute) for s in seen])
            found += int((~((mine == other) | (np.isnan(mine) & np.isnan(other)))).sum())
    return found


def _processor(work: Callable[[], object]) -> float:
    start = time.process_time()
    kept = work()
    spent = time.process_time() - start
    del kept
    return spent
