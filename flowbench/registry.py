"""Names that come from outside the program (command line, configuration, plugins) -> the factories behind them."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib.machinery import SourceFileLoader
from importlib.metadata import entry_points
from pathlib import Path
from types import CodeType
from typing import Any

from flowbench.errors import ConfigError, FlowbenchError, MissingFile, NameTaken, UnknownName, in_words
from flowbench.foreign_code import diverted
from flowbench.terminal import say

_NAME = re.compile(r"\w[\w.+-]{0,99}")
"""What a name may be: it is written in command lines (NAME=WEIGHT, NAME.OPTION=VALUE, NAME,NAME), tables and files."""
_RESERVED = {"value"}
"""Stands for a score itself, wherever its parts have names."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """' Did you mean ...?' when a known name is close, else an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" Did you mean '{close[0]}'?" if close else ""


class Registry:
    """A table of one kind of plugin.

    A target is an object, or `"module:attribute"`, imported when it is first asked for. Packages may add their own
    through the entry-point group `group`; these are looked at only when a name is not found or the names are listed.
    `factories`: every object is a factory, whose keyword parameters are its options.
    """

    additions = 0
    """How often anything was registered in any table: a plugin file that adds nothing is most likely a mistake."""

    def __init__(self, kind: str, group: str | None = None, *, factories: bool = False, cards: type = object):
        self.kind = kind
        self.group = group
        self.factories = factories
        self.cards = cards
        self._targets: dict[str, Any] = {}
        self._cards: dict[str, Any] = {}
        self._lines: dict[str, str] = {}
        self._entry_points_read = False

    def add(self, name: str, target: Any, *, card: Any = None, line: str | None = None) -> None:
        """Register `target` under `name`; `line` says in a sentence what it is, so that a list need not import it.

        Raises NameTaken when another object holds the name already, ConfigError for what can be no name or no factory.
        """
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name in _RESERVED:
            raise ConfigError(
                f"{name!r} cannot be the name of a {self.kind}. Take at most 100 letters, digits, '_', '-', '.' and "
                "'+', the first a letter or digit, and not 'value'."
            )
        if not isinstance(target, str):
            self._check_factory(name, target)
        for what, given, wanted in (("card", card, self.cards), ("line", line, str)):
            if given is not None and not isinstance(given, wanted):
                raise ConfigError(
                    f"{self.kind} {name!r} is registered with a {type(given).__name__} for a {what}. Give a "
                    f"{wanted.__name__}, or none."
                )
        held = self._targets.get(name)
        if held is not None and held is not target and _origin(held) != _origin(target):
            raise NameTaken(
                f"{self.kind} '{name}' is registered twice: by {_origin(held)} and by {_origin(target)}. Rename one."
            )
        self._targets[name] = target
        Registry.additions += 1
        if card is not None:
            self._cards[name] = card
        if line is not None:
            self._lines[name] = line

    def register(self, name: str, *, card: Any = None) -> Callable[[Any], Any]:
        """Decorator form of `add`."""

        def decorate(target: Any) -> Any:
            self.add(name, target, card=card)
            return target

        return decorate

    def get(self, name: str) -> Any:
        """The object behind `name`, imported now if need be.

        Raises UnknownName with the close and the known names, ConfigError when it cannot be imported.
        """
        if name not in self._targets:
            self._read_entry_points()
        if name not in self._targets:
            raise UnknownName(
                f"unknown {self.kind} '{name}'.{did_you_mean(name, self._targets)} Known: {', '.join(self.names())}."
            )
        target = self._targets[name]
        return self._import(name, target) if isinstance(target, str) else target

    def _import(self, name: str, path: str) -> Any:
        """Put the object in the place of its path. Its module may register the name too, from wherever it is defined:
        while it is imported the name is free."""
        del self._targets[name]
        try:
            module, _, attribute = path.partition(":")
            with diverted():
                target = getattr(importlib.import_module(module), attribute)
            self._check_factory(name, target)
        except BaseException as error:
            self._targets[name] = path
            if isinstance(error, (FlowbenchError, KeyboardInterrupt)):
                raise
            raise ConfigError(
                f"{self.kind} '{name}' cannot be imported from {path}: {in_words(error)}. "
                "Mend or uninstall the package that registers it."
            ) from error
        self._targets[name] = target
        return target

    def _check_factory(self, name: str, target: Any) -> None:
        if not self.factories:
            return
        try:
            inspect.signature(target)
        except (TypeError, ValueError):
            raise ConfigError(
                f"{self.kind} '{name}' is registered with a {type(target).__name__} that is no factory. Register a "
                "function whose parameters are its options."
            ) from None

    def card(self, name: str) -> Any:
        """The card registered with `name` (None when there is none)."""
        self.get(name)
        return self._cards.get(name)

    def line(self, name: str) -> str | None:
        """What `name` is, in a sentence, when it was registered with one; nothing is imported."""
        return self._lines.get(name)

    def names(self) -> list[str]:
        """All names, entry points included, sorted."""
        self._read_entry_points()
        return sorted(self._targets)

    def __contains__(self, name: str) -> bool:
        if name not in self._targets:
            self._read_entry_points()
        return name in self._targets

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def _read_entry_points(self) -> None:
        if self.group is None or self._entry_points_read:
            return
        self._entry_points_read = True
        for entry in entry_points(group=self.group):
            self.add(entry.name, entry.value)


class _AsWritten(SourceFileLoader):
    """Runs the file that is there. Python's own loader takes compiled code that an earlier file of the same second and
    size has left, and the code's hash in a card would then be that of a file that was not run."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def load_plugin_file(path: str | Path) -> None:
    """Run a Python file that registers plugins. Only the command line's `--plugin FILE` leads here."""
    path = Path(path).resolve()
    if not path.is_file():
        raise MissingFile(f"--plugin {path}: there is no such file. Give the path of a Python file that registers.")
    name = f"flowbench_plugin_{path.stem}_{hashlib.sha256(os.fsencode(path)).hexdigest()[:8]}"
    if name in sys.modules:
        return
    is_python = path.suffix == ".py"
    spec = importlib.util.spec_from_file_location(name, path, loader=_AsWritten(name, str(path)) if is_python else None)
    if spec is None or spec.loader is None:
        raise ConfigError(f"--plugin {path}: not a Python file. Give a file that ends in .py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    before = Registry.additions
    try:
        with diverted():
            spec.loader.exec_module(module)
        if Registry.additions == before:
            say(f"warning: --plugin {path} registers nothing.", err=True)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, (FlowbenchError, KeyboardInterrupt)):
            raise
        raise ConfigError(f"--plugin {path}: it raised {in_words(error)}. Mend the file.") from error


def _origin(target: Any) -> str:
    if isinstance(target, str):
        return target
    return f"{getattr(target, '__module__', '?')}:{getattr(target, '__qualname__', repr(target))}"
