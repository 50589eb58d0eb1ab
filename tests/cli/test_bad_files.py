"""Files that are not what their names say, layers that are not there, and ways to start the program."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import SOURCE, one_error

JUNK = bytes(range(7, 256)) * 3


@pytest.mark.parametrize(
    ("command", "name", "code", "told"),
    [
        (("graph",), "junk.onnx", "FS-MODEL", "not a complete ONNX file"),
        (("weights",), "junk.onnx", "FS-MODEL", "not a complete ONNX file"),
        (("layers",), "junk.pt2", "FS-MODEL", "not a program of torch.export"),
        (("layers", "--trust"), "junk.pt2", "FS-MODEL", "not a program of torch.export"),
        (("layers",), "junk.keras", "FS-MODEL", "not a Keras file"),
        (("layers",), "junk.h5", "FS-MODEL", "not a Keras file"),
        (("weights",), "junk.safetensors", "FS-MODEL", "not a complete safetensors file"),
        (("weights",), "junk.pt", "FS-MODEL", "file of weights"),
    ],
)
def test_junk_is_told_as_what_it_is_not(run, tmp_path, command, name, code, told):
    file = tmp_path / name
    file.write_bytes(JUNK)
    out = [] if "layers" in command else ["--out", tmp_path / ("out.svg" if "graph" in command else "out")]
    text = one_error(run(*command, file, *out), code)
    assert told in text
    assert "pip install" not in text
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and p != file]


def test_a_message_of_onnx_cut_short_is_junk(run, tmp_path):
    """Fields 1 and 7 of a ModelProto by hand: whole, cut, and with a tail of other bytes."""
    from fluoroscope.model.graph.files.message import is_message

    whole = b"\x08\x08" + b"\x12\x03abc" + b"\x3a\x80\x01" + bytes(128)
    for content, right in ((whole, True), (whole[:-1], False), (whole + b"\xff", False), (whole[:7], False)):
        (tmp_path / "m.onnx").write_bytes(content)
        assert is_message(tmp_path / "m.onnx") is right


@pytest.mark.parametrize(
    "command",
    [
        ("explain", "--method", "grad-cam", "--layer", "conv3"),
        ("explain", "--method", "grad-cam", "--set", "grad-cam.layer=conv3"),
        ("trust", "--method", "grad-cam", "--set", "layer=conv3"),
        ("activations", "--layer", "conv1", "--layer", "conv3"),
        ("report", "--method", "saliency", "--set", "at=conv3"),
    ],
)
def test_a_misspelt_layer_is_told_before_inputs_are_read(run, model, tmp_path, command):
    name, *rest = command
    out = tmp_path / ("out.html" if name == "report" else "out")
    result = run(name, model, *rest, "--images", tmp_path / "not there", "--out", out)
    assert result.exit_code == 4
    text = one_error(result, "FS-LAYER")
    assert "'conv3'" in text
    assert "'conv1'" in text
    assert not out.exists()


def test_grey_pictures_need_their_own_scaling(run, model, photos, tmp_path):
    given = ("explain", model, "--images", photos, "--out", tmp_path / "out", "--channels", "1")
    text = one_error(run(*given), "FS-OPTION")
    assert "--mean and --std beside it" in text


@pytest.mark.parametrize("module", ["fluoroscope", "fluoroscope.cli"])
def test_the_program_as_a_module(module: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, "--version"],
        capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": SOURCE}, check=True,
    )  # fmt: skip
    assert done.stdout.startswith("fluoroscope ")


def test_event_files_of_which_nothing_can_be_read_make_no_run(run, tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/events.out.tfevents.1").write_bytes(JUNK)
    result = run("import", tmp_path / "logs", "--dir", tmp_path / "runs")
    assert result.exit_code == 5
    assert "nothing could be read" in one_error(result, "FS-INPUT")
    assert not (tmp_path / "runs").exists()


def test_checks_of_known_objects_ask_for_masks_at_once(run, model, tmp_path):
    result = run(
        "trust", model, "--images", tmp_path / "not there", "--check", "localization", "--out", tmp_path / "out"
    )
    assert "--masks FILE.npy" in one_error(result, "FS-OPTION")


def test_a_shape_that_does_not_fit_is_told(run, model):
    assert "takes 3 channels, the input has 4" in one_error(
        run("layers", model, "--input-shape", "4,16,16"), "FS-INPUT"
    )


def test_a_page_has_the_name_of_a_page(run, model, photos, tmp_path):
    result = run("report", model, "--images", photos, "--out", tmp_path / "report.txt")
    assert "report.txt.html" in one_error(result, "FS-FILE")
    assert not list(tmp_path.glob("*.txt"))
