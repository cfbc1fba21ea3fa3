import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from report_lines import a_line, in_reality, two_rounds

from vmc.errors import VmcError
from vmc.report import style
from vmc.report.curves import (
    Curve,
    draw_search,
    draw_searches,
    draw_seeds,
    draw_training,
    plot_run,
    plot_searches,
    plot_seeds,
)
from vmc.report.search import Search


def _labels(axis: Axes) -> list[str]:
    return axis.get_legend_handles_labels()[1]


def _line(axis: Axes, label: str) -> Any:
    return next(line for line in axis.lines if line.get_label() == label)


def _write(run: Path, lines: list[dict[str, Any]], stage: str = "controller") -> Path:
    (run / stage).mkdir(parents=True)
    (run / stage / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run


def _assert_complete(figure: Figure) -> None:
    """Title, named axes, and one legend that lies over no panel."""
    assert figure.get_suptitle()
    figure.draw_without_rendering()
    (legend,) = figure.legends
    for axis in figure.axes:
        assert axis.get_ylabel() or axis.get_shared_y_axes().get_siblings(axis) != [axis]
        assert not legend.get_window_extent().overlaps(axis.get_window_extent())


def test_a_search_has_a_panel_for_the_real_environment_and_one_for_the_dream() -> None:
    figure = Figure(layout="constrained")
    draw_search(figure, Search(two_rounds(), []))
    real, dream = figure.axes
    assert real.get_ylabel() == "return in\nthe real environment"
    assert dream.get_ylabel() == "return in\nthe dream"
    assert dream.get_xlabel() == "generation"
    assert "kept C: 250, generation 5" in _labels(real)
    assert not any(label.startswith("kept") for label in _labels(dream))
    assert list(_line(dream, "in training, mean").get_xdata()) == [1, 2]
    assert list(_line(real, "in training, mean").get_xdata()) == [3, 4, 5]
    assert [text.get_text() for text in real.texts] == ["round  ", "1", "2"]
    _assert_complete(figure)


def test_a_search_in_the_real_environment_has_one_panel_and_no_rounds() -> None:
    figure = Figure(layout="constrained")
    draw_search(figure, Search([a_line(1, **in_reality(3)), a_line(2, **in_reality(9))], []))
    (axis,) = figure.axes
    assert not axis.texts
    assert all(tick == round(tick) for tick in axis.get_xticks())
    _assert_complete(figure)


def test_training_has_a_panel_for_each_metric_and_a_star_at_the_epoch_that_was_kept() -> None:
    validated = [{"step": step, "val_loss": loss, "val_kl": loss} for step, loss in ((0, 9.0), (1, 2.0), (1, 5.0))]
    validated[1]["train_kl"] = 3.0
    lines = [*validated, {"step": 2, "val_loss": 3.0, "val_kl": 1.0, "train_kl": 2.0}]
    figure = Figure(layout="constrained")
    draw_training(figure, lines, "Training of V", [Curve("kl", "KL", "nats per frame")])
    (axis,) = figure.axes
    assert (axis.get_title(), axis.get_ylabel(), axis.get_xlabel()) == ("KL", "nats per frame", "epoch")
    assert _line(axis, "kept: epoch 2").get_ydata()[0] == 1.0
    assert list(_line(axis, "a round begins").get_xdata()) == [1, 1]
    _assert_complete(figure)


def test_a_training_that_diverged_is_drawn_as_far_as_it_has_numbers() -> None:
    lines = [
        {"step": 0, "val_loss": 9.0, "val_kl": 1.0},
        {"step": 1, "val_loss": None, "val_kl": None, "train_kl": None},
    ]
    figure = Figure(layout="constrained")
    draw_training(figure, lines, "Training of V", [Curve("kl", "KL", "nats per frame")])
    assert "kept: epoch 0" in _labels(figure.axes[0])
    figure = Figure(layout="constrained")
    draw_training(figure, lines[1:], "Training of V", [Curve("kl", "KL", "nats per frame")])
    assert _labels(figure.axes[0]) == []


def test_the_papers_score_is_a_line_among_returns_of_the_real_environment() -> None:
    figure = Figure(layout="constrained")
    draw_search(figure, Search(two_rounds(), []), (906, "the paper: 906"))
    real, dream = figure.axes
    assert list(_line(real, "the paper: 906").get_ydata()) == [906, 906]
    assert "the paper: 906" not in _labels(dream)
    figure = Figure(layout="constrained")
    draw_searches(figure, {"_a $": [Search([a_line(1, **in_reality(5))], [])]}, (906, "the paper: 906"))
    assert all("the paper: 906" in _labels(axis) for axis in figure.axes)
    assert r" _a \$" in _labels(figure.axes[0])
    _assert_complete(figure)


def test_a_model_with_metrics_of_its_own_has_its_loss_drawn() -> None:
    figure = Figure(layout="constrained")
    draw_training(figure, [{"step": 0, "val_loss": 1.0}], "Training of M", [Curve("kl", "KL", "nats")])
    assert [axis.get_title() for axis in figure.axes] == ["Loss"]


def test_searches_are_compared_over_frames_and_hours() -> None:
    one = Search([a_line(10, **in_reality(1)), a_line(20, **in_reality(5))], [])
    figure = Figure(layout="constrained")
    draw_searches(figure, {"full": [one], "v-only": [one]})
    frames, hours = figure.axes
    assert list(_line(frames, "full").get_xdata()) == [0.01, 0.02]
    assert list(_line(hours, "full").get_xdata()) == [0.1, 0.2]
    assert _line(frames, "full").get_color() != _line(frames, "v-only").get_color()
    assert (frames.get_xlabel(), hours.get_xlabel()) == ("real frames (millions)", "time (hours)")
    _assert_complete(figure)


def test_several_seeds_are_a_mean_and_a_band() -> None:
    seeds = [Search([a_line(2, **in_reality(low)), a_line(4, **in_reality(low + 2))], []) for low in (0, 6)]
    figure = Figure(layout="constrained")
    draw_searches(figure, {"full": seeds})
    axis = figure.axes[0]
    assert list(_line(axis, "full (2 seeds)").get_ydata()) == [3, 5]
    low, high = np.ptp(axis.collections[0].get_paths()[0].vertices, axis=0)
    assert (low, high) == (pytest.approx(0.002), 8)
    figure = Figure(layout="constrained")
    draw_seeds(figure, seeds)
    (axis,) = figure.axes
    assert axis.get_ylabel() == "return in\nthe real environment"
    assert sum(line.get_label() == "a seed" for line in axis.lines) == 2
    assert list(_line(axis, "mean, band: lowest to highest (2 seeds)").get_ydata()) == [3, 5]
    _assert_complete(figure)


def test_seeds_that_were_validated_at_other_generations_are_interpolated() -> None:
    seeds = [
        Search([a_line(step, **in_reality(10 * step)) for step in steps], []) for steps in ((1, 5), (2, 4), (1, 3, 9))
    ]
    figure = Figure(layout="constrained")
    draw_seeds(figure, seeds)
    mean = _line(figure.axes[0], "mean, band: lowest to highest (3 seeds)")
    assert list(mean.get_xdata()) == [2, 3, 4]
    assert list(mean.get_ydata()) == [20, 30, 40]


def test_the_files_are_written_and_the_callers_style_stays(tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    runs = [_write(tmp_path / name, two_rounds()) for name in ("a", "b")]
    _write(runs[0], [{"step": 0, "val_loss": 1.0, "val_kl": 2.0, "val_reconstruction": 3.0}], "vae")
    written = plot_run(runs[0])
    assert written == [runs[0] / "vae" / "curves.png", runs[0] / "controller" / "fitness.png"]
    written += [plot_searches({"one": runs[0], "two": runs}, tmp_path / "searches.png")]
    written += [runs[1] / "controller" / "fitness.png", plot_seeds(runs, tmp_path / "seeds.png")]
    for path in written:
        assert path.read_bytes().startswith(b"\x89PNG")
    assert dict(mpl.rcParams) == before


def test_a_run_without_metrics_has_no_curves(tmp_path: Path) -> None:
    assert plot_run(tmp_path) == []
    with pytest.raises(VmcError, match="No run has validations"):
        plot_seeds([_write(tmp_path / "run", [a_line(1)])], tmp_path / "seeds.png")


def test_each_compared_run_has_a_colour_and_a_marker_of_its_own() -> None:
    colors, markers = zip(*style.SERIES, strict=True)
    assert len(set(colors)) == len(set(markers)) == len(style.SERIES)
