"""Dreams with a run's M: a batch of dreams under C, and one in which C never acts; what they promise.

python examples/dream.py results/carracing
"""

from __future__ import annotations

import sys

import numpy as np
import torch

from vmc import Noise, draw_noise, load_run

DREAMS, STEPS = 64, 100


def main(path: str) -> None:
    run = load_run(path)
    world, act = run.dream(), run.batch_controller()
    for name, policy in (("C", act), ("no action", lambda features: torch.zeros_like(act(features)))):
        generators = np.random.default_rng(0).spawn(DREAMS)  # each dream has its own
        state = run.starts.draw(generators)
        noise = draw_noise(generators, STEPS, world.noise_sizes, torch.device("cpu"))
        total, alive = torch.zeros(DREAMS), torch.ones(DREAMS, dtype=torch.bool)
        for t in range(STEPS):
            actions = policy(world.features(state))
            step = world.step(state, actions, Noise(*(numbers[t] for numbers in noise)), run.settings)
            total += torch.where(alive, step.rewards, 0)
            alive &= ~step.terminated
            state = step.state
        returns = f"return {total.mean():.2f} +- {total.std():.2f}, {int(alive.sum())} alive"
        print(f"{name}: {DREAMS} dreams of {STEPS} steps: {returns}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
