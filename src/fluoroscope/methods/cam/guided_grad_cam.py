"""Guided Grad-CAM: the fine lines of guided backpropagation where Grad-CAM sees evidence."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own habit)

from fluoroscope import axes as ax
from fluoroscope.errors import NotApplicable, NumericalError
from fluoroscope.methods.attributing import attribution, input_axes, per_target
from fluoroscope.methods.base import Batch, method
from fluoroscope.methods.cam.layer_map import PositionMap, layer_layout, mean_weighted, unpadded, wide
from fluoroscope.model.capture import Tape, gradients, tape
from fluoroscope.model.rectifiers import RectifierRule, guided
from fluoroscope.model.study import LayerName, Study
from fluoroscope.model.targets import Picked
from fluoroscope.results import Attribution

__all__ = ["GuidedGradCAM"]

MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}


@method
class GuidedGradCAM(PositionMap):
    r"""Guided Grad-CAM: the guided gradient of the score at the input, times Grad-CAM enlarged to the input's size.

    .. math:: M = \mathrm{up}(L_{\text{Grad-CAM}}) \odot g, \qquad
              \frac{\partial s}{\partial z} \leftarrow \mathbb{1}[z > 0] \; \mathrm{ReLU}
              \Big(\frac{\partial s}{\partial \mathrm{ReLU}(z)}\Big)

    g is the gradient at the input with the rule on the right at every rectifier, whether it is a module, a function or
    in place; Grad-CAM itself keeps the plain gradient. A network without rectifiers is refused; beside them, other
    nonlinear functions keep their gradient, and a note names them. Guided backpropagation hardly depends on the weights
    of the upper layers (Adebayo et al., 2018): its lines are no evidence by themselves. Source: Selvaraju et al.,
    *Grad-CAM*, ICCV 2017, section 3.3; Springenberg et al., *Striving for Simplicity*, 2015.

    Returns an :class:`~fluoroscope.results.Attribution` with ``values`` (N, C, H, W) at the input's resolution, signed,
    in units of squared score per unit of input; K after N for K targets; (N, C, T) for series.
    Cost: one forward, and for each target one backward through what follows the layer and one through the network.

    Raises:
        NotApplicable: the network has no rectifiers, or the layer's positions are not those of the input.
        LayerError: no such layer, it did not run, or it has no positions.
        TargetError: the target does not fit the output.
        NumericalError: NaN in input or output, a score without a gradient, or an input of whole numbers.
    """

    name: ClassVar[str] = "guided-grad-cam"
    title: ClassVar[str] = "Guided Grad-CAM"
    source: ClassVar[str] = "Selvaraju et al., Grad-CAM, ICCV 2017, sec. 3.3"
    unit: ClassVar[str] = "score² per unit of input"
    signed: ClassVar[bool] = True
    empty: ClassVar[str] = "Grad-CAM or the guided gradient is zero"

    def compute(self, study: Study, batch: Batch) -> Attribution:
        """One forward with rectifiers that serve both rules."""
        main = batch.inputs.main
        if not main.is_floating_point():
            raise NumericalError("whole numbers have no gradient", got=f"an input of {main.dtype}")
        layer = self.place(study, batch.inputs)
        leaf = main.detach().clone().requires_grad_()
        with guided() as rule:
            taped = tape(study, batch.inputs.with_main(leaf), [layer])
        reason = rule.refusal()
        if reason is not None:
            raise NotApplicable(
                f"{self.title} does not apply to this network: {reason}",
                got=study.subject.title,
                expected="ReLU or ReLU6, as modules or functions",
                remedy="use Grad-CAM, or Saliency for single pixels",
            )
        if warning := rule.warning():
            study.note(warning)
        picked = batch.target.pick(taped.scores, taped.output)
        coarse = self._grad_cam(study, batch, layer, taped, picked, rule)
        fine = gradients(study, Tape(taped.output, taped.scores, {"input": leaf}), picked.scores)["input"]
        return self._product(study, batch, picked, layer, coarse, fine)

    def _grad_cam(
        self, study: Study, batch: Batch, layer: LayerName, taped: Tape, picked: Picked, rule: RectifierRule
    ) -> list[torch.Tensor]:
        """Grad-CAM (N, *positions) for each target, by the plain gradient."""
        layout = layer_layout(study, layer, taped.tensors[layer], batch.inputs)
        with rule.using("plain"):
            found = gradients(study, taped, picked.scores, keep=True)[layer]
        maps = wide(layout.to_maps(taped.tensors[layer].detach()))
        plain = [wide(layout.to_maps(g)) for g in per_target(found, picked.scores.ndim == 2)]
        return [unpadded(batch.inputs, layout, mean_weighted, maps, g) for g in plain]

    def _product(
        self,
        study: Study,
        batch: Batch,
        picked: Picked,
        layer: LayerName,
        coarse: list[torch.Tensor],
        fine: torch.Tensor,
    ) -> Attribution:
        axes, size = input_axes(batch.inputs)
        if len(size) != coarse[0].ndim - 1:
            raise NotApplicable(
                "the layer's positions are not those of the input",
                got=f"a map over {coarse[0].ndim - 1} axes, an input {tuple(batch.inputs.main.shape)}",
                remedy="choose another layer",
            )
        channel, mode, many = axes.index(ax.C), MODES[len(size)], picked.scores.ndim == 2
        values = [
            wide(g).movedim(channel, 1) * F.interpolate(c[:, None], size, mode=mode, align_corners=False)
            for c, g in zip(coarse, per_target(fine, many), strict=True)
        ]
        study.facts.update({"layer": str(layer), "layer_found": self.layer is None})
        return attribution(
            self, study, batch, picked, torch.stack(values, 1) if many else values[0],
            (ax.N, ax.C, *(a for a in axes[1:] if a != ax.C)), signed=True, unit=self.unit,
            caption=f"Grad-CAM at {layer} times guided backpropagation",
        )  # fmt: skip
