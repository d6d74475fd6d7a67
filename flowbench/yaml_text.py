"""YAML as its readers mean it: 1e-4 is a number (YAML 1.1, which PyYAML reads, takes it for text), a date is text, and
what comes out is what JSON can hold."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

_TAG = "tag:yaml.org,2002:"
_EXPONENT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$")


def parse_yaml(text: str) -> Any:
    """The plain data in a YAML text, of a file or of one value. Raises yaml.YAMLError."""
    import yaml

    try:
        return yaml.load(text, Loader=_loader())
    except yaml.YAMLError:
        raise
    except Exception as error:  # whatever Python does under PyYAML: a number of 5,000 digits is a ValueError
        raise yaml.YAMLError(f"{type(error).__name__}: {error}") from error


@cache
def _loader() -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        """Of SafeLoader's plain data, what JSON has; numbers with an exponent need neither a point nor a sign."""

    Loader.yaml_implicit_resolvers = {
        sign: [each for each in found if each[0] != f"{_TAG}timestamp"]
        for sign, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    no_json = {_TAG + name for name in ("timestamp", "binary", "set", "omap", "pairs")}
    makers = yaml.SafeLoader.yaml_constructors
    Loader.yaml_constructors = {tag: make for tag, make in makers.items() if tag not in no_json}
    Loader.add_implicit_resolver(f"{_TAG}float", _EXPONENT, list("-+.0123456789"))
    return Loader
