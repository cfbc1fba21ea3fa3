"""Episodes, latents, checkpoints and metrics on disk. This package uses neither torch nor pickle."""
