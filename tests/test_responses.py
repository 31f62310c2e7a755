"""Simulated job answers: their truth is the truth, and the task is not circular."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mlkit.datasets import Bunch, dataset_card, make_occupation_responses
from mlkit.datasets._survey import _best_share, _pairs, _population, _Posterior
from mlkit.datasets._wordings import language, spoken

ROOT = Path(__file__).resolve().parents[1]
LEVELS = ["major", "submajor", "minor", "unit"]
MANY = 200_000


@pytest.fixture(scope="module")
def many() -> Bunch:
    return make_occupation_responses(MANY, seed=1)


def right(bunch: Bunch, column: str = "best_code") -> pd.Series:
    given = bunch.truth[column] if column == "best_code" else bunch.frame[column]
    return given == bunch.truth["code"]


# --- form -------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, 1, 1000])
def test_form(n: int) -> None:
    made = make_occupation_responses(n, seed=0)
    frame, truth = made.frame, made.truth
    assert list(frame.columns) == list(made.card.columns)
    assert len(frame) == len(truth) == n
    assert frame.index.equals(pd.RangeIndex(n))
    assert truth.index.equals(frame.index)
    for column in ("text", "coder_a", "coder_b", "arbiter", "stratum"):
        assert frame[column].dtype == "str", column
    assert frame["held_back"].dtype == bool
    assert frame["month"].dtype == frame["psu"].dtype == np.int64
    assert frame["weight"].dtype == float
    assert not frame.isna().any(axis=None)
    units = set(made.classification.codes("unit"))
    for codes in (frame["coder_a"], frame["coder_b"], frame["arbiter"]):
        assert set(codes) <= units
    assert set(truth["code"]) | set(truth["best_code"]) <= units
    assert (frame["text"] != "").all()
    assert frame["month"].between(1, 12).all()
    assert frame["month"].is_monotonic_increasing
    assert made.kind == "simulated"
    assert str(made.card) == made.DESCR


def test_same_call_same_rows_in_another_process_too() -> None:
    code = (
        "import pandas as pd; from mlkit.datasets import make_occupation_responses as make; "
        "made = make(300, seed=7); "
        "print(pd.util.hash_pandas_object(made.frame.join(made.truth)).sum())"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    ]
    made = make_occupation_responses(300, seed=7)
    assert int(runs[0]) == int(runs[1])
    assert int(runs[0]) == pd.util.hash_pandas_object(made.frame.join(made.truth)).sum()


def test_another_seed_is_another_sample_of_the_same_population() -> None:
    one, two = (make_occupation_responses(2000, seed=seed) for seed in (1, 2))
    assert not one.frame["text"].equals(two.frame["text"])
    assert one.dictionary.equals(two.dictionary)
    pd.testing.assert_frame_equal(one.ceiling, two.ceiling, check_exact=True)
    pd.testing.assert_frame_equal(one.shares, two.shares, check_exact=True)


def test_what_is_returned_may_be_changed() -> None:
    made = make_occupation_responses(10, seed=0)
    before = made.dictionary.copy()
    made.dictionary["code"] = "0"
    made.frame["text"] = ""
    again = make_occupation_responses(10, seed=0)
    assert again.dictionary.equals(before)
    assert (again.frame["text"] != "").all()


@pytest.mark.parametrize(
    ("arguments", "kind", "said"),
    [
        ({"n": -1}, ValueError, "n is -1; give a whole number, 0 or more."),
        ({"n": 10.0}, TypeError, r"n is 10.0 \(float\); give a whole number, 0 or more."),
        ({"n": True}, TypeError, r"n is True \(bool\)"),
        ({"n": "10"}, TypeError, r"n is '10' \(str\)"),
        ({"seed": -1}, ValueError, "seed is -1"),
        ({"seed": None}, TypeError, r"seed is None \(NoneType\)"),
        ({"months": 0}, ValueError, "months is 0; give a whole number, from 1 to 120."),
        ({"months": 121}, ValueError, "months is 121; give"),
        ({"drift": -0.1}, ValueError, r"drift is -0.1; give a number from 0 \(no drift\) to 3."),
        ({"drift": float("nan")}, ValueError, "drift is nan"),
        ({"drift": "much"}, TypeError, r"drift is 'much' \(str\)"),
        ({"drift": True}, TypeError, r"drift is True \(bool\)"),
    ],
)
def test_bad_arguments(arguments: dict[str, object], kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said):
        make_occupation_responses(**{"n": 10, "seed": 0, **arguments})  # type: ignore[arg-type]


def test_seed_has_no_default() -> None:
    with pytest.raises(TypeError, match="seed"):
        make_occupation_responses(10)  # type: ignore[call-arg]


def test_numpy_numbers_are_numbers() -> None:
    made = make_occupation_responses(np.int64(5), seed=np.uint8(3), drift=np.float32(0))
    assert made.frame.equals(make_occupation_responses(5, seed=3, drift=0).frame)


def test_a_million_answers() -> None:
    start = time.perf_counter()
    assert len(make_occupation_responses(1_000_000, seed=0).frame) == 1_000_000
    assert time.perf_counter() - start < 20


# --- not circular -----------------------------------------------------------------------------


def test_spoken_order() -> None:
    assert spoken("Engineer, building") == "building engineer"
    assert spoken("Maker, stick, walking") == "walking stick maker"
    assert spoken("Assistant, crèche") == "creche assistant"
    assert spoken("Assistant, chef’s") == "chef's assistant"
    assert spoken("AP(T)") == "ap t"


def looked_up(made: Bunch, entries: pd.DataFrame) -> pd.Series:
    """Look up answers among the titles of entries that have one code only."""
    codes = entries.groupby("text")["code"].agg(["nunique", "first"])
    return made.frame["text"].map(codes.loc[codes["nunique"] == 1, "first"])


def test_looking_answers_up_in_their_own_index_is_not_enough(many: Bunch) -> None:
    whole = looked_up(many, language().index)
    allowed = looked_up(many, many.dictionary)
    assert 0.4 < whole.notna().mean() < 0.6  # 45 % for German answers: Schierholz and Schonlau 2021
    assert allowed.notna().mean() < whole.notna().mean() - 0.02
    assert (whole == many.truth["code"])[whole.notna()].mean() < 0.995


def test_common_answers_repeat(many: Bunch) -> None:
    counts = many.frame["text"].value_counts()
    assert counts.head(100).sum() / MANY > 0.2
    assert len(counts) < MANY / 4
    units = many.truth["code"].value_counts(normalize=True)
    assert units.index[0] == "7111"
    assert 0.03 < units.iloc[0] < 0.06


def test_held_back_titles_are_nowhere(many: Bunch) -> None:
    other = make_occupation_responses(50_000, seed=2)
    frame = pd.concat([many.frame, other.frame])
    assert 0.05 < frame["held_back"].mean() < 0.15
    held, free = (
        set(frame.loc[frame["held_back"] == is_held, "text"]) for is_held in (True, False)
    )
    assert not held & free
    assert not held & set(many.dictionary["text"])
    titles = set(language().index["text"])
    assert len(held & titles) > 500, "held-back titles are said as they stand, too"
    # Nor in the order of the index, which a dictionary might undo in another way.
    said = {" ".join(sorted(text.split())) for text in many.dictionary["text"]}
    assert not {" ".join(sorted(text.split())) for text in held & titles} & said


def test_the_dictionary_is_the_rest_of_the_index(many: Bunch) -> None:
    entries = language().index
    assert list(many.dictionary.columns) == ["title", "industry", "additional", "code", "text"]
    held = len(entries) - len(many.dictionary)
    assert 0.08 < held / len(entries) < 0.12
    used = set(many.truth.loc[many.frame["held_back"], "entry"])
    assert not used & set(many.truth.loc[~many.frame["held_back"], "entry"])
    assert len(used) <= held


def test_the_entry_has_the_true_code(many: Bunch) -> None:
    entries = language().index
    assert (entries["code"].to_numpy()[many.truth["entry"]] == many.truth["code"]).all()


def test_every_kind_of_wording_occurs(many: Bunch) -> None:
    texts = set(many.truth["clean"])
    entries = language().index
    # As it is, abbreviated, another word, a new word; vague; with its qualifier.
    assert {"sales assistant", "sales asst", "sales helper", "sales team member"} <= texts
    assert {"engineer", "assistant"} <= texts
    qualified = entries["text"] + " " + entries["industry"].str.strip("()").str.lower()
    assert len(texts & set(qualified[entries["industry"] != ""])) > 1000


def test_misspellings(many: Bunch) -> None:
    shown, clean = many.frame["text"], many.truth["clean"]
    misspelt = shown != clean
    assert 0.07 < misspelt.mean() < 0.08
    words = {word for text in language().texts for word in text.split()}
    pairs = list(zip(shown[misspelt], clean[misspelt], strict=True))[:5000]
    for wrong, meant in pairs:
        differing = [(a, b) for a, b in zip(wrong.split(), meant.split(), strict=True) if a != b]
        assert len(differing) == 1
        ((typed, word),) = differing
        assert typed not in words
        assert len(word) >= 4


def test_no_two_words_share_a_misspelling() -> None:
    speech = language()
    slips = [slip for word in speech.misspellings for slip in word]
    assert len(slips) == len(set(slips)) > 20_000
    assert not set(slips) & {word for text in speech.texts for word in text.split()}


# --- irreducible error ------------------------------------------------------------------------


def test_wordings_are_probabilities() -> None:
    speech = language()
    assert speech.frequency.sum() == pytest.approx(1)
    assert (speech.frequency > 0).all()
    for chances in (speech.usual, speech.new):
        assert (chances >= 0).all()
        np.testing.assert_allclose(np.bincount(speech.entry, chances), 1)


def slow_ceiling(level: str, months: int, drift: float) -> float:
    """Add up the best coder's accuracy with pandas, from the definition."""
    speech = language()
    population = _population(speech, months, drift)
    tree = speech.classification
    units = pd.Series(tree.codes("unit"))
    major = pd.Series(tree.at_level(units.to_numpy(), "major"))
    entries = pd.DataFrame({"unit": speech.unit, "frequency": speech.frequency})
    entries["major"] = entries["unit"].map(major)
    entries["frequency"] /= entries.groupby("major")["frequency"].transform("sum")
    masses = []
    for month in range(months):
        share = dict(zip(tree.codes("major"), population.recorded[month], strict=True))
        new = population.new_words[month]
        wording = (1 - new) * speech.usual + new * speech.new
        weight = (entries["major"].map(share) * entries["frequency"]).to_numpy()
        masses.append(weight[speech.entry] * wording)
    code = pd.Series(tree.at_level(units.to_numpy(), level))
    table = pd.DataFrame(
        {
            "text": speech.text,
            "code": entries["unit"].map(code).to_numpy()[speech.entry],
            "mass": sum(masses),
        }
    )
    return float(table.groupby(["text", "code"])["mass"].sum().groupby("text").max().sum())


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(("months", "drift"), [(12, 1.0), (3, 0.0)])
def test_the_ceiling_by_another_way(level: str, months: int, drift: float) -> None:
    made = make_occupation_responses(0, seed=0, months=months, drift=drift)
    assert made.ceiling.loc[level, "records"] == pytest.approx(slow_ceiling(level, months, drift))


def test_a_small_ceiling_by_hand() -> None:
    # Text 0: .3 + .1 + .1, text 1: .3 + .2. At unit level the best get .3 and .3; if codes 1
    # and 2 are one code above, .3 and .3 again; if 0 and 1 are one, .4 and .5.
    posterior = _Posterior(
        text=np.array([0, 0, 0, 1, 1]),
        unit=np.array([0, 1, 2, 0, 1]),
        mass=np.array([0.3, 0.1, 0.1, 0.3, 0.2]),
        best=np.array([0, 0]),
        probability=np.array([0.6, 0.6]),
    )
    assert _best_share(posterior, np.array([0, 1, 2])) == pytest.approx(0.6)
    assert _best_share(posterior, np.array([0, 1, 1])) == pytest.approx(0.6)
    assert _best_share(posterior, np.array([0, 0, 1])) == pytest.approx(0.9)


def test_the_best_coder_reaches_the_ceiling(many: Bunch) -> None:
    # The design is clustered: twice the binomial standard error leaves room for it.
    margin = 4 * 2 * np.sqrt(0.89 * 0.11 / MANY)
    hits = right(many)
    ceiling = many.ceiling.loc["unit"]
    assert abs(hits.mean() - ceiling["records"]) < margin
    assert abs(np.average(hits, weights=many.frame["weight"]) - ceiling["population"]) < 2 * margin
    assert abs(many.truth["best_probability"].mean() - ceiling["records"]) < margin


def test_the_best_probability_is_calibrated(many: Bunch) -> None:
    groups = pd.cut(many.truth["best_probability"], [0, 0.2, 0.4, 0.6, 0.8, 0.99, 1.0])
    table = pd.DataFrame({"said": many.truth["best_probability"], "true": right(many)})
    means = table.groupby(groups, observed=True).agg(["mean", "size"])
    error = (means["said", "mean"] - means["true", "mean"]).abs()
    assert (error < 0.005 + 4 / np.sqrt(means["true", "size"])).all()


def test_who_has_seen_a_million_answers_does_not_beat_the_ceiling(many: Bunch) -> None:
    seen = make_occupation_responses(1_000_000, seed=99)
    table = pd.DataFrame({"text": seen.truth["clean"], "code": seen.truth["code"]})
    counts = table.value_counts().reset_index().drop_duplicates("text")
    answer = many.truth["clean"].map(counts.set_index("text")["code"])
    accuracy = (answer == many.truth["code"]).mean()
    ceiling = many.ceiling.loc["unit", "records"]
    assert ceiling - 0.02 < accuracy < ceiling + 4 * 2 * np.sqrt(0.89 * 0.11 / MANY)


def test_the_ceiling_stands_in_the_card(many: Bunch) -> None:
    unit, minor, submajor, major = (many.ceiling["records"][LEVELS[::-1]] * 100).round(1)
    said = f"{unit} % of the records at four digits, {minor} % at three, {submajor} % at two and"
    assert f"{said} {major} % at one (twelve months, drift 1;" in " ".join(many.card.defects)
    assert many.ceiling["records"].is_monotonic_decreasing


def test_index_size_in_the_card(many: Bunch) -> None:
    card = dataset_card("occupation_responses")
    entries = language().index
    assert f"About {round(len(entries), -2):,} entries" in card.size
    assert f"the {len(card.settings['common'])} that `common` lists" in " ".join(card.defects)
    assert set(map(str, card.settings["common"])) <= set(many.classification.codes("unit"))


# --- coders -----------------------------------------------------------------------------------


def test_coders_err_as_people_do(many: Bunch) -> None:
    accuracy = {name: right(many, name).mean() for name in ("coder_a", "coder_b", "arbiter")}
    assert accuracy["coder_b"] < accuracy["coder_a"] < many.ceiling.loc["unit", "records"]
    assert many.ceiling.loc["unit", "records"] < accuracy["arbiter"] < 0.98
    assert 0.78 < accuracy["coder_b"] < accuracy["coder_a"] < 0.85


def test_errors_correlate_through_hard_texts(many: Bunch) -> None:
    wrong_a, wrong_b = ~right(many, "coder_a"), ~right(many, "coder_b")
    assert np.corrcoef(wrong_a, wrong_b)[0, 1] > 0.4
    # Arbitrating disagreements only never sees these.
    agreed = many.frame["coder_a"] == many.frame["coder_b"]
    assert 0.05 < wrong_a[agreed].mean() < 0.12
    # Given the text and the truth, one coder's error says next to nothing about the other's.
    key = many.truth["clean"] + many.truth["code"]
    common = key.isin(key.value_counts().loc[lambda count: count >= 200].index)
    residuals = [
        wrong[common] - wrong[common].groupby(key[common]).transform("mean")
        for wrong in (wrong_a.astype(float), wrong_b.astype(float))
    ]
    assert abs(np.corrcoef(residuals[0], residuals[1])[0, 1]) < 0.02


def test_the_same_wrong_code_tempts_both(many: Bunch) -> None:
    clear = many.truth["best_probability"] > 0.999
    both = clear & ~right(many, "coder_a") & ~right(many, "coder_b")
    same = (many.frame["coder_a"] == many.frame["coder_b"])[both]
    assert len(same) > 300
    assert same.mean() > 0.4  # two draws among the siblings would agree in fewer than one of six


def test_coders_do_not_know_the_truth(many: Bunch) -> None:
    # Where the text is no help, coders are no better than the best coder.
    vague = many.truth["best_probability"] < 0.5
    assert vague.sum() > 1000
    for name in ("coder_a", "coder_b"):
        assert right(many, name)[vague].mean() < right(many)[vague].mean()


# --- design and drift -------------------------------------------------------------------------


def test_weights_undo_the_design(many: Bunch) -> None:
    frame = many.frame
    assert frame["weight"].sum() == pytest.approx(30_000_000, rel=0.02)
    true = many.shares.mean(axis=1)
    assert true.sum() == pytest.approx(1)
    major = true.groupby(many.classification.at_level(true.index, "major")).sum()
    seen = many.truth["code"].str[0]
    weighted = frame["weight"].groupby(seen).sum() / frame["weight"].sum()
    unweighted = seen.value_counts(normalize=True).sort_index()
    assert (weighted - major).abs().max() < 0.01
    assert (unweighted - major).abs().max() > 0.02


def test_weighted_shares_are_unbiased_over_samples() -> None:
    estimates = []
    for seed in range(60):
        made = make_occupation_responses(1000, seed=seed)
        share = made.frame["weight"].groupby(made.truth["code"].str[0]).sum() / 30_000_000
        estimates.append(share.reindex(list("123456789"), fill_value=0.0))
    table = pd.DataFrame(estimates)
    shares = made.shares.mean(axis=1)
    major = shares.groupby(shares.index.str[0]).sum()
    z = (table.mean() - major) / (table.std(ddof=1) / np.sqrt(len(table)))
    assert (z.abs() < 4).all()


def test_primary_units_lie_in_one_stratum_and_month(many: Bunch) -> None:
    psus = many.frame.groupby("psu")[["stratum", "month"]].nunique()
    assert (psus == 1).all(axis=None)
    assert psus.groupby(
        many.frame.groupby("psu")["stratum"].first()
    ).size().to_dict() == dict.fromkeys(["north", "east", "south", "west"], 120)
    # They are alike inside: means of primary units vary more than those of random groups.
    crafts = (many.truth["code"].str[0] == "5").astype(float)
    between = crafts.groupby(many.frame["psu"]).mean().var()
    at_random = crafts.var() / (MANY / 480)
    assert between > 3 * at_random


@pytest.mark.parametrize("months", [1, 2, 12])
def test_no_drift_is_no_drift(months: int) -> None:
    made = make_occupation_responses(0, seed=0, months=months, drift=0)
    assert made.shares.shape == (369, months)
    assert made.shares.sub(made.shares[1], axis=0).abs().max(axis=None) < 1e-15
    assert not _population(language(), months, 0.0).new_words.any()


def test_drift(many: Bunch) -> None:
    first, middle, last = (many.shares[month] for month in (1, 6, 12))
    assert (first - middle).abs().max() < 1e-15
    care = many.shares.index.str.startswith("6")
    assert last[care].sum() > 1.4 * first[care].sum()
    _, _, pair = _pairs()
    assert len(pair) == len(language().entry)
    fresh = many.truth["clean"].str.contains("hygiene operative")
    by_month = fresh.groupby(many.frame["month"]).mean()
    assert by_month.loc[:6].sum() == 0
    assert by_month.loc[12] > by_month.loc[9] > 0


def test_more_drift_is_more() -> None:
    mild, strong = (make_occupation_responses(0, seed=0, drift=d).shares for d in (1, 2))
    change = [(shares[12] - shares[1]).abs().sum() for shares in (mild, strong)]
    assert change[1] > 1.5 * change[0]
