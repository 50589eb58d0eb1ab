"""``fluoroscope demo``: a real network, real handwriting, and the true place of the evidence known."""
