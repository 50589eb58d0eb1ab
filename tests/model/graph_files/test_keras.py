"""Graphs of Keras networks: layers by their own names, costs as Keras counts them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

import fluoroscope as fs

if "keras" not in sys.modules:
    os.environ.setdefault("KERAS_BACKEND", "torch")


@pytest.mark.slow
def test_a_keras_file_is_traced_layer_by_layer(assets: Path) -> None:
    keras = pytest.importorskip("keras", reason="Keras is not installed")
    pytest.importorskip("h5py")
    if keras.config.backend() != "torch":
        pytest.skip("Keras was imported on another backend")
    subject = fs.load(f"keras:{assets / 'models' / 'resnet8_cifar10.keras2.h5'}")
    graph = fs.Architecture()(subject)
    assert graph.complete
    assert graph.parameters == subject.module.count_params()
    named = {layer.name for layer in subject.module.layers}
    drawn = {n.name for n in graph.nodes if n.role == "module"}
    assert {"conv2d", "batch_normalization", "dense"} <= drawn & named
    assert graph.node("conv2d").outputs[0].shape == (1, 32, 32, 16)
