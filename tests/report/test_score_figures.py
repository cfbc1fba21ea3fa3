import pytest
from matplotlib.figure import Figure

from vmc.report import style
from vmc.report.scores import Mean, Published, draw_means, draw_returns, means_height

PAPER = Published("906 ± 21", 906)


def _labels(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize(("text", "mean"), [("906 ± 21", 906), ("-25.5 ± 3", -25.5), ("1092", 1092)])
def test_the_papers_score_is_read(text: str, mean: float) -> None:
    assert Published.read(text) == Published(text, mean)
    assert Published.read("") is None


def test_the_histogram_holds_all_episodes_and_marks_the_mean() -> None:
    figure = Figure(layout="constrained")
    returns = [800.0, 810, 850, 900, 905, 300]
    draw_returns(figure, returns, 760.8, (500, 1000), PAPER)
    (axis,) = figure.axes
    assert sum(bar.get_height() for bar in axis.containers[0]) == len(returns)
    assert set(_labels(figure)) == {
        "test episodes",
        "the paper: 906 ± 21",
        "mean 760.8, 95% interval 500.0 to 1000.0",
    }
    (interval,) = axis.containers[1].lines[2]
    assert [point[0] for point in interval.get_segments()[0]] == [500, 1000]
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("return of an episode", "number of episodes")
    figure.draw_without_rendering()
    assert not figure.legends[0].get_window_extent().overlaps(axis.get_window_extent())


@pytest.mark.parametrize("returns", [[500.0] * 20, [1.0, 1e6], [0.0, 0.0, 1e-9], list(range(3000))])
def test_any_returns_have_a_histogram(returns: list[float]) -> None:
    figure = Figure(layout="constrained")
    draw_returns(figure, returns, returns[0], (returns[0], returns[0]), None)
    bars = figure.axes[0].containers[0]
    assert sum(bar.get_height() for bar in bars) == len(returns)
    assert len(bars) <= 40


def test_means_are_listed_from_the_top_with_their_intervals() -> None:
    means = [Mean("one", 100, 90, 110), Mean("_two $x$", 200, 150, 250)]
    figure = Figure(figsize=(7, means_height(2)), layout="constrained")
    draw_means(figure, means, PAPER, style.series(each.name for each in means))
    (axis,) = figure.axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["one", r" _two \$x\$"]
    assert axis.yaxis_inverted()
    bars = [collection.get_segments()[0] for collection in axis.collections]
    assert [(bar[0][0], bar[1][0]) for bar in bars] == [(90, 110), (150, 250)]
    assert _labels(figure) == ["the paper: 906 ± 21"]
