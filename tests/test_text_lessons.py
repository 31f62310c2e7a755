"""The lessons on text with other data: an office's own file, faulty files, real product names.

The third lesson has a module of its own, tests/test_threshold_lesson.py, which also goes
through every fault of a file of texts and codes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import SGDClassifier
from sklearn.pipeline import make_pipeline

from mlkit.classifications import Classification
from mlkit.datasets import (
    dataset_card,
    load_coded_records,
    load_soc_index,
    make_occupation_responses,
)
from mlkit.estimate import Design
from mlkit.lessons import read_master
from mlkit.runs.notebook import Outcome
from tests.lesson_runs import (
    checked,
    complaints,
    master_of,
    needs_real_copies,
    run_lesson,
    shown,
    use_real_workbook,
)

TRACK = "text-classification"
LEVELS, COUNTS, LISTS, NEURAL, BREAKS, OUTPUTS = (
    f"{TRACK}/{name}"
    for name in (
        "04-levels",
        "05-codes-to-counts",
        "06-short-lists",
        "07-neural-coder",
        "08-new-classification",
        "09-judge-a-coder",
    )
)

# Every run of a lesson has these, whatever the data, so that one table can compare them.
RESULTS = {
    LEVELS: {
        "accuracy_level_1",
        "accuracy_level_2",
        "accuracy_level_3",
        "wrong_but_right_one_level_up",
        "share_coded_finest",
        "share_coded_higher",
        "share_coded_finest_threshold_alone",
        "top_down_minus_flat_top",
        "top_down_minus_flat_finest",
        "largest_relative_error_as_coded",
        "largest_relative_error_spread",
        "largest_relative_error_audited",
    },
    COUNTS: {
        "true_share",
        "published_share",
        "accuracy_in_two_classes",
        "share_calibration",
        "share_misclassification",
        "share_prediction_powered",
        "share_audit_alone",
        "share_last_years_audit_calibration",
        "share_last_years_audit_misclassification",
        *(
            f"coverage_{estimator}_{audit}"
            for estimator in (
                "audit_alone",
                "prediction_powered",
                "calibration",
                "misclassification",
            )
            for audit in ("fresh_audit", "after_shift", "after_new_words")
        ),
        "fail_after_shift",
        "fail_after_new_words",
        "mean_error_counted",
        "mean_error_corrected",
        "released_share",
    },
    LISTS: {
        "clerk_share",
        "coverage_naive_all",
        "coverage_naive_clerk",
        "empty_lists_naive",
        "coverage_conformal",
        "coverage_conformal_mean",
        "mean_length_conformal",
        "coverage_k_best",
        "gain_over_k_best",
        "gain_by_search",
        "coverage_by_model",
        "coverage_by_search",
        "coverage_merged",
        "largest_error_k_best",
        "largest_error_naive",
        "largest_error_conformal",
    },
    NEURAL: {
        "gain_claimed",
        "flattery_of_the_best",
        "gain_twice_the_training_records",
        "gain_reading_pieces_of_words",
        "gain_a_network",
        "gain_a_bend_in_the_network",
        *(f"accuracy_{model}" for model in ("words", "linear", "net", "bent_net")),
        *(
            f"{figure}_{model}"
            for figure in (
                "automatic",
                "accuracy_automatic",
                "gap_raw",
                "gap_calibrated",
                "brier",
            )
            for model in ("linear", "net")
        ),
        "correlation_of_errors",
        "same_wrong_code",
        "largest_jump_of_a_share",
        "seed_against_sampling",
    },
    BREAKS: {
        "break_of_the_loudest_group",
        "back_cast_n_quarter_4",
        "back_cast_error_quarter_1_by_old_code",
        "back_cast_error_quarter_1_by_old_code_and_home",
        "naive_growth_error_of_the_worst_group",
        "bridged_growth_of_the_worst_group",
        "groups_back_cast_without_reserve",
        "weight_in_codes_with_several_successors",
    },
    OUTPUTS: {
        "a_minus_b_on_own_records",
        "seen_a",
        "seen_b",
        "canaries_hit_a",
        "canaries_hit_b",
        "calibration_error_reported",
        "automatic_share_certified",
        "reference_texts_with_other_code",
        "right_of_automatic_later",
        "records_a_month_to_see_a_drop",
        "largest_jump",
    },
}

# What stays simulated when everything else is real: draws by computer, and simulated coders.
SIMULATED = {
    COUNTS: "coverage_.*|fail_after_.*|share_last_years_audit_.*",
    BREAKS: "(?!weight_in_codes_with_several_successors).*",
    OUTPUTS: "a_minus_b_.*|seen_.*|canaries_.*|reference_texts_.*",
}

# Between which values a result lies by what it is; a share, if nothing else is said.
RANGES = {
    "mean_length_.*|records_a_month_.*|groups_.*|seed_against_.*": (0, math.inf),
    "largest_.*error_.*|.*_growth_.*": (-1, math.inf),
    "gain_.*|flattery_.*|.*_minus_.*|seen_.*|correlation_.*|.*_jump.*|break_.*": (-1, 1),
    "share_.*(misclassification|prediction_powered)": (-0.5, 1.5),  # unbiased, so not cut at 0
}


class Case(NamedTuple):
    """A lesson with data that are not its own."""

    lesson: str
    file: str = ""  # one of the files below; none for product names
    parameters: tuple[tuple[str, Any], ...] = ()
    also: frozenset[str] = frozenset()  # results that these data have besides

    def __str__(self) -> str:
        given = [str(value) for name, value in self.parameters if name != "DATASET"]
        return " ".join(filter(None, [self.lesson.partition("/")[2][:2], self.file, *given]))


def names(lesson: str, language: str, **more: Any) -> Case:
    given = {"DATASET": "ecoicop", "LANGUAGE": language} | more
    also = {"right_of_those_that_fell_back_naive"} if lesson == LEVELS else set()
    return Case(lesson, "", tuple(given.items()), frozenset(also))


OWN_LEVELS = Case(
    LEVELS,
    "unit groups",
    (("TARGET", 0.85),),
    frozenset({"accuracy_level_4", "right_of_those_that_fell_back_naive"}),
)
NOTHING_CERTIFIED = Case(LEVELS, "minor groups")
OWN_COUNTS, OWN_LISTS, OWN_NEURAL = (
    Case(lesson, "minor groups") for lesson in (COUNTS, LISTS, NEURAL)
)
OWN_BREAKS = Case(BREAKS, "double coding")
OWN_OUTPUTS = Case(OUTPUTS, "outputs")
OWN = (
    OWN_LEVELS,
    NOTHING_CERTIFIED,
    OWN_COUNTS,
    OWN_LISTS,
    OWN_NEURAL,
    OWN_BREAKS,
    OWN_OUTPUTS,
)
IN_CARD = (
    *(names(lesson, code) for lesson in (LEVELS, COUNTS, LISTS) for code in ("english", "french")),
    *(names(NEURAL, code, ROWS=24_000) for code in ("english", "french")),
)
NAMES = (*IN_CARD, names(LISTS, "polish"))


every_case = pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=[] if case.file else [needs_real_copies], id=str(case))
        for case in (*OWN, *NAMES)
    ],
)


# ------------------------------------------------------------------------------------------
# The files of an office
# ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def answers() -> pd.DataFrame:
    """Make 6,000 answers with their codes in random order; nobody has cleaned them."""
    survey = make_occupation_responses(6_000, seed=3)
    table = survey.frame.sample(frac=1, random_state=0).reset_index(drop=True)
    unit = table["arbiter"].to_numpy(dtype=str)
    return table.assign(unit=unit, minor=survey.classification.at_level(unit, "minor"))


@pytest.fixture(scope="module")
def files(answers: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Write what an office would have on its disk."""
    structure = load_soc_index().classification.to_frame().reset_index()
    coded = answers[:3_000]
    tables = {
        "unit groups": answers[["text", "unit"]],
        "minor groups": coded[["text", "minor"]],
        "structure": structure[["code", "parent", "title"]],
        "double coding": double_coding(coded),
        "outputs": outputs_of_a_coder(coded, answers[3_000:]),
    }
    folder = tmp_path_factory.mktemp("office")
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False)
    return {name: folder / f"{name}.csv" for name in tables}


def double_coding(rows: pd.DataFrame) -> pd.DataFrame:
    """Move three in ten records of the six largest groups to a new one."""
    large = rows["minor"].value_counts().index[:6]
    moves = rows["minor"].isin(large) & (np.random.default_rng(0).random(len(rows)) < 0.3)
    new = "0" + rows["minor"].where(~moves, rows["minor"] + "b")
    return rows[["weight", "stratum", "psu", "month"]].assign(old="0" + rows["minor"], new=new)


def outputs_of_a_coder(learnt: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Code rows with a model, of which experts have coded two in five as well."""
    model = make_pipeline(
        TfidfVectorizer(sublinear_tf=True),
        SGDClassifier(loss="log_loss", alpha=1e-5, max_iter=5, tol=None, random_state=0),
    )
    scores = model.fit(learnt["text"], learnt["minor"]).predict_proba(rows["text"])
    audited = np.random.default_rng(0).random(len(rows)) < 0.4
    return rows[["month", "weight"]].assign(
        id=rows.index,
        code=model.classes_[scores.argmax(axis=1)],
        confidence=scores.max(axis=1).round(3),
        gold=rows["minor"].where(audited, ""),
        version=np.where(rows["month"] <= 6, "1.0", "1.1"),
    )


# ------------------------------------------------------------------------------------------
# Lessons run through, and say what is true
# ------------------------------------------------------------------------------------------

Ran = Callable[[Case], tuple[Outcome, dict[str, Any]]]


@pytest.fixture(scope="module")
def ran(files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Run each case once, for all tests that look at it."""
    done: dict[Case, tuple[Outcome, dict[str, Any]]] = {}

    def once(case: Case) -> tuple[Outcome, dict[str, Any]]:
        if case not in done:
            given = dict(case.parameters)
            if case.lesson == BREAKS:
                given["DOUBLE_CODED"] = str(files[case.file])
            elif case.file:
                given |= {"DATASET": "csv", "FILE": str(files[case.file])}
            if case.lesson == LEVELS and case.file:
                given["STRUCTURE"] = str(files["structure"])
            with pytest.MonkeyPatch.context() as patch:
                if not case.file:
                    use_real_workbook(tmp_path_factory.mktemp("cache"), patch)
                done[case] = run_lesson(case.lesson, **given)
        return done[case]

    return once


@pytest.mark.timeout(300)
@every_case
def test_the_lesson_runs_through(case: Case, ran: Ran) -> None:
    ended, _ = ran(case)
    assert ended["state"] == "succeeded", ended["error_message"]


@every_case
def test_its_own_solutions_are_right(case: Case, ran: Ran) -> None:
    found = checked(ran(case)[0])
    assert found == dict.fromkeys(read_master(master_of(case.lesson)).exercises, "right")


@every_case
def test_it_warns_of_nothing(case: Case, ran: Ran) -> None:
    assert complaints(ran(case)[0]) == ""


@every_case
def test_every_result_is_there_and_possible(case: Case, ran: Ran) -> None:
    _, found = ran(case)
    assert set(found) == RESULTS[case.lesson] | case.also
    for name, metric in found.items():
        if isinstance(metric["value"], str):
            continue
        low, high = next(
            (r for pattern, r in RANGES.items() if re.fullmatch(pattern, name)), (0, 1)
        )
        assert low <= metric["value"] <= high, name
        if metric["interval"]:
            assert metric["interval"][0] <= metric["value"] <= metric["interval"][1], name


@every_case
def test_real_and_simulated_are_told_apart(case: Case, ran: Ran) -> None:
    ended, found = ran(case)
    simulated = re.compile(SIMULATED.get(case.lesson, "(?!)"))
    expected = {n: "simulated" if simulated.fullmatch(n) else "real" for n in found}
    assert {name: metric["data"] for name, metric in found.items()} == expected
    if case.lesson not in SIMULATED:
        assert "simulated" not in shown(ended)


@every_case
def test_the_text_names_the_data(case: Case, ran: Ran) -> None:
    named = {BREAKS: "in this file (real data)", OUTPUTS: "The coder in your file"}
    own = named.get(case.lesson, "the code in your file")
    text = shown(ran(case)[0])
    assert (own if case.file else "the label of Statistics Poland") in text
    assert "the arbitrated code" not in text


def values(ran: Ran, case: Case) -> dict[str, Any]:
    return {name: metric["value"] for name, metric in ran(case)[1].items()}


def test_levels_of_an_own_classification(ran: Ran) -> None:
    found = values(ran, OWN_LEVELS)
    by_level = [found[f"accuracy_level_{number}"] for number in (1, 2, 3, 4)]
    assert by_level == sorted(by_level, reverse=True)
    # The naive way fails, as the lesson says; certified, a good part is coded.
    assert found["right_of_those_that_fell_back_naive"] < 0.85
    assert 0.4 < found["share_coded_finest"] + found["share_coded_higher"] <= 1


def test_where_nothing_can_be_certified_every_record_goes_to_clerks(ran: Ran) -> None:
    found = values(ran, NOTHING_CERTIFIED)
    assert found["share_coded_finest"] == found["share_coded_higher"] == 0
    assert "Nothing is certified" in shown(ran(NOTHING_CERTIFIED)[0])


def test_an_audit_mends_the_counts_of_an_own_file(ran: Ran) -> None:
    _, found = ran(OWN_COUNTS)
    assert found["mean_error_corrected"]["value"] < found["mean_error_counted"]["value"] / 2
    errors = {
        name: found[f"share_{name}"]["standard_error"] for name in ("calibration", "audit_alone")
    }
    assert errors["calibration"] < errors["audit_alone"]
    low, high = found["released_share"]["interval"]
    assert low <= found["true_share"]["value"] <= high


def test_lists_keep_their_promise_on_an_own_file(ran: Ran) -> None:
    found = values(ran, OWN_LISTS)
    assert found["coverage_conformal_mean"] == pytest.approx(0.9, abs=0.01)
    assert found["coverage_naive_all"] == pytest.approx(0.9, abs=0.01)
    assert found["coverage_k_best"] < found["coverage_conformal"]


def test_the_network_is_compared_in_pairs_on_an_own_file(ran: Ran) -> None:
    found = values(ran, OWN_NEURAL)
    gain = found["accuracy_net"] - found["accuracy_linear"]
    assert found["gain_a_network"] == pytest.approx(gain)
    assert found["gain_claimed"] > gain  # chosen on the records that judged it
    assert found["accuracy_linear"] > 0.5


def test_an_own_double_coding_is_weighed(ran: Ran, files: dict[str, Path]) -> None:
    table = pd.read_csv(files["double coding"], dtype={"old": str, "new": str})
    several = table.groupby("old")["new"].transform("nunique") > 1
    expected = table["weight"][several].sum() / table["weight"].sum()
    assert 0 < expected < 1
    found = values(ran, OWN_BREAKS)["weight_in_codes_with_several_successors"]
    assert found == pytest.approx(expected)
    text = shown(ran(OWN_BREAKS)[0])
    assert "Second half minus first half" in text
    assert table["old"][several].iloc[0] in text  # with its leading zero


def test_the_outputs_of_an_own_coder_are_certified_and_watched(
    ran: Ran, files: dict[str, Path]
) -> None:
    found = values(ran, OWN_OUTPUTS)
    assert 0.2 < found["automatic_share_certified"] < 0.9
    assert found["right_of_automatic_later"] > 0.9
    table = pd.read_csv(files["outputs"], dtype=str)
    text = shown(ran(OWN_OUTPUTS)[0])
    assert f"**{len(table):,}** stored outputs" in text
    assert "the period of version 1.0" in text
    trial = table["gold"].notna() & (table["version"] == "1.0")
    assert f"with {trial.sum():,} audited records" in text


@needs_real_copies
@pytest.mark.parametrize("case", IN_CARD, ids=str)
def test_the_card_says_the_same(case: Case, ran: Ran) -> None:
    """The table in the card is written by plans/card-results.yaml."""
    measured = {
        name: metric["value"]
        for name, metric in ran(case)[1].items()
        if metric["data"] == "real" and metric["value"] is not None
    }
    named = ", ".join(f"{name}={value}" for name, value in case.parameters if name != "DATASET")
    in_card = {
        result.name: result.value
        for result in dataset_card("ecoicop").results
        if (result.lesson, result.parameters) == (case.lesson, named)
    }
    assert in_card == pytest.approx(measured, rel=1e-4)


# ------------------------------------------------------------------------------------------
# Files that are refused
# ------------------------------------------------------------------------------------------

FAULTY = {
    "a column missing": ("text\n" + "nurse\n" * 1_500, "Expected are two, first a text and then"),
    "one code": ("text,code\n" + "nurse,2231\n" * 1_500, "has only the code '2231' in 1,500 rows"),
}


def run_cell(lesson: str, words: str, **given: Any) -> dict[str, Any]:
    """Run the one code cell of a lesson that holds these words, and give what it left."""
    master = read_master(master_of(lesson))
    (cell,) = (c for c in master.cells if words in c.source)
    room = {parameter.name: parameter.default for parameter in master.parameters}
    room |= {"np": np, "pd": pd, "Classification": Classification, "Design": Design}
    room |= {"load_coded_records": load_coded_records} | given
    exec(cell.source, room)  # noqa: S102 - the code of our own lesson
    return room


@pytest.mark.parametrize("lesson", [LEVELS, COUNTS, LISTS, NEURAL])
@pytest.mark.parametrize("fault", FAULTY)
def test_a_faulty_file_of_codes_is_refused(
    lesson: str, fault: str, tmp_path: Path, files: dict[str, Path]
) -> None:
    content, message = FAULTY[fault]
    file = tmp_path / "answers.csv"
    file.write_text(content, encoding="utf-8")
    more = {"STRUCTURE": str(files["structure"])} if lesson == LEVELS else {}
    with pytest.raises(ValueError, match=message):
        run_cell(lesson, "source = load_coded_records(", DATASET="csv", FILE=str(file), **more)


STRUCTURES = {
    "none": ("", "Set STRUCTURE to the path of a CSV file with the columns code, parent and"),
    "no such file": (None, "there is no such file"),
    "a column missing": (lambda table: table.drop(columns="parent"), "has no column 'parent'"),
    "codes missing": (lambda table: table[table["code"] != "231"], "Correct the codes"),
    "one level": (lambda table: table.assign(parent=""), "fewer than two levels"),
}


@pytest.mark.parametrize("fault", STRUCTURES)
def test_a_faulty_structure_is_refused(fault: str, tmp_path: Path, files: dict[str, Path]) -> None:
    spoil, message = STRUCTURES[fault]
    structure = pd.read_csv(files["structure"], dtype=str, keep_default_na=False)
    structure = structure[structure["code"].str.len() <= 3]
    if spoil:
        spoil(structure).to_csv(tmp_path / "structure.csv", index=False)
    given = {
        "DATASET": "csv",
        "FILE": str(files["minor groups"]),
        "STRUCTURE": spoil if spoil == "" else str(tmp_path / "structure.csv"),
    }
    with pytest.raises(ValueError, match=message):
        run_cell(LEVELS, "source = load_coded_records(", **given)


def changed(column: str, value: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Put a value into the third row."""

    def change(table: pd.DataFrame) -> pd.DataFrame:
        table = table.copy()
        table.loc[table.index[2], column] = value
        return table

    return change


DOUBLE_CODINGS = {
    "a column missing": (lambda table: table.drop(columns="new"), "lacks the columns new"),
    "weights of 0": (lambda table: table.assign(weight="0"), "Give weights above 0"),
    "no number": (changed("weight", "high"), "Give weights above 0"),
    "no new code": (changed("new", ""), "first of them row 4"),
    "no such file": (None, "full path of a CSV file with the columns old, new and weight"),
}


@pytest.mark.parametrize("fault", DOUBLE_CODINGS)
def test_a_faulty_double_coding_is_refused(
    fault: str, tmp_path: Path, files: dict[str, Path]
) -> None:
    spoil, message = DOUBLE_CODINGS[fault]
    table = pd.read_csv(files["double coding"], dtype=str)
    if spoil:
        spoil(table).to_csv(tmp_path / "double.csv", index=False)
    file = str(tmp_path / "double.csv")
    with pytest.raises(ValueError, match=message):
        run_cell(BREAKS, "lacks the columns", DOUBLE_CODED=file)


OUTPUT_FILES = {
    "a column missing": (
        lambda table: table.drop(columns="gold"),
        r"Needed are .* \(missing: gold\)",
    ),
    "too few checked": (lambda table: table.assign(gold=""), "At least 300 are needed"),
    "other codes": (lambda table: table.assign(code="x"), "the same classification and level"),
    "a percentage": (changed("confidence", "95"), "divide percentages by 100.* row 4"),
    "no number": (changed("confidence", "high"), "a confidence that is no number in 1 row"),
    "an id twice": (changed("id", "3000"), "an id that has come before"),
    "no code": (changed("code", " "), "no code in 1 row"),
    "a month of its own": (changed("month", "May"), "months must be all numbers"),
    "a weight of 0": (changed("weight", "0"), "no weight above 0"),
}


@pytest.mark.parametrize("fault", OUTPUT_FILES)
def test_a_faulty_file_of_outputs_is_refused(
    fault: str, tmp_path: Path, files: dict[str, Path]
) -> None:
    spoil, message = OUTPUT_FILES[fault]
    table = pd.read_csv(files["outputs"], dtype=str, keep_default_na=False)
    spoil(table).to_csv(tmp_path / "outputs.csv", index=False)
    read = run_cell(OUTPUTS, "def read_own_outputs")["read_own_outputs"]
    assert len(read(str(files["outputs"]))) == len(table)
    with pytest.raises(ValueError, match=message):
        read(str(tmp_path / "outputs.csv"))
