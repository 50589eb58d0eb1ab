"""``python -m bench.diagnosis``: hits and false alarms of the diagnosis, rule by rule, on small real trainings.

Every program of ``tests/diagnosis/programs`` is trained with ``fs.record`` for each seed and then diagnosed. Thresholds
were set on seeds 0 to 5; what is published comes from others. The table goes into docs/diagnosis.md.
"""

from __future__ import annotations

import argparse
import datetime
import re
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "diagnosis.md"
BEGIN, END = "<!-- measured by python -m bench.diagnosis: begin -->", "<!-- measured: end -->"
SEEDS = (10, 11, 12, 13)
LOOKS = 12
"""How often a live watcher looks at a run."""


@dataclass
class Found:
    """What the diagnosis said of one run: (rule, severity) of each finding; ``live`` what a watcher told meanwhile."""

    program: Any
    seed: int
    told: list[tuple[str, str]]
    seconds: float
    live: list[tuple[str, str]] = field(default_factory=list)

    @property
    def hit(self) -> bool:
        """Whether the planted fault was found."""
        return any(rule == self.program.fault and severity != "hint" for rule, severity in self.told)

    @property
    def unexplained(self) -> list[str]:
        """Problems told of a faulty run that are neither its fault nor a consequence of it."""
        return [r for r, s in self.told if s == "problem" and r not in (self.program.fault, *self.program.also)]

    def false(self, severity: str) -> list[str]:
        """Rules that told a healthy run something of this severity."""
        return [r for r, s in self.told if s == severity]


def main(given: list[str] | None = None) -> int:
    """Measure, print, write; exit code 1 where a healthy run was told a problem or a rule has no hit at all."""
    options = arguments(given)
    sys.path.insert(0, str(ROOT))
    from tests.diagnosis.programs import PROGRAMS

    chosen = [p for name, p in PROGRAMS.items() if not options.only or name in options.only]
    found = list(measure(chosen, options.seeds, options.live))
    text = document(found, options.seeds)
    print(text)
    if not (options.no_write or options.only):
        write(text)
    return int(any(f.false("problem") for f in found if not f.program.fault))


def arguments(given: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.diagnosis", description="Hits and false alarms by rule.")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS, help="seeds (default: %(default)s)")
    parser.add_argument("--only", metavar="PROGRAM", action="append", help="one program; may be given several times")
    parser.add_argument("--no-live", dest="live", action="store_false", help="leave out what a live watcher would tell")
    parser.add_argument("--no-write", action="store_true", help="leave docs/diagnosis.md as it is")
    return parser.parse_args(given)


def measure(programs: Iterable[Any], seeds: Iterable[int], live: bool) -> Iterator[Found]:
    """Train, record and diagnose each program with each seed."""
    from fluoroscope.training.diagnosis import diagnose
    from tests.diagnosis.programs import run_program

    for program in programs:
        for seed in seeds:
            history, tensors = run_program(program, seed)
            started = time.process_time()
            findings = diagnose(history, tensors)
            seconds = time.process_time() - started
            told = [(f.rule, f.severity) for f in findings]
            made = Found(program, seed, told, seconds, watched(history, tensors) if live else [])
            print(f"{program.name} {seed}: {told}", file=sys.stderr)
            yield made


class Prefix:
    """A run as it was seen while it grew."""

    def __init__(self, history: Any, tensors: Any) -> None:
        self.whole, self.tensors, self.step = history, tensors, 0

    def history(self) -> Any:
        """Series up to now."""
        series = {}
        for name, s in self.whole.series.items():
            keep = s.steps <= self.step
            series[name] = s.replace(steps=s.steps[keep], values=s.values[keep])
        return self.whole.replace(series=series)

    def tensor_history(self) -> Any:
        """Statistics up to now."""
        keep = self.tensors.steps <= self.step
        parts = ("statistics", "recorded")
        cut = {part: {k: v[:, keep] for k, v in getattr(self.tensors, part).items()} for part in parts}
        return self.tensors.replace(steps=self.tensors.steps[keep], **cut)


def watched(history: Any, tensors: Any) -> list[tuple[str, str]]:
    """What a watcher tells of a run that it looks at twelve times while it grows."""
    from fluoroscope.training.diagnosis import Watcher

    run, told = Prefix(history, tensors), []
    last = max((int(s.steps[-1]) for s in history.series.values() if len(s.steps)), default=0)
    every = max(1, last // LOOKS)
    watch = Watcher(run, every=every, share=1.0)
    for step in range(every, last + 1, every):
        run.step = step
        told += [(f.rule, f.severity) for f in watch.look(step)]
    return told


# ---------------------------------------------------------------------------------------------------------------------


def document(found: list[Found], seeds: Iterable[int]) -> str:
    """The measured part of docs/diagnosis.md."""
    faulty, healthy = [f for f in found if f.program.fault], [f for f in found if not f.program.fault]
    seconds = np.median([f.seconds for f in found])
    hits, alarms = sum(f.hit for f in faulty), sum(bool(f.false("problem")) for f in healthy)
    lines = [
        f"Measured on {datetime.datetime.now(datetime.UTC).date()}, seeds {', '.join(map(str, seeds))}: "
        f"{len({f.program.name for f in faulty})} faulty programs in {len(faulty)} runs, "
        f"{len({f.program.name for f in healthy})} healthy programs in {len(healthy)} runs. "
        f"**{hits} of {len(faulty)} planted faults were found ({hits / max(1, len(faulty)):.0%}); {alarms} of "
        f"{len(healthy)} healthy runs were told a problem, {_with(healthy, 'warning')} a warning** "
        f"({_with(healthy, 'hint')} a hint). While they grew, a watcher told {_live(healthy, 'problem')} healthy runs "
        f"a problem and {_live(healthy, 'warning')} a warning. A diagnosis took {1000 * seconds:.0f} ms of processor "
        "time (median).",
        "",
        *_rule_table(faulty, healthy),
        "",
        *_missed(faulty),
    ]
    return "\n".join(lines)


def _with(runs: list[Found], severity: str) -> int:
    return sum(bool(f.false(severity)) for f in runs)


def _live(runs: list[Found], severity: str) -> int:
    return sum(any(s == severity for _, s in f.live) for f in runs)


def _rule_table(faulty: list[Found], healthy: list[Found]) -> Iterator[str]:
    from fluoroscope.training.diagnosis.rule import rules

    yield "| rule | programs with this fault | found | problems, healthy | warnings, healthy | unexplained |"
    yield "|---|---|---|---|---|---|"
    problems = Counter(r for f in healthy for r in f.false("problem"))
    warnings = Counter(r for f in healthy for r in f.false("warning"))
    strange = Counter(r for f in faulty for r in f.unexplained)
    for rule in rules():
        mine = [f for f in faulty if f.program.fault == rule]
        count = f"{sum(f.hit for f in mine)} of {len(mine)}" if mine else "–"
        programs = len({f.program.name for f in mine})
        yield f"| `{rule}` | {programs} | {count} | {problems[rule]} | {warnings[rule]} | {strange[rule]} |"


def _missed(faulty: list[Found]) -> Iterator[str]:
    missed = [f for f in faulty if not f.hit]
    if not missed:
        yield "Every planted fault was found."
        return
    yield "Not found, and what was said instead:"
    yield ""
    for f in missed:
        said = ", ".join(f"{r} ({s})" for r, s in f.told) or "nothing"
        yield f"- {f.program.title} (`{f.program.name}`, seed {f.seed}): {said}."


def write(text: str) -> None:
    """Put the measured part into the document."""
    page = DOCUMENT.read_text(encoding="utf-8")
    pattern = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.DOTALL)
    DOCUMENT.write_text(pattern.sub(lambda _: f"{BEGIN}\n\n{text}\n\n{END}", page), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
