"""Pages of the manual that are made from the code, so that nothing in them is written twice."""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from fluoroscope import results
from fluoroscope.cli import main as command_line
from fluoroscope.cli.outcome import EXIT_CODES
from fluoroscope.errors import error_classes
from fluoroscope.methods.base import PHASES, Method
from fluoroscope.methods.registry import methods

PHASE_TITLES = {
    "before": "Before training",
    "during": "During training",
    "after": "After training",
    "inference": "At inference",
}


def write(folder: Path) -> None:
    """Write every generated page into ``folder``; a page that has not changed keeps its time."""
    folder.mkdir(parents=True, exist_ok=True)
    pages: dict[str, Callable[[], str]] = {
        "methods": methods_page,
        "results": results_page,
        "commands": commands_page,
        "errors": errors_page,
        "benchmarks": benchmarks_page,
    }
    for name, page in pages.items():
        path, text = folder / f"{name}.md", page()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


# ---------------------------------------------------------------------------------------------------------------------


def methods_page() -> str:
    """Every registered method, in the order of the life cycle, with its options."""
    lines = ["# Methods", "", "Every method, in the order of a network's life. The fields of a method are its options:"]
    lines += ["keyword arguments in Python, flags on the command line.", "", *common_options(), ""]
    for phase in PHASES:
        found = [cls for cls in methods().values() if cls.phase == phase]
        if found:
            lines += [f"## {PHASE_TITLES[phase]}", ""]
            for cls in found:
                lines += method_section(cls)
    return "\n".join(lines)


def common_options() -> list[str]:
    """The options that every method has."""
    return ["All of them take these:", "", *option_table(dataclasses.fields(Method))]


def method_section(cls: type[Method]) -> list[str]:
    """One method: what it is, what it needs and returns, its own options."""
    common = {f.name for f in dataclasses.fields(Method)}
    own = [f for f in cls.options() if f.name not in common]
    facts = [
        ["name", f"`{cls.name}`"],
        ["needs", ", ".join(["a network", *sorted(cls.needs)])],
        ["returns", f"[{cls.returns.__name__}](results.md#{cls.returns.__name__.lower()})"],
        *([["source", cls.source]] if cls.source else []),
    ]
    lines = [f"### {cls.__name__}", "", prose(cls), "", *table(["", ""], facts), ""]
    return lines + ([*option_table(own), ""] if own else [])


def option_table(fields: Iterable[dataclasses.Field[Any]]) -> list[str]:
    """Options with their defaults and what they mean."""
    rows = [[f"`{f.name}`", f"`{f.default!r}`", meaning(f)] for f in fields]
    return table(["option", "default", "meaning"], rows)


def meaning(field: dataclasses.Field[Any]) -> str:
    """An option's help, with the values that it accepts."""
    text = str(field.metadata.get("help", ""))
    if field.metadata.get("choices"):
        text += "; one of " + ", ".join(f"`{c}`" for c in field.metadata["choices"])
    low, high = field.metadata.get("low"), field.metadata.get("high")
    if low is not None and high is not None:
        return f"{text}; {low} to {high}"
    return text + (f"; at least {low}" if low is not None else f"; at most {high}" if high is not None else "")


# ---------------------------------------------------------------------------------------------------------------------


def results_page() -> str:
    """Every record and result with its fields and what can be asked of it."""
    made = [getattr(results, name) for name in results.__all__]
    kinds = [c for c in made if inspect.isclass(c) and issubclass(c, results.Record) and c is not results.Record]
    shown = sorted(kinds, key=lambda c: (c is not results.Result, not issubclass(c, results.Result), c.__name__))
    lines = [
        "# Results",
        "",
        "Raw values, what they mean, and where they came from: NumPy only, saved without pickle.",
        "",
    ]
    for cls in shown:
        lines += [f"## {cls.__name__}", "", prose(cls), "", *fields_table(cls), "", *members(cls)]
    return "\n".join(lines)


def fields_table(cls: type[Any]) -> list[str]:
    """The fields a record adds to those that every result has."""
    inherited = {f.name for f in dataclasses.fields(results.Result)} if cls is not results.Result else set()
    rows = []
    for f in dataclasses.fields(cls):
        if f.name not in inherited:
            axes = " or ".join(f"({', '.join(a)})" for a in f.metadata.get("axes", ()))
            rows.append([f"`{f.name}`", f"`{type_name(f.type)}`", axes])
    return table(["field", "type", "axes"], rows) if rows else []


def type_name(annotation: object) -> str:
    return annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))


def members(cls: type[Any]) -> list[str]:
    """Public properties and methods that the class itself defines."""
    lines = []
    for name, member in vars(cls).items():
        inner = member.fget if isinstance(member, property) else member
        if name.startswith("_") or not inspect.isfunction(inner) or not inner.__doc__:
            continue
        call = "" if isinstance(member, property) else signature(inner)
        lines += [f"`.{name}{call}`", f": {indent(prose(inner))}", ""]
    return lines


def signature(function: Callable[..., Any]) -> str:
    """The call as a reader writes it: no ``self``, no quotes around types."""
    return re.sub(r"\(self(, )?", "(", str(inspect.signature(function))).replace("'", "")


# ---------------------------------------------------------------------------------------------------------------------


def commands_page() -> str:
    """The help of every command, as the command line prints it."""
    root = typing.cast(click.Group, command_line)
    settings = {**root.context_settings, "terminal_width": 100, "max_content_width": 100}
    context = click.Context(root, info_name="fluoroscope", **settings)
    lines = ["# Commands", "", "```text", root.get_help(context), "```", ""]
    for name in root.list_commands(context):
        command = root.get_command(context, name)
        if command is not None and not command.hidden:
            inner = click.Context(command, info_name=name, parent=context, **settings)
            lines += [f"## {name}", "", "```text", command.get_help(inner), "```", ""]
    return "\n".join([*lines, "Progress and log go to stderr, answers to stdout. Exit codes: [errors](errors.md).", ""])


ERRORS = """# Errors and exit codes

Every message has one form: what failed, what was got, what was expected, the nearest name, and what to do.

```text
{example}
```

The code stays, so that it can be searched for; the exit code is that of the command line. Each error is also one of
Python's own, so that `except ValueError` still works.

{table}

## Exit codes

{exits}

With `--json`, an error is an object with the same parts.
"""


def errors_page() -> str:
    """Codes, exit codes and meanings of all errors."""
    rows = [[f"`{c.code}`", f"`{c.__name__}`", str(c.exit_code), builtin(c), c.meaning] for c in error_classes()]
    made = table(["code", "class", "exit code", "is also", "meaning"], rows)
    exits = table(["exit code", "meaning"], [[str(code), text] for code, text in EXIT_CODES])
    return ERRORS.format(example=example_error(), table="\n".join(made), exits="\n".join(exits))


def benchmarks_page() -> str:
    """What ``make bench`` measured last, where it was run."""
    measured = Path(__file__).parent / "benchmarks.md"
    if measured.exists():
        return measured.read_text(encoding="utf-8")
    return "# Benchmarks\n\n`make bench` compares with the peers and writes this page; nothing has been measured yet.\n"


def builtin(cls: type[Exception]) -> str:
    """The built-in exceptions an error also is."""
    return ", ".join(f"`{b.__name__}`" for b in cls.__bases__ if b.__module__ == "builtins" and b is not Exception)


def example_error() -> str:
    """A real message, made by the class itself."""
    from fluoroscope.errors import LayerError, nearest

    known = ["layer3", "layer4", "avgpool"]
    return LayerError(
        "the network has no layer 'layr4'",
        expected=f"one of {len(known)} layers",
        nearest=nearest("layr4", known),
        remedy="list them: fs.layers(model), or fluoroscope layers MODEL",
    ).render()


# ---------------------------------------------------------------------------------------------------------------------


def prose(thing: object) -> str:
    """A docstring as Markdown: roles become code, formulas become blocks, ``Raises:`` becomes a list."""
    text = inspect.getdoc(thing) or ""
    text = re.sub(r":\w+:`~[^`]*?([^`.]+)`", r"`\1`", text)
    text = re.sub(r":\w+:`([^`]+)`", r"`\1`", text)
    text = re.sub(r"^\.\. math::(.*\n?(?:[ ]+\S.*\n?)*)", formula, text, flags=re.MULTILINE)
    text = re.sub(r"^Raises:\n((?:    .*\n?)+)", raises, text, flags=re.MULTILINE)
    return text.strip()


def formula(match: re.Match[str]) -> str:
    lines = "\n".join(line.strip() for line in match[1].strip().splitlines())
    return f"```{{math}}\n{lines}\n```\n"


def raises(match: re.Match[str]) -> str:
    entries = re.sub(r"\n\s{8,}", " ", match[1])
    rows = [line.strip().partition(":") for line in entries.splitlines() if line.strip()]
    return "Raises:\n\n" + "\n".join(f"- `{name}`: {text.strip()}" for name, _, text in rows) + "\n"


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """A Markdown table."""
    cells = [[c.replace("|", "\\|").replace("\n", " ") for c in row] for row in rows]
    return [f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *cells]]


def indent(text: str) -> str:
    return text.replace("\n", "\n  ")
