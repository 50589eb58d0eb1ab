"""The command line: one file per command in :mod:`fluoroscope.cli.commands`, thin; what they share lies beside it.

Importing this package loads neither torch nor matplotlib nor numpy; commands import what they need when they run.
Answers and paths go to stdout, everything else to stderr.
"""

from fluoroscope.cli.program import main

__all__ = ["main"]
