"""Weights: what the network has learned, without any data."""
