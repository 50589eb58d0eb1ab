"""Event files: ours beside TensorBoard's own reader and writers, and beside bytes laid out by hand."""

import math
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluoroscope.errors import InputError, ResultFileError
from fluoroscope.integrations.tensorboard import EventFile, EventWriter, LogFolder, read_log_folder
from fluoroscope.integrations.tensorboard.crc32c import crc32c, crc32c_rows, masked
from fluoroscope.integrations.tensorboard.framing import framed
from fluoroscope.integrations.tensorboard.wire import chunk, double, float32, number

ROOT = "."


def plain_crc(message):
    """Bit by bit, as RFC 3720 defines it."""
    state = 0xFFFFFFFF
    for byte in message:
        state ^= byte
        for _ in range(8):
            state = (state >> 1) ^ (0x82F63B78 if state & 1 else 0)
    return state ^ 0xFFFFFFFF


def test_crc_of_the_standard():
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=40), st.sampled_from([0, 1, 3, 500, 511, 512, 513, 1027]))
def test_crc_of_any_length(head, more):
    message = head + bytes((7 * i + 1) % 256 for i in range(more))
    assert crc32c(message) == plain_crc(message)
    rows = np.frombuffer(message, np.uint8)[None].repeat(3, 0)
    assert crc32c_rows(rows).tolist() == [plain_crc(message)] * 3


def event(step, *values, time=100.0):
    """One event of the older kind, laid out by hand."""
    return double(1, time) + number(2, step) + chunk(5, b"".join(chunk(1, v) for v in values))


def simple(tag, value):
    return chunk(1, tag) + float32(2, value)


def write(path, *contents):
    path.write_bytes(b"".join(framed(c) for c in [double(1, 1.0) + chunk(3, "brain.Event:2"), *contents]))
    return path


def name(folder, number=0):
    return folder / f"events.out.tfevents.{1700000000 + number}.host"


def test_numbers_by_hand(tmp_path):
    steps = [0, 1, 127, 128, 20000, 3_000_000, 2**40, 5, 5, -1]
    values = [1.5, math.nan, math.inf, -math.inf, 0.0, -0.0, 1e-40, 3.25, 4.0, 7.0]
    written = [
        event(s, simple("loss", v), simple("größe/'<b>", -v)) for s, v in zip(steps, values, strict=True) for _ in "ab"
    ]
    log = read_log_folder(write(name(tmp_path), *written))[ROOT]
    kept = np.repeat(np.array(values, np.float32).astype(float), 2)
    for tag, sign in (("loss", 1), ("größe/'<b>", -1)):
        column = log.scalars[tag]
        assert column.steps.tolist() == [s for s in steps for _ in "ab"]
        np.testing.assert_array_equal(column.values, sign * kept)
    assert log.problems == [] and log.records == 21


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.data())
def test_batches_agree_with_one_by_one(data):
    """Many tags, layouts and lengths in any order: columns are as if every event had been read by itself."""
    from fluoroscope.integrations.tensorboard.columns import ColumnBuilder
    from fluoroscope.integrations.tensorboard.records import EventLog

    tags = data.draw(st.lists(st.text(max_size=3), min_size=1, max_size=4, unique=True))
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    contents = []
    for _ in range(data.draw(st.integers(1, 80))):
        step, kind = int(rng.choice([0, 3, 130, 70_000, 2**36])), rng.integers(5)
        tag = tags[rng.integers(len(tags))]
        tensor = number(1, 1) + chunk(2, b"") + chunk(4, struct.pack("<f", rng.normal()))
        values = {
            0: [simple(tag, rng.normal())],
            1: [simple(tag, rng.normal()), simple(tags[0], rng.normal())],
            2: [chunk(1, tag) + chunk(8, tensor) + chunk(9, chunk(1, chunk(1, "scalars")))],
            3: [chunk(1, tag) + chunk(8, tensor)],
            4: [chunk(1, tag) + chunk(5, chunk(6, struct.pack("<2d", 0, 1)) + chunk(7, struct.pack("<2d", 0, 2)))],
        }[int(kind)]
        contents.append(event(step, *values, time=float(rng.normal())))
    fast, slow = (ColumnBuilder("x", {}) for _ in range(2))
    by_length = {}
    for place, content in enumerate(contents):
        slow.event(content, place)
        by_length.setdefault(len(content), []).append(place)
    for length, places in by_length.items():
        rows = np.frombuffer(b"".join(contents[p] for p in places), np.uint8).reshape(-1, length)
        for i in sorted(fast.rows(rows, np.array(places)).tolist()):
            fast.event(contents[places[i]], places[i])
    logs = []
    for builder in (fast, slow):
        builder.end_block()
        logs.append(EventLog())
        builder.into(logs[-1])
    assert logs[0].scalars.keys() == logs[1].scalars.keys()
    for tag, column in logs[1].scalars.items():
        order = [np.argsort(log.scalars[tag].times, kind="stable") for log in logs]
        for mine, theirs in zip(logs[0].scalars[tag], column, strict=True):
            np.testing.assert_array_equal(mine[order[0]], theirs[order[1]])
    assert logs[0].left_out == logs[1].left_out
    assert {t: h.points for t, h in logs[0].histograms.items()} == {t: h.points for t, h in logs[1].histograms.items()}


def test_a_damaged_content_is_left_out_and_told(tmp_path):
    path = write(name(tmp_path), *(event(i, simple("loss", i)) for i in range(200)))
    raw = bytearray(path.read_bytes())
    size = len(framed(event(50, simple("loss", 50))))
    start = len(framed(double(1, 1.0) + chunk(3, "brain.Event:2"))) + sum(
        len(framed(event(i, simple("loss", i)))) for i in range(50)
    )
    raw[start + size - 5] ^= 1
    path.write_bytes(raw)
    log = read_log_folder(path)[ROOT]
    assert log.scalars["loss"].steps.tolist() == [i for i in range(200) if i != 50]
    assert [(p.offset, p.path) for p in log.problems] == [(start, str(path))]
    assert "checksum" in log.problems[0].what
    trusted = read_log_folder(path, check=False)[ROOT]
    assert len(trusted.scalars["loss"].steps) == 200 and not trusted.problems


def test_after_a_damaged_length_reading_ends_and_says_where(tmp_path):
    path = write(name(tmp_path), *(event(i, simple("loss", i)) for i in range(30)))
    raw = bytearray(path.read_bytes())
    cut = len(raw) - len(framed(event(29, simple("loss", 29))))
    raw[cut + 8] ^= 0xFF
    path.write_bytes(raw)
    file = EventFile(path)
    log = file.read()
    assert log.scalars["loss"].steps.tolist() == list(range(29))
    assert [p.offset for p in log.problems] == [cut]
    assert file.read().problems == []  # told once


def test_following_a_file_that_grows_byte_by_byte(tmp_path):
    whole = b"".join(framed(event(i, simple("loss", i * 0.5))) for i in range(12))
    path = name(tmp_path)
    path.write_bytes(b"")
    file, seen = EventFile(path), []
    for end in range(0, len(whole) + 1, 7):
        path.write_bytes(whole[:end])
        log = file.read()
        seen += log.scalars["loss"].steps.tolist() if log.scalars else []
    assert seen  # some were there before the last byte
    path.write_bytes(whole)
    log = file.read()
    seen += log.scalars["loss"].steps.tolist() if log.scalars else []
    assert seen == list(range(12)) and file.torn == 0


def test_every_cut_of_a_file_keeps_its_whole_records(tmp_path):
    records = [framed(event(i, simple("loss", i))) for i in range(4)]
    whole = b"".join(records)
    ends = np.cumsum([len(r) for r in records])
    for cut in range(1, len(whole)):
        path = name(tmp_path)
        path.write_bytes(whole[:cut])
        log = read_log_folder(path)[ROOT]
        expected = int((ends <= cut).sum())
        assert len(log.scalars["loss"].steps) if expected else not log.scalars
        assert log.records == expected
        assert len(log.problems) == (cut not in ends)


def test_files_of_one_run_and_runs_in_folders(tmp_path):
    """A restarted run repeats steps: kept in order of writing. Metadata of a tag is written only in the first file."""
    tensor = number(1, 1) + chunk(4, struct.pack("<f", 2.5))
    described = chunk(1, "acc") + chunk(8, tensor) + chunk(9, chunk(1, chunk(1, "scalars")))
    write(name(tmp_path, 1), event(0, simple("loss", 3)), event(1, simple("loss", 2)), event(1, described))
    start = double(1, 9.0) + number(2, 1) + chunk(7, number(1, 1))
    write(name(tmp_path, 2), start, event(1, simple("loss", 2.5)), event(2, chunk(1, "acc") + chunk(8, tensor)))
    (tmp_path / "eval" / "deep").mkdir(parents=True)
    write(name(tmp_path / "eval" / "deep"), event(7, simple("loss", 1)))
    (tmp_path / "notes.txt").write_text("no events")
    runs = read_log_folder(tmp_path)
    assert list(runs) == [ROOT, "eval/deep"]
    assert runs[ROOT].scalars["loss"].steps.tolist() == [0, 1, 1]
    assert runs[ROOT].scalars["acc"].steps.tolist() == [1, 2]
    assert runs[ROOT].restarts == [1]


def test_a_folder_is_followed_with_new_files(tmp_path):
    write(name(tmp_path, 1), event(0, simple("loss", 3)))
    folder = LogFolder(tmp_path)
    assert folder.read()[ROOT].scalars["loss"].steps.tolist() == [0]
    assert folder.read() == {}
    write(name(tmp_path, 2), event(1, simple("loss", 2)))
    assert folder.read()[ROOT].scalars["loss"].steps.tolist() == [1]
    assert folder.runs[ROOT].scalars["loss"].steps.tolist() == [0, 1]


def test_what_is_no_log_is_told(tmp_path):
    with pytest.raises(InputError, match="no such path"):
        read_log_folder(tmp_path / "absent")
    with pytest.raises(InputError, match="tfevents"):
        read_log_folder(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(ResultFileError):
        EventWriter(tmp_path / "file")


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.binary(max_size=60))
def test_random_contents_never_break_the_reader(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("x") / "a.tfevents"
    write(path, *[content] * 15, event(1, simple("loss", 2)))
    log = read_log_folder(path)[ROOT]
    assert 1 in log.scalars["loss"].steps.tolist()


# ------------------------------------------------------------------------------ beside TensorBoard


def accumulated(folder):
    module = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = module.EventAccumulator(str(folder), size_guidance=dict.fromkeys(module.DEFAULT_SIZE_GUIDANCE, 0))
    return found.Reload()


def test_files_of_torch_summary_writer(tmp_path):
    pytest.importorskip("tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    rng = np.random.default_rng(0)
    with SummaryWriter(str(tmp_path)) as writer:
        for step in range(300):
            writer.add_scalar("train/loss", math.exp(-step / 50), step, walltime=1e9 + step)
            writer.add_scalar("new style", step / 7, step, new_style=True, walltime=1e9 + step)
            writer.add_scalar("double", step / 7, step, new_style=True, double_precision=True)
        writer.add_scalar("nan", math.nan, 2**33)
        for step in range(3):
            writer.add_histogram("weights", rng.normal(size=1000), step)
            writer.add_image("picture", rng.integers(0, 256, (3, 8, 9), dtype=np.uint8), step)
            writer.add_text("note", f"**step** {step} <script>", step)
        writer.add_hparams({"lr": 0.1, "name": "a", "bn": True}, {"best": 0.5}, run_name="h")
        writer.add_pr_curve("pr", np.array([0, 1, 1]), np.array([0.1, 0.6, 0.9]), 0)
    runs = read_log_folder(tmp_path)
    theirs, log = accumulated(tmp_path), runs[ROOT]
    for tag in ("train/loss", "nan"):
        seen = theirs.Scalars(tag)
        np.testing.assert_array_equal(log.scalars[tag].values, [s.value for s in seen])
        assert log.scalars[tag].steps.tolist() == [s.step for s in seen]
        assert log.scalars[tag].times.tolist() == [s.wall_time for s in seen]
    for tag in ("new style", "double"):
        expected = np.arange(300) / 7
        np.testing.assert_array_equal(
            log.scalars[tag].values, expected if tag == "double" else expected.astype(np.float32)
        )
    for i, seen in enumerate(theirs.Histograms("weights")):
        value = seen.histogram_value
        assert log.histograms["weights"].counts[i].sum() == value.num == 1000
        assert log.histograms["weights"].edges[i][[0, -1]].tolist() == [value.min, value.max]
        assert set(log.histograms["weights"].edges[i][1:-1]) <= set(value.bucket_limit)
        assert (np.diff(log.histograms["weights"].edges[i]) >= 0).all()
    assert [p[0] for p in log.images["picture"].pictures] == [i.encoded_image_string for i in theirs.Images("picture")]
    assert log.texts["note/text_summary"].texts == tuple((f"**step** {i} <script>",) for i in range(3))
    assert runs["h"].hparams == {"lr": 0.1, "name": "a", "bn": True}
    assert runs["h"].scalars["best"].values.tolist() == [0.5]
    assert log.left_out == {"pr_curves": 1}


def test_files_in_the_format_of_tensorflow_2(tmp_path):
    """Tensors with metadata, as tf.summary and the Keras callback write them, made by TensorBoard's own code."""
    pytest.importorskip("tensorboard")
    from tensorboard.compat.proto import event_pb2, summary_pb2
    from tensorboard.plugins.histogram import summary_v2 as histogram
    from tensorboard.plugins.scalar import summary_v2 as scalar
    from tensorboard.plugins.text import summary_v2 as text
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    rng = np.random.default_rng(0)
    data = rng.normal(size=500)
    writer = EventFileWriter(str(tmp_path / "train"))
    made = [(step, scalar.scalar_pb("epoch_loss", 1 / (step + 1))) for step in range(40)]
    made.append((3, histogram.histogram_pb("kernel", data, buckets=10)))
    made.append((3, histogram.histogram_pb("constant", np.full(5, 2.0))))
    made.append((0, text.text_pb("note", np.array([["a", "b"], ["c", "d"]]))))
    unknown = summary_pb2.SummaryMetadata()
    unknown.plugin_data.plugin_name = "mesh"
    other = summary_pb2.Summary()
    other.value.add(tag="m", metadata=unknown).tensor.CopyFrom(made[0][1].value[0].tensor)
    for step, summary in [*made, (0, other)]:
        writer.add_event(event_pb2.Event(wall_time=5.0 + step, step=step, summary=summary))
    writer.close()
    log = read_log_folder(tmp_path)["train"]
    np.testing.assert_array_equal(log.scalars["epoch_loss"].values, (1 / np.arange(1, 41)).astype(np.float32))
    assert log.scalars["epoch_loss"].times.tolist() == [5.0 + i for i in range(40)]
    counts, edges = np.histogram(data, 10)
    np.testing.assert_array_equal(log.histograms["kernel"].counts[0], counts)
    np.testing.assert_allclose(log.histograms["kernel"].edges[0], edges, rtol=1e-6)
    assert log.histograms["constant"].counts[0].sum() == 5
    assert log.texts["note"].texts == (("a", "b", "c", "d"),)
    assert log.left_out == {"mesh": 1} and list(log.scalars) == ["epoch_loss"]


def test_what_is_written_tensorboard_reads(tmp_path):
    rng = np.random.default_rng(1)
    steps = np.concatenate([np.arange(0, 300), [20_000, 2**33, 5, 5, 0]])
    values = rng.normal(size=len(steps))
    values[[2, 4, 6]] = np.nan, np.inf, -np.inf
    times = 1e9 + rng.random(len(steps))
    counts, edges = np.histogram(rng.normal(size=1000), 20)
    picture = rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    with EventWriter(tmp_path) as writer:
        writer.scalars("a/'<b>ü", steps, values, times)
        writer.scalar("one", 7, 1e300, 3.0)
        writer.histogram("h", 4, edges, counts, 8.0)
        writer.image("p", 2, picture, 9.0)
        writer.text("t", 1, "hello", 10.0)
        writer.text("t", 2, ["x", "y"], 11.0)
        writer.hparams({"lr": 0.1, "deep": True, "name": "ü", "none": None}, ["a/'<b>ü"], 12.0)
    mine = read_log_folder(tmp_path)[ROOT]
    theirs = accumulated(tmp_path)
    seen = theirs.Scalars("a/'<b>ü")
    np.testing.assert_array_equal([s.value for s in seen], values.astype(np.float32))
    assert [s.step for s in seen] == steps.tolist() == mine.scalars["a/'<b>ü"].steps.tolist()
    assert [s.wall_time for s in seen] == times.tolist()
    assert theirs.Scalars("one")[0].value == math.inf
    found = theirs.Histograms("h")[0]
    assert (found.step, found.wall_time, found.histogram_value.num) == (4, 8.0, 1000)
    np.testing.assert_array_equal(found.histogram_value.bucket_limit, edges)
    np.testing.assert_array_equal(found.histogram_value.bucket, [0, *counts])
    np.testing.assert_array_equal(mine.histograms["h"].edges[0], edges)
    np.testing.assert_array_equal(mine.histograms["h"].counts[0], counts)
    image = theirs.Images("p")[0]
    assert (image.width, image.height, image.encoded_image_string) == (7, 5, mine.images["p"].pictures[0][0])
    assert [t.tensor_proto.string_val for t in theirs.Tensors("t")] == [[b"hello"], [b"x", b"y"]]
    assert mine.texts["t"].texts == (("hello",), ("x", "y"))
    assert mine.hparams == {"lr": 0.1, "deep": True, "name": "ü", "none": ""}
    from tensorboard.plugins.hparams import metadata

    content = theirs.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    settings_read = metadata.parse_session_start_info_plugin_data(content).hparams
    assert settings_read["lr"].number_value == 0.1 and settings_read["name"].string_value == "ü"
    about = metadata.parse_experiment_plugin_data(theirs.SummaryMetadata("_hparams_/experiment").plugin_data.content)
    assert [i.name for i in about.hparam_infos] == ["lr", "deep", "name", "none"]
    assert about.metric_infos[0].name.tag == "a/'<b>ü"
    assert mine.problems == []


def test_masked_sums_are_those_of_the_format():
    assert int(masked(0)) == 0xA282EAD8
    assert int(masked(0x8000)) == (1 + 0xA282EAD8) & 0xFFFFFFFF
