"""A scorecard as text: every number once, under its method, in lines of ordinary width."""

from __future__ import annotations

import io

import numpy as np

from fluoroscope.cli.console import Console
from fluoroscope.cli.scores import WIDTH, say_scores
from fluoroscope.results import Scorecard

METHODS = ("Saliency", "Grad-CAM", "Integrated gradients", "Occlusion", "LIME", "KernelSHAP")
MEASURES = ("rank correlation, all layers random", "deletion", "rise of complexity")


def card() -> Scorecard:
    rows = (*METHODS, "Control: random, 7 x 7", "Control: edges")
    table = np.arange(len(rows) * 3, dtype=float).reshape(len(rows), 3) / 100 + 0.111
    table[0, 1] = np.nan
    return Scorecard(
        rows=rows,
        columns=MEASURES,
        table=table,
        errors=np.where(np.isnan(table), np.nan, 0.002),
        units=("", "", "share"),
        better=("low", "low", "high"),
        reference=(np.nan, 0.5, np.nan),
        verdicts=tuple(f"verdict {i}, " + "better than a random map by this and that " * 5 for i in range(len(rows))),
        caption="On 4 inputs.",
    )


def said(shown: Scorecard) -> list[str]:
    console = Console()
    console.out = io.StringIO()
    say_scores(shown, console)
    return console.out.getvalue().splitlines()


def test_no_line_is_wider_than_a_page_and_every_number_is_under_its_method() -> None:
    shown = card()
    lines = said(shown)
    assert max(map(len, lines)) <= WIDTH
    heads = [i for i, line in enumerate(lines) if line.startswith("measure")]
    assert len(heads) > 1
    for name in (*METHODS, "edges"):
        (head,) = [i for i in heads if name in lines[i]]
        end = lines[head].index(name) + len(name)
        row = [r.removeprefix("Control: ") for r in shown.rows].index(name)
        for c, measure in enumerate(MEASURES):
            line = next(text for text in lines[head:] if measure in text)
            number = line[:end].split("  ")[-1].strip()
            value = shown.table[row, c]
            expected = f"{value * 100:.1f} % ± 0.2 %" if c == 2 else f"{round(value, 3):g} ± 0.002"
            assert number == ("" if np.isnan(value) else expected)
            assert line.startswith("↑" if c == 2 else "↓")
    assert not any("random, 7 x 7" in line for line in lines)
    assert sum("0.5" in line.split()[-1] for line in lines if "deletion" in line) == len(heads)


def test_verdicts_are_whole_and_wrapped_below_the_table() -> None:
    shown = card()
    text = " ".join(line.strip() for line in said(shown))
    for row, verdict in zip(shown.rows, shown.verdicts, strict=True):
        assert (f"{row}: {verdict.strip()}" in text) == (not row.startswith("Control: "))
