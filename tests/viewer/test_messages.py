"""Messages from the page."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmc.errors import VmcError
from vmc.viewer.messages import MESSAGES, Begin, Press, parse

JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def test_a_message_has_its_fields() -> None:
    assert parse('{"type": "press", "key": "a", "strength": 0.5, "number": 3}') == Press("a", 0.5, 3)
    assert parse('{"type": "begin", "run": "r", "start": null}') == Begin("r")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "JSON"),
        ("[]", "type"),
        ('{"type": 3}', "type"),
        ('{"type": "pres"}', "Did you mean 'press'"),
        ('{"type": "press"}', "key is not given"),
        ('{"type": "press", "key": 3}', "must be of type str"),
        ('{"type": "press", "key": "a", "strength": NaN}', "finite"),
        ('{"type": "begin", "run": "r", "world": "hell"}', "one of reality, dream"),
        ('{"type": "begin", "run": "r", "seed": -1}', "at least 0"),
        ('{"type": "speed", "steps": 1e9}', "more than"),
        ('{"type": "speed", "steps": 1' + "0" * 400 + "}", "too large"),
        ('{"type": "drag", "index": 0, "value": Infinity}', "finite"),
        ('{"type": "ready", "more": 1}', "no option"),
    ],
)
def test_a_bad_message_is_told(text: str, told: str) -> None:
    with pytest.raises(VmcError, match=told):
        parse(text)


@given(kind=st.sampled_from([*MESSAGES, "other"]), fields=st.dictionaries(st.text(), JSON, max_size=4))
def test_any_json_gives_a_message_or_an_error_that_is_told(kind: str, fields: dict[str, Any]) -> None:
    try:
        message = parse(json.dumps(fields | {"type": kind}))
    except VmcError:
        return
    assert type(message) is MESSAGES[kind]


@given(text=st.text())
def test_any_text_is_a_message_or_an_error_that_is_told(text: str) -> None:
    with pytest.raises(VmcError):
        parse(text)
