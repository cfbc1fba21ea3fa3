"""ViZDoom's *take cover* with the settings of the paper's DoomRNN: the agent dodges fireballs by one scalar action.

The settings are those of hardmaru's `doomrnn/doomreal.py` and of `ppaquette/gym-doom`, which it uses. The scenario file
is identical to theirs. `benchmarks/doom_calibration.py` checks the settings against the paper's results.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from vmc.envs.engine import launcher
from vmc.errors import VmcError
from vmc.extras import missing

try:
    import vizdoom
except ModuleNotFoundError:
    raise missing("doom") from None

_THRESHOLD = 1 / 3
_LEFT, _STAY, _RIGHT = [1, 0], [0, 0], [0, 1]


@dataclass(frozen=True)
class EngineSettings:
    """The settings that the calibration varies. The defaults are the paper's.

    Attributes:
        skill: 1 to 5; 5 has fast monsters. gym-doom sets 5, but its engine read that as 4.
        start_tic: number of tics before the first frame.
        resolution: width and height of the picture in pixels; ViZDoom must support it.
        hud: draw the status bar, which covers the lowest sixth of the picture (the task crops it).
    """

    skill: int = 4
    start_tic: int = 14
    resolution: tuple[int, int] = (640, 480)
    hud: bool = True


class TakeCover(gym.Env[npt.NDArray[np.uint8], npt.NDArray[np.float32]]):
    """One step is one tic (1/35 s). The action (1,) in [-1, 1] moves left below -1/3 and right above 1/3.

    The reward is 1 per tic. An episode terminates at the player's death; a wrapper adds the time limit. The engine
    gives no picture after death, so the terminal observation repeats the last one. An episode depends on the seed
    and the actions alone.

    Raises:
        VmcError: ViZDoom is not installed (at import), or its engine does not start.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 35}  # noqa: RUF012

    def __init__(self, settings: EngineSettings = EngineSettings(), render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        width, height = settings.resolution
        self.observation_space = gym.spaces.Box(0, 255, (height, width, 3), np.uint8)
        self.action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.game = _configured(settings)
        try:
            self.game.init()
        except (vizdoom.ViZDoomErrorException, vizdoom.ViZDoomUnexpectedExitException) as error:
            raise VmcError(f"ViZDoom's engine does not start: {error}") from error

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[npt.NDArray[np.uint8], dict[str, Any]]:
        super().reset(seed=seed)
        self.game.set_seed(int(self.np_random.integers(2**31)))
        self.game.new_episode()
        self._update_picture()
        return self._picture, {}

    def step(self, action: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        reward = self.game.make_action(_buttons(float(action[0])))
        self._update_picture()
        return self._picture, reward, self.game.is_episode_finished(), False, {}

    def render(self) -> npt.NDArray[np.uint8]:
        """The observation: the engine's picture, (480, 640, 3)."""
        return self._picture

    def close(self) -> None:
        self.game.close()

    def _update_picture(self) -> None:
        """Stores the engine's picture; after death there is none, and the old picture stays."""
        state = self.game.get_state()
        if state is not None:
            self._picture: npt.NDArray[np.uint8] = state.screen_buffer


def _buttons(action: float) -> list[int]:
    if action < -_THRESHOLD:
        return _LEFT
    return _RIGHT if action > _THRESHOLD else _STAY


def _configured(settings: EngineSettings) -> vizdoom.DoomGame:
    """Makes a game. It sets every relevant setting here, because the defaults depend on ViZDoom's version."""
    game = vizdoom.DoomGame()
    package = Path(vizdoom.__file__).parent
    if os.name == "posix":
        game.set_vizdoom_path(str(launcher(package / "vizdoom")))
    game.set_doom_game_path(str(package / "freedoom2.wad"))
    game.set_doom_scenario_path(str(Path(vizdoom.scenarios_path, "take_cover.wad")))
    game.set_doom_map("map01")
    game.set_doom_skill(settings.skill)
    game.set_episode_start_time(settings.start_tic)
    game.set_episode_timeout(0)
    game.set_living_reward(1)
    game.set_mode(vizdoom.Mode.PLAYER)
    # The order of _LEFT and _RIGHT; gym-doom and ViZDoom's own environments use other orders.
    game.set_available_buttons([vizdoom.Button.MOVE_LEFT, vizdoom.Button.MOVE_RIGHT])
    game.set_window_visible(False)
    game.set_screen_format(vizdoom.ScreenFormat.RGB24)
    game.set_screen_resolution(getattr(vizdoom.ScreenResolution, "RES_{}X{}".format(*settings.resolution)))
    game.set_render_hud(settings.hud)
    game.set_render_weapon(False)
    game.set_render_crosshair(False)
    game.set_render_decals(False)
    game.set_render_particles(False)
    # gym-doom took its pictures before the engine applied the red flash to the palette.
    game.set_render_screen_flashes(False)
    return game
