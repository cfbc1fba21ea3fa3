"""The settings of every stage, in the order of the pipeline.

They stand here, not beside the stages, because the command line is made from them and must not import torch.
"""

from __future__ import annotations

from dataclasses import dataclass

from vmc.config import option
from vmc.models.controller import INPUTS as CONTROLLER_INPUTS
from vmc.models.dynamics import MIXTURES
from vmc.policies import POLICIES

# Groups of options in `--help`, in this order; an option without a group is a common one.
CMA_ES, DREAM, ADVANCED = "CMA-ES", "Dream", "Advanced"
GROUPS = (CMA_ES, DREAM, ADVANCED)


@dataclass(frozen=True)
class CollectSettings:
    """How episodes are collected.

    Attributes:
        env: the environment's name.
        episodes: how many episodes the folder holds in the end; only the missing ones are collected.
        policy: `random`, `brownian` or `controller` (the run's V, M and C).
        action_noise: for `controller`: the largest standard deviation of the correlated noise on C's outputs, before
            the action map. Each episode draws its own, and a rate of bursts of random actions. 0 adds neither.
        max_steps: a time limit below the environment's own; None keeps the environment's.
        no_reward_limit: truncate an episode after this many steps without a positive reward.
        seed: episode i depends on `(seed, i)` alone (and on the policy).
    """

    env: str
    episodes: int = option(least=1)
    policy: str = option("brownian", choices=[*POLICIES, "controller"])
    action_noise: float = option(0.7, least=0)
    max_steps: int | None = option(None, least=1)
    no_reward_limit: int | None = option(None, least=1)
    seed: int = option(0, least=0)


@dataclass(frozen=True)
class TrainVAESettings:
    """How V is trained.

    Attributes:
        vision: the kind of V: `conv` for pictures; `identity` or `dense` for vectors; or `module:Class`. Default: what
            the environment's entry says, else what fits its observations.
        epochs: the largest number of passes over the training frames.
        patience: stop after this many epochs without a better validation loss.
        batch_size: frames a step.
        learning_rate: Adam's first learning rate.
        final_lr_fraction: the learning rate falls linearly to this fraction of itself; 1 keeps it constant.
        active_threshold: a latent dimension is active if its KL on validation frames is at least this many nats. The
            latent mask sets the others to 0 (active units, Burda et al. 2016). 0 keeps all dimensions, as the paper.
        memory_gib: frames up to this size are kept in memory; more are streamed through a buffer of this size.
        seed: of the weights, the order and the noise.
    """

    env: str
    epochs: int = option(least=1)
    vision: str | None = None
    patience: int = option(3, least=1)
    batch_size: int = option(64, least=1)
    learning_rate: float = option(1e-3, above=0)
    final_lr_fraction: float = option(0.02, least=0)
    active_threshold: float = option(0.1, least=0, group=ADVANCED)
    memory_gib: float = option(4.0, above=0, group=ADVANCED)
    seed: int = option(0, least=0)


@dataclass(frozen=True)
class TrainMDRNNSettings:
    """How M is trained.

    Attributes:
        dynamics: the kind of M: `lstm`, `gru`, `mlp` (no memory), `neural-ode`, or `module:Class`.
        mixture: whether each latent dimension has mixture weights of its own (the original), or all share one set.
        epochs: the largest number of passes over the training episodes; 0 keeps M's random initial weights.
        patience: stop after this many epochs without a better validation loss.
        batch_size: episodes side by side.
        window: steps of truncated back-propagation through time; the state is carried from window to window.
        learning_rate: Adam's first learning rate.
        final_lr_fraction: the learning rate falls linearly to this fraction of itself; 1 keeps it constant.
        sample_latents: draw z from V's posterior (the paper), or use its mean; the agent does the same.
        no_reward_limit: label a stretch of this many steps without a positive reward as terminated, from a quarter of
            the stretch on, so that a dream ends where an episode is lost.
        seed: of the weights, the order and the draws of z.
    """

    env: str
    epochs: int = option(least=0)
    dynamics: str = "lstm"
    mixture: str = option("per-dimension", choices=[*MIXTURES], group=ADVANCED)
    patience: int = option(10, least=1)
    batch_size: int = option(16, least=1)
    window: int = option(32, least=1, group=ADVANCED)
    learning_rate: float = option(1e-3, above=0)
    final_lr_fraction: float = option(0.02, least=0)
    sample_latents: bool = option(True, group=ADVANCED)
    no_reward_limit: int | None = option(None, least=1)
    seed: int = option(0, least=0)


@dataclass(frozen=True)
class TrainControllerSettings:
    """How C is searched for.

    Attributes:
        dream: evaluate the fitness in M's dream instead of the real environment.
        inputs: what C reads: z (the latent), h (M's hidden vector), c (the cell of an LSTM). Default: what the
            environment's entry says.
        hidden_units: tanh units of a hidden layer in C; 0 makes C linear.
        init: where a new search starts after a change of V, M or the place of the fitness: at the `best` C so far, or
            from `scratch`. The best C is kept until a better one is found.
        generations: the largest number of generations with the present V and M.
        target_return: stop when the validation return of the distribution's mean reaches this.
        validate_every: generations between validations of the distribution's mean on validation episodes.
        validate_in: where they are: in the `real` environment or in the `dream`. The best C is chosen by them.
        validation_episodes: episodes of a validation.
        max_steps: a time limit in the real environment; None keeps the environment's own.
        no_reward_limit: truncate a real training episode after this many steps without a positive reward.
        population_size: candidates of a generation.
        rollouts_per_candidate: episodes whose mean return is the fitness; the same ones for all candidates.
        step_size: the first standard deviation of the search distribution.
        weight_decay: subtract this times the mean square of C's parameters from the fitness (hardmaru's `es.py`).
        temperature: of the dream; above 1 makes it more uncertain.
        horizon: steps after which a dream is truncated.
        sample_termination: a dream terminates with M's probability; else where that exceeds the threshold.
        termination_threshold: M's probability of termination above which a dream terminates.
        start_episodes: dreams start at recorded moments of this many of the newest episodes.
        action_noise: the largest standard deviation of correlated noise on C's outputs in training dreams; each dream
            draws its own.
        reward_soft_cap: reward a step, averaged over a window, beyond which a dream's reward is worth less. The
            fitness is then the shaped return.
        reward_cap_window: steps of that window.
        reward_cap_slope: what reward beyond the cap is worth.
        seed: of the candidates and of the episodes.
    """

    env: str
    generations: int = option(least=1)
    dream: bool = False
    inputs: str | None = option(None, choices=CONTROLLER_INPUTS)
    hidden_units: int = option(0, least=0)
    init: str = option("best", choices=["best", "scratch"])
    target_return: float | None = None
    validate_every: int = option(5, least=1)
    validate_in: str = option("real", choices=["real", "dream"])
    validation_episodes: int = option(8, least=1)
    max_steps: int | None = option(None, least=1)
    no_reward_limit: int | None = option(None, least=1)
    population_size: int = option(32, least=4, group=CMA_ES)
    rollouts_per_candidate: int = option(4, least=1, group=CMA_ES)
    step_size: float = option(0.1, above=0, group=CMA_ES)
    weight_decay: float = option(0.0, least=0, group=CMA_ES)
    temperature: float = option(1.0, above=0, group=DREAM)
    horizon: int = option(300, least=1, group=DREAM)
    sample_termination: bool = option(False, group=DREAM)
    action_noise: float = option(0.0, least=0, group=DREAM)
    termination_threshold: float = option(0.15, least=0, group=ADVANCED)
    start_episodes: int = option(100, least=1, group=ADVANCED)
    reward_soft_cap: float | None = option(None, above=0, group=ADVANCED)
    reward_cap_window: int = option(20, least=1, group=ADVANCED)
    reward_cap_slope: float = option(0.1, least=0, group=ADVANCED)
    seed: int = option(0, least=0)


@dataclass(frozen=True)
class EvaluateSettings:
    """How C is tested.

    Attributes:
        episodes: number of test episodes; the paper has 100.
        policy: `controller` (the run's C), or a policy that needs no model, for comparison.
        dream: test in M's dream, from recorded validation moments, instead of the real environment.
        temperature, horizon, sample_termination, termination_threshold: of the dream. Default: those that C was
            evolved with.
        max_steps: a time limit; None keeps the environment's own.
        seed: of the test episodes, which no training uses, whatever its seed.
    """

    env: str
    episodes: int = option(100, least=2)
    policy: str = option("controller", choices=["controller", *POLICIES])
    dream: bool = False
    max_steps: int | None = option(None, least=1)
    temperature: float | None = option(None, above=0, group=DREAM)
    horizon: int | None = option(None, least=1, group=DREAM)
    sample_termination: bool | None = option(None, group=DREAM)
    termination_threshold: float | None = option(None, least=0, group=ADVANCED)
    seed: int = option(0, least=0)


@dataclass(frozen=True)
class FaithfulnessSettings:
    """How the dream is compared with the real environment.

    Attributes:
        controllers: how many of the search's saved means, evenly spaced over it.
        episodes: real episodes for each of them.
        dreams: dreams for each of them.
        temperature, horizon, sample_termination, termination_threshold: of the dreams. Default: those that C was
            evolved with.
        max_steps: a time limit of the real episodes; None keeps the environment's own.
        seed: of the episodes.
    """

    env: str
    controllers: int = option(12, least=2)
    episodes: int = option(16, least=2)
    dreams: int = option(64, least=2)
    max_steps: int | None = option(None, least=1)
    temperature: float | None = option(None, above=0, group=DREAM)
    horizon: int | None = option(None, least=1, group=DREAM)
    sample_termination: bool | None = option(None, group=DREAM)
    termination_threshold: float | None = option(None, least=0, group=ADVANCED)
    seed: int = option(0, least=0)


STAGES: dict[str, type] = {
    "rollouts": CollectSettings,
    "train-vae": TrainVAESettings,
    "train-mdrnn": TrainMDRNNSettings,
    "train-controller": TrainControllerSettings,
    "test": EvaluateSettings,
}

# The options that are ignored without a dream. (A search in the real environment keeps C's dream for later.)
DREAM_OPTIONS: dict[type, tuple[str, ...]] = {
    TrainControllerSettings: (
        "start_episodes",
        "action_noise",
        "reward_soft_cap",
        "reward_cap_window",
        "reward_cap_slope",
    ),
    EvaluateSettings: ("temperature", "horizon", "sample_termination", "termination_threshold"),
}
