"""How many records must be checked before an accuracy can be certified."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mlkit._views import axes
from mlkit.coding._checks import as_code, fewest_records, require_share

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

# Beyond this nobody checks by hand, and the exact search would take long.
_MOST_RECORDS = 1_000_000

# Up to here every size is tried. Above, the saw of the exact power has fine teeth, and the
# search may begin a fifth below the normal approximation.
_SMALL = 5_000

# Fewer records in a stratum give no variance.
_FEWEST_PER_STRATUM = 2

_ALL = "all records"


@dataclass(frozen=True)
class PlannedTest:
    """One test of a plan.

    Attributes
    ----------
    expected : float
        The true agreement planned for.
    records : int
        The smallest number of records to check with which the test has the power.
    most_errors : int
        With so many errors, or fewer, the test passes.
    power : float
        The exact probability of that.
    confidence : float
        The confidence of the test, after sharing out.
    safe_records : int
        From this number on, every larger sample has the power too. Counts are whole, so power
        is a saw: some samples a little larger than `records` have less of it.
    """

    expected: float
    records: int
    most_errors: int
    power: float
    confidence: float
    safe_records: int


@dataclass(frozen=True)
class AuditPlan:
    """How many automatically coded records to check, and what that buys.

    Made by :func:`plan_audit_sample`.

    Attributes
    ----------
    target : float
        The agreement to certify.
    confidence : float
        The confidence of the certificate; of all of them at once, if there are several.
    power : float
        The probability asked for that a certificate is given, if the agreement is as expected.
    tests : mapping of str to PlannedTest
        The tests, by stratum; a single one if all records are tested together.
    allocation : mapping of str to int
        The records to check, by stratum.
    """

    target: float
    confidence: float
    power: float
    tests: Mapping[str, PlannedTest]
    allocation: Mapping[str, int]

    @property
    def records(self) -> int:
        """How many records to check in all."""
        return sum(self.allocation.values())

    def to_frame(self) -> pd.DataFrame:
        """Write the plan as a table.

        Returns
        -------
        DataFrame
            One row per stratum: `stratum`, `records` to check, and of the test it belongs to
            `expected`, `most_errors`, `power`, `confidence` and `safe_records`.
        """
        rows = []
        for stratum, records in self.allocation.items():
            test = self.tests.get(stratum) or self.tests[_ALL]
            seen = (test.expected, test.most_errors, test.power, test.confidence)
            rows.append((stratum, records, *seen, test.safe_records))
        columns = ["stratum", "records", "expected", "most_errors", "power", "confidence"]
        return pd.DataFrame(rows, columns=[*columns, "safe_records"]).astype({"stratum": "str"})

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the power of each test against the number of records.

        Parameters
        ----------
        ax : Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        Axes
            Where it was drawn.
        """
        from mlkit.style import GREY

        ax = axes(ax)
        for name, test in self.tests.items():
            sizes = np.unique(np.linspace(1, 1.2 * test.safe_records, 2_000).astype(int))
            powers = _power(sizes, test.expected, self.target, 1 - test.confidence)[0]
            label = f"{name}, if {test.expected:.4g} agree"
            (line,) = ax.plot(sizes, powers, linewidth=1, label=label)
            ax.plot([test.records], [test.power], "o", color=line.get_color())
        ax.axhline(self.power, color=GREY, linestyle="--", label="power asked for")
        ax.set_xlabel("records checked")
        ax.set_ylabel("probability of a certificate")
        ax.set_title(f"To certify an agreement of {self.target:.4g}")
        ax.legend()
        return ax

    def __repr__(self) -> str:
        strata = f" in {len(self.allocation):,} strata" if len(self.allocation) > 1 else ""
        return f"AuditPlan({self.records:,} records{strata}, to certify {self.target:.4g})"

    def _repr_html_(self) -> str:
        frame = self.to_frame()
        for column, form in {
            "records": "{:,}", "most_errors": "{:,}", "power": "{:.1%}", "expected": "{:.4g}",
            "confidence": "{:.4g}", "safe_records": "{:,}",
        }.items():  # fmt: skip
            frame[column] = frame[column].map(form.format)
        text = (
            f"Check {self.records:,} automatically coded records to certify an agreement of "
            f"{self.target:.4g}, with a confidence of {self.confidence:.4g} and a power of "
            f"{self.power:.4g}."
        )
        return f"<p>{html.escape(text)}</p>{frame.to_html(index=False, border=0)}"


def plan_audit_sample(
    expected: float | Mapping[Any, float],
    *,
    target: float = 0.95,
    confidence: float = 0.95,
    power: float = 0.80,
    counts: Mapping[Any, int] | None = None,
) -> AuditPlan:
    """Say how many automatically coded records to check, in order to certify a target.

    Parameters
    ----------
    expected : float, or mapping of stratum to float
        The true agreement that you expect; the closer to the target, the more records. With one
        per stratum (a code, or a band of confidences), each stratum gets a certificate of its
        own, and the error probability is shared out equally, unless `counts` are given.
    target : float, default=0.95
        The agreement to certify.
    confidence : float, default=0.95
        The confidence of the certificate, or of all certificates at once.
    power : float, default=0.80
        The probability of getting a certificate, if the agreement is as expected; for each
        certificate.
    counts : mapping of stratum to int, optional
        How many automatically coded records each stratum has. One certificate is then planned
        for all strata together, and the sample is allocated to them after Neyman [1]_: in
        proportion to ``count * sqrt(expected * (1 - expected))``, at least 2 each.

    Returns
    -------
    AuditPlan
        The sizes, the errors allowed, and the exact power.

    Raises
    ------
    ValueError
        If a share is not between 0 and 1, an expected agreement does not exceed the target, it
        exceeds it by so little that over a million records would be needed, or strata and
        counts do not match.

    Notes
    -----
    The size is the smallest n with an exact binomial power of at least `power`. The test passes
    when the one-sided lower bound of Clopper and Pearson reaches the target, as in
    :func:`certify_audit`. With samples from all records, clerical ones included, divide the size
    by the share that is coded automatically. In a weighted sample, multiply it by the design
    effect. For a pooled plan the power is that of a simple random sample, which Neyman's
    allocation does not fall below as long as the expected agreements are right.

    References
    ----------
    .. [1] Neyman, J. (1934). On the two different aspects of the representative method. Journal
       of the Royal Statistical Society 97(4).

    Examples
    --------
    >>> plan_audit_sample(0.98)
    AuditPlan(234 records, to certify 0.95)
    >>> plan_audit_sample(0.96)
    AuditPlan(2,698 records, to certify 0.95)
    >>> plan_audit_sample({"nurses": 0.99, "clerks": 0.98}).to_frame()[["stratum", "records"]]
      stratum  records
    0  nurses      142
    1  clerks      312
    """
    require_share("target", target)
    require_share("confidence", confidence)
    require_share("power", power)
    if not isinstance(expected, Mapping):
        if counts is not None:
            raise ValueError("counts are given by stratum; give expected by stratum too.")
        test = _plan_test(expected, target, 1 - confidence, power)
        return AuditPlan(target, confidence, power, {_ALL: test}, {_ALL: test.records})

    if not expected:
        raise ValueError("expected has no strata. Give at least one, or a single number.")
    by_stratum = {as_code(s): require_share(f"expected[{s!r}]", p) for s, p in expected.items()}
    if counts is not None:
        sizes = _read_counts(counts, by_stratum)
        shares = np.array(list(by_stratum.values()))
        test = _plan_test(float(np.average(shares, weights=sizes)), target, 1 - confidence, power)
        spread = sizes * np.sqrt(shares * (1 - shares))
        allocation = dict(zip(by_stratum, _allocate(test.records, spread, sizes), strict=True))
        return AuditPlan(target, confidence, power, {_ALL: test}, allocation)

    delta = (1 - confidence) / len(by_stratum)
    tests = {s: _plan_test(p, target, delta, power) for s, p in by_stratum.items()}
    return AuditPlan(target, confidence, power, tests, {s: t.records for s, t in tests.items()})


def _plan_test(expected: float, target: float, delta: float, power: float) -> PlannedTest:
    """Find the smallest sample with the power."""
    require_share("expected", expected)
    if expected <= target:
        raise ValueError(
            f"An expected agreement of {expected:.4g} does not exceed the target {target:.4g}, so "
            "no sample certifies it but by error. Code fewer records automatically, at a "
            "stricter threshold, or lower the target."
        )
    about = _normal_size(expected, target, delta, power)
    if about > _MOST_RECORDS:
        raise ValueError(
            f"An expected agreement of {expected:.6g} is so close to the target {target:.6g} that "
            f"about {about:,.0f} records would have to be checked. Choose a stricter threshold, "
            "or a lower target."
        )
    fewest = fewest_records(delta, target)
    first = fewest if about < _SMALL else max(fewest, int(0.8 * about))
    sizes = np.arange(first, int(1.5 * about) + 20 * fewest)
    powers, errors = _power(sizes, expected, target, delta)
    found = int(np.argmax(powers >= power))
    safe = len(sizes) - int(np.argmax(powers[::-1] < power)) if (powers < power).any() else 0
    return PlannedTest(
        expected=float(expected),
        records=int(sizes[found]),
        most_errors=int(errors[found]),
        power=float(powers[found]),
        confidence=1 - delta,
        safe_records=int(sizes[safe]),
    )


def _power(
    sizes: NDArray[np.int_], expected: float, target: float, delta: float
) -> tuple[NDArray[np.float64], NDArray[np.int_]]:
    """Find the exact power of samples, and the most errors with which they pass (-1: none)."""
    from scipy.stats import binom

    # The bound of Clopper and Pearson reaches the target just if so few errors, or fewer, have
    # at most the probability delta when the agreement is the target.
    errors = binom.ppf(delta, sizes, 1 - target).astype(int)
    errors -= binom.cdf(errors, sizes, 1 - target) > delta
    return binom.cdf(errors, sizes, 1 - expected), errors


def _normal_size(expected: float, target: float, delta: float, power: float) -> float:
    from scipy.stats import norm

    deviations = norm.isf(delta) * math.sqrt(target * (1 - target)) + norm.ppf(power) * math.sqrt(
        expected * (1 - expected)
    )
    return float((deviations / (expected - target)) ** 2)


def _read_counts(counts: Mapping[Any, int], strata: Mapping[str, float]) -> NDArray[np.float64]:
    sizes = {as_code(stratum): count for stratum, count in counts.items()}
    if sizes.keys() != strata.keys():
        unmatched = sorted(sizes.keys() ^ strata.keys())
        raise ValueError(
            f"expected and counts name different strata: {', '.join(map(repr, unmatched))}. Give "
            "both for each."
        )
    values = np.array([sizes[stratum] for stratum in strata], dtype=np.float64)
    if not np.isfinite(values).all() or (values < 1).any() or (values != np.floor(values)).any():
        raise ValueError("counts must be whole numbers of records from 1.")
    return values


def _allocate(total: int, spread: NDArray[np.float64], counts: NDArray[np.float64]) -> list[int]:
    """Allocate in proportion to the spread, at least 2 and at most all records of a stratum."""
    least = np.minimum(_FEWEST_PER_STRATUM, counts)
    sizes = least.copy()
    open_ = np.ones(len(spread), dtype=bool)
    while open_.any():
        wanted = (total - sizes[~open_].sum()) * spread / spread[open_].sum()
        sizes[open_] = np.clip(np.ceil(wanted), least, counts)[open_]
        full = open_ & (wanted >= counts)
        if not full.any():
            break
        open_ &= ~full  # what a full stratum cannot take goes to the others
    return [int(size) for size in sizes]
