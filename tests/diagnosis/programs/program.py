"""What a program is: a recorded training, the fault that was planted in it, and the rule that should find it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fluoroscope.results import History, TensorHistory
from fluoroscope.training.diagnosis.rule import quantities
from fluoroscope.training.record import record
from tests.diagnosis.reference_recorder import ReferenceRecorder

PROGRAMS: dict[str, Program] = {}


@dataclass(frozen=True)
class Program:
    """``fault`` names the rule that should find what was planted, ``""`` in a healthy training.

    ``also`` names rules that may rightly speak as well, because the fault has that consequence.
    """

    name: str
    train: Callable[[Lab], None]
    fault: str = ""
    also: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        return " ".join((self.train.__doc__ or self.name).split()).rstrip(".")


def faulty(rule: str, *, also: tuple[str, ...] = ()) -> Callable[[Callable[[Lab], None]], Callable[[Lab], None]]:
    """Enter a training with a planted fault."""

    def enter(train: Callable[[Lab], None]) -> Callable[[Lab], None]:
        return _enter(Program(train.__name__, train, rule, also))

    return enter


def healthy(train: Callable[[Lab], None]) -> Callable[[Lab], None]:
    """Enter a training as it should be."""
    return _enter(Program(train.__name__, train))


def _enter(program: Program) -> Callable[[Lab], None]:
    if program.name in PROGRAMS:
        raise TypeError(f"two programs are named {program.name}")
    PROGRAMS[program.name] = program
    return program.train


class Lab:
    """Where a program runs: its seed, and the recorder it opens, fs.record or the plain reference."""

    def __init__(self, seed: int, folder: Path | None = None) -> None:
        self.seed, self.folder = seed, folder
        self.run: Any = None

    def record(self, model: nn.Module, optimizer: torch.optim.Optimizer, **config: Any) -> Any:
        if self.folder is None:
            self.run = ReferenceRecorder(model, optimizer, config)
        else:
            self.run = record(model, optimizer, run="program", dir=self.folder, config=config)
        return self.run

    @property
    def recorded(self) -> tuple[History, TensorHistory]:
        if self.folder is None:
            return self.run.history, self.run.tensors
        found = self.run.read()
        return found.history(), found.tensor_history(quantities(), histograms=False)


def run_program(program: Program, seed: int, *, reference: bool = False) -> tuple[History, TensorHistory]:
    """Train on one thread and give back what was recorded; torch's random state is as before afterwards."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]), tempfile.TemporaryDirectory() as folder:
            torch.manual_seed(1000 + seed)
            lab = Lab(seed, None if reference else Path(folder))
            program.train(lab)
            return lab.recorded
    finally:
        torch.set_num_threads(threads)
