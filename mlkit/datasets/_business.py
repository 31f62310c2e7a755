"""The business survey: a finite population, a stratified sample, its errors and non-response."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mlkit.datasets._cards import dataset_card
from mlkit.datasets._damage import Floats, Mask, blank, by_chance, chances, no_answer, ranks
from mlkit.datasets._surveys import Survey

# --- the setting "simple" ----------------------------------------------------------------------

SIMPLE = (
    "staff", "turnover", "otherrev", "totalrev", "staffcosts", "othercosts", "totalcosts",
    "profit", "vat",
)  # fmt: skip
SIMPLE_RULES = """\
revenue: turnover + otherrev == totalrev
costs: staffcosts + othercosts == totalcosts
result: totalrev - totalcosts == profit
staff_sign: staff >= 0
turnover_sign: turnover >= 0
otherrev_sign: otherrev >= 0
totalrev_sign: totalrev >= 0
staffcosts_sign: staffcosts >= 0
othercosts_sign: othercosts >= 0
totalcosts_sign: totalcosts >= 0
vat_sign: vat >= 0
productivity: turnover <= 550 * staff
pay: staffcosts <= 40 * staff
margin: -0.9 * totalrev <= profit <= 0.9 * totalrev
tax: vat <= 0.3 * turnover
"""


def simulate_simple(n: int, *, seed: int) -> Survey:
    """Draw records and errors in the order of the published benchmark, on which figures depend."""
    rng = np.random.default_rng(seed)
    staff = rng.integers(1, 60, n)
    turnover = np.round(staff * rng.lognormal(4, 0.3, n))
    otherrev = np.round(turnover * rng.uniform(0, 0.1, n))
    totalrev = turnover + otherrev
    staffcosts = np.round(staff * rng.uniform(10, 25, n))
    othercosts = np.round(np.maximum(totalrev * rng.uniform(0.3, 0.7, n), 1))
    totalcosts = staffcosts + othercosts
    profit = totalrev - totalcosts
    vat = np.round(turnover * rng.uniform(0.02, 0.15, n))
    columns: list[Any] = [
        staff, turnover, otherrev, totalrev, staffcosts, othercosts, totalcosts, profit, vat,
    ]  # fmt: skip
    true = np.column_stack(columns).astype(np.float64)

    hit = rng.random(true.shape) < 0.03
    drawn = rng.integers(0, 3, true.shape)
    factor = rng.uniform(0.1, 10, true.shape)
    wrong = np.select([drawn == 0, drawn == 1], [true * 1000, -true], np.round(true * factor))
    given = np.where(hit, wrong, true) + 0.0  # the sign of a zero is not data
    kind = np.where(given != true, drawn + 1, 0)

    index = pd.RangeIndex(n)
    truth = pd.DataFrame(true, index, SIMPLE)
    none = pd.DataFrame(index=index)
    return Survey(
        truth=truth,
        observed=pd.DataFrame(given, index, SIMPLE),
        errors=pd.DataFrame(kind > 0, index, SIMPLE),
        missing=pd.DataFrame(False, index, SIMPLE),
        kinds=as_kinds(kind, ("none", "unit", "sign", "random"), truth),
        rules=SIMPLE_RULES,
        design=pd.DataFrame({"weights": 1.0, "strata": as_text_column(np.full(n, "all"))}, index),
        paradata=none,
        previous=none.copy(),
        population=truth.sum().to_frame("all").T,
        card=dataset_card("business_survey"),
    )


# --- the setting "full": the population ----------------------------------------------------------

AMOUNTS = (
    "turnover", "otherrev", "totalrev", "staffcosts", "othercosts", "totalcosts", "profit",
    "vat", "exports", "investment",
)  # fmt: skip
REGISTER = ("activity", "size_class")
BEFORE = ("staff", "turnover", "totalrev", "totalcosts", "profit")
ANSWERED = ("staff", "employees", *AMOUNTS[:8])  # where an answer may be missing
ZERO_IF_BLANK = ("exports", "investment")
KINDS = ("none", "unit_record", "unit", "sign", "swap", "random")
RULES = """\
variable staff, employees: integer
variable turnover, otherrev, totalrev, staffcosts, othercosts, totalcosts, profit, vat: unit 1
variable exports, investment: unit 1, zero if blank

revenue: turnover + otherrev == totalrev
costs: staffcosts + othercosts == totalcosts
result: totalrev - totalcosts == profit
somebody: staff >= 1
employed: 0 <= employees <= staff
turnover_sign: turnover >= 0
otherrev_sign: otherrev >= 0
totalrev_sign: totalrev >= 0
staffcosts_sign: staffcosts >= 0
othercosts_sign: othercosts >= 0
totalcosts_sign: totalcosts >= 0
vat_rate: 0 <= vat <= 0.3 * turnover
investment_sign: investment >= 0
productivity: turnover <= 2500 * staff
pay: staffcosts <= 250 * employees
paid: if employees > 0 then staffcosts > 0
margin: -totalrev <= profit <= 0.9 * totalrev
exported: 0 <= exports <= turnover
exports_told: if exporter then exports > 0
no_exports: if not exporter then exports == 0
low_pay: staffcosts >= 8 * employees              [soft, label "pay is rarely as low"]
high_turnover: turnover <= 800 * staff            [soft, label "turnover is rarely as high"]
loss: profit >= -0.3 * totalrev                   [soft 2, label "losses are rarely as large"]
"""


@dataclass(frozen=True, eq=False)
class _Population:
    """All enterprises, stratum by stratum."""

    records: pd.DataFrame  # numbers and `exporter`
    previous: pd.DataFrame
    care: Floats  # how carefully the enterprise answers, standard normal
    first: tuple[int, ...]  # where each stratum begins, and where the last one ends
    totals: pd.DataFrame


@functools.lru_cache(maxsize=2)
def _population(times: int) -> _Population:
    """Make the population, `times` as large as the card says."""
    s = dataset_card("business_survey").settings
    rng = np.random.default_rng([s["population_seed"], times])
    shares = np.outer(s["activity_shares"], s["size_shares"])
    counts = np.maximum(np.round(shares * s["population"]), 4).astype(int).ravel() * times
    n = int(counts.sum())
    stratum = np.repeat(np.arange(len(counts)), counts)
    activity, size = np.divmod(stratum, len(s["size_shares"]))

    def normal(sd: float) -> Floats:
        return sd * np.clip(rng.standard_normal(n), -2.5, 2.5)

    def each(key: str) -> Floats:
        return np.array(s[key], dtype=np.float64)[activity]

    low, high = np.array(s["size_from"])[size], np.array(s["size_to"])[size]
    # Pareto within the class, cut at its ends: small ones are many in each.
    u, a = rng.random(n), np.array(s["size_exponents"])[size]
    staff = np.floor((low**-a - u * (low**-a - (high + 1.0) ** -a)) ** (-1 / a))
    staff = np.clip(staff, low, high)
    owners = np.where(size == 0, np.minimum(rng.integers(0, 3, n), staff), 0)
    employees = staff - owners

    heads = normal(s["productivity_sd"])
    turnover = np.maximum(np.round(staff * each("turnover_per_head") * np.exp(heads)), 4)
    otherrev = np.round(turnover * rng.uniform(0, 0.1, n) * (rng.random(n) < 0.6))
    totalrev = turnover + otherrev
    pay = each("pay_per_head") * np.exp(0.4 * heads + normal(0.15))
    staffcosts = np.minimum(np.maximum(np.round(employees * pay), 1), np.floor(0.9 * totalrev))
    staffcosts = np.where(employees > 0, staffcosts, 0.0)
    othercosts = np.ceil(totalrev * rng.uniform(0.45, 0.85, n))
    totalcosts = staffcosts + othercosts
    vat = np.floor(turnover * rng.uniform(0.02, 0.15, n))
    exporter = rng.random(n) < np.minimum(each("exporters") * np.array([0.5, 1, 2, 3])[size], 0.95)
    exports = np.where(exporter, np.maximum(np.round(turnover * rng.beta(1.2, 2, n)), 1), 0.0)
    invests = rng.random(n) < np.array([0.3, 0.5, 0.8, 1.0])[size]
    investment = np.round(invests * 0.03 * totalrev * rng.lognormal(0, 1, n))
    values = pd.DataFrame(
        {
            "staff": staff,
            "employees": employees,
            "turnover": turnover,
            "otherrev": otherrev,
            "totalrev": totalrev,
            "staffcosts": staffcosts,
            "othercosts": othercosts,
            "totalcosts": totalcosts,
            "profit": totalrev - totalcosts,
            "vat": vat,
            "exporter": exporter,
            "exports": exports,
            "investment": investment,
        }
    )

    grown = np.exp(0.03 + normal(0.12))
    before = pd.DataFrame({"staff": np.maximum(np.round(staff / np.exp(normal(0.06))), 1)})
    before["turnover"] = np.round(turnover / grown)
    before["totalrev"] = before["turnover"] + np.round(otherrev / np.exp(normal(0.3)))
    before["totalcosts"] = np.round(totalcosts / grown * np.exp(normal(0.05)))
    before["profit"] = before["totalrev"] - before["totalcosts"]
    before[rng.random(n) < np.array([0.08, 0.04, 0.02, 0.01])[size]] = np.nan

    names = np.array(s["activities"], dtype=object)
    totals = values.groupby(names[activity]).sum()
    totals.loc["all"] = totals.sum()
    totals.index.name = "activity"
    first = (0, *np.cumsum(counts).tolist())
    return _Population(values, before, rng.standard_normal(n), first, totals)


def _allocate(n: int, counts: Floats, sizes: Floats) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Share out the sample: proportional to count times size, at least 2 and at most all."""
    low, high = 0.0, float(n)
    for _ in range(80):
        middle = (low + high) / 2
        if np.clip(middle * counts * sizes, 2, counts).sum() < n:
            low = middle
        else:
            high = middle
    exact = np.clip(high * counts * sizes, 2, counts)
    taken = np.floor(exact).astype(np.int64)
    # What rounding down has left goes where most was cut off, and there is someone left.
    rest = np.where(taken < counts, exact - taken, -1.0)
    taken[np.argsort(-rest, kind="stable")[: n - int(taken.sum())]] += 1
    return taken


# --- the sample ----------------------------------------------------------------------------------


def simulate(
    n: int, *, seed: int, level: float, nonresponse: float, mechanism: str, by_size: float
) -> Survey:
    """Draw the survey that :func:`make_business_survey` describes. Arguments are checked."""
    card = dataset_card("business_survey")
    s = card.settings
    # Each part has random numbers of its own: one part does not move the others.
    parts = np.random.SeedSequence(seed).spawn(4)
    drawing, wrongs, answers, office = (np.random.default_rng(part) for part in parts)

    population = _population(max(1, math.ceil(3 * n / s["population"])))
    counts = np.diff(population.first)
    sizes = np.tile(np.array(s["mean_sizes"]), len(s["activities"]))
    taken = _allocate(n, counts.astype(np.float64), sizes)
    rows = np.concatenate(
        [
            start + np.sort(drawing.choice(count, k, replace=False, shuffle=False))
            for start, count, k in zip(population.first[:-1], counts, taken, strict=True)
        ]
    )
    stratum = np.repeat(np.arange(len(counts)), taken)
    activity, size = np.divmod(stratum, len(s["size_shares"]))
    activities = np.array(s["activities"], dtype=object)[activity]
    classes = np.array(s["size_classes"], dtype=object)[size]
    values = population.records.take(rows).reset_index(drop=True)
    truth = pd.DataFrame(
        {"activity": as_text_column(activities), "size_class": as_text_column(classes)}
    ).join(values)
    care = population.care[rows]
    previous = population.previous.take(rows).reset_index(drop=True)

    given, kind = _errors(truth, care, s["errors"], level, by_size, wrongs)
    observed = truth.assign(**{name: given[:, i] for i, name in enumerate(AMOUNTS)})
    kinds = np.zeros(truth.shape, dtype=np.int8)
    kinds[:, truth.columns.get_indexer(pd.Index(AMOUNTS))] = kind
    for name in ("staff", "employees"):  # heads are never counted in thousands
        hit = wrongs.random(n) < min(level * s["errors"]["random"], 1.0)
        wrong = np.where(hit, by_chance(truth[name].to_numpy(), wrongs), truth[name])
        kinds[:, truth.columns.get_loc(name)] = np.where(wrong != truth[name], 5, 0)
        observed[name] = wrong

    missing = pd.DataFrame(False, truth.index, truth.columns)
    score = -ranks(pd.Series(size)) if mechanism == "mar" else None
    for name in ANSWERED:
        own = ranks(truth[name]) if mechanism == "mnar" else score
        missing[name] = no_answer(np.ones(n, dtype=bool), own, nonresponse, answers)
        observed[name] = blank(observed[name], missing[name].to_numpy())
    for name in ZERO_IF_BLANK:
        empty = (observed[name] == 0) & (truth[name] == 0) & (answers.random(n) < s["blank_zeros"])
        observed[name] = observed[name].mask(empty)
    kinds[missing.to_numpy()] = 0
    errors = pd.DataFrame(kinds > 0, truth.index, truth.columns)

    moved = largest_error(truth, observed, errors)
    paradata = _paradata(previous, care, moved, s["clerk"], office)
    design = pd.DataFrame(
        {
            "weights": np.repeat(counts / taken, taken),
            "strata": as_text_column(activities + " " + classes),
            "fpc": np.repeat(counts, taken).astype(np.float64),
        }
    )
    return Survey(
        truth=truth,
        observed=observed,
        errors=errors,
        missing=missing,
        kinds=as_kinds(kinds, KINDS, truth),
        rules=RULES,
        design=design,
        paradata=paradata,
        previous=previous,
        population=population.totals.copy(),
        card=card,
    )


def _errors(
    truth: pd.DataFrame,
    care: Floats,
    rates: dict[str, float],
    level: float,
    by_size: float,
    rng: np.random.Generator,
) -> tuple[Floats, np.ndarray[Any, np.dtype[np.int8]]]:
    """Give the amounts as answered, and the kind of error in each cell: the first that hits."""
    true = truth[list(AMOUNTS)].to_numpy()
    given, kind = true.copy(), np.zeros(true.shape, dtype=np.int8)
    n, p = true.shape
    size = np.log(truth["staff"].to_numpy())
    prone = np.exp(by_size * (size - size.mean()) - 0.7 * care)

    def records(name: str) -> Mask:
        hit: Mask = rng.random(n) < chances(prone, min(level * rates[name], 1.0))
        return hit

    def one_of(columns: list[int]) -> Mask:
        hit = np.zeros((n, p), dtype=bool)
        hit[np.arange(n), rng.choice(columns, n)] = True
        return hit

    def put(wrong: Floats, hit: Mask, name: str) -> None:
        hit = hit & (kind == 0) & (wrong != true)
        given[hit] = wrong[hit]
        kind[hit] = KINDS.index(name)

    place = {name: i for i, name in enumerate(AMOUNTS)}
    put(true * 1000, np.broadcast_to(records("unit_record")[:, None], (n, p)), "unit_record")
    put(true * 1000, records("unit")[:, None] & one_of(list(range(8))), "unit")
    signed = [place[name] for name in ("profit", "staffcosts", "othercosts", "totalcosts")]
    put(-true, records("sign")[:, None] & one_of([signed[0], *signed]), "sign")
    swapped = true.copy()
    costs = rng.random(n) < 0.5
    for chosen, one, two in ((costs, "staffcosts", "othercosts"), (~costs, "turnover", "totalrev")):
        i, j = place[one], place[two]
        swapped[chosen, i], swapped[chosen, j] = true[chosen, j], true[chosen, i]
    # Half a swap is none: records that have another error already are left alone.
    put(swapped, (records("swap") & ~kind.any(axis=1))[:, None] & (swapped != true), "swap")
    put(by_chance(true, rng), rng.random((n, p)) < min(level * rates["random"], 1.0), "random")
    return given, kind


def _paradata(
    previous: pd.DataFrame,
    care: Floats,
    moved: Floats,
    clerk: dict[str, float],
    rng: np.random.Generator,
) -> pd.DataFrame:
    """How records came in: careless respondents are late, write on paper, and were changed."""
    n = len(care)
    new = previous["turnover"].isna().to_numpy()
    modes = np.array(["web", "paper", "phone"], dtype=object)
    leaning = -0.6 * care[:, None] * np.array([0.0, 1.0, 0.5]) + rng.gumbel(size=(n, 3))
    mode = np.argmax(leaning + np.log([0.7, 0.2, 0.1]), axis=1)
    late = np.maximum(np.round(rng.normal(-5 - 8 * care, 12)), 0)
    before = ~new & (rng.random(n) < 1 / (1 + np.exp(1.7 + 1.0 * care)))
    return pd.DataFrame(
        {
            "mode": as_text_column(modes[mode]),
            "days_late": late,
            "new_respondent": new,
            "remark": rng.random(n) < 1 / (1 + np.exp(2.5 - 0.8 * (moved > 0.1))),
            "changed_before": before,
            "clerk_changed": clerk_changes(moved, clerk, rng),
        }
    )


# --- shared with the household survey -----------------------------------------------------------


def largest_error(truth: pd.DataFrame, observed: pd.DataFrame, errors: pd.DataFrame) -> Floats:
    """Give the largest relative error of each record; a wrong category counts as 1."""
    numbers = [name for name in truth if pd.api.types.is_float_dtype(truth[name].dtype)]
    true = truth[numbers].fillna(0).to_numpy()
    distance = np.abs(observed[numbers].fillna(0).to_numpy() - true) / (np.abs(true) + 1)
    moved = np.where(errors[numbers].to_numpy(), distance, 0.0).max(axis=1)
    others = errors.drop(columns=numbers).to_numpy().any(axis=1)
    found: Floats = np.maximum(moved, others)
    return found


def clerk_changes(moved: Floats, clerk: dict[str, float], rng: np.random.Generator) -> Mask:
    """Draw which records a clerk changes: most large errors, some small ones, few right ones."""
    chance = np.select(
        [moved > 0.1, moved > 0], [clerk["large"], clerk["small"]], default=clerk["right"]
    )
    changed: Mask = rng.random(len(moved)) < chance
    return changed


def as_kinds(codes: Any, names: tuple[str, ...], like: pd.DataFrame) -> pd.DataFrame:
    """Write kinds of error as categories, column by column."""
    labels = pd.Index(names, dtype="str")
    columns = {
        name: pd.Categorical.from_codes(column, labels)
        for name, column in zip(like.columns, codes.T, strict=True)
    }
    return pd.DataFrame(columns, index=like.index)


def as_text_column(values: Any) -> Any:
    """Make a column of text."""
    return pd.array(values, dtype="str")
