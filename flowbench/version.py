"""The version, alone in a file, so that every part may read it without the package's face."""

__version__ = "0.1.0"
