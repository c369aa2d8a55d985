"""From data sets to batches: which samples a step sees is a function of (seed, step) alone."""
