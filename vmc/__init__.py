"""vmc: Ha & Schmidhuber's World Models (2018), from rollouts to a score."""

import gymnasium

# By name, so that nothing of the dream is imported before one is made.
gymnasium.register(
    "vmc/Dream-v0",
    entry_point="vmc.dream.env:DreamEnv",
    vector_entry_point="vmc.dream.vector_env:DreamVectorEnv",
    max_episode_steps=1000,
)
