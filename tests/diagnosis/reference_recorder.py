"""A plain recorder of a training: every statistic in float64 from the tensors themselves, nothing sampled.

Slower and simpler than the real one; the programs can be run with either.
"""

from __future__ import annotations

import math
from types import TracebackType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fluoroscope.results import History, Series, TensorHistory

RECTIFIERS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU)
BOUNDED = {nn.Tanh: (-1.0, 1.0), nn.Sigmoid: (0.0, 1.0)}
MARGIN = 0.01  # of the range of a bounded activation: closer to its ends it is saturated


class ReferenceRecorder:
    """``with ReferenceRecorder(model, optimizer) as run: ... run.log(loss=loss)``; then ``history``, ``tensors``."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, config: dict[str, Any] | None = None):
        self.model, self.optimizer, self.config = model, optimizer, dict(config or {})
        self.step = 0
        self.scalars: dict[str, list[tuple[int, float]]] = {}
        self.rows: list[dict[str, dict[str, float]]] = []
        self.seen: dict[str, dict[str, float]] = {}
        self.names = _names(model)
        self.handles: list[Any] = []

    def __enter__(self) -> ReferenceRecorder:
        for name, module in self.model.named_modules():
            if isinstance(module, (*RECTIFIERS, *BOUNDED)):
                self.handles.append(module.register_forward_hook(self._activation(name)))
        self.handles.append(self.optimizer.register_step_pre_hook(self._before))
        self.handles.append(self.optimizer.register_step_post_hook(self._after))
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for handle in self.handles:
            handle.remove()

    def log(self, **values: Any) -> None:
        for name, value in values.items():
            self.scalars.setdefault(name, []).append((self.step, float(value)))

    # ------------------------------------------------------------------ hooks

    def _activation(self, name: str) -> Any:
        def look(module: nn.Module, inputs: Any, output: Tensor) -> None:
            if not module.training:
                return
            y = output.detach()
            found = {"activation/std": float(y.std()) if y.numel() > 1 else math.nan}
            if isinstance(module, RECTIFIERS):
                units = y.movedim(1, -1) if y.ndim == 4 else y
                units = units.reshape(-1, units.shape[-1])
                found["activation/dead"] = float((units <= 0).all(0).double().mean())
            else:
                low, high = BOUNDED[type(module)]
                close = MARGIN * (high - low)
                found["activation/saturated"] = float(((y < low + close) | (y > high - close)).double().mean())
            self.seen[name] = found

        return look

    def _before(self, *_: Any) -> None:
        self.step += 1
        self.old = {n: p.detach().clone() for n, p in self.model.named_parameters()}
        for n, p in self.model.named_parameters():
            if p.grad is not None:
                g = p.grad.detach().double()
                self.seen[n] = {
                    "gradient/norm": float(g.norm()),
                    "gradient/mean": float(g.mean()),
                    "gradient/std": float(g.std(correction=0)),
                    "gradient/zero_share": float((g == 0).double().mean()),
                }

    def _after(self, *_: Any) -> None:
        for n, p in self.model.named_parameters():
            old = self.old[n].double()
            norm, change = float(old.norm()), float((p.detach().double() - old).norm())
            ratio = change / norm if norm else math.nan
            self.seen.setdefault(n, {}).update(
                {"weight/norm": norm, "update/norm": change, **({"update/ratio": ratio} if norm else {})}
            )
        self.rows.append(self.seen)
        self.seen = {}
        for i, group in enumerate(self.optimizer.param_groups):
            self.log(**{f"learning_rate/{i}": group["lr"]})

    # ------------------------------------------------------------------ what was recorded

    @property
    def history(self) -> History:
        series = {}
        for name, points in self.scalars.items():
            steps, values = zip(*points, strict=True)
            series[name] = Series(steps=np.array(steps, dtype=np.int64), values=np.array(values))
        return History(series=series, meta={"config": self.config})

    @property
    def tensors(self) -> TensorHistory:
        quantities = sorted({q for row in self.rows for found in row.values() for q in found})
        shape = (len(self.names), len(self.rows))
        statistics = {q: np.full(shape, np.nan) for q in quantities}
        recorded = {q: np.zeros(shape, dtype=bool) for q in quantities}
        place = {n: i for i, n in enumerate(self.names)}
        for s, row in enumerate(self.rows):
            for name, found in row.items():
                for quantity, value in found.items():
                    statistics[quantity][place[name], s] = value
                    recorded[quantity][place[name], s] = True
        frozen = [n for n, p in self.model.named_parameters() if not p.requires_grad]
        return TensorHistory(
            names=self.names,
            steps=np.arange(1, len(self.rows) + 1),
            statistics=statistics,
            recorded=recorded,
            meta={"frozen": frozen},
        )


def _names(model: nn.Module) -> tuple[str, ...]:
    """Parameters and the activations after them, in the order of the modules."""
    found: list[str] = []
    for name, module in model.named_modules():
        found += [f"{name}.{n}" if name else n for n, _ in module.named_parameters(recurse=False)]
        if isinstance(module, (*RECTIFIERS, *BOUNDED)):
            found.append(name)
    return tuple(found)
