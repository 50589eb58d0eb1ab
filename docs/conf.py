"""The manual: Sphinx + MyST. Pages under _generated/ are made from the code each time the manual is built."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import reference  # noqa: E402

import fluoroscope  # noqa: E402

reference.write(HERE / "_generated")

project = "Fluoroscope"
author = "The Fluoroscope authors"
copyright = "The Fluoroscope authors, Apache-2.0"  # noqa: A001
version = release = fluoroscope.__version__

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "_generated/gallery/**", "benchmarks.md"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
nitpicky = True
suppress_warnings = ["misc.highlighting_failure"]  # sketches of formats hold an ellipsis

html_theme = "furo"
html_title = "Fluoroscope"
html_copy_source = False
html_show_sphinx = False
