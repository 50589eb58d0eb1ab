"""Findings: what a diagnosis found, with the curves it rests on."""

from __future__ import annotations

from typing import Any

from fluoroscope.render.blobs import Blobs
from fluoroscope.render.panels.curves import curve
from fluoroscope.render.panels.registry import Panel, builder, head
from fluoroscope.results import Finding, Findings

__all__ = ["findings_panel"]


@builder("findings")
def findings_panel(results: list[Findings], blobs: Blobs) -> Panel:
    """One panel per result, findings in their order."""
    result = results[0]
    return {
        **head(result),
        "items": [_finding(item, blobs) for item in result.items],
        "checked": list(result.checked),
        "skipped": [[rule, reason] for rule, reason in result.skipped.items()],
    }


def _finding(item: Finding, blobs: Blobs) -> dict[str, Any]:
    return {
        "rule": item.rule,
        "title": item.title,
        "severity": item.severity,
        "confidence": float(item.confidence),
        "layers": list(item.layers),
        "steps": [int(s) for s in item.steps],
        "evidence": item.evidence,
        "numbers": [[name, float(number)] for name, number in item.numbers.items()],
        "series": [curve(name, series, blobs) for name, series in item.series.items()],
        "reference": float(item.reference),
        "advice": list(item.advice),
        "source": item.source,
    }
