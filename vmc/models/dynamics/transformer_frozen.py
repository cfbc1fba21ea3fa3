"""A causal transformer whose weights stay, for dreams on a CPU: packed products, and a cache that is not copied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from vmc.models.dynamics.mdn import Memory
from vmc.models.fastmath import compiled, exp
from vmc.models.packed_linear import PackedLinear

if TYPE_CHECKING:
    from vmc.models.dynamics.transformer import CausalTransformer

_LOWEST = np.float32(-1e30)


@dataclass
class _Cache:
    """Keys and values of B episodes, (B, L, capacity, H) each, of which states hold windows.

    A step writes behind the window of the state that it begins at, so that no state's window changes. Where that
    place is taken, by another step from the same state, the window is copied first.

    Attributes:
        taken: how many tokens have been written.
    """

    keys: Tensor
    values: Tensor
    taken: int

    @property
    def has_room(self) -> bool:
        return self.taken < self.keys.shape[2]


Array = Any  # the kernel's array types are the caller's
Numbers = tuple[Array, Array, Array]
_f = np.float32


class FrozenTransformer:
    """`CausalTransformer.step`, up to rounding."""

    def __init__(self, model: CausalTransformer) -> None:
        self._blocks = [_FrozenBlock(block) for block in model.blocks]
        self._embedding = PackedLinear(model.embedding.weight, model.embedding.bias)
        self._frequencies: Tensor = model.blocks[0].attention.frequencies  # type: ignore[union-attr,assignment]
        self._norm = model.norm
        self._seen = WeakTensorKeyDictionary()  # from a state's keys to their cache, and the window's end in it

    @torch.no_grad()
    def __call__(self, inputs: Tensor, memory: Memory) -> Memory:
        """One step: inputs (B, I), and the memory before, to the memory after."""
        _, keys, values, count = memory
        cache, end = self._cache(keys, values)
        angles = count * self._frequencies
        lengths = count[:, 0].clamp(max=keys.shape[2]).long() + 1
        numbers = lengths.numpy(), angles.cos().numpy(), angles.sin().numpy()
        x = self._embedding(inputs)
        parts = cache.keys.numpy(), cache.values.numpy()
        for layer, block in enumerate(self._blocks):
            x = block(x, *parts, (layer, end), numbers)
        window = slice(end + 1 - keys.shape[2], end + 1)
        keys, values = cache.keys[:, :, window], cache.values[:, :, window]
        self._seen[keys] = cache, end + 1
        cache.taken = end + 1
        return self._norm(x), keys, values, count + 1

    def _cache(self, keys: Tensor, values: Tensor) -> tuple[_Cache, int]:
        """A cache with room behind the window of these keys and values, and the place of the next token."""
        cache, end = self._seen.get(keys, (None, 0))
        if cache is not None and cache.taken == end and cache.has_room:
            return cache, end
        batch, layers, length, width = keys.shape
        # Twice the window and one: each token is copied once more.
        shape = batch, layers, 2 * length + 1, width
        cache = _Cache(keys.new_empty(shape), keys.new_empty(shape), length)
        cache.keys[:, :, :length], cache.values[:, :, :length] = keys, values
        return cache, length


class _FrozenBlock:
    """A block of the transformer, for one new token in each episode."""

    def __init__(self, block: Any) -> None:
        attention, (enter, _, leave) = block.attention, block.mlp
        layers = attention.inputs, attention.outputs, enter, leave
        self._inputs, self._outputs, self._enter, self._leave = (PackedLinear(x.weight, x.bias) for x in layers)
        self._attention_norm, self._mlp_norm = block.attention_norm, block.mlp_norm

    def __call__(self, x: Tensor, keys: Array, values: Array, place: tuple[int, int], numbers: Numbers) -> Tensor:
        """The block's output (B, H); the new token's key and value are written to their place."""
        seen = torch.empty_like(x)
        attend(self._inputs(self._attention_norm(x)).numpy(), keys, values, *place, *numbers, seen.numpy())
        x = x + self._outputs(seen)
        return x + self._leave(F.gelu(self._enter(self._mlp_norm(x)), approximate="tanh"))


@compiled
def attend(
    projected: Array,
    keys: Array,
    values: Array,
    layer: int,
    place: int,
    lengths: Array,
    cosines: Array,
    sines: Array,
    seen: Array,
) -> None:
    """Attention of one new token to itself and to the cached ones before it.

    Args:
        projected: the token's query, key and value side by side, (B, 3H).
        keys, values: (B, L, capacity, H); the new ones are written to the `layer` and `place`, the key rotated.
        place: the cached tokens stand before it.
        lengths: how many tokens the new one sees in each episode, itself among them, (B,).
        cosines, sines: of the rotation by that position, (B, D / 2), for heads of width D.
        seen: the output, (B, H).
    """
    size, half = seen.shape[1], cosines.shape[1]
    width = 2 * half
    query, mixed, scores = np.empty(width, _f), np.empty(width, _f), np.empty(place + 1, _f)
    scale = _f(1) / np.sqrt(_f(width))
    for row in range(len(projected)):
        first = place + 1 - lengths[row]
        cosine, sine = cosines[row], sines[row]
        for head in range(0, size, width):
            # Slices, since an index that might be negative keeps a loop from being vectorised.
            q = projected[row, head : head + width]
            k = projected[row, size + head : size + head + width]
            v = projected[row, 2 * size + head : 2 * size + head + width]
            key, value = keys[row, layer, place, head : head + width], values[row, layer, place, head : head + width]
            for j in range(half):
                query[j] = (q[j] * cosine[j] - q[half + j] * sine[j]) * scale
                query[half + j] = (q[j] * sine[j] + q[half + j] * cosine[j]) * scale
                key[j] = k[j] * cosine[j] - k[half + j] * sine[j]
                key[half + j] = k[j] * sine[j] + k[half + j] * cosine[j]
            value[:] = v
            top = _LOWEST
            for token in range(first, place + 1):
                key, score = keys[row, layer, token, head : head + width], _f(0)
                for j in range(width):
                    score += query[j] * key[j]
                scores[token] = score
                top = max(top, score)
            mixed[:] = 0
            total = _f(0)
            for token in range(first, place + 1):
                value, weight = values[row, layer, token, head : head + width], exp(scores[token] - top)
                total += weight
                for j in range(width):
                    mixed[j] += weight * value[j]
            for j in range(width):
                mixed[j] /= total
            seen[row, head : head + width] = mixed
