"""Files of weights: whole or not at all, never run, and every misfit told in one message."""

from __future__ import annotations

import os
import pickle
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from fluoroscope.errors import InputError, ModelError
from fluoroscope.model.weights_file import load_weights, read_weights


class Net(nn.Module):
    """Two convolutions with batch norm."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 5, 3)
        self.bn1 = nn.BatchNorm2d(5)
        self.fc = nn.Linear(5, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.bn1(self.conv1(x)).mean((2, 3)))


class Marker:
    """An object whose unpickling leaves a trace."""

    path = ""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


def trained() -> Net:
    torch.manual_seed(7)
    net = Net()
    with torch.no_grad():
        for tensor in net.state_dict().values():
            tensor.copy_(torch.rand(tensor.shape) * 10)
    return net


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.mark.parametrize("suffix", ["safetensors", "pt", "pth", "bin"])
def test_plain_files(tmp_path: Path, suffix: str) -> None:
    source, net = trained(), Net()
    path = tmp_path / f"w.{suffix}"
    save_file(source.state_dict(), path) if suffix == "safetensors" else torch.save(source.state_dict(), path)
    assert not same(source, net)
    assert load_weights(net, path) == ()
    assert same(source, net)


def test_old_format_of_torch(tmp_path: Path) -> None:
    source, net = trained(), Net()
    torch.save(source.state_dict(), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    load_weights(net, tmp_path / "old.pth")
    assert same(source, net)


@pytest.mark.parametrize(
    ("wrap", "said"),
    [
        (lambda s: {"state_dict": s, "epoch": 3}, "'state_dict'"),
        (lambda s: {"model": s, "optimizer": {"lr": 0.1}}, "'model'"),
        (lambda s: {"model": {"state_dict": s}}, "'state_dict'"),
        (lambda s: {f"module.{k}": v for k, v in s.items()}, "'module.'"),
        (lambda s: {f"_orig_mod.{k}": v for k, v in s.items()}, "'_orig_mod.'"),
        (lambda s: {f"module._orig_mod.{k}": v for k, v in s.items()}, "_orig_mod."),
        (lambda s: {k.replace(".", "._orig_mod.", 1): v for k, v in s.items()}, "_orig_mod."),
        (lambda s: {"state_dict": {f"model.net.{k}": v for k, v in s.items()}}, "'model.net.'"),
        (lambda s: {**s, "epoch": 4}, "'epoch'"),
    ],
)
def test_wrappings_come_off_with_a_note(tmp_path: Path, wrap: Any, said: str) -> None:
    source, net = trained(), Net()
    torch.save(wrap(source.state_dict()), tmp_path / "w.pt")
    notes = load_weights(net, tmp_path / "w.pt")
    assert same(source, net)
    assert any(said in note for note in notes), notes


def test_a_prefix_that_belongs_to_the_network_stays(tmp_path: Path) -> None:
    source, net = nn.Sequential(nn.Sequential(nn.Linear(2, 2))), nn.Sequential(nn.Sequential(nn.Linear(2, 2)))
    torch.save(source.state_dict(), tmp_path / "w.pt")
    assert load_weights(net, tmp_path / "w.pt") == ()
    assert same(source, net)


def test_misfits_are_listed_with_the_nearest_names(tmp_path: Path) -> None:
    state = trained().state_dict()
    state["conv_1.weight"] = state.pop("conv1.weight")
    state["fc.weight"] = torch.zeros(10, 5)
    save_file(state, tmp_path / "w.safetensors")
    net = Net()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    with pytest.raises(ModelError) as caught:
        load_weights(net, tmp_path / "w.safetensors")
    text = str(caught.value)
    assert "1 missing, 1 unexpected, 1 of the wrong shape" in text
    assert "'fc.weight' is (10, 5), not (4, 5)" in text
    assert "'conv_1.weight' for 'conv1.weight'" in text
    assert len(text.splitlines()) <= 6
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items()), "half loaded"


def test_not_strict_takes_what_fits_and_notes_the_rest(tmp_path: Path) -> None:
    source = trained()
    state = source.state_dict()
    del state["conv1.bias"]
    state["fc.weight"] = torch.zeros(10, 5)
    state["extra.weight"] = torch.zeros(1)
    save_file(state, tmp_path / "w.safetensors")
    net = Net()
    bias = net.conv1.bias.clone()
    notes = " | ".join(load_weights(net, tmp_path / "w.safetensors", strict=False))
    assert torch.equal(net.conv1.weight, source.conv1.weight) and torch.equal(net.conv1.bias, bias)
    assert "'conv1.bias'" in notes and "'extra.weight'" in notes and "'fc.weight'" in notes


def test_nothing_that_fits_is_an_error_even_when_not_strict(tmp_path: Path) -> None:
    save_file({"other": torch.zeros(2)}, tmp_path / "w.safetensors")
    with pytest.raises(ModelError, match="does not fit Net"):
        load_weights(Net(), tmp_path / "w.safetensors", strict=False)


def test_tied_weights_and_counters_may_be_absent(tmp_path: Path) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.head = nn.Embedding(4, 3), nn.Linear(3, 4, bias=False)
            self.head.weight = self.embed.weight
            self.norm = nn.BatchNorm1d(3)

    state = {k: v for k, v in Tied().state_dict().items() if k not in ("head.weight", "norm.num_batches_tracked")}
    save_file(state, tmp_path / "w.safetensors")
    net = Tied()
    load_weights(net, tmp_path / "w.safetensors")
    assert torch.equal(net.head.weight, state["embed.weight"])


def test_half_precision_is_converted_with_a_note(tmp_path: Path) -> None:
    source, net = trained(), Net()
    state = {k: v.half() if v.is_floating_point() else v for k, v in source.state_dict().items()}
    save_file(state, tmp_path / "w.safetensors")
    notes = load_weights(net, tmp_path / "w.safetensors")
    assert net.fc.weight.dtype == torch.float32
    assert torch.equal(net.fc.weight, source.fc.weight.half().float())
    assert any("float16 to float32" in note for note in notes)


def test_quantized_integers_are_not_taken_for_weights(tmp_path: Path) -> None:
    state = trained().state_dict()
    state["fc.weight"] = torch.zeros(4, 5, dtype=torch.int8)
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(ModelError, match=r"'fc.weight' is int8, not float32"):
        load_weights(Net(), tmp_path / "w.safetensors")


def test_nan_is_noted(tmp_path: Path) -> None:
    state = trained().state_dict()
    state["fc.bias"][1] = float("nan")
    save_file(state, tmp_path / "w.safetensors")
    assert load_weights(Net(), tmp_path / "w.safetensors") == ("NaN or infinity among the weights: 'fc.bias (1 of 4)'",)


def test_meta_network_takes_the_tensors(tmp_path: Path) -> None:
    source = trained()
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    with torch.device("meta"):
        net = Net()
    load_weights(net, tmp_path / "w.safetensors")
    assert same(source, net)


def test_whole_models_are_refused_and_never_run(tmp_path: Path) -> None:
    torch.save(trained(), tmp_path / "model.pt")
    with pytest.raises(ModelError, match="more than plain tensors") as caught:
        load_weights(Net(), tmp_path / "model.pt")
    assert f"{Net.__module__}.Net" in str(caught.value) and "torch.save(model.state_dict()" in str(caught.value)


@pytest.mark.parametrize("form", ["zip", "old zip", "pickle"])
def test_code_in_a_file_does_not_run(tmp_path: Path, form: str) -> None:
    marker = Marker()
    marker.path = str(tmp_path / "ran")
    path = tmp_path / "evil.pt"
    if form == "pickle":
        path.write_bytes(pickle.dumps({"a": marker}))
    else:
        torch.save({"a": marker}, path, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(ModelError, match=r"mkdir|can't read"):
        load_weights(Net(), path)
    assert not (tmp_path / "ran").exists()


def test_torchscript_is_refused(tmp_path: Path) -> None:
    torch.jit.script(nn.Linear(2, 2)).save(str(tmp_path / "script.pt"))
    with pytest.raises(ModelError, match="a TorchScript program"):
        load_weights(Net(), tmp_path / "script.pt")


@pytest.mark.parametrize("content", [[torch.zeros(2)], {"loss": 1.0, "epoch": 2}, 3])
def test_plain_values_that_are_no_state_dict(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(ModelError, match="holds no state_dict"):
        read_weights(tmp_path / "w.pt")


@pytest.mark.parametrize("share", [0.2, 0.6, 0.99])
def test_truncated_safetensors_gives_both_sizes(tmp_path: Path, share: float) -> None:
    save_file(trained().state_dict(), tmp_path / "whole.safetensors")
    data = (tmp_path / "whole.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ModelError, match="not a complete safetensors") as caught:
        read_weights(tmp_path / "cut.safetensors")
    assert f"{int(len(data) * share):,} bytes" in str(caught.value)
    if share == 0.99:
        assert f"promises {len(data):,}" in str(caught.value)


@pytest.mark.parametrize(
    "data", [b"\x00" * 7, struct.pack("<Q", 2**62) + b"{}", struct.pack("<Q", 2) + b"[]", b"x" * 99]
)
def test_nonsense_instead_of_safetensors(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "bad.safetensors").write_bytes(data)
    with pytest.raises(ModelError, match="not a complete safetensors"):
        read_weights(tmp_path / "bad.safetensors")


@pytest.mark.parametrize("old", [False, True])
def test_truncated_torch_files(tmp_path: Path, old: bool) -> None:
    torch.save(trained().state_dict(), tmp_path / "w.pt", _use_new_zipfile_serialization=not old)
    data = (tmp_path / "w.pt").read_bytes()
    for share in (0.1, 0.5, 0.9):
        (tmp_path / "cut.pt").write_bytes(data[: int(len(data) * share)])
        net = Net()
        before = {k: v.clone() for k, v in net.state_dict().items()}
        with pytest.raises(ModelError, match=r"cut\.pt"):
            load_weights(net, tmp_path / "cut.pt")
        assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_files_that_are_something_else(tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_text("version https://git-lfs.github.com/spec/v1\n")
    (tmp_path / "b.pt").write_text("<!doctype html><html>not found</html>")
    (tmp_path / "c.pt").write_text("hello there")
    (tmp_path / "d.pt").touch()
    with pytest.raises(ModelError, match="git lfs pull"):
        read_weights(tmp_path / "a.pt")
    with pytest.raises(ModelError, match="a web page"):
        read_weights(tmp_path / "b.pt")
    with pytest.raises(ModelError, match=r"c\.pt"):
        read_weights(tmp_path / "c.pt")
    with pytest.raises(InputError, match="is empty"):
        read_weights(tmp_path / "d.pt")
    with pytest.raises(InputError, match=r"nearest: .*'a.pt'"):
        read_weights(tmp_path / "a.pth")
    with pytest.raises(InputError, match="is a folder"):
        read_weights(tmp_path)


def test_weights_of_a_real_network(assets: Path, load_asset: Any) -> None:
    net, _, _ = load_asset("resnet20_cifar10")
    wanted = {k: v.clone() for k, v in net.state_dict().items()}
    with torch.no_grad():
        for p in net.parameters():
            p.zero_()
    load_weights(net, assets / "models" / "resnet20_cifar10.safetensors")
    assert all(torch.equal(v, wanted[k]) for k, v in net.state_dict().items())
    with pytest.raises(ModelError, match="unexpected"):
        load_weights(net, assets / "models" / "resnet56_cifar10.safetensors")
