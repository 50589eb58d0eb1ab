"""``python -m fluoroscope.cli``: the same as ``fluoroscope``."""

from fluoroscope.cli.program import main

main()
