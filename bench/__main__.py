"""``python -m bench``: measure, print the table, write docs/benchmarks.md. Exit code 1 where values are unequal."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "benchmarks.md"


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Compare with bare torch and the peers.")
    parser.add_argument("--only", metavar="NAME", action="append", help="one case; may be given several times")
    parser.add_argument("--quick", action="store_true", help="batch 1 and few rounds: a rough look")
    parser.add_argument("--list", action="store_true", help="names of the cases")
    parser.add_argument("--device", default="cpu", help="where to compute (default: cpu)")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch (default: 2)")
    parser.add_argument("--no-write", action="store_true", help="leave docs/benchmarks.md as it is")
    return parser.parse_args(given)


def enter_environment() -> None:
    """Go on in the peers' own environment, where $BENCH_VENV names one; it is made first if need be."""
    named = os.environ.pop("BENCH_VENV", "")
    if not named or Path(named).resolve() == Path(sys.prefix).resolve():
        return
    subprocess.run(["bash", str(ROOT / "bench" / "setup.sh"), named], check=True, cwd=ROOT)
    python = str(Path(named) / "bin" / "python")
    os.chdir(ROOT)
    os.execv(python, [python, "-m", "bench", *sys.argv[1:]])


def main(given: list[str] | None = None) -> int:
    """Measure what was asked for; the exit code."""
    options = arguments(given)
    from rich.console import Console

    from bench.case import Row, Setting, cases, measured
    from bench.document import document, in_short, print_table
    from bench.machine import describe

    known = cases()
    if options.list:
        print(*(f"{case.name:12} {case.title}" for case in known.values()), sep="\n")
        return 0
    unknown = set(options.only or ()) - set(known)
    if unknown:
        print(f"no such case: {', '.join(sorted(unknown))}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    setting = Setting(options.device, options.threads, options.quick)
    here = [c for c in known.values() if setting.device == "cpu" or c.on_accelerator]
    chosen = [c for c in here if c.name in (options.only or known)]
    console, found = Console(width=150), {}
    for case in chosen:
        console.print(f"measuring: {case.title} ...", style="dim")
        found[case.name] = (case, measured(case.name, setting))
        print_table(*found[case.name], console)
    console.print(in_short(found), highlight=False, markup=False)
    machine = describe(setting)
    for label, text in machine.items():
        console.print(f"{label}: {text}", highlight=False)
    if not (options.no_write or options.quick or options.only or setting.device != "cpu"):
        DOCUMENT.write_text(document(found, machine), encoding="utf-8")
        console.print(f"written: {DOCUMENT.relative_to(ROOT)}")
    unequal = [r.name for _, rows in found.values() for r in rows if isinstance(r, Row) and r.values and not r.met]
    if unequal:
        print("values are unequal:", *unequal, sep="\n  ", file=sys.stderr)
    return 1 if unequal else 0


if __name__ == "__main__":
    enter_environment()
    sys.exit(main())
