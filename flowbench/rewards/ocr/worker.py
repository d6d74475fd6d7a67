"""One worker process of workers.py: pictures in on standard input, lines out on standard output, until the input ends.

It ends by itself when its parent does, however that ends: the system then closes the pipe. Ctrl-C is for the parent.

    request   height and width (two uint32, network order), then height x width x 3 bytes, RGB
    reply     length (uint32), then JSON: {"characters": "..."} once at the start, {"lines": [...]} or {"error": "..."}
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import struct
import sys
from collections.abc import Mapping
from typing import IO, Any

from flowbench.errors import FlowbenchError
from flowbench.rewards.ocr.lines import Line
from flowbench.rewards.ocr.readers import Reader, build_reader

SIZE = struct.Struct("!II")
LENGTH = struct.Struct("!I")


def to_message(lines: list[Line]) -> dict[str, Any]:
    return {"lines": [[line.text, line.confidence, line.corners] for line in lines]}


def from_message(message: Mapping[str, Any]) -> list[Line]:
    """The same lines to the bit: JSON keeps every digit of a float."""
    return [Line(text, confidence, tuple((x, y) for x, y in corners)) for text, confidence, corners in message["lines"]]


def send(channel: IO[bytes], message: Mapping[str, Any]) -> None:
    text = json.dumps(message).encode("ascii")
    channel.write(LENGTH.pack(len(text)) + text)
    channel.flush()


def receive(channel: IO[bytes]) -> Any:
    """One reply. Raises EOFError when the other side has ended."""
    (length,) = LENGTH.unpack(read_all(channel, LENGTH.size))
    return json.loads(read_all(channel, length))


def read_all(channel: IO[bytes], count: int) -> bytes:
    data = channel.read(count)
    if len(data) < count:
        raise EOFError
    return data


def serve(requests: IO[bytes], replies: IO[bytes], reader: Reader) -> None:
    """Answer until the requests end (EOFError) or nobody takes the answers (BrokenPipeError)."""
    import numpy

    while True:
        height, width = SIZE.unpack(read_all(requests, SIZE.size))
        data = read_all(requests, height * width * 3)
        picture = numpy.frombuffer(data, dtype=numpy.uint8).reshape(height, width, 3)
        try:
            message = to_message(reader(picture))
        except Exception as error:
            message = {"error": f"{type(error).__name__}: {error}"}
        send(replies, message)


def main() -> None:
    """Arguments: the backend, and its settings as JSON."""
    faulthandler.enable()  # a crash in the engine says where
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get between the replies
    try:
        try:
            reader = build_reader(sys.argv[1], json.loads(sys.argv[2]))
        except FlowbenchError as error:
            send(replies, {"error": str(error)})
            return
        except Exception as error:
            send(replies, {"error": f"{type(error).__name__}: {error}"})
            return
        send(replies, {"characters": reader.characters})
        serve(sys.stdin.buffer, replies, reader)
    except (EOFError, BrokenPipeError):
        pass
    os._exit(0)  # no clean-up of libraries: the parent may have gone, and with it the terminal
