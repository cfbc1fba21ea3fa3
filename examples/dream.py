"""Dreams with a run's M: a batch of dreams in which C never acts, and what they promise.

python examples/dream.py results/carracing
"""

from __future__ import annotations

import sys

import torch

from vmc import Noise, load_run

DREAMS, STEPS = 64, 100


def main(path: str) -> None:
    run = load_run(path)
    world = run.dream(temperature=1.0)
    generator = torch.Generator().manual_seed(0)
    chosen = torch.randint(len(run.starts), (DREAMS,), generator=generator)
    starts = run.starts.selected(chosen.numpy())
    latents, hidden = starts.means, starts.hidden
    action = torch.zeros(DREAMS, run.dynamics.settings.action_size)  # the same action for ever
    total, alive = torch.zeros(DREAMS), torch.ones(DREAMS, dtype=torch.bool)
    for _ in range(STEPS):
        uniform = torch.rand(DREAMS, world.latent_size, generator=generator)
        normal = torch.randn(DREAMS, world.latent_size, generator=generator)
        noise = Noise(uniform, normal, torch.rand(DREAMS, generator=generator))
        latents, hidden, rewards, terminated = world.step(latents, hidden, action, noise)
        total += torch.where(alive, rewards, 0)
        alive &= ~terminated
    print(f"{DREAMS} dreams of {STEPS} steps: return {total.mean():.2f} +- {total.std():.2f}, {int(alive.sum())} alive")


if __name__ == "__main__":
    main(sys.argv[1])
