"""Falling back to the parent code: sums, thresholds by code, certificates, refusals."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax
from scipy.stats import beta
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

from mlkit.classifications import Classification
from mlkit.coding import Scope
from mlkit.coding import _fall_back as module
from mlkit.coding._fall_back import FallBackCoder
from mlkit.coding._fall_back_certificate import FallBackCertificate
from mlkit.datasets import make_occupation_responses
from mlkit.estimate import Design, proportion

SCOPE = Scope("simulated answers", "2024", "records", "the arbitrated code")
LEVELS = ("section", "division", "group")


@pytest.fixture(autouse=True)
def _no_window() -> None:
    mpl.use("agg")


def nace() -> Classification:
    """Make a ragged piece: division 02 has no groups, section D has nothing below it.

    Sections are letters, so that no parent can be cut out of a code.
    """
    parents = {
        "A": "", "B": "", "C": "", "D": "", "01": "A", "02": "A", "05": "B", "10": "C",
        "011": "01", "012": "01", "013": "01", "051": "05", "052": "05", "101": "10", "102": "10",
    }  # fmt: skip
    table = pd.DataFrame({"code": parents.keys(), "parent": parents.values()}).assign(title="t")
    return Classification.from_table(
        table, code="code", parent="parent", title="title", name="NACE", levels=LEVELS
    )


class Given:
    """A fitted classifier whose probabilities are what it is given; it notes the largest block."""

    def __init__(self, classes: list[Any]) -> None:
        self.classes_ = np.array(classes)
        self.largest = 0

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        self.largest = max(self.largest, len(X))
        return np.asarray(X)


class Margins:
    """The same with margins."""

    def __init__(self, classes: list[Any], heat: float) -> None:
        self.classes_, self.heat = np.array(classes), heat

    def decision_function(self, X: Any) -> np.ndarray:  # noqa: N803
        margins = self.heat * np.log(np.asarray(X))
        return margins[:, 1] - margins[:, 0] if len(self.classes_) == 2 else margins


LEAVES = ["011", "012", "013", "02", "051", "052", "101", "D"]


def guess(coder: FallBackCoder, X: Any) -> tuple[np.ndarray, np.ndarray]:  # noqa: N803
    found = coder._guess(module._read_records(X, coder.classifier))
    return np.array([*coder._tree.codes, None], dtype=object)[found.best], found.score


def draw(n: int, seed: int, classes: list[str] = LEAVES) -> tuple[np.ndarray, np.ndarray]:
    """Draw probabilities and true codes that follow them: half the records are clear."""
    rng = np.random.default_rng(seed)
    clear = np.where(rng.random(n) < 0.6, 0.01, 0.5)
    X = rng.gamma(clear[:, None], size=(n, len(classes))) + 1e-9  # noqa: N806
    X /= X.sum(axis=1, keepdims=True)  # noqa: N806
    places = (rng.random((n, 1)) > X.cumsum(axis=1)).sum(axis=1).clip(max=len(classes) - 1)
    return X, np.array(classes)[places]


@pytest.fixture(scope="module")
def coder() -> FallBackCoder:
    """Fit and certify."""
    made = FallBackCoder(nace(), Given(LEAVES)).fit(*draw(4_000, 0))
    made.certify(*draw(4_000, 1), scope=SCOPE)
    return made


# --- probabilities of parents --------------------------------------------------------------------


def test_the_probability_of_a_parent_is_the_sum_of_those_below_it() -> None:
    coder = FallBackCoder(nace(), Given(LEAVES)).fit(*draw(50, 0))
    X = [  # noqa: N806
        # 011, 012, 013,  02, 051, 052, 101,   D
        [0.30, 0.10, 0.10, 0.00, 0.25, 0.25, 0.00, 0.00],  # a tie of sections: the first wins
        [0.30, 0.00, 0.00, 0.00, 0.25, 0.25, 0.20, 0.00],  # 011, but section B
        [0.10, 0.00, 0.00, 0.60, 0.00, 0.30, 0.00, 0.00],  # ends at division 02
        [0.00, 0.00, 0.10, 0.00, 0.00, 0.00, 0.20, 0.70],  # ends at section D
    ]
    codes, score = guess(coder, X)
    assert coder.levels_ == LEVELS
    assert codes.tolist() == [
        ["A", "01", "011"],
        ["B", "05", "011"],
        ["A", "02", "052"],
        ["D", "10", "101"],
    ]
    np.testing.assert_allclose(
        score, [[0.5, 0.5, 0.3], [0.5, 0.5, 0.3], [0.7, 0.6, 0.3], [0.7, 0.2, 0.2]]
    )
    margin = FallBackCoder(nace(), Given(LEAVES), measure="margin").fit(*draw(50, 0))
    np.testing.assert_allclose(
        guess(margin, X)[1],
        [[0, 0, 0.05], [0.2, 0.2, 0.05], [0.4, 0.3, 0.2], [0.5, 0.1, 0.1]],
        atol=1e-12,
    )


def test_classes_of_different_levels() -> None:
    # The classifier knows "01" (nothing more precise) and "011"; numbers stand for digits.
    coder = FallBackCoder(nace(), Given(["01", "011", "B", "102"]))
    coder.fit(*draw(50, 0, ["01", "011", "B", "102"]))
    codes, score = guess(coder, [[0.5, 0.2, 0.1, 0.2]])
    assert codes.tolist() == [["A", "01", "011"]]
    np.testing.assert_allclose(score, [[0.7, 0.7, 0.2]])


def test_never_more_than_a_block_is_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = draw(1_000, 0)  # noqa: N806
    whole = FallBackCoder(nace(), Given(LEAVES), measure="margin").fit(X, y)
    monkeypatch.setattr(module, "_BLOCK", 7 * len(LEAVES))
    blocks = FallBackCoder(nace(), Given(LEAVES), measure="margin").fit(X, y)
    assert whole.classifier.largest == 1_000
    assert blocks.classifier.largest == 7
    np.testing.assert_array_equal(guess(whole, X)[0], guess(blocks, X)[0])
    np.testing.assert_array_equal(guess(whole, X)[1], guess(blocks, X)[1])


@pytest.mark.parametrize("measure", ["top", "margin"])
def test_short_lists_that_hold_every_code_say_the_same(measure: Any) -> None:
    X, y = draw(500, 0)  # noqa: N806
    order = np.argsort(-X, axis=1)
    lists = np.array(LEAVES, dtype=object)[order], np.take_along_axis(X, order, axis=1)
    one = FallBackCoder(nace(), Given(LEAVES), measure=measure).fit(X, y)
    other = FallBackCoder(nace(), measure=measure).fit(lists, y)
    np.testing.assert_allclose(guess(other, lists)[1], guess(one, X)[1], atol=1e-12)
    np.testing.assert_array_equal(guess(other, lists)[0], guess(one, X)[0])


def test_short_lists_are_summed_over_what_they_hold() -> None:
    lists = (
        [["051", "011", "012"], ["D", None, None], [None, None, None]],
        [[0.3, 0.25, 0.2], [0.6, np.nan, 0.0], [np.nan] * 3],
    )
    coder = FallBackCoder(nace()).fit(lists, ["011", "D", "D"])
    codes, score = guess(coder, lists)
    assert codes.tolist() == [["A", "01", "051"], ["D", None, None], [None, None, None]]
    np.testing.assert_allclose(score, [[0.45, 0.45, 0.3], [0.6, 0, 0], [0, 0, 0]])
    assert not coder._lines.sure(coder._guess(module._read_lists(lists)))[1:, 1:].any()
    # Where the list has no code and the truth none at that level, nothing is right.
    truth = module._Truth(np.arange(3), ["02", "D", "D"])
    right = coder._right(coder._guess(module._read_lists(lists)), truth)
    assert right.tolist() == [[True, False, False], [True, False, False], [False] * 3]
    # One code per record; numbers and frames.
    alone = guess(coder, (["051", "011"], [0.7, 0.6]))
    assert alone[0].tolist() == [["B", "05", "051"], ["A", "01", "011"]]
    np.testing.assert_allclose(alone[1], np.repeat([[0.7], [0.6]], 3, axis=1))
    framed = pd.DataFrame([[101, 102]]), pd.DataFrame([[0.5, 0.4]])
    assert guess(coder, framed)[0].tolist() == [["C", "10", "101"]]


def test_margins_are_divided_by_a_temperature_that_is_learnt() -> None:
    X, y = draw(4_000, 0)  # noqa: N806
    plain = FallBackCoder(nace(), Given(LEAVES)).fit(X, y)
    heated = FallBackCoder(nace(), Margins(LEAVES, 5.0)).fit(X, y)
    assert plain.temperature_ == 1
    assert heated.temperature_ == pytest.approx(5, rel=0.1)
    heated.temperature_ = 5.0
    np.testing.assert_allclose(guess(heated, X)[1], guess(plain, X)[1], atol=1e-9)


def test_two_classes_with_one_margin() -> None:
    X, y = draw(2_000, 0, ["011", "051"])  # noqa: N806
    coder = FallBackCoder(nace(), Margins(["011", "051"], 2.0)).fit(X, y)
    assert coder.temperature_ == pytest.approx(2, rel=0.15)
    score = softmax(np.log(X) * 2 / coder.temperature_, axis=1)
    np.testing.assert_allclose(guess(coder, X)[1][:, 0], score.max(axis=1))


# --- thresholds by code --------------------------------------------------------------------------


def skewed(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw records whose confidence says the same for every code, but 051 is mostly wrong."""
    rng = np.random.default_rng(seed)
    first = rng.choice(5, n, p=[0.45, 0.25, 0.02, 0.25, 0.03])  # 011, 012, 013, 051, 052
    X = np.full((n, len(LEAVES)), 1e-9)  # noqa: N806
    columns = np.array([0, 1, 2, 4, 5])[first]
    top = rng.uniform(0.5, 1, n)
    rows = np.arange(n)
    X[rows, columns] = top
    other = np.array([1, 0, 0, 5, 4])[first]
    X[rows, other] = 1 - top - 6e-9
    bad = rng.random(n) < np.where(first == 3, 0.6, 0.02)
    return X, np.array(LEAVES)[np.where(bad, other, columns)]


def test_an_unsure_code_has_a_higher_threshold_and_a_rare_one_that_of_its_parent() -> None:
    coder = FallBackCoder(nace(), Given(LEAVES)).fit(*skewed(4_000, 0))
    coder.certify(*skewed(4_000, 1), scope=SCOPE)
    table = coder.thresholds().set_index("code")
    assert list(table.columns) == ["level", "records", "threshold"]
    assert table["level"].unique().tolist() == ["group", "division", "section"]
    assert table.loc[list(LEAVES[:3]), "records"].sum() > 2_000
    assert table.loc["011", "threshold"] < 0.6
    assert math.isnan(table.loc["051", "threshold"]) or table.loc["051", "threshold"] > 0.9
    # Codes that never were a best code differ from their parent in nothing: 101 and 102.
    assert table.loc[["101", "102"], "records"].tolist() == [0, 0]
    assert table.loc["101", "threshold"] == table.loc["102", "threshold"]
    # The unsure code falls back to its parent, which is right.
    coded = coder.code(skewed(2_000, 2)[0])
    assert (coded.codes == "05").sum() > 300
    assert (coded.codes == "051").sum() < 100  # of 500, those with the highest confidence
    assert (coded.codes == "011").sum() > 800


def test_rare_codes_borrow_from_their_sisters() -> None:
    # 052 is seen five times, always right; its sister 051 is mostly wrong, 012 mostly right.
    rng = np.random.default_rng(0)
    columns = np.repeat([0, 1, 4, 5], [800, 800, 800, 5])
    X = np.full((len(columns), len(LEAVES)), 0.02)  # noqa: N806
    X[np.arange(len(X)), columns] = 0.86
    y = np.array(LEAVES)[np.where((columns == 4) & (rng.random(len(X)) < 0.6), 5, columns)]
    coder = FallBackCoder(nace(), Given(LEAVES)).fit(X, y)
    sure = dict(zip(coder._tree.codes, coder._lines.offsets[:-1], strict=True))
    assert sure["051"] < sure["052"] < sure["012"]
    assert sure["013"] == pytest.approx(sure["101"], abs=2.5)
    # Never seen: as its parent. 013 has good sisters, 101 no sisters at all.
    assert sure["013"] > sure["101"] > sure["051"]


def test_thresholds_and_codes_agree(coder: FallBackCoder) -> None:
    X, _ = draw(3_000, 5)  # noqa: N806
    codes, score = guess(coder, X)
    table = coder.thresholds().set_index("code")["threshold"]
    reached = np.column_stack(
        [score[:, k] >= pd.Series(codes[:, k]).map(table).to_numpy(float) for k in range(3)]
    )
    wanted = [next((codes[i, k] for k in (2, 1, 0) if reached[i, k]), None) for i in range(len(X))]
    assert coder.predict(X).tolist() == wanted
    assert {None} < set(wanted)


def test_a_confidence_that_says_nothing_does_not_turn_the_order_round() -> None:
    # The surer, the more often wrong.
    rng = np.random.default_rng(0)
    top = rng.uniform(0.6, 0.99, 4_000)
    true = np.where(rng.random(4_000) < 1.4 - top, "011", "051")
    first = np.full(2_000, "011")
    coder = FallBackCoder(nace()).fit((first, top[:2_000]), true[:2_000])
    assert coder.slopes_.tolist() == [0, 0, 0]
    coder.certify((first, top[2_000:]), true[2_000:], scope=SCOPE, target=0.5)
    assert coder.thresholds().set_index("code").loc["011", "threshold"] == 0
    assert set(coder.predict((["011", "011"], [0.01, 0.99]))) == {"011"}


# --- the certificate -----------------------------------------------------------------------------


def bound(right: int, n: int, error: float = 0.05) -> float:
    """Compute the bound of Clopper and Pearson, written down here once more."""
    return float(beta.ppf(error, right, n - right + 1)) if right else 0.0


def test_every_test_is_about_the_records_coded_at_that_level(coder: FallBackCoder) -> None:
    X, y = draw(4_000, 1)  # noqa: N806
    certificate = coder.certificate_
    assert certificate.certified
    sure = coder._lines.sure(coder._guess(module._read_records(X, coder.classifier)))
    codes = guess(coder, X)[0]
    used = set()
    for rule in certificate.path:
        cuts = np.array([rule.cut_offs[level] for level in LEVELS])
        at = np.array([max(np.flatnonzero(row >= cuts), default=-1) for row in sure])
        for k, level in enumerate(LEVELS):
            if not math.isfinite(cuts[k]):
                assert level not in rule.tests
                continue
            used.add(level)
            test = rule.tests[level]
            here = at == k
            right = nace().at_level(y[here], level) == codes[here, k]
            assert test.automatic == here.sum()
            assert test.share == pytest.approx(here.mean())
            assert test.agreement == pytest.approx(right.mean())
            assert test.bound == pytest.approx(bound(int(right.sum()), int(here.sum())))
    assert {"group", "section"} <= used


def test_the_walk_stops_at_the_first_rule_that_fails_at_any_level(coder: FallBackCoder) -> None:
    certificate = coder.certificate_
    passes = [rule.passes(0.95) for rule in certificate.path]
    assert all(passes[:-1])
    assert certificate.rule is certificate.path[-1 if passes[-1] else -2]
    failed = certificate.path[-1]
    weakest = min(failed.tests, key=lambda level: failed.tests[level].bound)
    test = replace(failed.tests[weakest], bound=0.94)
    assert not replace(failed, tests={**failed.tests, weakest: test}).passes(0.95)
    assert not passes[-1]
    assert f"failed, at the level {weakest}" in certificate.reason.replace("levels", "level")


def test_the_result_holds_what_was_certified(coder: FallBackCoder) -> None:
    X, _ = draw(4_000, 1)  # noqa: N806
    coded = coder.code(X)  # of the certification sample itself: the shares are those it saw
    pd.testing.assert_series_equal(
        coded.shares, coder.certificate_.shares, check_names=False, check_index_type=False
    )
    assert coded.codes.dtype == object
    assert coded.levels.dtype == object
    known = coded.automatic
    assert (nace().level_of(coded.codes[known]) == coded.levels[known]).all()
    assert all(code is None for code in coded.codes[~known])
    assert np.isnan(coded.confidences[~known]).all()
    cuts = np.array([coder.certificate_.cut_offs[level] for level in coded.levels[known]])
    assert (coded.confidences[known] >= cuts).all()
    frame = coded.to_frame()
    assert list(frame.columns) == ["code", "level", "confidence"]
    assert frame["code"].isna().sum() == (~known).sum()


def test_on_fresh_records_the_promise_is_kept(coder: FallBackCoder) -> None:
    X, y = draw(100_000, 6)  # noqa: N806
    coded = coder.code(X)
    for level in LEVELS:
        at = coded.levels == level
        if at.any():
            assert (nace().at_level(y[at], level) == coded.codes[at]).mean() > 0.95


def test_the_order_of_the_sample_does_not_matter(coder: FallBackCoder) -> None:
    X, y = draw(4_000, 1)  # noqa: N806
    wanted = coder.certificate_
    order = np.random.default_rng(0).permutation(len(y))
    again = FallBackCoder(nace(), Given(LEAVES)).fit(*draw(4_000, 0))
    assert again.certify(X[order], y[order], scope=SCOPE) == wanted
    # Only the size of the sample decides about the rules, never what is right in it.
    none = again.certify(X, np.roll(y, 1), scope=SCOPE)
    assert not none.certified
    assert none.planned == wanted.planned
    assert none.path[0].cut_offs == wanted.path[0].cut_offs


def test_levels_can_be_left_out(coder: FallBackCoder) -> None:
    chosen = FallBackCoder(nace(), Given(LEAVES), levels=["group", "section"])
    chosen.fit(*draw(4_000, 0)).certify(*draw(4_000, 1), scope=SCOPE)
    assert chosen.levels_ == ("section", "group")
    assert set(chosen.code(draw(2_000, 2)[0]).levels) <= {"section", "group", None}


def test_nothing_is_certified_from_a_few_records() -> None:
    coder = FallBackCoder(nace(), Given(LEAVES)).fit(*draw(4_000, 0))
    certificate = coder.certify(*draw(40, 1), scope=SCOPE)
    assert not certificate.certified
    assert certificate.path == ()
    assert "No rule could be planned" in certificate.statement
    assert coder.predict(draw(10, 2)[0]).tolist() == [None] * 10
    assert coder.thresholds()["threshold"].isna().all()
    assert certificate.shares.tolist() == [0, 0, 0, 1]
    certificate.plot()
    certificate._repr_html_()
    assert "nothing certified" in repr(certificate)


def test_nothing_is_certified_on_a_sample_that_is_worse_than_planned() -> None:
    coder = FallBackCoder(nace(), Given(LEAVES)).fit(*draw(4_000, 0))
    X, y = draw(4_000, 1)  # noqa: N806
    certificate = coder.certify(X, np.where(np.arange(4_000) % 2, y, "102"), scope=SCOPE)
    assert not certificate.certified
    assert "first rule failed" in certificate.statement


@pytest.mark.parametrize("kind", ["weights", "design"])
def test_weights_and_designs(kind: str) -> None:
    coder = FallBackCoder(nace(), Given(LEAVES)).fit(*draw(4_000, 0))
    X, y = draw(6_000, 1)  # noqa: N806
    rng = np.random.default_rng(3)
    weights = rng.uniform(1, 3, 6_000)
    design = Design(weights=weights)
    if kind == "design":
        design = Design(weights=weights, psu=np.repeat(np.arange(600), 10))
        certificate = coder.certify(X, y, scope=SCOPE, design=design)
    else:
        certificate = coder.certify(X, y, scope=SCOPE, sample_weight=weights)
    assert "Korn-Graubard" in certificate.method
    coded = coder.code(X)
    for level, test in certificate.rule.tests.items():  # type: ignore[union-attr]
        at = coded.levels == level
        right = np.zeros(6_000)
        right[at] = nace().at_level(y[at], level) == coded.codes[at]
        peer = proportion(right, design=design, domain=at, side="lower")
        assert test.bound == pytest.approx(peer.low)
        assert test.agreement == pytest.approx(np.average(right[at], weights=weights[at]))


def test_a_rule_that_was_found_by_scanning_is_no_certificate(coder: FallBackCoder) -> None:
    good = coder.certificate_
    last = good.path[-1]
    assert len(good.path) < good.planned
    worse = {level: replace(test, bound=0.9) for level, test in last.tests.items()}
    failed = replace(last, tests=worse)
    with pytest.raises(ValueError, match="went on after rule"):
        replace(good, path=(*good.path[:-1], failed, replace(last, number=last.number + 1)))
    with pytest.raises(ValueError, match="not those of the order"):
        replace(good, path=good.path[1:])
    with pytest.raises(ValueError, match="stopped before"):
        replace(good, path=good.path[:1])
    with pytest.raises(ValueError, match="made no test"):
        replace(good, path=())
    with pytest.raises(ValueError, match="more tests than were planned"):
        replace(good, planned=len(good.path) - 1)
    kept = dict(list(last.tests.items())[:-1])
    with pytest.raises(ValueError, match="does not test the levels"):
        replace(good, path=(*good.path[:-1], replace(failed, tests=kept)))


def test_a_certificate_names_what_it_is_about(coder: FallBackCoder) -> None:
    scope = Scope("answers to the LFS", "2024", "persons", "the arbitrated code", gold_error=0.02)
    statement = replace(coder.certificate_, scope=scope).statement
    for part in (
        "With 95% confidence, for all of these levels at once",
        "of the persons coded at a level, at least 95% agree with the arbitrated code",
        "a single code may be worse",
        "Population: answers to the LFS. Period: 2024. Unit: persons.",
        "is wrong itself in 2%, the true accuracy is at least 93%",
    ):
        assert part in statement
    assert "differs by up to the share of its errors" in coder.certificate_.statement


def test_views(coder: FallBackCoder) -> None:
    certificate = replace(coder.certificate_, scope=replace(SCOPE, population="<b>all</b>"))
    html = certificate._repr_html_()
    assert "&lt;b&gt;all" in html
    assert "passes" in html
    frame = certificate.to_frame()
    assert list(frame.columns) == [
        "rule", "level", "cut_off", "automatic", "share", "agreement", "bound", "passed",
    ]  # fmt: skip
    assert len(frame) == sum(len(rule.tests) for rule in certificate.path)
    axes = certificate.plot()
    assert certificate.plot(axes) is axes
    assert repr(certificate).startswith("FallBackCertificate(group ")
    coded = coder.code(draw(1_000, 2)[0])
    assert "<strong>Codes of 1,000 records" in coded._repr_html_()
    assert repr(coded).startswith("FallBackCodes(1,000 records: group ")
    assert coded.plot(axes) is axes
    assert len(coded) == 1_000


# --- records of every kind -----------------------------------------------------------------------


def test_no_records_give_no_codes(coder: FallBackCoder) -> None:
    coded = coder.code(np.empty((0, len(LEAVES))))
    assert len(coded) == 0
    assert coded.shares.tolist() == [0, 0, 0, 0]
    coded._repr_html_()


def test_true_codes_of_other_levels_and_such_as_no_class_has() -> None:
    X, y = draw(4_000, 0)  # noqa: N806
    coder = FallBackCoder(nace(), Given(LEAVES)).fit(X, y)
    assert coder._right(
        coder._guess(module._read_records(np.eye(8)[[0, 0, 0, 6, 7, 7]], coder.classifier)),
        module._Truth(np.arange(6), ["01", "A", "012", "102", "D", "051"]),
    ).tolist() == [
        [True, True, False],  # true 01: 011 cannot be confirmed
        [True, False, False],
        [True, True, False],
        [True, True, False],  # 102 is no class; its division is right
        [True, False, False],
        [False, False, False],
    ]


@pytest.mark.parametrize("kind", ["str", "category", "object", "int64", "string[pyarrow]"])
def test_codes_in_every_form(kind: str) -> None:
    if "pyarrow" in kind:
        pytest.importorskip("pyarrow")
    X, y = draw(2_000, 0, ["101", "102"])  # noqa: N806
    wanted = FallBackCoder(nace(), Given(["101", "102"])).fit(X, y)
    classes = [101, 102] if kind == "int64" else ["101", "102"]
    got = FallBackCoder(nace(), Given(classes)).fit(X, pd.Series(y).astype(kind))
    np.testing.assert_array_equal(got.slopes_, wanted.slopes_)
    fresh, codes = draw(2_000, 1, ["101", "102"])
    got.certify(fresh, pd.Series(codes).astype(kind), scope=SCOPE)
    assert set(got.predict(X)) <= {"101", "102", "10", "C", None}


def test_one_class() -> None:
    rng = np.random.default_rng(0)
    y = np.where(rng.random(1_000) < 0.99, "011", "051")
    classifier = DummyClassifier().fit([[0]], ["011"])
    coder = FallBackCoder(nace(), classifier, measure="margin").fit(np.zeros((500, 1)), y[:500])
    certificate = coder.certify(np.zeros((500, 1)), y[500:], scope=SCOPE)
    assert certificate.certified
    assert coder.predict(np.zeros((3, 1))).tolist() == ["011"] * 3


def test_all_right_and_all_wrong() -> None:
    X = np.eye(8)[np.arange(1_000) % 8]  # noqa: N806
    y = np.array(LEAVES)[np.arange(1_000) % 8]
    coder = FallBackCoder(nace(), Given(LEAVES)).fit(X, y)
    rolled = np.roll(np.arange(1_000), 3) % 8
    assert coder.certify(
        np.eye(8)[rolled[:990]], np.array(LEAVES)[rolled[:990]], scope=SCOPE
    ).certified
    # Codes of groups, the division 02 and the section D: each at its own level.
    assert coder.predict(np.eye(8)).tolist() == LEAVES
    wrong = FallBackCoder(nace(), Given(LEAVES)).fit(X, np.full(1_000, "102"))
    certificate = wrong.certify(np.eye(8)[rolled[:990]], np.full(990, "102"), scope=SCOPE)
    assert set(certificate.cut_offs) == set(LEVELS)
    assert set(wrong.predict(np.eye(8))) <= {"C", "10", None}


@pytest.fixture(scope="module")
def answers() -> Any:
    return make_occupation_responses(9_000, seed=1)


@pytest.mark.parametrize("form", [list, np.array, pd.Series])
def test_a_pipeline_that_takes_texts(answers: Any, form: Any) -> None:
    texts, codes = answers.frame["text"], answers.frame["arbiter"]
    pipeline = make_pipeline(CountVectorizer(), MultinomialNB(alpha=0.01))
    pipeline.fit(texts[0::3], codes[0::3])
    coder = FallBackCoder(answers.classification, pipeline)
    coder.fit(form(texts[1::3]), form(codes[1::3]))
    certificate = coder.certify(form(texts[2::3]), form(codes[2::3]), scope=SCOPE)
    assert coder.levels_ == ("major", "submajor", "minor", "unit")
    assert certificate.shares["unit"] > 0.2
    assert coder.predict(form(["domestic cleaner", "qqqq"])).tolist() == ["9233", None]


def test_a_model_with_margins_that_takes_texts(answers: Any) -> None:
    texts = answers.frame["text"]
    codes = pd.Series(answers.classification.at_level(answers.frame["arbiter"], "minor"))
    pipeline = make_pipeline(CountVectorizer(), LinearSVC(C=0.3)).fit(texts[0::3], codes[0::3])
    coder = FallBackCoder(answers.classification, pipeline).fit(texts[1::3], codes[1::3])
    assert coder.levels_ == ("major", "submajor", "minor")
    assert coder.temperature_ < 0.5
    assert coder.certify(texts[2::3], codes[2::3], scope=SCOPE).shares["minor"] > 0.2


def test_it_is_a_scikit_learn_estimator() -> None:
    X, y = draw(300, 0)  # noqa: N806
    model = LogisticRegression().fit(X, y)
    coder = FallBackCoder(nace(), FrozenEstimator(model), levels=["group"], measure="margin")
    assert set(coder.get_params(deep=False)) == {
        "classification", "classifier", "levels", "measure",
    }  # fmt: skip
    copied = clone(coder).set_params(measure="top")
    assert copied.fit(X, y).levels_ == ("group",)
    assert copied.classifier.estimator is model
    assert coder.measure == "margin"
    with pytest.raises(NotFittedError, match="FrozenEstimator"):
        clone(FallBackCoder(nace(), model)).fit(X, y)
    repr(coder)
    coder._repr_html_()


def test_fit_never_trains_the_classifier_and_forgets_a_certificate() -> None:
    X, y = draw(2_000, 0)  # noqa: N806
    model = LogisticRegression().fit(X, y)
    weights = model.coef_.copy()
    coder = FallBackCoder(nace(), model).fit(*draw(2_000, 1))
    coder.certify(*draw(2_000, 2), scope=SCOPE)
    np.testing.assert_array_equal(model.coef_, weights)
    coder.fit(*draw(2_000, 3))
    with pytest.raises(NotFittedError, match="call certify first"):
        coder.predict(X)


# --- the same rows -------------------------------------------------------------------------------


def test_records_of_fit_cannot_certify() -> None:
    X, y = draw(1_000, 0)  # noqa: N806
    coder = FallBackCoder(nace(), Given(LEAVES)).fit(X, y)
    order = np.random.default_rng(0).permutation(1_000)
    fresh, codes = draw(1_000, 1)
    for rows, true in (
        (X, y),
        (X[order], y[order]),
        (X[:300], y[:300]),
        (X + 1e-13, y),  # the last digits depend on which rows share a block
        (np.vstack([fresh, X]), np.concatenate([codes, y])),
        (np.vstack([fresh[:200], X[:800]]), np.concatenate([codes[:200], y[:800]])),
    ):
        with pytest.raises(ValueError, match="records of fit in it"):
            coder.certify(rows, true, scope=SCOPE)
    coder.certify(fresh, codes, scope=SCOPE)


def test_answers_that_many_give_may_be_in_both() -> None:
    kinds, codes = draw(40, 0)
    coder = FallBackCoder(nace(), Given(LEAVES))
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 40, 1_000), rng.integers(0, 40, 700)
    coder.fit(kinds[one], codes[one]).certify(kinds[other], codes[other], scope=SCOPE)
    with pytest.raises(ValueError, match="records of fit in it"):
        coder.certify(kinds[one], codes[one], scope=SCOPE)


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"measure": "lead"}, ValueError, "allowed are 'top', 'margin'"),
        ({"levels": "group"}, ValueError, "give a list"),
        ({"levels": []}, ValueError, "give a list"),
        ({"levels": ["unit"]}, ValueError, "no level 'unit'; its levels are 'section'"),
        ({"classifier": Given(["A", "B"]), "levels": ["group"]}, ValueError, "No class .* reaches"),
        ({"classifier": Given(["A", "zz"])}, ValueError, "classes.*unknown to NACE: 'zz'"),
        ({"classifier": Given([0.5, 1.5])}, TypeError, "whole number"),
        ({"classifier": Given([["A"], ["B"]])}, TypeError, "several columns"),
        ({"classifier": LogisticRegression()}, NotFittedError, "is not fitted"),
        ({"classifier": CountVectorizer()}, TypeError, "neither predict_proba nor"),
        ({"X": "carpenter"}, TypeError, "X is a str"),
        ({"X": iter([1])}, TypeError, "give the records as a list"),
        ({"X": np.full((3, 8), 0.5)}, ValueError, "3 of 3 records .* add up to 1"),
        ({"X": np.full((3, 8), np.nan)}, ValueError, "missing, or that do not add up"),
        ({"X": np.full((3, 7), 1 / 7)}, ValueError, "one column per class"),
        ({"X": np.full((2, 8), 1 / 8)}, ValueError, "2 records, but 3 true codes"),
        ({"X": np.empty((0, 8)), "y": []}, ValueError, "There are no records"),
        ({"y": ["011", None, "D"]}, ValueError, "1 of 3 are missing"),
        ({"y": ["011", "", "D"]}, ValueError, "1 of 3 are missing"),
        ({"y": ["011", "999", "D"]}, ValueError, "y: 1 of 3 codes unknown to NACE: '999'"),
        ({"y": [11, 101, 102]}, ValueError, "y: .*leading zeros"),
        ({"y": [1.5, 2.5, 3.5]}, TypeError, "y: .*whole number"),
        ({"y": [["011"], ["D"], ["02"]]}, ValueError, r"y has the shape \(3, 1\)"),
        ({"classifier": None}, TypeError, "the pair"),
        ({"classifier": None, "X": (["A"] * 3, [0.5] * 2)}, ValueError, "one score per code"),
        ({"classifier": None, "X": (["A"] * 3, ["x"] * 3)}, TypeError, "no table of numbers"),
        ({"classifier": None, "X": (["A"] * 3, [0.5, 2, 0.5])}, ValueError, r"outside \[0, 1\]"),
        ({"classifier": None, "X": (["A"] * 3, [0.5, np.nan, 0])}, ValueError, "missing beside"),
        ({"classifier": None, "X": ([None] * 3, [0.5] * 3)}, ValueError, "no code at all"),
        ({"classifier": None, "X": (["A", "zz", "B"], [0.5] * 3)}, ValueError, "unknown to NACE"),
    ],
)
def test_bad_input(change: dict[str, Any], error: type[Exception], message: str) -> None:
    given = {"X": np.full((3, 8), 1 / 8), "y": ["011", "02", "D"], "classifier": Given(LEAVES)}
    given |= change
    X, y = given.pop("X"), given.pop("y")  # noqa: N806
    with pytest.raises(error, match=message):
        FallBackCoder(nace(), **given).fit(X, y)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": 95}, "For 95%, write 0.95"),
        ({"target": 1}, "target=1"),
        ({"confidence": 0}, "confidence=0"),
        ({"sample_weight": [1.0, -1.0, 1.0]}, "negative"),
        ({"sample_weight": [1.0]}, "one weight per record"),
        ({"design": Design(weights=[1.0, 1.0])}, "describes 2 units"),
        ({"y": ["011", "02"]}, "3 records, but 2 true codes"),
        ({"y": ["011", "02", "zz"]}, "unknown to NACE"),
    ],
)
def test_bad_certification(change: dict[str, Any], message: str) -> None:
    coder = FallBackCoder(nace(), Given(LEAVES)).fit(*draw(100, 0))
    X, y = draw(3, 1)  # noqa: N806
    with pytest.raises(ValueError, match=message):
        coder.certify(X, change.pop("y", y), scope=SCOPE, **change)


def test_infinite_margins_and_the_wrong_number_of_them() -> None:
    X, y = draw(100, 0)  # noqa: N806
    with pytest.raises(ValueError, match="missing or infinite"), np.errstate(divide="ignore"):
        FallBackCoder(nace(), Margins(LEAVES, 1.0)).fit(X * (X > 0.1), y)
    with pytest.raises(ValueError, match="decision_function_shape"):
        FallBackCoder(nace(), Margins(LEAVES, 1.0)).fit(X[:, :3], y)


def test_steps_out_of_order() -> None:
    X, y = draw(100, 0)  # noqa: N806
    coder = FallBackCoder(nace(), Given(LEAVES))
    with pytest.raises(NotFittedError, match="call fit first"):
        coder.certify(X, y, scope=SCOPE)
    coder.fit(X, y)
    for step in (lambda: coder.predict(X), lambda: coder.code(X), coder.thresholds):
        with pytest.raises(NotFittedError, match="call certify first"):
            step()


def test_the_certificate_of_a_walk_by_hand() -> None:
    # Two levels, two rules; the second fails at the upper level alone.
    sure = np.column_stack([np.full(400, 0.9), np.repeat([0.9, 0.5], 200)])
    right = np.ones((400, 2), dtype=bool)
    right[200:230, 0] = False  # 30 wrong of the 200 that fall back
    samples = [module._Sample(right[:, k], sure[:, k], None, 400) for k in (0, 1)]
    rules = [np.array([np.inf, 0.9]), np.array([0.9, 0.9]), np.array([np.inf, 0.5])]
    path = module._walk(rules, samples, ("major", "unit"), 0.95, 0.05)
    assert [rule.passes(0.95) for rule in path] == [True, False]
    assert path[1].tests["unit"].bound == pytest.approx(bound(200, 200))
    assert path[1].tests["major"].bound == pytest.approx(bound(170, 200))
    certificate = FallBackCertificate(
        ("major", "unit"), 0.95, 0.95, SCOPE, path, 3, 400, "Clopper-Pearson"
    )
    assert certificate.cut_offs == {"major": math.inf, "unit": 0.9}
    assert (
        certificate.reason == "The walk stopped at the first rule that failed, at the level major."
    )


def test_unnamed_levels_are_called_level_once() -> None:
    from mlkit.coding._fall_back_certificate import _listed

    assert _listed(["level 4"]) == "level 4"
    assert _listed(["level 3", "level 4"]) == "level 3 and level 4"
    assert _listed(["unit"]) == "the level unit"
