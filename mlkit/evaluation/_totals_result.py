"""The table of class totals, and how it shows itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import pandas as pd

from mlkit._views import as_html, as_text, axes
from mlkit.estimate import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]

_MOST_DRAWN = 30  # codes on a figure, rows in a view


@dataclass(frozen=True, eq=False, repr=False)
class ClassTotals:
    """Class totals and shares, and what must hold for them to be right.

    Attributes
    ----------
    estimator : str
        Which estimator made them.
    situation : str
        How audit and target belong together: which of the three sampling situations it is.
    assumption : str
        What must be stable between audit and target.
    variance : str
        Of what the standard errors are, and on what they are conditional.
    codes : tuple
        The K codes.
    domains : tuple
        The D domains; empty if there are none, and D is 1.
    share, standard_error : ndarray of shape (D, K)
        The share of each code in its domain. They sum to 1 over the codes and are never cut, so
        a share may lie outside [0, 1]. A standard error is NaN where none can be given.
    total, total_standard_error : ndarray of shape (D, K)
        The number of units.
    df : ndarray of shape (D, K)
        Degrees of freedom of the intervals.
    confidence : float
        Their confidence.
    audited : int
        How many audited records were used; 0 if the estimator uses none.
    condition : float
        The condition number of the misclassification matrix, the worst of all domains: by how
        much it may enlarge errors. NaN for estimators that invert nothing.
    power : float
        The power-tuning factor of the prediction-powered estimator: 0 is the audit alone, 1 the
        whole correction. NaN for other estimators, and where domains have factors of their own.
    note : str
        What to know before using them.
    """

    estimator: str
    situation: str
    assumption: str
    variance: str
    codes: tuple[Any, ...]
    domains: tuple[Any, ...]
    share: Floats
    standard_error: Floats
    total: Floats
    total_standard_error: Floats
    df: Floats
    confidence: float
    audited: int
    condition: float
    power: float
    note: str

    @property
    def outside(self) -> tuple[Any, ...]:
        """The codes whose share lies outside [0, 1] in any domain: a sign of too small an audit."""
        strange = ((self.share < 0) | (self.share > 1)).any(axis=0)
        return tuple(self.codes[place] for place in np.flatnonzero(strange))

    def to_frame(self) -> pd.DataFrame:
        """Write the figures as a table.

        Returns
        -------
        DataFrame
            One row per domain and code: `estimator`, `domain` (if there are any), `code`,
            `share`, `standard_error`, `low`, `high`, `total`, `total_standard_error`,
            `total_low`, `total_high`, `df`.
        """
        d, k = self.share.shape
        table: dict[str, Any] = {"estimator": self.estimator}
        if self.domains:
            table["domain"] = [name for name in self.domains for _ in range(k)]
        table["code"] = [*self.codes] * d
        for prefix, value, error in (
            ("", self.share, self.standard_error),
            ("total_", self.total, self.total_standard_error),
        ):
            low, high = self._interval(value, error)
            table["total" if prefix else "share"] = value.ravel()
            table[f"{prefix}standard_error"] = error.ravel()
            table[f"{prefix}low"], table[f"{prefix}high"] = low.ravel(), high.ravel()
        return pd.DataFrame(table | {"df": self.df.ravel()})

    def estimate(
        self, code: Any, *, domain: Any = None, of: Literal["share", "total"] = "share"
    ) -> Estimate:
        """Look up one figure.

        Parameters
        ----------
        code : str or int
            One of :attr:`codes`.
        domain : str or int, optional
            One of :attr:`domains`, if there are any.
        of : {"share", "total"}, default="share"
            Which figure.

        Returns
        -------
        Estimate
            The figure with its standard error and interval.

        Raises
        ------
        KeyError
            If there is no such code or domain.
        ValueError
            If `of` is neither.
        """
        if of not in ("share", "total"):
            raise ValueError(f"of={of!r}; allowed are 'share' and 'total'.")
        row = self._row(domain)
        if code not in self.codes:
            shown = ", ".join(map(repr, self.codes[:10]))
            raise KeyError(f"No code {code!r}. There are {len(self.codes):,}: {shown} ...")
        at = row, self.codes.index(code)
        value, error = (
            (self.share, self.standard_error)
            if of == "share"
            else (self.total, self.total_standard_error)
        )
        low, high = self._interval(value, error)
        return Estimate(
            float(value[at]),
            float(error[at]),
            float(low[at]),
            float(high[at]),
            self.confidence,
            float(self.df[at]),
            self.estimator,
            self.note,
        )

    def plot(self, ax: Axes | None = None, *, domain: Any = None) -> Axes:
        """Draw the shares with their intervals; call it again on the same axes to compare.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.
        domain : str or int, optional
            One of :attr:`domains`, if there are any.

        Returns
        -------
        matplotlib Axes
            Where it was drawn. Of more than 30 codes the 30 with the largest shares.
        """
        ax = axes(ax)
        row = self._row(domain)
        share, error = self.share[row], self.standard_error[row]
        low, high = (end[row] for end in self._interval(self.share, self.standard_error))
        chosen = np.sort(np.argsort(-share, kind="stable")[:_MOST_DRAWN])
        already = len(ax.containers)  # whoever is drawn next goes a little lower
        places = np.arange(len(chosen)) + 0.15 * already
        margins = np.nan_to_num([share - low, high - share])[:, chosen]
        if np.isnan(error).all():
            ax.errorbar(share[chosen], places, fmt="s", label=self.estimator)
        else:
            ax.errorbar(
                share[chosen], places, xerr=margins, fmt="o", capsize=3, label=self.estimator
            )
        if not already:
            ax.set_yticks(np.arange(len(chosen)), [str(self.codes[place]) for place in chosen])
            ax.invert_yaxis()
        few = "" if len(chosen) == len(share) else f", the {len(chosen)} largest of {len(share):,}"
        ax.set_ylabel(f"code{few}")
        ax.set_xlabel("share" if domain is None else f"share, {domain}")
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))  # beside: bars fill the rest
        return ax

    def _row(self, domain: Any) -> int:
        if domain is None and not self.domains:
            return 0
        if domain not in self.domains:
            shown = ", ".join(map(repr, self.domains[:10])) or "none"
            raise KeyError(f"No domain {domain!r}. Name one of the domains: {shown}.")
        return self.domains.index(domain)

    def _interval(self, value: Floats, error: Floats) -> tuple[Floats, Floats]:
        from scipy.special import stdtrit

        margin = stdtrit(np.maximum(self.df, 1), 0.5 + self.confidence / 2) * error
        return value - margin, value + margin

    def _view(self) -> tuple[str, pd.DataFrame, str, str, str, str, str, str]:
        frame = self.to_frame()
        rows = frame.head(_MOST_DRAWN)
        shown: dict[str, list[str]] = {
            name: [str(label) for label in rows[name]]
            for name in ("domain", "code")
            if name in rows
        }
        shown["share"] = _with_interval(rows, "share", "", "{:.4f}")
        shown["total"] = _with_interval(rows, "total", "total_", "{:,.0f}")
        more = len(frame) - len(rows)
        numbers = []
        if np.isfinite(self.condition):
            numbers.append(
                f"Condition number of the misclassification matrix: {self.condition:.3g}."
            )
        if np.isfinite(self.power):
            numbers.append(f"Power-tuning factor: {self.power:.3g}.")
        return (
            f"Class totals: {self.estimator}",
            pd.DataFrame(shown),
            f"{more:,} more rows: to_frame() has them all." if more else "",
            f"In brackets: {self.confidence:.0%} intervals. {' '.join(numbers)}".rstrip(),
            f"Situation: {self.situation}.",
            f"Assumption: {self.assumption}.",
            f"Variance: {self.variance}.",
            f"Note: {self.note}." if self.note else "",
        )

    def __repr__(self) -> str:
        return as_text(*self._view())

    def _repr_html_(self) -> str:
        return as_html(*self._view())


def _with_interval(rows: pd.DataFrame, name: str, prefix: str, form: str) -> list[str]:
    texts = []
    for value, low, high in zip(
        rows[name], rows[f"{prefix}low"], rows[f"{prefix}high"], strict=True
    ):
        known = "" if np.isnan(low) else f" ({form.format(low)} to {form.format(high)})"
        texts.append(form.format(value) + known)
    return texts
