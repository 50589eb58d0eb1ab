"""Several methods of attribution at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import fluoroscope as fs
from fluoroscope.errors import InputError, LayerError, OptionError, TargetError
from fluoroscope.methods.explain import Explanations, explain


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4))


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def test_the_same_numbers_as_one_by_one(model, images):
    found = explain(model, images, target=[1, 3])
    assert list(found) == ["grad-cam", "saliency"] and not found.errors
    np.testing.assert_array_equal(found["grad-cam"].values, fs.GradCAM()(model, images, target=[1, 3]).values)
    np.testing.assert_array_equal(found["saliency"].values, fs.Saliency()(model, images, target=[1, 3]).values)


def test_methods_by_name_by_class_and_with_options(model, images):
    found = explain(model, images, [fs.Saliency, "GradCAM", fs.Saliency(reduce="none"), fs.GradCAM(layer="0")])
    assert list(found) == ["saliency", "grad-cam", "saliency 2", "grad-cam 2"]
    assert found["saliency 2"].axes == ("N", "C", "H", "W")
    assert found["grad-cam 2"].meta["layer"] == "0"
    assert list(explain(model, images, "saliency")) == ["saliency"]


def test_inputs_are_prepared_once(images, tmp_path, model):
    from PIL import Image

    Image.new("RGB", (8, 8), (200, 10, 10)).save(tmp_path / "a.png")
    seen = []

    def preprocess(image):
        seen.append(image)
        return fs.ImagePreprocess(size=8)(image)

    found = explain(fs.Subject(model, preprocess=preprocess), tmp_path / "a.png")
    assert len(seen) == 1 and found["saliency"].samples.names == ("a.png",)


def test_a_failing_method_leaves_the_others(model, images):
    found = explain(model, images, [fs.GradCAM(layer="4"), "saliency"])
    assert list(found) == ["saliency"]
    assert isinstance(found.errors["grad-cam"], LayerError)
    assert "failed: grad-cam" in repr(found)


def test_when_all_fail_it_is_the_first_error(model, images):
    with pytest.raises(TargetError, match="out of range"):
        explain(model, images, target=99)


@pytest.mark.parametrize("methods", [["weights"], ["activations"], ["salience"], [3], []])
def test_what_is_no_method_of_attribution(model, images, methods):
    with pytest.raises(OptionError):
        explain(model, images, methods)


def test_bad_inputs_are_told_once(model):
    with pytest.raises(InputError):
        explain(model, torch.rand(3, 8, 8))


def test_files_and_figures(model, images, tmp_path):
    found = explain(model, images, ["saliency", fs.Saliency(reduce="norm")])
    paths = found.save(tmp_path)
    assert [p.name for p in paths] == ["saliency.fluo", "saliency-2.fluo"]
    np.testing.assert_array_equal(fs.open_result(paths[1]).values, found["saliency 2"].values)
    assert list(found.plot()) == list(found)
    assert all(figure.axes for figure in found.plot(limit=1).values())


def test_one_page(model, images, tmp_path):
    page = explain(model, images).to_html(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text() == page
    assert '"title":"Grad-CAM"' in page and '"title":"Saliency"' in page


def test_a_mapping():
    found = Explanations({}, {})
    assert len(found) == 0 and "grad-cam" not in found
    with pytest.raises(KeyError):
        found["grad-cam"]
