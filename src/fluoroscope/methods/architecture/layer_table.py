"""The layer table: shapes, parameters and costs of every module."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import nn

from fluoroscope.arguments import checked
from fluoroscope.methods.base import Batch, Method, method, option
from fluoroscope.model.layers import assumed_input, summarize
from fluoroscope.model.study import Study
from fluoroscope.model.subject import Subject
from fluoroscope.results import LayerSummary

__all__ = ["LayerTable", "layers"]


@method
class LayerTable(Method):
    """Layer table: every module with its output shape, parameters, FLOPs and calls, for one example.

    Parameters include those of inner modules; a tied tensor counts once, where it is met first. FLOPs are 2 x
    multiply-adds of matrix products, convolutions, attention and recurrent layers; other arithmetic is not counted.
    Without an input, one of a likely shape is made up (and the notes say so), for shapes and costs only.

    Returns a :class:`~fluoroscope.results.LayerSummary`, one row per module in the order of definition.

    Raises:
        InputError: the network fails on the input.
    """

    name: ClassVar[str] = "layers"
    title: ClassVar[str] = "Layers"
    in_report: ClassVar[bool] = True
    family: ClassVar[str] = "architecture"
    phase: ClassVar[Any] = "before"
    returns: ClassVar[type[LayerSummary]] = LayerSummary
    needs: ClassVar[Any] = frozenset()
    joins: ClassVar[bool] = False

    input_shape: tuple[int, ...] | None = option(
        None, "shape of one example, without the batch axis; guessed when there is no input"
    )

    def compute(self, study: Study, batch: Batch) -> LayerSummary:
        """One forward of one example."""
        inputs = batch.inputs if batch.inputs.count else None
        if inputs is None:
            inputs = assumed_input(study.subject, self.input_shape)
            shape = tuple(inputs.main.shape) if inputs is not None else None
            study.note(
                f"no input was given: shapes and costs are for a made-up input {shape}"
                if shape
                else "no input was given and none could be guessed: shapes and costs are unknown"
            )
        table = summarize(study, inputs)
        return table.replace(
            title=self.title, caption=f"{table.parameters:,} parameters, {table.flops:,} FLOPs for one example"
        )


@checked
def layers(model: nn.Module | Subject, inputs: Any = None) -> LayerSummary:
    """The layers of a network: iterate over the rows for name, class, output shape, parameters and uses.

    The same as ``LayerTable()(model, inputs)``. Raises what :class:`LayerTable` raises.
    """
    return LayerTable()(model, inputs)  # type: ignore[no-any-return]
