"""Benchmarks: what is promised about speed and memory, measured beside the peers. Run ``python -m bench``."""
