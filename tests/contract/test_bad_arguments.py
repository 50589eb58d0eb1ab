"""Bad arguments: unknown names and wrong values are told by the template, at one place for all."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import typing
from types import NoneType
from typing import Any

import numpy as np
import pytest
import torch

import fluoroscope as fs
from fluoroscope.arguments import checked
from fluoroscope.errors import FluoroscopeError, OptionError
from fluoroscope.methods.base import Method
from fluoroscope.methods.registry import methods
from fluoroscope.options import alternatives, type_text
from fluoroscope.results import Record, Result
from fluoroscope.trust.check import Check
from tests.contract.networks import differences, images, network, snapshot


def is_check(found: Any) -> bool:
    return isinstance(found, type) and issubclass(found, Check)


def takes(field: dataclasses.Field[Any], hint: Any, value: Any) -> bool:
    """What the declaration of an option says of a value, written again, slower and simpler."""
    low, high, choices = (field.metadata[name] for name in ("low", "high", "choices"))
    if choices:
        return value in list(choices)
    for kind in (hint,) if typing.get_origin(hint) is tuple else typing.get_args(hint) or (hint,):
        if kind is Any or (kind is NoneType and value is None) or (kind is str and isinstance(value, str)):
            return True
        if kind is bool and value in (True, False) and isinstance(value, bool):
            return True
        whole = isinstance(value, int) and not isinstance(value, bool)
        if (kind is int and whole) or (kind is float and (whole or isinstance(value, float))):
            return bool(np.isfinite(value)) and (low is None or value >= low) and (high is None or value <= high)
        if isinstance(value, list) and str(kind).startswith(("tuple[int", "tuple[float")):
            return True
    return False


OWNERS = [*methods().values(), *(cls for name in fs.__all__ if is_check(cls := getattr(fs, name)))]
BAD: tuple[Any, ...] = ("ten", None, -1, float("nan"), float("inf"), True, 1.5, [1], {"a": 1})


@pytest.mark.parametrize("owner", OWNERS, ids=lambda cls: cls.__name__)
def test_options_take_what_they_declare_and_nothing_else(owner: type[Method] | type[Check]) -> None:
    hints = typing.get_type_hints(owner)
    for field, value in itertools.product(owner.options(), BAD):
        if takes(field, hints[field.name], value):
            continue  # what else it must be, the method says itself
        with pytest.raises(OptionError, match=f"option '{field.name}'") as caught:
            owner(**{field.name: value})
        assert str(value) in str(caught.value.got)
        assert caught.value.expected
        if value == "ten" and {int, float} & set(alternatives(hints[field.name])):
            assert "type" in caught.value.what
            assert "number" in str(caught.value.expected)


def test_lists_become_tuples_and_numbers_of_numpy_are_numbers() -> None:
    made = fs.Occlusion(window=[3, 4], batch_size=np.int64(2))
    assert made.window == (3, 4)
    assert made.settings() == {**fs.Occlusion().settings(), "window": [3, 4], "batch_size": 2}
    assert type(made.settings()["batch_size"]) is int
    assert fs.LIME(ridge=2).ridge == 2


def test_types_in_words() -> None:
    assert type_text(int | None) == "a whole number or none"
    assert type_text(str | tuple[str, ...]) == "names between commas or text"


PUBLIC = [name for name in fs.__all__ if callable(getattr(fs, name))]
MADE_BY_US = [n for n in PUBLIC if isinstance(c := getattr(fs, n), type) and issubclass(c, (Record, FluoroscopeError))]
CALLED = [name for name in PUBLIC if name not in MADE_BY_US]


@pytest.mark.parametrize("name", CALLED)
def test_unknown_names_are_told_with_the_nearest(name: str) -> None:
    found = getattr(fs, name)
    known = [p.name for p in inspect.signature(found).parameters.values() if p.kind is not p.VAR_KEYWORD]
    misspelt = known[0][:-1] + "_" + known[0][-1]
    with pytest.raises(OptionError, match=f"^FS-OPTION: {name} has no (option|argument) '{misspelt}'") as caught:
        found(**{misspelt: 1})
    assert caught.value.nearest is not None
    assert repr(known[0]) in str(caught.value.nearest)


@pytest.mark.parametrize("owner", OWNERS, ids=lambda c: c.__name__)
def test_calls_tell_names_that_they_do_not_take(owner: type[Method] | type[Check]) -> None:
    model = network()
    before = snapshot(model)
    for wrong, shown in (("seed", "it is an option: " + owner.__name__), ("modle", "'model'")):
        if wrong == "modle" and "model" not in inspect.signature(owner.__call__).parameters:
            continue
        with pytest.raises(OptionError, match=f"the call of {owner.__name__} has no argument '{wrong}'") as caught:
            owner()(model, images(), **{wrong: 0})
        assert shown in str(caught.value)
    assert differences(before, snapshot(model)) == []


def test_what_belongs_into_the_call_is_sent_there() -> None:
    with pytest.raises(OptionError, match="GradCAM has no option 'target'") as caught:
        fs.GradCAM(target=3)
    assert caught.value.remedy == "it goes into the call: GradCAM(...)(..., target=...)"


def test_options_given_by_place_and_arguments_left_out() -> None:
    with pytest.raises(OptionError, match="GradCAM: options are given by name") as caught:
        fs.GradCAM("layer4")
    assert caught.value.got == "layer4"
    with pytest.raises(OptionError, match="the call of GradCAM: missing a required argument: 'model'"):
        fs.GradCAM()()
    with pytest.raises(OptionError, match="the call of GradCAM: too many positional arguments"):
        fs.GradCAM()(network(), images(), None, 3)


def test_a_type_error_of_the_function_itself_stays_what_it_is() -> None:
    @checked
    def broken(value: Any) -> Any:
        return value + "text"

    assert broken("a ") == "a text"
    with pytest.raises(TypeError, match="unsupported operand"):
        broken(1)
    assert inspect.signature(broken).parameters.keys() == {"value"}
    assert isinstance(fs.GradCAM()(network(), images(), target=torch.ones(5)), Result)


def test_a_type_error_of_the_work_itself_stays_what_it_is() -> None:
    def work(a: int) -> int:
        return a + typing.cast(int, "b")

    with pytest.raises(TypeError, match="unsupported operand") as caught:
        checked(work)(1)
    assert not isinstance(caught.value, FluoroscopeError)
    with pytest.raises(OptionError, match="has no argument 'c'"):
        typing.cast(Any, checked(work))(c=1)
