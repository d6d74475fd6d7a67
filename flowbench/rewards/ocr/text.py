"""The text that a prompt asks for, and how much of it was read: pure functions on strings.

Sources: Flow-GRPO, arXiv 2505.05470 (`edit`); its published code (`substring`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping
from typing import Any, Literal, get_args

from rapidfuzz.distance import Levenshtein

from flowbench.errors import RewardError

Variant = Literal["edit", "substring", "exact"]
VARIANTS: tuple[Variant, ...] = get_args(Variant)

_QUOTED = re.compile(
    r'(?<![0-9])"([^"]*)"'  # straight; after a digit it is an inch mark
    r"|“([^”]*)”|„([^“”]*)[“”]|«([^»]*)»"
)
_SINGLE_QUOTED = re.compile(
    r"(?<!\w)(?:'(?=\S)([^\n]*?\S)'|‘([^\n]*?\S)’)(?!\w)"  # inside a word, as in "it's", it is an apostrophe
)
_LETTER_FORMS = str.maketrans({"‘": "'", "’": "'", "‛": "'", "“": '"', "”": '"', "„": '"', "–": "-", "—": "-"})


def quoted_parts(prompt: str) -> list[str]:
    """What stands between quotation marks in a prompt, in order, without spaces around it; blank parts are left out.

    Double quotes count: "straight", “curly”, „low” and «angle»; each ends at the first mark that closes its own kind,
    so that other marks inside belong to the text. A straight mark right behind a digit opens nothing (6" nail).
    Only in a prompt without them do single quotes count, 'straight' or ‘curly’, and only around whole words: an
    apostrophe (it's, the dogs' bowl) has a letter before it, or behind it where the text would end.
    The contraction 'n' is none either.
    """
    for pattern in (_QUOTED, _SINGLE_QUOTED):
        parts = ["".join(part or "" for part in match.groups()).strip(" ") for match in pattern.finditer(prompt)]
        parts = [part for part in parts if part.strip()]
        if pattern is _SINGLE_QUOTED:
            parts = [part for part in parts if part.lower() != "n"]
        if parts:
            return parts
    return []


def target_text(prompt: str, metadata: Mapping[str, Any]) -> str:
    """The text to be rendered: `metadata["text"]` (a string or a list of them) where there is one, else the quoted
    parts of the prompt; several are joined by a space, in their order. "" when there is none. White space other than
    spaces stays: `substring` counts it, as published.

    Raises RewardError when `metadata["text"]` is anything else.
    """
    text = metadata.get("text")
    if text is None:
        return " ".join(quoted_parts(prompt))
    parts = [text] if isinstance(text, str) else text
    if not isinstance(parts, (list, tuple)) or not all(isinstance(part, str) for part in parts):
        raise RewardError(f"the prompt's metadata `text` is {text!r}. Write a string, or a list of strings.")
    return " ".join(part.strip(" ") for part in parts if part.strip())


def normalise(text: str) -> str:
    """Without white space, in lower case, and with one form for what looks alike: NFKC, straight quotes, hyphens.

    A recogniser trained on Chinese and English writes "！" for "!" at will, and a prompt's typesetting (’ or ') says
    nothing of the picture.
    """
    return "".join(unicodedata.normalize("NFKC", text.translate(_LETTER_FORMS)).split()).lower()


def normalise_published(text: str) -> str:
    """flow_grpo's rule: without spaces, in lower case."""
    return text.replace(" ", "").lower()


def unreadable(target: str, characters: Collection[str], *, variant: Variant) -> str:
    """What of the target can never be read, each once, in order, in the form in which the variant compares.

    `characters`: those that a reader knows in that form, `normal_form(..., variant)`. White space is nobody's letter.
    """
    odd = dict.fromkeys(normal_form(target, variant))
    return "".join(each for each in odd if each not in characters and not each.isspace())


def normal_form(text: str, variant: Variant) -> str:
    """The text as the variant compares it."""
    return normalise_published(text) if variant == "substring" else normalise(text)


def text_reward(target: str, recognized: str, *, variant: Variant = "edit") -> float:
    """How much of `target` was read, in [0, 1]; punctuation counts, case and spaces do not.

    edit       max(1 - N_e / N_ref, 0): N_e the edit distance (Levenshtein) between the two texts, N_ref the number of
               characters of the target (the paper's formula)
    substring  1 when the target occurs anywhere in what was read, else as `edit` (the published code, with its own
               normalisation); text around or repeating the target is free
    exact      1 when both texts are the same, else 0

    Raises RewardError for another variant, or a target without a character.
    """
    if variant not in VARIANTS:
        raise RewardError(f"the variant is '{variant}'. Use one of: {', '.join(VARIANTS)}.")
    wanted, read = normal_form(target, variant), normal_form(recognized, variant)
    if not wanted.strip():
        raise RewardError("the target has no character. Leave such a prompt unscored.")
    if variant == "exact":
        return float(wanted == read)
    if variant == "substring" and wanted in read:
        return 1.0
    return max(1 - Levenshtein.distance(wanted, read) / len(wanted), 0.0)  # arXiv 2505.05470
