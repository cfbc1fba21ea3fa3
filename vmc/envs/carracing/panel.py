"""The score's text. pygame's font draws each string once; the pixels are cached.

Follows the end of ``CarRacing._render`` (gymnasium 1.4.0).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pygame

from vmc.envs.carracing.tables import HEIGHT, WIDTH

Text = tuple[npt.NDArray[np.int64], int, int]
KEPT = 4096  # scores run from about -200 to 1000


@lru_cache(maxsize=1)
def _font() -> pygame.font.Font:
    pygame.font.init()
    return pygame.font.Font(pygame.font.get_default_font(), 42)


def _drawn(score: str) -> pygame.Surface:
    try:
        return _font().render(score, True, (255, 255, 255), (0, 0, 0))
    except pygame.error:  # pygame.quit() makes old fonts unusable, also when pygame is initialised again
        _font.cache_clear()
        return _font().render(score, True, (255, 255, 255), (0, 0, 0))


@lru_cache(maxsize=KEPT)
def score_text(score: str) -> Text:
    """The text's pixels as lanes (see ``blocks``), and x and y of their top left corner."""
    text = _drawn(score)
    place = text.get_rect()
    place.center = (60, HEIGHT - HEIGHT * 2.5 / 40.0)
    # Blit as the original does, because the text is an 8-bit surface with a palette.
    surface = pygame.Surface((WIDTH, HEIGHT))
    surface.blit(text, place)
    seen = place.clip(surface.get_rect())
    rgb = pygame.surfarray.array3d(surface.subsurface(seen)).astype(np.int64)
    lanes = rgb[..., 0] | (rgb[..., 1] << 16) | (rgb[..., 2] << 32)
    return np.ascontiguousarray(lanes.T), seen.x, seen.y
