"""What one golden check has found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """`passed` is None where the check could not be made; `detail` says what was seen, or what is missing."""

    reward: str
    check: str
    passed: bool | None
    detail: str
