"""Activations: what layers put out."""
