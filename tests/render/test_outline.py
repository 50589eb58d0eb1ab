"""The outline of regions and boxes: known to the result, drawn over its maps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from torch import nn

import fluoroscope as fs
from fluoroscope.model.target_regions import boxes_of, masks_of
from fluoroscope.model.targets import Region, Target
from fluoroscope.render.blobs import Blobs
from fluoroscope.render.figures import draw
from fluoroscope.render.outline import outline
from fluoroscope.render.panels.attribution import attribution_panel
from fluoroscope.results import Attribution, open_result


def edges(segments, height, width):
    """Every edge of a cell that a set of segments covers, in cells."""
    found = set()
    for x0, y0, x1, y1 in np.rint(segments * [width, height, width, height]).astype(int):
        (x0, x1), (y0, y1) = sorted((x0, x1)), sorted((y0, y1))
        found |= {(x, y0, x + 1, y0) for x in range(x0, x1)} | {(x0, y, x0, y + 1) for y in range(y0, y1)}
    return found


def naive(mask):
    """Each side of each cell of the mask beyond which there is none of it."""
    height, width = mask.shape

    def inside(y, x):
        return 0 <= y < height and 0 <= x < width and bool(mask[y, x])

    found = set()
    for y in range(height):
        for x in range(width):
            if mask[y, x]:
                found |= {(x, y, x + 1, y)} if not inside(y - 1, x) else set()
                found |= {(x, y + 1, x + 1, y + 1)} if not inside(y + 1, x) else set()
                found |= {(x, y, x, y + 1)} if not inside(y, x - 1) else set()
                found |= {(x + 1, y, x + 1, y + 1)} if not inside(y, x + 1) else set()
    return found


def attribution(**more):
    about = {"scores": np.zeros(1), "targets": np.zeros(1, int), "size": (60, 80)}
    return Attribution(title="A", data=np.ones((1, 6, 8), np.float32), axes=("N", "H", "W"), **about, **more)


def test_the_outline_of_a_mask_is_where_it_ends():
    rng = np.random.default_rng(0)
    for mask in [rng.random((7, 9)) < 0.5, np.ones((3, 4), bool), np.zeros((3, 4), bool)]:
        found = outline(attribution(regions=mask[None]), 0)
        assert edges(found, *mask.shape) == naive(mask)
    whole = outline(attribution(regions=np.ones((1, 3, 4), bool)), 0)
    assert len(whole) == 4  # edges in one line are one segment


def test_the_outline_of_a_box_is_the_box():
    found = outline(attribution(boxes=np.array([[0.25, 0.5, 0.75, 1.0]])), 0)
    assert {tuple(p) for s in found for p in (s[:2], s[2:])} == {(0.25, 0.5), (0.75, 0.5), (0.75, 1.0), (0.25, 1.0)}
    assert outline(attribution(), 0).shape == (0, 4)


def test_targets_know_their_regions_and_boxes():
    masks = torch.zeros(3, 4, 5, dtype=torch.bool)
    masks[1, 2, 3] = True
    each = Target(Region(0, masks), 3, str).part(1, 3)
    assert masks_of(each).tolist() == masks[1:].tolist()
    same = Target(Region(0, masks[1]), 3, str).part(1, 3)
    assert masks_of(same).tolist() == [masks[1].tolist()] * 2
    assert masks_of(Target(Region(0), 3, str)) is None and masks_of(Target(1, 3, str)) is None
    pixels = Target(fs.Detection(0, (20.0, 15, 60, 30)), 2, str)
    np.testing.assert_allclose(boxes_of(pixels, (60, 80)), [[0.25, 0.25, 0.75, 0.5]] * 2)
    shares = Target(fs.Detection(0, torch.tensor([[0.0, 0, 0.5, 1], [0.1, 0, 0.5, 1]])), 2, str).part(1, 2)
    np.testing.assert_allclose(boxes_of(shares, (60, 80)), [[0.1, 0, 0.5, 1]])
    assert boxes_of(same, (60, 80)) is None


def test_a_map_of_a_region_keeps_it_over_batches_and_files(tmp_path):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 3, padding=1)).eval()
    masks = torch.zeros(2, 8, 8, dtype=torch.bool)
    masks[0, 1:4, 2:6], masks[1, 5:, 5:] = True, True
    found = fs.Saliency(batch_size=1)(network, torch.rand(2, 1, 8, 8), target=Region(1, masks))
    np.testing.assert_array_equal(found.regions, masks)
    opened = open_result(found.save(tmp_path / "region.fluo"))
    np.testing.assert_array_equal(opened.regions, masks)
    assert opened.boxes is None
    assert fs.Saliency()(network, torch.rand(1, 1, 8, 8), target=Region(1)).regions is None


def test_figures_draw_it_light_on_dark_and_say_so():
    mask = np.zeros((1, 6, 8), bool)
    mask[0, 1:3, 2:5] = True
    result = attribution(regions=mask)
    ax = draw(result, Figure().subplots())
    dark, light = [c for c in ax.collections if isinstance(c, LineCollection) and c.get_label() == "_outline"]
    assert dark.get_linewidth()[0] > light.get_linewidth()[0]
    assert dark.get_colors()[0][:3].tolist() == [0, 0, 0] and light.get_colors()[0][:3].tolist() == [1, 1, 1]
    corners = np.concatenate(light.get_segments())
    assert corners.min(0).tolist() == pytest.approx([20, 10]) and corners.max(0).tolist() == pytest.approx([50, 30])
    assert "Double line: what the target asks about." in result.plot().get_supxlabel()
    assert "Double line" not in attribution().plot().get_supxlabel()


def test_the_page_gets_it_with_each_cell():
    mask = np.ones((1, 6, 8), bool)
    (item,) = attribution_panel([attribution(regions=mask), attribution()], Blobs())["items"]
    assert item["cells"][0][0]["outline"]["shape"] == [4, 4]
    assert item["cells"][1][0]["outline"] is None
