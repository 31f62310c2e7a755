"""What a coder that falls back to parent codes guarantees, and what it gives each record."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mlkit._views import axes
from mlkit.coding._certificate import Scope, Step, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

CLERK = "clerk"


@dataclass(frozen=True)
class LevelRule:
    """One rule of the walk: a cut-off for each level, and what the sample says about each.

    Attributes
    ----------
    number : int
        Its place in the order that was fixed beforehand, from 1.
    cut_offs : mapping of str to float
        By level, from the top down: a record is coded at the deepest level where its code is
        right with at least this probability. Infinite at a level that the rule does not use.
    tests : mapping of str to Step
        By level that the rule uses, the test of the records that it codes there.
    """

    number: int
    cut_offs: Mapping[str, float]
    tests: Mapping[str, Step]

    def passes(self, target: float) -> bool:
        """Say whether every bound reaches the target."""
        return all(test.bound >= target for test in self.tests.values())


@dataclass(frozen=True)
class FallBackCertificate:
    """Cut-offs by level, what is guaranteed about them, and the path that led to them.

    Made by :meth:`FallBackCoder.certify`. What is guaranteed: with the confidence named, for
    every level at once, of the records coded *at* that level (not above, not below) at least
    the target has a code that is right, which is to say the true code itself or one of its
    ancestors. Codes are pooled within a level: a single code may be worse.

    Attributes
    ----------
    levels : tuple of str
        The levels at which records may be coded, from the top down.
    target : float
        The agreement that is guaranteed at every level used.
    confidence : float
        The confidence with which that holds for all levels together.
    scope : Scope
        Population, period, unit and gold standard.
    path : tuple of LevelRule
        The rules that were tested, in the order that was fixed beforehand: all but the last
        one pass.
    planned : int
        How many rules the order has.
    records : int
        The size of the certification sample.
    method : str
        The bound that was used.
    """

    levels: tuple[str, ...]
    target: float
    confidence: float
    scope: Scope
    path: tuple[LevelRule, ...]
    planned: int
    records: int
    method: str

    def __post_init__(self) -> None:
        fault = self._fault()
        if fault:
            raise ValueError(f"This is no certificate. {fault}")

    @property
    def rule(self) -> LevelRule | None:
        """The certified rule: the last that passed; None if none did."""
        passed = [rule for rule in self.path if rule.passes(self.target)]
        return passed[-1] if passed else None

    @property
    def certified(self) -> bool:
        """Whether a rule is certified."""
        return self.rule is not None

    @property
    def cut_offs(self) -> dict[str, float]:
        """The certified cut-off of each level; infinite where nothing is certified."""
        closed = dict.fromkeys(self.levels, math.inf)
        return closed if self.rule is None else {**closed, **self.rule.cut_offs}

    @property
    def shares(self) -> pd.Series[float]:
        """The share of the sample coded at each level, the deepest first, and left to clerks."""
        tests = {} if self.rule is None else self.rule.tests
        shares = {
            level: tests[level].share if level in tests else 0.0 for level in self.levels[::-1]
        }
        return pd.Series({**shares, CLERK: max(0.0, 1 - sum(shares.values()))}, name="share")

    @property
    def reason(self) -> str:
        """Why the path ended where it did."""
        if not self.planned:
            return (
                "No rule could be planned that has a chance to pass with so few records, or so "
                "many errors. Check more records, or improve the classifier."
            )
        if not self.certified:
            return (
                "The first rule failed. Check more records, or fit the coder on rows that are "
                "more like these."
            )
        if self.path[-1].passes(self.target):
            return "The walk passed every rule."
        failed = [k for k, test in self.path[-1].tests.items() if test.bound < self.target]
        return f"The walk stopped at the first rule that failed, at {_listed(failed)}."

    @property
    def statement(self) -> str:
        """The certificate in words."""
        scope = self.scope
        about = f"Population: {scope.population}. Period: {scope.period}. Unit: {scope.unit}."
        if self.rule is None:
            return f"Nothing is certified: {self.reason} {about} Send every record to a clerk."
        used = [level for level in self.levels[::-1] if level in self.rule.tests]
        return (
            f"Records may be coded automatically at {_listed(used)}, each at the deepest level "
            f"whose cut-off it reaches. With {percent(self.confidence)} confidence, for all of "
            f"these levels at once: of the {scope.unit} coded at a level, at least "
            f"{percent(self.target)} agree with {scope.gold_standard} down to that level. Codes "
            f"of a level are pooled; a single code may be worse. {about} {self._about_gold()}"
        )

    def to_frame(self) -> pd.DataFrame:
        """Write the path as a table.

        Returns
        -------
        DataFrame
            One row per test, in order, the deepest level first: `rule`, `level`, `cut_off`,
            `automatic` (records of the sample), `share`, `agreement`, `bound`, `passed`.
        """
        rows = [
            (rule.number, level, test.threshold, test.automatic, test.share, test.agreement,
             test.bound, test.bound >= self.target)
            for rule in self.path
            for level, test in rule.tests.items()
        ]  # fmt: skip
        columns = ["rule", "level", "cut_off", "automatic", "share", "agreement", "bound", "passed"]
        kinds: dict[str, type | str] = {
            "rule": int, "level": "str", "cut_off": float, "automatic": int, "share": float,
            "agreement": float, "bound": float, "passed": bool,
        }  # fmt: skip
        return pd.DataFrame(rows, columns=columns).astype(kinds)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the walk: the share coded at each level, one bar per rule.

        Parameters
        ----------
        ax : Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        Axes
            Where it was drawn.
        """
        ax = axes(ax)
        frame = self.to_frame()
        numbers = [rule.number for rule in self.path]
        below = np.zeros(len(numbers))
        for level in self.levels[::-1]:
            rows = frame[frame["level"] == level].set_index("rule")["share"]
            shares = rows.reindex(numbers, fill_value=0.0).to_numpy(dtype=float)
            ax.bar(numbers, shares, bottom=below, label=level)
            below = below + shares
        for rule, top in zip(self.path, below, strict=True):
            word = "passes" if rule.passes(self.target) else "fails"
            ax.annotate(word, (rule.number, top), ha="center", va="bottom", fontsize="small")
        ax.set_ylim(0, 1.05)
        ax.set_xticks(numbers)
        ax.set_xlabel("rule, from careful to bold")
        ax.set_ylabel("share coded automatically")
        ax.set_title("Certified" if self.certified else "Nothing certified")
        if self.path:
            ax.legend(title="coded at")
        return ax

    def __repr__(self) -> str:
        found = "nothing certified"
        if self.certified:
            shares = [f"{level} {percent(share)}" for level, share in self.shares.items()]
            found = ", ".join(shares)
        return (
            f"FallBackCertificate({found}; agreement with {self.scope.gold_standard} of at least "
            f"{percent(self.target)} at every level, with {percent(self.confidence)} confidence)"
        )

    def _repr_html_(self) -> str:
        frame = self.to_frame()
        frame = frame[frame["rule"] == (self.rule.number if self.rule else 1)]
        table = _table(frame.drop(columns="rule"))
        details = (
            f"Fixed-sequence test of {len(self.path)} of {self.planned} rules on "
            f"{self.records:,} records; a rule passes if the bound of every level does, each "
            f"with {percent(self.confidence)} confidence. Bound: {self.method}. {self.reason}"
        )
        return _html(
            "Certificate" if self.certified else "No certificate", self.statement, table, details
        )

    def _about_gold(self) -> str:
        error = self.scope.gold_error
        if error is None:
            return (
                f"What is counted is agreement with {self.scope.gold_standard}: where that is "
                "wrong itself, the true accuracy differs by up to the share of its errors."
            )
        floor = max(0.0, self.target - error)
        return (
            f"If {self.scope.gold_standard} is wrong itself in {percent(error)}, the true "
            f"accuracy is at least {percent(floor)}."
        )

    def _fault(self) -> str | None:
        """Say what in the path is not as the procedure demands."""
        if [rule.number for rule in self.path] != list(range(1, len(self.path) + 1)):
            return "The rules of its path are not those of the order fixed beforehand."
        for rule in self.path[:-1]:
            if not rule.passes(self.target):
                return f"The walk went on after rule {rule.number}, which failed."
        if len(self.path) > self.planned:
            return "The walk made more tests than were planned."
        if self.planned and not self.path:
            return "The walk made no test."
        if len(self.path) < self.planned and self.path[-1].passes(self.target):
            return "The walk stopped before a rule failed, and before the order ended."
        for rule in self.path:
            used = {level for level, cut in rule.cut_offs.items() if math.isfinite(cut)}
            if used != set(rule.tests):
                return f"Rule {rule.number} does not test the levels that it uses."
        return None


@dataclass(frozen=True)
class FallBackCodes:
    """The code of each record at the deepest level that is safe for it.

    Made by :meth:`FallBackCoder.code`.

    Attributes
    ----------
    codes : ndarray of shape (n,)
        The code of each record; None where a clerk must code.
    levels : ndarray of shape (n,)
        The name of the level of each code; None likewise.
    confidences : ndarray of shape (n,)
        The probability that the code is right, as estimated on the rows of
        :meth:`FallBackCoder.fit`; NaN for the clerk's records.
    names : tuple of str
        The levels, from the top down.
    """

    codes: NDArray[np.object_]
    levels: NDArray[np.object_]
    confidences: NDArray[np.float64]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def automatic(self) -> NDArray[np.bool_]:
        """True for the records that have a code, at whatever level."""
        return ~np.isnan(self.confidences)

    @property
    def shares(self) -> pd.Series[float]:
        """The share of records coded at each level, the deepest first, and left to clerks."""
        counts = pd.Series(self.levels, dtype=object).fillna(CLERK).value_counts()
        wanted = counts.reindex([*self.names[::-1], CLERK], fill_value=0)
        return (wanted / max(len(self), 1)).rename("share")

    def to_frame(self) -> pd.DataFrame:
        """Write the codes as a table.

        Returns
        -------
        DataFrame
            One row per record: `code`, `level` and `confidence`, missing where a clerk must
            code.
        """
        frame = pd.DataFrame(
            {"code": self.codes, "level": self.levels, "confidence": self.confidences}
        )
        return frame.astype({"code": "str", "level": "str"})

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the share coded at each level.

        Parameters
        ----------
        ax : Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        Axes
            Where it was drawn.
        """
        ax = axes(ax)
        shares = self.shares
        bars = ax.barh(list(map(str, shares.index)), shares.to_numpy())
        ax.bar_label(bars, [percent(share) for share in shares])
        ax.invert_yaxis()
        ax.set_xlim(0, 1)
        ax.set_xlabel("share of records")
        ax.set_title("Where records are coded")
        return ax

    def __repr__(self) -> str:
        shares = ", ".join(f"{level} {percent(share)}" for level, share in self.shares.items())
        return f"FallBackCodes({len(self):,} records: {shares})"

    def _repr_html_(self) -> str:
        shares = self.shares
        counts = (shares * len(self)).round().astype(int)
        frame = pd.DataFrame(
            {
                "coded at": shares.index,
                "records": counts.map("{:,}".format).to_numpy(),
                "share": shares.map("{:.1%}".format).to_numpy(),
            }
        )
        table = frame.to_html(index=False, border=0)
        return f"<p><strong>Codes of {len(self):,} records</strong></p>{table}"


def _table(tests: pd.DataFrame) -> str:
    """Show tests as HTML, rounded."""
    frame = tests.rename(
        columns={
            "cut_off": "cut-off", "automatic": "records", "share": "share of sample",
            "bound": "lower bound", "passed": "",
        }
    )  # fmt: skip
    frame["cut-off"] = frame["cut-off"].map("{:.4g}".format)
    frame["records"] = frame["records"].map("{:,}".format)
    for column in ("share of sample", "agreement", "lower bound"):
        frame[column] = ["none" if math.isnan(v) else f"{v:.1%}" for v in frame[column]]
    frame[""] = frame[""].map({True: "passes", False: "fails"})
    return frame.to_html(index=False, border=0) if len(frame) else ""


def _html(title: str, statement: str, table: str, details: str) -> str:
    return (
        f"<p><strong>{html.escape(title)}</strong></p><p>{html.escape(statement)}</p>"
        f"{table}<p>{html.escape(details)}</p>"
    )


def _listed(names: Sequence[str]) -> str:
    """Join the names of levels: the level unit; the levels unit, minor and major."""
    if names[0].startswith("level "):  # unnamed levels are called "level 4"
        return " and ".join(names)
    if len(names) == 1:
        return f"the level {names[0]}"
    return f"the levels {', '.join(names[:-1])} and {names[-1]}"
