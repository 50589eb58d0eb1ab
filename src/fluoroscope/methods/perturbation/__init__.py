"""Perturbation attribution: how the score changes when parts of the input are covered, replaced or left out."""
