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
        self._original: Callable[..., Any] = scaler.step
        self._looks = False

    @property
    def scale(self) -> float:
        """The factor of the loss now."""
        return float(self.scaler.get_scale())

    def start(self) -> None:
        """Stand before ``step``."""
        if self.scaler.is_enabled():
            self._own, self._original = self.scaler.__dict__.get("step"), self.scaler.step
            self.scaler.step = self._step
            self._looks = True

    def _step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        if not self._looks or not hasattr(optimizer, "register_step_post_hook"):
            return self._original(optimizer, *args, **kwargs)
        stepped: list[bool] = []
        handle = optimizer.register_step_post_hook(lambda *_: stepped.append(True))
        try:
            result = self._original(optimizer, *args, **kwargs)
        finally:
            handle.remove()
        if not stepped:
            self._skipped(optimizer, self.scale)
        return result

    def stop(self) -> None:
        """Leave the scaler as it was. Where another recording stands before it, this one only looks no longer, and the
        other one takes it away.
        """
        self._looks = False
        if self.scaler.__dict__.get("step") == self._step:
            del self.scaler.step
            own = self._own
            while (below := getattr(own, "__self__", None)) is not None and _ended(below):
                own = below._own
            if own is not None:
                self.scaler.step = own


def _ended(watch: Any) -> bool:
    return isinstance(watch, ScalerWatch) and not watch._looks
