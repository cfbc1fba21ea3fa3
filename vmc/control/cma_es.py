"""CMA-ES by ask and tell (pycma), whose whole state can be stored as plain arrays and numbers.

Example:
    >>> search = Search(SearchSettings(population_size=8, step_size=0.5), num_parameters=3, seed=0)
    >>> for _ in range(60):
    ...     candidates = search.ask()
    ...     search.tell(candidates, [-np.sum((x - 1) ** 2) for x in candidates])  # fitness: higher is better
    >>> bool(np.allclose(search.mean, 1, atol=1e-3))
    True
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import cma
import numpy as np
import numpy.typing as npt

from vmc.errors import VmcError
from vmc.seeding import stream

Array = npt.NDArray[np.float64]

# The parts of pycma's object that hold the state of a search, as attributes of the strategy ("" is itself).
_PARTS = ("", "adapt_sigma", "sm", "sigma_vec", "best", "best.last", "fit", "_stoptolxstagnation")
# Attributes that a new strategy has alike, or that only pass from one call to the next.
_DERIVED = {"timer", "C", "B", "D", "dC"}


COVARIANCES = ("full", "diagonal")
# A full search keeps the covariance, its eigenvectors and a few more matrices of their size.
_MATRICES = 6
_MOST_GIB = 16.0


@dataclass(frozen=True)
class SearchSettings:
    """The options of CMA-ES.

    Attributes:
        population_size: candidates of a generation.
        step_size: the first standard deviation of the parameters.
        covariance: `full`, or `diagonal` (separable CMA-ES: Ros & Hansen, 2008), whose cost grows with N, not with its
            square.
        mean_learning_rate: the mean moves by this share of the way to the weighted mean of the best candidates. Below
            1, large mutations lift the candidates above the noise, and the mean still goes in small steps (rescaled
            mutations: Beyer, 1998; in pycma `CMA_cmean`).
    """

    population_size: int = 32
    step_size: float = 0.1
    covariance: str = COVARIANCES[0]
    mean_learning_rate: float = 1.0

    def __post_init__(self) -> None:
        if self.population_size < 4:
            raise VmcError(f"The population is {self.population_size}; CMA-ES needs at least 4 candidates.")
        if self.covariance not in COVARIANCES:
            raise VmcError(f"The covariance cannot be {self.covariance!r}.", f"Choose {' or '.join(COVARIANCES)}.")
        for name in ("step_size", "mean_learning_rate"):
            if not getattr(self, name) > 0:
                raise VmcError(f"The {name.replace('_', ' ')} is {getattr(self, name)}; it must be above 0.")


class _Normal:
    """pycma's source of normal numbers: our own stream, since pycma's `seed` would reseed global NumPy."""

    def __init__(self, generator: np.random.Generator) -> None:
        self.generator = generator

    def __call__(self, *shape: int) -> Array:
        return self.generator.standard_normal(shape)


class Search:
    """A search for the parameters with the highest fitness. Only this class knows that pycma minimises.

    Args:
        num_parameters: N, the length of a candidate.
        mean: where to start, (N,); zeros by default, as in the paper.
        seed, phase: name the random stream.
    """

    def __init__(
        self,
        settings: SearchSettings,
        num_parameters: int,
        seed: int,
        mean: Array | None = None,
        phase: int = 0,
    ) -> None:
        self.settings = settings
        self._normal = _Normal(stream(seed, "search", phase))
        self._strategy = _new_strategy(np.zeros(num_parameters) if mean is None else mean, settings, self._normal)

    @property
    def mean(self) -> Array:
        """The distribution's mean, (N,)."""
        return np.array(self._strategy.mean)

    @property
    def step_size(self) -> float:
        """The present overall standard deviation."""
        return float(self._strategy.sigma)

    @property
    def generation(self) -> int:
        """Generations told so far."""
        return int(self._strategy.countiter)

    def ask(self) -> Array:
        """The next candidates, (P, N)."""
        return np.array(self._strategy.ask())

    def tell(self, candidates: Array, fitness: Sequence[float] | Array) -> None:
        """Learns the candidates' fitness, (P,), higher is better.

        Raises:
            VmcError: a fitness that is not finite; pycma accepts NaN without a word.
        """
        fitness = np.asarray(fitness, np.float64)
        if not np.isfinite(fitness).all():
            raise VmcError(f"Candidate {int(np.argmin(np.isfinite(fitness)))} has a fitness that is not finite.")
        self._strategy.tell(list(candidates), list(-fitness))

    def state(self) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
        """Everything that decides the next generations, between a tell and an ask: (arrays, JSON values)."""
        arrays: dict[str, npt.NDArray[Any]] = {}
        numbers: dict[str, Any] = {}
        for part in _PARTS:
            for name, value in vars(_part(self._strategy, part)).items():
                key = f"{part}.{name}" if part else name
                if name in _DERIVED and part == "":
                    continue
                if isinstance(value, np.ndarray):
                    arrays[key] = value
                elif value is None or isinstance(value, bool | int | float | np.number):
                    numbers[key] = value.item() if isinstance(value, np.number) else value
                elif type(value) is list and all(isinstance(v, float | np.ndarray) for v in value):
                    arrays[key] = np.array(value, np.float64)
        generator = self._normal.generator.bit_generator.state
        # A product of a matrix in the other order may be rounded otherwise.
        by_columns = [key for key, value in arrays.items() if np.isfortran(value)]
        return arrays, {"attributes": _plain(numbers), "generator": generator, "by_columns": by_columns}

    def restore(self, arrays: dict[str, npt.NDArray[Any]], values: dict[str, Any]) -> None:
        """Puts back what `state` gave. Nothing but numbers is taken from it, so it cannot run code.

        Raises:
            VmcError: a state of a search with another number of parameters, or one that holds something else.
        """
        if arrays["mean"].shape != self._strategy.mean.shape:
            raise VmcError(f"The stored search has {arrays['mean'].size} parameters; this one has {self._strategy.N}.")
        _make_lazy_attributes(self._strategy)
        is_new = values["attributes"].get("countiter") == 0  # nothing has been scored
        for key, value in {**_unplain(values["attributes"]), **arrays}.items():
            part, _, name = key.rpartition(".")
            if part not in _PARTS or not isinstance(value, np.ndarray | bool | int | float | None):
                raise VmcError(f"The stored search holds {key}, which is no state of a search.")
            owner = _part(self._strategy, part)
            if not (is_new and value is None):
                _check_form(key, vars(owner).get(name), value)
            if isinstance(value, np.ndarray):
                order: Literal["F", "C"] = "F" if key in values.get("by_columns", ()) else "C"
                value = list(value) if type(vars(owner).get(name)) is list else np.array(value, order=order)
            setattr(owner, name, value)
        sampler = self._strategy.sm
        if hasattr(sampler, "C"):  # a diagonal search has its scales in `sigma_vec`
            self._strategy.C, self._strategy.B, self._strategy.D = sampler.C, sampler.B, sampler.D
            self._strategy.dC = sampler.variances
        self._normal.generator.bit_generator.state = values["generator"]


def _new_strategy(mean: Array, settings: SearchSettings, normal: Any) -> Any:
    needed = _MATRICES * 8 * len(mean) ** 2 / 2**30
    if settings.covariance == "full" and needed > _MOST_GIB:
        raise VmcError(
            f"C has {len(mean):,} parameters: a full search would take about {needed:,.0f} GiB of memory.",
            "Give --covariance diagonal, or a smaller C (--inputs z), or --dream --trainer actor-critic.",
        )
    options = {
        "CMA_cmean": settings.mean_learning_rate,
        "CMA_diagonal": settings.covariance == "diagonal",
        "popsize": settings.population_size,
        "randn": normal,
        "seed": np.nan,  # leaves the global generator alone
        "verbose": -9,
        "verb_log": 0,
        "verb_disp": 0,
    }
    return cma.CMAEvolutionStrategy(mean, settings.step_size, options)


def _part(strategy: Any, part: str) -> Any:
    for name in filter(None, part.split(".")):
        strategy = getattr(strategy, name)
    return strategy


def _check_form(key: str, present: Any, stored: Any) -> None:
    """A part of a search has the form that it has in every search of this size; histories may be of any length."""
    if isinstance(present, np.ndarray):
        fits = isinstance(stored, np.ndarray) and (present.shape, present.dtype) == (stored.shape, stored.dtype)
        fits = fits and bool(np.isfinite(stored).all())
    else:
        fits = not isinstance(stored, np.ndarray) or stored.dtype == np.float64
    if not fits:
        raise VmcError(f"The stored search holds a {key} of another form than a search of this size has.")


def _make_lazy_attributes(strategy: Any) -> None:
    """One generation on made-up fitness: pycma creates some attributes only then. All are overwritten after."""
    candidates = strategy.ask()
    strategy.tell(candidates, list(range(len(candidates))))


def _plain(numbers: dict[str, Any]) -> dict[str, Any]:
    # JSON has no infinities.
    return {k: repr(v) if isinstance(v, float) and not np.isfinite(v) else v for k, v in numbers.items()}


def _unplain(numbers: dict[str, Any]) -> dict[str, Any]:
    return {k: float(v) if v in ("inf", "-inf", "nan") else v for k, v in numbers.items()}
