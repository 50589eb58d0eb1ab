"""The same numbers as the peers. These tests run where the peers are installed: `bash bench/setup.sh`, then
`.venv-bench/bin/python -m pytest tests/parity`.
"""
