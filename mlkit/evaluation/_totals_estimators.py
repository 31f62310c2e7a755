"""Estimators of class totals, and the variance of each.

Each estimator is smooth in two things: the weighted table of the audit (true by predicted code),
and the predicted shares of the target. So each says, in a `Fit`, its value, the influence of an
audited record of each cell, and its slope in the predicted shares; what variance that makes is
the same work for all, and :mod:`mlkit.estimate` does it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from mlkit.estimate import SIMPLE_RANDOM, AnyDesign, Design
from mlkit.evaluation._totals_inputs import FEWEST, Audit, Sample, Target, align, check_pair
from mlkit.evaluation._totals_result import ClassTotals

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]
    Places: TypeAlias = NDArray[np.intp]
    Mask: TypeAlias = NDArray[np.bool_]

JOIN = (
    "Audit more of them, or join codes: to_level(audit, target, classification, level) or "
    "collapse_rare(audit, target, classification)"
)
SMALL = (
    "the target, or a domain, has fewer than ten times as many units as were audited: what chance "
    "does in coding so few is not in the standard error"
)
_ROUNDING = 1e-12  # relative to a variance
BIAS = "the error of this estimator is bias, which no standard error shows"


def classify_and_count(target: Target, *, confidence: float = 0.95) -> ClassTotals:
    """Count the predicted codes as if they were true: what is published without an audit.

    Parameters
    ----------
    target : Target
        The predicted codes.
    confidence : float, default=0.95
        The confidence of the intervals.

    Returns
    -------
    ClassTotals
        The predicted shares. Without standard errors if every unit is coded: nothing was
        sampled, and the bias is not known.

    Raises
    ------
    TypeError
        If the target is no Target.
    ValueError
        If the confidence is not between 0 and 1.

    Notes
    -----
    Share of code k: c_k, the share of units with that predicted code. Its bias is P^T a - a, with
    a the true shares and P the misclassification matrix (true codes in rows).

    Examples
    --------
    A coder who is right in 90 % of either class turns a true 10 % into 18 %:

    >>> target = Target.from_counts({"no": 900 * 0.9 + 100 * 0.1, "yes": 900 * 0.1 + 100 * 0.9})
    >>> classify_and_count(target).estimate("yes").value
    0.18
    """
    if not isinstance(target, Target):
        raise TypeError(f"target is a {type(target).__name__}; give Target(...), which reads it.")
    _check_confidence(confidence)
    sizes = target.counts.sum(axis=1, keepdims=True)
    share = target.counts / sizes
    shape = share.shape
    variance = np.full((2, *shape), np.nan)
    df = np.full(shape, np.nan)
    notes = [BIAS]
    if target.sample is not None:
        notes.append(target.sample.design.note)
        for row in range(shape[0]):
            variance[:, row] = _target_variances(
                target, target.sample, row, np.arange(shape[1]), np.eye(shape[1]), share[row]
            )
            df[row] = _df(target.sample.design, _inside(target.sample.domain, row))
    return ClassTotals(
        "classify and count",
        "every unit of the target is coded; no audit"
        if target.design is None
        else "the target is a sample; no audit",
        "errors of coding cancel: each code gains as many units by error as it loses",
        "none: nothing was sampled" if target.design is None else "of the sampling of the target",
        target.codes,
        target.domains,
        share,
        np.sqrt(variance[0]),
        target.counts,
        np.sqrt(variance[1]),
        df,
        confidence,
        0,
        math.nan,
        math.nan,
        _joined(notes),
    )


def misclassification_estimator(
    audit: Audit, target: Target, *, confidence: float = 0.95
) -> ClassTotals:
    """Correct predicted shares by the inverse of the misclassification matrix.

    The one that survives a shift of shares, at a price in variance.

    Parameters
    ----------
    audit : Audit
        Records with true and predicted code.
    target : Target
        The predicted codes of the population, or of a sample of it.
    confidence : float, default=0.95
        The confidence of the intervals.

    Returns
    -------
    ClassTotals
        Shares and totals, with the condition number of the matrix.

    Raises
    ------
    ValueError
        If a code has fewer than two audited records, if the matrix cannot be told from one
        without inverse, if the audit cannot have been drawn from the target, or the confidence
        is not between 0 and 1.
    TypeError
        If codes of audit and target are of mixed types.

    Notes
    -----
    Shares a = (P^T)^-1 c, with P_ij = P(predicted j | true i) from the audit and c the predicted
    shares. With B = P^-1, an audited record of true code i and predicted code j has on share k
    the influence a_i / W_i (1[i = k] - B_jk), where W_i is the weight of true code i.

    The matrix is refused where its smallest singular value is not above the error with which the
    audit knows it. That is at least the root of the largest row or column sum of
    v_ij = P_ij (1 - P_ij) / n_i, with n_i Kish's effective number of records of true code i. The
    rule is ours. In simulations with 4 to 150 codes the absolute errors of the shares summed to
    as much as 9 below that limit, and to .1 at most above it, where intervals covered.

    See Also
    --------
    two_class_errors : Its bias and variance before there is an audit.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame([[720, 80], [20, 180]], index=[0, 1], columns=[0, 1])
    >>> audit = Audit.from_counts(table, drawn_from="elsewhere")
    >>> target = Target.from_counts({0: 660, 1: 340})
    >>> round(misclassification_estimator(audit, target).estimate(1).value, 4)
    0.3
    """
    return _run(_MISCLASSIFICATION, audit, target, confidence)


def calibration_estimator(audit: Audit, target: Target, *, confidence: float = 0.95) -> ClassTotals:
    """Give each predicted code the true codes that audited records with it have.

    The most accurate one where the audit is a sample of the target. Called "calibration
    estimator" in the literature on misclassification; also post-stratification, or the
    regression estimator on dummies of the predicted codes. It has to do with neither calibrated
    probabilities nor calibrated weights.

    Parameters
    ----------
    audit : Audit
        Records with true and predicted code.
    target : Target
        The predicted codes of the population, or of a sample of it.
    confidence : float, default=0.95
        The confidence of the intervals.

    Returns
    -------
    ClassTotals
        Shares and totals.

    Raises
    ------
    ValueError
        If a code has fewer than two audited records, true or (if the target has it) predicted,
        if the audit cannot have been drawn from the target, or the confidence is not between 0
        and 1.
    TypeError
        If codes of audit and target are of mixed types.

    Notes
    -----
    Share of code k: sum over h of c_h q_hk, with q_hk = P(true k | predicted h) from the audit.
    For a simple random audit the variance is the one conditional on how many audited records
    have each predicted code, V_k = sum over h of c_h^2 (1 - f_h) q_hk (1 - q_hk) / (n_h - 1),
    with f_h the audited part of the units with predicted code h, 0 if the audit comes from
    elsewhere. Under a design it is linearised, with influence c_h / W_h (1[true k] - q_hk).

    See Also
    --------
    two_class_errors : The unconditional variance, for planning.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame([[720, 80], [20, 180]], index=[0, 1], columns=[0, 1])
    >>> audit = Audit.from_counts(table, drawn_from="target")
    >>> target = Target.from_counts({0: 74_000, 1: 26_000})
    >>> print(calibration_estimator(audit, target).estimate(1))
    0.2000 (standard error 0.0086; 95 % interval 0.1831 to 0.2169)
    """
    return _run(_CALIBRATION, audit, target, confidence)


def subtracted_bias_estimator(
    audit: Audit, target: Target, *, confidence: float = 0.95
) -> ClassTotals:
    """Subtract the bias that predicted shares would have if they were the true ones.

    A first step of the misclassification estimator, which needs no inverse. Some bias remains.

    Parameters
    ----------
    audit : Audit
        Records with true and predicted code.
    target : Target
        The predicted codes of the population, or of a sample of it.
    confidence : float, default=0.95
        The confidence of the intervals.

    Returns
    -------
    ClassTotals
        Shares and totals.

    Raises
    ------
    ValueError
        If a code has fewer than two audited records, if the audit cannot have been drawn from
        the target, or the confidence is not between 0 and 1.
    TypeError
        If codes of audit and target are of mixed types.

    Notes
    -----
    Shares 2c - P^T c, with P_ij = P(predicted j | true i) from the audit. With a the true shares
    the bias is -(I - P^T)^2 a. An audited record of true code i and predicted code j has on
    share k the influence -c_i / W_i (1[j = k] - P_ik).

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame([[720, 80], [20, 180]], index=[0, 1], columns=[0, 1])
    >>> audit = Audit.from_counts(table, drawn_from="elsewhere")
    >>> target = Target.from_counts({0: 660, 1: 340})
    >>> round(subtracted_bias_estimator(audit, target).estimate(1).value, 4)
    0.308
    """
    return _run(_SUBTRACTED, audit, target, confidence)


def prediction_powered_estimator(
    audit: Audit, target: Target, *, power_tuning: bool = False, confidence: float = 0.95
) -> ClassTotals:
    """Add to the predicted shares the mean error that the audit finds.

    The difference estimator of survey sampling, known in machine learning as prediction-powered
    inference. Which of its three forms applies follows from audit and target.

    Parameters
    ----------
    audit : Audit
        Records with true and predicted code.
    target : Target
        The predicted codes of the population, or of a sample of it.
    power_tuning : bool, default=False
        Whether to shrink the correction by the factor, one for all codes, that makes the sum of
        the variances least: 1 is the whole correction, 0 the shares of the audit alone.
    confidence : float, default=0.95
        The confidence of the intervals.

    Returns
    -------
    ClassTotals
        Shares and totals, with the factor.

    Raises
    ------
    ValueError
        If a code has fewer than two audited records, if the audit cannot have been drawn from
        the target, if the target has domains and the audit has not, or the confidence is not
        between 0 and 1.
    TypeError
        If codes of audit and target are of mixed types.

    Notes
    -----
    For each code, y says whether it is the true one and f whether it is the predicted one; s is
    the audit of n records with design weights d.

    1. *Every unit of a finite target is coded, and the audit is drawn from it:* share
       [sum over U of f + sum over s of d (y - f)] / N, with the design variance of the second
       sum only.
    2. *The target is a sample of N units, and the audit a part of it (two phases):* the same
       share, V = S_y^2 / N + (1/n - 1/N) S_(y-f)^2 for simple random samples. If the target has
       strata, primary units or unequal weights, the audit says in `rows` where its records stand,
       and both phases are linearised together under the design of the target.
    3. *Audit and target are independent samples:* share c + mean of (y - f),
       V = S_(y-f)^2 / n + S_f^2 / N. If the audit comes from elsewhere and every unit of the
       target is coded, the second term is 0.

    With the factor g of power tuning the share is g times that plus (1 - g) times the share in
    the audit. Factors that differ between codes would give shares that do not sum to 1.

    See Also
    --------
    prediction_powered_mean : The same for the mean of any number, as machine learning has it.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame([[720, 80], [20, 180]], index=[0, 1], columns=[0, 1])
    >>> audit = Audit.from_counts(table, drawn_from="elsewhere")
    >>> target = Target.from_counts({0: 660, 1: 340})
    >>> round(prediction_powered_estimator(audit, target).estimate(1).value, 4)
    0.28
    """
    check_pair(audit, target)
    if target.domains and not audit.domains:
        raise ValueError(
            "The target has domains, but the audit has none: the mean error of the whole audit "
            "says little about a domain with other shares. Give the audit its domains, or use the "
            "calibration or misclassification estimator."
        )
    return _run(_PREDICTION_POWERED, audit, target, confidence, power_tuning=power_tuning)


# --- one domain ------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Piece:
    """What is known about one domain, in the codes that occur in it.

    `true` and `predicted` are those of the audited records `rows`; a target of `units` has the
    predicted shares `share`.
    """

    codes: Places  # of the domain, as places among all codes
    rows: Places
    true: Places
    predicted: Places
    weights: Floats
    share: Floats
    units: float
    records: Floats  # of the target, per code; they are its counts if every unit is coded
    pool: Floats  # the same of that part of the target that the audited records are a sample of
    drawn: bool  # whether the audit was drawn from the target
    synthetic: bool  # whether the audited records are those of all domains

    @property
    def size(self) -> int:
        return len(self.codes)

    def table(self) -> Floats:
        """Sum the weights of the audited records by true and predicted code."""
        cells = np.bincount(
            self.true * self.size + self.predicted, self.weights, self.size * self.size
        )
        return np.asarray(cells, dtype=np.float64).reshape(self.size, self.size)


@dataclass(frozen=True, eq=False)
class Fit:
    """An estimate of shares, linearised.

    `slope[h, k]` is the change of share k per predicted share h. `influence` takes true and
    predicted codes, and gives the influence of such an audited record on each share, without
    its weight.
    """

    share: Floats
    slope: Floats
    influence: Callable[[Places, Places], Floats]
    condition: float = math.nan


@dataclass(frozen=True)
class Method:
    name: str
    fit: Callable[[Piece, float], Fit]  # the number is the power-tuning factor
    given: Literal["true", "predicted", None]  # on which counts of the audit it is conditional
    stable: str
    remark: str = ""


def _fit_calibration(piece: Piece, _: float) -> Fit:
    table, c = piece.table(), piece.share
    column = table.sum(axis=0)
    # A predicted code that the target has not may be missing in the audit; it counts for nothing.
    q = np.divide(table, column, out=np.zeros_like(table), where=column > 0).T
    weight = np.divide(c, column, out=np.zeros_like(c), where=column > 0)
    unit = np.eye(piece.size)
    return Fit(
        c @ q, q, lambda true, predicted: weight[predicted, None] * (unit[true] - q[predicted])
    )


def _fit_misclassification(piece: Piece, _: float) -> Fit:
    p, row = _misclassification_matrix(piece)
    condition = _refuse_noise(p, piece)
    inverse: Floats = np.asarray(np.linalg.inv(p), dtype=np.float64)
    share = piece.share @ inverse
    unit = np.eye(piece.size)
    return Fit(
        share,
        inverse,
        lambda true, predicted: (share / row)[true, None] * (unit[true] - inverse[predicted]),
        condition,
    )


def _fit_subtracted(piece: Piece, _: float) -> Fit:
    p, row = _misclassification_matrix(piece)
    c = piece.share
    unit: Floats = np.eye(piece.size)
    slope: Floats = 2 * unit - p
    return Fit(
        2 * c - c @ p,
        slope,
        lambda true, predicted: -(c / row)[true, None] * (unit[predicted] - p[true]),
    )


def _fit_prediction_powered(piece: Piece, power: float) -> Fit:
    table, c = piece.table(), piece.share
    unit: Floats = np.eye(piece.size)
    stand_for = float(piece.weights.sum())
    y, f = table.sum(axis=1) / stand_for, table.sum(axis=0) / stand_for
    # A sample of the target knows how many units the target has; another one knows a mean only.
    units = piece.units if piece.drawn else stand_for
    error = stand_for * (y - f) / units
    centre = np.zeros_like(y) if piece.drawn else y - f

    def influence(true: Places, predicted: Places) -> Floats:
        corrected: Floats = (unit[true] - unit[predicted] - centre) / units
        alone: Floats = (unit[true] - y) / stand_for
        return power * corrected + (1 - power) * alone

    return Fit(power * (c + error) + (1 - power) * y, power * unit, influence)


_CALIBRATION = Method(
    "calibration estimator",
    _fit_calibration,
    "predicted",
    "P(true code | predicted code) is the same in audit and target, so the shares must not have "
    "shifted between them",
)
_MISCLASSIFICATION = Method(
    "misclassification estimator",
    _fit_misclassification,
    "true",
    "P(predicted code | true code) is the same in audit and target; the true shares may shift",
)
_SUBTRACTED = Method(
    "subtracted-bias estimator",
    _fit_subtracted,
    "true",
    "P(predicted code | true code) is the same in audit and target; the true shares may shift",
    "a bias of second order remains, -(I - P^T)^2 a, which no standard error shows",
)
_PREDICTION_POWERED = Method(
    "prediction-powered estimator",
    _fit_prediction_powered,
    None,
    "the mean error of coding, true minus predicted, is the same in audit and target, so the "
    "shares must not have shifted between them",
)


def _misclassification_matrix(piece: Piece) -> tuple[Floats, Floats]:
    table = piece.table()
    row = table.sum(axis=1)
    return table / row[:, None], row


def _refuse_noise(p: Floats, piece: Piece) -> float:
    """Refuse a matrix that cannot be told from one without inverse; else give its condition."""
    singular = np.linalg.svd(p, compute_uv=False)
    squares = np.bincount(piece.true, piece.weights**2, piece.size)
    known = (
        p * (1 - p) * (squares / np.bincount(piece.true, piece.weights, piece.size) ** 2)[:, None]
    )
    error = math.sqrt(max(known.sum(axis=1).max(), known.sum(axis=0).max()))
    rank = int((singular > singular[0] * piece.size * np.finfo(float).eps).sum())
    if rank == piece.size and singular[-1] > error:
        return float(singular[0] / singular[-1])
    condition = f"{singular[0] / singular[-1]:.3g}" if rank == piece.size else "infinite"
    never = int((p.sum(axis=0) == 0).sum())
    raise ValueError(
        f"The misclassification matrix of {piece.size:,} codes cannot be inverted with "
        f"{len(piece.true):,} audited records: its rank is {rank:,}, its condition number "
        f"{condition}; its smallest singular value is {singular[-1]:.2g}, and the audit knows it "
        f"to about {error:.2g} only, so that the result would be noise. "
        + (f"{never:,} codes are never predicted in the audit. " if never else "")
        + f"{JOIN}; or use the calibration estimator, if the audit is of the same population and "
        "period."
    )


# --- all domains -----------------------------------------------------------------------------


def _run(
    method: Method, audit: Audit, target: Target, confidence: float, *, power_tuning: bool = False
) -> ClassTotals:
    _check_confidence(confidence)
    audit, target = align(audit, target)
    shape = target.counts.shape
    share, total = np.zeros(shape), np.zeros(shape)
    # A code that neither audit nor target saw in a domain has the share 0, without an error.
    share_variance, total_variance, df = (np.full(shape, np.nan) for _ in range(3))
    conditions, powers = [math.nan], []
    for row, piece in _pieces(audit, target):
        _refuse_rare(method, piece, audit, target, row)
        power = _best_power(method, audit, target, row, piece) if power_tuning else 1.0
        fit = method.fit(piece, power)
        at = row, piece.codes
        share[at], total[at] = fit.share, piece.units * fit.share
        share_variance[at], total_variance[at], df[at] = _variances(
            method, audit, target, row, piece, fit
        )
        conditions.append(fit.condition)
        powers.append(power)
    one_power = method is _PREDICTION_POWERED and len(set(powers)) == 1
    result = ClassTotals(
        method.name,
        _situation(audit, target),
        _assumption(method, audit, target),
        _variance_name(method, audit, target),
        audit.codes,
        target.domains,
        share,
        np.sqrt(share_variance),
        total,
        np.sqrt(total_variance),
        df,
        confidence,
        len(audit),
        float(np.fmax.reduce(conditions)),
        powers[0] if one_power else math.nan,
        "",
    )
    return replace(result, note=_joined([method.remark, *_notes(result, audit, target)]))


def _pieces(audit: Audit, target: Target) -> Iterator[tuple[int, Piece]]:
    """Cut audit and target into domains, and drop the codes that a domain has not."""
    weights = None if audit.design is None else audit.design.weights
    for row, counts in enumerate(target.counts):
        inside = np.arange(len(audit))
        if audit.domain is not None:
            inside = np.flatnonzero(audit.domain == row)
        if weights is not None:
            inside = inside[weights[inside] > 0]
        units = float(counts.sum())
        true, predicted = audit.true[inside], audit.predicted[inside]
        there = counts > 0
        there[true] = there[predicted] = True
        codes = np.flatnonzero(there)
        place = np.cumsum(there) - 1
        synthetic = bool(target.domains) and audit.domain is None
        pool = target.records.sum(axis=0) if synthetic else target.records[row]
        yield (
            row,
            Piece(
                codes,
                inside,
                place[true],
                place[predicted],
                _simple_weights(audit, target, inside, units)
                if weights is None
                else weights[inside],
                counts[codes] / units,
                units,
                target.records[row, codes],
                pool[codes],
                audit.drawn_from == "target",
                synthetic,
            ),
        )


def _simple_weights(audit: Audit, target: Target, inside: Places, units: float) -> Floats:
    """Weight the records of a simple random audit so that they stand for the units, if they can."""
    weights = np.ones(len(inside))
    if audit.drawn_from == "target" and target.design is not None and audit.rows is not None:
        weights = target.design.weights[audit.rows[inside]]
    return weights * units / weights.sum() if audit.drawn_from == "target" else weights


def _refuse_rare(method: Method, piece: Piece, audit: Audit, target: Target, row: int) -> None:
    """Refuse codes about which the audit says next to nothing."""
    where = f" in the domain {target.domains[row]!r}" if target.domains else ""
    sides = [("true", piece.true, np.ones(piece.size, dtype=bool))]
    if method.given == "predicted":
        sides.append(("predicted", piece.predicted, piece.share > 0))
    for side, codes, needed in sides:
        found = np.bincount(codes, minlength=piece.size)
        rare = np.flatnonzero(needed & (found < FEWEST))
        if len(rare):
            named = ", ".join(f"{audit.codes[piece.codes[k]]!r} ({found[k]})" for k in rare[:5])
            named += f" and {len(rare) - 5:,} more" if len(rare) > 5 else ""
            raise ValueError(
                f"{len(rare):,} of {piece.size:,} codes{where} are the {side} code of fewer than "
                f"{FEWEST} audited records: {named}. {JOIN}."
            )


def _best_power(method: Method, audit: Audit, target: Target, row: int, piece: Piece) -> float:
    """Find the factor with the least sum of variances, which is a parabola in the factor."""
    at = [
        float(_variances(method, audit, target, row, piece, method.fit(piece, power))[0].sum())
        for power in (0.0, 0.5, 1.0)
    ]
    bend = 2 * (at[0] - 2 * at[1] + at[2])
    if bend <= _ROUNDING * at[0]:  # the predicted codes do not vary
        return 1.0
    return float(np.clip((3 * at[0] - 4 * at[1] + at[2]) / (2 * bend), 0, 1))


def _variances(
    method: Method, audit: Audit, target: Target, row: int, piece: Piece, fit: Fit
) -> tuple[Floats, Floats, Floats]:
    """Give the variances of shares and of totals, and degrees of freedom, of one domain."""
    sample = target.sample
    if sample is not None and piece.drawn and audit.rows is not None:
        return _linked_variances(audit, audit.rows, target, sample, row, piece, fit)
    of_audit, df = _audit_variances(method, audit, piece, fit)
    if sample is None:
        return of_audit, piece.units**2 * of_audit, np.full(piece.size, float(df))
    slope, extra = fit.slope, np.zeros(piece.size)
    if piece.drawn:
        slope, extra = _second_phase(target, sample, row, piece, fit)
    in_share, in_total = _target_variances(target, sample, row, piece.codes, slope, fit.share)
    in_share, in_total = in_share + extra, in_total + piece.units**2 * extra
    # Welch and Satterthwaite
    own = _df(sample.design, _inside(sample.domain, row))
    both = of_audit + in_share
    with np.errstate(invalid="ignore"):
        joint = both**2 / (of_audit**2 / df + in_share**2 / own)
    return both, piece.units**2 * of_audit + in_total, np.where(both > 0, joint, float(df))


def _linked_variances(
    audit: Audit,
    rows: Places,
    target: Target,
    sample: Sample,
    row: int,
    piece: Piece,
    fit: Fit,
) -> tuple[Floats, Floats, Floats]:
    """Give variances over both phases at once, where the audited units are known in the target.

    Every unit of the sampled target moves a share by its predicted code, the audited ones also by
    their true code. The design of the target then sees all that varies between primary units.
    """
    influence = fit.influence(piece.true, piece.predicted)
    if audit.design is None:  # a fixed number was audited, so that their mean moves nothing
        influence = influence - np.average(influence, axis=0, weights=piece.weights)
    own = rows[piece.rows]
    factor = piece.weights / sample.design.weights[own]
    variances = _target_variances(
        target, sample, row, piece.codes, fit.slope, fit.share, (own, factor[:, None] * influence)
    )
    df = _df(sample.design, _inside(sample.domain, row))
    return variances[0], variances[1], np.full(piece.size, float(df))


def _audit_variances(method: Method, audit: Audit, piece: Piece, fit: Fit) -> tuple[Floats, int]:
    """Give the part of the variance that comes from drawing the audit."""
    cells, cell = np.unique(piece.true * piece.size + piece.predicted, return_inverse=True)
    influence = fit.influence(*np.divmod(cells, piece.size))
    if audit.design is not None:
        moved = np.zeros(len(audit))
        variances = np.empty(piece.size)
        for k in range(piece.size):
            moved[piece.rows] = influence[cell, k]
            variances[k] = audit.design.variance(moved)
        inside = np.zeros(len(audit), dtype=bool)
        inside[piece.rows] = True
        return variances, _df(audit.design, None if inside.all() else inside)
    design, kept = _conditional_design(method, piece)
    return np.array(
        [design.variance(influence[cell[kept], k]) for k in range(piece.size)]
    ), design.df


def _conditional_design(method: Method, piece: Piece) -> tuple[Design, Mask]:
    """Describe a simple random audit, given how many records it has of each code."""
    kept = np.ones(len(piece.true), dtype=bool)
    strata = np.zeros(len(piece.true), dtype=np.intp)
    if method.given == "true":
        strata = piece.true
    elif method.given == "predicted":
        strata = piece.predicted
        kept = piece.share[strata] > 0  # the others move nothing
    if not piece.drawn:
        return Design(piece.weights[kept], strata=strata[kept]), kept
    if method.given == "predicted":
        part = np.bincount(strata, minlength=piece.size)[strata] / piece.pool[strata]
    else:
        part = np.full(len(strata), len(strata) / piece.pool.sum())
    return Design(piece.weights[kept], strata=strata[kept], fpc=part[kept]), kept


def _target_variances(
    target: Target,
    sample: Sample,
    row: int,
    codes: Places,
    slope: Floats,
    share: Floats,
    audited: tuple[Places, Floats] | None = None,
) -> Floats:
    """Give the variances of shares and totals that come from drawing the target.

    Both have the shape (K,), stacked. `audited` are units that move the shares by more than their
    predicted code, and by how much.
    """
    inside = _inside(sample.domain, row)
    rows = np.arange(len(sample.predicted)) if inside is None else np.flatnonzero(inside)
    place = np.full(len(target.codes), -1, dtype=np.intp)
    place[codes] = np.arange(len(codes))
    predicted = place[sample.predicted[rows]]
    counts = target.counts[row, codes]
    units = counts.sum()
    centred = slope - counts @ slope / units
    variances = np.empty((2, len(codes)))
    for k in range(len(codes)):
        moved = np.zeros(len(sample.predicted))
        moved[rows] = centred[predicted, k] / units
        if audited is not None:
            moved[audited[0]] += audited[1][:, k]
        variances[0, k] = sample.design.variance(moved)
        moved *= units
        moved[rows] += share[k]
        variances[1, k] = sample.design.variance(moved)
    return variances


def _second_phase(
    target: Target, sample: Sample, row: int, piece: Piece, fit: Fit
) -> tuple[Floats, Floats]:
    """Say how true codes vary in a target that is a simple random sample.

    Its true shares would have the variance S_y^2 / N, with a finite population correction. The
    design gives S_f^2 / N for the predicted codes, so their influence is scaled by S_y / S_f.
    Codes that are never predicted get the correction of the others.
    """
    sampled = float(piece.records.sum())
    true = piece.table().sum(axis=1) / piece.weights.sum()
    if piece.synthetic:  # the audit does not show the true shares of the domain
        true = fit.share.clip(0, 1)
    n = len(piece.true)
    spread_true = true * (1 - true) * n / (n - 1)
    spread_predicted = piece.share * (1 - piece.share) * sampled / (sampled - 1)
    never = spread_predicted == 0
    ratio = np.divide(spread_true, spread_predicted, out=np.zeros_like(spread_true), where=~never)
    extra = np.zeros(piece.size)
    if never.any():
        unit: Floats = np.eye(piece.size)
        by_design = _target_variances(target, sample, row, piece.codes, unit, piece.share)[0]
        simple = spread_predicted / sampled
        correction = by_design.sum() / simple.sum() if simple.any() else 1.0
        extra[never] = correction * spread_true[never] / sampled
    return np.diag(np.sqrt(ratio)), extra


def _df(design: AnyDesign, inside: Mask | None) -> int:
    return design.df if inside is None else design.df_in(inside)


def _inside(domain: Places | None, row: int) -> Mask | None:
    return None if domain is None else domain == row


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence}; allowed is a number between 0 and 1, as 0.95.")


# --- words -----------------------------------------------------------------------------------


def _situation(audit: Audit, target: Target) -> str:
    if audit.drawn_from == "target":
        return (
            "the audit was drawn from the target, every unit of which is coded"
            if target.design is None
            else "the audit was drawn from the target, which is a sample itself (two phases)"
        )
    return (
        "the audit was drawn elsewhere; every unit of the target is coded"
        if target.design is None
        else "the audit was drawn elsewhere; the target is an independent sample"
    )


def _assumption(method: Method, audit: Audit, target: Target) -> str:
    synthetic = bool(target.domains) and not audit.domains
    if audit.drawn_from == "target" and not synthetic:
        return "the audit is a probability sample of the target; nothing else need be stable"
    where = " (of every domain)" if synthetic else ""
    return method.stable.replace("audit and target", f"audit and target{where}")


def _variance_name(method: Method, audit: Audit, target: Target) -> str:
    if audit.drawn_from == "target" and target.design is not None and audit.rows is not None:
        return "linearised over both phases, under the design of the target"
    if audit.design is not None:
        name = "linearised, under the design of the audit"
    elif method.given is None:
        name = "of a simple random audit"
    else:
        name = (
            f"conditional on how many audited records have each {method.given} code, of a simple "
            "random audit"
        )
    return name if target.design is None else f"{name}; and of the sampling of the target"


def _notes(result: ClassTotals, audit: Audit, target: Target) -> Iterator[str]:
    yield SIMPLE_RANDOM if audit.design is None else audit.design.note
    if target.design is not None:
        yield target.design.note
    elif audit.drawn_from == "elsewhere" and target.counts.sum(axis=1).min() < 10 * len(audit):
        yield SMALL
    if result.outside:
        yield (
            "shares outside [0, 1], which a larger audit or fewer codes would mend: "
            f"{_named(result.outside)}"
        )
    still = (result.standard_error == 0).any(axis=0)
    if still.any() and not _complete(audit, target):
        codes = tuple(result.codes[place] for place in np.flatnonzero(still))
        yield (
            "the audit shows no variation, so do not believe the standard error of 0, of: "
            f"{_named(codes)}"
        )


def _complete(audit: Audit, target: Target) -> bool:
    return audit.drawn_from == "target" and len(audit) == target.records.sum()


def _named(codes: tuple[object, ...]) -> str:
    more = f" and {len(codes) - 10:,} more" if len(codes) > 10 else ""
    return ", ".join(str(code) for code in codes[:10]) + more


def _joined(notes: list[str]) -> str:
    return "; ".join(dict.fromkeys(note for note in notes if note))
