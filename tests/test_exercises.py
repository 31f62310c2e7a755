"""Exercises that answer back, computed sentences and published results."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook

from mlkit.exercises import CHECK_MIME, METRIC_MIME, exercise, record, say
from mlkit.lessons.kernels import execute

NOT_ATTEMPTED = "Not attempted yet. "
WRONG = "Not yet. "
RIGHT = "Right. "


def check_share(answer: Any) -> Any:
    """Check a share as a lesson does; the right answer is .45."""
    return (
        exercise("share", answer)
        .wrong_if(lambda s: s > 1, "A share lies between 0 and 1.")
        .wrong_if(lambda s: s > 0.5, lambda s: f"{s} is the other half.")
        .right_if(lambda s: abs(s - 0.45) < 0.005, lambda s: f"{s:.2f} it is.")
        .go_on_with(lambda: 0.45)
    )


def check_function(answer: Any) -> Any:
    """Check a function that doubles a number."""
    return (
        exercise("double", answer)
        .wrong_if(lambda f: f(3) == 9, "That is the square.")
        .right_if(lambda f: f(3) == 6, "Doubled.")
        .go_on_with(lambda: lambda x: 2 * x)
    )


# ------------------------------------------------------------------------------------------
# Blanks
# ------------------------------------------------------------------------------------------


def body_only(x): ...


def with_docstring(x):
    """Return twice x."""
    ...  # noqa: PIE790 - the blank


def docstring_only(x):
    """Return twice x."""


def returns_the_blank(x):
    return ...


class Coder:
    """A class of which one method is still to be written."""

    def __init__(self): ...

    def predict(self, titles): ...


class FinishedCoder:
    def __init__(self):
        pass

    def predict(self, titles):
        return titles


loop: dict[str, Any] = {}
loop["itself"] = loop


@pytest.mark.parametrize(
    "answer",
    [
        ...,
        body_only,
        with_docstring,
        docstring_only,
        returns_the_blank,
        lambda x: ...,
        Coder,
        [1, ...],
        (..., 1),
        {"a": 1, "b": ...},
        {"rule": body_only},
        [[0, ...], [1, 0]],
    ],
)
def test_a_blank_is_not_attempted(answer: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert check_share(answer) == 0.45
    assert capsys.readouterr().out.startswith(NOT_ATTEMPTED + "Replace the ...")


@pytest.mark.parametrize(
    "answer",
    [0, "", None, False, [], {}, lambda x: x, lambda x: 5, FinishedCoder, loop, [loop]],
)
def test_anything_else_is_an_attempt(answer: object, capsys: pytest.CaptureFixture[str]) -> None:
    check_share(answer)
    assert capsys.readouterr().out.startswith(WRONG)


def test_a_function_whose_words_are_few_is_an_attempt() -> None:
    def five(x):
        """None."""
        return 5

    assert check_function(five) is not five


# ------------------------------------------------------------------------------------------
# Wrong and right
# ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "said", "value"),
    [
        (45, WRONG + "A share lies between 0 and 1.", 0.45),
        (0.55, WRONG + "0.55 is the other half.", 0.45),
        (0.452, RIGHT + "0.45 it is.", 0.452),
        (np.float64(0.45), RIGHT + "0.45 it is.", np.float64(0.45)),
    ],
)
def test_the_first_condition_that_holds_decides(
    answer: object, said: str, value: float, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check_share(answer) == value
    assert capsys.readouterr().out == said + "\n"


def test_a_wrong_answer_nobody_foresaw_points_to_the_hints(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert check_share(0.2) == 0.45
    assert "not a mistake we foresaw" in capsys.readouterr().out


def test_conditions_behind_the_first_that_holds_are_not_asked() -> None:
    def raises(answer: object) -> bool:
        raise AssertionError(answer)

    first = exercise("x", 1).right_if(lambda x: x == 1, "Yes.")
    assert first.wrong_if(raises, "").right_if(raises, "").go_on_with(lambda: 2) == 1


def test_the_fallback_is_computed_only_when_it_is_needed() -> None:
    called = []

    def fallback() -> int:
        called.append(1)
        return 2

    def check(answer: object) -> object:
        return exercise("x", answer).right_if(lambda x: x == 1, "Yes.").go_on_with(fallback)

    assert (check(1), called) == (1, [])
    assert (check(0), called) == (2, [1])
    assert (check(...), called) == (2, [1, 1])


# ------------------------------------------------------------------------------------------
# Answers of a surprising kind
# ------------------------------------------------------------------------------------------


def out_of_range(x: int) -> int:
    return [1][x]


class Incomparable:
    """An object that refuses to be compared."""

    def __gt__(self, other: object) -> bool:
        raise RuntimeError("no comparison")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, "Your answer is nothing (None); what fits here is a number."),
        ("0.45", "Your answer is text; what fits here is a number."),
        ([0.45], "Your answer is a list; what fits here is a number."),
        (float, "Your answer is the class float (was it meant to be called?)"),
        (out_of_range, "Your answer is a function; what fits here is a number."),
        (pd.DataFrame({"a": [1, 2]}), "Your answer is a DataFrame; what fits here is a number."),
        (np.array([0.4, 0.5]), "Your answer is a ndarray; what fits here is a number."),
        (pd.NA, "Your answer is a NAType; what fits here is a number."),
        (1j, "The check could not work with your answer. (TypeError"),
        (Incomparable(), "Your answer is an Incomparable;"),
    ],
)
def test_a_surprising_answer_gets_a_message_and_raises_nothing(
    answer: object, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check_share(answer) == 0.45
    said = capsys.readouterr().out
    assert said.startswith(WRONG)
    assert words in said


@pytest.mark.parametrize("answer", [float("nan"), np.nan, np.array(0.2), b"0.45", {1}, print])
def test_no_answer_is_taken_for_right_by_accident(
    answer: object, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check_share(answer) == 0.45
    assert capsys.readouterr().out.startswith(WRONG)


def test_a_function_that_raises_gets_a_message(capsys: pytest.CaptureFixture[str]) -> None:
    assert check_function(out_of_range)(3) == 6
    assert "IndexError: list index out of range" in capsys.readouterr().out


def test_a_function_that_never_ends_gets_a_message(capsys: pytest.CaptureFixture[str]) -> None:
    def again(x: int) -> int:
        return again(x)

    assert check_function(again)(3) == 6
    assert "RecursionError" in capsys.readouterr().out


def test_a_message_that_cannot_be_made_from_the_answer_is_no_accident(
    capsys: pytest.CaptureFixture[str],
) -> None:
    check = exercise("x", "a").wrong_if(lambda x: x == "a", lambda x: f"{x:.2f}")
    assert check.go_on_with(lambda: "b") == "b"
    assert "The check could not work with your answer" in capsys.readouterr().out


# ------------------------------------------------------------------------------------------
# Sentences and results
# ------------------------------------------------------------------------------------------


def test_say_prints_the_sentence_where_there_is_no_notebook(
    capsys: pytest.CaptureFixture[str],
) -> None:
    say(f"The model codes **{0.523:.0%}** right.")
    assert capsys.readouterr().out == "The model codes **52%** right.\n"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.52341, "Recorded: a = 0.5234 (real data)"),
        (np.float32(0.5), "Recorded: a = 0.5 (real data)"),
        (28521, "Recorded: a = 28521 (real data)"),
        (np.bool_(True), "Recorded: a = True (real data)"),
        ("5.2", "Recorded: a = 5.2 (real data)"),
        (None, "Recorded: a = None (real data)"),
    ],
)
def test_record_prints_a_line_where_there_is_no_notebook(
    value: Any, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    record("a", value, data="real")
    assert capsys.readouterr().out == words + "\n"


def test_the_line_of_a_result_tells_everything(capsys: pytest.CaptureFixture[str]) -> None:
    record(
        "total",
        1204.6,
        data="simulated",
        unit="EUR",
        standard_error=31.2,
        interval=(1143.4, np.inf),
        confidence=0.995,
        note="one-sided",
    )
    # A notebook would break a line of more than some 110 characters in the middle of a word.
    assert capsys.readouterr().out == (
        "Recorded: total = 1205 EUR, standard error 31, 99.5% interval 1143 to open "
        "(simulated data):\n"
        "    one-sided\n"
    )


def test_large_results_are_written_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    record("a", 21157.762, data="real", unit="ha", standard_error=198.4, interval=(15000.2, 27315))
    assert capsys.readouterr().out == (
        "Recorded: a = 21,158 ha, standard error 198, 95% interval 15,000 to 27,315 (real data)\n"
    )


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"name": "Accuracy"}, ValueError, "'Accuracy' is not"),
        ({"name": "4_digits"}, ValueError, "begins with a letter"),
        ({"name": "a\n"}, ValueError, "is not"),
        ({"data": "fake"}, ValueError, "say 'real' or 'simulated'"),
        ({"value": float("nan")}, ValueError, "nan is not a result. Record None"),
        ({"value": np.inf}, ValueError, "inf is not a result"),
        ({"value": [1]}, TypeError, "given list. Record each figure under a name of its own"),
        ({"value": np.array([1])}, TypeError, "given ndarray"),
        ({"value": Decimal("0.5")}, TypeError, "one int or float, text, True, False or None"),
        ({"standard_error": -0.1}, ValueError, "standard_error=-0.1 is negative"),
        ({"standard_error": np.nan}, ValueError, "nan is not a result"),
        ({"interval": (0.6, 0.4)}, ValueError, "does not run from low to high"),
        ({"interval": (np.nan, 0.4)}, ValueError, "nan is not a result"),
        ({"confidence": 95}, ValueError, "confidence=95 is not between 0 and 1"),
    ],
)
def test_record_refuses_what_is_no_result(
    arguments: dict[str, Any],
    error: type[Exception],
    words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(error) as refused:
        record(**{"name": "a", "value": 0.5, "data": "real", **arguments})
    assert words in str(refused.value)
    assert capsys.readouterr().out == ""


# ------------------------------------------------------------------------------------------
# In a kernel
# ------------------------------------------------------------------------------------------

CELLS = {
    "import": "import numpy as np\nfrom mlkit.exercises import exercise, record, say",
    "wrong": """
share = (
    exercise("share", 45)
    .wrong_if(lambda s: s > 1, "Is `45` a share? 0 < share & share < 1.")
    .right_if(lambda s: s == 0.45, "Yes.")
    .go_on_with(lambda: 0.45)
)
""",
    "blank": "exercise('share', ...).right_if(lambda s: True, '').go_on_with(lambda: 0.45);",
    "say": "say(f'The share is **{share:.0%}**.')",
    "record": """
record(
    "share",
    np.float64(1 / 3),
    data="real",
    unit="share",
    standard_error=np.float32(0.25),
    interval=(-np.inf, 2 / 3),
    confidence=np.float32(0.5),
    note="n = 3",
)
""",
    "least": "record('n', np.int64(3), data='simulated')",
    "none": "record('rate', None, data='real', note='no record')",
}


@pytest.fixture(scope="module")
def shown() -> dict[str, list[NotebookNode]]:
    """Run all cells in one kernel, and give what each shows."""
    notebook = new_notebook(cells=[new_code_cell(source) for source in CELLS.values()])
    execute(notebook)
    return {name: cell.outputs for name, cell in zip(CELLS, notebook.cells, strict=True)}


def test_a_check_shows_words_html_and_a_record_of_itself(
    shown: dict[str, list[NotebookNode]],
) -> None:
    (output,) = shown["wrong"]
    message = "Is `45` a share? 0 < share & share < 1."
    assert output.data["text/plain"] == f"Not yet. {message}"
    assert output.data[CHECK_MIME] == {
        "schema": 1,
        "exercise": "share",
        "outcome": "wrong",
        "message": message,
    }
    page = output.data["text/html"]
    assert "<strong>Not yet.</strong> Is <code>45</code> a share? 0 &lt; share &amp;" in page
    assert 'role="status"' in page
    assert set(output.data) == {"text/plain", "text/html", CHECK_MIME}


def test_a_blank_shows_that_it_was_not_attempted(shown: dict[str, list[NotebookNode]]) -> None:
    assert shown["blank"][0].data[CHECK_MIME]["outcome"] == "not attempted"


def test_a_sentence_is_shown_as_markdown(shown: dict[str, list[NotebookNode]]) -> None:
    (output,) = shown["say"]
    assert output.data == {
        "text/plain": "The share is **45%**.",
        "text/markdown": "The share is **45%**.",
    }


def test_the_schema_of_a_result(shown: dict[str, list[NotebookNode]]) -> None:
    """Records of runs are kept for years: change this only with a new number of the schema."""
    (output,) = shown["record"]
    assert output.data[METRIC_MIME] == {
        "schema": 1,
        "name": "share",
        "value": 0.3333333333,  # ten significant digits: beyond that, two machines may differ
        "unit": "share",
        "data": "real",
        "standard_error": 0.25,
        "interval": [None, 0.6666666667],  # JSON has no infinity
        "confidence": 0.5,
        "note": "n = 3",
    }
    assert output.data["text/plain"].startswith("Recorded: share = 0.3333 share, standard error")


def test_what_is_not_given_is_null_in_a_result(shown: dict[str, list[NotebookNode]]) -> None:
    metric = shown["least"][0].data[METRIC_MIME]
    assert json.dumps(metric) == (
        '{"schema": 1, "name": "n", "value": 3, "unit": "", "data": "simulated", '
        '"standard_error": null, "interval": null, "confidence": null, "note": ""}'
    )
    assert shown["none"][0].data[METRIC_MIME]["value"] is None


# ------------------------------------------------------------------------------------------
# Running a check twice
# ------------------------------------------------------------------------------------------

CHECK = """# Run this cell to check your answer.
two = (
    exercise("two", two)
    .wrong_if(lambda n: n == 3, "That is three.")
    .right_if(lambda n: n == 2, "Indeed.")
    .go_on_with(lambda: 2)
)
"""

# The answer typed before each check; None where only the check is run again.
ATTEMPTS = ["two = ...", None, "two = 3", None, "print(two)", "two = 2", None, "two: int = 3", None]


def test_a_check_run_again_judges_the_learner_and_not_what_it_handed_on() -> None:
    sources = ["from mlkit.exercises import exercise"]
    for attempt in ATTEMPTS:
        sources += [attempt, CHECK] if attempt else [CHECK]
    notebook = new_notebook(cells=[new_code_cell(source) for source in sources])
    execute(notebook)
    outcomes = [
        output.data[CHECK_MIME]["outcome"]
        for cell in notebook.cells
        for output in cell.outputs
        if CHECK_MIME in output.get("data", {})
    ]
    assert outcomes == [
        *("not attempted", "not attempted", "wrong", "wrong", "wrong"),
        *("right", "right", "wrong", "wrong"),
    ]
