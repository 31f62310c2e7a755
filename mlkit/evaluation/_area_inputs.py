"""Read reference samples, strata and map totals, and refuse what cannot be judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd

from mlkit.estimate import Design
from mlkit.evaluation._inputs import Codes, Labels, check_lengths, read_truth

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]
    Places: TypeAlias = NDArray[np.intp]
    Mask: TypeAlias = NDArray[np.bool_]

Sizes: TypeAlias = "Mapping[Any, float] | pd.Series[Any]"

_SUM_OF_SHARES = 1e-6  # how far from 1 shares may sum


@dataclass(frozen=True, eq=False)
class Strata:
    """Strata with their sizes in the map and their points in the sample."""

    labels: tuple[Any, ...]
    place: Places  # of each point
    sizes: Floats  # pixels or shares
    points: Places  # of each stratum
    are_pixels: bool
    with_fpc: bool

    @property
    def weights(self) -> Floats:
        """Give the share of each stratum."""
        return np.asarray(self.sizes / self.sizes.sum())

    @property
    def fractions(self) -> Floats:
        """Give the part of each stratum that was drawn; 0 without the correction."""
        drawn: Floats = self.points / self.sizes
        return drawn if self.with_fpc else np.zeros(len(drawn))

    @property
    def lone(self) -> Mask:
        """Say which strata have one point, and so no standard error."""
        return np.asarray((self.points == 1) & (self.fractions < 1))

    def design(self, collapse: Mapping[Any, Any] | None = None) -> Design:
        """Describe the drawing; lone strata that are not collapsed count as certain."""
        group = self._groups(collapse)
        points = np.bincount(group, self.points, len(group))
        sizes = np.bincount(group, self.sizes, len(group))
        drawn = np.divide(points, sizes, out=np.zeros_like(points), where=sizes > 0)
        fraction = drawn if self.with_fpc else np.zeros(len(group))
        fraction[points == 1] = 1.0
        own = group[self.place]
        return Design(weights=(self.sizes / self.points)[self.place], strata=own, fpc=fraction[own])

    def still_lone(self, collapse: Mapping[Any, Any] | None) -> Mask:
        """Say which strata stay without a standard error after collapsing."""
        group = self._groups(collapse)
        points = np.bincount(group, self.points, len(group))
        return np.asarray(self.lone & (points[group] == 1))

    def _groups(self, collapse: Mapping[Any, Any] | None) -> Places:
        """Give each stratum the one it is joined to."""
        group = np.arange(len(self.labels))
        for name, into in (collapse or {}).items():
            for stratum in (name, into):
                if stratum not in self.labels:
                    raise ValueError(
                        f"collapse names {stratum!r}, which is no stratum. There are: "
                        f"{named(self.labels)}."
                    )
            if name == into:
                raise ValueError(f"collapse joins {name!r} to itself. Name another stratum.")
            joined, kept = group[self.labels.index(name)], group[self.labels.index(into)]
            group[group == joined] = kept
        return group


def stratified_design(strata: Labels, sizes: Sizes, *, fpc: bool = False) -> Design:
    """Describe a stratified random sample of pixels by the sizes of its strata.

    Parameters
    ----------
    strata : array-like of shape (n,)
        The stratum of each sampled point: text or whole numbers.
    sizes : dict or Series
        How many pixels of the map each stratum has, or which share of them.
    fpc : bool, default=False
        Whether to correct for the part of each stratum that was drawn; sizes are then pixels.

    Returns
    -------
    Design
        The drawing: a point of stratum h has the weight N_h / n_h.

    Raises
    ------
    ValueError
        If a stratum has no point, or one point (unless `fpc` says that it has no more pixels),
        or a point lies in a stratum without a size; if sizes are negative, missing, or shares
        that do not sum to 1.
    TypeError
        If sizes are no dict and no Series, or strata are of mixed types.

    See Also
    --------
    map_accuracy : Takes the sizes itself.

    Examples
    --------
    >>> stratified_design(["crop", "crop", "other", "other"], {"crop": 200, "other": 800}).weights
    array([100., 100., 400., 400.])
    """
    read = read_truth(strata, "strata")
    drawn = read_strata(read, read_sizes(sizes, "sizes"), fpc=fpc)
    if drawn.lone.any():
        lone = [label for label, is_lone in zip(drawn.labels, drawn.lone, strict=True) if is_lone]
        raise ValueError(
            f"One point in each of {len(lone)} strata ({named(lone)}): one point shows no "
            "variation. Draw a second one, or join the strata before."
        )
    return drawn.design()


def read_sizes(sizes: Any, name: str) -> dict[Any, float]:
    """Read pixels or shares by class."""
    if isinstance(sizes, pd.Series):
        if not sizes.index.is_unique:
            raise ValueError(f"{name} names a class twice. Give each one size.")
        sizes = sizes.to_dict()
    if not isinstance(sizes, Mapping):
        raise TypeError(
            f"{name} is a {type(sizes).__name__}; give a dict or Series, such as "
            "{'forest': 3_200_000, 'other': 6_450_000}."
        )
    try:
        read = {label: float(size) for label, size in sizes.items()}
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} needs numbers: {error}.") from error
    values = np.array(list(read.values()))
    if not (np.isfinite(values) & (values >= 0)).all():
        bad = [label for label, size in read.items() if not (np.isfinite(size) and size >= 0)]
        raise ValueError(
            f"{name} of {named(bad)} is negative, missing or infinite; allowed are 0 and more "
            "pixels, or shares."
        )
    if not values.any():
        raise ValueError(f"{name} is empty or all 0. Give the pixels of each class of the map.")
    if values.max() <= 1 and abs(values.sum() - 1) > _SUM_OF_SHARES and len(values) > 1:
        raise ValueError(
            f"{name} looks like shares, but they sum to {values.sum():g}, not 1. Divide them by "
            "their sum, or give pixels."
        )
    return read


def are_shares(sizes: Mapping[Any, float]) -> bool:
    """Tell shares from pixels."""
    return abs(sum(sizes.values()) - 1) <= _SUM_OF_SHARES


def read_strata(codes: Codes, sizes: Mapping[Any, float], *, fpc: bool) -> Strata:
    """Find the stratum of each point, and refuse strata that do not fit the sizes."""
    labels = tuple(label for label, size in sizes.items() if size > 0)
    unknown = [label for label in codes.different if label not in labels]
    if unknown:
        raise ValueError(
            f"Points lie in {named(unknown)}, for which the sizes give no pixels. The sizes name "
            f"{named(list(sizes))}. Count the pixels of the map that was sampled."
        )
    place = codes.recode([labels.index(label) for label in codes.different])[:, 0]
    points = np.bincount(place, minlength=len(labels))
    if (points == 0).any():
        without = [labels[h] for h in np.flatnonzero(points == 0)]
        raise ValueError(
            f"No point in {named(without)}, so the sample says nothing about that part of the "
            "map. Draw points there; or join the class with another one in the map and in the "
            "sizes; or leave it out of the sizes, and say that the figures leave it out."
        )
    are_pixels = not are_shares(sizes)
    stratum_sizes = np.array([sizes[label] for label in labels])
    if fpc and not are_pixels:
        raise ValueError("fpc=True needs sizes in pixels, not shares.")
    if are_pixels and (points > stratum_sizes).any():
        worst = int(np.argmax(points - stratum_sizes))
        raise ValueError(
            f"{points[worst]} points in {labels[worst]!r}, which has {stratum_sizes[worst]:g} "
            "pixels. A pixel counts once."
        )
    return Strata(labels, place, stratum_sizes, points, are_pixels, fpc)


def one_stratum(n: int) -> Strata:
    """Describe a simple random sample from a map of unknown size."""
    zeros = np.zeros(n, dtype=np.intp)
    return Strata(("all",), zeros, np.ones(1), np.array([n]), False, False)


def read_classes(
    first: Sequence[Any], *codes: Codes, classes: Sequence[Any] | None
) -> tuple[tuple[Any, ...], list[Places]]:
    """Give each class a number: those of the map first, then others; or those of the legend."""
    kinds = {len(labels.different) > 0 and labels.are_text for labels in codes}
    if len(kinds) > 1:
        raise TypeError(
            f"Mixed types: {' and '.join(labels.name for labels in codes)} must be all text or "
            "all whole numbers."
        )
    met = {label for labels in codes for label in labels.different}
    if classes is None:
        more = met - set(first)
        ordered = (*first, *sorted(more))
    else:
        ordered = tuple(dict.fromkeys(classes))
        outside = sorted(met.union(first) - set(ordered))
        if outside:
            raise ValueError(
                f"The class {named(outside)} is not in the legend: {named(ordered)}. Correct the "
                "labels, or add it to classes."
            )
    index = {label: k for k, label in enumerate(ordered)}
    return ordered, [
        labels.recode([index[label] for label in labels.different])[:, 0] for labels in codes
    ]


def read_pair(reference: Labels, mapped: Labels) -> tuple[Codes, Codes]:
    """Read the two labels of each point."""
    first, second = read_truth(reference, "reference"), read_truth(mapped, "mapped")
    check_lengths(reference=len(first), mapped=len(second))
    return first, second


def check_confidence(confidence: float) -> None:
    """Refuse what is no confidence."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence}; allowed is a number between 0 and 1, as 0.95.")


def check_pixel_area(pixel_area: float | None, *, pixels_known: bool) -> None:
    """Refuse an area of pixels that is none, or whose pixels nobody counted."""
    if pixel_area is None:
        return
    if not (np.isfinite(pixel_area) and pixel_area > 0):
        raise ValueError(f"pixel_area={pixel_area}; allowed is a number above 0, such as 0.09.")
    if not pixels_known:
        raise ValueError(
            "pixel_area is given, but the map's pixels are not: give sizes in pixels, not shares."
        )


def named(labels: Sequence[Any]) -> str:
    """List a few labels."""
    more = f" and {len(labels) - 5:,} more" if len(labels) > 5 else ""
    return ", ".join(repr(label) for label in labels[:5]) + more
