"""The demo's scenes: what they promise about place, class, splits and randomness."""

from __future__ import annotations

import random
import sys
from typing import Any, get_args

import numpy as np
import pytest
from PIL import Image

from fluoroscope.demo import handwriting as source
from fluoroscope.demo import scenes as module
from fluoroscope.demo.handwriting import MOST_INK, Split, handwriting, piece_bank, split_indices
from fluoroscope.demo.scenes import SEEN, Scenes, make_scenes
from fluoroscope.errors import MissingExtra, OptionError

SPLITS = get_args(Split)
FIELDS = ("images", "labels", "boxes", "masks", "ink", "sources", "pieces")


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    return make_scenes(300, 5)


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scenes without clutter and noise: only the digit is drawn."""
    monkeypatch.setattr(module, "NOISE", 0.0)
    monkeypatch.setattr(module, "OVERLAP", -1.0)  # no piece may be placed at all


def same(one: Scenes, other: Scenes) -> bool:
    return all(np.array_equal(getattr(one, f), getattr(other, f)) for f in FIELDS)


def test_equal_arguments_give_equal_scenes_and_a_seed_or_split_changes_them(scenes: Scenes) -> None:
    assert same(scenes, make_scenes(300, 5))
    assert not same(scenes, make_scenes(300, 6))
    assert not np.array_equal(scenes.images, make_scenes(300, 5, split="test").images)


def test_global_random_states_are_neither_read_nor_changed() -> None:
    np.random.seed(1)  # noqa: NPY002 (the legacy global state is what is tested)
    random.seed(1)
    expected = np.random.random(), random.random()  # noqa: NPY002
    np.random.seed(1)  # noqa: NPY002
    random.seed(1)
    first = make_scenes(3, 0)
    assert (np.random.random(), random.random()) == expected  # noqa: NPY002
    assert same(first, make_scenes(3, 0))


def test_images_are_float32_in_the_unit_range_and_use_it(scenes: Scenes) -> None:
    assert scenes.images.dtype == np.float32
    assert scenes.images.shape == (300, 1, 64, 64)
    assert scenes.images.min() == 0
    assert scenes.images.max() > 0.95


def test_classes_are_balanced_and_belong_to_the_sources(scenes: Scenes) -> None:
    assert np.bincount(scenes.labels).tolist() == [30] * 10
    assert np.array_equal(handwriting()[1][scenes.sources], scenes.labels)


def test_the_box_is_the_smallest_one_that_holds_the_digit(bare: None) -> None:
    drawn = make_scenes(200, 3)
    for image, (top, left, bottom, right) in zip(drawn.images[:, 0], drawn.boxes, strict=True):
        rows, columns = np.nonzero(image > SEEN)
        assert (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1) == (top, left, bottom, right)


def test_mask_box_and_ink_agree(scenes: Scenes) -> None:
    for n, (top, left, bottom, right) in enumerate(scenes.boxes):
        expected = np.zeros((64, 64), bool)
        expected[top:bottom, left:right] = True
        assert np.array_equal(scenes.masks[n], expected)
        assert scenes.ink[n].any()
        assert not (scenes.ink[n] & ~expected).any()
    assert scenes.chance == pytest.approx(scenes.masks.mean())


def test_the_digit_in_the_scene_is_the_handwritten_one(bare: None) -> None:
    drawn, originals = make_scenes(100, 4), handwriting()[0]
    own, others = [], []
    for n, number in enumerate(drawn.sources):
        own.append(likeness(drawn, n, originals[number]))
        others.append(likeness(drawn, n, originals[drawn.sources[(drawn.labels != drawn.labels[n]).argmax()]]))
    assert np.mean(own) > 0.9
    assert np.mean(np.array(own) > np.array(others)) > 0.95


def likeness(scenes: Scenes, n: int, digit: Any) -> float:
    """Correlation of a digit's inked cells with the scene's box shrunk to as many cells."""
    rows, columns = np.nonzero(digit > 0.3)
    tight = digit[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    top, left, bottom, right = scenes.boxes[n]
    picture = Image.fromarray(scenes.images[n, 0, top:bottom, left:right])
    shrunk = np.asarray(picture.resize(tight.shape[::-1], Image.Resampling.BOX))
    return float(np.corrcoef(shrunk.ravel(), tight.ravel())[0, 1])


@pytest.mark.parametrize("size", [36, 64, 97])
def test_no_digit_touches_the_border(size: int) -> None:
    drawn = make_scenes(200, 8, size=size)
    border = np.ones((size, size), bool)
    border[1:-1, 1:-1] = False
    assert not (drawn.ink & border).any()


def test_digits_lie_everywhere_and_in_several_sizes(scenes: Scenes) -> None:
    middle = (scenes.boxes[:, :2] + scenes.boxes[:, 2:]) / 2
    assert middle.min() < 20
    assert middle.max() > 44
    heights = scenes.boxes[:, 2] - scenes.boxes[:, 0]
    assert heights.min() <= 21
    assert heights.max() >= 25


@pytest.mark.parametrize("split", SPLITS)
def test_a_split_uses_only_its_own_digits_for_evidence_and_clutter(split: Split) -> None:
    drawn = make_scenes(500, 0, split=split)
    used = np.union1d(drawn.sources, drawn.pieces[..., 0])
    assert set(used) - {-1} <= set(split_indices(split))


def test_the_splits_are_disjoint_and_hold_all_digits_and_classes() -> None:
    parts = [split_indices(s) for s in SPLITS]
    together = np.concatenate(parts)
    assert np.array_equal(np.sort(together), np.arange(1797))
    assert all(len(set(handwriting()[1][p])) == 10 for p in parts)


@pytest.mark.parametrize("split", SPLITS)
def test_no_piece_of_clutter_is_near_a_whole_digit(split: Split) -> None:
    digits = handwriting()[0]
    for number, top, left, rows, columns in piece_bank(split)[::97]:
        piece = digits[number, top : top + rows, left : left + columns]
        assert piece.shape == (rows, columns)
        assert piece.size <= 16
        assert piece.sum() <= MOST_INK * digits[number].sum() + 1e-4


def test_bounds_are_the_first_and_last_true_pixels() -> None:
    ink = np.zeros((2, 7, 9), bool)
    ink[0, 2, 3] = ink[0, 5, 1] = ink[1, 0, 8] = True
    assert source.bounds(ink).tolist() == [[2, 1, 6, 4], [0, 8, 1, 9]]


def test_pieces_are_cut_where_they_say() -> None:
    pieces = piece_bank("train")[::997]
    for picture, (number, top, left, rows, columns) in zip(source.cut(pieces), pieces, strict=True):
        expected = np.zeros((5, 5), np.float32)
        expected[:rows, :columns] = handwriting()[0][number, top : top + rows, left : left + columns]
        assert np.array_equal(picture, expected)


def test_clutter_is_there_and_keeps_off_the_digit(scenes: Scenes) -> None:
    used = (scenes.pieces[..., 0] >= 0).sum(1)
    assert used.min() >= 4
    assert used.max() == 10
    bright = scenes.images[:, 0] > 0.3
    clutter = bright & ~scenes.ink
    assert (clutter & ~scenes.masks).sum((1, 2)).min() > 50
    # what lies in the box beside the digit's own ink: the box's area is 340 pixels in the mean
    assert (clutter & scenes.masks).sum((1, 2)).mean() < 10


def test_clutter_never_comes_from_the_scenes_own_digit_but_from_every_class() -> None:
    drawn = make_scenes(4000, 1, size=36)
    assert not (drawn.pieces[..., 0] == drawn.sources[:, None]).any()
    there = drawn.pieces[..., 0] >= 0
    same_class = handwriting()[1][drawn.pieces[..., 0]] == drawn.labels[:, None]
    assert same_class[there].mean() == pytest.approx(0.1, abs=0.02)


def test_hits_tells_inside_from_outside(scenes: Scenes) -> None:
    top, left, bottom, right = scenes.boxes.T
    assert scenes.hits(top, left).all()
    assert scenes.hits(bottom - 1, right - 1).all()
    assert not scenes.hits(bottom, left).any()
    assert not scenes.hits(top, left - 1).any()


@pytest.mark.parametrize(
    ("count", "size", "split", "named"),
    [(0, 64, "train", "at least one"), (3, 20, "train", "too small"), (3, 64, "tets", "no such split")],
)
def test_wrong_options_are_refused_by_name(count: int, size: int, split: Any, named: str) -> None:
    with pytest.raises(OptionError, match=named):
        make_scenes(count, 0, size=size, split=split)


def test_without_scikit_learn_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    handwriting.cache_clear()
    with pytest.raises(MissingExtra, match=r"fluoroscope\[demo\]"):
        handwriting()
    monkeypatch.undo()
    assert len(handwriting()[0]) == 1797
