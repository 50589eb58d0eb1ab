"""Tokenizing: what a user's own function makes of texts, as arguments of a forward, padded and masked."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from fluoroscope.errors import InputError
from fluoroscope.model.inputs import Inputs

__all__ = ["of_function"]

IDS, MASK = "input_ids", "attention_mask"
NAME_LENGTH = 60


def of_function(texts: list[str], tokenizer: Any, module: nn.Module) -> Inputs:
    """Texts as arguments (N, L) of ``module.forward``, by a function from one text to its token numbers, or to a
    mapping of them and what else belongs to each token.

    Of a mapping ``input_ids`` are the tokens, else its first entry. They are the first argument where ``forward`` has
    no parameter of that name; other entries are given where it has. An ``attention_mask`` (1 for a token, 0 for
    padding) is made where ``forward`` takes one that the function does not give. Shorter texts are padded on the right,
    with ``tokenizer.pad_token_id`` where there is one, all else with 0.

    Raises:
        InputError: a text without tokens, something else than whole numbers, or entries that don't fit the tokens.
    """
    rows = [_entries(_called(tokenizer, text), text) for text in texts]
    main = IDS if IDS in rows[0] else next(iter(rows[0]), IDS)
    for row, text in zip(rows, texts, strict=True):
        _check(row, rows[0], main, text)
    longest = max(len(row[main]) for row in rows)
    ragged = any(len(row[main]) < longest for row in rows)
    named, any_name, first = _parameters(module)
    taken = [k for k in rows[0] if k != main and (k in named or any_name)]
    filler = int(getattr(tokenizer, "pad_token_id", None) or 0)
    tokens = _padded([row[main] for row in rows], longest, filler)
    kwargs = {k: _padded([row[k] for row in rows], longest, 0) for k in taken}
    if MASK in named and MASK not in kwargs:
        kwargs[MASK] = _padded([torch.ones_like(row[main]) for row in rows], longest, 0)
    notes = []
    if ragged and MASK not in kwargs:
        notes.append(f"shorter texts were filled up with token {filler}, which the network sees")
    if left := [k for k in rows[0] if k not in (main, *kwargs)]:
        notes.append(f"the network's forward does not take the tokenizer's {', '.join(left)}")
    by_name = main in named or (any_name and first in (None, *kwargs))
    if by_name:
        return Inputs((), {main: tokens, **kwargs}, len(texts), notes=tuple(notes))
    return Inputs((tokens,), kwargs, len(texts), notes=tuple(notes))


def _parameters(module: nn.Module) -> tuple[set[str], bool, str | None]:
    """What ``forward`` can be given by name, whether any name will do, and the first that needs none."""
    parameters = inspect.signature(module.forward).parameters.values()
    named = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    placed = (p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.POSITIONAL_ONLY, p.VAR_POSITIONAL))
    return named, any(p.kind == p.VAR_KEYWORD for p in parameters), next(placed, None)


def _called(tokenizer: Callable[[str], Any], text: str) -> Any:
    """What the user's tokenizer makes of a text; its error is told as its own."""
    try:
        return tokenizer(text)
    except Exception as error:
        raise InputError("the tokenizer failed", got=f"{type(error).__name__}: {error}, on {text[:40]!r}") from error


def _entries(found: Any, text: str) -> dict[str, torch.Tensor]:
    given = found.items() if isinstance(found, Mapping) else [(IDS, found)]
    return {str(name): _row(numbers, text) for name, numbers in given}


def _row(found: Any, text: str) -> torch.Tensor:
    """Whole numbers or truth values (L,), also from a batch of one (1, L)."""
    try:
        row = torch.as_tensor(found)
    except (TypeError, ValueError, RuntimeError) as error:
        raise _no_numbers(type(found).__name__, text) from error
    row = row[0] if row.ndim == 2 and len(row) == 1 else row
    if row.ndim != 1 or row.is_complex() or (row.is_floating_point() and bool((row != row.round()).any())):
        raise _no_numbers(f"{type(found).__name__} of shape {tuple(row.shape)}, {row.dtype},", text)
    return row if row.dtype == torch.bool else row.long()


def _no_numbers(got: str, text: str) -> InputError:
    return InputError(
        "the tokenizer gave no token numbers",
        got=f"{got} for {text[:NAME_LENGTH]!r}",
        expected="a list of whole numbers for one text, or a mapping of such lists: input_ids, attention_mask",
    )


def _check(row: dict[str, torch.Tensor], first: dict[str, torch.Tensor], main: str, text: str) -> None:
    if not len(row.get(main, ())) or (MASK in row and not bool(row[MASK].any())):
        raise InputError("a text has no tokens", got=repr(text[:NAME_LENGTH]), expected="at least one")
    if row.keys() != first.keys() or any(len(entry) != len(row[main]) for entry in row.values()):
        raise InputError(
            "what the tokenizer gave does not fit together",
            got=f"{ {name: len(entry) for name, entry in row.items()} } for {text[:NAME_LENGTH]!r}",
            expected=f"{', '.join(first)} for each text, a number for each token",
        )


def _padded(rows: list[torch.Tensor], length: int, filler: int) -> torch.Tensor:
    return torch.stack([nn.functional.pad(row, (0, length - len(row)), value=filler) for row in rows])
