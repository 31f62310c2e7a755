"""What each estimator of class totals would do: formulas for two classes, and the mean of PPI."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mlkit._views import as_html, as_text, axes
from mlkit.estimate import Estimate
from mlkit.evaluation._inputs import check_lengths

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, repr=False)
class PlannedError:
    """The error of one estimator, before any data.

    Attributes
    ----------
    estimator : str
        Which.
    expected : float
        The figure it gives on average.
    bias : float
        That minus the true share.
    variance : float
        The unconditional variance: over audits of that size, whatever codes they meet.
    """

    estimator: str
    expected: float
    bias: float
    variance: float

    @property
    def rmse(self) -> float:
        """The root mean squared error, of bias and variance together."""
        return math.sqrt(self.bias**2 + self.variance)


@dataclass(frozen=True, repr=False)
class TwoClassErrors:
    """What :func:`two_class_errors` found.

    Attributes
    ----------
    share : float
        The true share of class 1 in the target.
    errors : tuple of PlannedError
        One for each estimator.
    """

    share: float
    errors: tuple[PlannedError, ...]

    def __getitem__(self, estimator: str) -> PlannedError:
        for error in self.errors:
            if error.estimator == estimator:
                return error
        named = ", ".join(repr(error.estimator) for error in self.errors)
        raise KeyError(f"No estimator {estimator!r}. There are {named}.")

    def to_frame(self) -> pd.DataFrame:
        """Write the errors as a table.

        Returns
        -------
        DataFrame
            One row per estimator: `estimator`, `expected`, `bias`, `variance`, `rmse`.
        """
        return pd.DataFrame(
            [
                {
                    "estimator": error.estimator,
                    "expected": error.expected,
                    "bias": error.bias,
                    "variance": error.variance,
                    "rmse": error.rmse,
                }
                for error in self.errors
            ]
        )

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the absolute bias and the standard deviation of each estimator.

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
        places = np.arange(len(frame))
        ax.barh(places - 0.2, frame["bias"].abs(), height=0.4, label="bias, absolute")
        ax.barh(places + 0.2, np.sqrt(frame["variance"]), height=0.4, label="standard deviation")
        ax.set_yticks(places, frame["estimator"])
        ax.invert_yaxis()
        ax.set_xlabel("error of the share")
        ax.legend()
        return ax

    def _view(self) -> tuple[str, pd.DataFrame, str]:
        frame = self.to_frame()
        shown = frame[["estimator"]].assign(
            **{name: frame[name].map("{:.4f}".format) for name in ("expected", "bias")},
            **{
                "standard deviation": np.sqrt(frame["variance"]).map("{:.4f}".format),
                "RMSE": frame["rmse"].map("{:.4f}".format),
            },
        )
        return (
            f"Estimators of a true share of {self.share:g}",
            shown,
            "Unconditional: over audits of that size, whatever codes they meet.",
        )

    def __repr__(self) -> str:
        return as_text(*self._view())

    def _repr_html_(self) -> str:
        return as_html(*self._view())


def two_class_errors(
    share: float,
    p00: float,
    p11: float,
    *,
    n_audit: int,
    n_target: int,
    audit_share: float | None = None,
) -> TwoClassErrors:
    """Say before any audit which estimator of a share will be best, for two classes.

    Parameters
    ----------
    share : float
        The true share of class 1 in the target, alpha in the paper; above 0 and below 1.
    p00 : float
        The part of class 0 that is coded as 0.
    p11 : float
        The part of class 1 that is coded as 1.
    n_audit : int
        Records of the audit, a simple random sample; n in the paper.
    n_target : int
        Units of the target, all coded; N in the paper.
    audit_share : float, optional
        The true share of class 1 where the audit is drawn, such as last year's; by default that
        of the target. The paper assumes that the two do not differ.

    Returns
    -------
    TwoClassErrors
        For "baseline" (the audit alone), "classify and count", "subtracted-bias",
        "misclassification", "calibration" and "prediction-powered": the figure to expect, bias,
        *unconditional* variance, and RMSE. The variances that estimates from an audit come with
        are conditional on it.

    Raises
    ------
    ValueError
        If a share or a part is not between its limits, p00 + p11 is 1 (the codes then say
        nothing, and the misclassification matrix has no inverse), all units get the same code,
        or a size is below 2.

    Notes
    -----
    With a = share, s = p00 + p11, c the expected predicted share, b that in the audit, q11 and
    q00 the parts of predicted 1 and 0 that are truly so in the audit,
    e1 = 1/(n a) + (1-a)/(n a)^2 and e0 = 1/(n (1-a)) + a/(n (1-a))^2 the approximate means of
    1 over the audited records of a class (a here: the share in the audit), and d1, d0 the same
    for predicted classes, with b for a:

    ===================  ==========================  ==========================================
    estimator            bias                        variance
    ===================  ==========================  ==========================================
    baseline             a' - a, a' in the audit     a' (1-a') / n
    classify and count   a (p11-1) + (1-a) (1-p00)   [a p11 (1-p11) + (1-a) p00 (1-p00)] / N
    subtracted-bias      (1-p00) (2-s) - a (s-2)^2   (1-c)^2 p00 (1-p00) e0 + c^2 p11 (1-p11) e1
    misclassification    [a p11 (1-p11) e1           [(1-a)^2 p00 (1-p00) e0
                         - (1-a) p00 (1-p00) e0]     + a^2 p11 (1-p11) e1] / (s-1)^2
                         / (s-1)^2, first terms
                         of e1 and e0 only
    calibration          c q11 + (1-c) (1-q00) - a   c^2 q11 (1-q11) d1 + (1-c)^2 q00 (1-q00) d0
    prediction-powered   (a'-a) (2-s)                variance of (y - f) in the audit / n
    ===================  ==========================  ==========================================

    Without a shift the first five are those of Kloos, Meertens, Scholtus and Karch (2020),
    tables 2 and 3 for their figures; the shift, and the last row (methods of survey sampling: the
    difference estimator), are ours. The expansions hold if both classes, true and predicted,
    have some ten audited records or more. `n_target` counts in classify and count only, as the
    target is taken to be much larger than the audit.

    References
    ----------
    Kloos, K., Meertens, Q., Scholtus, S. and Karch, J. (2020). Comparing correction methods to
    reduce misclassification bias. BNAIC/Benelearn 2020, proceedings, 103-129.

    Examples
    --------
    At an accuracy of 90 % in either class a true 10 % is published as 18 %:

    >>> errors = two_class_errors(0.1, 0.9, 0.9, n_audit=1000, n_target=300_000)
    >>> round(errors["classify and count"].expected, 4)
    0.18
    >>> min(errors.errors, key=lambda error: error.rmse).estimator
    'calibration'
    """
    a, a0 = share, share if audit_share is None else audit_share
    _check_plan(a, a0, p00, p11, n_audit, n_target)
    n, s = n_audit, p00 + p11
    c = _predicted(a, p00, p11)
    b = _predicted(a0, p00, p11)
    v0, v1 = p00 * (1 - p00), p11 * (1 - p11)
    e0, e1 = _mean_inverse(n, 1 - a0), _mean_inverse(n, a0)
    q11, q00 = a0 * p11 / b, (1 - a0) * p00 / (1 - b)
    wrong = a0 * (1 - p11) + (1 - a0) * (1 - p00)
    found = {
        "baseline": (a0 - a, a0 * (1 - a0) / n),
        "classify and count": (c - a, (a * v1 + (1 - a) * v0) / n_target),
        "subtracted-bias": (
            (1 - p00) * (2 - s) - a * (s - 2) ** 2,
            (1 - c) ** 2 * v0 * e0 + c**2 * v1 * e1,
        ),
        "misclassification": (
            (a * v1 / (n * a0) - (1 - a) * v0 / (n * (1 - a0))) / (s - 1) ** 2,
            ((1 - a) ** 2 * v0 * e0 + a**2 * v1 * e1) / (s - 1) ** 2,
        ),
        "calibration": (
            c * q11 + (1 - c) * (1 - q00) - a,
            c**2 * q11 * (1 - q11) * _mean_inverse(n, b)
            + (1 - c) ** 2 * q00 * (1 - q00) * _mean_inverse(n, 1 - b),
        ),
        "prediction-powered": ((a0 - a) * (2 - s), (wrong - (b - a0) ** 2) / n),
    }
    return TwoClassErrors(
        a, tuple(PlannedError(name, a + bias, bias, v) for name, (bias, v) in found.items())
    )


def prediction_powered_mean(
    y: ArrayLike,
    f: ArrayLike,
    f_target: ArrayLike,
    *,
    power_tuning: bool = False,
    confidence: float = 0.95,
) -> Estimate:
    """Estimate a mean from few true values and many predicted ones, as machine learning has it.

    For shares of codes, and for anything drawn with a design, use
    :func:`prediction_powered_estimator`. This one holds for two large, independent, simple random
    samples of one population, and serves to compare with publications.

    Parameters
    ----------
    y : array-like of shape (n,)
        The true values.
    f : array-like of shape (n,)
        The predicted values of the same units.
    f_target : array-like of shape (N,)
        The predicted values of other units, whose true values are not known.
    power_tuning : bool, default=False
        Whether to shrink the correction by the factor that makes the variance least.
    confidence : float, default=0.95
        The confidence of the interval.

    Returns
    -------
    Estimate
        The mean, with the interval of the normal distribution.

    Raises
    ------
    ValueError
        If lengths differ, there are fewer than two values, a value is missing or infinite, or the
        confidence is not between 0 and 1.
    TypeError
        If values are not numbers.

    Notes
    -----
    Mean of g f over the target plus mean of (y - g f) over the audit, with
    V = var(y - g f) / n + var(g f) / N, both with the divisors n and N; so for small samples the
    interval is a little too short. The factor g is 1, or, tuned, cov(y, f) / [(1 + n/N) var(f)]
    with the variance of both samples together (divisor n + N - 1), cut to [0, 1].

    References
    ----------
    Angelopoulos, A. N., Duchi, J. C. and Zrnic, T. (2023). PPI++: Efficient prediction-powered
    inference. arXiv:2311.01453. The package ppi-python 0.2.3 made the pinned results of the tests.

    Examples
    --------
    >>> found = prediction_powered_mean(
    ...     [1, 0, 1, 1, 0], [1, 0, 0, 1, 1], [1, 1, 0, 1, 0, 0, 1, 0, 1, 1]
    ... )
    >>> print(found)
    0.60 (standard error 0.32; 95 % interval -0.03 to 1.23)
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence}; allowed is a number between 0 and 1, as 0.95.")
    true, audited, others = (
        _numbers(values, name) for values, name in ((y, "y"), (f, "f"), (f_target, "f_target"))
    )
    check_lengths(y=len(true), f=len(audited))
    n, size = len(true), len(others)
    power = 1.0
    if power_tuning:
        spread = float(np.var(np.concatenate([audited, others]), ddof=1))
        together = float(np.mean((true - true.mean()) * (audited - audited.mean())))
        power = float(np.clip(together / (spread * (1 + n / size)), 0, 1)) if spread else 1.0
    rest = true - power * audited
    value = float(power * others.mean() + rest.mean())
    error = math.sqrt(rest.var() / n + power**2 * others.var() / size)
    margin = NormalDist().inv_cdf(0.5 + confidence / 2) * error
    return Estimate(
        value,
        error,
        value - margin,
        value + margin,
        confidence,
        math.inf,
        f"prediction-powered, power-tuning factor {power:.3g}",
        "valid for large independent simple random samples only",
    )


def _predicted(share: float, p00: float, p11: float) -> float:
    return (1 - share) * (1 - p00) + share * p11


def _mean_inverse(n: int, share: float) -> float:
    """Approximate the mean of 1 / (records of a class) over samples of n."""
    return 1 / (n * share) + (1 - share) / (n * share) ** 2


def _check_plan(a: float, a0: float, p00: float, p11: float, n: int, size: int) -> None:
    for name, value in (("share", a), ("audit_share", a0)):
        if not 0 < value < 1:
            raise ValueError(f"{name}={value}; allowed is a number between 0 and 1.")
    for name, value in (("p00", p00), ("p11", p11)):
        if not 0 <= value <= 1:
            raise ValueError(f"{name}={value}; allowed are 0 to 1.")
    if math.isclose(p00 + p11, 1):
        raise ValueError(
            f"p00={p00}, p11={p11}: their sum is 1, so that the predicted code says nothing about "
            "the true one, and nothing can be corrected."
        )
    for name, count in (("n_audit", n), ("n_target", size)):
        if count < 2:
            raise ValueError(f"{name}={count}; allowed are 2 or more.")


def _numbers(values: Any, name: str) -> NDArray[np.float64]:
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} needs numbers: {error}.") from error
    if numbers.ndim != 1 or len(numbers) < 2:
        raise ValueError(f"{name} has the shape {numbers.shape}; allowed is (n,), with n from 2.")
    if not np.isfinite(numbers).all():
        bad = int((~np.isfinite(numbers)).sum())
        raise ValueError(f"{name} has {bad:,} missing or infinite values. Leave these units out.")
    return numbers
