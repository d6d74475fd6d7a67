"""Makes the built-in model: `python -m flowbench.shapes.pretrain`. Three stages: text encoders, autoencoder, transformer."""
