"""Event files whose records are whole and make no sense, and files that become shorter: told, and the rest is read."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import numpy as np
import pytest

from fluoroscope.integrations.tensorboard import EventFile, EventWriter
from fluoroscope.integrations.tensorboard.framing import HEAD, TAIL, framed
from fluoroscope.integrations.tensorboard.wire import chunk, double, number


def written(folder: Path) -> Path:
    with EventWriter(folder) as writer:
        for step in range(30):
            writer.scalar("loss", step, 1.0 / (step + 1))
        writer.histogram("h", 1, np.linspace(-1, 1, 9), np.arange(8))
        writer.text("t", 1, ["a", "b"])
        writer.image("i", 1, np.zeros((4, 4, 3), np.uint8))
        writer.hparams({"lr": 0.1}, ["loss"])
    return writer.path


def summary(value: bytes) -> bytes:
    return double(1, 5.0) + number(2, 1) + chunk(5, chunk(1, value))


def plugin(name: str, content: bytes = b"") -> bytes:
    return chunk(9, chunk(1, chunk(1, name) + chunk(2, content)))


def nested(depth: int) -> bytes:
    found = b""
    for _ in range(depth):
        found = chunk(6, chunk(1, found))
    return chunk(3, chunk(1, chunk(1, "k") + chunk(2, found)))


ODD = {
    "a half of 17 bits": chunk(1, "x")
    + chunk(8, number(1, 19) + chunk(2, b"") + number(13, 70_000))
    + plugin("scalars"),
    "settings within settings": chunk(1, "_hparams_/session_start_info") + plugin("hparams", nested(3000)),
    "a histogram without limits": chunk(1, "x") + chunk(5, chunk(7, struct.pack("<d", 1.0))),
    "an image without a picture": chunk(1, "x") + chunk(4, number(1, 4)),
    "a histogram of two columns": chunk(1, "x")
    + chunk(8, number(1, 1) + chunk(2, chunk(2, number(1, 2)) * 2) + chunk(5, bytes(16)))
    + plugin("histograms"),
}


@pytest.mark.parametrize("what", ODD)
def test_a_record_that_makes_no_sense_costs_only_itself(what: str, tmp_path: Path) -> None:
    path = written(tmp_path)
    good = EventFile(path).read()
    with path.open("ab") as file:
        file.write(framed(summary(ODD[what])) + framed(summary(chunk(1, "after") + b"\x15" + struct.pack("<f", 2.0))))
    found = EventFile(path).read()
    assert ["it is left out" in p.what for p in found.problems] == [True]
    assert found.scalars["after"].values.tolist() == [2.0]
    assert found.scalars["loss"].values.tolist() == good.scalars["loss"].values.tolist()
    assert found.histograms.keys() == good.histograms.keys() and found.images.keys() == good.images.keys()


def test_random_bytes_in_records_end_no_reading(tmp_path: Path) -> None:
    data = written(tmp_path).read_bytes()
    rng, path = random.Random(0), tmp_path / "odd.tfevents"
    heads, at = [], 0
    while at < len(data):
        heads.append(at)
        at += HEAD + TAIL + struct.unpack_from("<Q", data, at)[0]
    for _ in range(300):
        changed = bytearray(data)
        for _ in range(rng.randint(1, 6)):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        for head in heads:
            changed[head : head + HEAD] = data[head : head + HEAD]
        path.write_bytes(changed)
        assert EventFile(path, check=False).read().records == len(heads)


def test_a_file_that_becomes_shorter_is_told_once_and_waited_for(tmp_path: Path) -> None:
    path = written(tmp_path)
    data = path.read_bytes()
    file = EventFile(path)
    file.read()
    path.write_bytes(data[:500])
    problems = [file.read().problems, file.read().problems]
    assert [len(p) for p in problems] == [1, 0]
    assert "fewer than were read" in problems[0][0].what
    assert file.torn == 0
    path.write_bytes(data + framed(summary(chunk(1, "after") + b"\x15" + struct.pack("<f", 2.0))))
    assert file.read().scalars["after"].values.tolist() == [2.0]
