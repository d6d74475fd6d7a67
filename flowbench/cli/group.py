"""A click group that imports a command when it is needed, and turns mistakes into one sentence and an exit code."""

from __future__ import annotations

import errno
import importlib
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

import click

from flowbench.errors import ConfigError, FlowbenchError, UnknownName
from flowbench.foreign_code import UNFINISHED, early_ends_reported, interrupted, interrupts_noted
from flowbench.registry import did_you_mean
from flowbench.terminal import escape_what_cannot_be_encoded, say

INTERRUPTED = 130
USERS_MISTAKE = 2
_SHOWS_HELP = getattr(click.exceptions, "NoArgsIsHelpError", ())  # from click 8.2 on, help asked for is an exception

_ADVICE = {
    errno.ENOSPC: "Free some disk, then run the same command again (a training run: flowbench train --resume FOLDER)",
    errno.EDQUOT: "Your quota is used up: free some disk, then run the same command again",
    errno.EACCES: "Choose a place that you may write to",
    errno.EPERM: "Choose a place that you may write to",
    errno.ENAMETOOLONG: "Choose a shorter path",
    errno.EROFS: "Choose a place that can be written to",
    errno.ENOTDIR: "A part of the path is a file: choose another path",
    errno.EEXIST: "A file stands where a folder is needed: choose another path",
    errno.EISDIR: "A folder stands where a file is needed: choose another path",
    errno.ENOENT: "It is gone, or was never there: check the path",
    errno.ELOOP: "Links lead in a circle there: choose another path",
}
"""What to do about an error of the system that is not the program's fault."""

_NO_MEMORY = ("OutOfMemoryError", "can't allocate memory")
"""How torch says it, of a GPU and of the machine."""
_PEER_GONE = ("Connection closed by peer", "Connection reset by peer", "Broken pipe")
"""What gloo says in the other processes when one of them has ended."""


class CommandGroup(click.Group):
    """`table`: command name -> ("module:attribute", one line for the help of the group)."""

    def __init__(self, *args: Any, table: Mapping[str, tuple[str, str]], **settings: Any):
        super().__init__(*args, **settings)
        self.table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.table:
            return None
        module, _, attribute = self.table[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The lines come from the table, so that the help imports no command."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in self.table.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if not name.startswith("-") and name not in self.table:
            known = ", ".join(self.table)
            raise click.UsageError(f"no command '{name}', only {known}.{did_you_mean(name, self.table)}", ctx)
        return super().resolve_command(ctx, args)

    def main(self, args: Sequence[str] | None = None, *more: Any, **settings: Any) -> Any:
        """Run, and end the process with the exit code: 0, 1 (unforeseen), 2 (user's mistake) or 130 (interrupted)."""
        escape_what_cannot_be_encoded()
        with interrupts_noted():
            sys.exit(self._run(sys.argv[1:] if args is None else list(args), *more, **settings))

    def _run(self, args: list[str], *more: Any, **settings: Any) -> int:
        """The exit code."""
        try:
            _refuse_blank(args)
            with early_ends_reported():
                code = super().main(args, *more, **{**settings, "standalone_mode": False, "obj": args})
        except SystemExit as error:
            if error.code:
                raise
            say("error: a plugin has ended the program by sys.exit before its work was done.", err=True)
            return UNFINISHED  # we leave by returning: it was a plugin
        except click.ClickException as error:
            if isinstance(error, _SHOWS_HELP):
                error.show()
            else:
                _say(f"error: {_usage_sentence(error)}")
            return error.exit_code
        except (click.Abort, KeyboardInterrupt):
            _say("interrupted")
            return INTERRUPTED
        except Exception as error:
            return _answered(error, debug="--debug" in args)
        return code if isinstance(code, int) else 0


def _answered(error: Exception, *, debug: bool) -> int:
    """The exit code, once what has happened is said. Raises the error again when nobody foresaw it."""
    sentence = sentence_of(error)
    if sentence is None and not interrupted():
        raise error
    if debug:
        traceback.print_exc()
    if interrupted():  # what a library has made of it
        _say("interrupted")
        return INTERRUPTED
    all_find_it = isinstance(error, ConfigError | UnknownName)
    if not (all_find_it and os.environ.get("RANK", "0") != "0"):
        _say(f"error: {sentence}")
    return error.exit_code if isinstance(error, FlowbenchError) else USERS_MISTAKE


def _refuse_blank(words: Sequence[str]) -> None:
    """No word of a command line is blank on purpose: `--out "$FOLDER"` of a variable that is not set would write where
    one stands. Raises UsageError."""
    for place, word in enumerate(words):
        option, separator, value = word.partition("=") if word.startswith("--") else ("", "", word)
        before = words[place - 1] if place and words[place - 1].startswith("--") else "a word of the command line"
        if (separator or not option) and not value.strip():
            raise click.UsageError(f"{option or before} is blank: say what it is to be, or leave it out.")
        if "\0" in word:
            raise click.UsageError(f"{option or before} holds a NUL character, which no name has.")


def sentence_of(error: BaseException) -> str | None:
    """What to say to the user; None for an error that nobody foresaw, which keeps its traceback."""
    if isinstance(error, FlowbenchError):
        return str(error)
    if "RANK" in os.environ and any(words in str(error) for words in _PEER_GONE):
        return "another process of this run has ended; its own message says why."
    if isinstance(error, MemoryError) or any(words in f"{type(error).__name__} {error}" for words in _NO_MEMORY):
        return (
            "the memory is used up. Take fewer at a time: --batch-size, rollout.micro_batch, --processes, or a smaller "
            "model or dtype."
        )
    if isinstance(error, OSError) and error.errno and error.filename is not None:
        return _of_the_system(error.errno, error.filename)
    cause: BaseException | None = error
    while cause is not None:
        # a library written in Rust (safetensors) puts the number into words
        in_words = (number for number in _ADVICE if f"(os error {number})" in str(cause))
        number = cause.errno if isinstance(cause, OSError) else next(in_words, None)
        if number in _ADVICE:
            return _of_the_system(number, getattr(cause, "filename", None))
        cause = cause.__cause__ or cause.__context__
    return None


def _of_the_system(number: int, where: Any) -> str:
    """What the system says of a path (None: of none), and what to do about it."""
    advice = _ADVICE.get(number, "Check that path, and what it lies on")
    return f"{os.strerror(number)}{f': {os.fsdecode(where)}' if isinstance(where, str | bytes) else ''}. {advice}."


def _usage_sentence(error: click.ClickException) -> str:
    """What click found wrong with the command line, and where the right form stands."""
    message = error.format_message().rstrip(".")
    if isinstance(error, click.NoSuchOption):
        message = f"no such option '{error.option_name}'.{did_you_mean(error.option_name, error.possibilities or ())}"
    message += "" if message.endswith(("?", ".")) else "."
    context = getattr(error, "ctx", None)
    where = f" See `{context.command_path} --help`." if context else ""
    return f"{message[:1].lower()}{message[1:]}{where}"


def _say(message: str) -> None:
    """One line on stderr; of several processes, each but the first says which one it is."""
    rank = os.environ.get("RANK", "0")
    say(f"{f'process {rank}: ' if rank != '0' else ''}{message}", err=True)
