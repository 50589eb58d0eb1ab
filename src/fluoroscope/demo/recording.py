"""The demo's trainings as fs.record saw them: curves, tensors, diagnosis."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fluoroscope.results import Findings, TensorHistory
from fluoroscope.training.diagnosis import diagnose
from fluoroscope.training.record import record
from fluoroscope.training.recorder.recording import Recording
from fluoroscope.training.store import Run, open_runs

__all__ = ["Watched", "watched"]

SHOWN = ("gradient/norm", "weight/norm", "update/ratio", "activation/std", "activation/dead", "activation/saturated")
"""What the page shows of the tensors."""


@dataclass
class Watched:
    """One recorded training of the demo: its ``name``, the folder of runs, its configuration."""

    folder: Path
    name: str
    config: dict[str, Any] = field(default_factory=dict)

    def record(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> Recording:
        """Open the recording; a run of that name from an earlier demo makes room."""
        shutil.rmtree(self.folder / self.name, ignore_errors=True)
        return record(network, optimizer, run=self.name, dir=self.folder, config={"classes": 10, **self.config})

    @property
    def run(self) -> Run:
        """The run for reading."""
        return open_runs(self.folder)[self.name]

    @cached_property
    def findings(self) -> Findings:
        """What the diagnosis says."""
        return diagnose(self.run)

    def tensors(self, title: str, caption: str) -> TensorHistory:
        """Statistics and histograms of the tensors, for the page."""
        found = self.run.tensor_history(SHOWN)
        kept = {name: h for name, h in found.histograms.items() if name == "gradient"}
        return found.replace(title=title, caption=caption, histograms=kept)


def watched(folder: Path, name: str, **config: Any) -> Watched:
    """A training to be recorded as ``name`` in ``folder``."""
    return Watched(folder, name, config)
