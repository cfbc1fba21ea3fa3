"""The settings of every stage, in the order of the pipeline.

They stand here, not beside the stages, because the command line is made from them and must not import torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vmc.config import PRESETS, option
from vmc.envs import get_task
from vmc.models.backbones import BACKBONES
from vmc.models.controller import INPUTS as CONTROLLER_INPUTS
from vmc.models.dynamics_settings import MIXTURES
from vmc.models.visions import VISIONS
from vmc.policies import POLICIES


@dataclass(frozen=True)
class CollectSettings:
    """How episodes are made.

    Attributes:
        env: the environment's id.
        episodes: how many the folder shall hold in the end; only the missing ones are made.
        policy: `random`, `brownian` or `controller`.
        noise: for `controller`: the largest standard deviation of the correlated noise that is added to C's outputs
            before the squash; each episode draws its own, and how often bursts of random actions interrupt it. 0 has
            neither.
        max_steps: a time limit below the environment's own; None leaves it alone.
        stall_steps: end an episode after so many steps without a positive reward: the grass has little to show.
        seed: episode i depends on `(seed, i)` alone (and on the policy).
    """

    env: str
    episodes: int = option(least=1)
    policy: str = option("brownian", choices=[*POLICIES, "controller"])
    noise: float = option(0.7, least=0)
    max_steps: int | None = option(None, least=1)
    stall_steps: int | None = option(None, least=1)
    seed: int = option(0, least=0)


@dataclass(frozen=True)
class TrainVAESettings:
    """How V is trained.

    Attributes:
        vision: the kind of V: a convolutional VAE for pictures; the identity, or a dense VAE, for vectors. Without it
            the environment's entry in the table of tasks decides, or what its observations are.
        epochs: at most so many passes over the training frames.
        patience: stop after so many epochs without a better validation loss.
        batch_size: frames a step.
        learning_rate: Adam's, at first.
        final_rate: the share of the learning rate that is left in the last epoch; it falls linearly. 1 keeps it all.
        kl_floor: nats per latent dimension below which KL costs nothing (0.5 in the original).
        least_nats: latent dimensions that hold less than this about a held-out frame are silenced: z is 0 there,
            not noise. 0 silences none, as the original.
        memory_gib: frames up to this size are kept in memory; more are streamed through a buffer of this size.
        seed: of the weights, the order and the noise.
    """

    env: str
    epochs: int = option(least=1)
    vision: str | None = option(None, choices=[*VISIONS])
    patience: int = option(3, least=1)
    batch_size: int = option(64, least=1)
    learning_rate: float = option(1e-3, above=0)
    final_rate: float = option(0.02, least=0)
    kl_floor: float = option(0.5, least=0)
    least_nats: float = option(0.1, least=0)
    memory_gib: float = option(4.0, above=0)
    seed: int = option(0, least=0)


@dataclass(frozen=True)
class TrainMDRNNSettings:
    """How M is trained.

    Attributes:
        dynamics: what carries M's state; `mlp` has none, and so no memory.
        mixture: whether each latent dimension has component weights of its own, as the original, or all share one set.
        epochs: at most so many passes over the training episodes; 0 leaves M as it is, at random at first.
        patience: stop after so many epochs without a better validation loss.
        batch_size: episodes side by side.
        window: steps of truncated back-propagation; the state is carried from window to window, so M learns from
            the states that it will meet 1,000 steps into an episode.
        learning_rate: Adam's, at first.
        final_rate: the share of the learning rate that is left in the last epoch; it falls linearly. 1 keeps it all.
        gradient_clip: largest gradient norm.
        reward_weight, termination_weight: of these losses beside the mixture's mean over latent dimensions.
        sample_latents: draw z from V's posterior (as the paper), or use its mean; the agent does the same.
        stall_steps: count each recorded stretch of so many steps without a positive reward as termination, a quarter of
            that after it began, so that a dream ends where the episode is seen to be lost.
        seed: of the weights, the order and the draws of z.
    """

    env: str
    epochs: int = option(least=0)
    dynamics: str = option("lstm", choices=[*BACKBONES])
    mixture: str = option("per-dimension", choices=[*MIXTURES])
    patience: int = option(10, least=1)
    batch_size: int = option(16, least=1)
    window: int = option(32, least=1)
    learning_rate: float = option(1e-3, above=0)
    final_rate: float = option(0.02, least=0)
    gradient_clip: float = option(1.0, above=0)
    reward_weight: float = option(1.0, least=0)
    termination_weight: float = option(1.0, least=0)
    sample_latents: bool = True
    stall_steps: int | None = option(None, least=1)
    seed: int = option(0, least=0)


@dataclass(frozen=True)
class TrainControllerSettings:
    """How C is searched for.

    Attributes:
        dream: take the fitness from the dream.
        inputs: what C sees: z, and M's state h and c; the environment's entry in the table of tasks decides otherwise.
        hidden_units: of a hidden layer of tanh units in C; 0 has none.
        population: candidates a generation.
        rollouts_per_candidate: episodes that a fitness is the mean of; the same ones for the whole generation.
        generations: at most so many, for the present V and M.
        step_size: CMA-ES's first standard deviation.
        weight_decay: what C's fitness loses for each unit of its parameters' mean square (hardmaru's `es.py`); small
            weights steer softly.
        reward_cap: with `dream`: of what a dream brings in 20 steps, what exceeds so much a step counts a tenth. A lap
            ends and a dream does not, so that speed would make good there for what is lost in a bend.
        disturbance: with `dream`: the largest standard deviation of the correlated noise that training dreams add to
            C's outputs; each draws its own. C learns to live with what V and M get wrong.
        target_return: stop when the distribution's mean reaches this on the held-out episodes.
        evaluate_every: generations between evaluations of the distribution's mean on held-out episodes.
        evaluation_episodes: how many those are.
        max_steps: a time limit in training; None leaves it to the environment.
        stall_steps: truncate training episodes (not held-out ones) after so many steps without a positive reward.
        temperature, horizon: of the dream.
        sample_termination: a dream terminates with M's probability, else where that exceeds 0.15.
        real_every: with `dream`: generations between evaluations of the distribution's mean in the real environment,
            which alone then decide which C is the best; None never looks at reality.
        anew: when V, M or the place of the fitness have changed, search from nothing again, not from the best C so far,
            which stays the best until it is beaten. Without it after a search with it, in the same V and M, the search
            goes on from the best.
        seed: of the candidates and of the episodes.
    """

    env: str
    generations: int = option(least=1)
    dream: bool = False
    inputs: str | None = option(None, choices=CONTROLLER_INPUTS)
    hidden_units: int = option(0, least=0)
    population: int = option(32, least=4)
    rollouts_per_candidate: int = option(4, least=1)
    step_size: float = option(0.1, above=0)
    weight_decay: float = option(0.0, least=0)
    reward_cap: float | None = option(None, above=0)
    disturbance: float = option(0.0, least=0)
    target_return: float | None = None
    evaluate_every: int = option(5, least=1)
    evaluation_episodes: int = option(8, least=1)
    max_steps: int | None = option(None, least=1)
    stall_steps: int | None = option(None, least=1)
    temperature: float = option(1.0, above=0)
    horizon: int = option(300, least=1)
    sample_termination: bool = False
    real_every: int | None = option(None, least=1)
    anew: bool = False
    seed: int = option(0, least=0)


@dataclass(frozen=True)
class TestSettings:
    """How C is tested.

    Attributes:
        episodes: how many; the paper's tables have 100.
        policy: who drives: C, or a policy that needs no model, for comparison.
        dream: score C in M's dream, from held-out moments, instead of in the environment.
        temperature, horizon, sample_termination: of the dream.
        max_steps: a time limit; None leaves it to the environment.
        seed: of the test episodes, which no training ever sees whatever its seed.
    """

    __test__ = False  # not a test case, whatever pytest thinks of the name

    env: str
    episodes: int = option(100, least=2)
    policy: str = option("controller", choices=["controller", *POLICIES])
    dream: bool = False
    temperature: float = option(1.0, above=0)
    horizon: int = option(1000, least=1)
    sample_termination: bool = False
    max_steps: int | None = option(None, least=1)
    seed: int = option(0, least=0)


@dataclass(frozen=True)
class FaithfulnessSettings:
    """How the dream is compared with reality.

    Attributes:
        controllers: how many of the means that the search saved, evenly spaced over it.
        episodes: real episodes for each of them.
        dreams: dreams for each of them.
        temperature, horizon, sample_termination: of the dreams.
        max_steps: a time limit of the real episodes; None leaves it to the environment.
        seed: of the episodes.
    """

    env: str
    controllers: int = option(12, least=2)
    episodes: int = option(16, least=2)
    dreams: int = option(64, least=2)
    temperature: float = option(1.0, above=0)
    horizon: int = option(300, least=1)
    sample_termination: bool = False
    max_steps: int | None = option(None, least=1)
    seed: int = option(0, least=0)


STAGES: dict[str, type] = {
    "rollouts": CollectSettings,
    "train-vae": TrainVAESettings,
    "train-mdrnn": TrainMDRNNSettings,
    "train-controller": TrainControllerSettings,
    "test": TestSettings,
}


def preset_values(preset: str, env: str, stage: str) -> dict[str, Any]:
    """A preset's values for a stage, or another of its keys (`vmc.config.PRESETS`); the task's own come first."""
    values: dict[str, Any] = {}
    for layer in _layers(preset, env):
        values |= layer.get(stage, {})
    return values


def last_phases(preset: str, env: str) -> list[Mapping[str, Any]]:
    """A preset's `last-rounds`: the task's own, if it has any."""
    return list(next(layer["last-rounds"] for layer in reversed(_layers(preset, env)) if "last-rounds" in layer))


def _layers(preset: str, env: str) -> list[Mapping[str, Any]]:
    task = get_task(env)
    own = {"laptop": [task.laptop], "dream": [task.laptop, task.dream], "paper": [task.paper]}.get(preset, [])
    return [PRESETS[preset], *own]
