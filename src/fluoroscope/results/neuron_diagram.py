"""NeuronDiagram: the neurons and weights of a small network, with the activations of some inputs."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from fluoroscope.results.record import Array, Record, array, record, value
from fluoroscope.results.result import Result, Samples

__all__ = ["NeuronDiagram", "NeuronLayer"]


@record
class NeuronLayer(Record):
    """A column of neurons: what goes into the first dense layer, or what one puts out.

    ``before`` are the values W x + b (N, D), ``after`` those that the next layer gets, after activation and dropout;
    equal for the inputs. ``weights`` (D, E) join this column to the one before it, which has E neurons; None for the
    inputs. ``names`` are those of features, where they are known.
    """

    kind: ClassVar[str] = "neuron-layer"
    name: str = value()
    before: Array = array(("N", "D"))
    after: Array = array(("N", "D"))
    weights: Array | None = array(("D", "E"), join="same", default=None)
    bias: Array | None = array(("D",), join="same", default=None)
    names: tuple[str, ...] = value(default=())


@record
class NeuronDiagram(Result):
    """Columns of neurons, from the inputs to the output, for N examples."""

    kind: ClassVar[str] = "neuron-diagram"
    layers: tuple[NeuronLayer, ...] = value()
    samples: Samples = value(join="concat", default_factory=Samples)

    def names(self, column: int) -> tuple[str, ...]:
        """The names of a column's neurons: features of the input, classes of the output; () where none are known."""
        layer = self.layers[column]
        classes = tuple(self.meta.get("classes", ())) if column == len(self.layers) - 1 else ()
        return layer.names or (classes if len(classes) == layer.after.shape[1] else ())

    @property
    def values(self) -> Array:
        """Activations (N, neurons) of all columns, side by side."""
        return np.concatenate([layer.after for layer in self.layers], axis=1)
