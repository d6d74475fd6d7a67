"""The score cache's file: one SQLite database for all rewards, used by several processes at once.

In WAL mode readers never wait for a writer, and a process that is killed in the middle leaves either all rows of its
batch or none. Every row carries a checksum: one that the disk has damaged is not believed. Every failure is an OSError
(CacheTrouble) that names the file.

WAL needs shared memory: the file has to lie on a disk of this machine, not on one that several machines share.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

PATIENCE = 10.0
"""Seconds to wait for another process that writes."""
_TABLES = """
create table if not exists scores (
    key blob primary key, reward text not null, score text not null, checksum integer not null, day integer not null
) without rowid;
create table if not exists usage (reward text primary key, hits integer not null, misses integer not null);
"""
_DAY = 86400


class CacheTrouble(OSError):
    """The file cannot be read or written; what is wrong, where, what to do. `busy`: only because another process holds
    it."""

    busy = False


class Kept(NamedTuple):
    """What is kept of one reward."""

    reward: str
    """Its name."""
    scores: int
    """How many are kept."""
    size: int
    """Bytes of them and their keys."""
    oldest: int
    """Day of the oldest score, counted from 1970."""
    newest: int
    """Day of the newest."""
    hits: int
    """How often a score was looked for and found, since the file was made."""
    misses: int
    """How often it was not found."""


class CacheFile:
    """The database at `path`, opened at first use, made if it is not there."""

    def __init__(self, path: Path):
        self.path = path
        self._lock = threading.Lock()
        self._connections: dict[int, sqlite3.Connection] = {}  # by process: a fork must not use its parent's

    def get(self, keys: Iterable[bytes]) -> dict[bytes, str]:
        """The texts kept under these keys; damaged ones are left out."""
        found = {}
        with self._connected() as connection:
            for key in keys:
                text = _whole(connection, key)
                if text is not None:
                    found[key] = text
        return found

    def put(self, reward: str, texts: Mapping[bytes, str]) -> None:
        """Keep all of these texts or, if the process is killed, none. Of two texts for one key the first one stays,
        unless it is damaged."""
        today = int(time.time()) // _DAY
        rows = [(key, reward, text, _checksum(key, text), today) for key, text in texts.items()]
        with self._connected(writes=True) as connection:
            new = [row for row in rows if _whole(connection, row[0]) is None]
            connection.executemany("insert or replace into scores values (?, ?, ?, ?, ?)", new)

    def count(self, reward: str, hits: int, misses: int) -> None:
        """Add to how often a score of the reward was found, and was not."""
        if hits or misses:
            with self._connected(writes=True) as connection:
                connection.execute(
                    "insert into usage values (?, ?, ?) on conflict (reward) do update set "
                    "hits = hits + excluded.hits, misses = misses + excluded.misses",
                    (reward, hits, misses),
                )

    def kept(self) -> list[Kept]:
        """One entry for each reward, sorted by name; rows with a damaged name or day are left out."""
        with self._connected() as connection:
            rows = connection.execute(
                "select reward, count(*), sum(length(cast(score as blob)) + length(key)), min(day), max(day), "
                "cast(coalesce(hits, 0) as integer), cast(coalesce(misses, 0) as integer) "
                "from scores left join usage using (reward) "
                "where typeof(reward) = 'text' and typeof(day) = 'integer' and day between 0 and 1000000 "
                "group by reward order by reward"
            ).fetchall()
        return [Kept(*row) for row in rows]

    def clear(self, *, reward: str | None = None, older_than: int | None = None) -> int:
        """Drop scores: of one reward, made more than `older_than` days ago, or all; returns how many. The space goes
        back to the disk when no other process uses the file."""
        wheres: list[str] = ["1"]
        values: list[str | int] = []
        if reward is not None:
            wheres, values = [*wheres, "reward = ?"], [*values, reward]
        if older_than is not None:
            wheres, values = [*wheres, "day < ?"], [*values, int(time.time()) // _DAY - older_than]
        with self._connected(writes=True) as connection:
            dropped = connection.execute(f"delete from scores where {' and '.join(wheres)}", values).rowcount
            connection.execute("delete from usage where reward not in (select reward from scores)")
        with self._connected() as connection:
            try:
                connection.execute("vacuum")
                connection.execute("pragma wal_checkpoint(truncate)")
            except sqlite3.OperationalError:  # another process is at work: its own writes will use the space
                pass
        return dropped

    def remove(self) -> None:
        """Delete a file that is no good, which no other process can be using."""
        self.close()
        try:
            for side in ("", "-wal", "-shm"):
                self.path.with_name(self.path.name + side).unlink(missing_ok=True)
        except OSError as error:
            raise self._trouble(error) from error

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            connection = self._connections.pop(os.getpid(), None)
            if connection is not None:
                connection.close()

    @contextmanager
    def _connected(self, *, writes: bool = False) -> Iterator[sqlite3.Connection]:
        """The connection of this process, by one thread at a time; what is written stands when the block ends."""
        with self._lock:
            try:
                connection = self._connections.get(os.getpid()) or self._open()
                if not writes:
                    yield connection
                    return
                connection.execute("begin immediate")  # a lock asked for later could not be waited for
                try:
                    yield connection
                except BaseException:
                    connection.execute("rollback")
                    raise
                connection.execute("commit")
            except (sqlite3.Error, UnicodeDecodeError, OSError) as error:  # Unicode: of a message that quotes damage
                raise self._trouble(error) from error

    def _trouble(self, error: Exception) -> CacheTrouble:
        what, way_out = str(error), "Try `flowbench cache clear`"
        if self.path.is_dir():
            what = "it is a folder, where the score cache's file belongs"
            way_out = "Move it away, which `flowbench cache clear` does not"
        trouble = CacheTrouble(f"{self.path}: {what}. {way_out}, or name another folder: FLOWBENCH_CACHE.")
        trouble.busy = "locked" in str(error)
        return trouble

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
        connection.text_factory = lambda data: data.decode(errors="replace")  # a damaged row fails by its checksum
        try:
            _set_up(connection)
        except BaseException:
            connection.close()
            raise
        self._connections[os.getpid()] = connection
        return connection


def _set_up(connection: sqlite3.Connection) -> None:
    """WAL, and the tables. SQLite itself does not wait for a process that is making the same file just now."""
    give_up = time.monotonic() + PATIENCE
    while True:
        try:
            connection.execute("pragma journal_mode=wal")
            connection.execute("pragma synchronous=normal")  # a loss of power may cost the last rows, and no others
            connection.executescript(_TABLES)
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > give_up:
                raise
            time.sleep(0.02)


def _whole(connection: sqlite3.Connection, key: bytes) -> str | None:
    """The text kept under the key; None where there is none or a damaged one."""
    row = connection.execute("select score, checksum from scores where key = ?", (key,)).fetchone()
    if row is None or not isinstance(row[0], str) or _checksum(key, row[0]) != row[1]:
        return None
    return row[0]


def _checksum(key: bytes, text: str) -> int:
    return zlib.crc32(text.encode(), zlib.crc32(key))
