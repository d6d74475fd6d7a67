"""Pictures are written and read in threads, beside model and scorers: the same files, and every failure is seen."""

from __future__ import annotations

import dataclasses
import threading
import time
from contextlib import closing

import pytest
from painter import Painter, make_suite
from PIL import Image

from flowbench import benchmarks, images, store
from flowbench.benchmarks import pictures, reading
from flowbench.benchmarks.existing import ExistingPicture
from flowbench.errors import ConfigError, RunError
from flowbench.types import Prompt

PATIENCE = 20


def batch(*names):
    return [(name, Image.new("RGB", (2, 2), (number, 0, 0)), {}) for number, name in enumerate(names)]


def test_a_batch_is_written_while_the_next_one_is_made(tmp_path, monkeypatch):
    going_on = threading.Event()

    def waiting(image, facts):
        assert going_on.wait(PATIENCE)
        return images.png_bytes(image, facts)

    monkeypatch.setattr(pictures, "png_bytes", waiting)
    with pictures.Pictures(tmp_path) as folder:
        folder.add(batch("a.png", "b.png"))
        assert not folder.has("a.png")
        going_on.set()
        folder.add(batch("c.png"))
        assert folder.has("a.png") and folder.has("b.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png", "c.png"]


def test_what_was_made_before_a_failure_is_kept(tmp_path):
    with pytest.raises(KeyboardInterrupt), pictures.Pictures(tmp_path) as folder:
        folder.add(batch("a.png"))
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_a_failure_is_not_hidden_by_that_of_the_batch_on_its_way(tmp_path):
    with pytest.raises(ConfigError, match="no more"), pictures.Pictures(tmp_path) as folder:
        folder.add([("a.png", "no picture", {})])
        raise ConfigError("no more")
    assert [path.name for path in tmp_path.iterdir()] == []


def test_a_batch_exists_as_soon_as_it_is_written(tmp_path):
    """And not only when the caller comes with the next one: it may be killed before."""
    with pictures.Pictures(tmp_path) as folder:
        folder.add(batch("a.png", "b.png"))
        until = time.monotonic() + PATIENCE
        while not (folder.has("a.png") and folder.has("b.png")) and time.monotonic() < until:
            time.sleep(0.01)
        assert folder.has("a.png") and folder.has("b.png")


@pytest.mark.parametrize(("failing", "kept"), [("a-0.png", set()), ("c-0.png", {"a-0.png", "b-0.png"})])
def test_a_picture_that_cannot_be_written_ends_the_evaluation(tmp_path, monkeypatch, failing, kept):
    """Also the last one, after which no other batch would notice."""
    write = store.write_bytes

    def full(path, data):
        if path.name == failing:
            raise RunError(f"cannot write {path}: No space left on device.")
        return write(path, data)

    suite = make_suite(tmp_path, images_per_prompt=1, prompts_per_tag=1)
    (tmp_path / "prompts.jsonl").write_text("".join(f'{{"id": "{name}", "prompt": "{name}"}}\n' for name in "abc"))
    painter = Painter(tmp_path / "diary.jsonl")
    with monkeypatch.context() as patch:
        patch.setattr(store, "write_bytes", full)
        with pytest.raises(RunError, match="No space left"):
            benchmarks.evaluate(painter, suite, out=tmp_path, batch_size=1)
    assert {path.name for path in tmp_path.glob("eval/*/images/*.png")} == kept
    folder = benchmarks.evaluate(painter, suite, out=tmp_path, batch_size=1)
    assert {path.name for path in (folder / "images").iterdir()} == {"a-0.png", "b-0.png", "c-0.png"}


@pytest.fixture
def save(tmp_path):
    def save(*names):
        found = []
        for number, name in enumerate(names):
            path = tmp_path / f"{name}.png"
            Image.new("RGB", (2, 2), (number + 1, 0, 0)).save(path)
            found.append(ExistingPicture(Prompt(name, name), 0, path, path.name, number))
        return found

    return save


@pytest.mark.parametrize("small", [1 << 20, 0], ids=["at once", "by threads"])
def test_pictures_come_in_their_order_and_broken_ones_with_the_reason(save, monkeypatch, small):
    monkeypatch.setattr(reading, "_SMALL", small)
    given = save(*"abcdef")
    given[1].path.write_text("no picture")
    given[3].path.unlink()
    given[4] = dataclasses.replace(given[4], path=given[4].path.with_name("x" * 300))
    with closing(reading.read_ahead([given[:2], given[2:4], given[4:]])) as read:
        found = [each for batch in read for each in batch]
    whole = {place: each.sample for place, each in enumerate(found) if each.sample is not None}
    assert {place: (each.prompt.id, each.seed, each.image.getpixel((0, 0))[0]) for place, each in whole.items()} == {
        0: ("a", 0, 1), 2: ("c", 2, 3), 5: ("f", 5, 6),
    }  # fmt: skip
    reasons = [each.reason for each in found if each.sample is None]
    assert [each.sha256 for each in found] == [
        store.file_digest(each.path) if each.path.name[0] in "abcf" else "" for each in given
    ]
    assert len(reasons) == 3 and all("not a readable picture" in reason for reason in reasons)
    assert list(reading.read_ahead([])) == []


def test_the_next_batch_is_read_meanwhile_and_no_more_than_that(save, monkeypatch):
    monkeypatch.setattr(reading, "_SMALL", 0)
    given = save(*"abc")
    asked, begun = [], threading.Event()
    load = ExistingPicture.load

    def noted(self):
        if self is given[1]:
            begun.set()
        return load(self)

    def batches():
        for each in given:
            asked.append(each.name)
            yield [each]

    monkeypatch.setattr(ExistingPicture, "load", noted)
    with closing(reading.read_ahead(batches())) as read:
        next(read)
        assert begun.wait(PATIENCE)
        assert asked == ["a.png", "b.png"]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("reading")]
