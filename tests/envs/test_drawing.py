import time

import pytest

from vmc.envs.drawing import announced


def test_what_takes_long_is_told_while_it_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    with announced("The constructor may hang.", seconds=0.05):
        time.sleep(0.5)
        assert capsys.readouterr().err == "The constructor may hang.\n"
    assert "Done in" in capsys.readouterr().err


def test_what_is_quick_is_not_told(capsys: pytest.CaptureFixture[str]) -> None:
    with announced("The constructor may hang.", seconds=60):
        pass
    assert capsys.readouterr().err == ""
