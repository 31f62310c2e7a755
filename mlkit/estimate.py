"""Estimates with honest uncertainty: the one door through which every variance goes.

A figure from a sample is worth as much as its standard error, and that depends on how the
sample was drawn. Describe the drawing once, in a :class:`Design`, and give it to every function.
An agency that publishes replicate weights instead is served by :class:`ReplicateDesign`.

The functions linearise: they turn a statistic into one *influence value* per unit, which says
how much the unit moves the figure, and :func:`estimate` finds the variance of their weighted
sum. The method sheet of each function says what it estimates (target), from what (design), under
which assumptions, by which formula, and when it fails. Every formula is checked against R's
survey package or by simulation, in ``tests/test_estimate*.py``.

The method sheets refer to:

- Clopper, C. J. and Pearson, E. S. (1934). The use of confidence or fiducial limits illustrated
  in the case of the binomial. Biometrika 26(4), 404-413.
- Deville, J.-C. (1999). Variance estimation for complex statistics and estimators:
  linearization and residual techniques. Survey Methodology 25(2), 193-203.
- Korn, E. L. and Graubard, B. I. (1998). Confidence intervals for proportions with small
  expected number of positive counts estimated from survey data. Survey Methodology 24(2),
  193-201.
- Lumley, T. (2004). Analysis of complex survey samples. Journal of Statistical Software 9(8).
  The R package survey; its version 4.1.1 made the pinned results of the tests.
- Nadeau, C. and Bengio, Y. (2003). Inference for the generalization error. Machine Learning
  52, 239-281.
- Rao, J. N. K. and Wu, C. F. J. (1988). Resampling inference with complex survey data. Journal
  of the American Statistical Association 83, 231-241.
- Rao, J. N. K., Wu, C. F. J. and Yue, K. (1992). Some recent work on resampling methods for
  complex surveys. Survey Methodology 18(2), 209-217.
- Särndal, C.-E., Swensson, B. and Wretman, J. (1992). Model Assisted Survey Sampling. Springer.
  Chapter 5 has ratios and linearisation, chapter 10 domains.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats: TypeAlias = NDArray[np.float64]
    Places: TypeAlias = NDArray[np.intp]
    Mask: TypeAlias = NDArray[np.bool_]

__all__ = [
    "Design",
    "Estimate",
    "ReplicateDesign",
    "difference",
    "difference_over_splits",
    "estimate",
    "from_replicates",
    "mean",
    "mean_by",
    "proportion",
    "ratio",
    "replicate_weights",
    "total",
]

Side: TypeAlias = Literal["two-sided", "lower", "upper"]

INDEPENDENT_ONLY = "valid for independent selection only"
SIMPLE_RANDOM = "simple random sample assumed, as no design was given"
NO_VARIATION = "the sample shows no variation: do not believe its standard error of 0"
LONE_UNIT = "the domain lies in one primary unit: it has no standard error"

# A standard error below this part of the figure is rounding of 0.
_ROUNDING = 1e-12


@dataclass(frozen=True, eq=False, repr=False, init=False)
class Design:
    """How a sample was drawn: weights, strata, primary units, finite population.

    Every array has one value per sampled unit (record), in the order of the data. Leave out
    what was not used: without weights all are 1, without strata there is one stratum, without
    primary units every unit was drawn by itself, and without a finite population correction
    the population is taken to be large, or drawn from with replacement.

    Parameters
    ----------
    weights : array-like of shape (n,), optional
        Design weights: how many units of the population each sampled unit stands for. They may
        be 0, but not all of them.
    strata : array-like of shape (n,), optional
        The stratum of each unit: any labels.
    psu : array-like of shape (n,), optional
        The primary unit (such as village, school or household) of each unit: any labels. They
        are read within strata, so unit 1 of the north is not unit 1 of the south.
    fpc : number or array-like of shape (n,), optional
        Finite population correction of the first stage, in one of two forms, as in R's survey
        package: how many *primary units* the population of the unit's stratum has (all values
        1 or more), or which part of them was drawn (all from 0 to 1). The form is seen from
        the values; only ones mean that all were drawn. A stratum has one value. One number
        counts for every stratum; a population size needs one per stratum.

    Attributes
    ----------
    weights : ndarray of shape (n,)
        The weights, never missing. Read-only.
    df : int
        Degrees of freedom: primary units minus strata.
    n_psus, n_strata : int
        How many primary units and strata there are.
    note : str
        "valid for independent selection only" when weights alone are given: then nothing is
        known about strata and clusters, and clusters usually make standard errors larger.

    Raises
    ------
    ValueError
        If nothing is given; if lengths differ; if a value is missing, infinite or, for a
        weight, negative; if all weights are 0; if a stratum has one primary unit, unless it
        was drawn with certainty (a fraction of 1), since one unit shows no variation; if the
        correction mixes its forms, varies within a stratum, or says that more was drawn than
        there is.
    TypeError
        If weights or the correction are not numbers.

    Notes
    -----
    Only the first stage counts ("ultimate clusters"): what is drawn inside a primary unit is
    seen in the differences between primary units. With a correction, the share of the later
    stages is left out, so give none if a large part of the primary units was drawn and only
    some units within them.

    Strata with one primary unit: join each with a stratum like it ("collapse") before looking
    at the data.

    Examples
    --------
    >>> Design(weights=[10, 10, 20, 20], strata=["a", "a", "b", "b"], fpc=[20, 20, 40, 40])
    Design(4 units, 4 primary units, 2 strata, df 2)
    """

    weights: Floats
    df: int
    n_psus: int
    n_strata: int
    note: str
    _psu: Places | None  # of each unit; None: each unit is its own
    _stratum: Places  # of each primary unit
    _sizes: Places  # of each stratum: its primary units in the sample
    _fractions: Floats  # of each stratum

    def __init__(
        self,
        weights: ArrayLike | None = None,
        strata: ArrayLike | None = None,
        psu: ArrayLike | None = None,
        fpc: ArrayLike | float | None = None,
    ) -> None:
        n = _common_length(weights=weights, strata=strata, psu=psu, fpc=fpc)
        checked = np.ones(n) if weights is None else _weights(weights)
        unit_stratum, labels = _labels(strata, "strata", n)
        if psu is None:
            places, stratum = None, unit_stratum
        else:
            inside, psu_labels = _labels(psu, "psu", n)
            key = unit_stratum * len(psu_labels) + inside
            numbers, different = pd.factorize(key)
            places, stratum = numbers, (different // len(psu_labels)).astype(np.intp)
        sizes = np.bincount(stratum, minlength=len(labels))
        fractions = _fractions(fpc, unit_stratum, sizes, labels)
        _refuse_lone_units(sizes, fractions, labels, strata is not None)
        checked.flags.writeable = False
        weights_alone = strata is None and psu is None and fpc is None
        self._set(
            weights=checked,
            df=len(stratum) - len(labels),
            n_psus=len(stratum),
            n_strata=len(labels),
            note=INDEPENDENT_ONLY if weights_alone else "",
            _psu=places,
            _stratum=stratum,
            _sizes=sizes,
            _fractions=fractions,
        )

    def _set(self, **values: object) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.weights)

    def __repr__(self) -> str:
        return (
            f"Design({len(self):,} units, {self.n_psus:,} primary units, "
            f"{self.n_strata:,} strata, df {self.df:,})"
        )

    def variance(self, influence: ArrayLike) -> float:
        """Estimate the variance of a weighted sum.

        Parameters
        ----------
        influence : array-like of shape (n,)
            Influence values, without the weight; see :func:`estimate`.

        Returns
        -------
        float
            The variance of ``sum(weights * influence)``.
        """
        moved = self.weights * _numbers(influence, "influence", len(self))
        if self._psu is not None:
            moved = _sums(self._psu, moved, self.n_psus)
        means = _sums(self._stratum, moved, self.n_strata) / self._sizes
        squares = _sums(self._stratum, (moved - means[self._stratum]) ** 2, self.n_strata)
        return float(self._factors @ squares)

    def variances(
        self,
        influence: ArrayLike,
        columns: ArrayLike,
        n_columns: int,
        *,
        units: ArrayLike | None = None,
    ) -> Floats:
        """Estimate the variances of many weighted sums at once, such as one per code.

        Think of a table of influence values with a row per unit and a column per figure, most
        of it zeros: give the values that are not zero, and where they stand.

        Parameters
        ----------
        influence : array-like of shape (m,)
            Influence values, without the weight; see :func:`estimate`.
        columns : array-like of int, of shape (m,)
            The figure to which each value belongs, from 0.
        n_columns : int
            How many figures there are.
        units : array-like of int, of shape (m,), optional
            The unit of each value. By default value i belongs to unit i, and m is n. Values
            of the same unit and figure are added up.

        Returns
        -------
        ndarray of shape (n_columns,)
            The variance of each figure; 0 for a figure without values.
        """
        values, column, unit = _triplets(influence, columns, n_columns, units, len(self))
        moved = self.weights[unit] * values
        psu = unit if self._psu is None else self._psu[unit]
        if self._psu is not None or units is not None:  # else no primary unit comes twice
            keys, inverse = np.unique(column * self.n_psus + psu, return_inverse=True)
            moved = _sums(inverse, moved, len(keys))
            column, psu = np.divmod(keys, self.n_psus)
        cell, labels = _compact(column * self.n_strata + self._stratum[psu])
        cell_column, cell_stratum = np.divmod(labels, self.n_strata)
        sizes = self._sizes[cell_stratum]
        means = _sums(cell, moved, len(labels)) / sizes
        squares = _sums(cell, (moved - means[cell]) ** 2, len(labels))
        # The primary units of the stratum that are not listed have the value 0.
        squares += (sizes - np.bincount(cell, minlength=len(labels))) * means**2
        return _sums(cell_column, self._factors[cell_stratum] * squares, n_columns)

    def df_in(self, domain: ArrayLike) -> int:
        """Count the degrees of freedom for a domain.

        A primary unit without units of the domain tells nothing about it. So of each stratum
        those with some count, at most one less than the stratum has; and one is lost for the
        domain's own size or mean, unless strata have lost it already. This is :attr:`df` for
        the whole sample; n - 1 for a domain of n units in a simple random sample, and for a
        domain that is a stratum.

        The rule is ours, by simulation. To count the whole design covers .90 instead of .95
        for 9 of 300 units. R's survey package takes one off for each stratum of the domain,
        which agrees where every primary unit has some of it, but may leave nothing at all
        where few primary units are drawn per stratum.

        Parameters
        ----------
        domain : array-like of bool, of shape (n,)
            True for the units of the domain.

        Returns
        -------
        int
            The degrees of freedom, at least 1.
        """
        inside = _mask(domain, len(self))
        return int(self._df_by(np.where(inside, 0, -1), 1)[0][0])

    def without_weights(self) -> Design | None:
        """Give the same drawing with every unit counted once, for figures of records.

        Strata, primary units and the finite population correction stay.

        Returns
        -------
        Design or None
            The design; None where nothing is left, as when weights alone were given.

        Examples
        --------
        >>> Design(weights=[1, 2, 5, 5], psu=["a", "a", "b", "c"]).without_weights().weights
        array([1., 1., 1., 1.])
        """
        fractions = self._fractions[self._stratum]
        if self._psu is None and self.n_strata == 1 and not fractions.any():
            return None
        psu = np.arange(len(self)) if self._psu is None else self._psu
        fpc = fractions[psu] if fractions.any() else None
        return Design(strata=self._stratum[psu], psu=psu, fpc=fpc)

    def _df_by(self, domain: Places, n_domains: int) -> tuple[Places, Places]:
        """Count degrees of freedom and primary units of each domain; -1 is no domain."""
        unit = np.flatnonzero((domain >= 0) & (self.weights > 0))
        domain = domain[unit]
        psu = unit
        if self._psu is not None:
            psu = self._psu[unit]
            domain, psu = np.divmod(np.unique(domain * self.n_psus + psu), self.n_psus)
        cell, labels = _compact(domain * self.n_strata + self._stratum[psu])
        cell_domain, cell_stratum = np.divmod(labels, self.n_strata)
        met, drawn = np.bincount(cell, minlength=len(labels)), self._sizes[cell_stratum]
        df = np.bincount(cell_domain, np.minimum(met, drawn - 1), n_domains)
        partly = np.bincount(cell_domain, (met > 0) & (met < drawn), n_domains) > 0
        psus = np.bincount(cell_domain, met, n_domains)
        return np.maximum(df - partly, 1).astype(np.intp), psus.astype(np.intp)

    @property
    def _factors(self) -> Floats:
        """Give (1 - f) n / (n - 1) of each stratum; 0 for a lone unit, drawn with certainty."""
        return (1 - self._fractions) * self._sizes / np.maximum(self._sizes - 1, 1)

    def _all_drawn(self, inside: Mask) -> bool:
        """Say whether every stratum of a domain was drawn in full, so that nothing is unsure."""
        psu = inside if self._psu is None else self._psu[inside]
        return bool((self._fractions[self._stratum[psu]] == 1).all())

    def _effective_size(self, inside: Mask) -> float:
        """Count the primary units of a domain, after Kish, as if units within were all alike."""
        moved = np.where(inside, self.weights, 0.0)
        if self._psu is not None:
            moved = _sums(self._psu, moved, self.n_psus)
        return float(moved.sum() ** 2 / (moved @ moved))


@dataclass(frozen=True, eq=False, repr=False, init=False)
class ReplicateDesign:
    """A design known by its replicate weights, accepted wherever a :class:`Design` is.

    Agencies often publish replicate weights because strata and primary units would betray
    where respondents live. :func:`replicate_weights` makes some from a full design.

    Parameters
    ----------
    weights : array-like of shape (n,)
        The design weights.
    replicates : array-like of shape (n, R)
        Replicate weights, one column per replicate: full weights, not factors to multiply by.
    df : int
        Degrees of freedom. The documentation of the survey says it, or its number of primary
        units and of strata: their difference.
    scale : number or array-like of shape (R,), optional
        By what each squared deviation is multiplied: 1 / R for the bootstrap, which is the
        default, and for balanced repeated replication; (R - 1) / R for the jackknife without
        strata.

    Attributes
    ----------
    weights : ndarray of shape (n,)
        The weights. Read-only.
    df : int
        Degrees of freedom.
    note : str
        Empty.

    Raises
    ------
    ValueError
        If shapes do not fit, values are missing or infinite, weights are negative or all 0,
        there are fewer than two replicates, or `df` or `scale` is not positive.
    TypeError
        If something is not a number.

    Notes
    -----
    Method sheet:

    - *Target*: the variance of a figure.
    - *Design*: as the replicates say.
    - *Assumptions*: the replicates were made for this kind of figure (the jackknife fails for
      medians).
    - *Formula*: V = sum over r of scale_r (estimate_r - estimate)^2, around the estimate of the
      whole sample. :func:`from_replicates` computes any figure anew from each replicate; the
      other functions compute its linearised form, at once.
    - *Reference*: Lumley 2004, ``svrepdesign(mse=TRUE)``.
    - *Fails* with few replicates: 200 leave a standard error uncertain by 5 %.
    - *Test*: R's own replicate weights give R's standard errors.

    Examples
    --------
    >>> weights = [2.0, 2.0, 2.0]
    >>> jackknife = [[0, 3, 3], [3, 0, 3], [3, 3, 0]]
    >>> design = ReplicateDesign(weights, jackknife, df=2, scale=2 / 3)
    >>> print(mean([1, 2, 6], design=design))
    3.0 (standard error 1.5; 95 % interval -3.6 to 9.6)
    """

    weights: Floats
    df: int
    note: str
    _replicates: Floats
    _scale: Floats

    def __init__(
        self,
        weights: ArrayLike,
        replicates: ArrayLike,
        *,
        df: int,
        scale: ArrayLike | float | None = None,
    ) -> None:
        checked = _weights(weights)
        columns = np.asarray(replicates, dtype=np.float64)
        if columns.ndim != 2 or len(columns) != len(checked) or columns.shape[1] < 2:
            raise ValueError(
                f"replicates has the shape {columns.shape}; allowed is ({len(checked)}, R): a row "
                "per weight and a column for each of at least 2 replicates."
            )
        if not np.isfinite(columns).all():
            raise ValueError("replicates has values that are missing or infinite. Remove them.")
        if df < 1:
            raise ValueError(f"df={df}; allowed are degrees of freedom of 1 or more.")
        count = columns.shape[1]
        factors = np.full(count, 1 / count) if scale is None else np.asarray(scale, np.float64)
        if factors.shape not in ((), (count,)) or not (np.isfinite(factors) & (factors > 0)).all():
            raise ValueError(
                f"scale={scale!r}; allowed is one number above 0, or one for each of the "
                f"{count} replicates."
            )
        checked.flags.writeable = False
        values = {
            "weights": checked,
            "df": df,
            "note": "",
            "_replicates": columns,
            "_scale": np.broadcast_to(factors, count),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.weights)

    def __repr__(self) -> str:
        return (
            f"ReplicateDesign({len(self):,} units, {self._replicates.shape[1]:,} replicates, "
            f"df {self.df:,})"
        )

    def variance(self, influence: ArrayLike) -> float:
        """Estimate the variance of a weighted sum; see :meth:`Design.variance`."""
        values = _numbers(influence, "influence", len(self))
        moved = values @ self._replicates - values @ self.weights
        return float(self._scale @ moved**2)

    def variances(
        self,
        influence: ArrayLike,
        columns: ArrayLike,
        n_columns: int,
        *,
        units: ArrayLike | None = None,
    ) -> Floats:
        """Estimate the variances of many weighted sums; see :meth:`Design.variances`."""
        from scipy.sparse import csr_array

        values, column, unit = _triplets(influence, columns, n_columns, units, len(self))
        table = csr_array((values, (column, unit)), shape=(n_columns, len(self)))
        moved = table @ self._replicates - (table @ self.weights)[:, None]
        summed: Floats = moved**2 @ self._scale
        return summed

    def df_in(self, domain: ArrayLike) -> int:
        """Give :attr:`df`, as replicates do not tell where a domain lies."""
        _mask(domain, len(self))
        return self.df

    def without_weights(self) -> ReplicateDesign:
        """Give the same drawing with every unit counted once; see :meth:`Design.without_weights`.

        Each replicate keeps the factor by which it multiplies the weight of a unit. A unit
        without weight keeps the factor 1.
        """
        weights = self.weights[:, None]
        factors = np.divide(
            self._replicates, weights, out=np.ones_like(self._replicates), where=weights > 0
        )
        return ReplicateDesign(np.ones(len(self)), factors, df=self.df, scale=self._scale)

    def _df_by(self, domain: Places, n_domains: int) -> tuple[Places, Places]:
        inside = domain[(domain >= 0) & (self.weights > 0)]
        return np.full(n_domains, self.df), np.bincount(inside, minlength=n_domains)

    def _all_drawn(self, inside: Mask) -> bool:
        return False

    def _effective_size(self, inside: Mask) -> float:
        weights = self.weights[inside]
        return min(self.df + 1.0, float(weights.sum() ** 2 / (weights @ weights)))


AnyDesign: TypeAlias = Design | ReplicateDesign


@dataclass(frozen=True)
class Estimate:
    """A figure with its standard error and interval.

    Attributes
    ----------
    value : float
        The figure.
    standard_error : float
        Its standard error; NaN where none can be given, and `note` says why.
    low, high : float
        The ends of the interval. A one-sided bound has the other end of the scale opposite.
    confidence : float
        The confidence of the interval, or of the one-sided bound.
    df : float
        Degrees of freedom.
    method : str
        How it was computed.
    note : str
        What to know before using it.

    Examples
    --------
    >>> figure = mean([3, 4, 8, 5], design=Design(weights=[10, 20, 10, 20]))
    >>> print(figure)
    4.83 (standard error 0.78; 95 % interval 2.36 to 7.30)
    >>> figure.note
    'valid for independent selection only'
    """

    value: float
    standard_error: float
    low: float
    high: float
    confidence: float
    df: float
    method: str
    note: str = ""

    @property
    def interval(self) -> tuple[float, float]:
        """The ends of the interval, `(low, high)`."""
        return self.low, self.high

    def to_frame(self) -> pd.DataFrame:
        """Write the estimate as a table of one row, with a column per attribute.

        Returns
        -------
        DataFrame
            The table.
        """
        return pd.DataFrame([asdict(self)])

    def __str__(self) -> str:
        value, error, low, high = self._rounded()
        return (
            f"{value} (standard error {error}; {100 * self.confidence:g} % interval "
            f"{low} to {high})"
        )

    def _repr_html_(self) -> str:
        value, error, low, high = self._rounded()
        rows = {
            "estimate": value,
            "standard error": error,
            f"{100 * self.confidence:g} % interval": f"{low} to {high}",
            "degrees of freedom": f"{self.df:,.0f}",
            "method": self.method,
            "note": self.note,
        }
        body = "".join(
            f"<tr><th>{html.escape(name)}</th><td>{html.escape(text)}</td></tr>"
            for name, text in rows.items()
            if text
        )
        return f"<table><tbody>{body}</tbody></table>"

    def _rounded(self) -> tuple[str, str, str, str]:
        """Write the numbers with two digits of the standard error."""
        spread = self.standard_error
        if not (math.isfinite(spread) and spread > 0):
            spread = self.high - self.low  # an exact interval may be all there is
        known = math.isfinite(spread) and spread > 0
        digits = max(0, 1 - math.floor(math.log10(spread))) if known else 4
        value, error, low, high = (
            f"{number:,.{digits}f}"
            for number in (self.value, self.standard_error, self.low, self.high)
        )
        return value, error, low, high


def estimate(
    influence: ArrayLike,
    *,
    value: float,
    design: AnyDesign | None = None,
    domain: ArrayLike | None = None,
    confidence: float = 0.95,
) -> Estimate:
    """Give any smooth statistic its standard error: the door that all others use.

    Parameters
    ----------
    influence : array-like of shape (n,)
        How much each unit moves the statistic per unit of its weight: the derivative of the
        statistic by the unit's weight. *Without* the weight, which the design brings:

        =========================  ==================================================
        statistic                  influence value
        =========================  ==================================================
        total of y                 y
        mean m of y                (y - m) / sum of weights
        ratio r of totals y, x     (y - r x) / weighted total of x
        sum or difference of two   the sum or difference of their influence values
        function g of a total t    g'(t) y
        domain of the above        the same inside the domain, 0 outside
        =========================  ==================================================
    value : float
        The statistic itself.
    design : Design or ReplicateDesign, optional
        How the sample was drawn; by default as a simple random sample.
    domain : array-like of bool, of shape (n,), optional
        The units that the statistic is about. Influence outside counts as 0, and the degrees
        of freedom are those of the domain.
    confidence : float, default=0.95
        The confidence of the interval.

    Returns
    -------
    Estimate
        The statistic with its standard error and the interval of Student's t.

    Raises
    ------
    ValueError
        If lengths differ, a value is missing or infinite, no unit is in the domain, or
        confidence is not between 0 and 1.
    TypeError
        If something is not a number.

    Notes
    -----
    Method sheet:

    - *Target*: a smooth function of population totals.
    - *Design*: strata, primary units drawn in each, any weights; or replicates.
    - *Assumptions*: primary units are drawn independently, or with a given finite population
      correction as a simple random sample in each stratum; many enough for the statistic to be
      nearly linear and nearly normal.
    - *Formula*: e_hi is the sum over the units of primary unit i in stratum h of weight times
      influence; V = sum over h of (1 - f_h) n_h / (n_h - 1) sum over i of (e_hi - mean e_h)^2,
      with primary units minus strata as degrees of freedom; :meth:`Design.df_in` for domains.
    - *Reference*: Deville 1999; Särndal et al. 1992, chapter 5.
    - *Fails* for statistics that are not smooth (medians, maxima: use :func:`from_replicates`),
      for rare things and small samples, where the distribution is skew.
    - *Test*: R's survey package; coverage by simulation.

    Examples
    --------
    The odds of success, of which p (1 - p) is not the variance:

    >>> import numpy as np
    >>> success = np.repeat([1.0, 0.0], [30, 10])
    >>> p = success.mean()
    >>> influence = (success - p) / len(success) / (1 - p) ** 2
    >>> print(estimate(influence, value=p / (1 - p)))
    3.0 (standard error 1.1; 95 % interval 0.8 to 5.2)
    """
    level = _confidence(confidence)
    n = _length(influence, "influence")
    inside = _inside(domain, n, design)
    values = _numbers(influence, "influence", n, inside)
    drawn = _or_simple_random(design, n)
    df = drawn.df if domain is None else drawn.df_in(inside)
    return _from_variance(
        float(value), drawn.variance(values), drawn, inside, df, level, "linearised"
    )


def total(
    y: ArrayLike,
    *,
    design: AnyDesign | None = None,
    domain: ArrayLike | None = None,
    confidence: float = 0.95,
) -> Estimate:
    """Estimate the total of a variable in the population, or in a domain of it.

    Parameters
    ----------
    y : array-like of shape (n,)
        The variable, in its own unit. 0 and 1, or False and True, give a count.
    design : Design or ReplicateDesign, optional
        How the sample was drawn. Without weights the total is that of the sample.
    domain : array-like of bool, of shape (n,), optional
        The units that the total is about. `y` may be missing outside.
    confidence : float, default=0.95
        The confidence of the interval.

    Returns
    -------
    Estimate
        The total.

    Raises
    ------
    ValueError, TypeError
        As :func:`estimate`.

    Notes
    -----
    Method sheet:

    - *Target*: the sum of y over the population or domain.
    - *Design, assumptions*: those of :func:`estimate`; the weights are inverse inclusion
      probabilities.
    - *Formula*: sum of w y; influence y, and 0 outside the domain, so that the size of the
      domain in the sample counts as random.
    - *Reference*: Särndal et al. 1992, chapter 10.
    - *Fails* for rare and very skew variables: intervals miss too often, mostly too low.
    - *Test*: ``svytotal``.

    Examples
    --------
    >>> design = Design(weights=[10, 10, 20, 20], strata=["a", "a", "b", "b"])
    >>> print(total([1, 3, 2, 2], design=design))
    120 (standard error 20; 95 % interval 34 to 206)
    """
    n = _length(y, "y")
    inside = _inside(domain, n, design)
    values = _numbers(y, "y", n, inside)
    weights = np.ones(n) if design is None else design.weights
    return estimate(
        values, value=float(weights @ values), design=design, domain=domain, confidence=confidence
    )


def mean(
    y: ArrayLike,
    *,
    design: AnyDesign | None = None,
    domain: ArrayLike | None = None,
    confidence: float = 0.95,
) -> Estimate:
    """Estimate the mean of a variable in the population, or in a domain of it.

    For shares near 0 or 1, and for small samples, :func:`proportion` has better intervals.

    Parameters
    ----------
    y : array-like of shape (n,)
        The variable, in its own unit.
    design : Design or ReplicateDesign, optional
        How the sample was drawn.
    domain : array-like of bool, of shape (n,), optional
        The units that the mean is about. `y` may be missing outside. Never cut the sample to
        the domain instead: the variance needs the primary units without units of the domain.
    confidence : float, default=0.95
        The confidence of the interval.

    Returns
    -------
    Estimate
        The mean. Its standard error is NaN if the domain lies in one primary unit.

    Raises
    ------
    ValueError, TypeError
        As :func:`estimate`.

    Notes
    -----
    Method sheet:

    - *Target*: the mean of y over the population or domain.
    - *Design, assumptions*: those of :func:`estimate`.
    - *Formula*: p = sum of a w y / sum of a w, where a is 1 in the domain and 0 outside;
      influence a (y - p) / sum of a w.
    - *Reference*: Särndal et al. 1992, chapters 5 and 10.
    - *Fails* where the domain meets few primary units, or y is rare or skew: at 95 %, a code
      with a share of 2 % is covered in 93 % of samples of 300 records, with weights of a design
      effect of 2.7 in 80 %, and the mean of a lognormal variable in 91 % at n = 100.
    - *Test*: ``svymean``, ``svyby``; coverage by simulation.

    Examples
    --------
    >>> design = Design(weights=[10, 10, 20, 20], strata=["a", "a", "b", "b"])
    >>> print(mean([1, 3, 2, 2], design=design))
    2.00 (standard error 0.33; 95 % interval 0.57 to 3.43)
    """
    n = _length(y, "y")
    inside = _inside(domain, n, design)
    values = _numbers(y, "y", n, inside)
    return _ratio(values, inside.astype(np.float64), inside, design, domain, confidence)


def ratio(
    numerator: ArrayLike,
    denominator: ArrayLike,
    *,
    design: AnyDesign | None = None,
    domain: ArrayLike | None = None,
    confidence: float = 0.95,
) -> Estimate:
    """Estimate the ratio of two totals, such as turnover per person employed.

    Parameters
    ----------
    numerator, denominator : array-like of shape (n,)
        The two variables.
    design : Design or ReplicateDesign, optional
        How the sample was drawn.
    domain : array-like of bool, of shape (n,), optional
        The units that the ratio is about. Both variables may be missing outside.
    confidence : float, default=0.95
        The confidence of the interval.

    Returns
    -------
    Estimate
        The ratio. Its standard error is NaN if the domain lies in one primary unit.

    Raises
    ------
    ValueError, TypeError
        As :func:`estimate`; and if the denominator's total is 0.

    Notes
    -----
    Method sheet:

    - *Target*: the ratio of two totals, not the mean of ratios.
    - *Design, assumptions*: those of :func:`estimate`; the denominator's total is far from 0.
    - *Formula*: r = sum of w y / sum of w x; influence (y - r x) / sum of w x.
    - *Reference*: Särndal et al. 1992, chapter 5.
    - *Fails* when the denominator's coefficient of variation exceeds about .1.
    - *Test*: ``svyratio``.

    Examples
    --------
    >>> print(ratio([10, 30, 50], [1, 2, 4]))
    12.86 (standard error 0.94; 95 % interval 8.83 to 16.88)
    """
    n = _length(numerator, "numerator")
    inside = _inside(domain, n, design)
    above = _numbers(numerator, "numerator", n, inside)
    below = _numbers(denominator, "denominator", n, inside)
    return _ratio(above, below, inside, design, domain, confidence)


def mean_by(
    y: ArrayLike, by: ArrayLike, *, design: AnyDesign | None = None, confidence: float = 0.95
) -> pd.DataFrame:
    """Estimate the mean in every domain at once, such as the accuracy of each of 400 codes.

    Parameters
    ----------
    y : array-like of shape (n,)
        The variable.
    by : array-like of shape (n,)
        The domain of each unit: any labels.
    design : Design or ReplicateDesign, optional
        How the sample was drawn.
    confidence : float, default=0.95
        The confidence of each interval. About 20 of 400 intervals of 95 % miss.

    Returns
    -------
    DataFrame
        A row per domain, in the order of the labels, with `value`, `standard_error`, `low`,
        `high`, `df` and `n`, its units in the sample: each row what :func:`mean` says of
        the domain.

    Raises
    ------
    ValueError, TypeError
        As :func:`estimate`; and if the domain of a unit is missing.

    Examples
    --------
    >>> mean_by([1, 0, 1, 1, 0], ["a", "a", "a", "b", "b"])[["value", "standard_error"]].round(3)
       value  standard_error
    a  0.667           0.304
    b  0.500           0.395
    """
    level = _confidence(confidence)
    n = _length(y, "y")
    everyone = _inside(None, n, design)
    values = _numbers(y, "y", n, everyone)
    domain, labels = _labels(by, "by", n, sort=True)
    drawn = _or_simple_random(design, n)
    weights, count = drawn.weights, len(labels)
    with np.errstate(invalid="ignore"):  # a domain may have weights of 0 only: its mean is NaN
        sums = _sums(domain, weights, count)
        means = _sums(domain, weights * values, count) / sums
        influence = np.where(weights > 0, (values - means[domain]) / sums[domain], 0.0)
    errors = np.sqrt(drawn.variances(influence, domain, count))
    df, psus = drawn._df_by(domain, count)
    lone = psus < 2
    if lone.any() and isinstance(drawn, Design):  # drawn in full, one primary unit is enough
        lone[lone] = [not drawn._all_drawn(domain == place) for place in np.flatnonzero(lone)]
    errors[lone] = np.nan
    margins = _t(0.5 + level / 2, df) * errors
    return pd.DataFrame(
        {
            "value": means,
            "standard_error": errors,
            "low": means - margins,
            "high": means + margins,
            "df": df,
            "n": np.bincount(domain, minlength=count),
        },
        index=pd.Index(labels, name=getattr(by, "name", None)),
    )


def proportion(
    success: ArrayLike,
    *,
    design: AnyDesign | None = None,
    domain: ArrayLike | None = None,
    confidence: float = 0.95,
    side: Side = "two-sided",
    planned_design_effect: float | None = None,
) -> Estimate:
    """Estimate a share with an interval that holds for rare successes and small samples.

    Parameters
    ----------
    success : array-like of shape (n,)
        True or 1 for success, False or 0 for failure.
    design : Design or ReplicateDesign, optional
        How the sample was drawn. Without it: as an unweighted simple random sample, with the
        exact interval of Clopper and Pearson. With it: the interval of Korn and Graubard.
    domain : array-like of bool, of shape (n,), optional
        The units that the share is about. `success` may be missing outside.
    confidence : float, default=0.95
        The confidence of the interval, or of the bound.
    side : {"two-sided", "lower", "upper"}, default="two-sided"
        An interval, or one bound at the full confidence: `low` ("lower"; `high` is 1) or
        `high` ("upper"; `low` is 0).
    planned_design_effect : float, optional
        The design effect to assume where the sample cannot tell: when all succeeded or all
        failed, or primary units do not differ. Take it from an earlier round. By default it
        is the worst that weights and clusters can do, units within a primary unit being all
        alike. Used with a design only.

    Returns
    -------
    Estimate
        The share.

    Raises
    ------
    ValueError, TypeError
        As :func:`estimate`; if `success` has values other than 0 and 1, the side is
        unknown, or the planned design effect is not above 0 or lacks a design.

    Notes
    -----
    Method sheet:

    - *Target*: a share of the population or domain.
    - *Design, assumptions*: without a design independent draws with equal chances; else those of
      :func:`estimate`.
    - *Formula*: n* = p (1 - p) / v(p) times (t with n - 1 degrees of freedom / t with df)^2, at
      most n; x* = n* p; the bounds are the a/2 quantile of Beta(x*, n* - x* + 1) and the 1 - a/2
      quantile of Beta(x* + 1, n* - x*), with a for a/2, in the t's too, when one-sided. Without
      a design n* = n. At p = 0 or 1, n* = n / planned design effect; by default n* is Kish's
      effective number of primary units, (sum W)^2 / sum W^2 with W the weight of a primary unit.
    - *Reference*: Clopper and Pearson 1934; Korn and Graubard 1998.
    - *Fails* gently: intervals are mostly too long. The bound holds for one share fixed
      beforehand, not for the best of many.
    - *Test*: ``svyciprop(method="beta")``, which does not cap n*; coverage by simulation.

    Examples
    --------
    How sure are 59 right answers of 59? The bound just passes 95 %.

    >>> perfect = proportion([True] * 59, side="lower")
    >>> round(perfect.low, 4)
    0.9505
    """
    level, sides = _confidence(confidence), get_args(Side)
    if side not in sides:
        raise ValueError(f"side={side!r}; allowed are {', '.join(map(repr, sides))}.")
    effect = planned_design_effect
    if effect is not None and not (math.isfinite(effect) and effect > 0):
        raise ValueError(f"planned_design_effect={effect}; allowed is a number above 0.")
    if effect is not None and design is None:
        raise ValueError("planned_design_effect needs a design: without one the effect is 1.")
    n = _length(success, "success")
    inside = _inside(domain, n, design)
    successes = _numbers(success, "success", n, inside)
    if not np.isin(successes, (0, 1)).all():
        strange = successes[~np.isin(successes, (0, 1))][0]
        raise ValueError(f"success has the value {strange:g}; allowed are 0 and 1, or booleans.")
    tail = (1 - level) / (2 if side == "two-sided" else 1)
    if design is None:
        size, share = int(inside.sum()), successes[inside].mean()
        error = math.sqrt(share * (1 - share) / (size - 1)) if size > 1 else math.nan
        low, high = _beta_interval(share, size, tail, side)
        return Estimate(
            float(share), error, low, high, level, size - 1, "Clopper-Pearson", SIMPLE_RANDOM
        )
    return _korn_graubard(successes, inside, design, domain, level, tail, side, effect)


def difference(
    a: ArrayLike,
    b: ArrayLike,
    *,
    design: AnyDesign | None = None,
    domain: ArrayLike | None = None,
    confidence: float = 0.95,
) -> Estimate:
    """Compare two rivals on the same units: the mean of a minus the mean of b.

    Two intervals that overlap say little: rivals mostly err on the same hard units, and what
    they share cancels in the difference. Its interval is often much shorter than either.

    Parameters
    ----------
    a, b : array-like of shape (n,)
        What each rival scores on each unit, such as 1 where it is right and 0 elsewhere.
    design : Design or ReplicateDesign, optional
        How the sample was drawn.
    domain : array-like of bool, of shape (n,), optional
        The units that the comparison is about. Scores may be missing outside.
    confidence : float, default=0.95
        The confidence of the interval.

    Returns
    -------
    Estimate
        The difference. The rivals differ if its interval leaves out 0.

    Raises
    ------
    ValueError, TypeError
        As :func:`estimate`.

    Notes
    -----
    Method sheet:

    - *Target*: the difference of two means over the population or domain.
    - *Design, assumptions*: those of :func:`estimate`; both rivals were fixed before the sample
      was seen, as on an untouched test set.
    - *Formula*: that of :func:`mean`, for a - b. For right and wrong in a simple random sample
      the standard error is that of McNemar's comparison.
    - *Reference*: Särndal et al. 1992, chapter 5.
    - *Fails* when fewer than about ten units tell the rivals apart, and for folds of a
      cross-validation, which are not independent: use :func:`difference_over_splits`.
    - *Test*: ``svymean`` of the difference; coverage by simulation.

    Examples
    --------
    >>> import numpy as np
    >>> model = np.repeat([1, 1, 0, 0], [700, 90, 60, 150])
    >>> human = np.repeat([1, 0, 1, 0], [700, 90, 60, 150])
    >>> print(difference(model, human))
    0.030 (standard error 0.012; 95 % interval 0.006 to 0.054)
    """
    n = _length(a, "a")
    inside = _inside(domain, n, design)
    gap = _numbers(a, "a", n, inside) - _numbers(b, "b", n, inside)
    return _ratio(
        gap, inside.astype(np.float64), inside, design, domain, confidence, "paired difference"
    )


def difference_over_splits(
    differences: ArrayLike, *, n_train: int, n_test: int, confidence: float = 0.95
) -> Estimate:
    """Compare two learners over repeated random splits into training and test rows.

    The splits share rows, so the usual standard error of their mean is far too small.

    Parameters
    ----------
    differences : array-like of shape (J,)
        The score of one learner minus that of the other, in each split.
    n_train, n_test : int
        How many rows each split has for training and for testing.
    confidence : float, default=0.95
        The confidence of the interval.

    Returns
    -------
    Estimate
        The mean difference.

    Raises
    ------
    ValueError
        If there are fewer than 2 splits, a difference is missing, or a size is below 1.
    TypeError
        If differences are not numbers.

    Notes
    -----
    Method sheet:

    - *Target*: the expected difference of two learners (not of two fitted models) trained on
      `n_train` rows.
    - *Design*: J random splits of one simple random sample.
    - *Assumption*: the scores of two splits correlate by n_test / (n_train + n_test).
    - *Formula*: V = (1/J + n_test/n_train) S^2, with S^2 the variance between splits and J - 1
      degrees of freedom.
    - *Reference*: Nadeau and Bengio 2003, the corrected resampled t-test.
    - *Fails*: a rule of thumb, as no unbiased variance exists (Bengio and Grandvalet 2004); an
      untouched test set and :func:`difference` are better.
    - *Test*: the formula by hand.

    Examples
    --------
    >>> print(difference_over_splits([0.02, 0.03, 0.01, 0.02], n_train=800, n_test=200))
    0.0200 (standard error 0.0058; 95 % interval 0.0016 to 0.0384)
    """
    level = _confidence(confidence)
    values = _numbers(differences, "differences", _length(differences, "differences"))
    if len(values) < 2:
        raise ValueError("differences has 1 value; at least 2 splits are needed. Repeat the split.")
    if n_train < 1 or n_test < 1:
        raise ValueError(f"n_train={n_train}, n_test={n_test}; each must be 1 or more.")
    variance = float((1 / len(values) + n_test / n_train) * values.var(ddof=1))
    df = len(values) - 1
    value, error = float(values.mean()), math.sqrt(variance)
    margin = float(_t(0.5 + level / 2, df)) * error
    return Estimate(
        value, error, value - margin, value + margin, level, df, "corrected resampled t"
    )


def replicate_weights(
    design: Design,
    *,
    method: Literal["rescaled-bootstrap"] = "rescaled-bootstrap",
    replicates: int,
    seed: int,
) -> Floats:
    """Make bootstrap weights that respect strata, primary units and the finite population.

    Parameters
    ----------
    design : Design
        How the sample was drawn.
    method : {"rescaled-bootstrap"}
        The one there is.
    replicates : int
        How many, at least 2. 200 leave a standard error uncertain by 5 %, 1,000 by 2 %.
    seed : int
        Seed of the draws.

    Returns
    -------
    ndarray of shape (n, replicates)
        Replicate weights, never negative. A million units with 100 replicates fill 800 MB.

    Raises
    ------
    ValueError
        If the method is unknown, or there are fewer than 2 replicates.

    Notes
    -----
    Method sheet:

    - *Target*: the variance of any statistic computed with weights, medians too.
    - *Design, assumptions*: those of :func:`estimate`.
    - *Formula*: in each stratum draw m_h = n_h - 1 of the n_h primary units with replacement; a
      unit of one drawn t times gets w* = w n_h / (n_h - 1) t. With a finite population
      correction w* = w (1 + sqrt(1 - f_h) (n_h / (n_h - 1) t - 1)).
    - *Reference*: Rao, Wu and Yue 1992; for the correction Rao and Wu 1988.
    - *Fails* with very few primary units in all. Weights that were calibrated must be calibrated
      again in every replicate.
    - *Test*: the variance of a mean over many replicates is the linear one; R's
      ``as.svrepdesign(type="subbootstrap")`` within simulation error.

    Examples
    --------
    >>> design = Design(weights=[10, 10, 10], strata=["a", "a", "a"])
    >>> replicate_weights(design, replicates=4, seed=0).sum(axis=0)
    array([30., 30., 30., 30.])
    """
    if method != "rescaled-bootstrap":
        raise ValueError(f"method={method!r}; allowed is 'rescaled-bootstrap'.")
    if replicates < 2:
        raise ValueError(f"replicates={replicates}; at least 2 are needed, better 500.")
    rng = np.random.default_rng(seed)
    factors = np.ones((design.n_psus, replicates))
    by_stratum = np.argsort(design._stratum, kind="stable")
    groups = np.split(by_stratum, np.cumsum(design._sizes)[:-1])
    for places, fraction in zip(groups, design._fractions, strict=True):
        n = len(places)
        if n == 1:  # drawn with certainty
            continue
        times = rng.multinomial(n - 1, np.full(n, 1 / n), size=replicates).T
        factors[places] += math.sqrt(1 - fraction) * (n / (n - 1) * times - 1)
    if design._psu is not None:
        factors = factors[design._psu]
    factors *= design.weights[:, None]
    return factors


def from_replicates(
    statistic: Callable[[Floats], float], *, design: ReplicateDesign, confidence: float = 0.95
) -> Estimate:
    """Give any statistic its standard error, by computing it anew from every replicate.

    Parameters
    ----------
    statistic : callable
        Takes weights of shape (n,) and returns the statistic as a number. Anything that
        depends on the weights belongs inside, such as calibration or training.
    design : ReplicateDesign
        The weights and replicate weights.
    confidence : float, default=0.95
        The confidence of the interval.

    Returns
    -------
    Estimate
        The statistic, with the interval of Student's t.

    Raises
    ------
    ValueError
        If the statistic is missing or infinite for the sample or a replicate.

    Notes
    -----
    The method sheet is that of :class:`ReplicateDesign`.

    Examples
    --------
    >>> import numpy as np
    >>> income = np.array([12.0, 15, 11, 30, 22, 18])
    >>> drawn = Design(weights=[5, 5, 5, 8, 8, 8], strata=["a", "a", "a", "b", "b", "b"])
    >>> replicates = replicate_weights(drawn, replicates=500, seed=1)
    >>> design = ReplicateDesign(drawn.weights, replicates, df=drawn.df)
    >>> figure = from_replicates(lambda weights: np.average(income, weights=weights), design=design)
    >>> abs(figure.standard_error / mean(income, design=drawn).standard_error - 1) < 0.1
    True
    """
    level = _confidence(confidence)
    value = float(statistic(design.weights))
    again = np.array([float(statistic(column)) for column in design._replicates.T])
    if not math.isfinite(value):
        raise ValueError(f"The statistic is {value} for the sample. Correct the statistic.")
    if not np.isfinite(again).all():
        raise ValueError(
            f"The statistic is missing or infinite for {int((~np.isfinite(again)).sum()):,} of "
            f"{len(again):,} replicates, perhaps because a small group has weights of 0 there. "
            "Make it finite, or join small groups."
        )
    error = math.sqrt(float(design._scale @ (again - value) ** 2))
    margin = float(_t(0.5 + level / 2, design.df)) * error
    return Estimate(value, error, value - margin, value + margin, level, design.df, "replicates")


def _ratio(
    numerator: Floats,
    denominator: Floats,
    inside: Mask,
    design: AnyDesign | None,
    domain: ArrayLike | None,
    confidence: float,
    method: str = "linearised",
) -> Estimate:
    """Estimate a ratio of totals; both arrays are 0 outside the domain."""
    level = _confidence(confidence)
    drawn = _or_simple_random(design, len(inside))
    below = float(drawn.weights @ denominator)
    if below == 0:
        raise ValueError(
            "The denominator's weighted total is 0, so there is no ratio. Check the denominator, "
            "or choose another domain."
        )
    value = float(drawn.weights @ numerator) / below
    variance = drawn.variance((numerator - value * denominator) / below)
    df, psus = drawn._df_by(np.where(inside, 0, -1), 1)
    if psus[0] < 2 and not drawn._all_drawn(inside):
        nothing = math.nan
        note = _notes(drawn.note, LONE_UNIT)
        return Estimate(value, nothing, nothing, nothing, level, int(df[0]), method, note)
    freedom = drawn.df if domain is None else int(df[0])
    return _from_variance(value, variance, drawn, inside, freedom, level, method)


def _from_variance(
    value: float,
    variance: float,
    design: AnyDesign,
    inside: Mask,
    df: int,
    confidence: float,
    method: str,
) -> Estimate:
    error = math.sqrt(variance)
    note = design.note
    if error <= _ROUNDING * abs(value):
        error = 0.0
        note = note if design._all_drawn(inside) else _notes(note, NO_VARIATION)
    margin = float(_t(0.5 + confidence / 2, df)) * error if error else 0.0
    return Estimate(value, error, value - margin, value + margin, confidence, df, method, note)


def _korn_graubard(
    success: Floats,
    inside: Mask,
    design: AnyDesign,
    domain: ArrayLike | None,
    confidence: float,
    tail: float,
    side: Side,
    planned_effect: float | None,
) -> Estimate:
    weights = np.where(inside, design.weights, 0.0)
    size = int((weights > 0).sum())
    share = float(weights @ success) / float(weights.sum())
    counted = success[weights > 0]
    if (counted == counted[0]).all():
        share = float(counted[0])  # without rounding
    error = math.sqrt(design.variance(np.where(inside, success - share, 0.0) / weights.sum()))
    df = design.df if domain is None else design.df_in(inside)
    method, note = "Korn-Graubard", design.note
    if design._all_drawn(inside):
        return Estimate(share, 0.0, share, share, confidence, df, method, note)
    if error > _ROUNDING:
        by_units, by_df = _t(1 - tail, max(size - 1, 1)), _t(1 - tail, df)
        effective = share * (1 - share) / error**2 * float(by_units / by_df) ** 2
    else:
        error = 0.0
        chosen = size / design._effective_size(inside) if planned_effect is None else planned_effect
        effective = size / chosen
        note = _notes(note, f"{NO_VARIATION}; a design effect of {chosen:.3g} was assumed")
    low, high = _beta_interval(share, min(effective, size), tail, side)
    return Estimate(share, error, low, high, confidence, df, method, note)


def _beta_interval(share: float, n: float, tail: float, side: Side) -> tuple[float, float]:
    from scipy.special import betaincinv

    x = n * share
    low = 0.0 if side == "upper" or share == 0 else float(betaincinv(x, n - x + 1, tail))
    high = 1.0 if side == "lower" or share == 1 else float(betaincinv(x + 1, n - x, 1 - tail))
    return low, high


def _t(probability: float, df: ArrayLike) -> Floats:
    """Give quantiles of Student's t."""
    from scipy.special import stdtrit  # ten times faster than scipy.stats.t.ppf

    quantiles: Floats = stdtrit(df, probability)
    return quantiles


def _or_simple_random(design: AnyDesign | None, n: int) -> AnyDesign:
    if design is not None:
        return design
    simple = Design(weights=np.ones(n))
    simple._set(note=SIMPLE_RANDOM)
    return simple


def _notes(*notes: str) -> str:
    return "; ".join(note for note in notes if note)


def _confidence(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence}; allowed is a number between 0 and 1, as 0.95.")
    return float(confidence)


def _length(values: Any, name: str) -> int:
    """Count the values of an array of one dimension."""
    shape = np.shape(values)
    if len(shape) != 1:
        raise ValueError(f"{name} has the shape {shape}; allowed is one value per unit, (n,).")
    if shape[0] == 0:
        raise ValueError(f"{name} is empty. Give at least one unit.")
    return int(shape[0])


def _common_length(**arrays: Any) -> int:
    lengths = {
        name: _length(values, name)
        for name, values in arrays.items()
        if values is not None and not (name == "fpc" and np.ndim(values) == 0)
    }
    if not lengths:
        raise ValueError(
            "A design needs at least one of weights, strata and psu, with a value per unit. For a "
            "simple random sample leave the design out, or give equal weights."
        )
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} {length:,}" for name, length in lengths.items())
        raise ValueError(f"Lengths differ: {listed}. Give one value per sampled unit to each.")
    return next(iter(lengths.values()))


def _numbers(values: Any, name: str, n: int | None = None, inside: Mask | None = None) -> Floats:
    """Read numbers; 0 outside the domain, where they may be missing."""
    length = _length(values, name)
    if n is not None and length != n:
        raise ValueError(f"{name} has {length:,} values, but {n:,} are needed: one per unit.")
    if isinstance(values, np.ma.MaskedArray):
        values = pd.Series(values)
    if isinstance(values, (pd.Series, pd.Index, pd.api.extensions.ExtensionArray)):
        dtype: Any = values.dtype
        if not (pd.api.types.is_numeric_dtype(dtype) or pd.api.types.is_bool_dtype(dtype)):
            values = np.asarray(values, dtype=object)
        else:
            values = pd.Series(values).to_numpy(dtype=np.float64, na_value=np.nan)
    raw = np.asarray(values)
    if raw.dtype == object:  # such as [True, None]
        raw = pd.Series(raw).where(~pd.isna(raw), np.nan).infer_objects().to_numpy()
        numeric = (int, float, np.number, np.bool_)
        if raw.dtype == object and all(isinstance(value, numeric) for value in raw):
            raw = raw.astype(np.float64)
    if raw.dtype.kind not in "biuf":
        raise TypeError(f"{name} holds {raw.dtype} values, such as {raw[0]!r}; give numbers.")
    numbers = raw.astype(np.float64)
    if inside is not None and not inside.all():
        numbers[~inside] = 0.0
    if not np.isfinite(numbers).all():
        count = int((~np.isfinite(numbers)).sum())
        raise ValueError(
            f"{name} has {count:,} missing or infinite values among {len(numbers):,}. Leave the "
            "units out with domain=, or impute them; a design itself must be complete."
        )
    return numbers


def _weights(weights: Any) -> Floats:
    numbers = _numbers(weights, "weights")
    if (numbers < 0).any():
        raise ValueError(
            f"{int((numbers < 0).sum()):,} weights are negative, the least {numbers.min():g}; "
            "allowed are 0 and more. Correct them."
        )
    if not numbers.any():
        raise ValueError("All weights are 0, so no unit counts. Give weights above 0.")
    return numbers


def _mask(domain: Any, n: int) -> Mask:
    length = _length(domain, "domain")
    if length != n:
        raise ValueError(f"domain has {length:,} values, but {n:,} are needed: one per unit.")
    if isinstance(domain, (pd.Series, pd.api.extensions.ExtensionArray)) and domain.isna().any():
        raise ValueError("domain has missing values. Say True or False for each unit.")
    mask = np.asarray(domain)
    if mask.dtype == object and all(isinstance(value, (bool, np.bool_)) for value in mask):
        mask = mask.astype(bool)
    if mask.dtype != np.bool_:
        raise TypeError(
            f"domain holds {mask.dtype} values; give True or False for each unit, as in "
            "domain = region == 'north'."
        )
    return mask


def _inside(domain: Any, n: int, design: AnyDesign | None) -> Mask:
    """Check the domain and the length of the design, and say which units are inside."""
    if design is not None and not isinstance(design, (Design, ReplicateDesign)):
        raise TypeError(
            f"design is a {type(design).__name__}; give a Design, such as Design(weights=...)."
        )
    if design is not None and len(design) != n:
        raise ValueError(
            f"The data have {n:,} units, but the design describes {len(design):,}. Give both for "
            "the same units, in the same order; for a part of them use domain=."
        )
    inside = np.ones(n, dtype=bool) if domain is None else _mask(domain, n)
    if not (inside if design is None else inside & (design.weights > 0)).any():
        raise ValueError("No unit with a weight above 0 is in the domain. Choose another domain.")
    return inside


def _labels(labels: Any, name: str, n: int, *, sort: bool = False) -> tuple[Places, Any]:
    """Give each label a number; one for all where there are no labels."""
    if labels is None:
        return np.zeros(n, dtype=np.intp), [""]
    length = _length(labels, name)
    if length != n:
        raise ValueError(f"{name} has {length:,} values, but {n:,} are needed: one per unit.")
    if not isinstance(labels, (pd.Series, pd.Index, pd.api.extensions.ExtensionArray)):
        # As objects, or NumPy would make the text "nan" of a missing label.
        labels = labels if isinstance(labels, np.ndarray) else np.array(labels, dtype=object)
    numbers, different = pd.factorize(labels, sort=sort)
    if (numbers < 0).any():
        raise ValueError(
            f"{name} has {int((numbers < 0).sum()):,} missing values among {n:,}. Every unit needs "
            "one: fill them, or leave the units out and say so."
        )
    return numbers, different


def _fractions(fpc: Any, stratum: Places, sizes: Places, labels: Any) -> Floats:
    """Read the part that was drawn of each stratum."""
    if fpc is None:
        return np.zeros(len(sizes))
    if np.ndim(fpc) == 0:
        single = _read_fpc(np.array([fpc], dtype=object))
        if single[0] > 1 and len(sizes) > 1:
            raise ValueError(
                f"fpc={fpc} is one population size for {len(sizes)} strata. Give each unit the "
                "number of primary units in the population of its stratum."
            )
        given = np.full(len(sizes), single[0])
    else:
        values = _read_fpc(fpc)
        given = np.empty(len(sizes))
        given[stratum] = values
        varying = np.flatnonzero(given[stratum] != values)
        if len(varying):
            raise ValueError(
                f"fpc varies within the stratum {labels[stratum[varying[0]]]!r}; it belongs to "
                "the stratum. Give all its units the same."
            )
    if (given <= 1).all():
        return given
    if (given < 1).any():
        raise ValueError(
            f"fpc runs from {given.min():g} to {given.max():g}, which mixes population sizes (1 "
            "or more) with fractions (0 to 1). Give one form for all strata."
        )
    short = np.flatnonzero(given < sizes)
    if len(short):
        raise ValueError(
            f"fpc says that stratum {labels[short[0]]!r} has {given[short[0]]:g} primary units, "
            f"but {sizes[short[0]]} are in the sample. Count primary units, not persons or rows."
        )
    fractions: Floats = sizes / given
    return fractions


def _read_fpc(fpc: Any) -> Floats:
    values = _numbers(fpc, "fpc")
    if (values < 0).any():
        raise ValueError(f"fpc has the value {values.min():g}; allowed are 0 and more.")
    return values


def _refuse_lone_units(sizes: Places, fractions: Floats, labels: Any, stratified: bool) -> None:
    lone = np.flatnonzero((sizes == 1) & (fractions < 1))
    if len(lone) and not stratified:
        raise ValueError(
            "The sample has one primary unit, which shows no variation: no standard error exists. "
            "Give at least 2."
        )
    if len(lone):
        named = ", ".join(repr(str(labels[place])) for place in lone[:5])
        named += f" and {len(lone) - 5:,} more" if len(lone) > 5 else ""
        raise ValueError(
            f"One primary unit in each of {len(lone):,} of {len(sizes):,} strata ({named}): one "
            "unit shows no variation. Join such a stratum with one like it, or give fpc=1 for "
            "units drawn with certainty."
        )


def _triplets(
    influence: Any, columns: Any, n_columns: int, units: Any, n: int
) -> tuple[Floats, Places, Places]:
    """Check values with their columns and units."""
    values = _numbers(influence, "influence", n if units is None else None)
    column = np.asarray(columns)
    unit = np.arange(n) if units is None else np.asarray(units)
    for name, places, limit in (("columns", column, n_columns), ("units", unit, n)):
        if places.shape != values.shape or places.dtype.kind not in "iu":
            raise ValueError(
                f"{name} holds {places.dtype} of shape {places.shape}; give a whole number for "
                f"each of the {len(values):,} influence values."
            )
        if places.min() < 0 or places.max() >= limit:
            raise ValueError(
                f"{name} runs from {places.min()} to {places.max()}; allowed is 0 to {limit - 1}."
            )
    return values, column.astype(np.intp), unit.astype(np.intp)


def _sums(places: Places, values: Floats, n: int) -> Floats:
    """Sum the values of each place, from 0 to n - 1."""
    sums: Floats = np.asarray(np.bincount(places, values, n), dtype=np.float64)
    return sums


def _compact(keys: Places) -> tuple[Places, Places]:
    """Give each different key a number."""
    labels, numbers = np.unique(keys, return_inverse=True)
    return numbers, labels
