"""YAML as its readers mean it: 1e-4 is a number (YAML 1.1, which PyYAML reads, takes it for text), a date is text, a
key stands once (PyYAML takes the last of two and says nothing), and what comes out is what JSON can hold."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

_TAG = "tag:yaml.org,2002:"
_HALF = re.compile(r"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_EXPONENT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$")


def parse_yaml(text: str) -> Any:
    """The plain data in a YAML text, of a file or of one value. Raises yaml.YAMLError."""
    import yaml

    if _HALF.search(text):
        raise yaml.YAMLError("a character is half of a surrogate pair: write the whole character")
    try:
        return yaml.load(text, Loader=_loader())
    except yaml.YAMLError:
        raise
    except RecursionError:
        raise yaml.YAMLError("it is nested too deep") from None
    except Exception as error:  # PyYAML's constructors raise whatever Python does, of a number of 5,000 digits say
        raise yaml.YAMLError(f"{type(error).__name__}: {error}") from error


@cache
def _loader() -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        """Of SafeLoader's plain data, what JSON has; numbers with an exponent need neither a point nor a sign."""

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            twice = next((key for place, key in enumerate(keys) if key in keys[:place]), None)
            if twice is not None:
                raise yaml.YAMLError(
                    f"the key '{twice}' stands twice in the mapping in line {node.start_mark.line + 1}"
                )
            return super().construct_mapping(node, deep)

    Loader.yaml_implicit_resolvers = {
        sign: [each for each in found if each[0] != f"{_TAG}timestamp"]
        for sign, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    no_json = {_TAG + name for name in ("timestamp", "binary", "set", "omap", "pairs")}
    makers = yaml.SafeLoader.yaml_constructors
    Loader.yaml_constructors = {tag: make for tag, make in makers.items() if tag not in no_json}
    Loader.add_implicit_resolver(f"{_TAG}float", _EXPONENT, list("-+.0123456789"))
    return Loader
