"""Texts: what a tokenizer makes of them, as the inputs of a network, padded to one length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fluoroscope.errors import InputError, OptionError
from fluoroscope.model.inputs import Inputs
from fluoroscope.results import Array

if TYPE_CHECKING:
    from fluoroscope.model.subject import Subject

__all__ = [
    "are_texts",
    "mask_token",
    "real_tokens",
    "special_tokens",
    "stand_in",
    "token_names",
    "tokenized",
    "vocabulary",
]

NAME_LENGTH = 60
SPACES = str.maketrans({"Ġ": " ", "▁": " ", "Ċ": "\n"})
"""How byte-pair and sentence-piece vocabularies write a blank and the end of a line."""


def are_texts(inputs: Any) -> bool:
    """Whether inputs are a text or a list of texts."""
    return isinstance(inputs, str) or (
        isinstance(inputs, (list, tuple)) and bool(inputs) and all(isinstance(i, str) for i in inputs)
    )


def tokenized(texts: str | Sequence[str], subject: Subject) -> Inputs:
    """Texts as inputs of the network, with the names of their tokens.

    A tokenizer of transformers gives keyword inputs (N, L), the attention mask among them; any other is a function from
    one text to its token numbers, which become one input (N, L), unequal lengths filled up with zeros.

    Raises:
        InputError: a text without tokens, or a tokenizer that gives something else than token numbers.
    """
    texts = [texts] if isinstance(texts, str) else list(texts)
    found, notes = _looked_up(texts, subject.tokenizer)
    main = next(iter(found.values()))
    lengths = found["attention_mask"].sum(1).tolist() if "attention_mask" in found else [main.shape[1]] * len(main)
    for text, length in zip(texts, lengths, strict=True):
        if not length:
            raise InputError("a text has no tokens", got=repr(text[:NAME_LENGTH]), expected="at least one")
    names = tuple(" ".join(text.split())[:NAME_LENGTH] or "(empty text)" for text in texts)
    features = tuple(tuple(token_names(row, subject.tokenizer)) for row in main.tolist())
    args, kwargs = ((main,), {}) if list(found) == [""] else ((), found)
    return Inputs(args, kwargs, len(texts), names, tuple(notes), features)


def _looked_up(texts: list[str], tokenizer: Any) -> tuple[dict[str, torch.Tensor], list[str]]:
    if hasattr(tokenizer, "convert_ids_to_tokens"):
        return _of_library(texts, tokenizer)
    rows = [_numbers(tokenizer(text), text) for text in texts]
    longest = max(map(len, rows))
    if longest == 0:
        raise InputError("a text has no tokens", got=repr(texts[0][:NAME_LENGTH]), expected="at least one")
    padded = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    ragged = len({len(row) for row in rows}) > 1
    return {"": padded}, ["shorter texts were filled up with token 0, which the network sees"] if ragged else []


def _of_library(texts: list[str], tokenizer: Any) -> tuple[dict[str, torch.Tensor], list[str]]:
    ragged, notes = len(texts) > 1, list[str]()
    if ragged and tokenizer.pad_token is None:
        rows = [tokenizer(text)["input_ids"] for text in texts]
        longest = max(map(len, rows))
        filler = tokenizer.eos_token_id or 0
        ids = torch.tensor([row + [filler] * (longest - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
        return {"input_ids": ids, "attention_mask": mask}, notes
    found = tokenizer(texts, return_tensors="pt", padding=ragged, truncation=True, **_right(ragged))
    most = getattr(tokenizer, "model_max_length", 0)
    if found["input_ids"].shape[1] == most:
        notes.append(f"texts were cut to the {most} tokens that the network takes")
    return dict(found), notes


def _right(ragged: bool) -> dict[str, str]:
    """Padding on the right, whatever the tokenizer's habit: positions then count from each text's own beginning."""
    return {"padding_side": "right"} if ragged else {}


def _numbers(found: Any, text: str) -> list[int]:
    if isinstance(found, Mapping):
        found = found.get("input_ids", ())
    if isinstance(found, torch.Tensor):
        found = found.flatten().tolist()
    try:
        return [int(number) for number in found]
    except (TypeError, ValueError) as error:
        raise InputError(
            "the tokenizer gave no token numbers",
            got=f"{type(found).__name__} for {text[:NAME_LENGTH]!r}",
            expected="a list of whole numbers for one text",
        ) from error


def token_names(numbers: Sequence[int], tokenizer: Any) -> list[str]:
    """Tokens as people read them: the tokenizer's own, with blanks for its marks of blanks; else the numbers."""
    if hasattr(tokenizer, "convert_ids_to_tokens"):
        names = tokenizer.convert_ids_to_tokens([int(n) for n in numbers])
        return [_readable(name, int(n), tokenizer) for name, n in zip(names, numbers, strict=True)]
    decode = getattr(tokenizer, "decode", None)
    return [str(decode([int(n)])) if decode else str(n) for n in numbers]


def real_tokens(inputs: Inputs, tokenizer: Any) -> Array:
    """(N, L) which tokens are no padding: those of the attention mask; without one all but the tokenizer's padding
    token at both ends of a text, unless it is its end token, too.
    """
    numbers = inputs.main.cpu().numpy()
    mask = inputs.kwargs.get("attention_mask")
    if isinstance(mask, torch.Tensor) and mask.shape == numbers.shape:
        return np.asarray(mask.cpu().numpy() != 0)
    filler = getattr(tokenizer, "pad_token_id", None)
    if filler is None or filler == getattr(tokenizer, "eos_token_id", None):
        return np.ones(numbers.shape, bool)
    words = numbers != filler
    after = np.logical_or.accumulate(words, axis=1)
    before = np.logical_or.accumulate(words[:, ::-1], axis=1)[:, ::-1]
    return np.asarray(after & before)


def _readable(name: Any, number: int, tokenizer: Any) -> str:
    """The token's own text; bytes that are half a character keep the vocabulary's way of writing them."""
    text = str(name)
    if text.isascii() or text[0] == "▁":
        return text.translate(SPACES)
    decoded = str(tokenizer.decode([number]))
    return decoded if decoded and "\ufffd" not in decoded else text.translate(SPACES)


def vocabulary(tokenizer: Any) -> tuple[str, ...]:
    """Every token by number, as the vocabulary writes it with blanks for its marks of blanks."""
    names = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    return tuple(str(name).translate(SPACES) for name in names)


def stand_in(tokenizer: Any) -> tuple[int, str] | None:
    """The token that stands for "nothing known here", and which it is: the mask token, else the unknown, the padding or
    the end token; None where the tokenizer has none of them.
    """
    for name in ("mask", "unk", "pad", "eos"):
        number = getattr(tokenizer, f"{name}_token_id", None)
        if number is not None:
            return int(number), {"unk": "unknown", "pad": "padding", "eos": "end"}.get(name, name)
    return None


def special_tokens(tokenizer: Any) -> frozenset[int]:
    """Numbers of the tokens that are no part of a text, such as its beginning, its end and the padding. An unknown word
    and a mask stand for a word.
    """
    named = (getattr(tokenizer, f"{name}_token_id", None) for name in ("cls", "sep", "bos", "eos", "pad"))
    words = {getattr(tokenizer, f"{name}_token_id", None) for name in ("unk", "mask")}
    return frozenset({int(n) for n in (*named, *getattr(tokenizer, "all_special_ids", ())) if n is not None} - words)


def mask_token(subject: Subject) -> int:
    """The number that stands for "nothing known here": the mask token, else the unknown, else the padding token.

    Raises:
        OptionError: the network has no tokenizer, or one without any of them.
    """
    found = stand_in(subject.tokenizer)
    if found is not None:
        return found[0]
    raise OptionError(
        "there is no mask token",
        got="a network without a tokenizer" if subject.tokenizer is None else type(subject.tokenizer).__name__,
        remedy="name the number of the token that replaces others: baseline=103",
    )
