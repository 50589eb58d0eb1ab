"""Pictures, texts and settings of event files: in, kept byte for byte, and out again, in both formats."""

import io
import json
import time

import numpy as np
import pytest
from PIL import Image

from fluoroscope.integrations.exporting import export_tensorboard
from fluoroscope.integrations.importing import import_runs
from fluoroscope.integrations.tensorboard import EventWriter, read_log_folder
from fluoroscope.integrations.wandb_file import read_wandb_file
from fluoroscope.training.store import open_runs
from tests.integrations.test_import_export import history, run_record, wandb_file


def encoded(level, kind="PNG", size=(6, 4)):
    file = io.BytesIO()
    Image.new("RGB", size, (level, 0, 0)).save(file, kind)
    return file.getvalue()


def pictures(media):
    return {
        n: [(int(s.steps[i]), int(s.parts[i]), s.picture(i)) for i in range(len(s))] for n, s in media.images.items()
    }


def test_a_run_of_torch_keeps_pictures_texts_and_settings(tmp_path):
    tensorboard = pytest.importorskip("torch.utils.tensorboard")
    pixels = np.random.default_rng(0).random((4, 3, 8, 12)).astype(np.float32)
    with tensorboard.SummaryWriter(str(tmp_path / "logs" / "a")) as writer:
        for step in range(4):
            writer.add_image("one", pixels[step], step)
            writer.add_images("grid", pixels, step)
            writer.add_text("note", f"# **{step}** <script>", step)
            writer.add_histogram("h", pixels, step)
        writer.add_hparams({"lr": 0.1}, {"final": 2.0}, run_name="settings")
    done = {d.name: d for d in import_runs(tmp_path / "logs", tmp_path / "runs")}
    assert (done["a"].images, done["a"].texts, done["a"].histograms, done["a"].left_out) == (8, 4, 4, {})
    runs = open_runs(tmp_path / "runs")
    assert runs["a/settings"].config == {"lr": 0.1}
    media = runs["a"].media()
    raw = read_log_folder(tmp_path / "logs" / "a")["."].images["one"]
    assert pictures(media)["one"] == [(s, 0, p[0]) for s, p in zip(raw.steps.tolist(), raw.pictures, strict=True)]
    decoded = np.asarray(Image.open(io.BytesIO(media.images["one"].picture(2))))
    np.testing.assert_allclose(decoded / 255, pixels[2].transpose(1, 2, 0), atol=1 / 255)
    assert media.texts["note/text_summary"].texts[3] == "# **3** <script>"


def test_both_formats_go_out_and_come_back(tmp_path):
    with EventWriter(tmp_path / "logs") as writer:
        for step in (3, 7):
            writer.encoded_images("old", step, [encoded(step)], (6, 4), 50.0 + step)
            writer.encoded_images("new", step, [encoded(step, "JPEG"), encoded(step, "GIF")], (6, 4), 60.0 + step)
            writer.encoded_images("new", step + 1, [encoded(step)], (6, 4), 60.0 + step)
            writer.text("t", step, ["a", "b <i>"], 70.0 + step)
        writer.encoded_images("bad", 0, [b"<svg onload=alert(1)>" + bytes(30), encoded(1)], (6, 4), 1.0)
    (done,) = import_runs(tmp_path / "logs", tmp_path / "runs", name="r")
    assert done.images == 9 and list(done.left_out.values()) == [1]
    first = open_runs(tmp_path / "runs")["r"].media()
    assert [len(s) for s in first.images.values()] == [2, 6, 1]
    export_tensorboard(open_runs(tmp_path / "runs")["r"], tmp_path / "out")
    import_runs(tmp_path / "out" / "r", tmp_path / "again", name="r")
    second = open_runs(tmp_path / "again")["r"].media()
    assert pictures(second) == pictures(first)
    assert second.images["new"].times.tolist() == first.images["new"].times.tolist()
    assert second.texts["t"].texts == ("a", "b <i>", "a", "b <i>") and second.texts["t"].parts.tolist() == [0, 1, 0, 1]


def test_tensorboard_reads_what_is_exported(tmp_path):
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    tensor_util = pytest.importorskip("tensorboard.util.tensor_util")
    with EventWriter(tmp_path / "logs") as writer:
        writer.encoded_images("one", 3, [encoded(1)], (6, 4), 50.0)
        writer.encoded_images("two", 4, [encoded(2), encoded(3)], (6, 4), 60.0)
        writer.text("t", 5, "text", 70.0)
    import_runs(tmp_path / "logs", tmp_path / "runs", name="r")
    export_tensorboard(open_runs(tmp_path / "runs")["r"], tmp_path / "out")
    found = event_accumulator.EventAccumulator(str(tmp_path / "out" / "r"), {"images": 0, "tensors": 0}).Reload()
    (image,) = found.Images("one")
    assert (image.step, image.width, image.height, image.encoded_image_string) == (3, 6, 4, encoded(1))
    (pair,) = found.Tensors("two")
    assert tensor_util.make_ndarray(pair.tensor_proto).tolist() == [b"6", b"4", encoded(2), encoded(3)]
    assert tensor_util.make_ndarray(found.Tensors("t")[0].tensor_proto).tolist() == [b"text"]


def test_an_offline_log_keeps_its_summary_texts_and_pictures(tmp_path):
    from fluoroscope.integrations.tensorboard.wire import chunk

    def summary(*removed, **values):
        items = b"".join(chunk(1, chunk(1, k) + chunk(16, json.dumps(v))) for k, v in values.items())
        return chunk(3, items + b"".join(chunk(2, chunk(1, key)) for key in removed))

    folder = tmp_path / "offline-run-1"
    (folder / "files" / "media").mkdir(parents=True)
    (folder / "files" / "media" / "p.png").write_bytes(encoded(9))
    (folder / "secret.png").write_bytes(encoded(8))
    image = {"_type": "image-file", "path": "media/p.png"}
    outside = {"_type": "image-file", "path": "../secret.png"}
    nested = chunk(3, chunk(1, chunk(2, "deep") + chunk(2, "er") + chunk(16, "3.5")))
    contents = [run_record("r", lr=0.1), history(0, loss=1.0, note="hello", shown=image, other=outside)]
    contents += [
        summary(best=0.5, text="ok", gone=1, _wandb={"runtime": 3}),
        nested,
        summary("gone", "never", best=0.25),
    ]
    wandb_file(folder / "run-abc.wandb", *contents)
    (done,) = import_runs(folder, tmp_path / "runs")
    run = open_runs(tmp_path / "runs")["r"]
    assert run.summary == {"best": 0.25, "text": "ok", "deep": {"er": 3.5}} and run.config == {"lr": 0.1}
    assert done.left_out == {"image without its file": 1}
    assert pictures(run.media()) == {"shown": [(0, 0, encoded(9))]}
    assert run.media().texts["note"].texts == ("hello",)


def test_the_summary_of_a_log_that_wandb_wrote(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    for key, value in {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_DIR": str(tmp_path)}.items():
        monkeypatch.setenv(key, value)
    run = wandb.init(project="p", name="real", config={"lr": 0.1}, dir=str(tmp_path))
    for i in range(3):
        run.log(
            {"loss": 1.0 / (i + 1), "shown": wandb.Image(np.full((4, 5, 3), i * 20, np.uint8)), "said": f"step {i}"}
        )
    run.summary["best"] = {"step": 2, "loss": 0.25}
    run.summary["word"] = "done"
    run.finish()
    log = next(tmp_path.rglob("*.wandb"))
    for _ in range(100):  # another process writes the log, and may still be at it
        if "word" in read_wandb_file(log).log.summary:
            break
        time.sleep(0.1)
    import_runs(tmp_path / "wandb", tmp_path / "runs")
    found = open_runs(tmp_path / "runs")["real"]
    assert found.config["lr"] == 0.1
    assert found.summary["best"] == {"step": 2, "loss": 0.25} and found.summary["word"] == "done"
    assert found.summary["loss"] == pytest.approx(1 / 3)
    media = found.media()
    assert media.texts["said"].texts == ("step 0", "step 1", "step 2")
    assert [np.asarray(Image.open(io.BytesIO(data))).mean() for *_, data in pictures(media)["shown"]] == [0, 20, 40]
