"""Texts: what a tokenizer makes of them, as the inputs of a network, padded to one length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from fluoroscope.errors import InputError, OptionError
from fluoroscope.model.inputs import Inputs
from fluoroscope.model.tokenizing import NAME_LENGTH, of_function

if TYPE_CHECKING:
    from fluoroscope.model.subject import Subject

__all__ = [
    "are_texts",
    "mask_token",
    "special_tokens",
    "stand_in",
    "token_names",
    "tokenized",
    "vocabulary",
]

SPACES = str.maketrans({"Ġ": " ", "▁": " ", "Ċ": "\n"})
"""How byte-pair and sentence-piece vocabularies write a blank and the end of a line."""


def are_texts(inputs: Any) -> bool:
    """Whether inputs are a text or a list of texts."""
    return isinstance(inputs, str) or (
        isinstance(inputs, (list, tuple)) and bool(inputs) and all(isinstance(i, str) for i in inputs)
    )


def tokenized(texts: str | Sequence[str], subject: Subject) -> Inputs:
    """Texts as inputs of the network, with the names of their tokens.

    A tokenizer of transformers gives keyword inputs (N, L), the attention mask among them; any other is a function of
    one text (:func:`~fluoroscope.model.tokenizing.of_function`).

    Raises:
        InputError: a text without tokens, or a tokenizer that gives something else than token numbers.
    """
    texts = [texts] if isinstance(texts, str) else list(texts)
    names = tuple(" ".join(text.split())[:NAME_LENGTH] or "(empty text)" for text in texts)
    if hasattr(subject.tokenizer, "model_max_length"):  # as all tokenizers of transformers have it
        made = _of_library(texts, subject.tokenizer)
    else:
        made = of_function(texts, subject.tokenizer, subject.module)
    features = tuple(tuple(token_names(row, subject.tokenizer)) for row in made.main.tolist())
    return replace(made, names=names, features=features)


def _of_library(texts: list[str], tokenizer: Any) -> Inputs:
    ragged, notes = len(texts) > 1, list[str]()
    if ragged and tokenizer.pad_token is None:
        rows = [tokenizer(text)["input_ids"] for text in texts]
        longest = max(map(len, rows))
        filler = tokenizer.eos_token_id or 0
        ids = torch.tensor([row + [filler] * (longest - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
        found = {"input_ids": ids, "attention_mask": mask}
    else:
        found = dict(tokenizer(texts, return_tensors="pt", padding=ragged, truncation=True, **_right(ragged)))
        most = tokenizer.model_max_length
        if found["input_ids"].shape[1] == most:
            notes.append(f"texts were cut to the {most} tokens that the network takes")
    lengths = found.get("attention_mask", torch.ones_like(found["input_ids"])).sum(1).tolist()
    for text, length in zip(texts, lengths, strict=True):
        if not length:
            raise InputError("a text has no tokens", got=repr(text[:NAME_LENGTH]), expected="at least one")
    return Inputs((), found, len(texts), notes=tuple(notes))


def _right(ragged: bool) -> dict[str, str]:
    """Padding on the right, whatever the tokenizer's habit: positions then count from each text's own beginning."""
    return {"padding_side": "right"} if ragged else {}


def token_names(numbers: Sequence[int], tokenizer: Any) -> list[str]:
    """Tokens as people read them: the tokenizer's own, with blanks for its marks of blanks; else the numbers."""
    if hasattr(tokenizer, "convert_ids_to_tokens"):
        names = tokenizer.convert_ids_to_tokens([int(n) for n in numbers])
        return [_readable(name, int(n), tokenizer) for name, n in zip(names, numbers, strict=True)]
    decode = getattr(tokenizer, "decode", None)
    return [str(decode([int(n)])) if decode else str(n) for n in numbers]


def _readable(name: Any, number: int, tokenizer: Any) -> str:
    """The token's own text; bytes that are half a character keep the vocabulary's way of writing them."""
    text = str(name)
    if text.isascii() or text[0] == "▁":
        return text.translate(SPACES)
    decoded = str(tokenizer.decode([number])) if hasattr(tokenizer, "decode") else ""
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
        remedy="baseline=103, the number of a token, or fs.Subject(model, tokenizer=...)",
    )
