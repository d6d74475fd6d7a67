"""One process of test_cache_processes: reads and writes scores of a fixed stream of keys until it is done.

    python tests/rewards/cache_worker.py FILE SEED ROUNDS

Prints "ready" once it has written, then, at its end, the keys that it knows to be written, one a line. What belongs
under a key follows from the key, so that every process can tell a wrong entry from a right one.
"""

from __future__ import annotations

import hashlib
import random
import sys
from pathlib import Path

from flowbench.rewards.cache_file import CacheFile

KEYS = 3000
"""Different ones, of which each process meets a part: they often write the same."""


def key_of(number: int) -> bytes:
    return hashlib.sha256(b"%d" % number).digest()


def text_of(key: bytes) -> str:
    """Up to 6 kB, more than a page of the database."""
    return '["' + key.hex() * (1 + key[0] % 96) + '"]'


def main() -> None:
    path, seed, rounds = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    draws = random.Random(seed)
    file = CacheFile(path)
    written: set[bytes] = set()
    for number in range(rounds):
        keys = [key_of(draws.randrange(KEYS)) for _ in range(16)]
        found = file.get(keys)
        if any(found[key] != text_of(key) for key in found):
            sys.exit("a wrong entry")
        if any(key not in found for key in written.intersection(keys)):
            sys.exit("a lost entry")
        missing = {key: text_of(key) for key in keys if key not in found}
        if missing:
            file.put(f"reward-{seed % 2}", missing)
            written |= missing.keys()
        if number == 0:
            print("ready", flush=True)
    file.close()
    print("\n".join(sorted(key.hex() for key in written)))


if __name__ == "__main__":
    main()
