"""``fluoroscope diagnose``: what is wrong with a recorded training, why it is thought so, and what to try."""

from __future__ import annotations

import math
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fluoroscope.cli.console import Console, printable
from fluoroscope.cli.files import check_writable, safe_names, write_result
from fluoroscope.cli.options import Command, answer_options
from fluoroscope.cli.table import table
from fluoroscope.errors import ResultFileError

if TYPE_CHECKING:
    from fluoroscope.results import Finding, Findings

__all__ = ["FOUND", "command"]

FOUND = 9
"""Exit code where a finding is as severe as ``--fail-on`` says."""
RANK = {"hint": 0, "warning": 1, "problem": 2}
MOST = 100  # characters of a line of evidence


@click.command("diagnose", cls=Command, short_help="What is wrong with a recorded training, and what to try.")
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
@click.option("--rule", "rules", multiple=True, metavar="NAME", help="Only this rule. Repeatable.")
@click.option("--classes", type=click.IntRange(2), help="Number of classes, if the run's configuration does not say.")
@click.option("--epoch", type=click.IntRange(1), metavar="STEPS", help="Steps of an epoch, likewise.")
@click.option("--skipped", "show_skipped", is_flag=True, help="Also say which rules could not be applied, and why.")
@click.option(
    "--fail-on",
    type=click.Choice(["hint", "warning", "problem"]),
    help=f"Leave with exit code {FOUND} where something this severe was found.",
)
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Also write the findings as .fluo files.")
@answer_options
def command(
    run: Path,
    rules: tuple[str, ...],
    classes: int | None,
    epoch: int | None,
    show_skipped: bool,
    fail_on: str | None,
    out: Path | None,
    console: Console,
) -> None:
    """Diagnose RUN: the folder of a run, FOLDER/NAME, a folder of runs, or a history in a .fluo file.

    A problem keeps the training from what it could reach, a warning may, a hint is worth a look. The exit code is 0
    whatever is found, unless --fail-on is given; 7 where a run is damaged: what can be read of it is diagnosed all the
    same, and so are the others.
    """
    from fluoroscope.training.store import damage

    if out is not None:
        check_writable(out / "findings.fluo")
    found: dict[str, Findings] = {}
    sources, damaged = _runs(run)
    for name, source in sources.items():
        try:
            found[name] = _diagnosed(source, rules, classes, epoch)
            if found[name].meta.get("unreadable"):
                damaged[name] = damage(source.path, ResultFileError("; ".join(found[name].notes)))
        except ResultFileError as error:
            if len(sources) == 1:
                raise
            damaged[name] = error
    several = len(found | damaged) > 1
    for name, findings in found.items():
        if several:
            console.say(f"== {printable(name)}")
        _say(findings, show_skipped, console)
        if several:
            console.say()
    for problem in damaged.values():
        console.failed(problem)
    paths = []
    if out is not None:
        stems = safe_names(found)
        paths = [write_result(f, out / stem) for stem, f in zip(stems, found.values(), strict=True)]
        for path in paths:
            console.say(printable(path))
    entries = {name: _entries(f) for name, f in found.items()}
    console.answer({"runs": entries, "damaged": {n: str(e) for n, e in damaged.items()}, "files": paths})
    worst = max((RANK[f.severity] for findings in found.values() for f in findings), default=-1)
    if fail_on is not None and worst >= RANK[fail_on]:
        for problem in damaged.values():
            console.note(f"note: {problem}")
        click.get_current_context().exit(FOUND)


def _runs(path: Path) -> tuple[dict[str, Any], dict[str, Exception]]:
    """Runs by name: those in the folder, the one whose folder it is, or a file; and folders that can't be read."""
    if path.suffix == ".fluo":
        return {path.stem: path}, {}
    from fluoroscope.training.store import damaged_at, runs_at

    return dict(runs_at(path)), damaged_at(path)


def _diagnosed(source: Any, rules: tuple[str, ...], classes: int | None, epoch: int | None) -> Findings:
    from fluoroscope.training.diagnosis import diagnose
    from fluoroscope.training.store import Run, damage

    try:
        return diagnose(source, rules=rules or None, classes=classes, steps_per_epoch=epoch)
    except ResultFileError as error:
        if not isinstance(source, Run):
            raise
        raise damage(source.path, error) from error


def _say(findings: Findings, show_skipped: bool, console: Console) -> None:
    if not len(findings):
        console.say(printable(f"{findings.caption}."))
    else:
        lines = [(f.severity, f.title, _where(f), _when(f), f"{f.confidence:.2f}") for f in findings]
        console.show(table(("severity", "finding", "where", "steps", ">confidence"), lines, console.terminal))
        for finding in findings:
            console.say()
            _explain(finding, console)
        console.say(f"\n{printable(findings.caption)}")
    for note in findings.notes:
        console.say(f"note: {printable(note)}")
    if show_skipped:
        for rule, reason in findings.skipped.items():
            console.say(f"not applied: {printable(rule)}: {printable(reason)}")


def _explain(finding: Finding, console: Console) -> None:
    console.say(f"{finding.severity}: {printable(finding.title)}  [{printable(finding.rule)}]")
    for line in textwrap.wrap(printable(finding.evidence), MOST):
        console.say(f"  {line}")
    for advice in finding.advice:
        for i, line in enumerate(textwrap.wrap(printable(advice), MOST - 8)):
            console.say(f"  {'try:' if i == 0 else '    '} {line}")
    console.say(f"  source: {printable(finding.source)}")


def _where(finding: Finding) -> str:
    names = finding.layers
    return "" if not names else names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _when(finding: Finding) -> str:
    steps = finding.steps
    if not steps:
        return ""
    return str(steps[0]) if steps[0] == steps[-1] else f"{steps[0]}-{steps[-1]}"


def _entries(findings: Findings) -> dict[str, Any]:
    return {
        "findings": [_entry(f) for f in findings],
        "checked": list(findings.checked),
        "skipped": dict(findings.skipped),
        "notes": list(findings.notes),
    }


def _entry(finding: Finding) -> dict[str, Any]:
    names = ("rule", "title", "severity", "confidence", "layers", "steps", "evidence", "advice", "source")
    numbers = {k: v if math.isfinite(v) else None for k, v in finding.numbers.items()}
    return {**{n: getattr(finding, n) for n in names}, "numbers": numbers}
