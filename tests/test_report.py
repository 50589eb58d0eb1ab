"""The report: what is on the page, in which order, and what a failure costs."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import fluoroscope as fs
from fluoroscope.errors import InputError, NumericalError, OptionError, ResultFileError
from fluoroscope.methods.base import Method
from fluoroscope.reporting import assemble, report
from fluoroscope.results import History, Scorecard, Series


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.fc = nn.Linear(6, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.conv(x).relu().mean((2, 3)))


@dataclass(frozen=True, kw_only=True)
class Failing(Method):
    """Not registered: fails as it is told to."""

    name: ClassVar[str] = "failing"
    title: ClassVar[str] = "Failing"
    error: type[BaseException] = ZeroDivisionError

    def compute(self, study: Any, batch: Any) -> Any:
        raise self.error("no luck")


@dataclass(frozen=True, kw_only=True)
class Surface(Method):
    """Not registered: needs a loss."""

    name: ClassVar[str] = "surface"
    title: ClassVar[str] = "Surface"
    needs: ClassVar[Any] = frozenset({"inputs", "loss"})
    joins: ClassVar[bool] = False

    def compute(self, study: Any, batch: Any) -> Any:
        return Scorecard(title=f"loss {batch.loss}", rows=("a",), columns=("b",), table=np.ones((1, 1)))


@pytest.fixture
def model() -> Net:
    return Net()


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(3, 3, 12, 12, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def history() -> History:
    return History(title="Loss", series={"loss": Series(steps=np.arange(3), values=np.array([3.0, 2.0, 1.0]))})


def document(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="fs-document">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


def test_everything_in_the_order_of_the_life_cycle(model, images, history, tmp_path):
    path = report(model, images, tmp_path / "page.html", extra={"during": [history]})
    assert path == tmp_path / "page.html"
    made = document(path.read_text())
    sections = {s["title"]: [p["kind"] for p in s["panels"]] for s in made["sections"]}
    assert list(sections) == ["Before training", "During training", "After training", "At inference"]
    assert sections["Before training"][:3] == ["model-graph", "layer-summary", "tensor-summary"]
    assert sections["During training"] == ["history"]
    assert "feature-maps" in sections["After training"]
    assert sections["At inference"][0] == "attribution"
    attribution = made["sections"][3]["panels"][0]
    assert {"Grad-CAM", "Saliency"} <= {m["title"] for m in attribution["methods"]}
    assert all(len(s["lead"]) > 80 for s in made["sections"])


def test_facts_at_the_head(model, images):
    facts = dict(assemble(model, images, methods=["saliency"], target=2, title="A title").facts)
    assert facts["Network"] == "Net" and facts["Class"] == "Net"
    assert facts["Parameters"] == f"{3 * 6 * 9 + 6 + 6 * 4 + 4:,}"
    assert facts["Device and dtype"] == "cpu, float32"
    assert facts["Inputs"] == "3, each 3 x 12 x 12"
    assert facts["Target"] == "2"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", facts["Made"])
    assert fs.__version__ in facts["Version"]


def test_only_the_first_inputs_are_shown_and_the_page_says_so(model, images):
    made = assemble(model, images, methods=["activations"], limit=2)
    after = next(s for s in made.sections if s.id == "after")
    assert all(len(values) == 2 for values in after.results[0].maps.values())
    assert any("first 2 inputs" in note for note in after.results[0].notes)
    assert "first 2" in dict(made.facts)["Inputs"] and made.notes
    everything = assemble(model, images, methods=["activations"], limit=3)
    assert not everything.notes and "first" not in dict(everything.facts)["Inputs"]


def test_of_files_no_more_than_needed_are_read(model, tmp_path, monkeypatch):
    for i in range(9):
        Image.new("RGB", (12, 12), (i * 20, 0, 0)).save(tmp_path / f"{i}.png")
    opened = []
    original = Image.open
    monkeypatch.setattr(Image, "open", lambda path, *a, **k: opened.append(path) or original(path, *a, **k))
    subject = fs.Subject(model, preprocess=fs.ImagePreprocess(size=12))
    made = assemble(subject, tmp_path, methods=["saliency"], limit=2)
    assert len(opened) == 3  # one more than shown, to know that there are more
    assert made.sections[0].results[0].samples.names == ("0.png", "1.png")


def test_without_inputs_only_what_needs_none(model):
    made = assemble(model)
    assert [s.id for s in made.sections] == ["before"]
    assert {"Grad-CAM", "Saliency", "Activations"} <= set(made.left_out)
    assert "it needs inputs" in dict(made.facts)["Left out"]


def test_a_loss_makes_what_needs_one_apply(model, images):
    assert assemble(model, images, methods=[Surface()]).left_out == {"Surface": "it needs a loss, and none was given"}
    made = assemble(model, images, methods=[Surface()], loss="mine")
    assert made.sections[0].results[0].title == "loss mine"


def test_of_a_table_the_usual_methods_that_do_not_apply_are_left_out_and_those_asked_for_have_their_error():
    torch.manual_seed(0)
    table, rows = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 2)), torch.rand(3, 5)
    made = assemble(table, rows)
    assert not made.errors and set(made.left_out) == {"Grad-CAM"}
    assert "positions" in made.left_out["Grad-CAM"] and "Grad-CAM: " in dict(made.facts)["Left out"]
    inference = next(s for s in made.sections if s.id == "inference")
    assert [r.title for r in inference.results] == ["Integrated gradients", "Saliency"]
    asked = assemble(table, rows, methods=["grad-cam", "saliency"])
    assert set(asked.errors) == {"Grad-CAM"} and not asked.left_out
    misnamed = assemble(table, rows, methods=[fs.GradCAM(layer="conv9")], named=False)
    assert set(misnamed.errors) == {"Grad-CAM"} and not misnamed.left_out


def test_a_method_that_does_not_apply_is_left_out_with_its_reason(images):
    made = assemble(nn.Sequential(nn.ReLU(), nn.Flatten()), images, methods=["weights", "saliency"])
    assert made.left_out == {"Weights": "it has no parameters"}
    assert [r.title for r in made.sections[0].results] == ["Saliency"]


@pytest.mark.parametrize("error", [ZeroDivisionError, NumericalError])
def test_a_failing_method_costs_only_its_own_panel(model, images, error):
    made = assemble(model, images, methods=[Failing(error=error), "saliency"])
    assert isinstance(made.errors["Failing"], error)
    panels = document(made.html)["sections"][0]["panels"]
    assert [p["title"] for p in panels] == ["Failing", "Saliency"]
    assert "no luck" in panels[0]["error"] and "error" not in panels[1]
    assert ("ZeroDivisionError" if error is ZeroDivisionError else "FS-NUMBER") in panels[0]["error"]


def test_an_interrupt_is_not_swallowed(model, images):
    with pytest.raises(KeyboardInterrupt):
        assemble(model, images, methods=[Failing(error=KeyboardInterrupt)])


def test_the_same_method_twice(model, images):
    made = assemble(model, images, methods=[fs.Saliency(), fs.Saliency(reduce="none")])
    assert [r.signed for r in made.sections[0].results] == [False, True]


def test_the_model_is_as_before(model, images, tmp_path):
    model.train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    report(model, images, tmp_path / "page.html", methods=[Failing(), "grad-cam", "saliency"])
    assert model.training and all(p.requires_grad and p.grad is None for p in model.parameters())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_mistakes(model, images, tmp_path):
    with pytest.raises(OptionError, match="during"):
        report(model, images, tmp_path / "x.html", extra={"durign": []})
    with pytest.raises(OptionError, match="grad-cam"):
        report(model, images, tmp_path / "x.html", methods=["gradcam"])
    with pytest.raises(OptionError, match="limit"):
        report(model, images, tmp_path / "x.html", limit=0)
    with pytest.raises(NumericalError):
        report(model, images * float("nan"), tmp_path / "x.html")
    with pytest.raises(InputError):
        report(fs.Subject(model, preprocess=fs.ImagePreprocess(12)), tmp_path / "none.png", tmp_path / "x.html")
    assert not list(tmp_path.iterdir())


def test_an_interrupted_write_leaves_the_old_page(model, tmp_path, monkeypatch):
    (tmp_path / "page.html").write_text("old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResultFileError, match="No space left"):
        report(model, None, tmp_path / "page.html")
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"] and (tmp_path / "page.html").read_text() == "old"


def test_hostile_names_are_never_markup(images, tmp_path):
    bad = "</script><script>alert(1)</script>"
    subject = fs.Subject(Net(), classes=[bad] * 4, name=bad)
    page = report(subject, images, tmp_path / "page.html", methods=["layers", "saliency"]).read_text()
    assert bad not in page and "<script>alert" not in page
    assert document(page)["title"] == bad


def test_a_page_that_was_never_built_is_told_at_once(model, images, tmp_path, monkeypatch):
    from fluoroscope.render import template

    monkeypatch.setattr(template, "TEMPLATE", tmp_path / "missing.html")
    monkeypatch.setattr("fluoroscope.reporting.assemble", lambda *a, **k: pytest.fail("computed first"))
    with pytest.raises(fs.FluoroscopeError, match="has not been built"):
        report(model, images, tmp_path / "page.html")
