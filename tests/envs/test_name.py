"""An environment's name has one spelling: the id, the sorted arguments, the sorted words."""

import pytest

from vmc.envs.name import env_slug, join_name, parse_name
from vmc.errors import VmcError


def test_a_plain_id_is_its_own_name() -> None:
    assert str(parse_name("my.module:Env-v0")) == "my.module:Env-v0"
    assert parse_name("my.module:Env-v0").module == "my.module"
    assert parse_name("CartPole-v1").module is None


def test_values_are_pythons_or_text() -> None:
    found = parse_name("E-v0,a=False,b=3,c=0.5,d=none,e=easy,f=true").arguments
    assert found == {"a": False, "b": 3, "c": 0.5, "d": None, "e": "easy", "f": True}


def test_a_name_has_one_spelling() -> None:
    first = join_name("CarRacing-v3", ["lap_complete_percent=0.9", "continuous=false"], ["pixels"])
    assert first == "CarRacing-v3,continuous=False,lap_complete_percent=0.9,pixels"
    assert join_name("CarRacing-v3,pixels,continuous=False", ["lap_complete_percent=0.9"], []) == first
    assert join_name(first, [], ["pixels"]) == first


@pytest.mark.parametrize("text", ["CartPole-v1,pixel", "CartPole-v1,1=2", "CartPole-v1,"])
def test_what_is_neither_argument_nor_word_is_told(text: str) -> None:
    with pytest.raises(VmcError, match="neither NAME=VALUE nor one of pixels, scalar-actions"):
        parse_name(text)


@pytest.mark.parametrize("argument", ["continuous", "sizes=1,2"])
def test_an_argument_that_is_none_is_told(argument: str) -> None:
    with pytest.raises(VmcError, match="is not NAME=VALUE"):
        join_name("CarRacing-v3", [argument], [])


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("CarRacing-v3", "carracing-v3"),
        ("vmc/Toy-v0", "vmc-toy-v0"),
        ("some.module:Its/Env-v1", "its-env-v1"),
        ("CarRacing-v3,continuous=False", "carracing-v3-continuous-false"),
        ("CartPole-v1,pixels", "cartpole-v1-pixels"),
    ],
)
def test_env_slug_is_a_folder_name(name: str, slug: str) -> None:
    assert env_slug(name) == slug
