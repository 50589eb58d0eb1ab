"""Options that commands share. A group of options reaches the command as one object that knows what to do with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import wraps
from pathlib import Path
from typing import Any

import click

from fluoroscope.cli.console import Console
from fluoroscope.cli.network import DTYPES, Network
from fluoroscope.cli.pictures import Pictures
from fluoroscope.cli.settings import Settings
from fluoroscope.cli.value_types import Numbers, Target

__all__ = [
    "Command",
    "answer_options",
    "input_options",
    "layer_option",
    "method_options",
    "model_argument",
    "network_options",
    "out_option",
    "target_option",
]

Function = Callable[..., Any]
PRESETS = "imagenet, cifar10, mnist, unit ([0, 1]) or signed ([-1, 1])"


class Command(click.Command):
    """A command whose body can't spoil stdout: what a user's network prints goes to stderr."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the body."""
        with _console().guarded():
            return super().invoke(ctx)


def _console() -> Console:
    context = click.get_current_context().find_root()
    return context.ensure_object(Console)


def _grouped(name: str, group: Any, options: Sequence[Function]) -> Callable[[Function], Function]:
    """A decorator that adds ``options`` and hands their values over as one ``group`` under ``name``."""

    def decorate(function: Function) -> Function:
        @wraps(function)
        def collected(*args: Any, **values: Any) -> Any:
            mine = {f.name: values.pop(f.name) for f in fields(group) if f.name in values}
            return function(*args, **{name: group(**mine)}, **values)

        made: Function = collected
        for option in reversed(options):
            made = option(made)
        return made

    return decorate


def _flag(name: str) -> Callable[[click.Context, click.Parameter, bool], None]:
    def remember(context: click.Context, _: click.Parameter, value: bool) -> None:
        if value:
            setattr(context.find_root().ensure_object(Console), name, True)

    return remember


def answer_options(function: Function) -> Function:
    """``--json``, ``-v``, ``-q``; the command gets ``console``."""
    eager: dict[str, Any] = {"is_flag": True, "expose_value": False, "is_eager": True}
    texts = {
        ("--json",): ("json", "Print one JSON object on stdout, also for errors."),
        ("-v", "--verbose"): ("verbose", "Show tracebacks and the warnings of libraries."),
        ("-q", "--quiet"): ("quiet", "No progress and no notes on stderr."),
    }

    @wraps(function)
    def with_console(*args: Any, **values: Any) -> Any:
        return function(*args, console=_console(), **values)

    made: Function = with_console
    for names, (name, text) in reversed(texts.items()):
        made = click.option(*names, callback=_flag(name), help=text, **eager)(made)
    return made


def model_argument(required: bool = True) -> Callable[[Function], Function]:
    """The argument MODEL."""
    return click.argument("model", metavar="MODEL", required=required)


def network_options(function: Function) -> Function:
    """Everything that says which network and how it computes; the command gets ``network``."""
    options = [
        click.option(
            "--weights", type=click.Path(path_type=Path), metavar="FILE", help="Weights: .safetensors or .pt."
        ),
        click.option("--weights-partly", is_flag=True, help="Take what fits of --weights; the rest is told."),
        click.option(
            "--arg", "arguments", multiple=True, metavar="KEY=VALUE", help="Argument of the factory. Repeatable."
        ),
        click.option("--trust", is_flag=True, help="Open files that can run code (.pt2)."),
        click.option(
            "--classes", type=click.Path(path_type=Path), metavar="FILE", help="Names of classes, one per line."
        ),
        click.option(
            "--input-shape", type=Numbers(int, low=1), metavar="C,H,W", help="Shape of one example: 3,224,224."
        ),
        click.option("--device", metavar="NAME", help="cpu, cuda, cuda:1, mps.  [default: where the network is]"),
        click.option(
            "--dtype", type=click.Choice(DTYPES), help="Number format to compute in.  [default: the network's]"
        ),
    ]
    return _grouped("network", Network, options)(function)


def input_options(function: Function) -> Function:
    """What the network is given; the command gets ``pictures``."""
    options = [
        click.option(
            "--images",
            type=click.Path(path_type=Path),
            multiple=True,
            metavar="PATH",
            help="File or folder. Repeatable.",
        ),
        click.option(
            "--inputs",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="Ready inputs (N, ...): .npy, or .npz by name.",
        ),
        click.option("--text", "texts", multiple=True, metavar="TEXT", help="A text to be read. Repeatable."),
        click.option("--preprocess", metavar="NAME", help=f"How pictures are scaled: {PRESETS}."),
        click.option(
            "--size", type=Numbers(int, low=1), metavar="PIXELS", help="Side of the network's input, or height,width."
        ),
        click.option(
            "--mean", type=Numbers(float), metavar="NUMBERS", help="Taken off each channel: 0.485,0.456,0.406."
        ),
        click.option("--std", type=Numbers(float), metavar="NUMBERS", help="Each channel is divided by it."),
        click.option("--channels", type=click.Choice(["1", "3"]), help="1 for grey pictures, 3 for RGB."),
        click.option(
            "--limit",
            type=click.IntRange(1),
            default=8,
            show_default=True,
            help="How many inputs are looked at, at most.",
        ),
    ]
    return _grouped("pictures", Pictures, options)(function)


def method_options(function: Function) -> Function:
    """Options of the methods themselves; the command gets ``settings``."""
    text = "Option of a method, OPTION=VALUE or METHOD.OPTION=VALUE (see `fluoroscope methods`). Repeatable."
    options = [
        click.option("--batch-size", type=click.IntRange(1), help="Inputs per batch.  [default: 16]"),
        click.option("--seed", type=click.IntRange(0), help="Seed of everything random.  [default: 0]"),
        click.option("--set", "assignments", multiple=True, metavar="OPTION=VALUE", help=text),
    ]
    return _grouped("settings", Settings, options)(function)


def target_option(function: Function) -> Function:
    """``--target``."""
    text = "Class number or name, predicted, or topK such as top3."
    return click.option("--target", type=Target(), default="predicted", show_default=True, help=text)(function)


def layer_option(function: Function) -> Function:
    """``--layer``, several times."""
    return click.option("--layer", "layers", multiple=True, metavar="NAME", help="Layer to look at. Repeatable.")(
        function
    )


def out_option(default: str, text: str) -> Callable[[Function], Function]:
    """``--out``."""
    kind = click.Path(path_type=Path)
    return click.option("--out", type=kind, default=default, show_default=True, metavar="PATH", help=text)
