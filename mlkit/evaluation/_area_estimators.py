"""Class areas with the map as auxiliary: of the whole map, or of domains of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd

from mlkit.estimate import SIMPLE_RANDOM, AnyDesign, Design, ReplicateDesign
from mlkit.evaluation._area_inputs import (
    Sizes,
    check_confidence,
    check_pixel_area,
    named,
    read_classes,
    read_sizes,
)
from mlkit.evaluation._area_result import ClassAreas, simple_interval
from mlkit.evaluation._inputs import Codes, Labels, check_lengths, read_truth

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats: TypeAlias = NDArray[np.float64]
    Places: TypeAlias = NDArray[np.intp]
    Mask: TypeAlias = NDArray[np.bool_]

Totals: TypeAlias = "Sizes | pd.DataFrame"

NO_POINTS = "no standard error for domains with fewer than 2 points"
FEW = "domains with fewer than 30 points: intervals may cover too little"
NO_VARIATION = "no standard error where all residuals of the sample are 0"
_PROBABILITIES = 1e-3  # how far from 1 the probabilities of a point may sum


def regression_area(
    reference: Labels,
    auxiliary: Labels | pd.DataFrame,
    map_totals: Totals,
    *,
    design: AnyDesign | None = None,
    domain: ArrayLike | None = None,
    classes: Sequence[Any] | None = None,
    pixel_area: float | None = None,
    area_unit: str = "ha",
    confidence: float = 0.95,
) -> ClassAreas:
    """Estimate class areas by regression on the map: the survey-calibrated way.

    The sample says how the reference goes with the map, the totals of the map carry it to all
    pixels. With the map class as auxiliary this is poststratification, which is also the
    calibration estimator: the design weights, changed as little as possible (linear distance),
    so that the sample has the map's totals.

    Parameters
    ----------
    reference : array-like of shape (n,)
        The reference class of each sampled point.
    auxiliary : array-like of shape (n,), or DataFrame of shape (n, J)
        Its class on the map; or the probabilities that the model gave it, with the J map classes
        as columns. The rows sum to 1.
    map_totals : dict, Series or DataFrame
        What the auxiliary sums to over the map: pixels of each map class, or the sum of its
        probability over all pixels. With `domain` a DataFrame with a row per domain and a column
        per map class. They sum to the pixels of the map, or of the domain.
    design : Design or ReplicateDesign, optional
        How the points were drawn; see :func:`stratified_design`. Left out, as a simple random
        sample, which is wrong for a stratified one.
    domain : array-like of shape (n,), optional
        The domain of each point, such as its region. Slopes are those of all points; each domain
        is then corrected by its own.
    classes : sequence, optional
        The legend, in its order. Labels outside are refused.
    pixel_area : float, optional
        The area of a pixel, in `area_unit`.
    area_unit : str, default="ha"
        The unit of areas.
    confidence : float, default=0.95
        The confidence of the intervals, which are Student's.

    Returns
    -------
    ClassAreas
        Areas with their CV; domains with fewer than 30 points are flagged.

    Raises
    ------
    ValueError
        If lengths differ; labels, domains or probabilities are missing; rows of probabilities
        do not sum to 1; a map class with pixels has no point; a domain has no totals.
    TypeError
        If labels are of mixed types, or totals are no dict, Series or DataFrame.

    Notes
    -----
    With x the auxiliaries (which contain the constant, as they sum to 1), y_k whether the
    reference is class k, w design weights, B = (sum w x x')^-1 sum w x y', t the totals of x and
    N the pixels, of the domain d if there are any: share = [t_d B + sum over d of w (y - x B)]
    / N_d. Its influence is g e / N_d, with residuals e = y - x B and
    g = 1[d] + (t_d - sum over d of w x)' (sum w x x')^-1 x. That is the regression estimator
    with g-weights of Särndal et al. 1992, chapters 6 and 10 (cited from memory).

    Fails with few points per auxiliary (the variance is then too small), and where totals are
    not those of the map from which the auxiliary of the points was read.

    See Also
    --------
    prediction_powered_area : Takes the map as it is, without slopes.

    Examples
    --------
    >>> import numpy as np
    >>> from mlkit.evaluation.area import stratified_design
    >>> mapped = np.repeat(["crop", "other"], [50, 100])
    >>> reference = np.repeat(["crop", "other", "crop", "other"], [40, 10, 5, 95])
    >>> totals = {"crop": 200_000, "other": 800_000}
    >>> design = stratified_design(mapped, totals)
    >>> print(regression_area(reference, mapped, totals, design=design).estimate("crop"))
    0.200 (standard error 0.021; 95 % interval 0.159 to 0.241)
    """
    sample = _read(
        reference, auxiliary, map_totals, design, domain, classes, pixel_area, confidence
    )
    x, weights = sample.auxiliary, sample.design.weights
    unmet = (sample.totals.sum(axis=0) > 0) & ~(x[weights > 0] > 0).any(axis=0)
    if unmet.any():
        missing = [label for label, no in zip(sample.map_classes, unmet, strict=True) if no]
        raise ValueError(
            f"No point has the map class {named(missing)}, so that no slope can be found for it. "
            "Draw points there, or join it with another class in the map and in the totals."
        )
    inverse = np.linalg.pinv(x.T @ (weights[:, None] * x), hermitian=True)
    slopes = inverse @ (x.T @ (weights[:, None] * sample.indicator))
    residual = sample.indicator - x @ slopes
    inside = sample.inside()
    short = sample.totals - inside.T @ (weights[:, None] * x)
    g = inside + x @ inverse @ short.T
    return sample.result(
        "regression estimator",
        sample.totals @ slopes + inside.T @ (weights[:, None] * residual),
        lambda row: g[:, row, None] * residual,
        (area_unit, pixel_area, confidence),
    )


def prediction_powered_area(
    reference: Labels,
    prediction: Labels | pd.DataFrame,
    map_totals: Totals,
    *,
    design: AnyDesign | None = None,
    domain: ArrayLike | None = None,
    classes: Sequence[Any] | None = None,
    pixel_area: float | None = None,
    area_unit: str = "ha",
    confidence: float = 0.95,
) -> ClassAreas:
    """Add to the map's totals the design-weighted mean error that the sample finds.

    The difference estimator of survey sampling, known in machine learning as prediction-powered
    inference.

    Parameters
    ----------
    reference : array-like of shape (n,)
        The reference class of each sampled point.
    prediction : array-like of shape (n,), or DataFrame of shape (n, J)
        Its class on the map, or the probabilities that the model gave it, with the J map classes
        as columns.
    map_totals, design, domain, classes, pixel_area, area_unit, confidence
        As in :func:`regression_area`.

    Returns
    -------
    ClassAreas
        Areas with their CV. Shares are never cut, so they may lie outside [0, 1].

    Raises
    ------
    ValueError, TypeError
        As :func:`regression_area`.

    Notes
    -----
    With f the prediction, share = [sum over the map of f + sum over the sample of w (y - f)] / N,
    or of a domain the same inside it; influence 1[d] (y - f) / N_d. For a simple random sample w
    is N / n. That is form 1 of
    :func:`mlkit.evaluation.totals.prediction_powered_estimator`, for probabilities too.

    If strata are the map classes and f is the map class, this is the stratified estimator of
    Olofsson et al. 2014, exactly. Leaving the design out of a stratified sample gives nonsense,
    such as negative areas.

    See Also
    --------
    regression_area : Mostly more exact where the map is biased or badly scaled.

    Examples
    --------
    >>> import numpy as np
    >>> from mlkit.evaluation.area import stratified_design
    >>> mapped = np.repeat(["crop", "other"], [50, 100])
    >>> reference = np.repeat(["crop", "other", "crop", "other"], [40, 10, 5, 95])
    >>> totals = {"crop": 200_000, "other": 800_000}
    >>> design = stratified_design(mapped, totals)
    >>> print(prediction_powered_area(reference, mapped, totals, design=design).estimate("crop"))
    0.200 (standard error 0.021; 95 % interval 0.159 to 0.241)
    """
    sample = _read(
        reference, prediction, map_totals, design, domain, classes, pixel_area, confidence
    )
    place = [sample.classes.index(label) for label in sample.map_classes]
    predicted = np.zeros_like(sample.indicator)
    predicted[:, place] = sample.auxiliary
    error = sample.indicator - predicted
    weights, inside = sample.design.weights, sample.inside()
    return sample.result(
        "prediction-powered estimator",
        sample.counted() + inside.T @ (weights[:, None] * error),
        lambda row: inside[:, row, None] * error,
        (area_unit, pixel_area, confidence),
    )


def direct_area(
    reference: Labels,
    *,
    pixels: float | Sizes | None = None,
    design: AnyDesign | None = None,
    domain: ArrayLike | None = None,
    classes: Sequence[Any] | None = None,
    pixel_area: float | None = None,
    area_unit: str = "ha",
    confidence: float = 0.95,
) -> ClassAreas:
    """Estimate class areas from the sample alone, whole or by domain.

    What the map is worth is seen by comparing CVs with :func:`regression_area`.

    Parameters
    ----------
    reference : array-like of shape (n,)
        The reference class of each sampled point.
    pixels : number, or dict or Series, optional
        Pixels of the map; with `domain`, of each domain. Without them, shares only.
    design, domain, classes, pixel_area, area_unit, confidence
        As in :func:`regression_area`.

    Returns
    -------
    ClassAreas
        Areas with their CV.

    Raises
    ------
    ValueError, TypeError
        As :func:`regression_area`.

    Notes
    -----
    Share of class k in domain d: sum over d of w y / sum over d of w, with influence
    1[d] (y - share) / sum over d of w; Särndal et al. 1992, chapter 10. With strata that are the
    map classes, and no domains, this is the estimator of Olofsson et al. 2014.

    Examples
    --------
    >>> print(direct_area(["crop", "other", "other", "crop", "other"]).estimate("crop"))
    0.40 (standard error 0.24; 95 % interval -0.28 to 1.08)
    """
    check_confidence(confidence)
    truth = read_truth(reference, "reference")
    labels, (true,) = read_classes(sorted(truth.different), truth, classes=classes)
    of_domains = tuple(pixels) if isinstance(pixels, Mapping) else ()
    if isinstance(pixels, pd.Series):
        of_domains = tuple(pixels.index)
    domains, place = _read_domains(domain, len(truth), of_domains)
    known = np.full(max(len(domains), 1), np.nan)
    if pixels is not None:
        known = _read_pixels(pixels, domains)
    check_pixel_area(pixel_area, pixels_known=_are_pixels(known))
    drawn, note = _read_design(design, len(truth), len(truth))
    empty = np.zeros((len(truth), 0)), np.zeros((len(known), 0))
    sample = _Points(labels, (), true, *empty, domains, place, known, drawn, note)
    weights, inside = sample.design.weights, sample.inside()
    below = inside.T @ weights
    with np.errstate(invalid="ignore"):
        share = inside.T @ (weights[:, None] * sample.indicator) / below[:, None]
    scale = np.where(np.isnan(known), 1.0, known)

    def influence(row: int) -> Floats:
        moved: Floats = inside[:, row, None] * (sample.indicator - share[row])
        return np.asarray(moved * scale[row] / below[row])

    return sample.result(
        "direct estimator", share * scale[:, None], influence, (area_unit, pixel_area, confidence)
    )


# --- the work --------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Points:
    """Sampled points with their auxiliaries, and what is known of the whole map."""

    classes: tuple[Any, ...]
    map_classes: tuple[Any, ...]
    true: Places
    auxiliary: Floats  # (n, J)
    totals: Floats  # (D, J)
    domains: tuple[Any, ...]
    domain: Places | None
    pixels: Floats  # (D,)
    design: AnyDesign
    note: str

    @property
    def indicator(self) -> Floats:
        """Say of each point and class whether the class is the reference."""
        return np.asarray(np.eye(len(self.classes))[self.true])

    def inside(self) -> Floats:
        """Say of each point and domain whether the point lies inside."""
        if self.domain is None:
            return np.ones((len(self.true), 1))
        return np.asarray(np.eye(len(self.domains))[self.domain])

    def counted(self) -> Floats:
        """Give the totals of the map by class; NaN if it was not counted."""
        if not self.map_classes:
            return np.full((len(self.pixels), len(self.classes)), np.nan)
        table = np.zeros((len(self.pixels), len(self.classes)))
        table[:, [self.classes.index(label) for label in self.map_classes]] = self.totals
        return table

    def result(
        self,
        estimator: str,
        total: Floats,
        influence: Any,
        rest: tuple[str, float | None, float],
    ) -> ClassAreas:
        """Give each total of shape (D, K) the variance of its influence values."""
        area_unit, pixel_area, confidence = rest
        points = self.inside().sum(axis=0).astype(np.intp)
        scale = np.where(np.isnan(self.pixels), 1.0, self.pixels)
        error, df = np.full(total.shape, np.nan), np.full(total.shape, np.nan)
        for row in np.flatnonzero(points >= 2):
            moved = influence(row) / scale[row]
            in_domain = np.ones(len(self.true), bool) if self.domain is None else self.domain == row
            df[row] = self.design.df if self.domain is None else self.design.df_in(in_domain)
            error[row] = [np.sqrt(self.design.variance(column)) for column in moved.T]
        no_variation = error <= 1e-12
        error[no_variation] = np.nan
        share = total / scale[:, None]
        low, high = simple_interval(share, error, df, confidence, "t")
        notes = [self.note]
        if (points < 2).any():
            notes.append(NO_POINTS)
        if self.domains and (points < 30).any():
            notes.append(FEW)
        if no_variation.any():
            notes.append(NO_VARIATION)
        return ClassAreas(
            estimator,
            self.classes,
            self.domains,
            points,
            self.pixels if _are_pixels(self.pixels) else np.full(len(points), np.nan),
            share,
            error,
            low,
            high,
            self.counted() / scale[:, None],
            np.full(total.shape, np.nan),
            df,
            pixel_area,
            area_unit,
            confidence,
            "Student's t",
            "; ".join(note for note in notes if note),
        )


def _read(
    reference: Labels,
    auxiliary: Any,
    map_totals: Totals,
    design: AnyDesign | None,
    domain: ArrayLike | None,
    classes: Sequence[Any] | None,
    pixel_area: float | None,
    confidence: float,
) -> _Points:
    check_confidence(confidence)
    truth = read_truth(reference, "reference")
    map_classes, known_domains, totals = _read_totals(map_totals, given=domain is not None)
    domains, place = _read_domains(domain, len(truth), known_domains)
    codes = [truth]
    if isinstance(auxiliary, pd.DataFrame):
        x = _probabilities(auxiliary, map_classes, len(truth))
    else:
        codes.append(read_truth(auxiliary, "mapped"))
        check_lengths(reference=len(truth), mapped=len(codes[1]))
        x = _dummies(codes[1], map_classes)
    labels, places = read_classes(map_classes, *codes, classes=classes)
    pixels = totals.sum(axis=1)
    check_pixel_area(pixel_area, pixels_known=_are_pixels(pixels))
    drawn, note = _read_design(design, len(truth), pixels.sum())
    return _Points(labels, map_classes, places[0], x, totals, domains, place, pixels, drawn, note)


def _are_pixels(pixels: Floats) -> bool:
    """Tell pixels from shares, which sum to 1."""
    return bool(np.isfinite(pixels).all() and pixels.sum() > 1 + 1e-6)


def _read_design(design: AnyDesign | None, n: int, pixels: float) -> tuple[AnyDesign, str]:
    """Read the design; a simple random sample stands for all pixels."""
    if design is None:
        return Design(weights=np.full(n, pixels / n)), SIMPLE_RANDOM
    if not isinstance(design, (Design, ReplicateDesign)):
        raise TypeError(
            f"design is a {type(design).__name__}; give a Design, such as "
            "stratified_design(strata, sizes)."
        )
    check_lengths(reference=n, design=len(design.weights))
    return design, design.note


def _read_domains(
    domain: Any, n: int, known: tuple[Any, ...]
) -> tuple[tuple[Any, ...], Places | None]:
    """Find the domain of each point among those of the map, or else of the points."""
    if domain is None:
        return (), None
    codes = read_truth(domain, "domain")
    check_lengths(reference=n, domain=len(codes))
    domains = known or tuple(sorted(codes.different))
    unknown = [label for label in codes.different if label not in domains]
    if unknown:
        raise ValueError(
            f"Points lie in the domain {named(unknown)}, for which no totals of the map are "
            f"given. There are: {named(domains)}."
        )
    return domains, codes.recode([domains.index(label) for label in codes.different])[:, 0]


def _read_totals(totals: Any, *, given: bool) -> tuple[tuple[Any, ...], tuple[Any, ...], Floats]:
    """Read map classes, domains, and what the auxiliary sums to, of shape (D, J)."""
    if not isinstance(totals, pd.DataFrame):
        if given:
            raise TypeError(
                f"map_totals is a {type(totals).__name__}; with domains give a DataFrame with a "
                "row per domain and a column per map class, as pd.crosstab(domain, mapped) of all "
                "pixels."
            )
        read = read_sizes(totals, "map_totals")
        return tuple(read), (), np.array([list(read.values())])
    if not given:
        raise ValueError(
            "map_totals has a row per domain, but no domain of the points is given. Give domain, "
            "or totals of the whole map: map_totals.sum()."
        )
    for axis, which in ((totals.index, "domain"), (totals.columns, "class")):
        if not axis.is_unique:
            raise ValueError(f"A {which} comes twice in map_totals. Give each one once.")
    cells = [
        list(read_sizes(row, f"map_totals of {name!r}").values()) for name, row in _rows(totals)
    ]
    return tuple(totals.columns), tuple(totals.index), np.array(cells)


def _rows(totals: pd.DataFrame) -> list[tuple[Any, pd.Series[Any]]]:
    return [(name, totals.loc[name]) for name in totals.index]


def _read_pixels(pixels: Any, domains: tuple[Any, ...]) -> Floats:
    """Read how many pixels the map, or each domain, has."""
    if domains:
        read = read_sizes(pixels, "pixels")
        return np.array([read[name] for name in domains])
    if not (isinstance(pixels, (int, float, np.number)) and np.isfinite(pixels) and pixels > 0):
        raise ValueError(
            f"pixels={pixels!r}; without domains, give the number of pixels of the map, above 0."
        )
    return np.array([float(pixels)])


def _dummies(codes: Codes, map_classes: tuple[Any, ...]) -> Floats:
    """Say of each point and map class whether the map has it there."""
    unknown = [label for label in codes.different if label not in map_classes]
    if unknown:
        raise ValueError(
            f"Points have the map class {named(unknown)}, for which map_totals has no pixels. It "
            f"names {named(map_classes)}. Count the pixels of the map that was sampled."
        )
    place = codes.recode([map_classes.index(label) for label in codes.different])[:, 0]
    return np.asarray(np.eye(len(map_classes))[place])


def _probabilities(table: pd.DataFrame, map_classes: tuple[Any, ...], n: int) -> Floats:
    """Read the probabilities of each point, in the order of the totals."""
    check_lengths(reference=n, probabilities=len(table))
    if set(table.columns) != set(map_classes) or table.shape[1] != len(map_classes):
        raise ValueError(
            f"The probabilities have the columns {named(list(table.columns))}, but map_totals "
            f"names {named(map_classes)}. Give the same classes to both."
        )
    try:
        x = table[list(map_classes)].to_numpy(dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"Probabilities need numbers: {error}.") from error
    if not (np.isfinite(x) & (x >= 0)).all() or (abs(x.sum(axis=1) - 1) > _PROBABILITIES).any():
        raise ValueError(
            "Probabilities are missing, negative, or do not sum to 1 for a point. Give those of "
            "all classes, 0 or more; for one class, its probability and 1 minus it."
        )
    return np.asarray(x / x.sum(axis=1, keepdims=True))
