"""gymnasium's modules and Box2D's SWIG functions, typed as Any because they have no useful types."""

from __future__ import annotations

import importlib
from typing import Any

car_racing: Any = importlib.import_module("gymnasium.envs.box2d.car_racing")
car_dynamics: Any = importlib.import_module("gymnasium.envs.box2d.car_dynamics")
box2d: Any = importlib.import_module("Box2D._Box2D")
