"""A simulated survey: the sample, its answers and their coders, and what the best coder can do."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlkit.datasets._bunch import Bunch
from mlkit.datasets._wordings import Language, language

__all__ = ["simulate"]

Floats: TypeAlias = NDArray[np.float64]
Places: TypeAlias = NDArray[np.intp]


def simulate(n: int, *, seed: int, months: int, drift: float) -> Bunch:
    """Draw the sample that :func:`make_occupation_responses` describes. Arguments are checked."""
    speech = language()
    population = _population(speech, months, drift)
    # Each part has random numbers of its own: one part does not move the others.
    parts = np.random.SeedSequence(seed).spawn(4)
    design, answers, slips, coders = (np.random.default_rng(part) for part in parts)

    sample = _draw_sample(population, n, design)
    entry, wording = _draw_answers(speech, population, sample, answers)
    text = speech.text[wording]
    misspelt, shown = _mistype(speech, text, slips)

    records = _Posterior.of(speech, population.recorded, population)
    true = speech.unit[entry]
    codes = np.asarray(speech.classification.codes("unit"))
    settings = speech.card.settings
    given = _code(text, true, misspelt, records, settings, coders)

    def column(places: Places) -> Any:
        return pd.array(codes[places], dtype="str")

    frame = pd.DataFrame(
        {
            "text": pd.array(shown, dtype="str"),
            **{name: column(places) for name, places in given.items()},
            "month": sample["month"] + 1,
            "stratum": pd.array(
                np.array(settings["strata"], dtype=object)[sample["stratum"]], dtype="str"
            ),
            "psu": sample["psu"] + 1,
            "weight": sample["weight"],
            "held_back": speech.held_back[entry],
        }
    )
    truth = pd.DataFrame(
        {
            "code": column(true),
            "entry": entry,
            "clean": pd.array(speech.texts[text], dtype="str"),
            "best_code": column(records.best[text]),
            "best_probability": records.probability[text],
        }
    )
    card = speech.card
    return Bunch(
        name=card.name,
        kind=card.kind,
        frame=frame[list(card.columns)],
        classification=speech.classification,
        dictionary=speech.index[~speech.held_back].reset_index(drop=True),
        truth=truth,
        ceiling=_ceiling(speech, population, records),
        shares=_shares(speech, population),
        card=card,
        DESCR=str(card),
        licence=card.licence,
        citation=card.citation,
    )


# --- the population, which no seed changes ----------------------------------------------------


@dataclass(frozen=True)
class _Population:
    """What changes with region and month: shares of major groups, and of new words.

    Attributes
    ----------
    majors : array of shape (strata, months, major groups)
        Shares of the major groups.
    new_words : array of shape (months,)
        Share of answers with new words.
    recorded : array of shape (months, major groups)
        Expected share of a month and a major group among the records of a sample.
    living : array of shape (months, major groups)
        The same in the population.
    """

    majors: Floats
    new_words: Floats
    recorded: Floats
    living: Floats


def _population(speech: Language, months: int, drift: float) -> _Population:
    settings = speech.card.settings
    usual = np.bincount(_major()[speech.unit], speech.frequency)
    # Regions differ in a fixed way, drawn once and for all.
    rng = np.random.default_rng([settings["population_seed"], 1])
    regions = settings["contrast"] * rng.standard_normal((len(settings["strata"]), 1, len(usual)))
    # 0 in the first half of the period, then rising to 1 in its last month.
    half = months // 2
    change = drift * np.maximum(np.arange(1, months + 1) - half, 0) / max(months - half, 1)
    change = change if months > 1 else np.zeros(1)
    growth = change[:, None] * np.array(settings["growth"])
    majors = usual * np.exp(regions + growth)
    majors /= majors.sum(axis=-1, keepdims=True)

    answering = _household_kinds(settings) @ np.array(settings["response_rates"])
    sampled, living = (
        np.einsum("h,hmk->mk", np.array(settings[f"{which}_shares"]), majors) / months
        for which in ("sample", "population")
    )
    recorded = sampled * answering
    return _Population(
        majors=majors,
        new_words=np.minimum(settings["new_words"] * change, 1),
        recorded=recorded / recorded.sum(),
        living=living,
    )


@functools.cache
def _major() -> Places:
    """Place the major group of each unit group among the major groups."""
    tree = language().classification
    majors = tree.at_level(tree.codes("unit"), "major")
    return np.asarray(pd.Index(tree.codes("major")).get_indexer(majors), dtype=np.intp)


def _household_kinds(settings: Mapping[str, Any]) -> Floats:
    """Give the shares of the kinds of household in each major group: shape (major groups, 3)."""
    reluctant: Floats = np.array(settings["reluctant"])[:, None]
    among_reluctant, among_others = map(np.array, settings["household_kinds"])
    shares: Floats = reluctant * among_reluctant + (1 - reluctant) * among_others
    return shares


# --- the sample -------------------------------------------------------------------------------


def _draw_sample(
    population: _Population, n: int, rng: np.random.Generator
) -> dict[str, NDArray[Any]]:
    """Draw interviews: month, stratum, primary unit, major group and weight of each.

    Primary units belong to one month. Their shares of major groups scatter around those of
    stratum and month (Dirichlet), so the mean over primary units is unbiased. Households
    answer at known rates; the weight is the inverse of the probability to be in the sample,
    for a sample of n.
    """
    settings = language().card.settings
    strata, months, majors = population.majors.shape
    units = -(-settings["psus_per_stratum"] // months)  # per stratum and month, rounded up
    rates = np.array(settings["response_rates"])
    spread = 1 / settings["intracluster_correlation"] - 1
    gamma = rng.gamma(population.majors[:, :, None] * spread, size=(strata, months, units, majors))
    local = gamma / gamma.sum(axis=-1, keepdims=True)
    # Axes: stratum, month, primary unit, major group, kind of household.
    chance = (
        (np.array(settings["sample_shares"]) / (months * units))[:, None, None, None, None]
        * local[..., None]
        * _household_kinds(settings)
        * rates
    )
    total = chance.sum()
    ends = np.cumsum(chance.ravel())
    cell = np.searchsorted(ends, rng.random(n) * ends[-1], side="right")
    cell = np.minimum(cell, chance.size - 1)
    stratum, month, unit, major, kind = np.unravel_index(cell, chance.shape)
    psu = (month * strata + stratum) * units + unit
    order = np.argsort(psu, kind="stable")
    raised = np.array(settings["population_shares"]) / np.array(settings["sample_shares"])
    weight = settings["population"] * total / max(n, 1) * raised[stratum] / rates[kind]
    columns = {"month": month, "stratum": stratum, "psu": psu, "major": major, "weight": weight}
    return {name: values[order] for name, values in columns.items()}


def _draw_answers(
    speech: Language,
    population: _Population,
    sample: Mapping[str, NDArray[Any]],
    rng: np.random.Generator,
) -> tuple[Places, Places]:
    """Draw the entry of each interview, given its major group, and the wording of the entry."""
    major = _major()[speech.unit]
    entry = _draw_within(major, speech.frequency, sample["major"], rng)
    new = rng.random(len(entry)) < population.new_words[sample["month"]]
    usual_wording, new_wording = (
        _draw_within(speech.entry, chances, entry, rng) for chances in (speech.usual, speech.new)
    )
    return entry, np.where(new, new_wording, usual_wording)


def _draw_within(
    group: Places, chances: Floats, wanted: Places, rng: np.random.Generator
) -> Places:
    """Draw one member of each wanted group, in proportion to the members' chances."""
    order = np.argsort(group, kind="stable")
    ends = np.concatenate([[0.0], np.cumsum(chances[order])])
    low, high = (ends[np.searchsorted(group[order], wanted, side)] for side in ("left", "right"))
    drawn = low + rng.random(len(wanted)) * (high - low)
    # Rounding must not lead out of the group.
    drawn = np.minimum(drawn, np.nextafter(high, low))
    return np.asarray(order[np.searchsorted(ends, drawn, side="right") - 1])


def _mistype(
    speech: Language, text: Places, rng: np.random.Generator
) -> tuple[NDArray[np.bool_], NDArray[np.object_]]:
    """Misspell one word in some texts; every distinct misspelt text is made once."""
    counts = np.array([len(places) for places in speech.typable])[text]
    which, how = rng.random((2, len(text)))
    misspelt = (rng.random(len(text)) < speech.card.settings["misspelt"]) & (counts > 0)
    shown = speech.texts[text]
    rows = np.flatnonzero(misspelt)
    nth = (which[rows] * counts[rows]).astype(np.intp)
    most = speech.card.settings["misspellings"]
    slip = (how[rows] * most).astype(np.intp)
    key = (text[rows] * (int(counts.max(initial=0)) + 1) + nth) * most + slip
    _, first, back = np.unique(key, return_index=True, return_inverse=True)
    made = [
        _misspell(speech, t, k, s)
        for t, k, s in zip(
            text[rows][first].tolist(), nth[first].tolist(), slip[first].tolist(), strict=True
        )
    ]
    shown[rows] = np.array(made, dtype=object)[back]
    return misspelt, shown


def _misspell(speech: Language, text: int, nth: int, slip: int) -> str:
    word = int(speech.typable[text][nth])
    slips = speech.misspellings[word]
    words = speech.texts[text].split()
    words[words.index(speech.vocabulary[word])] = slips[slip % len(slips)]
    return " ".join(words)


# --- what the best coder can do ---------------------------------------------------------------


@dataclass(frozen=True)
class _Posterior:
    """For each text, how likely each unit group is.

    Attributes
    ----------
    text, unit, mass : arrays of shape (pairs,)
        The pairs of a text and a unit group that occur, in the order of texts, and how
        likely the pair is. Masses add up to 1.
    best, probability : arrays of shape (texts,)
        The likeliest unit group given the text, and how likely it is then.
    """

    text: Places
    unit: Places
    mass: Floats
    best: Places
    probability: Floats

    @classmethod
    def of(cls, speech: Language, shares: Floats, population: _Population) -> _Posterior:
        """Compute it when months and major groups have the shares given."""
        text, unit, pair = _pairs()
        usual = (shares * (1 - population.new_words)[:, None]).sum(axis=0)
        new = (shares * population.new_words[:, None]).sum(axis=0)
        major = _major()[speech.unit]
        within = speech.frequency / np.bincount(major, speech.frequency)[major]
        entry_major = major[speech.entry]
        joint = within[speech.entry] * (
            usual[entry_major] * speech.usual + new[entry_major] * speech.new
        )
        mass: Floats = np.bincount(pair, joint, minlength=len(text)).astype(np.float64)
        # The heaviest pair of each text comes first.
        order = np.lexsort((-mass, text))
        first = order[np.searchsorted(text[order], np.arange(len(speech.texts)))]
        total = np.bincount(text, mass, minlength=len(speech.texts))
        # Without drift, texts with new words never occur.
        probability = np.divide(mass[first], total, out=np.zeros(len(first)), where=total > 0)
        return cls(text, unit, mass, unit[first], probability)


@functools.cache
def _pairs() -> tuple[Places, Places, Places]:
    """List the pairs of text and unit group, and find the pair of each wording."""
    speech = language()
    units = len(speech.classification.codes("unit"))
    key = speech.text * units + speech.unit[speech.entry]
    keys, pair = np.unique(key, return_inverse=True)
    return keys // units, keys % units, pair


def _ceiling(speech: Language, population: _Population, records: _Posterior) -> pd.DataFrame:
    """Compute the accuracy of the best coder at every level."""
    tree = speech.classification
    living = _Posterior.of(speech, population.living, population)
    rows = {}
    for level in tree.levels:
        above = pd.factorize(tree.at_level(tree.codes("unit"), level))[0]
        rows[level] = {
            name: _best_share(posterior, above)
            for name, posterior in (("records", records), ("population", living))
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("level")


def _best_share(posterior: _Posterior, above: Places) -> float:
    """Add up, over texts, the mass of the likeliest code; `above` maps unit groups to codes."""
    key = posterior.text * (int(above.max()) + 1) + above[posterior.unit]
    keys, place = np.unique(key, return_inverse=True)
    mass = np.bincount(place, posterior.mass)
    text = keys // (int(above.max()) + 1)
    return float(np.maximum.reduceat(mass, np.flatnonzero(np.diff(text, prepend=-1))).sum())


def _shares(speech: Language, population: _Population) -> pd.DataFrame:
    """Compute the true share of each unit group in the population, by month."""
    major = _major()
    unit = np.bincount(speech.unit, speech.frequency)
    within = unit / np.bincount(major, unit)[major]
    months = population.living.shape[0]
    return pd.DataFrame(
        within[:, None] * population.living.T[major] * months,
        index=pd.Index(speech.classification.codes("unit"), dtype="str", name="code"),
        columns=pd.RangeIndex(1, months + 1, name="month"),
    )


# --- people who code --------------------------------------------------------------------------


def _code(
    text: Places,
    true: Places,
    misspelt: NDArray[np.bool_],
    posterior: _Posterior,
    settings: Mapping[str, Any],
    rng: np.random.Generator,
) -> dict[str, Places]:
    """Let two coders and an arbiter code the answers.

    A coder takes the likeliest code of the text, or when in doubt any code in proportion to
    its probability. Now and then he slips, on hard texts more often, and then often to the
    same wrong code as others. Given the text, coders err independently: what correlates
    their errors is the text.
    """
    hardness, trap = _hard_texts()
    slippery = hardness[text] * (1 + misspelt)
    given = {}
    for name in ("coder_a", "coder_b", "arbiter"):
        thought = posterior.best[text]
        if name == "arbiter":
            informed = rng.random(len(text)) < settings["arbiter_knows"]
            code = np.where(informed, true, thought)
        else:
            doubtful = rng.random(len(text)) >= settings["first_thought"]
            code = np.where(doubtful, _draw_within_text(posterior, text, rng), thought)
        slips = settings[f"slips_{name.removeprefix('coder_')}"]
        slipped = rng.random(len(text)) < np.minimum(slips * slippery, 0.6)
        common = rng.random(len(text)) < settings["same_slip"]
        given[name] = np.where(slipped, np.where(common, trap[text], _sibling(code, rng)), code)
    return given


def _draw_within_text(posterior: _Posterior, text: Places, rng: np.random.Generator) -> Places:
    return posterior.unit[_draw_within(posterior.text, posterior.mass, text, rng)]


@functools.cache
def _hard_texts() -> tuple[Floats, Places]:
    """Say how hard each text is (1 on average), and to which wrong code it tempts."""
    speech = language()
    settings = speech.card.settings
    rng = np.random.default_rng([settings["population_seed"], 2])
    spread = settings["difficulty"]
    hardness = np.exp(spread * rng.standard_normal(len(speech.texts)) - spread**2 / 2)
    text, unit, _ = _pairs()
    first = unit[np.searchsorted(text, np.arange(len(speech.texts)))]
    return hardness, _sibling(first, rng)


def _sibling(code: Places, rng: np.random.Generator) -> Places:
    """Draw another unit group, of the same sub-major group if it has another."""
    start, size = _families()
    step = 1 + (rng.random(len(code)) * (size[code] - 1)).astype(np.intp)
    return start[code] + (code - start[code] + step) % size[code]


@functools.cache
def _families() -> tuple[Places, Places]:
    """Find the sub-major group of each unit group: its first unit group, and how many it has."""
    tree = language().classification
    family = pd.factorize(tree.at_level(tree.codes("unit"), "submajor"))[0]
    size = np.bincount(family)
    return (np.cumsum(size) - size)[family], size[family]
