"""Smooth Grad-CAM++: Grad-CAM++ with derivatives averaged over noisy copies of the input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch

from fluoroscope.errors import NotApplicable
from fluoroscope.methods.base import Batch, method, option
from fluoroscope.methods.cam.grad_cam_plus_plus import plus_plus_weights
from fluoroscope.methods.cam.layer_map import LayerMap, LayerView, weighted_sum
from fluoroscope.methods.sharing import SharedTape
from fluoroscope.model.capture import tape
from fluoroscope.model.inputs import Inputs
from fluoroscope.model.seeding import generator

__all__ = ["SmoothGradCAMPlusPlus"]


@method
class SmoothGradCAMPlusPlus(LayerMap):
    r"""Smooth Grad-CAM++: Grad-CAM++ with each derivative averaged over inputs with Gaussian noise.

    .. math:: L = \mathrm{ReLU}\Big(\sum_k w_k A^k\Big), \quad
              w_k = \sum_{x, y} \frac{D_2}{2 D_2 + S_k D_3} \mathrm{ReLU}(D_1), \quad
              D_p = \frac{1}{n} \sum_{m=1}^n \Big(\frac{\partial s(x + \epsilon_m)}{\partial A^k_{xy}}\Big)^p

    with the activations A and their sums S of the input itself. The noise's standard deviation is ``noise`` times the
    range of the example's values, as in SmoothGrad; it belongs to example and seed. Source: Omeiza et al., *Smooth
    Grad-CAM++*, 2019, equations 7 to 10, with Grad-CAM++'s numerator (the second derivative; the paper prints the
    first), as torchcam has it; torchcam takes D₁ from its last sample alone, here it is the mean, as in the paper.

    Returns an :class:`~fluoroscope.results.Attribution` with ``values`` (N, H, W), or (N, K, H, W) for K targets, at
    the layer's resolution, in units of the score; (N, T) for series; tokens on their grid.
    Cost: 1 + ``samples`` forwards, and ``samples`` backwards through what follows the layer for each target.

    Raises:
        LayerError: no such layer, it did not run, or it has no positions.
        TargetError: the target does not fit the output.
        NumericalError: NaN in input or output, or a score without a gradient.
        NotApplicable: the input is made of whole numbers, to which no noise can be added.
    """

    name: ClassVar[str] = "smooth-grad-cam++"
    title: ClassVar[str] = "Smooth Grad-CAM++"
    source: ClassVar[str] = "Omeiza et al., Smooth Grad-CAM++, 2019, eq. 7-10"

    samples: int = option(8, "noisy copies of each input", low=1)
    noise: float = option(0.15, "standard deviation of the noise, as a share of the example's range", low=0)

    def map(self, view: LayerView) -> Sequence[torch.Tensor]:
        """Averages of the first three derivatives, then Grad-CAM++'s weights."""
        shared, maps = view.shared, view.maps
        shared.study.facts["samples"] = self.samples
        fine = maps.dtype if maps.device.type == "mps" else torch.float64  # third powers of small gradients
        powers = [[torch.zeros_like(maps, dtype=fine) for _ in range(3)] for _ in view.columns]
        draws = self._draws(shared.batch)
        target = shared.batch.target.settled(view.picked, shared.tape.scores)(range(len(maps)))
        for noisy in draws:
            batch = Batch(noisy, target, None, shared.batch.start)
            again = SharedTape(shared.study, batch, tape(shared.study, noisy, [view.layer]))
            for sums, gradient in zip(powers, LayerView(again, view.layer, view.layout).gradients, strict=True):
                for power, total in enumerate(sums, 1):
                    total += gradient.to(fine).pow(power) / self.samples
            shared.study.backwards += again.gradient_cost
        return [view.unpadded(_weighed, maps, *sums) for sums in powers]

    def _draws(self, batch: Batch) -> list[Inputs]:
        """Inputs with noise that depends on seed and example only."""
        main, unseen = batch.inputs.main, batch.inputs.unseen
        if not main.is_floating_point():
            raise NotApplicable("no noise can be added to whole numbers", got=f"an input of {main.dtype}")
        rows = []
        for i, row in enumerate(main):
            own = row if unseen is None else row[~unseen[i]]
            spread = self.noise * (own.max() - own.min()).double()
            drawn = torch.randn(
                self.samples, *own.shape, generator=generator(self.seed, batch.start + i), dtype=torch.float64
            )
            noisy = row.repeat(self.samples, *[1] * row.ndim)
            noisy[:, slice(None) if unseen is None else ~unseen[i]] += (spread.cpu() * drawn).to(row)
            rows.append(noisy)
        return [batch.inputs.with_main(noisy) for noisy in torch.stack(rows, 1)]


def _weighed(maps: torch.Tensor, *powers: torch.Tensor) -> torch.Tensor:
    """The map (N, *positions) from activations and the averages of the derivatives' powers."""
    weights = plus_plus_weights(maps.to(powers[0].dtype), *powers)
    return weighted_sum(weights.to(maps), maps).relu()
