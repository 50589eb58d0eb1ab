"""The parts that commands share: option values, file names, numbers, help."""

from __future__ import annotations

import errno
import io
import re
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from fluoroscope.cli import main
from fluoroscope.cli.console import Console, printable
from fluoroscope.cli.files import check_writable, safe_names
from fluoroscope.cli.network import keyword
from fluoroscope.cli.outcome import EXIT_CODES
from fluoroscope.cli.program import COMMANDS
from fluoroscope.cli.progress_lines import lines
from fluoroscope.cli.settings import converted
from fluoroscope.cli.units import amount, share
from fluoroscope.errors import OptionError, ResultFileError, error_classes, write_remedy


@pytest.mark.parametrize(
    ("text", "hint", "value"),
    [
        ("3", int, 3),
        ("0.5", float, 0.5),
        ("1e-3", float, 1e-3),
        ("no", bool, False),
        ("TRUE", bool, True),
        ("none", int | None, None),
        ("4", int | None, 4),
        ("none", str | None, None),
        ("layer4", str | None, "layer4"),
        ("a,b", str | tuple[str, ...] | None, ("a", "b")),
        ("a", str | tuple[str, ...] | None, "a"),
        ("3,224,224", tuple[int, ...] | None, (3, 224, 224)),
        ("7", tuple[int, ...], (7,)),
        ("0.1,2", tuple[float, float], (0.1, 2.0)),
        ("b", Literal["a", "b"], "b"),
    ],
)
def test_values_by_type(text, hint, value):
    assert converted(text, hint, "x") == value


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("3.5", int),
        ("many", float),
        ("maybe", bool),
        ("none", int),
        ("1,b", tuple[int, ...]),
        ("1,2,3", tuple[int, int]),
        ("c", Literal["a", "b"]),
    ],
)
def test_values_that_do_not_fit(text, hint):
    with pytest.raises(OptionError, match=r"method\.option"):
        converted(text, hint, "method.option")


@pytest.mark.parametrize(
    ("text", "value"),
    [("depth=18", 18), ("name=resnet", "resnet"), ("on=True", True), ("s='3'", "3"), ("v=[1, 2]", [1, 2])],
)
def test_arguments_are_literals_or_text(text, value):
    assert keyword(text, "--arg")[1] == value


def test_an_argument_is_never_code():
    assert keyword("x=__import__('os').getcwd()", "--arg")[1] == "__import__('os').getcwd()"


@given(st.lists(st.text(max_size=300), max_size=8))
def test_file_names_are_safe(names):
    made = safe_names(names)
    assert len({name.casefold() for name in made}) == len(names)
    for name in made:
        assert re.fullmatch(r"[\w.-]+", name) and not name.startswith(".")
        assert len(name.encode()) < 150
        assert name.split(".")[0].lower() not in {"con", "nul", "aux", "com1"}


def test_file_names_people_know_stay():
    assert safe_names(["cat.jpg", "a/cat.png", "../../etc/passwd", "Ü 1.png", "con.png"]) == [
        "cat", "cat-2", "passwd", "Ü_1", "_con",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, ""),
        (7, "7"),
        (999, "999"),
        (1000, "1.00 k"),
        (36_864, "36.9 k"),
        (999_600, "1.00 M"),
        (4.09e9, "4.09 G"),
        (6.0155e8, "602 M"),
    ],
)
def test_amounts(number, text):
    assert amount(number) == text


def test_a_small_share_is_not_nothing():
    assert share(0.0) == "0.0 %" and share(1e-6) == "<0.1 %" and share(0.25) == "25.0 %"


def test_printable_shows_escapes():
    assert printable("a\x1b[2Jb\nc\u202e") == "a\\x1b[2Jb c\\u202e"


def test_a_narrow_encoding_is_no_obstacle(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    Console().say("Größe → 3")
    stream.flush()
    assert stream.buffer.getvalue() == b"Gr\\xf6\\xdfe \\u2192 3\n"


def test_help_names_every_command_and_exit_code():
    text = CliRunner().invoke(main, ["--help"]).stdout
    for name in COMMANDS:
        assert re.search(rf"^  {name} ", text, re.MULTILINE)
    for cls in error_classes():
        assert cls.code in text and re.search(rf"^  {cls.exit_code} ", text, re.MULTILINE)
    assert all(meaning for _, meaning in EXIT_CODES)
    assert "..." not in text.partition("Commands:")[2].partition("Exit codes:")[0]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name):
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0 and "--json" in result.stdout


@pytest.mark.parametrize(
    "arguments", [["--help"], ["explain", "--help"], ["report", "--help"], ["--version"], ["nonsense"]]
)
def test_help_imports_nothing_heavy(arguments):
    code = (
        "import sys\nfrom fluoroscope.cli import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit:\n    pass\n"
        "print(*sorted(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stderr.splitlines()[-1].split())
    assert "fluoroscope.cli.program" in loaded
    assert not loaded & {"torch", "matplotlib", "numpy", "rich", "PIL"}


def test_the_terminal_s_table_is_a_tree_that_fits(monkeypatch, tmp_path, run):
    (tmp_path / "deep.py").write_text(
        "from torch import nn\ndef net():\n    return nn.Sequential(nn.Sequential(nn.Conv2d(3, 1000, 3)), nn.ReLU())"
    )
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr(Console, "terminal", True)
    text = re.sub(r"\x1b\[[\d;]*m", "", run("layers", f"{tmp_path}/deep.py:net").stdout)
    lines = text.partition("\n\n")[0].splitlines()
    assert max(map(len, lines)) <= 60
    assert [line.split()[0] for line in lines[2:]] == ["0", "0", "1"]
    assert lines[3].startswith("  0")
    assert "28,000" in lines[2] and "2.66 G" in lines[2]  # numbers are never cut
    assert "…" in lines[2]


def test_progress_in_a_log_is_a_line_every_ten_seconds_with_the_time_left() -> None:
    now = 0.0
    said: list[str] = []
    listen = lines(said.append, clock=lambda: now)
    for done in range(401):
        now = float(done)
        listen("Training", done, 400)
    assert len(said) == 39
    assert said[0] == "Training: 10 of 400, about 6 min left"
    assert said[-1] == "Training: 390 of 400, about 10 s left"
    said.clear()
    now = 401.0
    for done in (0, 1, 2):  # the same task once more: its clock begins anew
        now += 6
        listen("Training", done, 4)
    assert said == ["Training: 0 of 4", "Training: 2 of 4, about 12 s left"]


def test_a_remedy_for_a_failed_write_fits_the_failure() -> None:
    assert "free some space" in write_remedy(OSError(errno.ENOSPC, "No space left on device"))
    for number in (errno.ENOENT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENAMETOOLONG):
        assert "space" not in write_remedy(OSError(number, "")), number


def test_a_place_that_can_not_be_written_is_found_before_the_work(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "deep" / "x.png")
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultFileError, match="is a file, not a folder"):
        check_writable(tmp_path / "file" / "x.png")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc")
def test_permissions_alone_do_not_make_a_place_writable() -> None:
    with pytest.raises(ResultFileError, match="can't be written") as caught:
        check_writable(Path("/proc/fluoroscope/x.png"))
    assert "space" not in str(caught.value.remedy)
