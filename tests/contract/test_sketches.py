"""The contract fits what comes later: one toy of each shape, run, joined, saved and opened like any method.

docs/architecture.md explains these sketches. They are not registered: the registry holds real methods only.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn
from torch.func import functional_call

import fluoroscope as fs
from fluoroscope.methods.base import Batch, Method, option
from fluoroscope.model.inputs import Inputs
from fluoroscope.model.study import Study
from fluoroscope.model.subject import Subject
from fluoroscope.results import Array, History, Record, Result, Series, joined
from fluoroscope.results.record import array, record, value
from tests.contract.networks import differences, images, network, snapshot


@record
class ToyGraph(Result):
    """A graph: nodes and edges by number."""

    nodes: tuple[str, ...] = value()
    edges: Array = value()


@dataclass(frozen=True, kw_only=True)
class ToyArchitecture(Method):
    """A graph that needs no data."""

    title: ClassVar[str] = "toy graph"
    needs: ClassVar[Any] = frozenset()
    joins: ClassVar[bool] = False

    def compute(self, study: Study, batch: Batch) -> ToyGraph:
        names = [n for n, _ in study.module.named_modules()]
        edges = [(names.index(n.rpartition(".")[0]), i) for i, n in enumerate(names) if n]
        return ToyGraph(nodes=tuple(names), edges=np.array(edges))


@record
class ToyStatistics(Result):
    """Sums over a data set: they join by adding, so batches, processes and machines all give the same."""

    count: Array = array(("C",), join="sum")
    total: Array = array(("C",), join="sum")

    @property
    def values(self) -> Array:
        return self.total / self.count


@dataclass(frozen=True, kw_only=True)
class ToyMeans(Method):
    """Statistics streamed over a data set."""

    title: ClassVar[str] = "toy means"
    needs: ClassVar[Any] = frozenset({"inputs"})
    layer: str = option("stem", "layer")

    def compute(self, study: Study, batch: Batch) -> ToyStatistics:
        found = fs.Activations(layer=self.layer).compute(study, batch).values.astype(np.float64)
        return ToyStatistics(count=np.full(found.shape[1], found[:, 0].size), total=found.sum((0, 2, 3)))


@record
class ToyPicture(Result):
    """A picture found by optimization, with the way to it."""

    image: Array = array(("C", "H", "W"))
    course: History = value()


@dataclass(frozen=True, kw_only=True)
class ToyDream(Method):
    """A picture found by optimization: no data, many forwards, a seed."""

    title: ClassVar[str] = "toy dream"
    needs: ClassVar[Any] = frozenset()
    joins: ClassVar[bool] = False
    steps: int = option(8, "steps")

    def compute(self, study: Study, batch: Batch) -> ToyPicture:
        x = torch.rand(1, 3, 12, 12, requires_grad=True)
        optimizer = torch.optim.Adam([x], lr=0.1)
        course = []
        for _ in range(self.steps):
            _, scores = study.scored(Inputs((x,), {}, 1))
            optimizer.zero_grad()
            (-scores[0, 0]).backward()
            optimizer.step()
            course.append(float(scores[0, 0].detach()))
        series = Series(steps=np.arange(self.steps), values=np.array(course))
        return ToyPicture(image=x.detach()[0].numpy(), course=History(series={"score": series}))


@record
class ToySurface(Result):
    """A surface over two directions of the parameters."""

    surface: Array = array(("i", "j"))

    @property
    def values(self) -> Array:
        return self.surface


@dataclass(frozen=True, kw_only=True)
class ToyLandscape(Method):
    """A surface over parameters: data with labels, a loss, and the network's weights left alone."""

    title: ClassVar[str] = "toy landscape"
    needs: ClassVar[Any] = frozenset({"inputs", "loss"})
    joins: ClassVar[bool] = False
    grid: int = option(3, "points per direction", low=2)

    def prepare(self, inputs: Any, subject: Subject) -> Inputs:
        x, y = inputs
        return Inputs((x,), {"labels": y}, len(x))

    def compute(self, study: Study, batch: Batch) -> ToySurface:
        weights = {k: v.detach() for k, v in study.module.named_parameters()}
        directions = [{k: torch.randn_like(v) * v.norm() for k, v in weights.items()} for _ in range(2)]
        steps = torch.linspace(-1, 1, self.grid).tolist()
        surface = np.zeros((self.grid, self.grid))
        for i, a in enumerate(steps):
            for j, b in enumerate(steps):
                moved = {k: v + a * directions[0][k] + b * directions[1][k] for k, v in weights.items()}
                output = functional_call(study.module, moved, batch.inputs.args)
                surface[i, j] = float(batch.loss(output, batch.inputs.kwargs["labels"]))
        return ToySurface(surface=surface)


def kept(result: Record, path: Path) -> Any:
    return fs.open_result(result.save(path / "r"))  # type: ignore[attr-defined]


def test_a_graph_that_needs_no_data(tmp_path: Path) -> None:
    found = kept(ToyArchitecture()(network()), tmp_path)
    assert found.nodes[found.edges[0, 1]] == "stem"
    with torch.device("meta"):
        assert len(ToyArchitecture()(nn.Linear(9, 9)).nodes) == 1


def test_statistics_streamed_over_a_data_set(tmp_path: Path) -> None:
    model, x = network(), images(7)
    whole = ToyMeans()(model, x)
    streamed = ToyMeans(batch_size=2)(model, x)
    shards = [kept(ToyMeans()(model, part), tmp_path) for part in x.split(3)]
    expected = fs.Activations(layer="stem")(model, x).values.mean((0, 2, 3))
    for found in (whole, streamed, joined(shards)):
        np.testing.assert_allclose(found.values, expected, rtol=1e-5)


def test_pictures_found_by_optimization(tmp_path: Path) -> None:
    model = network()
    before = snapshot(model)
    found = kept(ToyDream(seed=3)(model), tmp_path)
    assert differences(before, snapshot(model)) == []
    np.testing.assert_array_equal(found.image, ToyDream(seed=3)(model).image)
    assert not np.array_equal(found.image, ToyDream(seed=4)(model).image)
    course = found.course.series["score"].values
    assert course[-1] > course[0]


def test_a_time_series_that_grows(tmp_path: Path) -> None:
    history = History(series={"loss": Series(steps=np.arange(2), values=np.array([2.0, 1.0]))})
    for step in range(2, 5):
        grown = history.series["loss"].extended(np.array([step]), np.array([1 / step]))
        history = history.replace(series={"loss": grown})
    assert kept(history, tmp_path).series["loss"].steps.tolist() == [0, 1, 2, 3, 4]


def test_a_surface_over_parameters(tmp_path: Path) -> None:
    model, x, y = network(), images(4), torch.tensor([0, 1, 2, 3])
    before = snapshot(model)
    found = kept(ToyLandscape()(model, (x, y), nn.functional.cross_entropy), tmp_path)
    assert differences(before, snapshot(model)) == []
    with torch.no_grad():
        assert abs(found.values[1, 1] - float(nn.functional.cross_entropy(model.eval()(x), y))) < 1e-5
    assert np.ptp(found.values) > 0
