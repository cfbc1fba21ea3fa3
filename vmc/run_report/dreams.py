"""What V keeps and what M dreams: reconstructions, a film strip, and the dream against the real environment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from vmc.control.loop import means_folder
from vmc.dream.beside import DREAM_STEPS
from vmc.errors import VmcError
from vmc.models.checkpoints import controller_folder, dynamics_folder, vae_folder
from vmc.report.blocks import Block, Cell, Figure, Missing, Panel, Picture, Section, Strip, Table, Text
from vmc.report.faithfulness import draw_faithfulness
from vmc.report.pixels import array_uri, file_uri
from vmc.report.svg import inline_svg
from vmc.run_report import commands
from vmc.run_report.files import RunFiles, rounded, told
from vmc.stages.faithfulness import REPORT
from vmc.stages.film import FilmStep
from vmc.stages.filmstrip import film_strip
from vmc.storage.files import read_json, readable

_WIDTH = 2 * 900  # pixels of all moments: twice what a wide screen shows
_MOMENTS = (
    f"The first test episode. M's dream sees the actions alone; it starts again from a real frame every {DREAM_STEPS} "
    "steps."
)

# The words for what `mdrnn/report.json` holds.
_MEASURED = {
    "nll_per_dimension": "negative log-likelihood of the next z, in nats a dimension",
    "reward_explained_variance": "share of the reward's variance that is explained one step ahead",
    "reward_slope": "slope of the recorded rewards on the predicted ones; 1 is calibrated",
    "terminations": "number of steps that are labelled as terminated",
    "termination_precision": "precision of the termination",
    "termination_recall": "recall of the termination",
    "termination_ratio": "predicted terminations per recorded one; 1 is calibrated",
    "dream_error_10": "RMS error of z in 10 dreamed steps",
    "dream_error_50": "RMS error of z in 50 dreamed steps",
    "copy_error_50": "the same, of predicting that nothing changes",
    "spread": "the same, of predicting the mean z",
    "dream_reward_correlation_50": "correlation of dreamed and recorded rewards, summed over 50 steps",
}


def reconstructions(files: RunFiles) -> Section:
    """What V keeps of validation frames, as its training wrote it."""
    return Section("reconstructions", "V's reconstructions", list(_reconstructions(files)))


def _reconstructions(files: RunFiles) -> Iterator[Block]:
    picture = vae_folder(files.path) / "reconstructions.png"
    shares = vae_folder(files.path) / "reconstructions.json"
    if picture.exists():
        yield Picture(
            file_uri(picture),
            "Rows of validation frames, and below each what V makes of it.",
            "Validation frames, and V's reconstruction of the mean of z below each.",
        )
    elif shares.exists():
        with readable(shares, "Remove it; `vmc train-vae` writes it again."):
            yield from _kept_variance(read_json(shares, "Remove it; `vmc train-vae` writes it again."))
    else:
        text = "There is no `vae/reconstructions.png`; the training of V writes it."
        if "V" in files.models:
            text += " The film strip below shows what V keeps, if there is one."
        yield Missing(text, commands.train(files, "V"))


def _kept_variance(content: Mapping[str, Any]) -> Iterator[Block]:
    """Vectors have no picture."""
    rows = [
        [f"{number}", "it does not vary" if share is None else rounded(100 * share)]
        for number, share in enumerate(content["explained_variance"], start=1)
    ]
    yield Text(f"V sees vectors, not pictures, and codes them in {content['latent_size']} latents.")
    yield Table(["dimension of the observation", "variance that V keeps (%)"], rows, "On validation episodes.")


def film(files: RunFiles) -> Section:
    """Moments of one test episode: real, reconstructed, dreamed."""
    return Section("film", "A dream beside the real environment", [_film(files)])


def _film(files: RunFiles) -> Block:
    if files.env is None:
        text = "There is no film: nothing here names the environment."
        return Missing(text, commands.train(files, "V"))
    try:
        moments = film_strip(files.env, files.path, files.test_seed)
    except VmcError as error:
        return Missing(f"There is no film. {told(error)}")
    return Strip([moment.step for moment in moments], [*_panels(moments)], _MOMENTS)


def _panels(moments: Sequence[FilmStep]) -> Iterator[Panel]:
    for label in moments[0].panels:
        pictures = [moment.panels[label] for moment in moments]
        height, width = pictures[0].shape[:2]
        yield Panel(label, [array_uri(picture, _WIDTH // len(moments)) for picture in pictures], (width, height))


def faithfulness(files: RunFiles) -> Section:
    """M's dream against recorded episodes, and controllers in both worlds."""
    return Section("faithfulness", "Is the dream faithful?", [*_faithfulness(files), *_validated_dynamics(files)])


def _faithfulness(files: RunFiles) -> Iterator[Block]:
    path, again = files.path / REPORT, "Run `vmc faithfulness` again."
    report = read_json(path, again)
    command: str | None = commands.faithfulness(files)
    if report is None:
        text = f"The dream was not compared with the real environment: there is no `{REPORT}`."
        if not means_folder(controller_folder(files.path)).is_dir():
            text += " The comparison needs the run's episodes and the controllers along its search, which are not here:"
            text += " it is for a run that `vmc run` or `vmc train-controller` has left as it is."
            command = None
        yield Missing(text, command)
        return
    with readable(path, again):
        gap = report["gap"]
        yield Figure(
            inline_svg(partial(draw_faithfulness, report=report), 7.2, "faithfulness"),
            "Four panels: M's error of z over dreamed steps; returns in the dream and in the real environment; "
            "predicted against observed reward; predicted against observed termination.",
            f"Made by `{command}`. The rank correlation of the controllers' returns in both worlds is "
            f"{gap['rank_correlation']:.2f}: at 1, the dream orders them as the real environment does.",
        )
        columns = (gap["generations"], gap["dream"], gap["dream_error"], gap["real"], gap["real_error"])
        rows = [[rounded(row[0], 0), *map(rounded, row[1:])] for row in zip(*columns, strict=True)]
    head = ["generation", "return in the dream", "standard error", "return in the real environment", "standard error"]
    yield Table(head, rows, title="The controllers in both worlds")


def _validated_dynamics(files: RunFiles) -> Iterator[Block]:
    """What M's training measured at its end."""
    path, again = dynamics_folder(files.path) / "report.json", "Remove it; `vmc train-mdrnn` writes it again."
    report = read_json(path, again)
    if report is not None:
        with readable(path, again):
            rows: list[list[Cell]] = [
                [_MEASURED.get(name, f"`{name}`"), rounded(value, 3)] for name, value in report.items()
            ]
        yield Table(["M on validation episodes", "value"], rows, "`mdrnn/report.json`, written when M was trained.")
