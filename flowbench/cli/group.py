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

from flowbench.errors import ConfigError, FlowbenchError
from flowbench.foreign_code import UNFINISHED, early_ends_reported
from flowbench.registry import did_you_mean

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
}
"""What to do about an error of the system that is not the program's fault."""

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
        args = sys.argv[1:] if args is None else list(args)
        try:
            with early_ends_reported():
                code = super().main(args, *more, **{**settings, "standalone_mode": False, "obj": args})
        except SystemExit as error:
            if not error.code:  # we leave by returning: it was a plugin
                _say("error: a plugin has ended the program by sys.exit before its work was done.")
                sys.exit(UNFINISHED)
            raise
        except click.ClickException as error:
            if isinstance(error, _SHOWS_HELP):
                error.show()
            else:
                _say(f"error: {_usage_sentence(error)}")
            sys.exit(error.exit_code)
        except (click.Abort, KeyboardInterrupt):
            _say("interrupted")
            sys.exit(INTERRUPTED)
        except Exception as error:
            sentence = sentence_of(error)
            if sentence is None:
                raise
            if "--debug" in args:
                traceback.print_exc()
            if not (isinstance(error, ConfigError) and os.environ.get("RANK", "0") != "0"):  # all find the same mistake
                _say(f"error: {sentence}")
            sys.exit(error.exit_code if isinstance(error, FlowbenchError) else USERS_MISTAKE)
        sys.exit(code if isinstance(code, int) else 0)


def sentence_of(error: BaseException) -> str | None:
    """What to say to the user; None for an error that nobody foresaw, which keeps its traceback."""
    if isinstance(error, FlowbenchError):
        return str(error)
    if "RANK" in os.environ and any(words in str(error) for words in _PEER_GONE):
        return "another process of this run has ended; its own message says why."
    cause: BaseException | None = error
    while cause is not None:
        # a library written in Rust (safetensors) puts the number into words
        in_words = (number for number in _ADVICE if f"(os error {number})" in str(cause))
        number = cause.errno if isinstance(cause, OSError) else next(in_words, None)
        if number in _ADVICE:
            where = getattr(cause, "filename", None)
            return f"{os.strerror(number)}{f': {where}' if where else ''}. {_ADVICE[number]}."
        cause = cause.__cause__ or cause.__context__
    return None


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
    click.echo(f"{f'process {rank}: ' if rank != '0' else ''}{message}", err=True)
