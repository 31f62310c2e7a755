"""Rubin's rules with design variances, and the form in which figures after imputation come."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd

from mlkit._views import as_html, as_text, axes
from mlkit.estimate import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray

    Floats: TypeAlias = NDArray[np.float64]

NO_BETWEEN = (
    "the completed data sets all give the same figure: nothing was missing, or the draws are no "
    "draws"
)
NO_WITHIN = "a figure without a variance in one of the completed data sets has none here"
_MOST_SHOWN = 30


@dataclass(frozen=True, eq=False, repr=False)
class ImputedFigures:
    """One figure, or k of them, such as one per domain, with the variance of imputation in it.

    Attributes
    ----------
    value, standard_error : ndarray of shape () or (k,)
        The figures.
    df : ndarray of shape () or (k,)
        Degrees of freedom of the intervals.
    labels : Index or None
        What the k figures are called; None for one figure.
    confidence : float
        The confidence of the intervals.
    method : str
        How they were computed.
    note : str
        What to know before using them.
    """

    value: Floats
    standard_error: Floats
    df: Floats
    labels: pd.Index[Any] | None
    confidence: float
    method: str
    note: str

    @property
    def low(self) -> Floats:
        """The lower ends of the intervals of Student's t."""
        return self.value - self._margin

    @property
    def high(self) -> Floats:
        """The upper ends."""
        return self.value + self._margin

    @property
    def _margin(self) -> Floats:
        from scipy.special import stdtrit

        margin: Floats = stdtrit(self.df, 0.5 + self.confidence / 2) * self.standard_error
        return margin

    def estimate(self, label: Any = None) -> Estimate:
        """Look up one figure.

        Parameters
        ----------
        label : label, optional
            One of :attr:`labels`; left out where there is one figure.

        Returns
        -------
        Estimate
            The figure with its standard error and interval.

        Raises
        ------
        KeyError
            If there is no such figure.
        """
        if self.labels is None:
            if label is not None:
                raise KeyError(f"There is one figure, without a label; {label!r} was asked for.")
            place: Any = ()
        else:
            places = np.flatnonzero(self.labels == label)
            if len(places) != 1:
                shown = ", ".join(map(repr, self.labels[:10]))
                raise KeyError(f"No figure {label!r}. There are {len(self.labels):,}: {shown}.")
            place = places[0]
        return Estimate(
            float(self.value[place]),
            float(self.standard_error[place]),
            float(self.low[place]),
            float(self.high[place]),
            self.confidence,
            float(self.df[place]),
            self.method,
            self.note,
        )

    def _columns(self) -> dict[str, Floats]:
        return {
            "value": self.value,
            "standard_error": self.standard_error,
            "low": self.low,
            "high": self.high,
            "df": self.df,
        }

    def to_frame(self) -> pd.DataFrame:
        """Write the figures as a table.

        Returns
        -------
        DataFrame
            One row per figure, with :attr:`labels` as index: `value`, `standard_error`, `low`,
            `high`, `df`, and what the method knows besides.
        """
        columns = {name: np.atleast_1d(values) for name, values in self._columns().items()}
        return pd.DataFrame(columns, index=self.labels)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the figures with their intervals; call it again on the same axes to compare.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        matplotlib Axes
            Where it was drawn.
        """
        ax = axes(ax)
        frame = self.to_frame()
        already = len(ax.containers)  # whoever is drawn next goes a little lower
        places = np.arange(len(frame)) + 0.15 * already
        margin = np.nan_to_num((frame["high"] - frame["value"]).to_numpy())
        ax.errorbar(frame["value"], places, xerr=margin, fmt="o", capsize=3, label=self.method)
        if not already:
            names = ["" if self.labels is None else str(label) for label in frame.index]
            ax.set_yticks(np.arange(len(frame)), names)
            ax.invert_yaxis()
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
        return ax

    def _view(self) -> tuple[str, pd.DataFrame, str, str]:
        frame = self.to_frame().head(_MOST_SHOWN)
        shown: dict[str, list[str]] = {}
        if self.labels is not None:
            shown["figure of"] = [str(label) for label in frame.index]
        shown |= {str(name): [f"{one:,.6g}" for one in frame[name]] for name in frame}
        more = len(np.atleast_1d(self.value)) - len(frame)
        return (
            f"{self.method.capitalize()}, {self.confidence:.0%} intervals",
            pd.DataFrame(shown),
            f"{more:,} more rows: to_frame() has them all." if more else "",
            self.note,
        )

    def __repr__(self) -> str:
        return as_text(*self._view())

    def _repr_html_(self) -> str:
        return as_html(*self._view())


@dataclass(frozen=True, eq=False, repr=False)
class Pooled(ImputedFigures):
    """What :func:`pool` found.

    Attributes
    ----------
    value, standard_error : ndarray of shape () or (k,)
        The pooled figures.
    df : ndarray of shape () or (k,)
        Degrees of freedom after Barnard and Rubin.
    labels : Index or None
        What the k figures are called; None for one figure.
    confidence : float
        The confidence of the intervals.
    method, note : str
        How they were computed, and what to know before using them.
    within, between : ndarray of shape () or (k,)
        The mean of the design variances, and the variance between the completed data sets.
    added_share : ndarray of shape () or (k,)
        lambda, the part of the variance that is due to missing values.
    missing_information : ndarray of shape () or (k,)
        The fraction of missing information.
    m : int
        How many completed data sets there were.
    """

    within: Floats
    between: Floats
    added_share: Floats
    missing_information: Floats
    m: int

    def _columns(self) -> dict[str, Floats]:
        return super()._columns() | {
            "within": self.within,
            "between": self.between,
            "added_share": self.added_share,
            "missing_information": self.missing_information,
        }


def pool(
    estimates: ArrayLike | Sequence[Estimate] | Sequence[pd.DataFrame],
    variances: ArrayLike | None = None,
    *,
    nu_com: ArrayLike | None = None,
    confidence: float = 0.95,
) -> Pooled:
    """Join the figures of m completed data sets by Rubin's rules, with design variances.

    Parameters
    ----------
    estimates : sequence of m Estimate, sequence of m DataFrame, or array-like (m,) or (m, k)
        What each completed data set gives: an Estimate of :mod:`mlkit.estimate`; or a table of
        :func:`mlkit.estimate.mean_by`, with `value`, `standard_error`, `df` and a row per figure;
        or m numbers, or m rows of k numbers. A DataFrame of numbers, with a row per completed
        data set, names its columns.
    variances : array-like, of the shape of `estimates`
        With numbers: their *design* variances, squares of standard errors that know weights,
        strata and primary units.
    nu_com : number or array-like of shape (k,), optional
        Degrees of freedom that the figures would have without missing values: primary units minus
        strata, :attr:`mlkit.estimate.Design.df`; ``math.inf`` in large samples. With Estimates
        and tables it is taken from them (the smallest, where they differ); with numbers it must
        be given.
    confidence : float, default=0.95
        The confidence of the intervals.

    Returns
    -------
    Pooled
        The figures; :meth:`~Pooled.estimate` gives one as an Estimate.

    Raises
    ------
    ValueError
        If there are fewer than 2 completed data sets, shapes or labels differ, a figure is
        missing or infinite, a variance is infinite or negative, or `nu_com` is not given or not
        above 0.
    TypeError
        If they are no numbers.

    Notes
    -----
    Method sheet:

    - *Target*: the figure that the complete sample estimates, with the uncertainty of sampling
      and of what is missing.
    - *Formula*: with Q_l the figures and U_l their design variances, Q is the mean of Q_l, U that
      of U_l, B the variance between the Q_l; T = U + (1 + 1/m) B; lambda = (1 + 1/m) B / T;
      nu_m = (m - 1) / lambda^2; nu_obs = (nu_com + 1) / (nu_com + 3) nu_com (1 - lambda);
      nu = 1 / (1/nu_m + 1/nu_obs); the interval is that of Student's t with nu degrees of
      freedom. The fraction of missing information is (r + 2 / (nu + 3)) / (r + 1), with
      r = (1 + 1/m) B / U = lambda / (1 - lambda).
    - *Assumptions*: the draws are proper, that is, they vary as much as the unknown values and
      the unknown parameters do; the imputation model holds, and contains the publication
      domains, strata and weights; values are missing at random given what the model contains.
    - *Reference*: Rubin, D. B. (1987). Multiple Imputation for Nonresponse in Surveys. Wiley;
      Barnard, J. and Rubin, D. B. (1999). Small-sample degrees of freedom with multiple
      imputation. Biometrika 86, 948-955 (both cited from memory).
    - *Fails* with a domain that the model omits (see :func:`multiple_imputation`), with copies
      of one imputation (B is 0), and with small m where much is missing: with m = 5 the standard
      error itself is uncertain by a third of what imputation adds.
    - *Test*: R's mice 3.15.0; coverage by simulation.

    A standard error that is NaN, as of a domain that lies in one primary unit, stays NaN.

    Examples
    --------
    >>> from mlkit.evaluation.imputation import pool
    >>> pooled = pool([10.0, 12.0, 11.0], [4.0, 4.0, 4.0], nu_com=50)
    >>> print(pooled.estimate())
    11.0 (standard error 2.3; 95 % interval 6.1 to 15.9)
    >>> round(float(pooled.missing_information), 3)
    0.325
    """
    values, squares, freedom, labels = _read(estimates, variances, nu_com)
    level = _confidence(confidence)
    m = len(values)
    value, within = values.mean(axis=0), squares.mean(axis=0)
    between = values.var(axis=0, ddof=1)
    # Equal figures may differ by rounding of their mean.
    between = np.where(np.ptp(values, axis=0) == 0, 0.0, between)
    added = (1 + 1 / m) * between
    whole = within + added
    # Where nothing varies at all, nothing is due to missing values.
    share = np.divide(added, whole, out=np.zeros_like(whole), where=whole != 0)
    freedom = np.broadcast_to(freedom, np.shape(value))
    nu = _barnard_rubin(share, freedom, m)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = added / within
        missing = np.where(np.isinf(ratio), 1.0, (ratio + 2 / (nu + 3)) / (ratio + 1))
    missing = np.where(whole == 0, 0.0, missing)
    notes = []
    if (between == 0).any():
        notes.append(NO_BETWEEN)
    if np.isnan(whole).any():
        notes.append(NO_WITHIN)
    return Pooled(
        value,
        np.sqrt(whole),
        nu,
        labels,
        level,
        "Rubin's rules",
        "; ".join(notes),
        within,
        between,
        share,
        missing,
        m,
    )


def _barnard_rubin(share: Floats, freedom: Floats, m: int) -> Floats:
    """Give the degrees of freedom of Barnard and Rubin (1999)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        by_draws = (m - 1) / share**2
        # (nu + 1) / (nu + 3) nu without infinity by infinity.
        complete = freedom * (1 - 2 / (freedom + 3))
        observed = np.where(share == 1, 0.0, complete * (1 - share))
        nu: Floats = np.asarray(1 / (1 / by_draws + 1 / observed))
    return nu


def _read(
    estimates: Any, variances: Any, nu_com: Any
) -> tuple[Floats, Floats, Floats, pd.Index[Any] | None]:
    listed = list(estimates) if not isinstance(estimates, pd.DataFrame) else []
    labels: pd.Index[Any] | None = None
    found: Any = nu_com
    if listed and all(isinstance(one, Estimate) for one in listed):
        _refuse_variances(variances)
        values: Any = [one.value for one in listed]
        squares: Any = [one.standard_error**2 for one in listed]
        found = min(one.df for one in listed) if nu_com is None else nu_com
    elif listed and all(isinstance(one, pd.DataFrame) for one in listed):
        _refuse_variances(variances)
        labels = _common_labels(listed)
        values = [one["value"] for one in listed]
        squares = [one["standard_error"] ** 2 for one in listed]
        found = np.min([one["df"] for one in listed], axis=0) if nu_com is None else nu_com
    else:
        if variances is None or nu_com is None:
            raise ValueError(
                "Numbers need variances=, the design variance of each, and nu_com=, primary units "
                "minus strata (design.df; math.inf in large samples). Or give Estimates of "
                "mlkit.estimate, which know both."
            )
        if isinstance(estimates, pd.DataFrame):
            labels = estimates.columns
        values, squares = estimates, variances
    table, square = _as_numbers(values, "estimates"), _as_numbers(squares, "variances")
    _check(table, square)
    if labels is None and table.ndim == 2:
        labels = pd.RangeIndex(table.shape[1])
    freedom = _as_numbers(found, "nu_com")
    if freedom.shape not in ((), table.shape[1:]) or not (freedom > 0).all():
        raise ValueError(
            f"nu_com={nu_com!r}; give degrees of freedom above 0, one number or one for each "
            "figure: primary units minus strata, or math.inf in large samples."
        )
    return table, square, freedom, labels


def _refuse_variances(variances: Any) -> None:
    if variances is not None:
        raise ValueError("Estimates have variances of their own: leave variances= out.")


def _common_labels(tables: list[pd.DataFrame]) -> pd.Index[Any]:
    first = tables[0].index
    for table in tables:
        absent = {"value", "standard_error", "df"} - set(table.columns)
        if absent:
            raise ValueError(
                f"A table has no column {', '.join(sorted(absent))}; give tables as mean_by of "
                "mlkit.estimate makes them."
            )
        if not table.index.equals(first):
            raise ValueError(
                "The tables have different rows, so that figures cannot be joined. Reindex them: "
                "each completed data set must have the same domains."
            )
    return first


def _check(values: Floats, squares: Floats) -> None:
    if values.ndim not in (1, 2) or values.size == 0 or len(values) < 2:
        raise ValueError(
            f"estimates has the shape {values.shape}; give m figures, or m rows of k figures, of "
            "m >= 2 completed data sets."
        )
    if values.shape != squares.shape:
        raise ValueError(
            f"estimates has the shape {values.shape} and variances {squares.shape}; give one "
            "variance for each figure."
        )
    if not np.isfinite(values).all():
        raise ValueError(
            f"{int((~np.isfinite(values)).sum()):,} of {values.size:,} estimates are missing or "
            "infinite. Every completed data set must give every figure."
        )
    bad = (squares < 0) | np.isinf(squares)
    if bad.any():
        raise ValueError(
            f"{int(bad.sum()):,} of {squares.size:,} variances are negative or infinite. Give "
            "squares of standard errors."
        )


def _as_numbers(values: Any, name: str) -> Floats:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} needs numbers, in rows of equal length: {error}.") from error


def _confidence(confidence: float) -> float:
    if not (0 < confidence < 1 and math.isfinite(confidence)):
        raise ValueError(f"confidence={confidence}; allowed is a number between 0 and 1, as 0.95.")
    return float(confidence)
