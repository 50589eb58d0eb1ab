"""``python -m fluoroscope``: the same as ``fluoroscope``."""

from fluoroscope.cli import main

main()
