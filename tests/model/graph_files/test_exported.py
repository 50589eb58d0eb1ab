"""Graphs of .pt2 files: equal to the network's own, without running what the file holds."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import fluoroscope as fs
from fluoroscope.errors import InputError, ModelError
from fluoroscope.model.graph.files.exported_graph import exported_graph


class Block(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.fc, self.norm = nn.Linear(size, size), nn.LayerNorm(size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(x + torch.relu(self.fc(x)))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.layers = nn.ModuleList([Block(8) for _ in range(4)])
        self.register_buffer("scale", torch.ones(8))
        self.head = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        x = self.conv(x).mean((2, 3))
        for layer in self.layers:
            x = layer(x)
        return {"scores": self.head(x * self.scale)}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "net.pt2"
    batch = torch.export.Dim("batch")
    program = torch.export.export(Net(), (torch.randn(2, 3, 8, 8),), dynamic_shapes=({0: batch},))
    torch.export.save(program, path)
    return path


def test_it_says_what_the_network_itself_says(saved: Path) -> None:
    graph, table = exported_graph(saved), fs.LayerTable()(Net(), torch.randn(2, 3, 8, 8))
    assert graph.parameters == table.parameters
    assert graph.trainable == table.trainable
    assert graph.flops == 2 * table.flops  # two examples were exported, a table is for one
    block = next(n for n in graph.nodes if n.times > 1)
    assert (block.times, block.repeat, block.members, block.type) == (
        4,
        "repetition",
        ("layers.0 … layers.3",),
        "Block",
    )
    assert graph.node("head").parameters == 27
    assert graph.node("conv").outputs == () or graph.node("conv").outputs[0].shape == (2, 8, 8, 8)
    carried = [e for e in graph.edges if e.fold == "carried"]
    assert {graph.nodes[e.target].name for e in carried} == {"layers.0.fc", "add"}
    assert {graph.nodes[e.source].name for e in carried} == {"layers.0.norm"}
    assert any("test_exported.py" in n.code for n in graph.nodes)
    assert any("left open" in note or "leaves open" in note for note in graph.notes)


def test_folding_keeps_every_operation(saved: Path) -> None:
    folded, whole = exported_graph(saved), exported_graph(saved, fold=False)
    operations = [n for n in whole.nodes if n.role == "operation" or n.attributes.get("operation")]
    assert folded.operations == whole.operations == len(operations)
    assert whole.parameters == folded.parameters


def test_the_method_reads_the_file(saved: Path) -> None:
    graph = fs.Architecture()(saved)
    assert graph.meta["method"] == "architecture"
    assert graph.operations == exported_graph(saved).operations


class Harm:
    """Unpickling it would leave a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


def rewritten(saved: Path, path: Path, change: Any) -> Path:
    """The archive with every member passed through ``change(name, data)``."""
    with zipfile.ZipFile(saved) as source, zipfile.ZipFile(path, "w") as target:
        for item in source.infolist():
            data = change(item.filename, source.read(item))
            if data is not None:
                target.writestr(item.filename, data)
    return path


def test_nothing_in_the_file_is_run(saved: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    harm = io.BytesIO()
    pickle.dump(Harm(mark), harm)

    def change(name: str, data: bytes) -> bytes:
        return data if name.endswith(".json") else harm.getvalue()

    graph = exported_graph(rewritten(saved, tmp_path / "harm.pt2", change))
    assert graph.operations == exported_graph(saved).operations
    assert not mark.exists()


def test_truncated_files_are_refused(saved: Path, tmp_path: Path) -> None:
    whole = saved.read_bytes()
    for place in range(1, len(whole), len(whole) // 20):
        path = tmp_path / "cut.pt2"
        path.write_bytes(whole[:place])
        with pytest.raises(ModelError, match=r"cut\.pt2"):
            exported_graph(path)


@pytest.mark.parametrize(
    "program",
    [b"{", b"[]", b"{}", b'{"graph_module": 3}', b"[" * 100_000, json.dumps({"graph_module": {"graph": {}}}).encode()],
)
def test_programs_that_are_none(saved: Path, tmp_path: Path, program: bytes) -> None:
    def change(name: str, data: bytes) -> bytes:
        return program if name.endswith("models/model.json") else data

    with pytest.raises(ModelError, match=r"torch\.export"):
        exported_graph(rewritten(saved, tmp_path / "odd.pt2", change))


def test_an_archive_that_blows_up_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pt2"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/models/model.json", b" " * 300_000_000)
    with pytest.raises(ModelError, match="300,000,000 bytes"):
        exported_graph(path)


def test_negative_sizes_and_missing_files(saved: Path, tmp_path: Path) -> None:
    def change(name: str, data: bytes) -> bytes:
        return data.replace(b'"as_int": 8}', b'"as_int": -8}') if name.endswith("models/model.json") else data

    with pytest.raises(ModelError, match="negative"):
        exported_graph(rewritten(saved, tmp_path / "negative.pt2", change))
    with pytest.raises(InputError, match="no file"):
        exported_graph(tmp_path / "none.pt2")


def test_other_archives_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme", "hello")
    with pytest.raises(ModelError, match="without a program"):
        exported_graph(path)
