"""Where networks come from: Python files and packages, model libraries, saved programs. One file for each source."""
