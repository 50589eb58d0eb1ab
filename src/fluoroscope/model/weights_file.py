"""Files of weights: read without running anything in them, put into a network whole or not at all."""

from __future__ import annotations

import json
import pickle
import re
import struct
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fluoroscope.errors import InputError, ModelError
from fluoroscope.model.loading.saved_file import existing_file
from fluoroscope.model.loading.transformers_network import renamed
from fluoroscope.model.weights_match import Match, unwrapped

__all__ = ["SUFFIXES", "load_weights", "read_weights"]

SUFFIXES = frozenset({".safetensors", ".pt", ".pth", ".bin", ".ckpt"})
CONVERT = "where the network is defined: torch.save(model.state_dict(), 'weights.pt')"
LFS = b"version https://git-lfs"


def load_weights(module: nn.Module, path: str | Path, strict: bool = True) -> tuple[str, ...]:
    """Put the weights of a file into ``module``; returns notes on what was unwrapped, converted or left out.

    All names and shapes are compared before anything is copied: where they do not fit, the network stays as it was.

    Raises:
        InputError: there is no such file.
        ModelError: the file can't be read, holds more than plain tensors, or does not fit the network.
    """
    tensors, notes = read_weights(path)
    match = Match.of(module, tensors)
    if match.trouble and hasattr(module, "config") and hasattr(module, "from_pretrained"):
        match = _better(match, Match.of(module, renamed(module, tensors)))
    if match.trouble and (strict or not match.fitting):
        raise match.error(Path(path).name, strict)
    match.copy_into(module)
    return (*notes, *match.notes())


def _better(match: Match, other: Match) -> Match:
    return other if len(other.fitting) > len(match.fitting) else match


def read_weights(path: str | Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The tensors of a file by name, on the CPU, and notes on wrappings that were taken off.

    Raises:
        InputError: there is no such file, or it is empty.
        ModelError: it is corrupt, or not a file of plain tensors.
    """
    file = existing_file(str(path))
    try:
        with file.open("rb") as handle:
            head = handle.read(64)
    except OSError as error:
        raise InputError(f"{file.name} can't be read", got=error.strerror or str(error)) from error
    if head.startswith(LFS):
        raise ModelError(f"{file.name} is a pointer of Git LFS, not the weights", remedy="git lfs pull")
    if head.lstrip()[:1] == b"<":
        raise ModelError(f"{file.name} is a web page, not the weights", remedy="download the file itself")
    if file.suffix.lower() == ".safetensors":
        return _read_safetensors(file), ()
    return unwrapped(_read_torch(file), file.name)


def _read_safetensors(file: Path) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(file))
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"{file.name} is not a complete safetensors file",
            got=_safetensors_sizes(file) or f"{type(error).__name__}: {error}",
            remedy="fetch or copy it again",
        ) from error


def _safetensors_sizes(file: Path) -> str | None:
    """What the header promises against what is there; None where the header itself can't be read."""
    size = file.stat().st_size
    with file.open("rb") as handle:
        start = handle.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else None
        if length is None or length > 100_000_000:
            return None
        if 8 + length > size:
            return f"{size:,} bytes, but its header alone takes {8 + length:,}"
        try:
            header = json.loads(handle.read(length))
            end = max(entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__")
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            return None
    return f"{size:,} bytes, but its header promises {8 + length + end:,}" if size != 8 + length + end else None


def _read_torch(file: Path) -> Any:
    """``torch.load(weights_only=True)`` and nothing else: a pickle of anything more is refused, never run."""
    try:
        return torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    except pickle.UnpicklingError as error:
        raise _refused(file, error) from error
    except Exception as error:  # broken zips, broken pickles and TorchScript come as many kinds
        if "TorchScript" in str(error):
            raise _refused(file, error) from error
        raise ModelError(
            f"{file.name} is not a complete file of weights",
            got=_torn(file) or f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}",
            expected="a file written by torch.save(model.state_dict(), ...) or by safetensors",
            remedy="fetch or copy it again",
        ) from error


def _torn(file: Path) -> str | None:
    """What a zip without its end is; None for other files."""
    with file.open("rb") as handle:
        started = handle.read(2) == b"PK"
    return f"{file.stat().st_size:,} bytes, which end before the archive does" if started else None


def _refused(file: Path, error: Exception) -> ModelError:
    contents = _contents(file, error)
    if not contents:
        return ModelError(
            f"{file.name} is not a file of weights",
            got="bytes that torch.load can't read",
            expected="a file written by torch.save(model.state_dict(), ...) or by safetensors",
        )
    return ModelError(
        f"{file.name} was not opened: it holds more than plain tensors, and reading it could run code",
        got=contents,
        expected="a state_dict: a dict of names and tensors",
        remedy=CONVERT,
    )


def _contents(file: Path, error: Exception) -> str | None:
    """Names of what the file would make, found without making it."""
    if "TorchScript" in str(error):
        return "a TorchScript program"
    try:
        names = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(str(file)))
    except Exception:  # noqa: BLE001 (only the new zip format can be looked into; the message names one else)
        names = []
    names = names or re.findall(r"GLOBAL (\S+) was not an allowed global", str(error))
    shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    return f"objects of {shown}" if names else None
