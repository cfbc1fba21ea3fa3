"""The kinds of V, by name, and which of them fits an environment. No torch: the command line uses this."""

from __future__ import annotations

from vmc.envs import PREPROCESSING, VECTORS, get_task
from vmc.errors import VmcError

# What each kind of V sees; the first that sees an environment's frames is its default.
VISIONS = {"conv": PREPROCESSING, "identity": VECTORS, "dense": VECTORS}
DEFAULT_VISION = "conv"  # of checkpoints from before there was a choice
_SEEN = {PREPROCESSING: "pictures", VECTORS: "vectors"}
# A posterior with a standard deviation of 5e-5: as good as none, and M's draws of z stay as they are.
CERTAIN_LOG_VARIANCE = -20.0


def choose_vision(asked: str | None, env: str, preprocessing: str) -> str:
    """The kind of V: what was asked for, or what the environment's task says, or what fits its frames.

    Args:
        preprocessing: how the frames come about, one of `vmc.envs.PREPROCESSINGS`.

    Raises:
        VmcError: that kind does not see such frames.
    """
    fitting = [name for name, seen in VISIONS.items() if seen == preprocessing]
    chosen = asked or get_task(env).vision or fitting[0]
    if chosen not in fitting:
        raise VmcError(
            f"{env} shows {_SEEN[preprocessing]}, and V of kind {chosen!r} sees {_SEEN[VISIONS[chosen]]}.",
            f"Give --vision {' or '.join(fitting)}.",
        )
    return chosen
