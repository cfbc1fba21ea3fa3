"""Panels, films and grids: what is where."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vmc.report.grid import save_grid
from vmc.report.panels import label_strip, side_by_side
from vmc.report.video import write_video

DARK = 100


def _has_ink(pixels: np.ndarray) -> bool:
    return bool((pixels < DARK).any())


def test_each_label_is_above_its_own_panel() -> None:
    strip = label_strip(["left", "", "right"], [100, 100, 100], gap=6, font_size=20)
    assert strip.shape == (30, 312, 3)
    assert [_has_ink(strip[:, left : left + 100]) for left in (0, 106, 212)] == [True, False, True]
    assert (strip[:, 100:106] == 255).all()


def test_a_long_label_becomes_small_and_stays_above_its_panel() -> None:
    strip = label_strip(["a label that is long", ""], [60, 60], gap=6, font_size=20)
    assert _has_ink(strip[:, :60])
    assert not _has_ink(strip[:, 60:])


def test_frames_are_side_by_side_with_gaps() -> None:
    row = side_by_side(np.zeros((3, 4, 5, 3), np.uint8), scale=2)
    assert row.shape == (8, 2 * (3 * 5 + 2 * 2), 3)
    assert (row[:, 10:14] == 255).all()
    assert row[:, :10].max() == 0


def test_a_grid_has_a_label_above_each_row(tmp_path: Path) -> None:
    black = np.zeros((4, 64, 64, 3), np.uint8)
    path = tmp_path / "grid.png"
    save_grid(path, {"environment": black, "": black}, scale=2)
    picture = np.asarray(Image.open(path))
    strip = 36
    assert picture.shape == (2 * (strip + 128), 2 * (4 * 66 - 2), 3)
    assert _has_ink(picture[:strip])
    assert (picture[strip + 128 : 2 * strip + 128] == 255).all()


@pytest.mark.parametrize(("ending", "pictures"), [("gif", 2), ("mp4", 7)])
def test_a_film_has_its_labels_in_every_picture(ending: str, pictures: int, tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    rng = np.random.default_rng(0)
    panels = {label: rng.integers(0, 256, (7, 64, 64, 3), np.uint8) for label in ("environment", "M's dream")}
    path = tmp_path / f"film.{ending}"
    write_video(path, panels)
    with av.open(str(path)) as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert len(frames) == pictures
    for frame in frames:
        assert frame.shape == (32 + 192, 192 + 6 + 192, 3)
        assert _has_ink(frame[:32, :192])
        assert _has_ink(frame[:32, 198:])
        assert frame[:32].mean() > 200
