"""torch.amp's GradScaler under watch: its scale, and the steps it leaves out because a gradient is not finite."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["ScalerWatch"]


class ScalerWatch:
    """Stands before ``scaler.step`` while a recording lasts.

    A left out step never reaches the optimizer, so that the optimizer's hooks say nothing of it: here it is noticed by
    the optimizer not having stepped.
    """

    def __init__(self, scaler: Any, skipped: Callable[[Any, float], None]) -> None:
        self.scaler, self._skipped = scaler, skipped
        self._own: Any = None

    @property
    def scale(self) -> float:
        """The factor of the loss now."""
        return float(self.scaler.get_scale())

    def start(self) -> None:
        """Stand before ``step``."""
        if not self.scaler.is_enabled():
            return
        original = self.scaler.step
        self._own = self.scaler.__dict__.get("step")

        def step(optimizer: Any, *args: Any, **kwargs: Any) -> Any:
            stepped: list[bool] = []
            handle = optimizer.register_step_post_hook(lambda *_: stepped.append(True))
            try:
                result = original(optimizer, *args, **kwargs)
            finally:
                handle.remove()
            if not stepped:
                self._skipped(optimizer, self.scale)
            return result

        self.scaler.step = step

    def stop(self) -> None:
        """Leave the scaler as it was."""
        if "step" in self.scaler.__dict__:
            del self.scaler.step
        if self._own is not None:
            self.scaler.step = self._own
