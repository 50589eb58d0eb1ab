"""What tests of kept programs share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fluoroscope.model import kept as keeping
from fluoroscope.model.kept import forget_programs


@pytest.fixture
def small_programs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Programs of small networks are kept, too, and none of an earlier test."""
    monkeypatch.setattr(keeping, "WORTH", 0.0)
    forget_programs()
    yield
    forget_programs()
