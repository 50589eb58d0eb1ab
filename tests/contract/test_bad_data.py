"""Bad data given to the library: names of classes, files and runs, target functions, inputs of wrong shapes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import fluoroscope as fs
from fluoroscope.errors import InputError, OptionError, ResultFileError, TargetError
from fluoroscope.model.fitting import fitting
from tests.contract.networks import differences, images, network, snapshot


@pytest.mark.parametrize("names", [["a", "b"], list("abcdef")])
def test_names_that_are_not_those_of_the_outputs(names: list[str]) -> None:
    model = network()
    before = snapshot(model)
    for target in ("predicted", "top2", 1, "a", [0, 1]):
        with pytest.raises(InputError, match="not those of this network's outputs") as caught:
            fs.Saliency()(fs.Subject(model, classes=names), images(2), target=target)
        assert caught.value.got == f"{len(names)} names"
        assert str(caught.value.expected).startswith("5, one for each output")
    assert differences(before, snapshot(model)) == []
    right = fs.Saliency()(fs.Subject(model, classes=list("abcde")), images(2), target="c")
    assert right.labels == (("c",),) * 2


def test_outputs_that_are_no_classes_need_no_names() -> None:
    model = fs.Subject(network(), classes=["a", "b"])
    assert fs.Saliency()(model, images(2), target=lambda output: output[:, 1]).values.any()
    assert fs.Saliency()(model, images(2), target=torch.ones(5)).values.any()


class Words(nn.Module):
    """Scores of ten tokens at each position, of which the tokenizer names eight."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(10, 4), nn.Linear(4, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.embed(x))


def test_a_vocabulary_may_be_padded() -> None:
    model = fs.Subject(Words(), classes=list("abcdefgh"))
    assert fs.Saliency()(model, torch.tensor([[1, 2, 3]]), target="b").labels == (("b",),)


@pytest.mark.parametrize("classes", [5, "abcde", {0: "a"}, b"ab"], ids=repr)
def test_classes_that_are_no_names(classes: Any) -> None:
    with pytest.raises(OptionError, match="classes are names"):
        fs.Subject(network(), classes=classes)


def test_classes_of_any_sequence() -> None:
    subject = fs.Subject(network(), classes=np.array(list("abcde")))
    assert subject.classes == tuple("abcde")
    assert fs.Saliency()(subject, images(1), target="e").labels == (("e",),)


@pytest.mark.parametrize("method", [fs.GradCAM, fs.Saliency, fs.Occlusion, fs.LIME])
def test_the_error_of_a_target_function_is_named_as_its_own(method: Any) -> None:
    def heaviest(output: torch.Tensor) -> torch.Tensor:
        return {"logits": output}["logit"]  # type: ignore[dict-item]

    model = network()
    before = snapshot(model)
    with pytest.raises(TargetError, match="the target's function failed: KeyError") as caught:
        method()(model, images(1), target=heaviest)
    assert "heaviest" in str(caught.value.got)
    assert "Tensor (1, 5)" in str(caught.value.got)
    assert isinstance(caught.value.__cause__, KeyError)
    assert differences(before, snapshot(model)) == []


def test_memory_that_runs_out_in_a_target_function_stays_what_it_is() -> None:
    def hungry(output: torch.Tensor) -> torch.Tensor:
        raise MemoryError

    with pytest.raises(MemoryError):
        fs.Saliency(batch_size=1)(network(), images(1), target=hungry)


@pytest.mark.parametrize("name", ["a.txt", "a.npz", "a.png", "a.v1"])
def test_results_are_saved_under_their_own_ending(name: str, tmp_path: Path) -> None:
    result = fs.Saliency()(network(), images(1))
    with pytest.raises(ResultFileError, match="results are saved as") as caught:
        result.save(tmp_path / name)
    assert f"{name}.fluo" in str(caught.value.expected)
    assert list(tmp_path.iterdir()) == []
    for fine in ("a", "b.fluo", "c.FLUO"):
        assert fs.open_result(result.save(tmp_path / fine)).title == result.title


@pytest.mark.parametrize("name", ["../evil", "a/../../b", "/evil", "..", "..\\evil"])
def test_a_run_is_named_not_placed(name: str, tmp_path: Path) -> None:
    model = network()
    with pytest.raises(OptionError, match="is a name, not a path") as caught:
        fs.record(model, torch.optim.SGD(model.parameters(), 0.1), run=name, dir=tmp_path)
    assert "dir=" in str(caught.value.remedy)
    assert list(tmp_path.iterdir()) == []


def test_names_of_runs_may_have_slashes_and_dots(tmp_path: Path) -> None:
    model = network()
    for name in ("lr/0.1", "v1..2", "."):
        with fs.record(model, torch.optim.SGD(model.parameters(), 0.1), run=name, dir=tmp_path) as run:
            run.log(loss=1.0)
    assert {*fs.open_runs(tmp_path)} == {"lr/0.1", "v1..2", "."}


@pytest.mark.parametrize("options", [{"activations": "egar"}, {"samples_per_step": "ten"}, {"samples_per_step": 0},
                                     {"samples_per_step": float("nan")}, {"every": 0}, {"every": True}, {"sample": 8},
                                     {"exact_every": 1.5}, {"updates": "none"}, {"histograms": 1}])  # fmt: skip
def test_options_of_recording(options: dict[str, Any], tmp_path: Path) -> None:
    model = network()
    with pytest.raises(OptionError, match=f"'{next(iter(options))}'"):
        fs.record(model, torch.optim.SGD(model.parameters(), 0.1), dir=tmp_path, **options)
    assert list(tmp_path.iterdir()) == []


FITS: list[tuple[nn.Module, tuple[int, ...] | torch.Tensor, str]] = [
    (nn.Conv1d(2, 4, 3), (2, 40), "the axis of examples is missing, x[None]"),
    (nn.Conv1d(1, 4, 3), (5, 40), "the axis of channels is missing, x[:, None]"),
    (nn.Conv2d(3, 4, 3), (16, 16), "3 channels and 4 axes"),
    (nn.Conv2d(3, 4, 3), (2, 16, 16, 3), "np.moveaxis(x, -1, 1)"),
    (nn.Conv2d(3, 4, 3), (2, 1, 16, 16), "--channels 3"),
    (nn.Conv2d(1, 4, 3), (2, 3, 16, 16), "--channels 1, with --mean and --std"),
    (nn.Conv2d(1, 4, 3), (2, 1, 3, 16, 16), "the input has 5"),
    (nn.Linear(6, 3), (5, 7), "takes 6 numbers, the input has 7"),
    (nn.Linear(6, 3), (5,), "one number for each example"),
    (nn.LSTM(2, 4, batch_first=True), (5, 2, 40), "(N, T, 2), the input has shape (5, 2, 40): np.moveaxis(x, 1, -1)"),
    (nn.GRU(2, 4), (5, 40), "(T, N, 2)"),
    (nn.Embedding(10, 4), torch.tensor([[3, 12]]), "0 to 9, the input has 12"),
    (nn.Embedding(10, 4), (2, 5), "whole numbers (N, L), 0 to 9"),
    (nn.Conv2d(3, 4, 3), torch.zeros(1, 3, 9, 9, dtype=torch.uint8), "real numbers, the input has uint8"),
]


@pytest.mark.parametrize(("layer", "given", "told"), FITS, ids=[told for _, _, told in FITS])
def test_inputs_of_wrong_shapes_are_told_what_to_change(layer: nn.Module, given: Any, told: str) -> None:
    x = given if isinstance(given, torch.Tensor) else torch.rand(given)
    assert told in fitting(nn.Sequential(nn.Identity(), layer), x, "")


@pytest.mark.parametrize(("side", "told"), [(20, "likely 16 x 16 (--size 16"), (17, "likely 16 x 16")])
def test_a_dense_layer_tells_the_size_of_pictures(side: int, told: str) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Flatten(), nn.Linear(4 * 16 * 16, 2))
    with pytest.raises(InputError) as caught:
        fs.Saliency()(model, torch.rand(2, 3, side, side))
    assert told in str(caught.value.remedy)
    deep = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 14 * 14, 2))
    with pytest.raises(InputError, match=r"a dense layer takes 784 numbers and is given 1,296: .*--size PIXELS"):
        fs.Saliency()(deep, torch.rand(2, 3, 20, 20))


def a_graph_or_a_map() -> tuple[Any, Any]:
    return fs.Architecture()(network(), images(1)), fs.Saliency()(network(), images(1))


GIVEN: dict[str, tuple[Any, str]] = {
    "methods that are none": (lambda p: fs.explain(network(), images(1), None), "methods are named"),
    "pictures of several shapes": (lambda p: fs.Saliency()(network(), [images(1)[0], torch.rand(3, 5, 5)]), "ragged"),
    "no path of a result": (lambda p: fs.open_result(None), "this is no path"),
    "no path of runs": (lambda p: fs.open_runs(5), "this is no path"),
    "a folder for a result": (lambda p: a_graph_or_a_map()[1].save(p), "is a folder"),
    "no path to save to": (lambda p: a_graph_or_a_map()[1].save(None), "this is no path"),
    "a limit in words": (lambda p: fs.report(network(), images(1), p / "r.html", limit="ten"), "limit must be"),
    "extra of numbers": (
        lambda p: fs.report(network(), None, p / "r.html", extra={"during": [3]}),
        "extra adds results",
    ),
    "a page called text": (lambda p: fs.report(network(), images(1), p / "r.txt"), "a page under the name of"),
    "a size without points": (lambda p: a_graph_or_a_map()[1].resized(0, 5), "height is a number of points"),
    "a size in words": (lambda p: fs.ImagePreprocess(size="a"), "size is no size"),
    "no mean": (lambda p: fs.ImagePreprocess(mean=None), "mean are numbers"),
    "a webhook without an address": (lambda p: fs.Webhook(5), "http or https"),
    "a watcher's pace in words": (lambda p: fs.Watcher(None, every="a"), "watcher's options"),
    "names of checks": (lambda p: fs.check_trust("saliency", network(), images(1), checks=["deletion"]), "no check"),
    "no batch": (lambda p: fs.check_trust("saliency", network(), images(1), batch_size=0), "batch_size"),
    "a verdict of numbers": (lambda p: fs.with_verdict(1, 2), "from a scorecard to an attribution"),
    "a map as a graph": (lambda p: fs.write_graph(a_graph_or_a_map()[1], p / "g.svg"), "this is no graph"),
    "a background of text": (lambda p: fs.KernelSHAP(background="x"), "option 'background': not data"),
    "baselines of text": (lambda p: fs.ExpectedGradients(baselines="x"), "option 'baselines': not data"),
    "a shape of text": (lambda p: fs.Subject(network(), input_shape="abc"), "input_shape is the shape"),
    "a shape that does not fit": (lambda p: fs.LayerTable(input_shape=(4, 16, 16))(network()), "failed on this input"),
}


@pytest.mark.parametrize("name", GIVEN)
def test_what_else_is_given_wrongly_is_told(name: str, tmp_path: Path) -> None:
    work, told = GIVEN[name]
    with pytest.raises(fs.FluoroscopeError, match=told):
        work(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_tokenizer_that_fails_is_told() -> None:
    def broken(text: str) -> list[int]:
        raise ZeroDivisionError(text)

    with pytest.raises(InputError, match="the tokenizer failed") as caught:
        fs.Saliency()(fs.Subject(Words(), tokenizer=broken), ["good morning"])
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_layer_may_be_given_as_a_module() -> None:
    model = network()
    for method in (fs.GradCAM, fs.EigenCAM, fs.GuidedGradCAM):
        found = method(layer=model.stem)(model, images(1), target=1)
        np.testing.assert_array_equal(found.values, method(layer="stem")(model, images(1), target=1).values)
        assert found.meta["layer"] == "stem"
        assert found.meta["options"]["layer"] == "Sequential"
    with pytest.raises(fs.FluoroscopeError, match="not part of the network"):
        fs.GradCAM(layer=nn.ReLU())(model, images(1))
