"""Mistakes and mishaps: one clear error, the right exit code, no traceback, nothing half-written, nothing lost."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from tests.cli.conftest import SOURCE, as_json, one_error


def check(result, code, exit_code, *parts, out=None):
    assert result.exit_code == exit_code, result.output
    text = one_error(result, code)
    for part in parts:
        assert part in text
    if out is not None:
        assert not out.exists() or not list(out.rglob("*")), list(out.rglob("*"))


def huge_png(path: Path, side: int = 50_000) -> None:
    """A small file that claims to be a picture of 50,000 x 50,000."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return len(data).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")

    header = side.to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("command", ["explain", "activations"])
def test_no_such_layer(run, model, photos, tmp_path, command):
    given = ("--images", photos, "--out", tmp_path / "out", "--layer", "conv3")
    result = run(command, model, *given, *(["--method", "grad-cam"] if command == "explain" else []))
    check(result, "FS-LAYER", 4, "'conv3'", "nearest:", "'conv1'", out=tmp_path / "out")


def test_no_such_layer_for_weights(run, model, tmp_path):
    result = run("weights", model, "--layer", "conv3", "--out", tmp_path / "out")
    check(result, "FS-LAYER", 4, "nearest:", out=tmp_path / "out")


@pytest.mark.parametrize("command", ["explain", "activations"])
def test_a_layer_that_did_not_run(run, model, photos, tmp_path, command):
    given = ("--images", photos, "--out", tmp_path / "out", "--layer", "unused")
    result = run(command, model, *given, *(["--method", "grad-cam"] if command == "explain" else []))
    check(result, "FS-LAYER", 4, "did not run", out=tmp_path / "out")


def test_a_layer_of_the_wrong_rank(run, model, photos, tmp_path):
    given = ("--images", photos, "--out", tmp_path / "out", "--layer", "fc", "--method", "grad-cam")
    check(run("explain", model, *given), "FS-LAYER", 4, "positions", out=tmp_path / "out")


@pytest.mark.parametrize(("target", "part"), [("7", "0 to 2"), ("-1", "0 to 2"), ("gren", "'green'")])
@pytest.mark.parametrize("command", ["explain", "report"])
def test_a_target_out_of_range(run, model, photos, tmp_path, target, part, command):
    out = tmp_path / "out"
    result = run(command, model, "--images", photos, "--out", out, f"--target={target}")
    check(result, "FS-TARGET", 4, part, out=out if command == "explain" else None)


@pytest.mark.parametrize("command", ["explain", "activations", "report"])
@pytest.mark.parametrize(
    "kind", ["missing", "empty", "corrupt", "cut", "huge", "folder without pictures", "empty folder"]
)
def test_a_bad_image(run, model, folder, tmp_path, command, kind):
    image = tmp_path / "image.png"
    if kind == "empty":
        image.touch()
    elif kind == "corrupt":
        image.write_bytes(b"\x89PNG\r\n\x1a\n" + os.urandom(400))
    elif kind == "cut":
        whole = (folder / "photos" / "a.png").read_bytes()
        image.write_bytes(whole[: len(whole) // 2])
    elif kind == "huge":
        huge_png(image)
    elif "folder" in kind:
        image = tmp_path / "images"
        image.mkdir()
        if kind.startswith("folder"):
            (image / "notes.txt").write_text("x")
    result = run(command, model, "--images", image, "--out", tmp_path / "out")
    check(result, "FS-INPUT", 5, str(image), out=tmp_path / "out")


def test_one_bad_image_among_good_ones_is_told(run, model, folder, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes((folder / "photos" / "a.png").read_bytes())
    (tmp_path / "photos" / "z.png").touch()
    result = run("explain", model, "--images", tmp_path / "photos", "--out", tmp_path / "out")
    assert result.exit_code == 0
    assert "z.png is empty" in result.stderr


@pytest.mark.parametrize("command", ["explain", "activations", "report"])
def test_nan_in_the_input(run, model, tmp_path, command):
    values = np.zeros((2, 3, 16, 16), np.float32)
    values[1, 0, 3, 3] = np.nan
    np.save(tmp_path / "x.npy", values)
    result = run(command, model, "--inputs", tmp_path / "x.npy", "--out", tmp_path / "out")
    check(result, "FS-NUMBER", 6, "example 1", out=tmp_path / "out")


@pytest.mark.parametrize("command", ["explain", "report"])
def test_nan_in_the_output(run, model, photos, tmp_path, command):
    out = tmp_path / "out"
    result = run(command, model, "--arg", "kind=Nan", "--images", photos, "--out", out)
    check(result, "FS-NUMBER", 6, "NaN", out=out if command == "explain" else None)


@pytest.mark.parametrize("command", ["explain", "report"])
def test_no_gradient(run, model, photos, tmp_path, command):
    out = tmp_path / "out"
    methods = ("--method", "saliency", "--method", "grad-cam")
    result = run(command, model, "--arg", "kind=NoGradient", "--images", photos, "--out", out, *methods)
    check(result, "FS-NUMBER", 6, "no gradient", out=out if command == "explain" else None)


def test_report_keeps_what_worked(run, model, photos, tmp_path):
    """The page is there, with the errors in their place, although the exit code tells of them."""
    methods = [f"--method={name}" for name in ("activations", "grad-cam", "saliency")]
    given = ("--arg", "kind=NoGradient", "--images", photos, "--out", tmp_path / "page.html")
    result = run("report", model, *given, *methods, "--json")
    answer = as_json(result)
    assert result.exit_code == 6
    assert set(answer["errors"]) == {"Grad-CAM", "Saliency"}
    assert answer["errors"]["Saliency"]["code"] == "FS-NUMBER"
    page = (tmp_path / "page.html").read_text()
    assert '"kind":"error"' in page and '"title":"Activations"' in page


def test_weights_that_do_not_fit(run, model, folder, tmp_path):
    state = {"conv1.weight": torch.zeros(4, 3, 3, 3), "conv9.weight": torch.zeros(2)}
    torch.save(state, tmp_path / "some.pt")
    result = run("layers", model, "--weights", tmp_path / "some.pt")
    check(result, "FS-MODEL", 3, "missing", "unexpected", "conv9.weight")


def test_a_pickle_is_refused(run, model, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'ran'}",)

    torch.save({"conv1.weight": Evil()}, tmp_path / "evil.pt")
    check(run("layers", model, "--weights", tmp_path / "evil.pt"), "FS-MODEL", 3, "could run code")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("spec", "code", "exit_code"),
    [
        ("nonsense", "FS-MODEL", 3),
        ("no.such.module:net", "FS-MODEL", 3),
        ("./missing.py:net", "FS-INPUT", 5),
        ("{folder}/net.py:nett", "FS-MODEL", 3),
        ("{folder}/net.py", "FS-MODEL", 3),
        ("weights.pt", "FS-MODEL", 3),
    ],
)
def test_a_wrong_model(run, folder, spec, code, exit_code):
    check(run("layers", spec.format(folder=folder)), code, exit_code)


@pytest.mark.parametrize("command", ["explain", "activations", "report"])
def test_a_network_that_raises(run, model, photos, tmp_path, command):
    out = tmp_path / "out"
    result = run(command, model, "--arg", "kind=Faulty", "--images", photos, "--out", out)
    check(result, "FS-INPUT", 5, "wires crossed", out=None if command == "report" else out)


@pytest.mark.parametrize(
    ("given", "part"),
    [
        (["--set", "saliency.reduce=median"], "'max', 'norm', 'none'"),
        (["--set", "saliency.redcue=max"], "'reduce'"),
        (["--set", "saliancy.reduce=max"], "'saliency'"),
        (["--set", "batch_size=many"], "a whole number"),
        (["--set", "reduce"], "OPTION=VALUE"),
        (["--method", "gradcam"], "'grad-cam'"),
        (["--method", "weights"], "no method of attribution"),
        (["--device", "cuda:77"], "cpu"),
        (["--device", "tpu9"], "cpu"),
        (["--preprocess", "imagnet"], "'imagenet'"),
        (["--arg", "width"], "KEY=VALUE"),
        (["--arg", "weights=3"], "--weights"),
        (["--mean", "0.5,0.5"], "channels"),
    ],
)
def test_a_wrong_option(run, model, photos, tmp_path, given, part):
    result = run("explain", model, "--images", photos, "--out", tmp_path / "out", *given)
    check(result, "FS-OPTION", 2, part, out=tmp_path / "out")


@pytest.mark.parametrize("command", ["explain", "trust"])
def test_the_nearest_of_a_misspelt_method_are_those_that_the_command_runs(run, model, photos, tmp_path, command):
    from fluoroscope.methods.registry import methods
    from fluoroscope.results import Attribution

    fitting = {name for name, cls in methods().items() if issubclass(cls.returns, Attribution)}
    for wrong in ("weight-map", "layer-cam2", "activation", "lime2"):
        given = (command, model, "--images", photos, "--method", wrong, "--out", tmp_path / "out", "--json")
        error = as_json(run(*given))["error"]
        assert error["code"] == "FS-OPTION" and error["expected"].startswith("ablation-cam, cam, ")
        assert {n.strip("'") for n in error.get("nearest", "").split(", ") if n} <= fitting
    assert "'lime'" in error["nearest"]


def test_no_preprocess(run, folder, photos):
    check(run("explain", f"{folder}/net.py:bare", "--images", photos), "FS-INPUT", 5, "--preprocess")
    check(run("explain", f"{folder}/net.py:bare", "--images", photos, "--size", 16), "FS-OPTION", 2, "--preprocess")


def test_no_images(run, model):
    check(run("explain", model), "FS-INPUT", 5, "--images")


@pytest.mark.parametrize(
    "given",
    [
        ["nonsense"],
        ["layers"],
        ["explain"],
        ["layers", "m:f", "--dtype", "int3"],
        ["layers", "m:f", "--input-shape", "3,a"],
        ["layers", "m:f", "--nonsense"],
    ],
)
def test_a_wrong_command_line(run, given):
    result = run(*given)
    assert result.exit_code == 2 and "Traceback" not in result.stderr and "Usage:" in result.stderr
    answer = as_json(run(*given, "--json"))
    assert answer["error"]["code"] == "FS-USAGE" and answer["error"]["what"]


def test_the_nearest_command(run):
    assert "'explain'" in run("explian").stderr


def test_an_error_as_json(run, model, photos, tmp_path):
    result = run("activations", model, "--images", photos, "--out", tmp_path / "out", "--layer", "conv3", "--json")
    assert result.exit_code == 4 and "FS-" not in result.stderr
    error = as_json(result)["error"]
    assert list(error) == ["code", "what", "got", "expected", "nearest", "remedy"]
    assert error["code"] == "FS-LAYER" and "conv1" in error["nearest"] and error["got"] is None


def test_verbose_shows_the_traceback(run, model):
    assert "Traceback" in run("layers", "nonsense", "-v").stderr


def test_a_fault_of_the_program(run, model, monkeypatch):
    from fluoroscope.methods.architecture.layer_table import LayerTable

    def broken(*_):
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(LayerTable, "compute", broken)
    result = run("layers", model)
    check(result, "FS-FAULT", 70, "fault in the program", "ZeroDivisionError", "-v")
    assert "in broken" in run("layers", model, "-v").stderr
    assert as_json(run("layers", model, "--json"))["error"]["code"] == "FS-FAULT"


def test_memory_that_runs_out(run, model, monkeypatch):
    from fluoroscope.methods.architecture.layer_table import LayerTable

    def greedy(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")

    monkeypatch.setattr(LayerTable, "compute", greedy)
    check(run("layers", model), "FS-INPUT", 5, "memory ran out", "--batch-size")


# ---------------------------------------------------------------------------------------------------------------------
# Files


def test_out_is_a_file(run, model, photos, tmp_path):
    (tmp_path / "out").write_text("mine")
    result = run("explain", model, "--images", photos, "--out", tmp_path / "out")
    assert result.exit_code == 7
    one_error(result, "FS-FILE")
    assert (tmp_path / "out").read_text() == "mine"


def test_report_into_a_folder(run, model, tmp_path):
    assert run("report", model, "--out", tmp_path).stdout.strip() == str(tmp_path / "report.html")


@pytest.mark.parametrize("command", ["report", "weights"])
def test_a_full_disk(run, model, tmp_path, monkeypatch, command):
    """The last step of writing fails: the old file is as it was and nothing else is left."""
    out = tmp_path / "page.html" if command == "report" else tmp_path
    kept = tmp_path / ("page.html" if command == "report" else "weights.fluo")
    kept.write_text("old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    result = run(command, model, "--out", out)
    assert result.exit_code == 7
    assert "No space left" in one_error(result, "FS-FILE")
    assert [p.name for p in tmp_path.iterdir()] == [kept.name] and kept.read_text() == "old"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("given", ["layers {model}", "layers {model} --json", "--help", "layers nonsense --json"])
def test_a_full_disk_behind_stdout(process, model, given):
    with Path("/dev/full").open("w") as full:
        arguments = given.format(model=model).split()
        done = process(*arguments, capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 7
    assert done.stderr.count("FS-") == 1 and "FS-FILE" in done.stderr and "No space left" in done.stderr
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="descriptors of POSIX")
@pytest.mark.parametrize("closed", ["1", "2"])
def test_a_closed_stream(folder, model, closed):
    command = f"exec {sys.executable} -m fluoroscope.cli layers {model} {closed}>&-"
    environment = {**os.environ, "PYTHONPATH": SOURCE}
    done = subprocess.run(["sh", "-c", command], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "Traceback" not in done.stderr
    assert ("conv1" in done.stdout) == (closed == "2") and "made-up" not in done.stdout


def test_a_broken_pipe(process, model):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        done = process("layers", model, "-q", capture_output=False, stdout=closed, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (141, "")


def test_interrupted(run, model, photos, tmp_path):
    result = run("explain", model, "--arg", "kind=Quits", "--images", photos, "--out", tmp_path / "out")
    assert result.exit_code == 130 and "Traceback" not in result.stderr and "interrupted" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals(folder, photos, tmp_path, number, code):
    """A signal in the middle of a forward ends the program in order, with nothing on the disk."""
    (folder / "slow.py").write_text(
        "import time, pathlib\nfrom net import Net, ImagePreprocess\n"
        "class Slow(Net):\n    def forward(self, x):\n"
        f"        pathlib.Path({str(tmp_path / 'started')!r}).touch()\n        time.sleep(60)\n"
        "def net():\n    return Slow(), ImagePreprocess(size=16), None\n"
    )
    environment = {**os.environ, "PYTHONPATH": SOURCE}
    given = ["explain", f"{folder}/slow.py:net", "--images", photos, "--out", str(tmp_path / "out")]
    child = subprocess.Popen(
        [sys.executable, "-m", "fluoroscope.cli", *given],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # tests may run where it is ignored
    )
    rescue = threading.Timer(100, child.kill)
    rescue.start()
    while not (tmp_path / "started").exists() and child.poll() is None:
        time.sleep(0.05)
    child.send_signal(number)
    text = child.communicate()[1]
    rescue.cancel()
    assert child.returncode == code, text
    assert "Traceback" not in text and not (tmp_path / "out").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="rights of POSIX")
def test_no_right_to_write(run, model, tmp_path, monkeypatch):
    locked = tmp_path / "locked"
    locked.mkdir()
    locked.chmod(stat.S_IRUSR | stat.S_IXUSR)
    if os.access(locked, os.W_OK):  # the superuser may write anywhere
        monkeypatch.setattr(tempfile, "mkdtemp", Mock(side_effect=PermissionError(errno.EACCES, "Permission denied")))
    check(run("weights", model, "--out", locked / "out"), "FS-FILE", 7, "Permission denied", out=locked / "out")
