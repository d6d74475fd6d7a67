"""Stage 1: tokenizer and two small CLIP text encoders, trained to make every slot of a prompt readable.

The proxy task is to read kinds, colours, count and relation linearly from the pooled output and, at the nouns, from
the penultimate hidden state: the two things that a Stable Diffusion 3 transformer is given.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy
import torch

from flowbench.shapes import grammar
from flowbench.shapes.pretrain.loop import StageConfig, run_stage
from flowbench.types import Prompt
from flowbench.vocabularies import RELATIONS, plural

LENGTH = 12
"""Token positions: the longest prompt has ten words, plus start and end."""
WIDTH = 48
SLOT_VALUES = {
    "first_kind": grammar.KINDS,
    "second_kind": ("", *grammar.KINDS),
    "first_color": ("", *grammar.COLORS),
    "second_color": ("", *grammar.COLORS),
    "count": ("1", "2", "3", "4"),
    "relation": ("", *RELATIONS),
}
NOUN_SLOTS = {
    "first": ("first_kind", "first_color", "count"),
    "second": ("second_kind", "second_color", "relation", "first_kind"),
}


def build_tokenizer(folder: Path) -> None:
    """Write a CLIP tokenizer in which every word of the grammar is one token; other words fall apart into letters."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    words = sorted(
        {word for split in grammar.SPLITS for prompt in grammar.prompts(split) for word in prompt.text.split()}
    )
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    alphabet = [*letters, *(letter + "</w>" for letter in letters)]
    trainer = trainers.BpeTrainer(
        vocab_size=2000, min_frequency=1, special_tokens=["<|startoftext|>", "<|endoftext|>", *alphabet],
        end_of_word_suffix="</w>", show_progress=False,
    )  # fmt: skip
    tokenizer.train_from_iterator([" ".join(words)], trainer)
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(tokenizer.get_vocab(), indent=0, sort_keys=True))
    lines = [pair if isinstance(pair, str) else " ".join(pair) for pair in merges]
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(lines) + "\n")
    special = {
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
    }
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": LENGTH, **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2))
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=2))


def load_tokenizer(folder: Path) -> Any:
    """The CLIP tokenizer of a folder that `build_tokenizer` wrote."""
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(str(folder), local_files_only=True)


def build_encoder(tokenizer: Any, seed: int) -> Any:
    """A fresh text encoder: 2 layers, 48 wide."""
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=WIDTH, intermediate_size=4 * WIDTH, projection_dim=WIDTH,
        num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=LENGTH, hidden_act="gelu",
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    torch.manual_seed(seed)
    return CLIPTextModelWithProjection(config)


class Probe(torch.nn.Module):
    """Linear read-outs of every slot from the pooled output and from the nouns' hidden states."""

    def __init__(self) -> None:
        super().__init__()
        self.pooled = torch.nn.ModuleDict({slot: torch.nn.Linear(WIDTH, len(v)) for slot, v in SLOT_VALUES.items()})
        self.nouns = torch.nn.ModuleDict(
            {
                f"{noun}/{slot}".replace("/", "-"): torch.nn.Linear(WIDTH, len(SLOT_VALUES[slot]))
                for noun, slots in NOUN_SLOTS.items()
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
        for name, head in self.nouns.items():
            noun, slot = name.split("-")
            position = batch[f"{noun}_at"]
            present = position >= 0
            logits = head(hidden[rows, position.clamp(min=0)][present])
            loss = loss + torch.nn.functional.cross_entropy(logits, batch[slot][present]) * present.float().mean()
            right[present] &= logits.argmax(-1) == batch[slot][present]
        return loss, right.float().mean()


def encode_batch(tokenizer: Any, prompts: list[Prompt]) -> dict[str, torch.Tensor]:
    """Token ids, slot labels and noun positions (-1 = absent) of some prompts."""
    batch = {
        "ids": tokenizer(
            [p.text for p in prompts], padding="max_length", max_length=LENGTH, return_tensors="pt"
        ).input_ids
    }
    slots = [grammar.slots(prompt) for prompt in prompts]
    for slot, values in SLOT_VALUES.items():
        batch[slot] = torch.tensor([values.index(found[slot]) for found in slots])
    nouns = {*grammar.KINDS, *(plural(kind) for kind in grammar.KINDS)}
    positions = [[1 + k for k, word in enumerate(p.text.split()) if word in nouns] for p in prompts]
    batch["first_at"] = torch.tensor([found[0] for found in positions])
    batch["second_at"] = torch.tensor([found[1] if len(found) > 1 else -1 for found in positions])
    return batch


def train_text_encoder(folder: Path, index: int, tokenizer: Any, config: StageConfig, seed: int) -> Any:
    """Train encoder 1 or 2, freeze it, rescale its pooled output to unit standard deviation."""
    encoder, probe = build_encoder(tokenizer, seed + index), Probe()
    by_tag = {tag: [p for p in grammar.prompts("train") if p.tag == tag] for tag in grammar.TAGS}
    batches = {tag: encode_batch(tokenizer, prompts) for tag, prompts in by_tag.items()}
    parameters = {
        f"{part}.{k}": p for part, m in (("encoder", encoder), ("probe", probe)) for k, p in m.named_parameters()
    }

    def loss_at(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        rng = numpy.random.default_rng([seed, 1, index, step])
        picks = {tag: torch.from_numpy(rng.integers(len(by_tag[tag]), size=24)) for tag in grammar.TAGS}
        batch = {key: torch.cat([batches[tag][key][rows] for tag, rows in picks.items()]) for key in batches["colors"]}
        loss, right = probe(encoder(input_ids=batch["ids"], output_hidden_states=True), batch)
        return loss, {"right": float(right)}

    ema = run_stage(folder, f"text{index}", parameters, loss_at, config)
    encoder.load_state_dict(
        {k.removeprefix("encoder."): v for k, v in ema.items() if k.startswith("encoder.")}, strict=False
    )
    probe.load_state_dict({k.removeprefix("probe."): v for k, v in ema.items() if k.startswith("probe.")})
    with torch.no_grad():
        held_out = encode_batch(tokenizer, list(grammar.prompts("test")))
        output = encoder(input_ids=held_out["ids"], output_hidden_states=True)
        print(f"text{index}: all slots right on unseen prompts: {float(probe(output, held_out)[1]):.4f}", flush=True)
        everything = torch.cat([encoder(input_ids=batch["ids"]).text_embeds for batch in batches.values()])
        encoder.text_projection.weight.div_(everything.std())
    return encoder.eval().requires_grad_(False)
