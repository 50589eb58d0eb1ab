"""Saving and opening results: everything comes back, nothing half-written stays, nothing foreign is believed."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fluoroscope as fs
from fluoroscope.errors import FluoroscopeError, ResultFileError, error_classes
from fluoroscope.results import Attribution, History, Record, Series, joined, store

NAMES = ("</script><b>", "naïve 'quotes' \"x\"", "日本\u202etxt", "", "a" * 5000)


def sample(**changes: Any) -> Attribution:
    values = np.array([[[1.5, -2.0], [np.nan, np.inf]]] * 2, dtype=np.float32)
    fields: dict[str, Any] = {
        "data": values,
        "axes": ("N", "H", "W"),
        "scores": np.array([1.0, 2.0]),
        "targets": np.array([3, 4]),
        "labels": (("a",), (NAMES[0],)),
        "size": (4, 4),
        "samples": fs.Samples(names=NAMES[:2], images=np.zeros((2, 4, 4, 3), np.uint8)),
        "meta": {"x": float("nan"), "list": [1, (2, "b")], "deep": {"": None, "$array": True}, "n": np.int64(7)},
    }
    return Attribution(**{**fields, **changes})


def test_round_trip(tmp_path: Path) -> None:
    result = sample()
    path = result.save(tmp_path / "r")
    assert path.name == "r.fluo"
    opened = fs.open_result(path)
    np.testing.assert_array_equal(opened.values, result.values)
    assert opened.values.dtype == np.float32
    assert opened.samples.names == NAMES[:2]
    assert np.isnan(opened.meta.pop("x"))
    assert opened.meta == {"list": [1, (2, "b")], "deep": {"": None, "$array": True}, "n": 7}
    assert opened.labels == result.labels
    assert opened.centers is None


def test_a_growing_series_round_trips(tmp_path: Path) -> None:
    series = Series(steps=np.arange(3), values=np.array([1.0, np.nan, 2.0]), group=NAMES[2])
    history = History(series={NAMES[4]: series.extended(np.array([3]), np.array([0.5]))})
    opened = fs.open_result(history.save(tmp_path / "h.fluo"))
    np.testing.assert_array_equal(opened.series[NAMES[4]].values, [1.0, np.nan, 2.0, 0.5])


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = sample().save(tmp_path / "r.fluo").read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResultFileError, match="No space left"):
        sample(axes=("N", "H", "W"), title="other").save(tmp_path / "r.fluo")
    assert [p.name for p in tmp_path.iterdir()] == ["r.fluo"]
    assert (tmp_path / "r.fluo").read_bytes() == good


def test_an_interrupted_write_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), store.atomic_write(tmp_path / "page.html") as handle:
        handle.write(b"half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0 or not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ResultFileError, match="could not be written"):
        sample().save(tmp_path / "file" / "r.fluo")


def damaged(path: Path) -> dict[str, bytes]:
    good = sample().save(path / "good.fluo").read_bytes()
    size = struct.unpack("<Q", good[:8])[0]
    header = json.loads(good[8 : 8 + size])
    inner = json.loads(header["__metadata__"]["fluoroscope"])

    def with_inner(**changes: Any) -> bytes:
        text = json.dumps({**header, "__metadata__": {"fluoroscope": json.dumps({**inner, **changes})}}).encode()
        return struct.pack("<Q", len(text)) + text + good[8 + size :]

    return {
        "empty": b"",
        "truncated": good[:-20],
        "no header": good[8:],
        "huge header": struct.pack("<Q", 1 << 60) + good[8:],
        "pickle": b"\x80\x04\x95" + good,
        "newer": with_inner(format=99),
        "unknown kind": with_inner(data={"$record": "Popen", "fields": {"args": "true"}}),
        "missing array": with_inner(data={"$array": "no such"}),
        "not json": good.replace(b'\\"format\\"', b'\\"format\\\\'),
    }


HOW = ("empty", "truncated", "no header", "huge header", "pickle", "newer", "unknown kind", "missing array", "not json")


@pytest.mark.parametrize("how", HOW)
def test_damaged_and_hostile_files_are_refused(how: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.fluo"
    path.write_bytes(damaged(tmp_path)[how])
    with pytest.raises(ResultFileError, match=r"bad\.fluo"):
        fs.open_result(path)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ResultFileError, match="could not be opened"):
        fs.open_result(tmp_path / "none.fluo")


def test_joining_batches() -> None:
    whole = joined([sample(), sample(), sample()])
    assert whole.values.shape == (6, 2, 2)
    assert whole.samples.names == NAMES[:2] * 3
    assert len(whole.labels) == 6
    assert whole.axes == ("N", "H", "W")


def test_resizing_follows_the_half_pixel_rule() -> None:
    import torch

    values = np.random.default_rng(0).random((2, 5, 7))
    result = sample(data=values, size=(50, 70), meta={})
    for size in ((50, 70), (13, 9), (5, 7), (1, 1)):
        expected = torch.nn.functional.interpolate(
            torch.from_numpy(values)[:, None], size, mode="bilinear", align_corners=False
        )
        np.testing.assert_allclose(result.resized(*size), expected[:, 0].numpy(), atol=1e-12)


def test_resizing_puts_cells_where_their_centers_are() -> None:
    result = sample(data=np.array([[[0.0, 1.0], [0.0, 1.0]]] * 2), size=(8, 8), centers=((4.0, 4.0), (2.0, 3.0)))
    np.testing.assert_allclose(result.resized(8, 8)[0, 0], np.clip((np.arange(8) + 0.5 - 2) / 3, 0, 1))


def test_resizing_keeps_what_is_not_a_number_in_its_place() -> None:
    values = np.zeros((2, 4, 4))
    values[0, 0, 0] = np.nan
    values[1] = 1.0
    full = sample(data=values, size=(8, 8)).resized(8, 8)
    assert np.isnan(full[0, 0, 0])
    assert not full[0, 4:].any()
    np.testing.assert_allclose(full[1], 1.0)


def test_wrong_axes_are_refused() -> None:
    with pytest.raises(FluoroscopeError, match="scores"):
        sample(scores=np.zeros((2, 2, 2)))


def test_records_are_frozen() -> None:
    with pytest.raises(AttributeError):
        sample().title = "changed"  # type: ignore[misc]
    assert isinstance(sample(), Record)


def test_errors_keep_to_the_template() -> None:
    import pickle

    for cls in error_classes():
        error = cls("it failed\n\x1b[31m", got="a" * 1000, expected=NAMES[1], nearest="x", remedy="do this")
        lines = str(error).splitlines()
        assert len(lines) == 5
        assert lines[0] == f"{cls.code}: it failed \\x1b[31m"
        assert max(map(len, lines)) < 300
        assert str(pickle.loads(pickle.dumps(error))) == str(error)
        assert cls.meaning
    codes = [c.code for c in error_classes()]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("name", ["maps.png", "maps.PDF", "maps.html"])
def test_numbers_are_not_saved_as_a_picture(tmp_path, name):
    with pytest.raises(ResultFileError, match="savefig"):
        History(series={}).save(tmp_path / name)
    assert not list(tmp_path.iterdir())
