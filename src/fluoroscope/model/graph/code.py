"""Code locations: where in the user's files something is called or defined."""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from pathlib import Path
from types import FrameType
from typing import Any

import torch

__all__ = ["call_site", "definition"]

OWN = (str(Path(torch.__file__).parent) + os.sep, str(Path(__file__).parent) + os.sep)


def call_site(depth: int = 1) -> str:
    """``file:line`` of the innermost frame that is neither torch's nor ours; empty where there is none."""
    frame: FrameType | None = sys._getframe(depth)
    while frame is not None:
        file = frame.f_code.co_filename
        if not file.startswith(OWN):
            return f"{_shown(file)}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


@lru_cache(maxsize=4096)
def definition(cls: type[Any]) -> str:
    """``file:line`` of a class's forward; empty for torch's own classes."""
    code = getattr(getattr(cls, "forward", None), "__code__", None)
    if code is None or code.co_filename.startswith(OWN):
        return ""
    return f"{_shown(code.co_filename)}:{code.co_firstlineno}"


@lru_cache(maxsize=4096)
def _shown(file: str) -> str:
    """A path as people know it: from the package on for installed code, from the current folder on for their own."""
    path = Path(file)
    if "site-packages" in path.parts:
        at = len(path.parts) - 1 - path.parts[::-1].index("site-packages")
        return "/".join(path.parts[at + 1 :])
    try:
        return path.resolve().relative_to(Path.cwd()).as_posix()
    except ValueError:
        return path.name
