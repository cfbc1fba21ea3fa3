"""A causal transformer over (z, a): the world-model side of IRIS and TransDreamer, on continuous latents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vmc.config import option
from vmc.errors import VmcError
from vmc.models.dynamics.mdn import MDN, MDNSettings, Memory
from vmc.models.dynamics.transformer_frozen import FrozenTransformer

# Of the slowest rotation (Su et al., 2021, "RoFormer", section 3.2.2).
_ROTARY_BASE = 10_000.0
_MLP_FACTOR = 4
CONTEXT = 64


@dataclass(frozen=True)
class TransformerSettings(MDNSettings):
    """M's shape.

    Attributes:
        context: the steps that h can depend on.
        num_layers, num_heads: of the transformer, whose width is `hidden_size`.

    Raises:
        VmcError: a width that the heads cannot share.
    """

    context: int = option(CONTEXT, least=1)
    num_layers: int = option(2, least=1)
    num_heads: int = option(4, least=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hidden_size % (2 * self.num_heads):
            raise VmcError(
                f"A transformer of width {self.hidden_size} cannot have {self.num_heads} heads of an even width.",
                f"Choose a width that is a multiple of {2 * self.num_heads}.",
            )


class _Attention(nn.Module):
    """Causal self-attention with rotary positions (Vaswani et al., 2017; Su et al., 2021)."""

    frequencies: Tensor

    def __init__(self, size: int, num_heads: int) -> None:
        super().__init__()
        self._num_heads = num_heads
        self.inputs = nn.Linear(size, 3 * size)
        self.outputs = nn.Linear(size, size)
        exponents = torch.arange(0, size // num_heads, 2) * num_heads / size
        self.register_buffer("frequencies", _ROTARY_BASE**-exponents, persistent=False)

    def forward(
        self, x: Tensor, keys: Tensor, values: Tensor, positions: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """T new tokens beside S cached ones.

        Args:
            x: (B, T, H).
            keys, values: those of the cached tokens, (B, S, H); keys are rotated already.
            positions: of the new tokens in their episodes, (B, T).
            mask: which tokens a new one sees, bool (B, 1, T, S + T).

        Returns:
            The attention's output (B, T, H), and keys and values of all tokens, (B, S + T, H).
        """
        query, key, value = self.inputs(x).chunk(3, dim=-1)
        query, key = self._rotated(query, positions), self._rotated(key, positions)
        keys, values = torch.cat([keys, key], dim=1), torch.cat([values, value], dim=1)
        q, k, v = (part.unflatten(-1, (self._num_heads, -1)).transpose(1, 2) for part in (query, keys, values))
        seen = F.scaled_dot_product_attention(q, k, v, mask)
        return self.outputs(seen.transpose(1, 2).flatten(2)), keys, values

    def _rotated(self, x: Tensor, positions: Tensor) -> Tensor:
        """Each pair of a head's numbers, turned by an angle that grows with the position."""
        angles = positions[..., None, None] * self.frequencies  # (B, T, 1, half a head)
        first, second = x.unflatten(-1, (self._num_heads, 2, -1)).unbind(dim=-2)
        turned = [first * angles.cos() - second * angles.sin(), first * angles.sin() + second * angles.cos()]
        return torch.stack(turned, dim=-2).flatten(2)


class _Block(nn.Module):
    """Attention, then a layer of GELU units, each on normalised inputs (pre-norm) and beside a shortcut."""

    def __init__(self, size: int, num_heads: int) -> None:
        super().__init__()
        self.attention_norm, self.mlp_norm = nn.LayerNorm(size), nn.LayerNorm(size)
        self.attention = _Attention(size, num_heads)
        layers = nn.Linear(size, _MLP_FACTOR * size), nn.GELU("tanh"), nn.Linear(_MLP_FACTOR * size, size)
        self.mlp = nn.Sequential(*layers)

    def forward(
        self, x: Tensor, keys: Tensor, values: Tensor, positions: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As `_Attention.forward`."""
        seen, keys, values = self.attention(self.attention_norm(x), keys, values, positions, mask)
        x = x + seen
        return x + self.mlp(self.mlp_norm(x)), keys, values


class CausalTransformer(nn.Module):
    """Maps inputs to h along an episode, with the keys and values of past tokens as its memory.

    The memory is h (B, H), the keys and the values of the last `context` - 1 tokens, (B, L, S, H) each, and the number
    of tokens so far, (B, 1). A step costs the same at any length. What a token sees is `context` steps long in each
    layer, so h can depend on more steps than that, as in Transformer-XL (Dai et al., 2019): a window of training
    sees the cached tokens of the window before.
    """

    def __init__(
        self, input_size: int, hidden_size: int, context: int = CONTEXT, num_layers: int = 2, num_heads: int = 4
    ) -> None:
        super().__init__()
        self._hidden_size, self._context = hidden_size, context
        self.embedding = nn.Linear(input_size, hidden_size)
        self.blocks = nn.ModuleList(_Block(hidden_size, num_heads) for _ in range(num_layers))
        self.norm = nn.LayerNorm(hidden_size)

    def empty(self, latents: Tensor) -> Memory:
        """The memory at the first frame of B episodes, on the device of the latents (B, Z)."""
        nothing = torch.zeros_like(latents[:, :1])
        shape = len(self.blocks), self._context - 1, self._hidden_size
        # Not `new_zeros`, which an exported graph would hold as a constant.
        keys, values = (nothing[..., None, None].expand(-1, *shape).clone() for _ in range(2))
        return nothing.expand(-1, self._hidden_size).clone(), keys, values, nothing

    def unroll(self, inputs: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """Inputs (B, T, I) to h after each step, (B, T, H), and the last memory."""
        _, keys, values, count = memory
        cached, steps = keys.shape[2], inputs.shape[1]
        positions = count + torch.arange(steps, device=inputs.device)
        mask = self._mask(count, cached, steps)
        x, caches = self.embedding(inputs), []
        for number, block in enumerate(self.blocks):
            x, *cache = block(x, keys[:, number], values[:, number], positions, mask)
            caches.append([part[:, steps:] for part in cache])
        h = self.norm(x)
        keys, values = (torch.stack(list(parts), dim=1) for parts in zip(*caches, strict=True))
        return h, (h[:, -1], keys, values, count + steps)

    def step(self, inputs: Tensor, memory: Memory) -> Memory:
        """One step: inputs (B, I)."""
        return self.unroll(inputs[:, None], memory)[1]

    def frozen_step(self) -> Callable[[Tensor, Memory], Memory]:
        """`step` for dreams on the device of the weights, which must not change after this call."""
        return FrozenTransformer(self) if self.embedding.weight.device.type == "cpu" else self.step

    def _mask(self, count: Tensor, cached: int, steps: int) -> Tensor:
        """Which of the cached and new tokens each new one sees, bool (B, 1, T, S + T)."""
        new = torch.arange(steps, device=count.device)[:, None]
        seen = torch.arange(-cached, steps, device=count.device)
        is_near = (seen <= new) & (seen > new - self._context)
        has_been = seen >= -count[:, :, None]  # the cache of a young episode is not full
        return (is_near & has_been)[:, None]


class Transformer(MDN):
    """h is the last layer's output for the newest token, which is (z, a) of one step; the memory is its cache."""

    Settings = TransformerSettings
    settings: TransformerSettings

    def make_network(self, input_size: int, hidden_size: int) -> None:
        settings = self.settings
        shape = settings.context, settings.num_layers, settings.num_heads
        self.transformer = CausalTransformer(input_size, hidden_size, *shape)

    def empty_memory(self, latents: Tensor) -> Memory:
        return self.transformer.empty(latents)

    def unroll(self, inputs: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        return self.transformer.unroll(inputs, memory)

    def step(self, inputs: Tensor, memory: Memory) -> Memory:
        return self.transformer.step(inputs, memory)

    def frozen_step(self) -> Callable[[Tensor, Memory], Memory]:
        return self.transformer.frozen_step()
