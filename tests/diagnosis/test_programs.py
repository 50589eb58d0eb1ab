"""The rules on real trainings: a part of the library of programs; ``python -m bench.diagnosis`` measures all of it."""

from __future__ import annotations

import pytest

import fluoroscope as fs
from fluoroscope.training.diagnosis.rule import rules
from tests.diagnosis.programs import PROGRAMS, run_program

SEED = 0
FAULTY = [name for name, p in PROGRAMS.items() if p.fault]
HEALTHY = [name for name, p in PROGRAMS.items() if not p.fault]
SLOW = {"resnet", "residual_deep", "transformer_text", "transformer_post_norm", "deep_batch_norm_without_skips",
        "softmax_twice_deep", "transformer_too_fast", "wide_batch_norm_without_skips"}  # fmt: skip
"""More than a second; measured by the bench."""


def test_the_library_is_large_and_has_both_kinds() -> None:
    assert len(FAULTY) >= 25 and len(HEALTHY) >= 25
    assert {PROGRAMS[n].fault for n in FAULTY} >= set(rules())  # a rule that no program asks for is not measured


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in FAULTY if n not in SLOW])
def test_a_planted_fault_is_found(name: str) -> None:
    found = fs.diagnose(*run_program(PROGRAMS[name], SEED))
    told = [(f.rule, f.severity) for f in found]
    assert any(f.severity != "hint" for f in found.of(PROGRAMS[name].fault)), told
    strange = {r for r, s in told if s == "problem"} - {PROGRAMS[name].fault, *PROGRAMS[name].also}
    assert not strange, told


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in HEALTHY if n not in SLOW])
def test_a_healthy_training_has_no_problem(name: str) -> None:
    found = fs.diagnose(*run_program(PROGRAMS[name], SEED))
    assert [f.evidence for f in found if f.severity == "problem"] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["deep_sigmoid", "detached_stem", "adam_too_fast", "mlp_batch_norm", "lstm_text"])
def test_the_recorder_and_the_plain_reference_lead_to_the_same_diagnosis(name: str) -> None:
    """The reference sees also what no optimizer holds, and activations at every step; the findings are the same."""
    found = [fs.diagnose(*run_program(PROGRAMS[name], SEED, reference=plain)) for plain in (False, True)]
    first, second = ({f.rule for f in f_ if f.severity == "problem"} for f_ in found)
    assert first == second
