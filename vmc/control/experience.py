"""What a noisy C has met: in dreams, or in episodes of the real environment, side by side as tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from vmc.control.output_noise import draw_output_noise
from vmc.control.real_experience import Episode, ExperienceJob
from vmc.control.stochastic_actor import StochasticActor
from vmc.dream.settings import DreamSettings
from vmc.dream.starts import DreamStarts
from vmc.dream.world import DreamWorld
from vmc.envs import ActionMap
from vmc.envs.action_map import OneHotActionMap
from vmc.episode import Limits
from vmc.executors import Executor
from vmc.models.dynamics.noise import draw_batch_noise
from vmc.models.dynamics.state import State
from vmc.seeding import env_seed, stream


class Experience(NamedTuple):
    """B dreams or episodes of at most T steps.

    Attributes:
        features: C's inputs at each frame, (T + 1, B, I). A shorter episode stands still at its last frame.
        outputs: the noisy outputs, (T, B, A).
        rewards: (T, B), in the environment's units.
        continues: 0 where the step has terminated the episode, else 1, (T, B).
        mask: 1 for the steps that there were, 0 for those after an end, (T, B).
    """

    features: Tensor
    outputs: Tensor
    rewards: Tensor
    continues: Tensor
    mask: Tensor

    def discounts(self, discount: float) -> Tensor:
        """For the value of what comes after each step, (T, B): after its end an episode keeps the value it had."""
        return torch.where(self.mask > 0, discount * self.continues, 1.0)

    @property
    def returns(self) -> Tensor:
        """The sums of the rewards, (B,)."""
        return (self.mask * self.rewards).sum(dim=0)


def imagine(
    world: DreamWorld,
    actor: StochasticActor,
    action_map: ActionMap,
    state: State,
    steps: int,
    rng: np.random.Generator,
    dream: DreamSettings,
) -> Experience:
    """Dreams B dreams of T steps from a state of B rows."""
    batch, is_discrete = len(state[0]), isinstance(action_map, OneHotActionMap)
    noise = draw_batch_noise(rng, steps, batch, world.noise_sizes, world.device)
    drawn = torch.from_numpy(draw_output_noise(rng, (steps, batch, len(actor.log_scale)), is_discrete))
    drawn = drawn.to(world.device)
    features, outputs, rewards, continues = [actor.inputs(world.features(state))], [], [], []
    for t in range(steps):
        noisy = actor.noisy(actor(features[-1]), drawn[t])
        step = world.step(state, action_map.torch(noisy), noise.at(t), dream)
        state = step.state
        features.append(actor.inputs(world.features(state)))
        outputs.append(noisy)
        rewards.append(step.rewards)
        continues.append(1 - step.terminated.float())
    goes_on = torch.stack(continues)
    mask = torch.cat([torch.ones_like(goes_on[:1]), goes_on[:-1]]).cumprod(dim=0)
    return Experience(torch.stack(features), torch.stack(outputs), torch.stack(rewards), goes_on, mask)


class Collect(Protocol):
    """Lets a noisy C act for one generation."""

    @property
    def num_episodes(self) -> int:
        """B, the episodes of a generation."""
        ...

    def __call__(self, actor: StochasticActor, generation: int, on_episodes: Callable[[int], None]) -> Experience:
        """What they met; tells how many have ended meanwhile. It depends on the actor and the generation alone."""
        ...


@dataclass(frozen=True)
class DreamCollect:
    """A `Collect` in the dream.

    Attributes:
        starts: gives the moments that dreams begin at; called with the first generation.
        num_episodes: dreams of a generation.
        seed, phase: name the random streams.
    """

    world: DreamWorld
    starts: Callable[[], DreamStarts]
    action_map: ActionMap
    dream: DreamSettings
    num_episodes: int
    seed: int
    phase: int

    @torch.no_grad()
    def __call__(self, actor: StochasticActor, generation: int, on_episodes: Callable[[int], None]) -> Experience:
        rng = stream(self.seed, "ppo/dreams", self.phase, generation)
        state = self.starts().draw_many(self.num_episodes, rng)
        found = imagine(self.world, actor, self.action_map, state, self.dream.horizon, rng, self.dream)
        on_episodes(self.num_episodes)
        return found


@dataclass(frozen=True)
class RealCollect:
    """A `Collect` in the real environment.

    Attributes:
        executor: of `ExperienceWorker`s.
        num_episodes: of a generation.
        seed: names the episodes.
    """

    executor: Executor[ExperienceJob, Episode]
    limits: Limits
    num_episodes: int
    seed: int

    def __call__(self, actor: StochasticActor, generation: int, on_episodes: Callable[[int], None]) -> Experience:
        scale = float(actor.log_scale.detach()[0].exp())
        seeds = [env_seed(self.seed, "fitness", generation, number) for number in range(self.num_episodes)]
        jobs = [ExperienceJob(actor.parameters_of_c, seed, self.limits, scale) for seed in seeds]
        episodes: dict[int, Episode] = {}
        for position, episode in self.executor.map(jobs):
            episodes[position] = episode
            on_episodes(1)
        return side_by_side([episodes[position] for position in range(len(jobs))])


def side_by_side(episodes: Sequence[Episode]) -> Experience:
    """Episodes of any lengths as one batch.

    After its end an episode stands still: no reward, and the value of its last frame, so that what it is worth at a
    truncation is what the critic says.
    """
    lengths = np.array([len(each.rewards) for each in episodes])
    steps = int(lengths.max())
    times = np.arange(steps)[:, None]
    features = np.stack([_stretched(each.features, steps + 1) for each in episodes], axis=1)
    outputs = np.stack([_stretched(each.outputs, steps) for each in episodes], axis=1)
    mask = times < lengths
    rewards = np.stack([_stretched(each.rewards, steps) for each in episodes], axis=1) * mask
    continues = 1 - ((times == lengths - 1) & np.array([each.terminated for each in episodes]))
    arrays = features, outputs, rewards, continues, mask
    return Experience(*(torch.from_numpy(array.astype(np.float32)) for array in arrays))


def _stretched(values: np.ndarray, length: int) -> np.ndarray:
    return values[np.minimum(np.arange(length), len(values) - 1)]
