"""YAML as its readers mean it: 1e-4 is a number, and a key stands once. (YAML 1.1, which PyYAML reads, takes the first
for text; PyYAML takes the last of two equal keys and says nothing.)"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

_EXPONENT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$")


def parse_yaml(text: str) -> Any:
    """The plain data in a YAML text, of a file or of one value. Raises yaml.YAMLError."""
    import yaml

    try:
        return yaml.load(text, Loader=_loader())
    except RecursionError:
        raise yaml.YAMLError("it is nested too deep") from None
    except ValueError as error:  # a date that is none
        raise yaml.YAMLError(str(error)) from None


@cache
def _loader() -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        """Plain data only, as SafeLoader; numbers with an exponent need neither a point nor a sign."""

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            twice = next((key for place, key in enumerate(keys) if key in keys[:place]), None)
            if twice is not None:
                raise yaml.YAMLError(
                    f"the key '{twice}' stands twice in the mapping in line {node.start_mark.line + 1}"
                )
            return super().construct_mapping(node, deep)

    Loader.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+.0123456789"))
    return Loader
