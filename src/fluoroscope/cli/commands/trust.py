"""``fluoroscope trust``: whether the pictures of attribution can be believed, for this network and these inputs."""

from __future__ import annotations

import dataclasses
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fluoroscope.cli.console import Console, printable
from fluoroscope.cli.files import check_writable, write_figure, write_result
from fluoroscope.cli.network import Network, check_layers
from fluoroscope.cli.options import (
    Command,
    answer_options,
    input_options,
    method_options,
    model_argument,
    network_options,
    out_option,
    target_option,
)
from fluoroscope.cli.pictures import Pictures
from fluoroscope.cli.scores import say_scores
from fluoroscope.cli.settings import Settings, converted, parsed
from fluoroscope.errors import InputError, OptionError, nearest

if TYPE_CHECKING:
    from fluoroscope.results import Scorecard
    from fluoroscope.trust.check import Check

__all__ = ["CHECKS", "command"]

CHECKS = {
    "agreement": "Agreement",
    "deletion": "Deletion",
    "infidelity": "Infidelity",
    "insertion": "Insertion",
    "localization": "Localization",
    "max-sensitivity": "MaxSensitivity",
    "pointing-game": "PointingGame",
    "randomization": "Randomization",
    "road": "ROAD",
    "sensitivity-n": "SensitivityN",
}
DEFAULT = ("grad-cam", "saliency")


@click.command("trust", cls=Command, short_help="Can the pictures be believed? A table of checks.")
@model_argument()
@input_options
@click.option(
    "--method",
    "methods",
    multiple=True,
    metavar="NAME",
    help=f"Method of attribution. Repeatable.  [default: {', '.join(DEFAULT)}]",
)
@click.option(
    "--check",
    "checks",
    multiple=True,
    metavar="NAME",
    help=f"Only this check. Repeatable: {', '.join(CHECKS)}.  [default: a usual set]",
)
@click.option(
    "--masks", type=click.Path(path_type=Path), metavar="FILE", help="Where the evidence is: .npy (N, H, W), 0 and 1."
)
@target_option
@network_options
@method_options
@out_option("fluoroscope-out", "Folder for trust.png and trust.fluo.")
@answer_options
def command(
    model: str,
    network: Network,
    pictures: Pictures,
    methods: tuple[str, ...],
    checks: tuple[str, ...],
    masks: Path | None,
    target: Any,
    settings: Settings,
    out: Path,
    console: Console,
) -> None:
    """Check methods of attribution on MODEL: do maps hang on what it learned, and name what moves its score?

    Each method stands beside controls that ask no network: random maps and an edge detector. The verdicts say in words
    what the numbers show, and the last line what is not claimed. --set CHECK.OPTION=VALUE sets an option of a
    check that is named with --check: --check deletion --set deletion.baseline=blur.
    """
    from fluoroscope.methods.registry import find_method
    from fluoroscope.results import Attribution
    from fluoroscope.trust.checking import check_trust

    check_writable(out / "figure.png")
    common = {"seed": settings.seed or 0, "batch_size": settings.batch_size or 32}
    own, settings = _for_checks(settings, checks)
    asked = [_check(name, **{**common, **own.get(name, {})}) for name in dict.fromkeys(checks)]
    blind = next((check for check in asked if check.needs_masks), None) if masks is None else None
    if blind is not None:
        raise OptionError(
            f"{blind.title} needs masks", got="none", expected="--masks FILE.npy: (N, H, W), 1 where the evidence is"
        )
    chosen = settings.methods([find_method(name, Attribution) for name in dict.fromkeys(methods or DEFAULT)])
    bare = network.load(model, console)
    check_layers(bare, chosen)
    subject, data = pictures.prepared(bare, console)
    network.check_names(subject, data)
    known = None if masks is None else _masks(masks, data.count)
    with console.progress():
        card = check_trust(chosen, subject, data, known, target=target, checks=asked or None, **common)
    paths = [write_result(card, out / "trust"), write_figure(card, out / "trust.png")]
    _say(card, paths, console)
    names = ("rows", "columns", "units", "better", "verdicts", "caption", "notes")
    numbers = {name: getattr(card, name) for name in ("table", "errors", "reference")}
    console.answer({"model": subject.title, **{n: getattr(card, n) for n in names}, **numbers, "files": paths})


def _for_checks(settings: Settings, checks: tuple[str, ...]) -> tuple[dict[str, dict[str, Any]], Settings]:
    """The options that ``--set`` gives to checks, by check, and the settings that are left for the methods."""
    found: dict[str, dict[str, Any]] = {}
    left = []
    for text in settings.assignments:
        owner, name, value = parsed(text)
        if owner not in CHECKS:
            left.append(text)
            continue
        if owner not in checks:
            raise OptionError(f"{text} is for a check that was not named", remedy=f"add --check {owner}")
        cls = type(_check(owner))
        known = [f.name for f in cls.options()]
        if name not in known:
            raise OptionError(
                f"no option {name!r} for {owner}", expected=", ".join(known), nearest=nearest(name, known)
            )
        found.setdefault(owner, {})[name] = converted(value, typing.get_type_hints(cls)[name], f"{owner}.{name}")
    return found, dataclasses.replace(settings, assignments=tuple(left))


def _check(name: str, **options: Any) -> Check:
    import fluoroscope

    if name not in CHECKS:
        raise OptionError(
            "no check of that name", got=name, expected=", ".join(CHECKS), nearest=nearest(name.lower(), CHECKS)
        )
    made: Check = getattr(fluoroscope, CHECKS[name])(**options)
    return made


def _masks(file: Path, count: int) -> Any:
    import numpy as np

    try:
        found = np.load(file, allow_pickle=False)
    except Exception as error:  # missing files and broken headers come as many kinds
        got = f"{type(error).__name__}: {error}"
        raise InputError(f"the masks in {file} can't be read", got=got, expected="a .npy file (N, H, W)") from error
    return found[:count]


def _say(card: Scorecard, paths: list[Path], console: Console) -> None:
    say_scores(card, console)
    for note in card.notes:
        console.note(f"note: {note}")
    console.say()
    for path in paths:
        console.say(printable(path))
