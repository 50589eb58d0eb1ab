"""Logs of other programs in, runs out: the numbers are the same on both sides."""

import csv
import json
import math
import struct
import zlib
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluoroscope.errors import InputError, ResultFileError
from fluoroscope.integrations.exporting import export_csv, export_tensorboard
from fluoroscope.integrations.importing import EDGES, Importer, import_runs, rebinned
from fluoroscope.integrations.tensorboard import EventWriter, read_log_folder
from fluoroscope.integrations.tensorboard.wire import chunk, number
from fluoroscope.integrations.wandb_file import read_wandb_file
from fluoroscope.training.store import RunWriter, open_runs


def log_folder(tmp_path):
    """Two runs, one that went back; a histogram, a text, a picture."""
    steps = np.array([0, 1, 2, 1, 2, 3])
    times = 1e9 + np.arange(6.0)
    with EventWriter(tmp_path / "logs" / "train") as writer:
        writer.scalars("loss", steps, np.array([3, 2, np.nan, 1.5, np.inf, 1]), times)
        writer.histogram("weights", 2, np.array([-1.0, 0.0, 1.0]), np.array([3, 5]), 1e9)
        writer.text("note", 0, "hello")
        writer.image("p", 0, np.zeros((2, 2), np.uint8))
        writer.hparams({"lr": 0.1}, ["loss"])
    with EventWriter(tmp_path / "logs" / "eval") as writer:
        writer.scalar("loss", 5, 0.25, 1e9 + 7)
    return tmp_path / "logs"


def test_a_log_folder_becomes_runs(tmp_path):
    done = import_runs(log_folder(tmp_path), tmp_path / "runs")
    assert [d.name for d in done] == ["eval", "train"]
    train = done[1]
    assert (train.series, train.points, train.histograms, train.settings) == (1, 6, 1, 1)
    assert (train.images, train.texts, train.left_out, train.problems) == (1, 1, {}, [])
    run = open_runs(tmp_path / "runs")["train"]
    column = run.column("loss")
    assert column.steps.tolist() == [0, 1, 2, 1, 2, 3]
    np.testing.assert_array_equal(column.values, [3, 2, np.nan, 1.5, np.inf, 1])
    assert column.times.tolist() == (1e9 + np.arange(6)).tolist()
    assert run.config == {"lr": 0.1}
    assert (run.state, run.started, run.finished) == ("finished", 1e9, 1e9 + 5)
    history = run.history()
    assert history.configs == {"train": {"lr": 0.1}} and history.series["loss"].times is not None
    histograms = run.tensor_history().histograms["values"]
    assert histograms.counts.sum() == 8
    negative = histograms.counts[0, 0, np.asarray(histograms.edges[1:]) <= 0]
    assert negative.sum() == 3


def test_following_adds_what_is_written_later(tmp_path):
    writer = EventWriter(tmp_path / "logs")
    writer.scalar("loss", 0, 1.0, 10.0)
    writer.flush()
    importer = Importer(tmp_path / "logs", tmp_path / "runs", name="mine")
    assert importer.again() == 1
    assert importer.again() == 0
    writer.scalar("loss", 1, 0.5, 11.0)
    writer.flush()
    assert importer.again() == 1
    run = open_runs(tmp_path / "runs")["mine"]
    assert run.column("loss").values.tolist() == [1.0, 0.5]  # seen before the import ends
    assert run.state == "running"
    importer.close()
    assert run.state == "finished" and run.finished == 11.0
    writer.close()


def test_a_torn_file_is_told(tmp_path):
    folder = log_folder(tmp_path)
    path = next((folder / "eval").iterdir())
    path.write_bytes(path.read_bytes()[:-3])
    done = {d.name: d for d in import_runs(folder, tmp_path / "runs")}
    assert "ends within a record" in done["eval"].problems[0].what
    assert done["train"].problems == []


def test_nothing_to_import(tmp_path):
    with pytest.raises(InputError, match="no event files"):
        import_runs(tmp_path, tmp_path / "runs")


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.floats(-1e4, 1e4), min_size=2, max_size=8).map(sorted),
    st.lists(st.integers(0, 100), min_size=7, max_size=7),
)
def test_rebinning_keeps_every_entry_and_its_side_of_an_edge(edges, counts):
    counts = np.array(counts[: len(edges) - 1], float)
    found = rebinned(np.array(edges), counts, EDGES)
    assert found.sum() == pytest.approx(counts.sum())
    assert (found >= -1e-9).all()
    for at in (-4.0, -0.5, 0.5, 2.0, 64.0):  # edges of both where buckets do not straddle them
        if all(not a < at < b for a, b in pairwise(edges)):
            below = sum(c for c, b in zip(counts, edges[1:], strict=True) if b <= at and edges[0] < at)
            k = int(np.flatnonzero(at == EDGES)[0])
            points = sum(c for c, a, b in zip(counts, edges[:-1], edges[1:], strict=True) if a == b == at)
            assert abs(found[:k].sum() - below) <= points + 1e-6


def stored(tmp_path):
    rng = np.random.default_rng(0)
    with RunWriter(tmp_path / "runs", "a <run>/1", config={"lr": 0.1, "model": {"depth": 3}}, started=5.0) as writer:
        writer.columns("train/loss", np.arange(500), rng.normal(size=500), 1e9 + np.arange(500))
        writer.columns('odd, "name"\n', np.array([3, 1]), np.array([np.nan, -np.inf]), np.array([1.0, 2.0]))
        edges = [-1.0, 0.0, 1.0]
        for step in (0, 10):
            writer.tensors(
                step,
                ["w", "b"],
                {"gradient/norm": np.array([0.5 + step, np.nan])},
                {"gradient": np.array([[1, 2], [0, 0]])},
                facts={"edges": {"gradient": edges}},
            )
    return open_runs(tmp_path / "runs")["a <run>/1"]


def test_a_run_goes_out_to_tensorboard_and_comes_back(tmp_path):
    run = stored(tmp_path)
    path = export_tensorboard(run, tmp_path / "tb", tensors=True)
    log = read_log_folder(path)["."]
    for name in run.names():
        column = run.column(name)
        np.testing.assert_array_equal(log.scalars[name].values, column.values.astype(np.float32))
        np.testing.assert_array_equal(log.scalars[name].steps, column.steps)
        np.testing.assert_array_equal(log.scalars[name].times, column.times)
    assert log.hparams == {"lr": 0.1, "model.depth": 3} and isinstance(log.hparams["model.depth"], int)
    assert log.scalars["gradient/norm/w"].values.tolist() == [0.5, 10.5]
    assert np.isnan(log.scalars["gradient/norm/b"].values).all()
    assert [c.tolist() for c in log.histograms["gradient/w"].counts] == [[1, 2]] * 2
    assert "gradient/b" not in log.histograms
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    theirs = accumulator.EventAccumulator(str(path.parent), {"scalars": 0, "histograms": 0}).Reload()
    assert [s.value for s in theirs.Scalars("train/loss")] == log.scalars["train/loss"].values.tolist()


def test_runs_in_one_log_folder_stay_apart(tmp_path):
    for name, values in (("good", [3.0, 2.0]), ("a/fast", [9.0, 8.0]), ("../out", [1.0, 1.0])):
        with RunWriter(tmp_path / "runs", name, config={"classes": 3}) as writer:
            writer.columns("loss", np.arange(2), np.array(values), np.arange(2.0))
    runs = open_runs(tmp_path / "runs")
    for run in runs.values():
        assert export_tensorboard(run, tmp_path / "tb").is_relative_to(tmp_path / "tb")
    assert ".." not in str(export_tensorboard(runs["../out"], tmp_path / "other"))
    import_runs(tmp_path / "tb", tmp_path / "back")
    back = open_runs(tmp_path / "back")
    assert len(back) == 3
    assert back["good"].column("loss").values.tolist() == [3, 2]
    assert back["a/fast"].column("loss").values.tolist() == [9, 8]
    assert isinstance(back["good"].config["classes"], int)
    before = sorted((tmp_path / "tb").rglob("*"))
    with pytest.raises(ResultFileError, match="event files already"):
        export_tensorboard(runs["good"], tmp_path / "tb")
    assert sorted((tmp_path / "tb").rglob("*")) == before


def test_csv_reads_back_exactly(tmp_path):
    run = stored(tmp_path)
    with export_csv(run, tmp_path / "run.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for name in run.names():
        column = run.column(name)
        mine = [r for r in rows if r["series"] == name]
        assert [int(r["step"]) for r in mine] == column.steps.tolist()
        np.testing.assert_array_equal([float(r["value"]) for r in mine], column.values)
        assert [float(r["time"]) for r in mine] == column.times.tolist()


# ------------------------------------------------------------------------------ Weights & Biases


def wandb_file(path, *contents, block=32768):
    """A log laid out by hand: records cut into pieces at the ends of blocks."""
    out = bytearray(b":W&B" + struct.pack("<HB", 0xBEE1, 0))
    for content in contents:
        left, first = content, True
        while True:
            room = block - len(out) % block
            if room < 7:
                out += bytes(room)
                continue
            part, left = left[: room - 7], left[room - 7 :]
            kind = 1 if first and not left else 2 if first else 4 if not left else 3
            out += struct.pack("<IHB", zlib.crc32(bytes([kind]) + part), len(part), kind) + part
            first = False
            if not left:
                break
    path.write_bytes(out)
    return path


def history(step, **values):
    items = b"".join(chunk(1, chunk(2, key) + chunk(16, json.dumps(v))) for key, v in values.items())
    return chunk(2, items + chunk(2, number(1, step)))


def config(**values):
    return b"".join(chunk(1, chunk(1, key) + chunk(16, json.dumps(v))) for key, v in values.items())


def run_record(name, **values):
    return chunk(17, chunk(1, "abc123") + chunk(8, name) + chunk(4, config(**values)))


def test_an_offline_log_is_read_over_the_ends_of_blocks(tmp_path):
    contents = [run_record("my <run>", lr=0.1, _wandb={"x": 1}), chunk(5, config(extra=[1, 2]))]
    contents += [history(i, loss=i / 7, _timestamp=1e9 + i, _step=i, note="x" * (i % 97)) for i in range(900)]
    contents.append(history(1000, loss="NaN", nested={"a": True, "b": 2.5}))
    contents.append(history(1001, h={"_type": "histogram", "bins": [0, 1, 2], "values": [3, 4]}, v=math.inf))
    contents += [chunk(7, b""), chunk(8, b"")]
    found = read_wandb_file(wandb_file(tmp_path / "run-abc.wandb", *contents))
    assert found.name == "my <run>" and found.identity == "abc123"
    log = found.log
    assert log.hparams == {"lr": 0.1, "extra": [1, 2]}
    np.testing.assert_array_equal(log.scalars["loss"].values, [*(np.arange(900) / 7), np.nan])
    assert log.scalars["loss"].steps.tolist() == [*range(900), 1000]
    assert log.scalars["loss"].times[:900].tolist() == (1e9 + np.arange(900)).tolist()
    assert log.scalars["nested.a"].values.tolist() == [1.0] and log.scalars["nested.b"].values.tolist() == [2.5]
    assert log.scalars["v"].values.tolist() == [math.inf]
    assert log.histograms["h"].counts[0].tolist() == [3, 4]
    assert log.left_out == {"system statistics": 1, "artifact": 1}
    assert log.texts["note"].texts == tuple(("x" * (i % 97),) for i in range(900))
    assert log.problems == []


@pytest.mark.parametrize(
    "odd",
    [
        {"v": 10**400},
        {"h": {"_type": "histogram", "bins": [0, 1]}},
        {"h": {"_type": "histogram", "packedBins": 3, "values": [1]}},
        {"h": {"_type": "histogram", "bins": {}, "values": [None, {}]}},
        {"_timestamp": None, "v": 1.0},
        {"_timestamp": [1], "v": 1.0},
        {"p": {"_type": "images/separated", "filenames": 3}},
        {"p": {"_type": "image-file", "path": "a\x00b"}},
    ],
)
def test_a_record_of_an_offline_log_that_makes_no_sense_costs_only_itself(odd, tmp_path):
    contents = [run_record("r"), history(0, loss=1.0), history(1, **odd), history(2, loss=0.5)]
    log = read_wandb_file(wandb_file(tmp_path / "run-x.wandb", *contents)).log
    assert log.scalars["loss"].steps.tolist() == [0, 2]
    assert log.problems or log.left_out


def test_damage_and_a_torn_end_of_an_offline_log_are_told(tmp_path):
    contents = [run_record("r"), *(history(i, loss=float(i)) for i in range(3000))]
    path = wandb_file(tmp_path / "run-x.wandb", *contents)
    raw = bytearray(path.read_bytes())
    raw[40_000] ^= 1
    path.write_bytes(raw[:-5])
    log = read_wandb_file(path).log
    steps = log.scalars["loss"].steps
    assert 0 < len(steps) < 2999 and (np.diff(steps) > 0).all() and steps[-1] == 2998
    assert (log.scalars["loss"].values == steps).all()
    assert ["checksum" in p.what or "within" in p.what for p in log.problems] == [True, True]
    with pytest.raises(InputError, match="Weights"):
        (tmp_path / "other.wandb").write_bytes(b"something else")
        read_wandb_file(tmp_path / "other.wandb")


def test_an_offline_folder_becomes_a_run(tmp_path):
    folder = tmp_path / "wandb" / "offline-run-1"
    folder.mkdir(parents=True)
    wandb_file(folder / "run-abc.wandb", run_record("mine", lr=0.1), history(0, loss=1.0, _timestamp=5.0))
    (done,) = import_runs(tmp_path / "wandb", tmp_path / "runs")
    run = open_runs(tmp_path / "runs")[done.name]
    assert (run.name, run.config, run.column("loss").times.tolist()) == ("mine", {"lr": 0.1}, [5.0])


def test_a_log_that_wandb_wrote(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    for key, value in {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_DIR": str(tmp_path)}.items():
        monkeypatch.setenv(key, value)
    run = wandb.init(project="p", name="real", config={"lr": 0.1, "opt": {"name": "adam"}}, dir=str(tmp_path))
    for i in range(50):
        run.log({"loss": math.nan if i == 5 else 1 / (i + 1), "h": wandb.Histogram([1, 2, 3])})
    run.finish()
    found = read_wandb_file(next(tmp_path.rglob("*.wandb")))
    expected = [math.nan if i == 5 else 1 / (i + 1) for i in range(50)]
    np.testing.assert_array_equal(found.log.scalars["loss"].values, expected)
    assert found.log.hparams == {"lr": 0.1, "opt": {"name": "adam"}} and found.name == "real"
    assert found.log.histograms["h"].points == 50 and found.log.histograms["h"].counts[0].sum() == 3


# ------------------------------------------------------------------------------ commands


def test_the_commands_import_and_export(tmp_path):
    from click.testing import CliRunner

    from fluoroscope.cli.program import main

    def run(*arguments):
        return CliRunner().invoke(main, [str(a) for a in arguments])

    done = run("import", log_folder(tmp_path), "--dir", tmp_path / "runs", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)["runs"]
    assert [(r["name"], r["points"]) for r in found] == [("eval", 1), ("train", 6)]
    told = run("import", tmp_path / "logs", "--dir", tmp_path / "again")
    assert "6 points, 1 histogram, 1 image, 1 text, 1 setting" in told.stdout and "not imported" not in told.stdout
    assert "1 series, 1 point\n" in told.stdout
    assert "already" not in told.stderr
    twice = run("import", tmp_path / "logs", "--dir", tmp_path / "again")
    assert twice.exit_code == 0
    (line,) = [line for line in twice.stderr.splitlines() if "named train-2" in line]
    assert "train is a run in" in line and "already" in line and "--name" in line
    made = run(
        *("export", "train", "--dir", tmp_path / "runs"),
        *("--csv", tmp_path / "t.csv", "--tensorboard", tmp_path / "tb"),
    )
    assert made.exit_code == 0, made.output
    assert len((tmp_path / "t.csv").read_text().splitlines()) == 7
    assert read_log_folder(tmp_path / "tb")["train"].scalars["loss"].steps.tolist() == [0, 1, 2, 1, 2, 3]
    by_folder = run("export", tmp_path / "runs" / "train", "--csv", tmp_path / "u.csv")
    assert by_folder.exit_code == 0 and (tmp_path / "u.csv").read_bytes() == (tmp_path / "t.csv").read_bytes()
    assert run("export", "train", "--dir", tmp_path / "runs").exit_code == 2
    wrong = run("export", "trian", "--dir", tmp_path / "runs", "--csv", tmp_path / "x.csv")
    assert wrong.exit_code != 0 and isinstance(wrong.exception, InputError | SystemExit)
