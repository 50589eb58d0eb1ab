"""Diagnosis of a training: rules that look at its record, each with evidence, source and what to try."""

from fluoroscope.training.diagnosis.alerts import Announcement, StopTraining, Webhook
from fluoroscope.training.diagnosis.diagnosing import diagnose
from fluoroscope.training.diagnosis.rule import Rule, Undecided
from fluoroscope.training.diagnosis.watcher import Watcher

__all__ = [
    "Announcement",
    "Rule",
    "StopTraining",
    "Undecided",
    "Watcher",
    "Webhook",
    "diagnose",
]
