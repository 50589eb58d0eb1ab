"""Gradient attribution: how the score changes with the input."""
