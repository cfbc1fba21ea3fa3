"""M's state. No torch: the agent's loop holds NumPy arrays in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any


class State(tuple[Any, ...]):
    """M's state: a tuple of arrays or tensors with the batch as their first axis, (B, ...).

    What the parts are is the business of the kind of M: an LSTM has z, h and c, a transformer its cache. Everyone
    else treats them alike, with the methods below.
    """

    __slots__ = ()

    def map(self, function: Callable[[Any], Any]) -> State:
        """The state whose parts are `function(part)`."""
        return State(function(part) for part in self)

    def rows(self, index: Any) -> State:
        """Some rows: positions (N,), a Boolean mask (B,) or a slice."""
        return self.map(lambda part: part[index])

    def tiled(self, times: int) -> State:
        """The whole batch `times` times, one after another: (times * B, ...). Tensors only."""
        return self.map(lambda part: part.repeat(times, *[1] * (part.dim() - 1)))

    def detach(self) -> State:
        """Detaches the state from its gradient. Tensors only."""
        return self.map(lambda part: part.detach())

    def to(self, device: Any) -> State:
        """On another device. Tensors only."""
        return self.map(lambda part: part.to(device))

    def copy_rows(self, index: Any, source: State) -> None:
        """Writes the rows of `source` into these rows, in place."""
        for part, new in zip(self, source, strict=True):
            part[index] = new

    @staticmethod
    def joined(states: Sequence[State], join: Callable[[Iterable[Any]], Any]) -> State:
        """Many states as one, part by part, by a function such as `torch.stack`."""
        return State(join(parts) for parts in zip(*states, strict=True))
