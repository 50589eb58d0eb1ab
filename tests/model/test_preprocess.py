"""Preprocessing: against plain NumPy, back again, and found out for functions that say nothing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import fluoroscope as fs
from fluoroscope.errors import InputError, OptionError
from fluoroscope.model.preprocess import PRESETS, ImagePreprocess, displayable, infer_invert, preset

RNG = np.random.default_rng(0)


def noise(height: int, width: int) -> Image.Image:
    return Image.fromarray(RNG.integers(0, 256, (height, width, 3), dtype=np.uint8))


def test_formula_in_plain_numpy() -> None:
    image = noise(8, 8)
    made = ImagePreprocess(8, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), keep=1.0)(image)
    pixels = np.asarray(image, np.float64) / 255
    expected = np.empty((3, 8, 8))
    for c, (mean, std) in enumerate([(0.1, 0.4), (0.2, 0.5), (0.3, 0.6)]):
        for y in range(8):
            for x in range(8):
                expected[c, y, x] = (pixels[y, x, c] - mean) / std
    assert made.dtype == torch.float32
    np.testing.assert_allclose(made.numpy(), expected, atol=1e-6)


def test_center_crop_is_resize_256_then_224() -> None:
    image = noise(300, 500)
    resized = image.resize((int(256 * 500 / 300), 256), Image.Resampling.BILINEAR)
    left, top = round((resized.width - 224) / 2), 16
    expected = np.asarray(resized.crop((left, top, left + 224, top + 224)))
    np.testing.assert_array_equal(np.asarray(ImagePreprocess().fitted(image)), expected)


def test_center_crop_keeps_the_middle_and_stretch_keeps_all() -> None:
    pixels = np.zeros((10, 30, 3), np.uint8)
    pixels[:, :10, 0], pixels[:, 10:20, 1], pixels[:, 20:, 2] = 255, 255, 255
    image = Image.fromarray(pixels)
    unit = ImagePreprocess(10, (0.0,), (1.0,), keep=1.0, interpolation="nearest")
    assert unit(image).mean((1, 2)).tolist() == [0.0, 1.0, 0.0]
    stretched = ImagePreprocess((10, 30), (0.0,), (1.0,), crop="stretch")(image)
    assert stretched.shape == (3, 10, 30)
    np.testing.assert_allclose(stretched.mean((1, 2)).numpy(), [1 / 3] * 3, atol=1e-6)


def test_padding_is_zero_to_the_network_and_loses_nothing() -> None:
    image = Image.new("RGB", (40, 20), "white")
    made = ImagePreprocess(40, (0.2, 0.4, 0.6), (1.0,), crop="pad")(image)
    assert made[:, :10].abs().max() < 0.003 and made[:, 30:].abs().max() < 0.003
    np.testing.assert_allclose(made[:, 10:30].mean((1, 2)).numpy(), [0.8, 0.6, 0.4], atol=1e-6)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_invert_undoes_it(name: str) -> None:
    process = preset(name, 16)
    image = noise(40, 30)
    seen = process.fitted(image if process.channels == 3 else image.convert("L"))
    back = process.invert(process(image)[None])
    expected = np.asarray(seen.convert("RGB"))[None]
    assert back.dtype == np.uint8 and back.shape == (1, 16, 16, 3)
    np.testing.assert_array_equal(back, expected)


def test_ranges_of_the_presets() -> None:
    black, white = Image.new("RGB", (32, 32)), Image.new("RGB", (32, 32), "white")
    assert preset("unit")(white).max() == 1 and preset("unit")(black).min() == 0
    assert preset("signed")(white).max() == 1 and preset("signed")(black).min() == -1
    assert preset("mnist")(white).shape == (1, 28, 28) and preset("cifar10")(white).shape == (3, 32, 32)


def test_tiny_and_extreme_pictures() -> None:
    for size in ((1, 1), (1, 500), (500, 1)):
        for crop in ("center", "stretch", "pad"):
            assert ImagePreprocess(8, crop=crop)(Image.new("RGB", size)).shape == (3, 8, 8)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options",
    [
        {"size": 0},
        {"crop": "middle"},
        {"channels": 2},
        {"interpolation": "cubic"},
        {"mean": (0.1, 0.2)},
        {"std": (1.0, 0.0, 1.0)},
        {"keep": 1.5},
    ],
)
def test_wrong_options(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        ImagePreprocess(**options)


def test_messages_name_the_nearest() -> None:
    with pytest.raises(OptionError, match=r"nearest: +'imagenet'"):
        preset("imagnet")
    with pytest.raises(InputError, match="PIL image"):
        ImagePreprocess()(np.zeros((3, 3)))  # type: ignore[arg-type]


def normalized(image: Image.Image) -> torch.Tensor:
    """A function that tells nobody what it does."""
    pixels = torch.from_numpy(np.asarray(image.resize((16, 16)).convert("RGB"), np.float32) / 255).permute(2, 0, 1)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return ((pixels - mean[:, None, None]) / std[:, None, None])[None]


def test_scaling_is_measured_where_it_is_not_declared() -> None:
    image = noise(16, 16)
    invert = infer_invert(normalized)
    assert invert is not None
    np.testing.assert_array_equal(invert(normalized(image))[0], np.asarray(image))


def test_measured_blue_first_and_raw_and_grey() -> None:
    image = noise(8, 8)

    def caffe(i: Image.Image) -> np.ndarray:
        return np.asarray(i, np.float32)[:, :, ::-1].transpose(2, 0, 1) - np.float32([[[104]], [[117]], [[123]]])

    def grey(i: Image.Image) -> np.ndarray:
        return (np.asarray(i.convert("L"), np.float32)[None] / 255 - 0.1307) / 0.3081

    back = infer_invert(caffe)
    assert back is not None
    np.testing.assert_array_equal(back(torch.from_numpy(caffe(image))[None])[0], np.asarray(image))
    back = infer_invert(grey)
    assert back is not None
    np.testing.assert_array_equal(back(torch.from_numpy(grey(image))[None])[0, ..., 1], np.asarray(image.convert("L")))


@pytest.mark.parametrize(
    "preprocess",
    [
        lambda i: torch.rand(3, 8, 8),
        lambda i: torch.zeros(3, 8, 8),
        lambda i: torch.from_numpy(np.asarray(i, np.float32).transpose(2, 0, 1)) ** 2,
        lambda i: torch.as_tensor([list(i)]),
        lambda i: "text",
    ],
)
def test_what_is_no_straight_line_is_not_undone(preprocess: Any) -> None:
    assert infer_invert(preprocess) is None


def test_declared_by_steps_presets_and_processors() -> None:
    batch = torch.rand(2, 3, 4, 4)
    mean, std = [0.1, 0.2, 0.3], [0.4, 0.5, 0.6]
    expected = (batch * torch.tensor(std).view(1, 3, 1, 1) + torch.tensor(mean).view(1, 3, 1, 1)) * 255
    step = SimpleNamespace(mean=mean, std=torch.tensor(std))
    inner = SimpleNamespace(transforms=[SimpleNamespace(size=4), step])
    forms = {
        "compose": inner,
        "nested": SimpleNamespace(transforms=[inner, SimpleNamespace()]),
        "preset": step,
        "processor": SimpleNamespace(image_mean=mean, image_std=std, do_normalize=True),
        "processor with a tokenizer": SimpleNamespace(image_processor=SimpleNamespace(image_mean=mean, image_std=std)),
    }
    for form, preprocess in forms.items():
        invert = infer_invert(preprocess)
        assert invert is not None, form
        got = invert(batch).astype(float)
        assert np.abs(got - expected.round().clamp(0, 255).permute(0, 2, 3, 1).numpy()).max() <= 1, form
    unscaled = infer_invert(SimpleNamespace(image_mean=mean, image_std=std, do_normalize=False))
    assert unscaled is not None and unscaled(torch.ones(1, 3, 1, 1)).tolist() == [[[[255, 255, 255]]]]


def test_own_invert_goes_first() -> None:
    process = ImagePreprocess(4)
    assert infer_invert(process) == process.invert
    assert infer_invert(None) is None


def test_displayable_with_invert_and_in_unit_range() -> None:
    batch = torch.tensor([0.0, 0.5, 1.0]).view(1, 3, 1, 1)
    pictures, note = displayable(batch)
    assert pictures is not None and pictures.tolist() == [[[[0, 128, 255]]]] and note is None
    pictures, note = displayable(batch, lambda b: np.full((1, 1, 1, 3), 9, np.uint8))
    assert pictures is not None and pictures.max() == 9 and note is None


def test_displayable_stretches_each_picture_and_says_so() -> None:
    batch = torch.stack([torch.linspace(-3, 5, 12).view(3, 2, 2), torch.linspace(-1, 1, 12).view(3, 2, 2)])
    pictures, note = displayable(batch)
    assert pictures is not None and note is not None and "stretched" in note
    assert [(p.min(), p.max()) for p in pictures] == [(0, 255), (0, 255)]


@pytest.mark.parametrize("name", ["preprocess", "invert"])
def test_what_a_subject_is_given_as_functions_are_functions(name: str) -> None:
    given: Any = {name: 3}
    with pytest.raises(OptionError, match=f"{name} is a function"):
        fs.Subject(torch.nn.Flatten(), **given)


def test_an_invert_that_fails_is_in_the_notes_of_every_result() -> None:
    def fails(batch: torch.Tensor) -> Any:
        raise RuntimeError("no")

    model = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()).eval()
    for invert, told in ((fails, "invert failed (RuntimeError: no)"), (lambda batch: batch, "invert gave float32")):
        subject = fs.Subject(model, invert=invert)
        for method in (fs.GradCAM(), fs.Saliency(), fs.Occlusion(window=4), fs.Activations()):
            assert any(note.startswith(told) for note in method(subject, torch.rand(1, 3, 8, 8)).notes)


def test_displayable_tells_when_invert_fails() -> None:
    def broken(batch: torch.Tensor) -> Any:
        raise RuntimeError("no")

    pictures, note = displayable(torch.zeros(1, 3, 2, 2), broken)
    assert pictures is not None and note == (
        "invert failed (RuntimeError: no), so pictures show the numbers of the input"
    )
    _, note = displayable(torch.zeros(1, 3, 2, 2), lambda b: np.zeros((1, 2, 2, 3)))
    assert note is not None and "float64" in note


def test_displayable_by_number_of_channels() -> None:
    grey, _ = displayable(torch.full((1, 1, 2, 2), 0.2))
    assert grey is not None and (grey == 51).all() and grey.shape == (1, 2, 2, 3)
    four, note = displayable(torch.ones(1, 4, 2, 2))
    assert four is not None and note == "the fourth channel is not shown"
    five, note = displayable(torch.ones(1, 5, 6, 6))
    assert five is None and note is not None and "5 channels" in note
    assert displayable(torch.ones(2, 7)) == (None, None)


def test_displayable_of_channels_last_whole_numbers_and_nan() -> None:
    last = torch.zeros(1, 8, 9, 3)
    last[..., 0] = 200
    pictures, note = displayable(last)
    assert pictures is not None and pictures.shape == (1, 8, 9, 3) and note is None
    assert pictures[0, 4, 4].tolist() == [200, 0, 0]
    holed = torch.tensor([float("nan"), 0.5, float("inf")]).view(1, 3, 1, 1)
    pictures, _ = displayable(holed)
    assert pictures is not None and pictures.tolist() == [[[[0, 128, 0]]]]


def test_preprocess_of_real_networks_is_undone(load_asset: Any, assets: Any) -> None:
    image = Image.open(sorted((assets / "photos").glob("*.png"))[0]).convert("RGB")
    for name in ("mobilenet_v2_imagenet", "resnet20_cifar10", "vit_mnist"):
        _, process, _ = load_asset(name)
        invert = infer_invert(process)
        assert invert is not None, name
        again = process(Image.fromarray(invert(process(image))[0]))
        assert (again - process(image)).abs().max() < 0.05, name
