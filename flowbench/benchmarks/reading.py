"""Pictures from the disk, read while the ones before are being judged."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

from PIL import Image

from flowbench.benchmarks.existing import ExistingPicture, picture_sha256
from flowbench.errors import RunError
from flowbench.types import Sample


@dataclass(frozen=True)
class Read:
    """What came of reading a picture."""

    sample: Sample | None
    """None where it cannot be read."""
    reason: str = ""
    """Why it cannot be read."""
    sha256: str = ""
    """Of its file; "" where that cannot be read either."""


_READERS = 4
"""Threads that read and decode: a PNG of 1024 px takes a core 50 ms."""
_SMALL = 16_384
"""Bytes below which a file is read sooner than a thread is found for it."""


def read_ahead(batches: Iterable[Sequence[ExistingPicture]]) -> Generator[list[Read], None, None]:
    """The pictures of each batch in turn; while the caller works on one batch, threads read the next one.

    Small files are read by the caller itself when their batch's turn to be read ahead comes. Close the iterator
    (contextlib.closing) to let go of the threads before its end.
    """
    Image.init()  # all formats now: several threads that first meet one are not foreseen there
    readers = ThreadPoolExecutor(_READERS, "reading")
    try:
        coming: deque[list[Future[Read]]] = deque()
        for batch in batches:
            coming.append([_begun(readers, each) for each in batch])
            if len(coming) > 1:
                yield [each.result() for each in coming.popleft()]
        if coming:
            yield [each.result() for each in coming.popleft()]
    finally:
        readers.shutdown(cancel_futures=True)


def _begun(readers: ThreadPoolExecutor, picture: ExistingPicture) -> Future[Read]:
    try:
        is_small = picture.path.stat().st_size < _SMALL
    except OSError:
        is_small = True  # `_read` says what is wrong with it
    if not is_small:
        return readers.submit(_read, picture)
    done: Future[Read] = Future()
    done.set_result(_read(picture))
    return done


def _read(picture: ExistingPicture) -> Read:
    sha256 = ""
    with suppress(OSError):  # `load` says what is wrong with it
        sha256 = picture_sha256(picture.path)
    try:
        return Read(picture.load(), "", sha256)
    except RunError as error:
        return Read(None, str(error), sha256)
