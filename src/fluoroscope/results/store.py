"""Saving and loading: one file, arrays as safetensors, everything else as JSON in its header. Never pickle.

A file that is opened can only make the record classes of :mod:`fluoroscope.results`; nothing in it is executed. Writing
goes to a temporary file in the same folder that is renamed when complete, so a full disk leaves no half file.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import tempfile
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import IO, Any

import numpy as np

from fluoroscope.arguments import checked
from fluoroscope.errors import ResultFileError, write_remedy
from fluoroscope.results.record import REGISTRY, Array, Record

FORMAT = 1
KEY = "fluoroscope"
SUFFIX = ".fluo"


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """An open binary file that becomes ``path`` when the block ends, and vanishes when it raises."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = tempfile.NamedTemporaryFile(  # noqa: SIM115 (closed by the with below, whichever way it ends)
            dir=path.parent, prefix=f".{path.name}.", suffix=".part", delete=False
        )
    except OSError as error:
        raise _write_error(path, error) from error
    try:
        with handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        os.chmod(handle.name, 0o666 & ~_umask())
        os.replace(handle.name, path)
    except OSError as error:
        raise _write_error(path, error) from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(handle.name)


def _write_error(path: Path, error: OSError) -> ResultFileError:
    return ResultFileError(
        f"{path} could not be written; nothing of it was left behind",
        got=error.strerror or str(error),
        remedy=write_remedy(error),
    )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def as_path(path: Any) -> Path:
    """A path as it was given. Raises ResultFileError where it is none."""
    if not isinstance(path, (str, os.PathLike)):
        raise ResultFileError("this is no path", got=repr(path), expected="text or a pathlib.Path")
    return Path(path)


def save(result: Record, path: str | Path) -> Path:
    """Write ``result`` to ``path`` (``.fluo`` is added where no suffix is given) and return the path written."""
    from safetensors.numpy import save as dump

    target = as_path(path)
    if not target.name or target.is_dir():
        raise ResultFileError(f"{target} is a folder", expected=f"the name of a {SUFFIX} file")
    target = target if target.suffix else target.with_suffix(SUFFIX)
    if target.suffix.lower() != SUFFIX:
        raise ResultFileError(
            f"{target.name}: results are saved as {SUFFIX} files, of numbers and text",
            got=f"a name that ends in {target.suffix}",
            expected=f"{target.name}{SUFFIX}, or a name without an ending",
            remedy="for a picture result.plot().savefig(path), for a page result.to_html(path)",
        )
    arrays: dict[str, Array] = {}
    header = {"format": FORMAT, "kind": type(result).__name__, "data": encode(result, arrays, "")}
    text = json.dumps(header, allow_nan=False, separators=(",", ":"))
    with atomic_write(target) as handle:
        handle.write(dump(arrays, metadata={KEY: text}))
    return target


@checked
def open_result(path: str | Path) -> Any:
    """Read a result that :func:`save` wrote.

    Returns the result: the same kind, with equal arrays, text and numbers.

    Raises:
        ResultFileError: the file is missing, truncated, of a newer format, or not a result.
    """
    from safetensors import SafetensorError, safe_open

    source = as_path(path)
    try:
        with safe_open(str(source), framework="numpy") as file:
            text = (file.metadata() or {}).get(KEY)
            if text is None:
                raise ResultFileError(f"{source} is not a saved result", got="a safetensors file without our header")
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        header = json.loads(text)
        _check_format(source, header)
        return decode(header["data"], arrays)
    except ResultFileError:
        raise
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ResultFileError(
            f"{source} could not be opened",
            got=f"{type(error).__name__}: {error}",
            expected=f"a {SUFFIX} file written by Result.save",
        ) from error


def _check_format(source: Path, header: dict[str, Any]) -> None:
    if header["format"] > FORMAT:
        raise ResultFileError(
            f"{source} was written by a newer version",
            got=f"format {header['format']}",
            expected=f"format {FORMAT} or older",
            remedy="pip install --upgrade fluoroscope",
        )


def encode(item: Any, arrays: dict[str, Array], name: str) -> Any:
    """``item`` as JSON values; arrays are put into ``arrays`` under their path and referred to by it."""
    if isinstance(item, np.ndarray):
        key = name or "values"
        arrays[key] = np.ascontiguousarray(item)
        return {"$array": key}
    if isinstance(item, Record):
        inner = {f.name: encode(getattr(item, f.name), arrays, _path(name, f.name)) for f in fields(item)}
        return {"$record": type(item).__name__, "fields": inner}
    if isinstance(item, dict):
        return {"$dict": [[k, encode(v, arrays, _path(name, str(i)))] for i, (k, v) in enumerate(item.items())]}
    if isinstance(item, (tuple, list)):
        values = [encode(v, arrays, _path(name, str(i))) for i, v in enumerate(item)]
        return values if isinstance(item, list) else {"$tuple": values}
    if isinstance(item, np.generic):
        item = item.item()
    if isinstance(item, float) and not math.isfinite(item):
        return {"$float": repr(item)}
    if item is None or isinstance(item, (bool, int, float, str)):
        return item
    if isinstance(item, (os.PathLike, set, frozenset)):
        return encode(str(item) if isinstance(item, os.PathLike) else sorted(item), arrays, name)
    raise ResultFileError(
        f"{name or 'the result'} can't be saved", got=type(item).__name__, expected="arrays, text or numbers"
    )


def _path(parent: str, name: str) -> str:
    return f"{parent}/{name}" if parent else name


def decode(item: Any, arrays: dict[str, Array]) -> Any:
    """The inverse of :func:`encode`; unknown record names or fields raise."""
    if isinstance(item, list):
        return [decode(v, arrays) for v in item]
    if not isinstance(item, dict):
        return item
    if "$array" in item:
        return arrays[item["$array"]]
    if "$tuple" in item:
        return tuple(decode(v, arrays) for v in item["$tuple"])
    if "$dict" in item:
        return {k: decode(v, arrays) for k, v in item["$dict"]}
    if "$float" in item:
        return float(item["$float"])
    cls = REGISTRY[item["$record"]]
    known = {f.name for f in fields(cls)}
    return cls(**{k: decode(v, arrays) for k, v in item["fields"].items() if k in known})
