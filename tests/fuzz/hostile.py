"""What people have by mistake or by malice: plugins that misbehave, files that are not what they seem, odd pictures."""

from __future__ import annotations

import io
import json
import os
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

SAID_BY_PLUGIN = "PLUGIN SAYS THIS"
MISBEHAVIOUR: Mapping[str, str] = {
    "prints": f"print('{SAID_BY_PLUGIN}'); return [Score(1.0) for _ in samples]",
    "too_few": "return [Score(1.0)] * (len(samples) - 1)",
    "none": "return None",
    "numbers": "return [1.0 for _ in samples]",
    "texts": "return [Score('1.0') for _ in samples]",
    "infinite": "return [Score(float('inf')) for _ in samples]",
    "complex": "return [Score(1j) for _ in samples]",
    "huge": "return [Score(10**400) for _ in samples]",
    "true": "return [Score(True) for _ in samples]",
    "bad_parts": "return [Score(1.0, {'part': object()}) for _ in samples]",
    "bad_part_names": "return [Score(1.0, {('a', 1): 1.0, None: 2.0}) for _ in samples]",
    "markup_parts": r"return [Score(1.0, {'[/]': 1.0, '=1+1': .5, '\x1b[31m': 0.0, '': 1.0}) for _ in samples]",
    "list_parts": "return [Score(1.0, [1.0]) for _ in samples]",
    "bytes_note": "return [Score(float('nan'), {}, b'note') for _ in samples]",
    "object_note": "return [Score(1.0, {}, object()) for _ in samples]",
    "markup_note": r"return [Score(float('nan'), {}, '[/] [bold \x1b[31m\n\ud800') for _ in samples]",
    "details_object": "return [Score(1.0, {}, '', {'a': object(), 'b': {1, 2}}) for _ in samples]",
    "details_loop": "loop = {}; loop['loop'] = loop; return [Score(1.0, {}, '', loop) for _ in samples]",
    "details_surrogate": r"return [Score(1.0, {}, '', {'text': '\ud800'}) for _ in samples]",
    "generator": "return (Score(1.0) for _ in samples)",
    "raises": r"raise ValueError('[/] \x1b[31m \ud800 two\nlines')",
    "raises_empty": "raise AssertionError",
    "raises_base": "raise type('Odd', (BaseException,), {})('odd')",
    "raises_exit": "import sys; sys.exit(0)",
    "raises_interrupt": "raise KeyboardInterrupt",
    "raises_generator_exit": "raise GeneratorExit",
    "broken_str": "raise type('Broken', (Exception,), {'__str__': lambda self: 1 / 0, '__repr__': lambda self: 0})()",
    "recursion": "return score(samples)",
    "closes_stdout": "import sys; sys.stdout.close(); return [Score(1.0) for _ in samples]",
    "changes_folder": "import os; os.chdir('/'); return [Score(1.0) for _ in samples]",
    "spoils_samples": "samples.clear(); return []",
    "ends_interpreter": "import os; os._exit(0)",
    "crashes": "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
}
"""Reward (and the plugin file that registers it) -> what its function does with `samples`."""
ENDS_THE_INTERPRETER = ("ends_interpreter", "crashes")
"""These cannot be refused in a sentence, but must not pass for success."""
AT_IMPORT: Mapping[str, str] = {
    "syntax_error": "def (",
    "import_error": "import no_such_module_of_anyones",
    "imports_with_print": f"print('{SAID_BY_PLUGIN}')",
    "exits": "raise SystemExit(0)",
    "interrupts": "raise KeyboardInterrupt",
    "base_exception": "raise BaseException('odd')",
    "broken_str_at_import": "raise type('Broken', (Exception,), {'__str__': lambda self: 1 / 0})()",
    "no_bytes": "x = '\0'",
    "registers_twice": "from flowbench import rewards\nrewards.registry.add('jpeg', object())",
    "odd_names": r"""from flowbench import rewards
for name in ('', '[/]', '\x1b[31m', 'a' * 999, '\ud800', 'a=b', 'a,b', '../up', '=1+1'):
    rewards.registry.add(name, lambda: (lambda samples: []))""",
    "no_function": "from flowbench import rewards\nrewards.registry.add('no_function', 7)",
    "name_is_no_text": "from flowbench import rewards\nrewards.registry.add(7, lambda: None)",
    "odd_card": "from flowbench import rewards\nrewards.registry.add('odd_card', lambda: None, card={'a': 1}, line=3)",
}
"""Plugin file -> what it does when it is imported."""
SCORER = """
from flowbench import Score, rewards
from flowbench.rewards import Card

@rewards.register({name!r}, card=Card({name!r}, summary={summary!r}, cached={cached}))
def build():
    def score(samples):
        {body}
    return score
"""
"""A plugin file of one reward."""


def json_lines(*rows: object) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


WRONG: Sequence[Any] = (None, 7, -1.5, True, [], ["a"], {}, {"a": None}, "", " ", "\0", "\ud800", "[/]", 10**40)
"""In the place of a field of a table."""
CLAUSES = {"tag": "single_object", "include": [{"class": "circle", "count": 1}]}
"""What GenEval's rewards want to find beside a prompt."""
_ROW = {"prompt": "a star", "id": "a", "seed": 1, "image": "../pictures/0.png", **CLAUSES}
_ODD_TAGS = ("", " ", "a,b", "a/b", "../x", "\ud800", "=1", "[/]", "all")
TABLES: Mapping[str, str] = {
    "empty.csv": "",
    "header.csv": "image,prompt\n",
    "no_prompt.csv": "image,words\n../pictures/0.png,a\n",
    "two_prompts.csv": "image,prompt,prompt\n../pictures/0.png,a,b\n",
    "bom.csv": "\ufeffimage,prompt\n../pictures/0.png,a\n",
    "surplus.csv": "image,prompt\n../pictures/0.png,a, b\n",
    "missing.csv": "image,prompt\n../pictures/0.png\n",
    "unclosed.csv": 'image,prompt\n../pictures/0.png,"a\n../pictures/1.png,b\n',
    "nul.csv": "image,prompt\n\0,\0\n",
    "long_cell.csv": f"image,prompt\n../pictures/0.png,{'a' * 200_000}\n",
    "spaces.csv": " image , prompt \n../pictures/0.png,a\n",
    "outside.csv": "image,prompt\n/etc/passwd,a\n../../../../etc/passwd,b\n",
    "folder.csv": "image,prompt\n.,a\n",
    "nowhere.csv": "image,prompt\nnowhere.png,a\n,b\n",
    "same_twice.csv": "image,prompt\n" + "../pictures/0.png,a\n" * 2,
    "markup.csv": 'image,prompt,tag\n../pictures/0.png,[/] [bold,=1+1\n../pictures/1.png,a,"\x1b[31m"\n',
    "odd_tags.jsonl": json_lines(*({**_ROW, "prompt": f"p{n}", "id": n, "tag": t} for n, t in enumerate(_ODD_TAGS))),
    "empty.jsonl": "",
    "no_json.jsonl": "{\n",
    "array.jsonl": "[1]\n",
    "scalars.jsonl": "1\n",
    "null.jsonl": "null\n",
    "nan.jsonl": '{"prompt": NaN, "image": "../pictures/0.png"}\n',
    "deep.jsonl": "[" * 200_000 + "\n",
    "infinite_seed.jsonl": '{"prompt": "a", "image": "../pictures/0.png", "seed": 1e999}\n',
    "long_number.jsonl": f'{{"prompt": "a", "image": "../pictures/0.png", "seed": {"9" * 5000}}}\n',
    "surrogate.jsonl": '{"prompt": "\\ud800", "image": "../pictures/0.png"}\n',
    "surrogate_key.jsonl": '{"prompt": "a", "\\ud800": "\\udfff", "image": "../pictures/0.png"}\n',
    "surrogate_path.jsonl": '{"prompt": "a", "image": "\\ud800.png"}\n{"prompt": "b", "image": "a\\u0000b"}\n',
    "twice.jsonl": '{"prompt": "a", "prompt": "b", "image": "../pictures/0.png"}\n',
    **{f"{key}_{n}.jsonl": json_lines({**_ROW, key: wrong}) for key in _ROW for n, wrong in enumerate(WRONG)},
    **{f"clause_{n}.jsonl": json_lines({**_ROW, "include": [wrong]}) for n, wrong in enumerate(WRONG)},
    **{
        f"{key}_{n}.jsonl": json_lines({**_ROW, "include": [{"class": "circle", "count": 1, key: wrong}]})
        for key in ("class", "count", "color", "position")
        for n, wrong in enumerate(WRONG)
    },
}
"""Of pictures and prompts; all can be read as prompts, too."""
_SUITE = "prompt_set: ../prompts.txt\nsteps: 1\nguidance: 1\nscorers: [jpeg]\n"
_SUITE_LINES = (
    *("steps: 1.5", "steps: -1", "steps: .inf", "guidance: .nan", "images_per_prompt: 1000000000000", "resolution: -5"),
    *("name: '[/]'", 'name: "\\e[31m"', 'name: "\\ud800"', "name: ''", "name: ../../up", "label: x", "version: ''"),
    *("scorers: []", "scorers: [jpeg, jpeg]", "scorers: ['']", "metrics: [nothing]", "options: {jpeg: {nothing: 1}}"),
    *("headline: '[bold'", "reference: nowhere", "vocabulary: nothing", "split: nothing", "interval: nothing"),
    *("unseen: [nothing]", "overall: 7", "prompt_set: ''", "prompt_set: .", "prompt_set: 'a:b'", 'prompt_set: "\\0"'),
)
_BOMB = "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(8))
YAML: Mapping[str, str | bytes] = {
    "empty.yaml": "",
    "list.yaml": "- a\n",
    "text.yaml": "a\n",
    "tabs.yaml": "a:\n\t- b\n",
    "binary.yaml": bytes(range(256)),
    "python.yaml": "a: !!python/object/apply:os.system [echo]\n",
    "nul.yaml": 'out: "a\\0b"\nprompt_set: "a\\0b"\nsteps: 1\nguidance: 1\n',
    "bomb.yaml": f"a: &a [x, x, x, x, x, x, x, x, x]\n{_BOMB}",
    "loop.yaml": "&a [*a]\n",
    "loop_map.yaml": "model: &a {name: *a}\n",
    "deep.yaml": "[" * 5000 + "\n",
    "keys.yaml": "1: 2\nnull: 3\n[a]: b\n2020-01-01: c\n",
    "date.yaml": "steps: 2020-01-01\nprompt_set: a\nguidance: 1\n",
    "surrogate.yaml": 'reward: {name: "\\ud800"}\n',
    "long_number.yaml": f"steps: {'9' * 5000}\n",
    "types.yaml": "model: [a]\nreward: 7\nrollout: null\nsteps: true\n",
    "sexagesimal.yaml": "steps: 1:30\n",
    **{f"suite_{number}.yaml": f"{_SUITE}{line}\n" for number, line in enumerate(_SUITE_LINES)},
    "published_list.yaml": "suite: shapes\nrows: 7\n",
    "published_markup.yaml": "suite: shapes\ntitle: '[/]'\nheadline: official\nprompts: 2\nimages_per_prompt: 2\n"
    "decimals: 2\nmetrics:\n  official: {scorer: geneval, unit: '[bold', direction: higher}\nrows:\n"
    '- {model: "\\e[31m[/]", values: {official: .nan}, source: "=1+1", measured_by: self}\n',
}
TEXTS: Mapping[str, str | bytes] = {
    "empty.txt": "",
    "blank.txt": " \n\t\n",
    "nul.txt": "a\0b\n",
    "utf16.txt": "a star\n".encode("utf-16"),
    "latin1.txt": "caf\xe9\n".encode("latin-1"),
    "long_line.txt": "a" * 200_000 + "\n",
    "binary.txt": bytes(range(256)),
    "controls.txt": "\x1b[31mred\x1b[0m \x07\x9b31m\n[/] [bold\n=1+1\n",
    "repeated.txt": "a star\na star\n",
    "python.txt": "x = 1\n",
    "bad_model/model_index.json": "[]",
    "worse_model/model_index.json": '{"_class_name": 7}',
    "no_adapter/adapter_config.json": "null",
    "no_run/config.yaml": "steps: 1\n",
    "no_run/log.jsonl": "7\n",
    "no_evaluation/card.json": "[]",
    "no_evaluation/summary.json": "7",
    "half_evaluation/card.json": "{}",
}
ODD_NAMES = (b"[bold]markup[/].txt", b"[/].txt", b"\x1b[31mescape\n.txt", b"=1+1.txt", b"-.txt", b"not_utf8_\xff.txt")
"""Of prompt files. The second is a file "].txt" in a folder "[": a path that ends all markup."""
LINKS = {"loop": "loop", "dangling": "nowhere", "self": ".", "to_pictures": "../pictures"}


def write_hostile(folder: Path) -> None:
    """All of it but the plugins."""
    for name, data in {**TEXTS, **TABLES, **YAML}.items():
        _write(folder / name, data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data)
    for kind, files in _pictures().items():
        for name, data in files.items():
            _write(folder / "pictures" / kind / name, data)
    for odd in ODD_NAMES:
        _write(folder / os.fsdecode(odd), b"a photo of a star\n")
    _write(folder / "pictures" / "odd_names" / os.fsdecode(b"\xff.png"), png(picture()))
    (folder / "empty_folder").mkdir()
    for name, target in LINKS.items():
        (folder / name).symlink_to(target)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def picture(seed: int = 0, size: int = 16, mode: str = "RGB") -> Image.Image:
    """A picture that compresses neither to nothing nor badly, and is the same at every call."""
    places = ((x, y, channel) for y in range(size) for x in range(size) for channel in range(3))
    data = bytes((x * (seed + 3) * 7 + y * 13 + channel * 50) % 256 for x, y, channel in places)
    return Image.frombytes("RGB", (size, size), data).convert(mode)


def png(image: Image.Image, form: str = "PNG") -> bytes:
    written = io.BytesIO()
    image.save(written, form)
    return written.getvalue()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _pictures() -> dict[str, dict[str, bytes]]:
    """Folder -> its files; beside an odd one mostly a good one, so that something can be scored."""
    good = png(picture())
    huge = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
    bomb = good[:8] + _chunk(b"IHDR", huge) + _chunk(b"IDAT", zlib.compress(bytes(1000))) + _chunk(b"IEND", b"")
    text = _chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(100_000_000), 9))
    forms = {f"a.{form.lower()}": png(picture(), form) for form in ("GIF", "BMP", "TIFF", "WEBP", "JPEG", "PPM")}
    modes = {f"{mode}.png": png(picture(mode=mode)) for mode in ("L", "1", "P", "RGBA", "LA")}
    return {
        "bomb": {"good.png": good, "bomb.png": bomb},
        "text_bomb": {"good.png": good, "text.png": good[:33] + text + good[33:]},
        "no_pictures": {"good.png": good, "a.png": b"nothing", "b.png": b"", "c.jpg": good},
        "cut": {"good.png": good, "a.png": good[: len(good) // 2], "b.jpg": png(picture(), "JPEG")[:200]},
        "modes": modes,
        "sixteen_bits": {"good.png": good, "a.png": png(picture(mode="L").convert("I;16"))},
        "forms": forms,
        "one_pixel": {"a.png": png(picture(size=1))},
        "hidden": {
            "a.png": good,
            ".a.png": good,
            "._a.png": b"mac",
            ".ipynb_checkpoints/a.png": good,
            "Thumbs.db": b"",
        },
        "texts": {"a.txt": b"\xff\xfe", "c.png": good, "c.txt": b"", "d.png": good, "d.txt": b"[/]\x1b[31m\n"},
        "sub_folders": {"x/0.png": good, "y/0.png": good},
        "odd_names": {"[bold].png": good, "=1+1.png": good, "\x1b[31m\n.png": good, "a" * 250 + ".png": good},
        "geneval_hostile": {"00000/metadata.jsonl": b'{"prompt": 7}', "00000/samples/0000.png": good},
        "geneval_empty": {"00000/metadata.jsonl": b"", "00000/samples/0000.png": good},
        "bad_metadata": {"good.png": good, "metadata.jsonl": b'[{"file_name": "good.png"}]\n'},
    }
