"""M's state: parts of any shape, whose first axis is the batch."""

import numpy as np
import pytest
import torch

from vmc.models.dynamics.state import State

SHAPES = [(4,), (2, 3), (1,), (2, 1, 2), ()]


def _state(rows: int, seed: int = 0) -> State:
    generator = torch.Generator().manual_seed(seed)
    return State(torch.randn(rows, *shape, generator=generator) for shape in SHAPES)


def _assert_same(found: State, expected: State) -> None:
    assert type(found) is State
    torch.testing.assert_close(tuple(found), tuple(expected), rtol=0, atol=0)


@pytest.mark.parametrize(
    "index",
    [torch.tensor([4, 0, 4]), torch.tensor([True, False, False, True, True]), slice(1, 4), slice(None)],
    ids=["positions", "mask", "slice", "all"],
)
def test_rows_are_chosen_in_every_part(index: torch.Tensor | slice) -> None:
    state = _state(5)
    _assert_same(state.rows(index), State(part[index] for part in state))


def test_rows_of_numpy_arrays() -> None:
    state = _state(5).map(lambda part: part.numpy())
    chosen = state.rows(np.array([True, False, False, True, False]))
    assert [part.shape for part in chosen] == [(2, *shape) for shape in SHAPES]


def test_tiled_repeats_the_whole_batch() -> None:
    state = _state(2)
    tiled = state.tiled(3)
    assert [part.shape for part in tiled] == [(6, *shape) for shape in SHAPES]
    for times in range(3):
        _assert_same(tiled.rows(slice(2 * times, 2 * times + 2)), state)


def test_detached_parts_have_no_gradient() -> None:
    state = _state(2).map(lambda part: part.requires_grad_() * 2)
    assert all(part.requires_grad for part in state)
    _assert_same(state.detach(), state.map(lambda part: part.data))
    assert not any(part.requires_grad for part in state.detach())


@pytest.mark.parametrize("index", [torch.tensor([3, 1]), torch.tensor([False, True, False, True, False])])
def test_copied_rows_replace_those_and_no_others(index: torch.Tensor) -> None:
    state, source = _state(5), _state(2, seed=1)
    before, parts = state.map(torch.clone), list(state)
    state.copy_rows(index, source)
    assert all(part is kept for part, kept in zip(state, parts, strict=True))  # in place
    _assert_same(state.rows(index), source)
    _assert_same(state.rows(torch.tensor([0, 2, 4])), before.rows(torch.tensor([0, 2, 4])))


def test_a_source_with_other_parts_is_an_error() -> None:
    with pytest.raises(ValueError, match="zip"):
        _state(5).copy_rows(torch.tensor([0]), State(_state(1)[:-1]))


def test_states_are_joined_part_by_part() -> None:
    states = [_state(2, seed) for seed in range(3)]
    stacked = State.joined(states, lambda parts: torch.stack(list(parts), dim=1))
    assert [part.shape for part in stacked] == [(2, 3, *shape) for shape in SHAPES]
    for number, state in enumerate(states):
        _assert_same(stacked.map(lambda part, number=number: part[:, number]), state)
    side_by_side = State.joined(states, lambda parts: torch.cat(list(parts)))
    _assert_same(side_by_side.rows(slice(2, 4)), states[1])


def test_a_state_moves_to_another_device() -> None:
    assert {part.device.type for part in _state(2).to("meta")} == {"meta"}
