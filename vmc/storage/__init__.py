"""What is kept on disk: episodes, latents, checkpoints, metrics. No torch, no pickle."""
