"""Build hook: makes the report page from web/ with npm, once per state of its sources.

The page goes into the wheel and the sdist, so that installing either of them needs no npm.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PAGE = "src/fluoroscope/render/template/report.html"
DESIGN = "src/fluoroscope/render/design.json"
NOT_SOURCES = {"node_modules", "dist", "tests", "test-results"}

NO_NPM = """fluoroscope: the report page has to be built, and npm is not there
  got:      no `npm` on the PATH, and no page built from these sources
  expected: Node.js 20 or later with npm
  remedy:   install Node.js and npm (Debian: apt-get install nodejs npm),
            or install from a wheel or an sdist, which carry the built page"""


class PageBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Runs before every build, editable ones included."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the page unless the one that is there was made from these very sources."""
        root = Path(self.root)
        page, seal = root / PAGE, (root / PAGE).with_suffix(".digest")
        sources = digest(root)
        if page.exists() and seal.exists() and seal.read_text() == sources:
            return
        npm = shutil.which("npm") or self.app.abort(NO_NPM)
        seal.unlink(missing_ok=True)
        for step in (["ci", "--no-audit", "--no-fund"], ["run", "build"]):
            if subprocess.run([npm, *step], cwd=root / "web", stdin=subprocess.DEVNULL, check=False).returncode:
                self.app.abort(f"fluoroscope: `npm {' '.join(step)}` failed in web/; its own message is above")
        if not page.exists():
            self.app.abort(f"fluoroscope: `npm run build` ended well but left no {PAGE}")
        seal.write_text(sources)


def digest(root: Path) -> str:
    """SHA-256 over names and bytes of everything the page is made from, in a fixed order."""
    found = hashlib.sha256()
    for path in sorted([root / DESIGN, *sources_in(root / "web")], key=lambda p: p.relative_to(root).as_posix()):
        content = path.read_bytes()
        found.update(f"{path.relative_to(root).as_posix()}\0{len(content)}\0".encode() + content)
    return found.hexdigest() + "\n"


def sources_in(folder: Path) -> list[Path]:
    """The files of ``folder`` that the page is made from: no hidden ones, no tests, nothing that a tool puts there."""
    found: list[Path] = []
    for at, folders, names in os.walk(folder):
        folders[:] = [f for f in folders if f not in NOT_SOURCES and not f.startswith(".")]
        found += [Path(at) / n for n in names if not n.startswith(".") and not n.endswith(".tsbuildinfo")]
    return found
