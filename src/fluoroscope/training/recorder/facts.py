"""What a run should carry to be understood later: command line, versions, machine, git state, the network's shape."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fluoroscope.errors import FluoroscopeError
from fluoroscope.methods.base import versions
from fluoroscope.model.subject import fingerprint

__all__ = ["about_model", "environment"]

PACKAGES = ("transformers", "lightning", "pytorch-lightning", "keras", "timm", "accelerate", "datasets")
SECRET = re.compile(r"(?i)(token|secret|passw|api[-_]?key|credential)")
GIT_SECONDS = 3.0


def environment() -> dict[str, Any]:
    """Command line, folder, versions, machine, devices, git state. Values that look like secrets are left out."""
    return {
        "command": command_line(sys.orig_argv),
        "folder": str(Path.cwd()),
        "versions": {**versions(), **_installed()},
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "devices": _devices(),
        "git": git_state(Path.cwd()),
    }


def command_line(arguments: list[str]) -> list[str]:
    """The arguments, with ``•••`` for the values of those that are called like a secret."""
    shown: list[str] = []
    hide = False
    for argument in arguments:
        name, equals, _ = argument.partition("=")
        if hide and not argument.startswith("-"):
            argument = "•••"
        elif equals and SECRET.search(name):
            argument = f"{name}=•••"
        hide = argument.startswith("-") and not equals and bool(SECRET.search(argument))
        shown.append(argument)
    return shown


def _installed() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _devices() -> list[str]:
    if not (torch.cuda.is_available() and torch.cuda._initialized):
        return []
    return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]


def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit, branch, and how many files differ from the commit; None outside of a repository or without git."""
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    branch = _git(folder, "rev-parse", "--abbrev-ref", "HEAD")
    return {"commit": commit, "branch": branch, "changed_files": None if changed is None else len(changed.splitlines())}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=GIT_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def about_model(model: nn.Module) -> dict[str, Any]:
    """Class, size and fingerprint of the network as it is when recording begins."""
    parameters = list(model.parameters())
    try:
        mark: str | None = fingerprint(model)
    except (FluoroscopeError, RuntimeError, NotImplementedError):  # tensors that can't be looked into, like DTensors
        mark = None
    return {
        "class": f"{type(model).__module__}.{type(model).__qualname__}",
        "parameters": sum(p.numel() for p in parameters),
        "trainable": sum(p.numel() for p in parameters if p.requires_grad),
        "fingerprint": mark,
    }
