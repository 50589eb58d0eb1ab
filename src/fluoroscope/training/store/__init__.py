"""The store of runs: SQLite files in a run's folder, written step by step and read at any time."""

from fluoroscope.training.store.column import Column, Envelope
from fluoroscope.training.store.finding import damage, damaged_at, remaining, runs_at
from fluoroscope.training.store.run import Run
from fluoroscope.training.store.runs import Runs, open_runs
from fluoroscope.training.store.writer import RunWriter

__all__ = [
    "Column",
    "Envelope",
    "Run",
    "RunWriter",
    "Runs",
    "damage",
    "damaged_at",
    "open_runs",
    "remaining",
    "runs_at",
]
