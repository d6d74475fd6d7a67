"""Prompt sets of others: fetched by the real client from a hub on this machine, checked, cached, refused when wrong.

No text here is theirs: the rows are made up, in the published formats.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from local_hub import LocalHub, environment, serving

from flowbench import assets, prompts
from flowbench.assets import ASSETS, AssetFile
from flowbench.assets.asset import readable
from flowbench.assets.prompt_files import PROMPT_FILES, T2I_CATEGORIES
from flowbench.errors import AssetError, ConfigError, FlowbenchError

Content = dict[str, str]
STYLES = ("anime", "concept-art", "paintings", "photo")


def table(*rows: Iterable[object]) -> str:
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue()


def lines(count: int, words: str = "made up scene") -> str:
    return "".join(f"{words} {number}\n" for number in range(count))


def drawbench() -> Content:
    rows = [(f'made up {number}, "quoted"', "Colors" if number % 2 else "Gary Marcus et al. ") for number in range(200)]
    return {"DrawBench Prompts - Sheet1.csv": table(("Prompts", "Category"), *rows)}


def partiprompts() -> Content:
    rows = "".join(f'a "made up {number}\tFood & Beverage\tBasic\t\r\n' for number in range(1632))
    return {"PartiPrompts.tsv": f"Prompt\tCategory\tChallenge\tNote\r\n{rows}"}


def hpdv2() -> Content:
    return {f"benchmark/{style}.json": json.dumps(lines(800, style).splitlines()) for style in STYLES}


def pickscore() -> Content:
    return {"test.txt": lines(2048), "train.txt": lines(30, "another made up scene")}


def ocr_flowgrpo() -> Content:
    return {"test.txt": lines(1018, 'a sign that says "made up"'), "train.txt": lines(20, 'a wall with "more"')}


def dpg() -> Content:
    head = ("item_id", "text", "keywords", "proposition_id", "dependency", "category_broad", "category_detailed",
            "tuple", "question_natural_language")  # fmt: skip
    rows = [(f"made{number // 2}", f"long,\nmade up {number // 2}", "", number % 2 + 1, 0, "entity", "whole", "",
             f"Is there {number}?") for number in range(2 * 1065)]  # fmt: skip
    return {"dpg_bench.csv": table(head, *rows)}


def t2i_compbench() -> Content:
    return {f"{category}_val.txt": lines(300, category) + "\n" for category in T2I_CATEGORIES}


def genai_bench() -> Content:
    rows = {f"{number:05d}": {"id": str(number), "prompt": f"made up {number}", "models": {}} for number in range(1600)}
    skills = {"counting": [0, 2], "basic": [1, 3], "advanced": [0, 2], "all": list(range(1600))}
    return {"genai_image.json": json.dumps(rows), "genai_skills.json": json.dumps(skills)}


def geneval2() -> Content:
    rows = [{"prompt": f"made up {number}", "atom_count": 3 + number % 8, "vqa_list": [["Is it?", "Yes"]],
             "skills": ["object"]} for number in range(800)]  # fmt: skip
    return {"geneval2_data.jsonl": "".join(json.dumps(row) + "\n" for row in rows)}


def unigenbench() -> Content:
    about = {"Primary Categories": "Art", "Testpoints": ["Style"], "Testpoint Description": ["made up style"]}
    rows = [(number, f"made up {number}", json.dumps(about)) for number in range(600)]
    return {"test_prompts_en.csv": table(("index", "prompt_en", "sub_dims_en"), *rows)}


MAKERS: dict[str, Callable[[], Content]] = {
    maker.__name__: maker
    for maker in (drawbench, partiprompts, hpdv2, pickscore, ocr_flowgrpo, dpg, t2i_compbench, genai_bench, geneval2,
                  unigenbench)
}  # fmt: skip
COUNTS = {"drawbench": 200, "partiprompts": 1632, "hpdv2": 3200, "pickscore": 2048, "ocr_flowgrpo": 1018, "dpg": 1065,
          "t2i_compbench": 2400, "genai_bench": 1600, "geneval2": 800, "unigenbench": 600}  # fmt: skip
OF_OTHERS = [name for name in prompts.prompt_sets.names() if prompts.find(name).asset.startswith("prompts-")]

ON_THE_HUB = [name for name in OF_OTHERS if ASSETS[prompts.find(name).asset].repo]
PROGRAM = """
import dataclasses, json, sys
from flowbench import prompts
from flowbench.assets import ASSETS, AssetFile
from flowbench.errors import FlowbenchError
from flowbench.prompts import fetched  # which takes each version from the real address
address, *names = sys.argv[1:]
for asset in list(ASSETS.values()):  # digests are those of the real files
    if asset.name.startswith("prompts-") and asset.url:
        files = tuple(AssetFile(file.path) for file in asset.files)
        ASSETS[asset.name] = dataclasses.replace(asset, url=f"{address}/plain/{asset.name}", files=files)
for name in names:
    try:
        loaded = {split: prompts.load(name, split) for split in prompts.find(name).splits}
        rows = {split: [[each.id, each.text, each.tag, each.metadata] for each in loaded[split]] for split in loaded}
        print(json.dumps([name, rows]))
    except FlowbenchError as error:
        print(json.dumps([name, str(error)]))
"""


def publish(hub: LocalHub, name: str, contents: Content) -> None:
    """Put a set's files where PROGRAM looks for them: on the hub, or below its plain address."""
    asset = ASSETS[prompts.find(name).asset]
    data = {path: text.encode() for path, text in contents.items()}
    if asset.repo:
        hub.add(f"datasets/{asset.repo}", data, asset.revision)
    else:
        hub.plain.update({f"{asset.name}/{path}": each for path, each in data.items()})


def load(hub: LocalHub, home: Path, *names: str, **variables: str) -> tuple[dict[str, Any], list[str]]:
    """All splits of these sets as a user's first process loads them (the error where it fails); its stderr."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, hub.url, *names],
        env=environment(hub, home, **variables),
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(json.loads(line) for line in done.stdout.splitlines()), done.stderr.splitlines()


@dataclass
class Everything:
    loaded: dict[str, Any]
    """Set -> split -> its rows, by the first process."""
    said: dict[str, str]
    """Set -> what stood on stderr."""
    again: dict[str, Any]
    """As `loaded`, by the second process."""
    said_again: list[str]
    """What stood on its stderr."""
    requests_again: list[str]
    """What it asked the hub."""


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Everything:
    """Every set, loaded by two processes one after the other."""
    home = tmp_path_factory.mktemp("home")
    with serving() as hub:
        for name, maker in MAKERS.items():
            publish(hub, name, maker())
        loaded, said = load(hub, home, *OF_OTHERS)
        hub.requests.clear()
        again, said_again = load(hub, home, *OF_OTHERS)
        announced = [line.replace(hub.url, "HUB") for line in said]
        return Everything(loaded, dict(zip(OF_OTHERS, announced, strict=True)), again, said_again, [*hub.requests])


@pytest.fixture
def plain(hub: LocalHub, home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`publish` for a plain address, for use in this process; with `digests` the manifest knows those of the files."""

    def make(name: str, contents: Content, *, digests: bool = False) -> None:
        publish(hub, name, contents)
        asset = ASSETS[prompts.find(name).asset]
        known = {path: hashlib.sha256(text.encode()).hexdigest() if digests else "" for path, text in contents.items()}
        files = tuple(AssetFile(file.path, sha256=known[file.path]) for file in asset.files)
        here = dataclasses.replace(asset, url=f"{hub.url}/plain/{asset.name}", files=files)
        monkeypatch.setitem(ASSETS, asset.name, here)

    return make


def one_error(load: Callable[[], object], kind: type[FlowbenchError], *needles: str) -> None:
    with pytest.raises(kind) as caught:
        load()
    says(str(caught.value), *needles)


def says(error: str, *needles: str) -> None:
    """All this, and the way out."""
    for needle in (*needles, "--prompts FILE"):
        assert needle in error, error


def test_every_set_of_others_is_tested_here() -> None:
    assert sorted(MAKERS) == sorted(COUNTS) == OF_OTHERS
    assert {prompts.find(name).asset for name in OF_OTHERS} == {asset.name for asset in PROMPT_FILES}
    assert len(ON_THE_HUB) == 4


@pytest.mark.parametrize("name", OF_OTHERS)
def test_fetched_with_one_line_then_found(everything: Everything, name: str) -> None:
    found, asset = prompts.find(name), ASSETS[prompts.find(name).asset]
    rows = everything.loaded[name]
    assert set(rows) == set(found.splits)
    assert len(rows["test"]) == COUNTS[name]
    for identifier, text, tag, metadata in rows["test"]:
        assert identifier and text and text == text.strip() == metadata["prompt"] and metadata.get("tag") == tag
    size = readable(asset.size) if asset.size else "size unknown"
    where = f"HUB/{asset.page}" if asset.repo else f"HUB/plain/{asset.name}"
    assert everything.said[name] == f"fetching {asset.name} ({size}, {asset.licence}) from {where}"
    assert everything.again[name] == rows


def test_a_second_process_asks_nobody(everything: Everything) -> None:
    assert (everything.said_again, everything.requests_again) == ([], [])


def test_what_the_readers_make_of_a_row(everything: Everything) -> None:
    test = {name: rows["test"] for name, rows in everything.loaded.items()}
    text = 'made up 1, "quoted"'
    assert test["drawbench"][1] == ["00001", text, "Colors", {"prompt": text, "tag": "Colors"}]
    assert test["drawbench"][0][2] == "Gary Marcus et al."
    identifier, text, tag, metadata = test["partiprompts"][5]
    assert (identifier, text, tag, metadata["challenge"]) == ("00005", 'a "made up 5', "Food & Beverage", "Basic")
    assert Counter(tag for _, _, tag, _ in test["hpdv2"]) == dict.fromkeys(STYLES, 800)
    assert test["hpdv2"][802][:3] == ["concept-art-00002", "concept-art 2", "concept-art"]
    assert test["pickscore"][7] == ["00007", "made up scene 7", None, {"prompt": "made up scene 7"}]
    assert len(everything.loaded["pickscore"]["train"]) == 30
    assert everything.loaded["ocr_flowgrpo"]["train"][1][1] == 'a wall with "more" 1'
    assert test["dpg"][3][:2] == ["made3", "long,\nmade up 3"]
    assert test["dpg"][3][3]["questions"] == ["Is there 6?", "Is there 7?"]
    assert test["t2i_compbench"][301][:3] == ["shape-00001", "shape 1", "shape"]
    assert [tag for _, _, tag, _ in test["genai_bench"][:5]] == ["advanced", "basic", "advanced", "basic", None]
    assert test["genai_bench"][0][3]["skills"] == ["counting"]
    assert (test["geneval2"][2][2], test["geneval2"][2][3]["vqa_list"]) == ("atoms_5", [["Is it?", "Yes"]])
    identifier, _, tag, metadata = test["unigenbench"][9]
    assert (identifier, tag, metadata["test_points"]) == ("9", "Art", ["Style"])


def test_another_number_of_prompts_is_refused(plain: Callable[..., None]) -> None:
    plain("ocr_flowgrpo", {**ocr_flowgrpo(), "test.txt": lines(1017)})
    one_error(
        lambda: prompts.load("ocr_flowgrpo", "test"),
        ConfigError,
        "'ocr_flowgrpo' has 1017 prompts in test.txt, published are 1018",
        "pull --again prompts-ocr-flowgrpo",
    )


@pytest.mark.parametrize(
    ("name", "contents", "needle"),
    [
        (
            "drawbench",
            {"DrawBench Prompts - Sheet1.csv": table(("Text", "Category"), ("a", "b"))},
            "KeyError: 'Prompts'",
        ),
        ("hpdv2", {f"benchmark/{style}.json": "[oops" for style in STYLES}, "JSONDecodeError"),
        ("hpdv2", {f"benchmark/{style}.json": "[1, 2]" for style in STYLES}, "AttributeError"),
        ("unigenbench", {"test_prompts_en.csv": table(("index", "prompt_en"), (1, "a"))}, "KeyError"),
        ("geneval2", {"geneval2_data.jsonl": "[3]"}, "TypeError"),
        ("genai_bench", {"genai_image.json": "{}", "genai_skills.json": "[]"}, "AttributeError"),
    ],
)
def test_another_format_is_refused(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, contents: Content, needle: str
) -> None:
    mirror = in_a_mirror(tmp_path, name, contents)
    monkeypatch.setenv("FLOWBENCH_ASSETS", str(mirror))
    asset = ASSETS[prompts.find(name).asset]  # whose published digest is that of the real file
    unknown = tuple(AssetFile(file.path) for file in asset.files)
    monkeypatch.setitem(ASSETS, asset.name, dataclasses.replace(asset, files=unknown))
    one_error(lambda: prompts.load(name, "test"), ConfigError, f"'{name}'", "not in the published format", needle)


def test_a_file_that_changed_after_it_came_is_refused(plain: Callable[..., None], home: Path) -> None:
    plain("dpg", dpg())
    prompts.load("dpg", "test")
    file = home / "prompts-dpg" / "dpg_bench.csv"
    file.write_bytes(file.read_bytes().replace(b"made up 7", b"made up 8", 1))
    one_error(
        lambda: prompts.load("dpg", "test"), AssetError, str(file), "is damaged", "recorded", "--again prompts-dpg"
    )
    assets.pull("prompts-dpg", again=True)
    assert len(prompts.load("dpg", "test")) == 1065


def test_a_file_of_the_hub_that_changed_is_refused(hub: LocalHub, tmp_path: Path) -> None:
    publish(hub, "drawbench", drawbench())
    assert len(load(hub, tmp_path, "drawbench")[0]["drawbench"]["test"]) == 200
    [blob] = (tmp_path / "hf" / "hub" / "datasets--sayakpaul--drawbench" / "blobs").iterdir()
    blob.write_bytes(blob.read_bytes().replace(b"made up 7", b"made up 8", 1))
    says(
        load(hub, tmp_path, "drawbench")[0]["drawbench"], "is damaged", "named by the hub", "--again prompts-drawbench"
    )


def test_another_file_than_the_published_one_is_refused(plain: Callable[..., None], hub: LocalHub, home: Path) -> None:
    plain("geneval2", geneval2(), digests=True)
    hub.flipped.add("prompts-geneval2/geneval2_data.jsonl")
    one_error(lambda: prompts.load("geneval2", "test"), AssetError, "SHA-256", "it was thrown away")
    assert not list((home / "prompts-geneval2").glob("*.jsonl"))


def test_nobody_there_and_offline(hub: LocalHub, tmp_path: Path) -> None:
    errors, _ = load(hub, tmp_path, "dpg", "drawbench", HF_HUB_OFFLINE="1")
    for error in errors.values():
        says(error, "HF_HUB_OFFLINE forbids", "is not here")
        assert ". " not in error  # one sentence, to its end
    assert hub.requests == []
    errors, _ = load(hub, tmp_path, "dpg", "drawbench")
    says(errors["dpg"], "prompts-dpg/dpg_bench.csv answers 404")
    says(errors["drawbench"], "prompts-drawbench", "no such repository")
    errors, _ = load(LocalHub("http://127.0.0.1:9"), tmp_path, "dpg", "drawbench")
    says(errors["dpg"], "http://127.0.0.1:9/plain/prompts-dpg cannot be reached")
    says(
        errors["drawbench"], "prompts-drawbench", "http://127.0.0.1:9/datasets/sayakpaul/drawbench", "check the network"
    )


def in_a_mirror(folder: Path, name: str, contents: Content) -> Path:
    for path, text in contents.items():
        file = folder / "mirror" / prompts.find(name).asset / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8", newline="")
    return folder / "mirror"


def test_a_mirror_serves_prompts(hub: LocalHub, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("drawbench", "hpdv2"):
        monkeypatch.setenv("FLOWBENCH_ASSETS", str(in_a_mirror(tmp_path, name, MAKERS[name]())))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert len(prompts.load("drawbench", "test")) == 200
    assert len(prompts.load("hpdv2", "test")) == 3200
    shutil.rmtree(tmp_path / "mirror" / "prompts-hpdv2")
    one_error(lambda: prompts.load("hpdv2", "test"), AssetError, "is not here")
    assert hub.requests == []


def test_a_version_is_the_commit_of_the_home() -> None:
    for name in OF_OTHERS:
        found = prompts.find(name)
        asset = ASSETS[found.asset]
        assert len(found.version) == 10
        assert found.version in (asset.url or asset.revision)
