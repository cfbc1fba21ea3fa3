"""A faster ``CarRacing-v3`` with bit-identical results."""

from vmc.envs.carracing.env import FastCarRacing
from vmc.envs.carracing.selfcheck import matches_official, warm_up

__all__ = ["FastCarRacing", "matches_official", "warm_up"]
