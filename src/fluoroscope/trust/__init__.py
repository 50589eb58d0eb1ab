"""Is this picture true? Sanity checks and scores of faithfulness for any method of attribution."""
