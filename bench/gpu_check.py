"""``python -m bench.gpu_check``: the contract suite and the benchmarks on an accelerator; says so where there is none.

Exit code 0 where there is no accelerator: nothing was found wrong, and the words say that nothing was checked. The
contract suite reads the device from $FLUOROSCOPE_DEVICE. The bars of the benchmarks are for two processor cores; on an
accelerator they are shown to compare with, and only unequal values fail.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent
SUITE = "tests/contract"


def accelerator() -> str | None:
    """Kind of the machine's accelerator, ``cuda`` for one; None where torch sees none."""
    if not torch.accelerator.is_available():
        return None
    found = torch.accelerator.current_accelerator()
    return found.type if found is not None else None


def commands(device: str, quick: bool) -> dict[str, list[str]]:
    """What is run, by what it is."""
    python = [sys.executable, "-m"]
    return {
        "the contract suite": [*python, "pytest", SUITE, "-q"],
        "the benchmarks": [*python, "bench", "--device", device, "--no-write", *(["--quick"] if quick else [])],
    }


def main(given: list[str] | None = None) -> int:
    """Run both; the exit code is 1 where either failed."""
    parser = argparse.ArgumentParser(prog="python -m bench.gpu_check", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a rough look at the benchmarks")
    options = parser.parse_args(given)
    device = accelerator()
    if device is None:
        print(f"No accelerator: torch {torch.__version__} sees none on this machine, so nothing was checked.")
        return 0
    print(f"Accelerator: {device}, torch {torch.__version__}", flush=True)
    environment = {**os.environ, "FLUOROSCOPE_DEVICE": device}
    failed = []
    for name, command in commands(device, options.quick).items():
        print(f"\n{name} on {device}: {' '.join(command[1:])}", flush=True)
        if subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode != 0:
            failed.append(name)
    print(f"\nfailed on {device}: {', '.join(failed)}" if failed else f"\nall passed on {device}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
