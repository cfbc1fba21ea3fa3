"""Random streams: named, reproducible, and never shared between roles."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from vmc.seeding import env_seed, stream, torch_stream

SEEDS = st.integers(0, 2**63 - 1)
INDICES = st.lists(st.integers(0, 2**32 - 1), max_size=3).map(tuple)
USES = st.text(max_size=12)
ROLES = st.sampled_from(["rollouts", "fitness", "validation", "test"])


def _draw(seed: int, use: str, indices: tuple[int, ...]) -> list[int]:
    return [int(value) for value in stream(seed, use, *indices).integers(2**63, size=4)]


@settings(deadline=None)
@given(SEEDS, USES, INDICES)
def test_the_same_arguments_give_the_same_stream(seed: int, use: str, indices: tuple[int, ...]) -> None:
    assert _draw(seed, use, indices) == _draw(seed, use, indices)


@settings(deadline=None)
@given(st.tuples(SEEDS, USES, INDICES), st.tuples(SEEDS, USES, INDICES))
def test_other_arguments_give_another_stream(
    one: tuple[int, str, tuple[int, ...]], other: tuple[int, str, tuple[int, ...]]
) -> None:
    assume(one != other)
    assert _draw(*one) != _draw(*other)


@pytest.mark.parametrize("other", [(1, "a", (0,)), (0, "b", (0,)), (0, "a", (1,)), (0, "a", ()), (0, "a", (0, 0))])
def test_each_argument_by_itself_changes_the_stream(other: tuple[int, str, tuple[int, ...]]) -> None:
    assert _draw(0, "a", (0,)) != _draw(*other)


@settings(deadline=None)
@given(SEEDS, USES, INDICES)
def test_torch_streams_are_as_reproducible(seed: int, use: str, indices: tuple[int, ...]) -> None:
    first, again = (torch.rand(4, generator=torch_stream(seed, use, *indices)) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, torch.rand(4, generator=torch_stream(seed, use + "'", *indices)))
    assert not torch.equal(first, torch.rand(4, generator=torch_stream(seed, use, *indices, 0)))


@settings(deadline=None)
@given(SEEDS, SEEDS, ROLES, ROLES, INDICES, INDICES)
def test_environment_seeds_of_different_roles_never_meet(
    seed: int, other_seed: int, role: str, other_role: str, indices: tuple[int, ...], other_indices: tuple[int, ...]
) -> None:
    """Whatever the runs' seeds: a test episode is never one that any run has trained on."""
    assume(role != other_role)
    one, other = env_seed(seed, role, *indices), env_seed(other_seed, other_role, *other_indices)
    assert one != other
    assert one >> 28 != other >> 28
    assert one == env_seed(seed, role, *indices)
    assert 0 <= one < 2**31


def test_environment_seeds_differ_from_episode_to_episode() -> None:
    # 1,000 draws of 2^28: the odds of 10 or more repeats are below 1e-9; the stream is fixed in any case.
    assert len({env_seed(0, "fitness", generation, 0) for generation in range(1000)}) > 990


def test_an_unknown_role_is_refused() -> None:
    with pytest.raises(KeyError):
        env_seed(0, "training", 0)


def test_no_stream_touches_the_global_ones() -> None:
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    stream(0, "a").standard_normal(5)
    torch.rand(5, generator=torch_stream(0, "a"))
    assert torch.equal(torch.get_rng_state(), torch_before)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002
