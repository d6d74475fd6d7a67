"""Suites: one file each, their catalogue, and suites of one's own in YAML files."""
