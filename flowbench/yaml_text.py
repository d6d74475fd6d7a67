"""YAML as its readers mean it: 1e-4 is a number. (YAML 1.1, which PyYAML reads, takes it for text.)"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

_EXPONENT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$")


def parse_yaml(text: str) -> Any:
    """The plain data in a YAML text, of a file or of one value. Raises yaml.YAMLError."""
    import yaml

    return yaml.load(text, Loader=_loader())


@cache
def _loader() -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        """Plain data only, as SafeLoader; numbers with an exponent need neither a point nor a sign."""

    Loader.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+.0123456789"))
    return Loader
