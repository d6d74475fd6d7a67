"""Text on the terminal: what comes from outside is shown, and never obeyed.

A name, a prompt or a note may hold anything: escape sequences that retitle or repaint a terminal, characters that turn
the direction of what follows, half a surrogate pair (how Python writes a file name that is not UTF-8), line breaks.
Whoever prints does it by `say` or `show_text`; tables and pages make text safe by `printable` and `one_line`.
"""

from __future__ import annotations

import codecs
import io
import re
import sys

_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters but tab and line feed, C1 among them
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # of direction
    "\u2028\u2029\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"  # other breaks of a line, and what nobody sees
    "\ud800-\udfff]"
)
_BREAK = re.compile(r"\s*\n\s*|\t")
_ESCAPING = "flowbench.escape"


def printable(text: str) -> str:
    r"""The text with every character that is obeyed or not seen as JSON escapes it, "\u001b"; tabs and line feeds
    stay. JSON remains the same JSON."""
    return _UNSEEN.sub(lambda found: _escaped(found[0]), text)


def one_line(text: str) -> str:
    """`printable`, line breaks and tabs as blanks: for a cell, a sentence, a name in a list."""
    return printable(_BREAK.sub(" ", text.strip("\n")))


def say(line: object, *, err: bool = False) -> None:
    """One line on stdout, or on stderr."""
    print(one_line(str(line)), file=sys.stderr if err else sys.stdout, flush=True)


def show_text(text: str) -> None:
    """A text of several lines on stdout, as it stands."""
    print(printable(text), end="", flush=True)


def escape_what_cannot_be_encoded() -> None:
    """Let stdout and stderr escape the characters that their encoding lacks (PYTHONIOENCODING=ascii), where Python
    would end with an error."""
    codecs.register_error(_ESCAPING, _handle)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ESCAPING)


def _handle(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return _escaped(error.object[error.start : error.end]), error.end


def _escaped(text: str) -> str:
    units = text.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[place : place + 4]}" for place in range(0, len(units), 4))
