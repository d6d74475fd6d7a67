"""`python -m flowbench.pretrain WORLD --out FOLDER`: make a built-in model from nothing.

Seeded and resumable: run the same command again after any interruption. On two CPU cores the whole takes about two
hours; `--stage decoder` needs only the first two stages and can run beside the transformer.
"""

from __future__ import annotations

import importlib
from functools import partial
from pathlib import Path

import click
import torch

from flowbench import store
from flowbench.pretrain import export, text_encoders, transformer, vae
from flowbench.pretrain.base import World
from flowbench.pretrain.loop import StageConfig

WORLDS = {"shapes": "flowbench.pretrain.shapes_world", "letters": "flowbench.pretrain.letters_world"}
MADE = "made.json"
"""Of which world and seed the parts in a folder are."""
STAGES = ("text", "vae", "transformer", "decoder", "export")
TEXT = StageConfig(steps=1500, lr=2e-3, ema=0.99)
VAE = StageConfig(steps=5000, lr=2e-3, ema=0.998)
DECODER = StageConfig(steps=5000, lr=1e-3, ema=0.998)
TRANSFORMER = partial(StageConfig, lr=2e-3, ema=0.999, warmup=200, log_every=100, save_every=1000)
"""But for the steps, which are the world's."""
VAE_BATCH, TRANSFORMER_BATCH, CORPUS = 64, 128, 120_000


@click.command(help=__doc__)
@click.argument("name", metavar="WORLD", type=click.Choice(list(WORLDS)))
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder for states, curves and the pipeline."
)
@click.option("--stage", type=click.Choice(("all", *STAGES)), default="all", help="Run only this stage.")
@click.option("--seed", default=0, help="Seed of every draw.")
@click.option("--threads", default=1, help="CPU threads; one is enough for a model this small.")
@click.option("--steps", type=int, help="Steps of the transformer stage. Default: the world's own.")
def main(name: str, out: Path, stage: str, seed: int, threads: int, steps: int | None) -> None:
    torch.set_num_threads(threads)
    world: World = importlib.import_module(WORLDS[name]).WORLD
    out.mkdir(parents=True, exist_ok=True)
    made = {"world": name, "seed": seed}
    if (out / MADE).is_file() and store.read_object(out / MADE) != made:
        raise click.UsageError(f"{out} holds the parts of another model ({out / MADE}). Give another --out.")
    store.write_json(out / MADE, made)
    if not (out / "tokenizer" / "vocab.json").is_file():
        text_encoders.build_tokenizer(out / "tokenizer", world)
    tokenizer = text_encoders.load_tokenizer(out / "tokenizer")
    encoders = [text_encoders.train_text_encoder(out, index, tokenizer, world, TEXT, seed) for index in (1, 2)]
    if stage == "text":
        return
    autoencoder = vae.train_vae(out, world, VAE, VAE_BATCH, seed)
    if stage == "vae":
        return
    if stage in ("all", "decoder", "export"):
        autoencoder = vae.refine_decoder(out, world, autoencoder, DECODER, VAE_BATCH, seed)
        if stage == "decoder":
            return
    corpus = transformer.build_corpus(out, world, tokenizer, encoders, autoencoder, CORPUS, seed)
    config = TRANSFORMER(steps=steps or world.steps)
    model = transformer.train_transformer(out, corpus, config, TRANSFORMER_BATCH, seed)
    if stage == "transformer":  # the decoder may still be in the making
        return
    export.write_pipeline(out / "pipeline", world, out / "tokenizer", encoders, autoencoder, model)
    print(f"pipeline: {out / 'pipeline'}")


if __name__ == "__main__":
    main()
