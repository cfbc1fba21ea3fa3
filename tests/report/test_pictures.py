"""Panels, films and grids: what is where."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vmc.report.grid import save_grid
from vmc.report.lines import draw_lines
from vmc.report.panels import film_picture, fitted, label_strip, side_by_side
from vmc.report.video import write_video

DARK = 100


def _has_ink(pixels: np.ndarray) -> bool:
    return bool((pixels < DARK).any())


def test_each_label_is_above_its_own_panel() -> None:
    strip = label_strip(("left", "", "right"), (100, 100, 100), gap=6, font_size=20)
    assert strip.shape == (30, 312, 3)
    assert [_has_ink(strip[:, left : left + 100]) for left in (0, 106, 212)] == [True, False, True]
    assert (strip[:, 100:106] == 255).all()


def test_a_long_label_becomes_small_and_stays_above_its_panel() -> None:
    strip = label_strip(("a label that is long", ""), (60, 60), gap=6, font_size=20)
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


def test_a_small_picture_is_enlarged_by_a_whole_number_and_a_large_one_is_averaged() -> None:
    small, large = np.zeros((60, 50, 3), np.uint8), np.zeros((512, 768, 3), np.uint8)
    large[::2] = 200
    assert fitted(small, 256).shape == (256, 200, 3)
    assert (fitted(small, 256)[:8] == 255).all()
    assert (fitted(small, 256)[8:248] == 0).all()
    assert fitted(large, 256).shape == (256, 384, 3)
    assert (fitted(large, 256) == 100).all()


def test_a_film_picture_has_labels_above_and_the_caption_below() -> None:
    panels = {"environment": np.full((400, 600, 3), 200, np.uint8), "M's dream": np.full((64, 64, 3), 200, np.uint8)}
    picture = film_picture(panels, "step 7")
    assert picture.shape == (28 + 256 + 28, 384 + 8 + 256, 3)
    assert _has_ink(picture[:28, :384])
    assert _has_ink(picture[:28, 392:])
    assert _has_ink(picture[-28:])
    assert (picture[28:-28, :384] == 200).all()


@pytest.mark.parametrize(("ending", "kept"), [("gif", 2), ("mp4", 7)])
def test_a_film_keeps_its_pictures(ending: str, kept: int, tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    pictures = [film_picture({"environment": np.full((64, 64, 3), 30 * n, np.uint8)}, "") for n in range(7)]
    path = tmp_path / f"film.{ending}"
    write_video(path, pictures, 50)
    with av.open(str(path)) as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    shown = [0, 5] if ending == "gif" else range(7)
    assert len(frames) == kept
    for number, frame in zip(shown, frames, strict=True):
        assert frame.shape == pictures[0].shape
        assert abs(float(frame[100, 100].mean()) - 30 * number) < 8


def test_vectors_are_drawn_as_lines_in_lanes() -> None:
    vectors = np.zeros((50, 2))
    vectors[:, 1] = 3
    picture = draw_lines(vectors)
    assert picture.shape == (256, 320, 3)
    blue = (picture[..., 2] > 150) & (picture[..., 0] < 60)
    rows = np.flatnonzero(blue.any(axis=1))
    assert set(rows) <= {62, 63, 64, 65, 126, 127, 128, 129}  # the middle of the first lane, the top of the second
    assert not blue[:, 165:].any()  # half of the steps that fit
