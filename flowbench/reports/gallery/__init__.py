"""Galleries: every picture of an evaluation, or of two side by side, on one page."""
