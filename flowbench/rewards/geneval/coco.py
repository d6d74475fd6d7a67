"""The 80 classes of COCO under GenEval's names (flowbench/vocabularies.py); a detector's class number is the index."""

from __future__ import annotations

from flowbench.vocabularies import COCO80

NAMES: tuple[str, ...] = COCO80
