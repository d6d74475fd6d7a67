"""Stage 1: tokenizer and two small CLIP text encoders, trained to make every slot of a prompt readable.

The proxy task is to read all that a prompt says (kinds, colours, count and relation; letters) linearly from the pooled
output and, at the words or letters that say it, from the penultimate hidden state: the two things that a Stable
Diffusion 3 transformer is given.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy
import torch

from flowbench.pretrain.base import World
from flowbench.pretrain.loop import StageConfig, run_stage
from flowbench.types import Prompt

WIDTH = 48
START, END = "<|startoftext|>", "<|endoftext|>"
END_OF_WORD = "</w>"
LETTERS = [chr(code) for code in range(ord("a"), ord("z") + 1)]
ALPHABET = [START, END, *LETTERS, *(letter + END_OF_WORD for letter in LETTERS)]


def build_tokenizer(folder: Path, world: World) -> None:
    """Write a CLIP tokenizer in which every word of the world is one token; other words fall apart into letters."""
    if world.merges is None:
        vocabulary, merges = _learned(world.words)
    else:
        marks = [word + END_OF_WORD for word in world.words if not word.isalpha()]
        tokens = [*ALPHABET, *marks, *("".join(pair) for pair in world.merges)]
        vocabulary, merges = {token: place for place, token in enumerate(tokens)}, list(world.merges)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary, indent=0, sort_keys=True))
    lines = [" ".join(pair) for pair in merges]
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(lines) + "\n")
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": world.length, **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2))
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=2))


def _learned(words: Sequence[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary and merges by byte-pair encoding of the words, until each is one token."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(end_of_word_suffix=END_OF_WORD))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(
        vocab_size=2000, min_frequency=1, special_tokens=ALPHABET, end_of_word_suffix=END_OF_WORD, show_progress=False
    )
    tokenizer.train_from_iterator([" ".join(words)], trainer)
    merges = json.loads(tokenizer.to_str())["model"]["merges"]  # pairs, or in tokenizers before .20 text
    return tokenizer.get_vocab(), [tuple(pair.split() if isinstance(pair, str) else pair) for pair in merges]


def load_tokenizer(folder: Path) -> Any:
    """The CLIP tokenizer of a folder that `build_tokenizer` wrote."""
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(str(folder), local_files_only=True)


def build_encoder(tokenizer: Any, length: int, seed: int) -> Any:
    """A fresh text encoder: 2 layers, 48 wide."""
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=WIDTH, intermediate_size=4 * WIDTH, projection_dim=WIDTH,
        num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=length, hidden_act="gelu",
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    torch.manual_seed(seed)
    return CLIPTextModelWithProjection(config)


class Probe(torch.nn.Module):
    """Linear read-outs of every slot from the pooled output and from the hidden states at the marks."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.pooled = torch.nn.ModuleDict({slot: torch.nn.Linear(WIDTH, len(v)) for slot, v in world.slots.items()})
        self.marks = torch.nn.ModuleDict(
            {
                f"{mark}-{slot}": torch.nn.Linear(WIDTH, len(world.slots[slot]))
                for mark, slots in world.marks.items()
                for slot in slots
            }
        )

    def forward(self, output: Any, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """(loss, fraction of prompts with every slot read right)."""
        rows = torch.arange(len(batch["ids"]))
        right = torch.ones(len(rows), dtype=torch.bool)
        loss = torch.zeros(())
        for slot, head in self.pooled.items():
            logits = head(output.text_embeds)
            loss = loss + torch.nn.functional.cross_entropy(logits, batch[slot])
            right &= logits.argmax(-1) == batch[slot]
        hidden = output.hidden_states[-2]
        for name, head in self.marks.items():
            mark, slot = name.split("-")
            position = batch[f"{mark}_at"]
            present = position >= 0
            logits = head(hidden[rows, position.clamp(min=0)][present])
            loss = loss + torch.nn.functional.cross_entropy(logits, batch[slot][present]) * present.float().mean()
            right[present] &= logits.argmax(-1) == batch[slot][present]
        return loss, right.float().mean()


def encode_batch(tokenizer: Any, world: World, prompts: Sequence[Prompt]) -> dict[str, torch.Tensor]:
    """Token ids, slot labels and the marks' positions (-1 = absent) of some prompts."""
    texts = [prompt.text for prompt in prompts]
    batch = {"ids": tokenizer(texts, padding="max_length", max_length=world.length, return_tensors="pt").input_ids}
    slots = [world.slots_of(prompt) for prompt in prompts]
    for slot, values in world.slots.items():
        batch[slot] = torch.tensor([values.index(found[slot]) for found in slots])
    marks = [world.marks_of(prompt) for prompt in prompts]
    for mark in world.marks:
        batch[f"{mark}_at"] = torch.tensor([found[mark] for found in marks])
    return batch


def train_text_encoder(folder: Path, index: int, tokenizer: Any, world: World, config: StageConfig, seed: int) -> Any:
    """Train encoder 1 or 2, freeze it, rescale its pooled output to unit standard deviation."""
    encoder, probe = build_encoder(tokenizer, world.length, seed + index), Probe(world)
    by_tag = {tag: [p for p in world.prompts("train") if p.tag == tag] for tag in world.tag_weights}
    batches = {tag: encode_batch(tokenizer, world, prompts) for tag, prompts in by_tag.items()}
    parameters = {
        f"{part}.{k}": p for part, m in (("encoder", encoder), ("probe", probe)) for k, p in m.named_parameters()
    }

    def loss_at(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        rng = numpy.random.default_rng([seed, 1, index, step])
        picks = {tag: torch.from_numpy(rng.integers(len(by_tag[tag]), size=24)) for tag in by_tag}
        keys = next(iter(batches.values()))
        batch = {key: torch.cat([batches[tag][key][rows] for tag, rows in picks.items()]) for key in keys}
        loss, right = probe(encoder(input_ids=batch["ids"], output_hidden_states=True), batch)
        return loss, {"right": float(right)}

    ema = run_stage(folder, f"text{index}", parameters, loss_at, config)
    encoder.load_state_dict(
        {k.removeprefix("encoder."): v for k, v in ema.items() if k.startswith("encoder.")}, strict=False
    )
    probe.load_state_dict({k.removeprefix("probe."): v for k, v in ema.items() if k.startswith("probe.")})
    with torch.no_grad():
        held_out = encode_batch(tokenizer, world, world.prompts("test"))
        output = encoder(input_ids=held_out["ids"], output_hidden_states=True)
        print(f"text{index}: all slots right on unseen prompts: {float(probe(output, held_out)[1]):.4f}", flush=True)
        everything = torch.cat([encoder(input_ids=batch["ids"]).text_embeds for batch in batches.values()])
        encoder.text_projection.weight.div_(everything.std())
    return encoder.eval().requires_grad_(False)
