"""Small real trainings, some with one planted fault and some healthy: what the diagnosis is measured on."""

from tests.diagnosis.programs import (
    faulty_data,
    faulty_gradients,
    faulty_networks,
    faulty_optimization,
    healthy_networks,
    healthy_tasks,
    memory,
)
from tests.diagnosis.programs.program import PROGRAMS, Program, run_program

__all__ = [
    "PROGRAMS",
    "Program",
    "faulty_data",
    "faulty_gradients",
    "faulty_networks",
    "faulty_optimization",
    "healthy_networks",
    "healthy_tasks",
    "memory",
    "run_program",
]
