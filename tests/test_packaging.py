"""The wheel and the sdist: what is in them, and that they carry the built page so that users need no npm."""

from __future__ import annotations

import email
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import zipfile
from email.message import Message
from pathlib import Path

import pytest

PAGE = "src/fluoroscope/render/template/report.html"
NEEDED = ["src", "web", "pyproject.toml", "hatch_build.py", "constraints.txt", ".gitignore"]
NEEDED += ["LICENSE", "README.md", "CHANGELOG.md", "CITATION.cff"]
LEFT_OUT = shutil.ignore_patterns("node_modules", "__pycache__", "dist")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def build(source: Path, out: Path, *kinds: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    """``python -m build`` of ``source`` into ``out`` with this environment's hatchling; ``path`` replaces the PATH."""
    environment = {**os.environ, **({"PATH": path} if path is not None else {})}
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), *kinds, str(source)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def said(done: subprocess.CompletedProcess[str]) -> str:
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def source(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the packages are made from, with the built page where there is one."""
    clone = tmp_path_factory.mktemp("clone")
    for name in NEEDED:
        if (root / name).is_dir():
            shutil.copytree(root / name, clone / name, ignore=LEFT_OUT)
        else:
            shutil.copy(root / name, clone / name)
    return clone


@pytest.fixture(scope="module")
def packages(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel made from that sdist."""
    out = tmp_path_factory.mktemp("packages")
    done = build(source, out)
    assert done.returncode == 0, said(done)
    return out


@pytest.fixture(scope="module")
def wheel(packages: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(next(packages.glob("*.whl")))


@pytest.fixture(scope="module")
def sdist(packages: Path) -> tarfile.TarFile:
    return tarfile.open(next(packages.glob("*.tar.gz")))


@pytest.fixture
def unpacked(sdist: tarfile.TarFile, tmp_path: Path) -> Path:
    """The sdist as a user has it: the page is in it, npm's packages are not."""
    sdist.extractall(tmp_path, filter="data")
    return next(tmp_path.glob("fluoroscope-*"))


@pytest.fixture
def no_npm(tmp_path: Path) -> str:
    """A PATH without npm."""
    folder = tmp_path / "empty"
    folder.mkdir()
    return str(folder)


@pytest.fixture
def false_npm(tmp_path: Path) -> str:
    """A PATH on which npm only writes down what it was asked to do, and makes a page."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "npm"
    script.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n[ "$1" = run ] || exit 0\n'
        f"PATH=/bin:/usr/bin mkdir -p ../{Path(PAGE).parent}; echo '<html>new</html>' > ../{PAGE}\n"
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return str(folder)


def asked(tmp_path: Path) -> list[str]:
    record = tmp_path / "asked"
    return record.read_text().splitlines() if record.exists() else []


def members(archive: tarfile.TarFile) -> list[str]:
    return [name.partition("/")[2] for name in archive.getnames()]


def metadata(wheel: zipfile.ZipFile) -> Message:
    return email.message_from_bytes(wheel.read(next(n for n in wheel.namelist() if n.endswith("/METADATA"))))


def test_both_carry_the_page(wheel: zipfile.ZipFile, sdist: tarfile.TarFile) -> None:
    inside = wheel.read("fluoroscope/render/template/report.html")
    entry = sdist.extractfile(next(m for m in sdist.getmembers() if m.name.endswith(PAGE)))
    assert entry is not None and entry.read() == inside
    assert inside.lstrip()[:15].lower() == b"<!doctype html>"
    assert b"fs-document" in inside


def test_wheel_holds_the_package_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    assert {n.partition("/")[0] for n in names} == {"fluoroscope", names[-1].partition("/")[0]}
    assert {"fluoroscope/py.typed", "fluoroscope/render/design.json", "fluoroscope/cli/__init__.py"} <= set(names)
    assert any(n.endswith("dist-info/licenses/LICENSE") for n in names)
    assert not [n for n in names if n.endswith((".fluo", ".pt", ".safetensors", ".ipynb", ".pyc", ".digest"))]
    assert sum(i.file_size for i in wheel.infolist()) < 3_000_000


def test_sdist_can_be_built_again(sdist: tarfile.TarFile) -> None:
    names = set(members(sdist))
    assert {"pyproject.toml", "hatch_build.py", "LICENSE", "README.md"} <= names
    assert {"web/package.json", "web/package-lock.json"} <= names
    assert not [n for n in names if n.startswith(("tests", ".venv", "docs", "shared")) or "node_modules" in n]


def test_metadata(wheel: zipfile.ZipFile, root: Path) -> None:
    import fluoroscope

    found = metadata(wheel)
    assert found["Version"] == fluoroscope.__version__
    assert found["License-Expression"] == "Apache-2.0"
    assert found["Requires-Python"] == ">=3.11"
    entry_points = wheel.read(next(n for n in wheel.namelist() if n.endswith("entry_points.txt"))).decode()
    assert "fluoroscope = fluoroscope.cli:main" in entry_points
    assert f"## [{fluoroscope.__version__}]" in (root / "CHANGELOG.md").read_text()


def test_core_needs_no_torchvision_and_no_extra(wheel: zipfile.ZipFile) -> None:
    core = {r.split(">")[0] for r in metadata(wheel).get_all("Requires-Dist", []) if "extra ==" not in r}
    assert core == {"torch", "numpy", "pillow", "safetensors", "matplotlib", "click", "rich", "starlette", "uvicorn"}


def test_sdist_installs_without_npm(unpacked: Path, no_npm: str, wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    """The wheel that a user without npm builds from the sdist works and shows the same page."""
    done = build(unpacked, tmp_path / "out", "--wheel", path=no_npm)
    assert done.returncode == 0, said(done)
    site = tmp_path / "site"
    built = next((tmp_path / "out").glob("*.whl"))
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", str(site), str(built)]
    subprocess.run(pip, check=True, capture_output=True)
    code = "import fluoroscope; print(fluoroscope.__file__)"
    environment = {**os.environ, "PYTHONPATH": str(site)}
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert Path(found.stdout.strip()).is_relative_to(site)
    page = "fluoroscope/render/template/report.html"
    assert (site / page).read_bytes() == wheel.read(page)


@pytest.mark.parametrize("kind", ["--wheel", "--sdist"])
def test_no_page_and_no_npm_fails_clearly(unpacked: Path, no_npm: str, tmp_path: Path, kind: str) -> None:
    shutil.rmtree((unpacked / PAGE).parent)
    done = build(unpacked, tmp_path / "out", kind, path=no_npm)
    assert done.returncode != 0
    assert "the report page has to be built, and npm is not there" in said(done)
    assert "remedy:" in said(done) and "Traceback" not in said(done)
    assert not list((tmp_path / "out").glob("*"))


def test_a_stale_page_is_never_packed(unpacked: Path, no_npm: str, tmp_path: Path) -> None:
    """A change of the page's sources makes the built page worthless, so without npm there is no package."""
    with (unpacked / "web" / "package.json").open("a") as file:
        file.write("\n")
    done = build(unpacked, tmp_path / "out", "--wheel", path=no_npm)
    assert done.returncode != 0 and "npm is not there" in said(done)


def test_a_fresh_page_is_not_built_again(unpacked: Path, false_npm: str, tmp_path: Path) -> None:
    assert build(unpacked, tmp_path / "out", "--wheel", path=false_npm).returncode == 0
    assert asked(tmp_path) == []


@pytest.mark.parametrize("change", ["web/package.json", "src/fluoroscope/render/design.json"])
def test_a_change_builds_the_page_once(unpacked: Path, false_npm: str, tmp_path: Path, change: str) -> None:
    with (unpacked / change).open("a") as file:
        file.write("\n")
    for _ in range(2):
        done = build(unpacked, tmp_path / "out", "--wheel", path=false_npm)
        assert done.returncode == 0, said(done)
    assert [line.split()[:2] for line in asked(tmp_path)] == [["ci", "--no-audit"], ["run", "build"]]
    with zipfile.ZipFile(next((tmp_path / "out").glob("*.whl"))) as made:
        assert made.read("fluoroscope/render/template/report.html") == b"<html>new</html>\n"


def test_an_editable_install_builds_the_page(unpacked: Path, false_npm: str, tmp_path: Path) -> None:
    shutil.rmtree((unpacked / PAGE).parent)
    code = f"from hatchling.build import build_editable; build_editable({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=unpacked, env={**os.environ, "PATH": false_npm}, check=True)
    assert (unpacked / PAGE).read_text() == "<html>new</html>\n"


def test_a_failing_build_of_the_page_fails_the_package(unpacked: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "npm").write_text("#!/bin/sh\necho 'no space left' >&2\nexit 3\n")
    (folder / "npm").chmod(0o755)
    shutil.rmtree((unpacked / PAGE).parent)
    done = build(unpacked, tmp_path / "out", "--wheel", path=str(folder))
    assert done.returncode != 0
    assert "no space left" in said(done) and "failed in web/" in said(done)
    assert not (unpacked / PAGE).exists()
