"""Certificates: what is guaranteed about a threshold, and the path that led to it."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mlkit._views import axes
from mlkit.coding._checks import as_codes, as_confidences, require_share

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Scope:
    """What a certificate is about. Without this a number is no certificate.

    Parameters
    ----------
    population : str
        Such as "answers to the labour force survey".
    period : str
        Such as "2024". A certificate says nothing about later periods.
    unit : str
        What is counted, in the plural: "records" when every record counts the same, "persons"
        when records carry design weights.
    gold_standard : str
        The code that counts as right, as it reads after "agree with": "the arbitrated code".
    gold_error : float, optional
        The share of records in which the gold standard itself is wrong, if that is known.

    Raises
    ------
    ValueError
        If a text is empty, or `gold_error` is no share.

    Examples
    --------
    >>> Scope("answers to the labour force survey", "2024", "records", "the arbitrated code")
    ... # doctest: +NORMALIZE_WHITESPACE
    Scope(population='answers to the labour force survey', period='2024', unit='records',
          gold_standard='the arbitrated code', gold_error=None)
    """

    population: str
    period: str
    unit: str
    gold_standard: str
    gold_error: float | None = None

    def __post_init__(self) -> None:
        for name in ("population", "period", "unit", "gold_standard"):
            text = getattr(self, name)
            if not isinstance(text, str) or not text.strip():
                raise ValueError(
                    f"{name}={text!r}; a certificate must name it. Give a text, such as "
                    "'the arbitrated code' for the gold standard."
                )
        if self.gold_error is not None and self.gold_error != 0:
            require_share("gold_error", self.gold_error)


@dataclass(frozen=True)
class Step:
    """One test of a walk.

    Attributes
    ----------
    start : int
        The walk it belongs to, counted from 1.
    threshold : float or None
        Records with at least this confidence were tested; None for thresholds by code.
    automatic : int
        How many records of the sample that were.
    share : float
        Their share of the sample, weighted if the sample is.
    agreement : float
        How many of them agree with the gold standard, as a share; NaN if there are none.
    bound : float
        One-sided lower bound of the agreement in the population; 0 if there are no records.
    """

    start: int
    threshold: float | None
    automatic: int
    share: float
    agreement: float
    bound: float


@dataclass(frozen=True)
class Certificate:
    """A threshold, what is guaranteed about it, and the path that led to it.

    Made by :func:`certify_thresholds` and :func:`certify_audit`. One whose path is not that of a
    fixed-sequence test cannot be made: a threshold that was found by scanning is refused.

    Attributes
    ----------
    threshold : float, mapping of code to float, or None
        Records with at least this confidence may be coded automatically; None if nothing is
        certified.
    target : float
        The agreement that is guaranteed.
    confidence : float
        The confidence of the guarantee: in so many of all samples it is true.
    scope : Scope
        Population, period, unit and gold standard.
    procedure : str
        How the threshold was found.
    grid : tuple of float
        The thresholds that were fixed beforehand, from strict to loose.
    starts : tuple of int
        The places in the grid where walks began.
    test_confidence : float
        The confidence of every single test, after sharing out.
    path : tuple of Step
        Every test that was made, in order.
    records : int
        The size of the certification sample.
    method : str
        The bound that was used.
    reason : str
        Why the path ended where it did.
    """

    threshold: float | Mapping[str, float] | None
    target: float
    confidence: float
    scope: Scope
    procedure: str
    grid: tuple[float, ...]
    starts: tuple[int, ...]
    test_confidence: float
    path: tuple[Step, ...]
    records: int
    method: str
    reason: str

    def __post_init__(self) -> None:
        fault = self._fault()
        if fault:
            raise ValueError(f"This is no certificate. {fault}")

    @property
    def certified(self) -> bool:
        """Whether a threshold is certified."""
        return self.threshold is not None

    @property
    def last_pass(self) -> Step | None:
        """The test that the certificate rests on."""
        passed = [step for step in self.path if step.bound >= self.target]
        return min(passed, key=looseness, default=None)

    @property
    def share(self) -> float:
        """The share of the sample that is coded automatically; 0 if nothing is certified."""
        return self.last_pass.share if self.last_pass else 0.0

    @property
    def floor(self) -> float | None:
        """The true accuracy that remains when the gold standard's own error is taken off.

        None if the gold standard's error is not known, or nothing is certified.
        """
        if self.scope.gold_error is None or not self.certified:
            return None
        return max(0.0, self.target - self.scope.gold_error)

    @property
    def band(self) -> tuple[float, float] | None:
        """Where the true accuracy may lie, given the observed agreement and the gold's error.

        A gold standard that errs in a share e of the records can hide, or invent, a share e of
        errors. None as for :attr:`floor`. It holds no sampling error.
        """
        if self.scope.gold_error is None or self.last_pass is None:
            return None
        seen, error = self.last_pass.agreement, self.scope.gold_error
        return max(0.0, seen - error), min(1.0, seen + error)

    @property
    def statement(self) -> str:
        """The certificate in words."""
        scope = self.scope
        about = f"Population: {scope.population}. Period: {scope.period}. Unit: {scope.unit}."
        if not self.certified:
            return f"Nothing is certified: {self.reason} {about} Send every record to a clerk."
        if isinstance(self.threshold, Mapping):
            rule = "Records that reach the threshold of their code"
        else:
            rule = f"Records with a confidence of at least {self.threshold:.4g}"
        return (
            f"{rule} may be coded automatically. With {percent(self.confidence)} confidence, at "
            f"least {percent(self.target)} of these {scope.unit} agree with "
            f"{scope.gold_standard}. {about} {self._about_gold()}"
        )

    def automatic(self, scores: ArrayLike, codes: Any = None) -> NDArray[np.bool_]:
        """Say which records may be coded automatically.

        Parameters
        ----------
        scores : array-like of shape (n,) or (n, k)
            Their confidences.
        codes : array-like of shape (n,), optional
            Their predicted codes, for a certificate with a threshold by code. A code that has
            none goes to a clerk.

        Returns
        -------
        ndarray of bool
            True for the records that may be coded automatically; nowhere if nothing is
            certified.

        Raises
        ------
        ValueError
            If scores are missing or outside [0, 1], or codes are needed and not given.
        """
        confidences = as_confidences(scores, empty=True)
        if self.threshold is None:
            return np.zeros(len(confidences), dtype=bool)
        return confidences >= cut_offs(self.threshold, codes, len(confidences))

    def to_frame(self) -> pd.DataFrame:
        """Write the path as a table.

        Returns
        -------
        DataFrame
            One row per test, in order: `start`, `threshold`, `automatic`, `share`, `agreement`,
            `bound`, `passed`.
        """
        columns = ["start", "threshold", "automatic", "share", "agreement", "bound"]
        rows = [[getattr(step, column) for column in columns] for step in self.path]
        frame = pd.DataFrame(rows, columns=columns).astype(
            {"start": int, "threshold": float, "automatic": int, "share": float}
        )
        return frame.assign(passed=frame["bound"].astype(float) >= self.target)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the path: agreement and its lower bound against the share coded automatically.

        Parameters
        ----------
        ax : Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        Axes
            Where it was drawn.
        """
        from mlkit.style import GREEN, GREY, VERMILION

        ax = axes(ax)
        for start, walk in self.to_frame().groupby("start"):
            name = f"walk {start}" if len(self.starts) > 1 else "observed agreement"
            (line,) = ax.plot(walk["share"], walk["agreement"], "o-", label=name)
            ax.vlines(walk["share"], walk["bound"], walk["agreement"], color=line.get_color())
            for passed, colour, marker in ((True, GREEN, "^"), (False, VERMILION, "x")):
                tests = walk[walk["passed"] == passed]
                label = f"lower bound {'passes' if passed else 'fails'}" if len(tests) else None
                ax.plot(
                    tests["share"], tests["bound"], linestyle="", color=colour, marker=marker,
                    markersize=9, label=label,
                )  # fmt: skip
        ax.axhline(self.target, color=GREY, linestyle="--", label=f"target {percent(self.target)}")
        ax.set_xlabel("share coded automatically")
        ax.set_ylabel(f"agreement with {self.scope.gold_standard}")
        ax.set_title("Certified" if self.certified else "Nothing certified")
        handles, labels = ax.get_legend_handles_labels()
        unique = dict(zip(labels, handles, strict=True))
        ax.legend(unique.values(), unique.keys())
        return ax

    def __repr__(self) -> str:
        found = "nothing certified" if self.threshold is None else _threshold_text(self.threshold)
        return (
            f"Certificate({found}; agreement with {self.scope.gold_standard} of at least "
            f"{percent(self.target)}, with {percent(self.confidence)} confidence)"
        )

    def _repr_html_(self) -> str:
        columns = {
            "threshold": "threshold", "automatic": "records", "share": "share automatic",
            "agreement": "agreement", "bound": "lower bound", "passed": "",
        }  # fmt: skip
        if len(self.starts) > 1:
            columns = {"start": "walk", **columns}
        frame = self.to_frame()
        frame["threshold"] = _rounded(frame["threshold"], "{:.4g}", missing="by code")
        for column in ("share", "agreement", "bound"):
            frame[column] = _rounded(frame[column], "{:.1%}", missing="none")
        frame["automatic"] = frame["automatic"].map("{:,}".format)
        frame["passed"] = frame["passed"].map({True: "passes", False: "fails"})
        table = frame[list(columns)].rename(columns=columns).to_html(index=False, border=0)
        title = "Certificate" if self.certified else "No certificate"
        details = (
            f"{self.procedure[0].upper()}{self.procedure[1:]} on {self.records:,} records, each "
            f"test with {percent(self.test_confidence)} confidence. Bound: {self.method}. "
            f"{self.reason}"
        )
        return (
            f"<p><strong>{title}</strong></p><p>{html.escape(self.statement)}</p>"
            f"{table if self.path else ''}<p>{html.escape(details)}</p>"
        )

    def _about_gold(self) -> str:
        if self.floor is None or self.band is None:
            return (
                f"What is counted is agreement with {self.scope.gold_standard}: where that is "
                "wrong itself, the true accuracy differs by up to the share of its errors, which "
                "is not known."
            )
        low, high = self.band
        error = percent(self.scope.gold_error or 0.0)
        return (
            f"If {self.scope.gold_standard} is wrong itself in {error}, the true accuracy is at "
            f"least {percent(self.floor)}, and the observed agreement stands for a true accuracy "
            f"between {percent(low)} and {percent(high)}."
        )

    def _fault(self) -> str | None:
        """Say what in the path is not as the procedure demands."""
        found = self.last_pass
        if (found is None) != (self.threshold is None):
            return "Its threshold is not the last pass of its path."
        if isinstance(self.threshold, Mapping):
            return "Thresholds by code take one test." if len(self.path) != 1 else None
        if found is not None and found.threshold != self.threshold:
            return "Its threshold is not the last pass of its path."
        for number, start in enumerate(self.starts, 1):
            walk = [(s.threshold, s.bound) for s in self.path if s.start == number]
            fault = fault_in_walk(walk, grid=self.grid, start=start, target=self.target)
            if fault:
                return fault
        return None


@dataclass(frozen=True)
class CodeCertificates:
    """One certificate per predicted code, which hold together with the confidence named.

    Made by :func:`certify_per_code`.

    Attributes
    ----------
    certificates : mapping of str to Certificate
        By code; codes for which nothing is certified included.
    untested : mapping of str to str
        Codes that were not tested, so that more confidence is left for the others, and why.
    target, confidence : float
        What is guaranteed, for all codes at once.
    scope : Scope
        Population, period, unit and gold standard.
    records : int
        The size of the certification sample.
    share : float
        The share of the sample that is coded automatically.
    """

    certificates: Mapping[str, Certificate]
    untested: Mapping[str, str]
    target: float
    confidence: float
    scope: Scope
    records: int
    share: float

    @property
    def thresholds(self) -> dict[str, float]:
        """The certified thresholds by code. Records of other codes go to a clerk."""
        return {
            code: one.threshold
            for code, one in self.certificates.items()
            if isinstance(one.threshold, float)
        }

    @property
    def statement(self) -> str:
        """The certificates in words."""
        scope = self.scope
        return (
            f"{len(self.thresholds):,} codes have a certified threshold, {self._failed():,} were "
            f"tested without success, {len(self.untested):,} have too few records. With "
            f"{percent(self.confidence)} confidence, for every certified code at once: at least "
            f"{percent(self.target)} of the {scope.unit} coded automatically to it agree with "
            f"{scope.gold_standard}. Population: {scope.population}. Period: {scope.period}. "
            f"Unit: {scope.unit}."
        )

    def automatic(self, scores: ArrayLike, codes: Any) -> NDArray[np.bool_]:
        """Say which records may be coded automatically.

        Parameters
        ----------
        scores : array-like of shape (n,) or (n, k)
            Their confidences.
        codes : array-like of shape (n,)
            Their predicted codes. A code without a certified threshold goes to a clerk.

        Returns
        -------
        ndarray of bool
            True for the records that may be coded automatically.

        Raises
        ------
        ValueError
            If scores are missing or outside [0, 1], or lengths differ.
        """
        confidences = as_confidences(scores, empty=True)
        return confidences >= cut_offs(self.thresholds, codes, len(confidences))

    def to_frame(self) -> pd.DataFrame:
        """Write the certificates as a table.

        Returns
        -------
        DataFrame
            One row per code: `code`, `threshold` (missing where nothing is certified),
            `automatic` (records of the sample), `agreement`, `bound`, `outcome`.
        """
        rows = []
        for code, one in self.certificates.items():
            step = one.last_pass
            seen = (step.automatic, step.agreement, step.bound) if step else (0, np.nan, np.nan)
            outcome = "certified" if one.certified else one.reason
            rows.append((code, one.threshold, *seen, outcome))
        rows += [(code, None, 0, np.nan, np.nan, why) for code, why in self.untested.items()]
        columns = ["code", "threshold", "automatic", "agreement", "bound", "outcome"]
        frame = pd.DataFrame(rows, columns=columns)
        return frame.astype({"code": "str", "threshold": float, "outcome": "str"})

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw each certified code: its agreement and lower bound, the largest code first.

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
        found = self.to_frame().dropna(subset="threshold").sort_values("automatic")
        ax.hlines(found["code"], found["bound"], found["agreement"])
        ax.plot(found["agreement"], found["code"], "o", label="observed agreement")
        ax.plot(found["bound"], found["code"], "|", markersize=12, label="lower bound")
        ax.axvline(self.target, color=GREY, linestyle="--", label=f"target {percent(self.target)}")
        ax.set_xlabel(f"agreement with {self.scope.gold_standard}")
        ax.set_ylabel("predicted code")
        ax.set_title(f"Certified codes: {len(found):,}")
        ax.legend()
        return ax

    def __repr__(self) -> str:
        return (
            f"CodeCertificates({len(self.thresholds):,} codes certified, {self._failed():,} "
            f"failed, {len(self.untested):,} not tested)"
        )

    def _repr_html_(self) -> str:
        frame = self.to_frame()
        frame["threshold"] = _rounded(frame["threshold"], "{:.4g}", missing="clerk")
        for column in ("agreement", "bound"):
            frame[column] = _rounded(frame[column], "{:.1%}", missing="")
        table = frame.to_html(index=False, border=0, max_rows=30)
        return (
            f"<p><strong>Certificates by code</strong></p><p>{html.escape(self.statement)}</p>"
            f"{table}"
        )

    def _failed(self) -> int:
        return len(self.certificates) - len(self.thresholds)


def fault_in_walk(
    walk: Iterable[tuple[float | None, float]],
    *,
    grid: Sequence[float],
    start: int,
    target: float,
) -> str | None:
    """Say what is wrong with a walk, as a fixed-sequence test.

    The guarantee rests on the path, not on the threshold: a scan may end at the same one.

    Parameters
    ----------
    walk : iterable of (threshold, lower bound)
        The tests that were made, in order.
    grid : sequence of float
        The thresholds that were fixed beforehand, from strict to loose.
    start : int
        The place in the grid where the walk had to begin.
    target : float
        What the bounds must reach.

    Returns
    -------
    str or None
        The first fault; None if there is none.

    Examples
    --------
    >>> grid = (0.9, 0.8, 0.7, 0.6)
    >>> fault_in_walk([(0.9, 0.97), (0.8, 0.96), (0.7, 0.94)], grid=grid, start=0, target=0.95)
    >>> fault_in_walk([(0.9, 0.94), (0.8, 0.96)], grid=grid, start=0, target=0.95)
    'The walk went on after the threshold 0.9, whose lower bound 0.94 is below the target.'
    """
    steps = list(walk)
    order = [float(threshold) for threshold in grid[start:]]
    if sorted(set(grid), reverse=True) != list(grid):
        return "The grid does not lead from strict to loose thresholds."
    for place, (threshold, bound) in enumerate(steps):
        if place >= len(order):
            return "The walk made more tests than the grid has thresholds."
        if threshold != order[place]:
            return (
                f"Test {place + 1} was at the threshold {threshold}; the grid that was fixed "
                f"beforehand has {order[place]} there."
            )
        if bound < target and place + 1 < len(steps):
            return (
                f"The walk went on after the threshold {threshold}, whose lower bound {bound:.4g} "
                "is below the target."
            )
    if order and not steps:
        return "The walk made no test."
    if len(steps) < len(order) and steps[-1][1] >= target:
        return "The walk stopped before a test failed, and before the grid ended."
    return None


def cut_offs(
    rule: float | Mapping[str, float], codes: Any, records: int
) -> NDArray[np.float64] | float:
    """Look up the threshold of each record; out of reach where its code has none."""
    if not isinstance(rule, Mapping):
        return rule
    if codes is None:
        raise ValueError("Thresholds by code need the predicted codes of the records: give codes.")
    looked_up = pd.Series(as_codes(codes, records), dtype=object).map(dict(rule))
    return np.asarray(looked_up.fillna(np.inf), dtype=np.float64)


def looseness(step: Step) -> float:
    return -math.inf if step.threshold is None else step.threshold


def percent(share: float) -> str:
    """Write a share with at most one decimal: 95%, 97.5%."""
    return f"{share * 100:.1f}".removesuffix(".0") + "%"


def _threshold_text(threshold: float | Mapping[str, float]) -> str:
    if isinstance(threshold, Mapping):
        return f"thresholds for {len(threshold):,} codes"
    return f"threshold {threshold:.4g}"


def _rounded(column: pd.Series[Any], form: str, *, missing: str) -> list[str]:
    return [missing if math.isnan(value) else form.format(value) for value in column]
