"""M in an agent's loop by its exported graphs: the way of every kind without a step of its own."""

from __future__ import annotations

from collections.abc import Mapping

from vmc.models.dynamics import Array, Arrays
from vmc.models.dynamics.state import State
from vmc.models.graph import make_session

_STATE, _FEATURE = "next.", "feature."


class ExportedStep:
    """See `StepModel`. The state is followed by its features, which the graph computes with it.

    Args:
        weights: M's arrays, as in its checkpoint.
        graphs: `initial` and `observe`, from `WorldModel.step_graphs`.
    """

    def __init__(self, weights: Arrays, graphs: Mapping[str, bytes]) -> None:
        self._initial, self._observe = (make_session(graphs[name], weights) for name in ("initial", "observe"))
        outputs = [output.name for output in self._initial.get_outputs()]
        self._size = sum(name.startswith(_STATE) for name in outputs)
        self._names = [name.removeprefix(_FEATURE) for name in outputs[self._size :]]
        # What M does not use, its graph does not take.
        self._inputs = {entry.name for entry in self._observe.get_inputs()}

    def initial(self, latent: Array) -> State:
        return State(self._initial.run(None, {"latent": latent[None]}))

    def observe(self, state: State, action: Array, latent: Array) -> State:
        given = {"action": action[None], "latent": latent[None]}
        given |= {f"state.{number}": part for number, part in enumerate(state[: self._size])}
        return State(self._observe.run(None, {name: given[name] for name in self._inputs}))

    def features(self, state: State) -> Mapping[str, Array]:
        return {name: part[0] for name, part in zip(self._names, state[self._size :], strict=True)}
