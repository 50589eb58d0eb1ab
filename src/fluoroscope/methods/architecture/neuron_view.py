"""The neuron view: a small network as neurons and weights, with one input's activations flowing through."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from fluoroscope.errors import NotApplicable
from fluoroscope.methods.attributing import to_numpy
from fluoroscope.methods.base import Batch, Method, method, option
from fluoroscope.model.dense import DenseCall, dense_calls
from fluoroscope.model.inputs import samples_of
from fluoroscope.model.study import Study
from fluoroscope.results import NeuronDiagram, NeuronLayer

__all__ = ["NeuronView"]


@method
class NeuronView(Method):
    """Neuron view: neurons as dots, weights as lines, and the activations of each input in them.

    For networks of dense layers, and for the dense head of others: the last run of ``nn.Linear`` layers of which each
    takes as many numbers as the one before gives. What lies before that run, such as convolutions, is not drawn: its
    output is the first column. Between two columns, a = f(W x + b): ``before`` is W x + b, ``after`` is a.

    Returns :class:`~fluoroscope.results.NeuronDiagram`: per column the values before and after activation (N, D), and
    the weights (D, E) from the column before it.

    Raises:
        NotApplicable: there is no dense layer on rows of numbers, or too many weights to draw each as a line.
    """

    name: ClassVar[str] = "neurons"
    title: ClassVar[str] = "Neuron view"
    family: ClassVar[str] = "architecture"
    phase: ClassVar[Any] = "after"
    returns: ClassVar[type[NeuronDiagram]] = NeuronDiagram
    needs: ClassVar[Any] = frozenset({"inputs"})
    joins: ClassVar[bool] = False

    most_weights: int = option(100_000, "weights up to which lines still say something", low=1)
    features: tuple[str, ...] = option((), "names of the input's numbers, for the first column")

    def compute(self, study: Study, batch: Batch) -> NeuronDiagram:
        """One forward."""
        calls, output = dense_calls(study, batch.inputs)
        run = _last_run(calls)
        self._check(run)
        samples, note = samples_of(batch.inputs, study.subject)
        if note:
            study.note(note)
        whole = tuple(run[0].given.shape) == tuple(batch.inputs.main.shape) and torch.equal(
            run[0].given, batch.inputs.main
        )
        if not whole:
            study.note(f"only the dense layers from {run[0].name!r} on are drawn; what lies before is not")
        names = samples.features[0] if samples.features else self.features
        given = to_numpy(run[0].given)
        layers = [
            NeuronLayer(name="input", before=given, after=given, names=_fitting(names, given.shape[1]) if whole else ())
        ]
        for i, call in enumerate(run):
            last = i == len(run) - 1
            after = run[i + 1].given if not last else _ending(call, output)
            layers.append(_layer(call, after))
        if study.subject.classes is not None and len(study.subject.classes) == run[-1].layer.out_features:
            study.facts["classes"] = [str(name) for name in study.subject.classes]
        sizes = " → ".join(str(layer.after.shape[1]) for layer in layers)
        return NeuronDiagram(title=self.title, caption=f"{sizes} neurons", layers=tuple(layers), samples=samples)

    def _check(self, run: list[DenseCall]) -> None:
        if not run:
            raise NotApplicable(
                "the neuron view needs dense layers",
                got="no nn.Linear that runs on rows of numbers (N, D)",
                expected="a perceptron, or a network with a dense head",
                remedy="fs.Architecture draws every network",
            )
        weights = sum(call.layer.weight.numel() for call in run)
        if weights > self.most_weights:
            raise NotApplicable(
                "there are too many weights to draw each as a line",
                got=f"{weights:,} weights from {run[0].name!r} on",
                expected=f"at most {self.most_weights:,} (most_weights)",
                remedy="fs.WeightMaps shows matrices of any size, fs.Architecture the network as a whole",
            )


def _last_run(calls: list[DenseCall]) -> list[DenseCall]:
    """The calls at the end of which each takes what the one before gives, as far as their widths tell."""
    run: list[DenseCall] = []
    for call in reversed(calls):
        if run and call.made.shape != run[0].given.shape:
            break
        run.insert(0, call)
    return run


def _ending(call: DenseCall, output: torch.Tensor | None) -> torch.Tensor:
    """What the network makes of its last column: probabilities, where it ends so."""
    fits = output is not None and output.shape == call.made.shape and output.is_floating_point()
    return output if fits and output is not None else call.made


def _layer(call: DenseCall, after: torch.Tensor) -> NeuronLayer:
    held: torch.Tensor | None = call.layer.bias
    bias = to_numpy(held) if held is not None else None
    weights = to_numpy(call.layer.weight)
    return NeuronLayer(name=call.name, before=to_numpy(call.made), after=to_numpy(after), weights=weights, bias=bias)


def _fitting(names: tuple[str, ...], count: int) -> tuple[str, ...]:
    return tuple(names) if len(names) == count else ()
