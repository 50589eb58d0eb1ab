"""Starting up: importing the package and asking the command for help."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench.case import Bar, Row, Setting, Unmeasured, case
from bench.timing import quartiles, time_pair

IMPORT, HELP = Bar(0.15), Bar(0.3)
ROUNDS = 15


@case("start-up", "Starting up", on_accelerator=False)
def start_up(setting: Setting) -> Iterator[Row | Unmeasured]:
    """Whole processes from start to end, the interpreter's own start included, each in alternation with a bare
    `python -c pass`; what is left after subtracting that is given beside it.
    """
    rounds = 5 if setting.quick else ROUNDS
    yield _row("import fluoroscope", [sys.executable, "-c", "import fluoroscope"], IMPORT, rounds)
    command = Path(sys.executable).with_name("fluoroscope")
    if not command.exists():
        yield Unmeasured("fluoroscope --help", "the command is not installed in this environment")
        return
    yield _row("fluoroscope --help", [str(command), "--help"], HELP, rounds)


def _row(name: str, command: Sequence[str], bar: Bar, rounds: int) -> Row:
    pair = time_pair(_process(command), _process([sys.executable, "-c", "pass"]), rounds=rounds)
    low, high = quartiles(list(pair.first))
    median, bare = statistics.median(pair.first), statistics.median(pair.second)
    detail = f"{median - bare:.3f} s after a bare interpreter's {bare:.3f} s, {len(pair.first)} rounds"
    return Row(name, median, "s", bar, low, high, detail)


def _process(command: Sequence[str]) -> Callable[[], object]:
    return lambda: subprocess.run(command, check=True, capture_output=True)
