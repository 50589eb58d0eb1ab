"""Safetensors read without a model: number formats against torch, and hostile files."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from fluoroscope.errors import FluoroscopeError, InputError, ModelError
from fluoroscope.model.safetensors_file import SafetensorsFile
from fluoroscope.model.weights import Checkpoint

EIGHT = [torch.float8_e4m3fn, torch.float8_e5m2]


def written(path, header, data=b"", length=None):
    """A file with this header, whatever it says."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.uint16, torch.int16, *EIGHT])
def test_every_pattern_of_a_small_format(tmp_path, dtype):
    bits = torch.arange(1 << (8 * dtype.itemsize), dtype=torch.int32)
    whole = bits.to(torch.uint8 if dtype.itemsize == 1 else torch.uint16)
    values = whole.view(dtype).reshape(16, -1)
    save_file({"w": values}, tmp_path / "w.safetensors")
    (weight,) = Checkpoint.open(tmp_path / "w.safetensors").weights
    expected = values.double().numpy().ravel()
    np.testing.assert_array_equal(weight.flat(0, weight.size).astype(np.float64), expected)
    np.testing.assert_array_equal(weight.flat(5, 77).astype(np.float64), expected[5:77])
    assert weight.dtype == str(dtype).removeprefix("torch.")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64, torch.int32, torch.int8, torch.uint8])
def test_wide_and_whole_formats(tmp_path, dtype):
    values = (torch.arange(24) * 5 - 40).abs().to(dtype).reshape(2, 3, 4)
    save_file({"w": values}, tmp_path / "w.safetensors")
    (weight,) = Checkpoint.open(tmp_path / "w.safetensors").weights
    assert (weight.rows, weight.columns) == (2, 12)
    np.testing.assert_array_equal(weight.flat(0, 24), values.numpy().ravel())


HOSTILE = {
    "empty header": (b"", b""),
    "not json": (b"{nope", b""),
    "a list": (b"[1, 2]", b""),
    "deep": (b"[" * 100_000, b""),
    "a name twice": (b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, "a": 1}', bytes(8)),
    "no offsets": ({"a": {"dtype": "F32", "shape": [2]}}, bytes(8)),
    "three offsets": ({"a": entry(offsets=(0, 4, 8))}, bytes(8)),
    "a text": ({"a": "F32"}, bytes(8)),
    "backwards": ({"a": entry(offsets=(8, 0))}, bytes(8)),
    "negative": ({"a": entry(offsets=(-8, 0))}, bytes(8)),
    "an overflow": ({"a": entry(offsets=(0, 2**70))}, bytes(8)),
    "a fraction": ({"a": {"dtype": "F32", "shape": [2.0], "data_offsets": [0, 8]}}, bytes(8)),
    "a truth value": ({"a": {"dtype": "F32", "shape": [True], "data_offsets": [0, 4]}}, bytes(4)),
    "beyond the file": ({"a": entry(shape=(4,), offsets=(0, 16))}, bytes(8)),
    "overlap": ({"a": entry(), "b": entry(offsets=(4, 12))}, bytes(12)),
    "a hole": ({"a": entry(), "b": entry(offsets=(12, 20))}, bytes(20)),
    "left over": ({"a": entry()}, bytes(9)),
    "wrong size": ({"a": entry(shape=(3,))}, bytes(8)),
    "a huge shape": ({"a": entry(shape=(1 << 62, 1 << 62))}, bytes(8)),
    "an endless number": (
        b'{"a": {"dtype": "F32", "shape": [' + b"9" * 5000 + b'], "data_offsets": [0, 8]}}',
        bytes(8),
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_headers_are_refused(tmp_path, name):
    header, data = HOSTILE[name]
    path = written(tmp_path / "h.safetensors", header, data)
    with pytest.raises(ModelError, match="not a complete safetensors file"):
        Checkpoint.open(path)


@pytest.mark.parametrize("length", [1, 10, 10**9, 2**62, 2**64 - 1])
def test_a_header_longer_than_the_file_is_refused_before_it_is_read(tmp_path, length):
    path = written(tmp_path / "h.safetensors", b"{}" if length > 2 else b"", b"", length)
    with pytest.raises(ModelError, match="header alone takes"):
        Checkpoint.open(path)


@pytest.mark.parametrize(
    ("content", "words"), [(b"12", "complete"), (b"<html></html>", "web page"), (b"version https://git-lfs", "Git LFS")]
)
def test_other_things_are_named(tmp_path, content, words):
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match=words):
        Checkpoint.open(tmp_path / "x.safetensors")


def test_a_file_cut_after_it_was_opened(tmp_path):
    save_file({"w": torch.ones(100)}, tmp_path / "w.safetensors")
    opened = SafetensorsFile.open(tmp_path / "w.safetensors")
    data = (tmp_path / "w.safetensors").read_bytes()
    (tmp_path / "w.safetensors").write_bytes(data[:-40])
    with pytest.raises(ModelError, match="360 of 400 bytes"):
        opened.read(opened.tensors[0], 0, 100)


def test_an_unknown_format_is_left_out_and_told(tmp_path):
    header = {"good": entry(), "odd": entry("F4<b>", (16,), (8, 16)), "__metadata__": {"format": "pt"}}
    found = Checkpoint.open(written(tmp_path / "u.safetensors", header, bytes(16)))
    assert [w.name for w in found.weights] == ["good"]
    assert found.notes == ("tensor 'odd' was left out: its number format F4<b> is not known here",)


def test_scalars_and_empty_tensors(tmp_path):
    header = {"scalar": entry(shape=(), offsets=(0, 4)), "none": entry(shape=(0, 7), offsets=(4, 4))}
    found = Checkpoint.open(written(tmp_path / "s.safetensors", header, struct.pack("<f", 2.5)))
    by_name = {w.name: w for w in found.weights}
    assert by_name["scalar"].flat(0, 1).tolist() == [2.5]
    assert list(by_name["none"].blocks()) == []


def shards(folder, names=("a.safetensors", "b.safetensors")):
    save_file({"x.0": torch.ones(2, 3)}, folder / "a.safetensors")
    save_file({"x.10": torch.zeros(4), "x.2": torch.full((2,), 7.0)}, folder / "b.safetensors")
    index = {"weight_map": {"x.0": names[0], "x.10": names[1], "x.2": names[1]}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder / "model.safetensors.index.json"


def test_many_files_by_index_or_folder(tmp_path):
    for path in (shards(tmp_path), tmp_path):
        found = Checkpoint.open(path)
        assert [w.name for w in found.weights] == ["x.0", "x.2", "x.10"]
        assert found.weights[1].flat(0, 2).tolist() == [7.0, 7.0]


@pytest.mark.parametrize("name", ["../a.safetensors", "/etc/passwd", "sub/a.safetensors", "a.bin", ""])
def test_an_index_stays_in_its_folder(tmp_path, name):
    with pytest.raises(ModelError, match="not beside it"):
        Checkpoint.open(shards(tmp_path, (name, "b.safetensors")))


def test_a_missing_file_and_a_missing_tensor_of_an_index(tmp_path):
    with pytest.raises(InputError, match="not there") as caught:
        Checkpoint.open(shards(tmp_path, ("aa.safetensors", "b.safetensors")))
    assert "a.safetensors" in str(caught.value)
    index = shards(tmp_path)
    index.write_text(json.dumps({"weight_map": {"x.0": "a.safetensors", "gone": "b.safetensors"}}))
    with pytest.raises(ModelError, match="gone"):
        Checkpoint.open(index)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"weight_map": 3}', "[" * 100_000])
def test_a_broken_index(tmp_path, text):
    (tmp_path / "m.safetensors.index.json").write_text(text or " ")
    with pytest.raises(FluoroscopeError):
        Checkpoint.open(tmp_path / "m.safetensors.index.json")


def test_the_same_name_in_two_files(tmp_path):
    save_file({"w": torch.ones(2)}, tmp_path / "a.safetensors")
    save_file({"w": torch.ones(2)}, tmp_path / "b.safetensors")
    with pytest.raises(ModelError, match="same name"):
        Checkpoint.open(tmp_path)


def test_plain_torch_files_too(tmp_path):
    torch.save({"a.weight": torch.eye(3)}, tmp_path / "w.pt")
    (weight,) = Checkpoint.open(tmp_path / "w.pt").weights
    assert weight.flat(0, 9).sum() == 3
    with pytest.raises(InputError):
        Checkpoint.open(tmp_path / "absent.safetensors")
