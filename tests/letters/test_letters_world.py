"""The letters world: its splits, its pictures, and the two readers on them."""

from __future__ import annotations

import numpy
import pytest
from PIL import Image

from flowbench import rewards
from flowbench.errors import ConfigError
from flowbench.letters import grammar, reader, world
from flowbench.types import Sample


def texts(split: str, tag: str) -> list[str]:
    return [prompt.metadata["text"] for prompt in grammar.prompts(split) if prompt.tag == tag]


def signs(count: int, seed: int) -> list[tuple[str, Image.Image]]:
    """Random texts of one to four letters, in turn, and their signs, anywhere and in any scale."""
    rng = numpy.random.default_rng(seed)
    drawn = ["".join(rng.choice(list(grammar.LETTERS), 1 + place % 4)) for place in range(count)]
    return [(text, world.render(world.sample_sign(text, rng, roams=True))) for text in drawn]


def test_counts_by_hand():
    assert [len(texts("test", tag)) for tag in grammar.TAGS] == [20, 40, 40, 40]
    assert [len(texts("dev", tag)) for tag in grammar.TAGS] == [20, 24, 24, 24]
    assert [len(texts("train", tag)) for tag in grammar.TAGS] == [20, 20**2 - 64, 4000, 4000]


@pytest.mark.parametrize("tag", grammar.TAGS[1:])
def test_splits_share_no_text(tag):
    train, dev, test = (set(texts(split, tag)) for split in grammar.SPLITS)
    assert not train & dev and not train & test and not dev & test


def test_a_prompt_in_full():
    prompt = grammar.prompt("AXT")
    assert (prompt.id, prompt.text, prompt.tag) == ("letters-AXT", 'a sign that says "AXT"', "three_letters")
    assert prompt.metadata == {"prompt": prompt.text, "tag": prompt.tag, "text": "AXT"}


@pytest.mark.parametrize("text", ["", "ABCDE", "WOW", "ab", "A B"])
def test_what_no_sign_can_say(text):
    with pytest.raises(ConfigError, match="Ask for one to 4 of the letters ABCDEFGHJKLNPRSTUXYZ"):
        grammar.prompt(text)


def test_unknown_split():
    with pytest.raises(ConfigError, match="no split 'validation'"):
        grammar.prompts("validation")


def test_every_letter_has_strokes_inside_its_box():
    assert sorted(world.STROKES) == sorted(grammar.LETTERS)
    points = [point for strokes in world.STROKES.values() for stroke in strokes for point in stroke]
    assert all(0 <= x <= 1 and 0 <= y <= 1 for x, y in points)


def test_a_sign_by_hand():
    """One L at scale 1 in the middle: 4.2 x 8 between strokes, 2.6 to the board's edge, strokes of 1.35."""
    sign = world.Sign("L", "red", 16.0, 16.0, 1.0)
    assert sign.letters == pytest.approx((4.2, 8.0)) and sign.extent == pytest.approx((9.4, 13.2))
    assert world.Sign("LL", "red", 16.0, 16.0, 2.0).letters == pytest.approx((2 * (6.9 + 4.2), 16.0))
    pixels = numpy.asarray(world.render(sign))
    assert tuple(pixels[0, 0]) == world.BACKGROUND
    assert tuple(pixels[12, 17]) == world.BOARDS["red"]  # right of the upright stroke
    assert pixels[16, 13].min() > 180  # the upright, from 13.2 to 14.6: most of pixel 13
    assert pixels[19, 16].min() > 150  # the foot, from 19.3 to 20.7: two thirds of pixel 19
    assert tuple(pixels[16, 21]) == world.BACKGROUND  # right of the board, which ends at 20.7


def test_the_whole_board_is_on_the_picture():
    rng = numpy.random.default_rng(0)
    for place in range(400):
        text = "H" * (1 + place % 4)
        sign = world.sample_sign(text, rng, roams=True)
        for centre, extent in zip((sign.x, sign.y), sign.extent, strict=True):
            assert centre - extent / 2 >= 1 and centre + extent / 2 <= world.SIZE - 1


def test_a_prompts_sign_is_in_the_middle_but_for_a_pixel():
    rng = numpy.random.default_rng(0)
    for place in range(200):
        text = "H" * (1 + place % 4)
        sign = world.sample_sign(text, rng)
        assert max(abs(sign.x - 16), abs(sign.y - 16)) <= world.WANDER
        assert sign.scale == pytest.approx(sum(world.SCALES[len(text)]) / 2)


def test_the_exact_reader_reads_every_sign():
    wrong = [(text, reader.read(picture)) for text, picture in signs(2000, seed=1) if reader.read(picture) != text]
    assert wrong == []


def test_what_is_no_letter_is_read_as_unknown_and_never_dropped():
    sign = numpy.array(world.render(world.Sign("LL", "white", 16.0, 16.0, 1.2)))
    assert reader.read(Image.fromarray(sign)) == "LL"
    left = numpy.arange(world.SIZE) < 16
    blot = sign.copy()
    blot[11:21, (numpy.arange(world.SIZE) > 9) & left] = world.DARK  # the first letter is painted over
    assert reader.read(Image.fromarray(blot)) == "?L"


@pytest.mark.parametrize("ground", [world.BACKGROUND, (0, 0, 0), (250, 250, 250)])
def test_nothing_is_read_where_no_letter_is(ground):
    assert reader.read(Image.new("RGB", (world.SIZE, world.SIZE), ground)) == ""
    board = Image.new("RGB", (world.SIZE, world.SIZE), world.BACKGROUND)
    board.paste(ground, (8, 8, 24, 24))
    assert reader.read(board) == ""


def test_a_faded_sign_is_read_as_long_as_its_ink_is_half_there():
    pixels = numpy.asarray(world.render(world.Sign("KEY", "green", 16.0, 16.0, 1.1))).astype(float)
    board, inside = numpy.array(world.BOARDS["green"]), (slice(10, 22), slice(4, 28))
    for share, said in ((0.8, "KEY"), (0.3, "")):
        faded = pixels.copy()
        faded[inside] = board + share * (pixels[inside] - board)
        assert reader.read(Image.fromarray(faded.round().astype(numpy.uint8))) == said


def test_rapidocr_reads_them_too():
    """Its recogniser alone, on what differs from the ground: what it cannot read on true signs is its ceiling."""
    pytest.importorskip("rapidocr", reason='needs the extra: pip install -e ".[ocr]"')
    drawn = [Sample(grammar.prompt(text), picture) for text, picture in signs(120, seed=2)]
    ocr = rewards.build("ocr", options={"ocr": {"variant": "exact", "detection": False}}, cache=False)
    right = [score.value for score in ocr(drawn)]
    assert sum(right) / len(right) >= 0.97
