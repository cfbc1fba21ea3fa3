"""The settings of every stage, in the order of the pipeline.

They stand here, not beside the stages, because the command line is made from them and must not import torch.
"""

from __future__ import annotations

from dataclasses import dataclass

from vmc.config import option
from vmc.models.controller import INPUTS as CONTROLLER_INPUTS
from vmc.models.dynamics import MIXTURES
from vmc.policies import POLICIES

# The policy that is a person.
HUMAN = "human"
# Groups of options in `--help`; an option without a group is one of the command's common ones. The texts of the options
# are those of the attributes below, so each is whole sentences.
CMA_ES, PPO, ACTOR_CRITIC, PLANNER = "Search (CMA-ES)", "PPO", "Actor-critic", "Planner"
# Of the trainers that have a critic.
CRITIC = "PPO and actor-critic"
DREAM, ADVANCED = "Dream", "Advanced"
GROUPS = (CMA_ES, PPO, ACTOR_CRITIC, CRITIC, PLANNER, DREAM, ADVANCED)
# The ways to find C.
TRAINERS = ("cma-es", "ppo", "actor-critic", "planner")


@dataclass(frozen=True)
class CollectSettings:
    """The settings of `vmc rollouts`.

    Attributes:
        env: The environment's name.
        episodes: The folder holds this many episodes in the end; only the missing ones are collected.
        policy: Choose who acts: `random` (uniform actions, each held for some steps), `brownian` (actions that change
            slowly), `controller` (the run's V, M and C), or `human` (you, on a web page).
        action_noise: Add correlated noise of at most this standard deviation to C's outputs, for `controller` alone.
            Each episode draws its own deviation, and a rate of bursts of random actions. 0 adds neither.
        max_steps: Truncate an episode after this many steps; without it, the environment's own limit holds.
        no_reward_limit: Truncate an episode after this many steps without a positive reward; without it, never.
        seed: Derive episode i from this seed and i alone (and from the policy).
    """

    env: str
    episodes: int = option(least=1)
    policy: str = option("brownian", choices=[*POLICIES, "controller", HUMAN])
    action_noise: float = option(0.7, least=0)
    max_steps: int | None = option(None, least=1)
    no_reward_limit: int | None = option(None, least=1)
    seed: int = option(0, least=0)


@dataclass(frozen=True)
class TrainVAESettings:
    """The settings of `vmc train-vae`.

    Attributes:
        env: The environment's name.
        vision: Choose the kind of V: `conv` for pictures, `identity` or `dense` for vectors, or `module:Class`. Without
            it, the environment's entry or else its observations decide.
        epochs: Pass over the training frames at most this often.
        patience: Stop after this many epochs without a better validation loss.
        batch_size: Train on this many frames at each step.
        learning_rate: Begin with this learning rate of Adam.
        final_lr_fraction: Let the learning rate fall linearly to this fraction of itself; 1 keeps it constant.
        active_threshold: Keep a latent dimension if its KL on validation frames is at least this many nats. The latent
            mask sets the others to 0 (active units, Burda et al. 2016). 0 keeps all dimensions, as the paper does.
        memory_gib: Keep frames up to this many GiB in memory; more are streamed through a buffer of this size.
        seed: Derive the first weights, the order of the frames and the noise from this seed.
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
    """The settings of `vmc train-mdrnn`.

    Attributes:
        env: The environment's name.
        dynamics: Choose the kind of M: `lstm`, `gru`, `mlp` (no memory), `neural-ode`, `transformer`, `rssm`, or
            `module:Class`; perhaps with settings of its own, such as `transformer,context=32`.
        mixture: Give each latent dimension mixture weights of its own (as the authors' code does), or let all share
            one set.
        epochs: Pass over the training episodes at most this often; 0 keeps M's random first weights.
        patience: Stop after this many epochs without a better validation loss.
        batch_size: Train on this many episodes side by side.
        window: Propagate gradients back through this many steps; M's state is carried from window to window.
        learning_rate: Begin with this learning rate of Adam.
        final_lr_fraction: Let the learning rate fall linearly to this fraction of itself; 1 keeps it constant.
        sample_latents: Draw z from V's posterior (as the paper does), or use its mean. The agent does the same.
        joint: Train V with M, on the frames: M's prediction takes the place of V's prior, and V keeps what M needs for
            rewards and terminations (as Dreamer does). It takes as long as training V.
        no_reward_limit: Label a stretch of this many steps without a positive reward as terminated, from a quarter of
            the stretch on, so that a dream ends where an episode is lost. Without it, no stretch is labelled.
        seed: Derive the first weights, the order of the episodes and the draws of z from this seed.
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
    joint: bool = False
    no_reward_limit: int | None = option(None, least=1)
    seed: int = option(0, least=0)


@dataclass(frozen=True)
class TrainControllerSettings:
    """The settings of `vmc train-controller`.

    Attributes:
        env: The environment's name.
        dream: Take the fitness from M's dream, or from the real environment.
        inputs: Choose what C reads: z (the latent), h (M's hidden vector), c (the cell of an LSTM). Without it, the
            environment's entry decides.
        hidden_units: Give C a hidden layer of this many tanh units; 0 makes C linear.
        init: Begin a new search at the `best` C so far or from `scratch`, when V, M or the place of the fitness have
            changed. The best C is kept until a better one is found.
        generations: Search for at most this many generations with the present V and M.
        target_return: Stop when the validation return of the distribution's mean reaches this; without it, never.
        validate_every: Validate the distribution's mean after each of so many generations.
        validate_in: Validate in the `real` environment or in the `dream`. Validation chooses the best C.
        validation_episodes: Validate on this many episodes, which no candidate meets.
        final_candidates: At the end of a search, compare so many of its best means by successive halving, on validation
            episodes that none of them has met; 0 keeps the one that was validated best.
        final_episodes: Compare the last two of those on this many episodes.
        max_steps: Truncate a real episode after this many steps; without it, the environment's own limit holds.
        no_reward_limit: Truncate a real training episode after this many steps without a positive reward; without it,
            never.
        trainer: Find C by `cma-es` (the paper's way), by `ppo` (a policy gradient, which learns from every step and so
            from fewer episodes), by an `actor-critic` that learns in short dreams (Dreamer's way), or let a `planner`
            search in the dream at every real step, which needs no generations (PlaNet's way).
        population_size: Try this many candidates in a generation.
        rollouts_per_candidate: Take the mean return of this many episodes as the fitness; all candidates of a
            generation get the same episodes.
        replayed_episodes: Take so many of these from the episodes of the last generations, the hardest most often
            (prioritized level replay).
        screened_episodes: Before each generation, let the distribution's mean meet this many new episodes, to find hard
            ones for that.
        halvings: After each of the first so many episodes, let the better half of the candidates go on (successive
            halving).
        step_size: Begin with this standard deviation of the search distribution.
        mean_learning_rate: Move the distribution's mean by this share of the way to the best candidates. Below 1 it
            averages out noise, over generations.
        covariance: Learn the `full` covariance of C's parameters, or for many parameters its `diagonal` alone.
        weight_decay: Subtract this times the mean square of C's parameters from the fitness (hardmaru's `es.py`).
        rollouts: Learn from this many episodes, or dreams, in a generation.
        epochs: Pass over their steps this often; where what C does has changed much, only the critic goes on.
        policy_learning_rate: Use this learning rate of Adam for C.
        noise: Begin with noise of this standard deviation on C's outputs (for discrete actions, a softmax of this
            temperature).
        final_noise: Let it fall to this, and C's learning rate with it. C is validated without noise.
        noise_generations: Let it fall over this many generations.
        updates: Update actor and critic so often in a generation.
        imagined_dreams: Learn from this many dreams in an update.
        imagined_steps: Dream this many steps for an update; the critic values what comes after them.
        gradient: Find the actor's gradient from what it did and what that brought (`reinforce`), or, for continuous
            actions alone, back through the steps of the `dream`.
        discount: Weigh a reward by this for each step that it is away.
        trace: Mix returns of several lengths with this lambda; 1 uses the longest alone.
        entropy: Weigh the entropy of the actor's noise by this. It changes nothing for PPO with continuous actions.
        learning_rate: Use this learning rate of Adam for the critic, and for an actor-critic's actor.
        plan_steps: Plan this many steps ahead.
        plan_iterations: Improve the plan so often in a step (cross-entropy method).
        plan_candidates: Try this many plans in an iteration.
        temperature: Dream at this temperature; above 1, the dream is more uncertain than M.
        horizon: Truncate a dream after this many steps.
        sample_termination: Terminate a dream with M's probability, or where that exceeds the threshold.
        termination_threshold: Terminate a dream where M's probability of it exceeds this.
        start_episodes: Begin dreams at recorded moments of this many of the newest episodes.
        action_noise: Add correlated noise of at most this standard deviation to C's outputs in training dreams; each
            dream draws its own deviation.
        reward_soft_cap: Count a dream's reward for less where its average over a window exceeds this. The fitness is
            then the shaped return. Without it, all reward counts in full.
        reward_cap_window: Average the reward over this many steps for the cap.
        reward_cap_slope: Count reward beyond the cap with this weight.
        seed: Derive the candidates and their episodes from this seed.
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
    final_candidates: int = option(0, least=0, group=ADVANCED)
    final_episodes: int = option(256, least=1, group=ADVANCED)
    max_steps: int | None = option(None, least=1)
    no_reward_limit: int | None = option(None, least=1)
    trainer: str = option("cma-es", choices=[*TRAINERS])
    population_size: int = option(32, least=4, group=CMA_ES)
    rollouts_per_candidate: int = option(4, least=1, group=CMA_ES)
    replayed_episodes: int = option(0, least=0, group=CMA_ES)
    screened_episodes: int = option(0, least=0, group=CMA_ES)
    halvings: int = option(0, least=0, group=CMA_ES)
    step_size: float = option(0.1, above=0, group=CMA_ES)
    mean_learning_rate: float = option(1.0, above=0, group=ADVANCED)
    covariance: str = option("full", choices=["full", "diagonal"], group=ADVANCED)
    weight_decay: float = option(0.0, least=0, group=CMA_ES)
    rollouts: int = option(24, least=1, group=PPO)
    epochs: int = option(8, least=1, group=PPO)
    policy_learning_rate: float = option(5e-4, above=0, group=PPO)
    noise: float = option(0.15, above=0, group=PPO)
    final_noise: float = option(0.05, above=0, group=PPO)
    noise_generations: int = option(50, least=1, group=PPO)
    updates: int = option(50, least=1, group=ACTOR_CRITIC)
    imagined_dreams: int = option(512, least=1, group=ACTOR_CRITIC)
    imagined_steps: int = option(15, least=1, group=ACTOR_CRITIC)
    gradient: str = option("reinforce", choices=["reinforce", "dream"], group=ACTOR_CRITIC)
    discount: float = option(0.997, above=0, group=CRITIC)
    trace: float = option(0.95, least=0, group=CRITIC)
    entropy: float = option(3e-4, least=0, group=CRITIC)
    learning_rate: float = option(1e-3, above=0, group=CRITIC)
    plan_steps: int = option(12, least=1, group=PLANNER)
    plan_iterations: int = option(4, least=1, group=PLANNER)
    plan_candidates: int = option(256, least=4, group=PLANNER)
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
    """The settings of `vmc test`.

    Attributes:
        env: The environment's name.
        episodes: Test on this many episodes; the paper has 100.
        policy: Choose who acts: `controller` (the run's C), or a policy that needs no model, for comparison.
        dream: Test in M's dream, from recorded validation moments, or in the real environment.
        temperature: Dream at this temperature; without it, at the one that C was evolved at.
        horizon: Truncate a dream after this many steps; without it, as where C was evolved.
        sample_termination: Terminate a dream with M's probability, or where that exceeds the threshold; without it, as
            where C was evolved.
        termination_threshold: Terminate a dream where M's probability of it exceeds this; without it, as where C was
            evolved.
        max_steps: Truncate a real episode after this many steps; without it, the environment's own limit holds.
        seed: Derive the test episodes from this seed; no training uses them, whatever its seed.
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
    """The settings of `vmc faithfulness`.

    Attributes:
        env: The environment's name.
        controllers: Compare this many of the search's saved means, evenly spaced over it.
        episodes: Drive this many real episodes with each of them.
        dreams: Dream this many dreams with each of them.
        temperature: Dream at this temperature; without it, at the one that C was evolved at.
        horizon: Truncate a dream after this many steps; without it, as where C was evolved.
        sample_termination: Terminate a dream with M's probability, or where that exceeds the threshold; without it, as
            where C was evolved.
        termination_threshold: Terminate a dream where M's probability of it exceeds this; without it, as where C was
            evolved.
        max_steps: Truncate a real episode after this many steps; without it, the environment's own limit holds.
        seed: Derive the episodes and the dreams from this seed.
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
