"""CAM: the original class activation map, of networks that pool a last layer and read it with one dense layer."""

from __future__ import annotations

from typing import ClassVar

import torch

from fluoroscope.errors import NotApplicable
from fluoroscope.methods.attributing import per_target
from fluoroscope.methods.base import Batch, method
from fluoroscope.methods.cam.affine_tail import LayerTail, deviation
from fluoroscope.methods.cam.layer_map import PositionMap, layer_layout, padding_of, wide
from fluoroscope.model.affine import affine_obstacle
from fluoroscope.model.capture import gradients
from fluoroscope.model.pooling import pooled_scores, pooled_tape
from fluoroscope.model.study import LayerName, Study
from fluoroscope.model.targets import Picked
from fluoroscope.results import Attribution

__all__ = ["CAM"]


@method
class CAM(PositionMap):
    r"""CAM: the features before the pooling, weighed by the dense layer's weights for the class.

    .. math:: L(x, y) = \sum_k w_k A^k_{xy}, \qquad s = \frac{1}{Z} \sum_{x, y} L(x, y) + b

    It applies where the network averages a layer over its positions and reads the averages with one affine map. Both
    are verified on the network as it runs, wherever the pooling is written (a module, ``mean``,
    ``adaptive_avg_pool2d``): the recorded operations must be affine, every position must count alike, and the score
    must follow at other activations too. So the map's mean is the score less the bias. Source: Zhou et al., *Learning
    Deep Features for Discriminative Localization*, CVPR 2016, equation 2, with the weights of the averages, not of the
    sums.

    Returns an :class:`~fluoroscope.results.Attribution` with ``values`` (N, H, W), or (N, K, H, W) for K targets, at
    the resolution of what is pooled, signed, in units of the score; (N, T) for series; tokens on their grid.
    Cost: two forwards (the second checks; one where ``layer`` is named), and one backward through the head for each
    target.

    Raises:
        NotApplicable: the network does not pool, or does not read what it pooled by an affine map; the message says
        why. LayerError: no such layer, it did not run, or it has no positions.
        TargetError: the target does not fit the output.
        NumericalError: NaN in input or output, or a score without a gradient.
    """

    name: ClassVar[str] = "cam"
    title: ClassVar[str] = "CAM"
    source: ClassVar[str] = "Zhou et al., Learning Deep Features for Discriminative Localization, CVPR 2016, eq. 2"
    signed: ClassVar[bool] = True
    empty: ClassVar[str] = "the features are zero everywhere, or the head gives them no weight"

    def compute(self, study: Study, batch: Batch) -> Attribution:
        """The head's weights, read off as gradients of a verified affine map."""
        if self.layer is not None:
            return self._named(study, batch, study.layer(self.layer))
        return self._found(study, batch)

    def _named(self, study: Study, batch: Batch, layer: LayerName) -> Attribution:
        tail = LayerTail(study, batch, layer)
        _refuse(tail.obstacle(), str(layer))
        found = tail.gradients()
        if not tail.is_affine(found):
            _refuse("a factor that itself depends on the layer", str(layer))
        return self._map(study, batch, tail.picked, layer, tail.leaf.detach(), found)

    def _found(self, study: Study, batch: Batch) -> Attribution:
        pooled = pooled_tape(study, batch.inputs)
        if pooled is None:
            raise NotApplicable(
                "CAM does not apply to this network: it does not average a layer over positions",
                expected="average pooling and one dense layer",
                remedy="use Grad-CAM or HiResCAM",
            )
        taped, which = pooled
        ((name, leaf),) = taped.tensors.items()
        picked = batch.target.pick(taped.scores, taped.output)
        many = picked.scores.ndim == 2
        for column in per_target(picked.scores, many):
            _refuse(affine_obstacle(column, leaf), name)
        found = per_target(gradients(study, taped, picked.scores)[name], many)
        moved = (leaf.detach() * torch.linspace(0, 2, leaf[0].numel()).view_as(leaf[0]).to(leaf)).flip(1)
        output, scores = pooled_scores(study, batch.inputs, which, moved)
        again = batch.target.settled(picked, taped.scores)(range(len(leaf))).pick(scores, output)
        for before, after, g in zip(
            per_target(picked.scores, many), per_target(again.scores, many), found, strict=True
        ):
            if deviation(after, before, g, moved - leaf.detach()) > (1e-4 if wide(leaf) is leaf else 2e-2):
                _refuse("a factor that itself depends on it", name)
        return self._map(study, batch, picked, LayerName(name), leaf.detach(), found)

    def _map(
        self,
        study: Study,
        batch: Batch,
        picked: Picked,
        layer: LayerName,
        leaf: torch.Tensor,
        found: list[torch.Tensor],
    ) -> Attribution:
        layout = layer_layout(study, layer, leaf, batch.inputs)
        maps, weights = wide(layout.to_maps(leaf)), [wide(layout.to_maps(g)).flatten(2) for g in found]
        real = padding_of(batch.inputs, layout)
        for w in weights:
            own = [row if real is None else row[:, real[n]] for n, row in enumerate(w)]
            if max(float((row - row[:, :1]).abs().max()) for row in own) > 1e-4 * float(w.abs().max()):
                _refuse(
                    "weights that differ from position to position (the layer is flattened, not pooled)", str(layer)
                )
        count = weights[0].shape[2]
        values = [torch.einsum("nc,nc...->n...", w.sum(2), maps) for w in weights]
        study.facts["positions"] = count
        return self.result(study, batch, picked, layer, layout, values)


def _refuse(obstacle: str | None, layer: str) -> None:
    if obstacle is not None:
        raise NotApplicable(
            "CAM does not apply to this network: the score is no weighted sum of pooled features",
            got=f"{obstacle} between {layer} and the score",
            expected="average pooling and one dense layer",
            remedy="name the layer that is pooled, or use Grad-CAM or HiResCAM",
        )
