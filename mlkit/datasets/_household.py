"""The household survey: persons in municipalities, their errors and non-response."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlkit.datasets._business import as_kinds, as_text_column, clerk_changes, largest_error
from mlkit.datasets._cards import dataset_card
from mlkit.datasets._damage import (
    Floats,
    Mask,
    another_category,
    blank,
    by_chance,
    no_answer,
    ranks,
)
from mlkit.datasets._surveys import Survey

WORKING = ("employee", "self-employed")
INCOMES = ("wage", "selfemp", "pension", "benefits")
SPENDINGS = ("food", "housing", "transport", "leisure")
AMOUNTS = (*INCOMES, "income", "tax", "net", *SPENDINGS, "spending")
ZERO_IF_BLANK = ("pension", "benefits", "transport", "leisure")
KINDS = ("none", "period", "unit", "swap", "category", "age", "skip", "random")
STATUSES = ("child", "student", "employee", "self-employed", "unemployed", "retired", "other")
MARITAL = ("single", "married", "widowed", "divorced")
OCCUPATIONS = ("manager", "professional", "clerk", "service", "trade", "operator", "elementary")
EDUCATION = ("none", "school", "degree")
RULES = """\
variable age, household_size: integer
variable wage, selfemp, income, tax, net, food, housing, spending: unit 1
variable pension, benefits, transport, leisure: unit 1, zero if blank
variable hours: applies if status in {"employee", "self-employed"}
variable occupation: applies if status in {"employee", "self-employed"}

sexes: sex in {"female", "male"}
maritals: marital in {"single", "married", "widowed", "divorced"}
statuses: status in {"child", "student", "employee", "self-employed", "unemployed", "retired", "other"}
occupations: occupation in {"manager", "professional", "clerk", "service", "trade", "operator", "elementary"}
ages: 0 <= age <= 105
somebody: household_size >= 1
married: if marital == "married" then age >= 17
widowed: if marital in {"widowed", "divorced"} then age >= 18
child: if age < 15 then status == "child"
no_child: if status == "child" then age < 15
retired: if status == "retired" then age >= 45
alone: if household_size == 1 then age >= 16
hours_given: if status in {"employee", "self-employed"} then 1 <= hours <= 98
hours_skipped: if status not in {"employee", "self-employed"} then hours == 0
wage_paid: if status == "employee" then wage > 0
no_wage: if status != "employee" then wage == 0
no_selfemp: if status != "self-employed" then selfemp == 0
pension_age: if age < 16 then pension == 0
wage_sign: wage >= 0
selfemp_sign: selfemp >= 0
pension_sign: pension >= 0
benefits_sign: benefits >= 0
incomes: wage + selfemp + pension + benefits == income
net_income: income - tax == net
tax_rate: 0 <= tax <= 0.6 * income
child_income: if status == "child" then income == 0
pay: if status == "employee" then wage <= 1000 * hours
spendings: food + housing + transport + leisure == spending
food_sign: food >= 0
housing_sign: housing >= 0
transport_sign: transport >= 0
leisure_sign: leisure >= 0
means: spending <= 3 * net + 6000
young_student: if status == "student" then age <= 35      [soft, label "few students are older"]
claims: if status == "unemployed" then benefits > 0       [soft, label "most of them get benefits"]
low_pay: if status == "employee" then wage >= 15 * hours  [soft 2, label "pay is rarely as low"]
"""  # noqa: E501 - a rule stands on one line

# Persons by age, in bands that begin at these ages, and what they are in each band.
AGES = (0, 15, 18, 25, 45, 60, 70, 96)
AGE_SHARES = (0.16, 0.04, 0.09, 0.27, 0.20, 0.12, 0.12)
MARITAL_SHARES = (
    (1, 0, 0, 0),
    (1, 0, 0, 0),
    (0.93, 0.06, 0, 0.01),
    (0.45, 0.47, 0.01, 0.07),
    (0.17, 0.62, 0.04, 0.17),
    (0.10, 0.65, 0.09, 0.16),
    (0.06, 0.54, 0.31, 0.09),
)
STATUS_SHARES = (
    (1, 0, 0, 0, 0, 0, 0),
    (0, 0.90, 0.07, 0, 0.02, 0, 0.01),
    (0, 0.40, 0.44, 0.02, 0.09, 0, 0.05),
    (0, 0.03, 0.70, 0.10, 0.06, 0, 0.11),
    (0, 0, 0.66, 0.13, 0.05, 0.04, 0.12),
    (0, 0, 0.32, 0.07, 0.02, 0.50, 0.09),
    (0, 0, 0.02, 0.02, 0, 0.94, 0.02),
)
EDUCATION_SHARES = (0.25, 0.45, 0.30)
OCCUPATION_SHARES = (  # by education
    (0.02, 0.01, 0.08, 0.29, 0.18, 0.17, 0.25),
    (0.07, 0.08, 0.22, 0.24, 0.20, 0.11, 0.08),
    (0.17, 0.48, 0.17, 0.10, 0.04, 0.02, 0.02),
)
PAY = (1.5, 1.35, 0.95, 0.75, 0.95, 0.85, 0.65)  # by occupation
SCHOOLED = (0.85, 1.0, 1.25)  # pay by education


def simulate(n: int, *, seed: int, level: float, nonresponse: float, mechanism: str) -> Survey:
    """Draw the survey that :func:`make_household_survey` describes. Arguments are checked."""
    card = dataset_card("household_survey")
    s = card.settings
    # Each part has random numbers of its own: one part does not move the others.
    parts = np.random.SeedSequence(seed).spawn(5)
    drawing, living, wrongs, answers, office = (np.random.default_rng(part) for part in parts)

    place, design, factor = _sample(n, s, drawing)
    truth = place.join(_people(factor, living))
    observed, kinds = _errors(truth, s["errors"], level, wrongs)
    missing = _non_response(truth, nonresponse, mechanism, s["totals_follow"], answers)
    for name in truth:
        observed[name] = blank(observed[name], missing[name].to_numpy())
    for name in ZERO_IF_BLANK:
        empty = (observed[name] == 0) & (truth[name] == 0) & (answers.random(n) < s["blank_zeros"])
        observed[name] = observed[name].mask(empty)
    kinds[missing.to_numpy()] = 0
    errors = pd.DataFrame(kinds > 0, truth.index, truth.columns)
    moved = largest_error(truth, observed, errors)
    return Survey(
        truth=truth,
        observed=observed,
        errors=errors,
        missing=missing,
        kinds=as_kinds(kinds, KINDS, truth),
        rules=RULES,
        design=design,
        paradata=_paradata(moved, s["clerk"], office),
        previous=pd.DataFrame(index=truth.index),
        population=_expected(s),
        card=card,
    )


# --- the sample ------------------------------------------------------------------------------


def _strata(s: Mapping[str, Any]) -> tuple[Floats, Floats]:
    """Give the population and the mean factor of each stratum: regions by areas."""
    regions, factors = np.array(s["region_shares"]), np.array(s["region_factors"])
    urban = np.array(s["urban_shares"])
    people = s["population"] * np.column_stack([regions * urban, regions * (1 - urban)])
    areas = np.array([s["urban_factor"], 1.0])
    # The factor of a region is the mean of its areas.
    mean = urban * areas[0] + (1 - urban) * areas[1]
    return people.ravel(), (factors[:, None] * areas / mean[:, None]).ravel()


def _sample(
    n: int, s: Mapping[str, Any], rng: np.random.Generator
) -> tuple[pd.DataFrame, pd.DataFrame, Floats]:
    """Draw municipalities, and say of each person where, with what weight and what factor."""
    people, factors = _strata(s)
    # As many from each region, so that small ones can be published.
    share = people.reshape(-1, 2) / people.reshape(-1, 2).sum(axis=1, keepdims=True)
    share = 0.5 * share + 0.25
    drawn = (share / share.sum()).ravel()
    edges = np.round(np.cumsum([0.0, *drawn]) * n).astype(int)
    taken = np.diff(edges)
    psus = np.maximum(np.round(taken / s["persons_per_psu"]), 2).astype(int)
    stratum = np.repeat(np.arange(len(taken)), taken)
    # Persons of a stratum are spread evenly over its municipalities.
    inside = np.arange(n) - edges[stratum]
    psu = (
        inside * psus[stratum] // taken[stratum]
        + np.concatenate([[0], np.cumsum(psus)[:-1]])[stratum]
    )
    sd = s["psu_sd"]
    local = np.exp(sd * rng.standard_normal(psus.sum()) - sd**2 / 2)
    names = np.array(s["regions"], dtype=object)[stratum // 2]
    areas = np.array(["urban", "rural"], dtype=object)[stratum % 2]
    place = pd.DataFrame({"region": as_text_column(names), "area": as_text_column(areas)})
    design = pd.DataFrame(
        {
            "weights": (people / taken)[stratum],
            "strata": as_text_column(names + " " + areas),
            "psu": psu + 1,
        }
    )
    return place, design, factors[stratum] * local[psu]


def _expected(s: Mapping[str, Any]) -> pd.DataFrame:
    """Give the expected means: those of the country without differences, times the factors."""
    factors = np.array([*s["region_factors"], np.dot(s["region_shares"], s["region_factors"])])
    means = np.outer(factors, list(s["means"].values()))
    index = pd.Index([*s["regions"], "all"], name="region", dtype="str")
    return pd.DataFrame(means, index, list(s["means"]))


# --- the people ------------------------------------------------------------------------------


def _draw(shares: Any, rows: NDArray[np.intp], rng: np.random.Generator) -> NDArray[np.intp]:
    """Draw one category per person, with the shares of the person's row of the table."""
    bounds = np.cumsum(np.asarray(shares, dtype=np.float64), axis=1)
    bounds /= bounds[:, -1:]
    u = rng.random(len(rows))
    drawn: NDArray[np.intp] = np.sum(u[:, None] >= bounds[:, :-1][rows], axis=1)
    return drawn


def _people(factor: Floats, rng: np.random.Generator) -> pd.DataFrame:
    """Draw persons; `factor` multiplies all their amounts."""
    n = len(factor)
    nobody = np.zeros(n, dtype=np.intp)

    def normal(mean: float, sd: float) -> Floats:
        return mean + sd * np.clip(rng.standard_normal(n), -3, 3)

    def some(who: Mask, share: float) -> Mask:
        chosen: Mask = who & (rng.random(n) < share)
        return chosen

    band = _draw([AGE_SHARES], nobody, rng)
    start, end = np.array(AGES[:-1])[band], np.array(AGES[1:])[band]
    age = np.floor(start + (end - start) * rng.random(n))
    marital = _draw(MARITAL_SHARES, band, rng)
    status = _draw(STATUS_SHARES, band, rng)
    schooling = np.where(age < 15, 0, _draw([EDUCATION_SHARES], nobody, rng))
    size = np.where(age < 16, 2.0, 1.0) + rng.binomial(4, 0.35, n)
    employee, selfemployed = status == 2, status == 3
    working = employee | selfemployed
    hours = np.clip(np.round(normal(37, 9) + 5 * selfemployed), 4, 80)
    job = _draw(OCCUPATION_SHARES, schooling, rng)

    def money(amount: Floats, who: Mask) -> Floats:
        rounded: Floats = np.where(who, np.maximum(np.round(amount * factor), 1), 0.0)
        return rounded

    hourly = 14 * np.array(PAY)[job] * np.array(SCHOOLED)[schooling] * np.exp(normal(0, 0.3))
    wage = money(4.33 * hours * hourly * np.where(age < 25, 0.75, 1.0), employee)
    selfemp = money(1700 * np.exp(normal(0, 0.7)), selfemployed)
    pension = money(1150 * np.exp(normal(0, 0.4)), some(status == 5, 0.97) | some(age >= 50, 0.04))
    benefits = money(
        np.where(status == 4, 700, 220) * np.exp(normal(0, 0.35)),
        some(status == 4, 0.85) | some((age >= 16) & (status != 4), 0.15),
    )
    income = wage + selfemp + pension + benefits
    tax = np.round(income * np.clip(normal(0.16, 0.08), 0, 0.4))
    net = income - tax

    # Children have little of their own spending, others a floor and a share of their income.
    floor = np.where(status == 0, 0.3, 1.0)

    def spent(base: float, share: float, who: Mask) -> Floats:
        amount = (base * factor * floor + share * net) * np.exp(normal(0, 0.3))
        rounded: Floats = np.where(who, np.round(amount), 0.0)
        return rounded

    everybody = np.ones(n, dtype=bool)
    food = spent(150, 0.10, everybody)
    housing = spent(250, 0.20, everybody)
    transport = spent(40, 0.08, some(everybody, 0.75))
    leisure = spent(30, 0.07, some(everybody, 0.80))

    def text(names: tuple[str, ...], codes: NDArray[np.intp]) -> Any:
        return as_text_column(np.array(names, dtype=object)[codes])

    jobs = np.array([*OCCUPATIONS, None], dtype=object)[np.where(working, job, -1)]
    return pd.DataFrame(
        {
            "education": text(EDUCATION, schooling),
            "sex": text(("female", "male"), (rng.random(n) < 0.49).astype(np.intp)),
            "age": age,
            "marital": text(MARITAL, marital),
            "household_size": size,
            "status": text(STATUSES, status),
            "hours": np.where(working, hours, np.nan),
            "occupation": as_text_column(jobs),
            "wage": wage,
            "selfemp": selfemp,
            "pension": pension,
            "benefits": benefits,
            "income": income,
            "tax": tax,
            "net": net,
            "food": food,
            "housing": housing,
            "transport": transport,
            "leisure": leisure,
            "spending": food + housing + transport + leisure,
        }
    )


# --- what happens to the answers ---------------------------------------------------------------


def _errors(
    truth: pd.DataFrame, rates: dict[str, float], level: float, rng: np.random.Generator
) -> tuple[pd.DataFrame, NDArray[np.int8]]:
    """Give the answers, and the kind of error in each cell: the first that hits it."""
    n = len(truth)
    observed, kinds = truth.copy(), np.zeros(truth.shape, dtype=np.int8)

    def hits(name: str) -> Mask:
        hit: Mask = rng.random(n) < min(level * rates[name], 1.0)
        return hit

    def put(name: str, wrong: Any, hit: Mask, kind: str) -> None:
        place = truth.columns.get_loc(name)
        wrong = pd.Series(wrong, index=truth.index)
        differs = (wrong != truth[name]).to_numpy(dtype=bool)
        hit = hit & (kinds[:, place] == 0) & differs & wrong.notna().to_numpy()
        observed[name] = observed[name].mask(hit, wrong)
        kinds[hit, place] = KINDS.index(kind)

    period, main = hits("period"), rng.integers(0, 2, n)
    put("wage", truth["wage"] * 12, period, "period")
    put("selfemp", truth["selfemp"] * 12, period, "period")
    put("pension", truth["pension"] * 12, period & (main == 1), "period")
    diary = hits("unit")
    for name in (*SPENDINGS, "spending"):
        put(name, truth[name] * 100, diary, "unit")
    swapped = hits("swap") & ~kinds.any(axis=1)
    put("pension", truth["benefits"], swapped, "swap")
    put("benefits", truth["pension"], swapped, "swap")
    for name in ("marital", "status"):
        hit = hits("category")
        put(name, another_category(truth[name], hit, rng), hit, "category")
    age = truth["age"].to_numpy()
    put("age", np.where(age >= 10, age % 10 * 10 + age // 10, age * 10), hits("age"), "age")
    put("hours", np.full(n, 40.0), hits("skip") & truth["hours"].isna().to_numpy(), "skip")
    for name in ("hours", *AMOUNTS):
        values = truth[name].to_numpy()
        put(name, by_chance(values, rng), hits("random"), "random")
    return observed, kinds


def _non_response(
    truth: pd.DataFrame, rate: float, mechanism: str, follow: float, rng: np.random.Generator
) -> pd.DataFrame:
    """Draw which questions were asked and not answered."""
    n = len(truth)
    degree = truth["education"].map({name: i for i, name in enumerate(EDUCATION)})
    score = ranks(degree) if mechanism == "mar" else None
    missing = pd.DataFrame(False, truth.index, truth.columns)
    asked = {name: np.ones(n, dtype=bool) for name in ("marital", "tax", "food", "housing")}
    asked["hours"] = asked["occupation"] = truth["hours"].notna().to_numpy()
    # Who is not employed is not asked for a wage: 0 is put in by the questionnaire.
    asked["wage"] = (truth["wage"] > 0).to_numpy()
    asked["selfemp"] = (truth["selfemp"] > 0).to_numpy()
    asked["tax"] = (truth["income"] > 0).to_numpy()
    for name, eligible in asked.items():
        own = score
        if mechanism == "mnar":
            own = np.nan_to_num(ranks(truth[name].where(eligible)))
        missing[name] = no_answer(eligible, own, rate, rng)
    unknown = (missing["wage"] | missing["selfemp"]).to_numpy()
    missing["income"] = unknown & (rng.random(n) < follow)
    missing["net"] = missing["income"]
    return missing


def _paradata(moved: Floats, clerk: dict[str, float], rng: np.random.Generator) -> pd.DataFrame:
    """How interviews went: wrong records come more often from proxies and without documents."""
    n = len(moved)
    wrong = moved > 0.1
    return pd.DataFrame(
        {
            "proxy": rng.random(n) < np.where(wrong, 0.35, 0.20),
            "documents": rng.random(n) < np.where(wrong, 0.25, 0.50),
            "minutes": np.round(np.exp(rng.normal(np.where(wrong, 3.2, 3.4), 0.3, n))),
            "clerk_changed": clerk_changes(moved, clerk, rng),
        }
    )
