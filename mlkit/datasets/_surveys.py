"""Simulated surveys with edit rules: a business survey and a household survey."""

from __future__ import annotations

import numbers
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from mlkit._views import as_html, as_text
from mlkit.datasets._cards import Card
from mlkit.datasets._responses import _whole_number

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Survey", "make_business_survey", "make_household_survey"]

Mechanism = Literal["mcar", "mar", "mnar"]


@dataclass(frozen=True, repr=False, eq=False)
class Survey:
    """A simulated survey: what is true, what was observed, and where the two differ.

    All data frames with a row per record have the same index.

    Attributes
    ----------
    truth : DataFrame of shape (n, columns)
        The true values. A missing value is one that does not apply.
    observed : DataFrame of shape (n, columns)
        What the office received: with errors, non-response, and blanks that mean zero.
    errors : DataFrame of bool, of shape (n, columns)
        Where the observed value is given and wrong.
    missing : DataFrame of bool, of shape (n, columns)
        Where the value was asked for and not given: non-response. A blank that means zero, and
        a value that does not apply, are not in it.
    kinds : DataFrame of category, of shape (n, columns)
        What kind of error each cell of `errors` has; "none" for all others.
    rules : str
        The edit rules, as text for :meth:`mlkit.editing.EditRules.from_text`.
    design : DataFrame
        How the records were drawn, one row per record, with names such that
        ``Design(**survey.design)`` makes the :class:`mlkit.estimate.Design`: `weights`,
        `strata`, and `psu` or `fpc` where there is such.
    paradata : DataFrame
        How the record came in, and `clerk_changed`, whether a clerk who looked at it changed it.
        No columns in the setting "simple" of the business survey.
    previous : DataFrame
        The edited values of the period before, missing for units that did not exist. No columns
        if there is no such period.
    population : DataFrame
        What the survey is to estimate, exact: one row per domain, and one for all of them.
        Totals in the business survey, means in the household survey.
    card : Card
        What the data are.
    """

    truth: pd.DataFrame
    observed: pd.DataFrame
    errors: pd.DataFrame
    missing: pd.DataFrame
    kinds: pd.DataFrame
    rules: str
    design: pd.DataFrame
    paradata: pd.DataFrame
    previous: pd.DataFrame
    population: pd.DataFrame
    card: Card

    def to_frame(self) -> pd.DataFrame:
        """Say of each column how much of it is wrong or missing, and what this does to its total.

        Returns
        -------
        DataFrame
            One row per column: `column`, the numbers of cells with `errors` and `missing`
            values, and the weighted totals `true_total` and `observed_total` of columns of
            numbers. The latter takes missing values as 0, which no office would: it shows the
            raw data.
        """
        import numpy as np
        import pandas as pd

        weights = self.design["weights"].to_numpy()
        rows = []
        for name in self.truth:
            number = pd.api.types.is_float_dtype(self.truth[name].dtype)
            totals = [
                float(weights @ frame[name].fillna(0).to_numpy()) if number else np.nan
                for frame in (self.truth, self.observed)
            ]
            rows.append(
                (name, int(self.errors[name].sum()), int(self.missing[name].sum()), *totals)
            )
        names = ["column", "errors", "missing", "true_total", "observed_total"]
        return pd.DataFrame(rows, columns=names)

    def _view(self) -> tuple[str, pd.DataFrame, str, str]:
        table = self.to_frame()
        for name in ("true_total", "observed_total"):
            table[name] = [f"{total:,.0f}" if total == total else "" for total in table[name]]
        for name in ("errors", "missing"):
            table[name] = [f"{count:,}" for count in table[name]]
        table.columns = table.columns.str.replace("_", " ")
        records = len(self.truth)
        wrong = int(self.errors.to_numpy().any(axis=1).sum())
        lines = [line for line in self.rules.splitlines() if line.strip()]
        rules = sum(not line.startswith(("#", "variable ")) for line in lines)
        return (
            f"{self.card.title}: {records:,} records for {self.design['weights'].sum():,.0f}",
            table,
            f"{wrong:,} records have an error; {rules} edit rules in .rules, truth in .truth.",
            "Simulated: for claims about methods, none about the world.",
        )

    def __repr__(self) -> str:
        return as_text(*self._view())

    def _repr_html_(self) -> str:
        return as_html(*self._view())


def make_business_survey(
    n: int,
    *,
    seed: int,
    setting: Literal["full", "simple"] = "full",
    error_level: float | None = None,
    nonresponse: float | None = None,
    mechanism: Mechanism | None = None,
    errors_by_size: float | None = None,
) -> Survey:
    """Simulate a structural business survey with its errors, as an office receives it.

    Enterprises are drawn from a finite population, in strata by activity and size class, the
    largest with certainty. The population is always the same for samples up to 40,000 (larger
    ones are drawn from a larger one): another `seed` is another sample of it, such as a past
    round to learn from.

    Parameters
    ----------
    n : int
        The number of enterprises; 100 or more, in the setting "simple" 1 or more.
    seed : int
        0 or more. The same call gives the same survey.
    setting : {"full", "simple"}, default="full"
        "simple" is the small generator by which error localisation is compared between
        programs: nine variables, three kinds of error in 3 % of the cells, nothing missing,
        one stratum, weights of 1. It takes none of the arguments below.
    error_level : float, default=1.0
        How many errors there are, relative to the rates in the card, from 0 to 5.
    nonresponse : float, default=0.05
        The share of answers that are missing, where the question may go unanswered.
    mechanism : {"mcar", "mar", "mnar"}, default="mar"
        Whether answers go missing completely at random; more often in small enterprises (by the
        size class of the register, which is always known); or by their own value, more often
        if they are large.
    errors_by_size : float, default=0.0
        How much errors depend on size: the logarithm by which their odds of a systematic error
        grow when staff is e times as large, from -2 to 2. 0.5 makes errors frequent where they
        hurt; the overall rate stays the same.

    Returns
    -------
    Survey
        Amounts are in thousands of an invented currency and whole numbers, as float64.

        - *truth, observed*: columns `activity` (section of NACE, text), `size_class` (text), both
          from the register and always right; `staff`, of whom `employees`; `turnover`,
          `otherrev` (other revenue), `totalrev`; `staffcosts`, `othercosts`, `totalcosts`;
          `profit`; `vat`; `exporter` (bool), `exports` and `investment`. Three balances hold:
          turnover + otherrev = totalrev, staffcosts + othercosts = totalcosts, totalrev -
          totalcosts = profit. A blank in `exports` or `investment` means 0. In the setting
          "simple": `staff`, `turnover`, `otherrev`, `totalrev`, `staffcosts`, `othercosts`,
          `totalcosts`, `profit` and `vat`.
        - *kinds*: "unit_record" (all amounts in units instead of thousands), "unit" (one amount),
          "sign" (profit, or one of the costs), "swap" (staffcosts and othercosts, or turnover
          and totalrev), "random"; "none".
        - *design*: `weights`, `strata` and `fpc`, the number of enterprises in the stratum.
        - *paradata*: `mode` ("web", "paper", "phone"), `days_late`, `new_respondent`, `remark`
          (whether the respondent wrote one), `changed_before` (whether a clerk changed the
          enterprise's record in the round before; False for new ones) and `clerk_changed`
          (the same for this record: what supervised editing learns from).
        - *previous*: `staff`, `turnover`, `totalrev`, `totalcosts` and `profit` of the year before.
        - *population*: true totals by activity, and of "all".

    Raises
    ------
    TypeError
        If a number is of another type than said above.
    ValueError
        If a number is out of its range, or a name unknown.
    DatasetError
        If the card of the data set is missing or damaged.

    Notes
    -----
    Sample sizes of strata are proportional to the number of enterprises times their mean
    size class, at least 2 and at most all (Neyman's allocation, with size in place of the
    standard deviation). True records satisfy every hard rule. In the setting "simple" the true
    records are rounded after the rule ``|profit| <= 0.9 totalrev`` has been met, so that with seed
    0 none of 1,000, 1 of 20,000 and 2 of 200,000 true records fail.

    Examples
    --------
    >>> survey = make_business_survey(1000, seed=0)
    >>> survey.observed.shape, int(survey.errors.to_numpy().any(axis=1).sum())
    ((1000, 15), 140)
    >>> from mlkit.estimate import Design
    >>> Design(**survey.design)
    Design(1,000 units, 1,000 primary units, 28 strata, df 972)
    >>> make_business_survey(1000, seed=0, setting="simple").observed.shape
    (1000, 9)
    """
    if setting not in ("full", "simple"):
        raise ValueError(f"setting is {setting!r}; allowed are 'full' and 'simple'.")
    n = _whole_number("n", n, at_least=100 if setting == "full" else 1)
    seed = _whole_number("seed", seed, at_least=0)
    given = {
        "error_level": error_level,
        "nonresponse": nonresponse,
        "mechanism": mechanism,
        "errors_by_size": errors_by_size,
    }
    if setting == "simple":
        for name, value in given.items():
            if value is not None:
                raise ValueError(
                    f"{name} is {value!r}, but the setting 'simple' has errors of its own. Leave "
                    "it out, or take the setting 'full'."
                )
        from mlkit.datasets._business import simulate_simple

        return simulate_simple(n, seed=seed)

    from mlkit.datasets._business import simulate
    from mlkit.datasets._damage import check_mechanism, check_rate

    mechanism = "mar" if mechanism is None else mechanism
    check_mechanism(mechanism)
    return simulate(
        n,
        seed=seed,
        level=_number("error_level", error_level, 1.0, 0.0, 5.0),
        nonresponse=check_rate(0.05 if nonresponse is None else nonresponse, "nonresponse"),
        mechanism=mechanism,
        by_size=_number("errors_by_size", errors_by_size, 0.0, -2.0, 2.0),
    )


def make_household_survey(
    n: int,
    *,
    seed: int,
    error_level: float = 1.0,
    nonresponse: float = 0.08,
    mechanism: Mechanism = "mar",
) -> Survey:
    """Simulate a survey of persons in households: work, income and spending, with its errors.

    Persons of all ages are drawn in two stages: municipalities within strata by region and area,
    then ten persons in each. `region` is the domain of publication: regions have the same
    people, but other amounts, by a factor between 0.75 and 1.5.

    Parameters
    ----------
    n : int
        The number of persons, 300 or more.
    seed : int
        0 or more. The same call gives the same survey.
    error_level : float, default=1.0
        How many errors there are, relative to the rates in the card, from 0 to 5.
    nonresponse : float, default=0.08
        The share of answers that are missing, where the question may go unanswered.
    mechanism : {"mcar", "mar", "mnar"}, default="mar"
        Whether answers go missing completely at random; more often with higher education, which
        comes from a register and is always known; or by their own value, more often if it is
        large.

    Returns
    -------
    Survey
        Amounts are per month, in whole units of an invented currency, as float64.

        - *truth, observed*: columns `region` (six), `area` ("urban", "rural") and `education`
          ("none", "school", "degree"), from the register and always right; `sex`, `age`,
          `marital` ("single", "married", "widowed", "divorced"), `household_size`; `status`
          ("child", "student", "employee", "self-employed", "unemployed", "retired",
          "other"); `hours` a week and `occupation` (seven groups), only for those who
          work, missing in `truth` for others; `wage`, `selfemp`, `pension` and `benefits`,
          which add up to `income`; `tax` and `net` = income - tax; `food`, `housing`,
          `transport` and `leisure`, which add up to `spending`. A blank in `pension`,
          `benefits`, `transport` or `leisure` means 0.
        - *kinds*: "period" (a year's wage or other income instead of a month's), "unit" (all
          spending in hundredths), "swap" (pension and benefits), "category" (another marital
          status, or status), "age" (its digits), "skip" (hours of someone who does not work),
          "random"; "none".
        - *design*: `weights`, `strata` and `psu`. Municipalities are drawn from very many, so there
          is no finite population correction.
        - *paradata*: `proxy` (whether someone else answered), `documents` (whether
          payslips were looked at), `minutes` and `clerk_changed` (whether a clerk who looked
          at the record changed it: what supervised editing learns from).
        - *previous*: no columns.
        - *population*: expected means by region, and of "all".

    Raises
    ------
    TypeError
        If a number is of another type than said above.
    ValueError
        If a number is out of its range, or a name unknown.
    DatasetError
        If the card of the data set is missing or damaged.

    Notes
    -----
    All amounts of a person are those of a country without differences times one factor: of the
    region, the area and the municipality, whose mean is 1. So expected means by region follow
    from those of the country, which are in the card.

    Examples
    --------
    >>> survey = make_household_survey(1000, seed=0)
    >>> survey.observed.shape
    (1000, 22)
    >>> survey.population["income"].round()[["north", "capital", "all"]].to_dict()
    {'north': 1042.0, 'capital': 2084.0, 'all': 1506.0}
    """
    from mlkit.datasets._damage import check_mechanism, check_rate
    from mlkit.datasets._household import simulate

    check_mechanism(mechanism)
    return simulate(
        _whole_number("n", n, at_least=300),
        seed=_whole_number("seed", seed, at_least=0),
        level=_number("error_level", error_level, 1.0, 0.0, 5.0),
        nonresponse=check_rate(nonresponse, "nonresponse"),
        mechanism=mechanism,
    )


def _number(name: str, value: Any, default: float, low: float, high: float) -> float:
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(
            f"{name} is {value!r} ({type(value).__name__}); give a number from {low:g} to {high:g}."
        )
    number = float(value)
    if not low <= number <= high:  # nor is a NaN
        raise ValueError(f"{name} is {value}; give a number from {low:g} to {high:g}.")
    return number
