"""How an interval may be found. Imports nothing heavy, so that a command line can name the methods."""

from __future__ import annotations

from typing import Literal, get_args

Method = Literal["wilson", "percentile", "bca", "analytic"]
METHODS: tuple[Method, ...] = get_args(Method)
DEFAULT: Method = "wilson"
CONFIDENCE, DRAWS = 0.95, 2000
"""What every table shows."""
