"""What every method keeps, over the whole registry: a new method passes by being registered."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

import fluoroscope as fs
from fluoroscope.errors import FluoroscopeError, OptionError
from fluoroscope.methods.base import PHASES, Method
from fluoroscope.methods.registry import find_method, methods
from fluoroscope.model.subject import as_subject
from fluoroscope.results.record import Record
from tests.contract.networks import DEVICE, Functional, Plain, Raising, Wrapped, differences, images, network, snapshot

METHODS = list(methods().values())
pytestmark = pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name)


def made(method: type[Method], **options: Any) -> Method:
    """A method with few samples where it draws some: the contract is about how they are spent, not how many."""
    names = {f.name for f in dataclasses.fields(method)}
    return method(**{k: v for k, v in FEW.items() if k in names}, **options)


FEW = {"samples": 24, "count": 4, "steps": 2, "cells": 3}


def call(method: Method, model: Any, x: torch.Tensor, **options: Any) -> Any:
    """Call a method with all that it needs."""
    arguments = {"inputs": x.to(DEVICE)} if "inputs" in method.needs or not method.needs else {}
    if not type(method).needs and method.name != "layers":
        arguments = {}
    if "loss" in method.needs:
        arguments["loss"] = torch.nn.functional.cross_entropy
    if "target" in method.needs:
        arguments["target"] = 2
    return method(model, **{**arguments, **options})


def assert_equal(a: Any, b: Any, tolerance: float = 0.0) -> None:
    """Two records with equal fields, arrays to a tolerance."""
    assert type(a) is type(b)
    if isinstance(a, np.ndarray):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * max(1.0, float(np.abs(a).max(initial=0))))
    elif isinstance(a, Record):
        for f in dataclasses.fields(a):
            if f.name not in ("meta", "caption"):
                assert_equal(getattr(a, f.name), getattr(b, f.name), tolerance)
    elif isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            assert_equal(a[key], b[key], tolerance)
    elif isinstance(a, (tuple, list)):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_equal(x, y, tolerance)
    elif isinstance(a, float):
        assert a == pytest.approx(b, rel=tolerance, nan_ok=True)
    else:
        assert a == b


@pytest.mark.parametrize("kind", [Plain, Functional, Wrapped])
def test_network_is_as_before(method: type[Method], kind: type[Plain]) -> None:
    model = network(kind)
    before = snapshot(model)
    result = call(made(method), model, images())
    assert isinstance(result, method.returns)
    assert differences(before, snapshot(model)) == []


def test_network_is_as_before_after_an_exception(method: type[Method]) -> None:
    model = network(Raising)
    before = snapshot(model)
    if "inputs" in method.needs or method.name == "layers":
        with pytest.raises(FluoroscopeError, match="planted"):
            call(made(method), model, images())
    else:
        call(made(method), model, images())
    assert differences(before, snapshot(model)) == []


def test_the_snapshot_sees_changes(method: type[Method]) -> None:
    model = network()
    before = snapshot(model)
    model.stem[1].running_mean += 1e-6
    model.fc.eval()
    model.fc.weight.grad = None
    assert set(differences(before, snapshot(model))) >= {"stem.1.running_mean", "training", "grad"}


def test_batch_equals_singles(method: type[Method]) -> None:
    if not method.joins:
        pytest.skip("results of batches do not join")
    model, x = network(), images(3)
    whole = call(made(method, batch_size=3), model, x)
    assert_equal(whole.replace(samples=None), call(made(method, batch_size=1), model, x).replace(samples=None), 1e-5)
    assert_equal(whole.replace(samples=None), call(made(method, batch_size=2), model, x).replace(samples=None), 1e-5)
    assert len(whole.values if not isinstance(whole, fs.FeatureMaps) else next(iter(whole.maps.values()))) == 3


def test_seed_repeats(method: type[Method]) -> None:
    first = call(made(method, seed=3), network(), images())
    torch.manual_seed(1234)
    assert_equal(first, call(made(method, seed=3), network(), images()))


def test_functional_and_wrapped_networks_agree(method: type[Method]) -> None:
    if "target" not in method.needs:
        pytest.skip("no target, no map")
    if "layer" in {f.name for f in dataclasses.fields(method)}:
        at_block = made(method, layer="block")
        expected = call(at_block, network(Plain), images())
        assert_equal(call(at_block, network(Wrapped), images()), expected, 1e-5)
    else:
        assert_equal(
            call(made(method), network(Functional), images()), call(made(method), network(Plain), images()), 1e-5
        )


def test_save_and_open(method: type[Method], tmp_path: Any) -> None:
    result = call(made(method), network(), images())
    opened = fs.open_result(result.save(tmp_path / "r"))
    assert_equal(result, opened)
    assert opened.meta == result.meta
    assert opened.values.dtype == result.values.dtype if not isinstance(result, fs.FeatureMaps) else True


def test_every_renderer_accepts_it(method: type[Method]) -> None:
    from matplotlib.figure import Figure

    result = call(made(method), network(), images())
    assert isinstance(result.plot(), Figure)
    axes = Figure().add_subplot()
    assert result.plot(axes) is axes
    html = result.to_html()
    assert f'"kind":"{result.kind}"' in html.replace(" ", "")


def test_provenance(method: type[Method]) -> None:
    meta = call(made(method, seed=5), network(), images()).meta
    assert meta["method"] == method.name
    assert meta["options"]["seed"] == 5
    assert meta["seconds"] > 0
    assert len(meta["fingerprint"]) == 12
    assert {"torch", "numpy", "fluoroscope"} <= set(meta["versions"])
    if "inputs" in method.needs:
        assert meta["forwards"] >= 3


def test_words_are_complete(method: type[Method]) -> None:
    assert method.title
    assert method.phase in PHASES
    assert method.family == method.__module__.split(".")[2]
    assert method.__doc__ is not None
    assert "Returns" in method.__doc__
    assert "Raises" in method.__doc__
    assert all(f.metadata.get("help") for f in method.options())
    assert find_method(method.name) is method
    assert find_method(method.__name__) is method
    assert getattr(fs, method.__name__) is method


def test_options_are_checked(method: type[Method]) -> None:
    for f in method.options():
        if f.metadata.get("choices"):
            with pytest.raises(OptionError, match=f.name):
                method(**{f.name: "no such choice"})
        if f.metadata.get("low") is not None:
            with pytest.raises(OptionError, match=f.name):
                method(**{f.name: f.metadata["low"] - 1})
            with pytest.raises(OptionError, match=f.name):
                method(**{f.name: "many"})


def test_needs_are_told(method: type[Method]) -> None:
    if "inputs" not in method.needs:
        pytest.skip("needs no inputs")
    with pytest.raises(OptionError, match="needs inputs"):
        method()(network())


def test_compiled_network_gives_the_same(method: type[Method]) -> None:
    if DEVICE != "cpu" and not torch.cuda.is_available():
        pytest.skip("no compiler")
    plain = call(made(method), network(), images())
    assert_equal(call(made(method), torch.compile(network()), images()), plain, 1e-6)
    in_place = network()
    in_place.compile(backend="eager")
    in_place.eval()(images().to(DEVICE))  # compiled once already, without hooks
    in_place.train()
    own = in_place._compiled_call_impl
    assert_equal(call(made(method), in_place, images()), plain, 1e-6)
    assert in_place._compiled_call_impl is own


def test_subject_is_taken_like_a_module(method: type[Method]) -> None:
    plain = call(made(method), network(), images())
    subject = fs.Subject(network(), classes=list("abcde"), name="small")
    named = call(made(method), subject, images())
    assert named.meta["model"] == "small"
    if isinstance(named, fs.Attribution):
        assert named.label(0) == "c"
        plain = plain.replace(labels=named.labels)
    assert_equal(named, plain)


def test_check_answers(method: type[Method]) -> None:
    reason = method().check(as_subject(network()))
    assert reason is None or isinstance(reason, str)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_callers_grad_mode_does_not_matter(method: type[Method], context: Any) -> None:
    expected = call(made(method), network(), images())
    model, x = network(), images()
    with context():
        assert_equal(call(made(method), model, x), expected)
        assert_equal(call(made(method), model, x + 0), expected)  # an input made in the context
        assert not torch.is_grad_enabled()
