"""Runs every example in a fresh interpreter and collects its pictures into a page of the manual.

    python docs/gallery.py [NAME ...]      all examples, or those named

An example is a script of 10-40 lines: its docstring says what it shows, its pictures are the PNG files it leaves in the
folder it runs in (a page, where it makes a page). One that fails stops everything with its own message.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
OUT = ROOT / "docs" / "_generated"
LIMIT_SECONDS = 300

HEAD = """# Examples

Each of these is a whole script from `examples/`, with the picture it made when this manual was built.
"""


def main(names: list[str]) -> int:
    chosen = sorted(p for p in EXAMPLES.glob("*.py") if not names or p.stem in names)
    if unknown := set(names) - {p.stem for p in chosen}:
        sys.exit(f"no such example: {', '.join(sorted(unknown))}")
    page = [HEAD]
    for script in chosen:
        start = time.perf_counter()
        page.append(section(script, run(script)))
        print(f"  {script.relative_to(ROOT)}  {time.perf_counter() - start:.1f} s", flush=True)
    (OUT / "gallery.md").write_text("\n".join(page), encoding="utf-8")
    print(f"gallery: {(OUT / 'gallery.md').relative_to(ROOT)}")
    return 0


def run(script: Path) -> list[Path]:
    """Run one example in a folder of its own; returns the pictures and pages it left there."""
    folder = OUT / "gallery" / script.stem
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    # Passive waiting: torch's threads do not fight with others for the processor.
    environment = {**os.environ, "MPLBACKEND": "Agg", "OMP_WAIT_POLICY": "PASSIVE"}
    command = [sys.executable, "-W", "error:::fluoroscope", str(script)]
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, timeout=LIMIT_SECONDS, capture_output=True, text=True, check=False
        )
    except subprocess.TimeoutExpired:
        sys.exit(f"{script.relative_to(ROOT)} took more than {LIMIT_SECONDS} s")
    (folder / "output.txt").write_text(done.stdout, encoding="utf-8")
    if done.returncode:
        sys.exit(f"{script.relative_to(ROOT)} failed:\n{done.stdout}{done.stderr}")
    made = sorted(p for p in folder.iterdir() if p.suffix in (".png", ".html"))
    if not made:
        sys.exit(f"{script.relative_to(ROOT)} left neither a picture nor a page")
    return made


def section(script: Path, made: list[Path]) -> str:
    """Title, lead, pictures and pages, what it printed, and the source without its docstring."""
    source = script.read_text(encoding="utf-8")
    tree = ast.parse(source)
    title, _, lead = (ast.get_docstring(tree) or script.stem).partition("\n")
    printed = (made[0].parent / "output.txt").read_text(encoding="utf-8").strip()
    code = "\n".join(source.splitlines()[tree.body[0].end_lineno or 0 :]).strip()
    shown = "\n".join(link(p, title.rstrip(".")) for p in made)
    output = f"It prints:\n\n```text\n{printed}\n```\n" if printed else ""
    return f"## {title.rstrip('.')}\n\n{lead.strip()}\n\n{shown}\n```python\n{code}\n```\n\n{output}"


def link(path: Path, title: str) -> str:
    """A picture in its place, or a page to open."""
    place = path.relative_to(OUT).as_posix()
    return f"![{title}]({place})\n" if path.suffix == ".png" else f"It makes {{download}}`{path.name} <{place}>`.\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
