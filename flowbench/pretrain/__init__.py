"""Makes the built-in models: `python -m flowbench.pretrain WORLD`. Text encoders, autoencoder, transformer."""
