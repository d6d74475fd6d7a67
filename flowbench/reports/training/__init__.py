"""The report of a training run: curves, samples, and what it gained."""
