"""OCR: was the text that the prompt puts in quotation marks rendered?"""

from __future__ import annotations

from flowbench.rewards.ocr.lines import Line, reading_order
from flowbench.rewards.ocr.text import quoted_parts, target_text, text_reward

__all__ = ["Line", "quoted_parts", "reading_order", "target_text", "text_reward"]
