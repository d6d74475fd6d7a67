"""Makes the built-in model: `python -m flowbench.shapes.pretrain`. Text encoders, autoencoder, transformer."""
