"""Plain data (from JSON) as the frozen class that it was written from: every field checked against its annotation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")
_KINDS: Any = cache(get_type_hints)
_WORDS = {str: "text", int: "a whole number", bool: "true or false", float: "a finite number"}


def from_plain(kind: type[T], tree: Any, at: str = "") -> T:
    """The dataclass `kind` from a mapping of its fields. A null is NaN where a float belongs; infinite is nothing.

    Raises ValueError, in words that name the field, for one that is missing (and has no default), unknown or of another
    type. `at`: where the tree lies in a larger one, "metrics.official.".
    """
    if not isinstance(tree, Mapping):
        raise ValueError(f"'{at.rstrip('.')}' is no mapping" if at else "it is no mapping")
    known = {each.name: each.default is MISSING and each.default_factory is MISSING for each in fields(kind)}  # type: ignore[arg-type]
    for name in tree:
        if name not in known:
            raise ValueError(f"'{at}{name}' is none of its fields")
    for name, needed in known.items():
        if needed and name not in tree:
            raise ValueError(f"'{at}{name}' is missing")
    kinds = _KINDS(kind)
    return kind(**{name: _checked(kinds[name], value, f"{at}{name}") for name, value in tree.items()})


def _checked(kind: Any, value: Any, at: str) -> Any:
    """The value, of the type that the annotation names."""
    origin, inner = get_origin(kind), get_args(kind)
    if is_dataclass(kind):
        return from_plain(kind, value, f"{at}.")  # type: ignore[arg-type]
    if origin is UnionType:  # of a type and None
        return None if value is None else _checked(inner[0], value, at)
    if origin is tuple:
        some = enumerate(_of(list, value, at, "a list"))
        return tuple(_checked(inner[0], each, f"{at}[{place}]") for place, each in some)
    if origin is not None and origin is not Literal:
        pairs = _of(dict, value, at, "a mapping").items()
        return {name: _checked(inner[1], each, f"{at}.{name}") for name, each in pairs}
    return value if kind is Any else _plain(kind, value, at)


def _plain(kind: Any, value: Any, at: str) -> Any:
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise ValueError(f"'{at}' is {value!r:.60}, none of {', '.join(map(str, get_args(kind)))}")
        return value
    if kind is float and value is None:
        return math.nan
    if kind is float and type(value) is int and abs(value) < 10**300:
        return float(value)
    value = _of(kind, value, at, _WORDS[kind])
    if kind is float and not math.isfinite(value):
        raise ValueError(f"'{at}' is {value!r} where {_WORDS[kind]} belongs")
    return value


def _of(kind: type, value: Any, at: str, words: str) -> Any:
    if type(value) is not kind:  # not isinstance: True is an int
        raise ValueError(f"'{at}' is {value!r:.60} where {words} belongs")
    return value
