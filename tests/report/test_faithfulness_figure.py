from typing import Any

import pytest
from matplotlib.figure import Figure

from vmc.report.faithfulness import draw_faithfulness


def _report(**other: Any) -> dict[str, Any]:
    bins = {"said": [0.0, 0.5, 1.0], "happened": [0.1, 0.4, 0.9]}
    gap = {"generations": [0, 10], "dream": [1, 2], "dream_error": [0, 1], "real": [5, 9], "real_error": [1, 1]}
    open_loop = {"dream": [0.1, 0.4, 0.9], "copy": [0.2, 0.6, 0.8], "spread": 0.7}
    gap["rank_correlation"] = 1.0  # type: ignore[assignment]
    return {"open_loop": open_loop, "gap": gap, "reward": bins, "termination": bins, **other}


def test_the_figure_uses_the_fields_words() -> None:
    figure = Figure(figsize=(7, 7), layout="constrained")
    draw_faithfulness(figure, _report())
    open_loop, gap, reward, termination = figure.axes[:4]
    assert open_loop.get_legend_handles_labels()[1] == [
        "predicted by M",
        "persistence (the last z)",
        "chance level (the mean z)",
    ]
    assert gap.get_title() == "Returns, rank correlation 1.00"
    assert (reward.get_xlabel(), reward.get_ylabel()) == ("predicted reward", "observed reward")
    assert (termination.get_xlabel(), termination.get_ylabel()) == ("predicted probability", "observed probability")


def test_short_episodes_have_no_open_loop() -> None:
    figure = Figure(layout="constrained")
    draw_faithfulness(figure, _report(open_loop=None))
    assert "too short" in figure.axes[0].texts[0].get_text()


@pytest.mark.parametrize("size", [(7, 7.2)])
def test_nothing_overlaps(size: tuple[float, float]) -> None:
    figure = Figure(figsize=size, layout="constrained")
    draw_faithfulness(figure, _report())
    figure.draw_without_rendering()
    boxes = [axis.get_tightbbox() for axis in figure.axes]
    boxes += [figure.legends[0].get_window_extent(), figure._suptitle.get_window_extent()]  # type: ignore[attr-defined]
    for number, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[number + 1 :])
