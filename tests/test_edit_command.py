"""mlkit edit: files as an office has them, through the whole chain, and never a traceback."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlkit.datasets import make_business_survey, make_household_survey
from mlkit.editing import EditRules
from mlkit.paths import KitError
from tests.test_cli import Ended, run

RULES = """\
variable turnover, costs, profit: unit 1
result: turnover - costs == profit
sign: costs >= 0
share: profit <= 0.6 * turnover
status in {"active", "dormant"}
if status == "dormant" then turnover == 0
"""

FIRMS = """\
id;name;turnover;costs;profit;status;weight
007;Smith;200;125;75;active;1
012;"Miller; sons";200;125;750;active;2
013;Jones;100;60;-40;active;3,5
020;Weber;100;;40;active;2
031;Rossi;0;0;0;dormnat;2
"""


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """Give a folder with a file of records and one of rules."""
    (tmp_path / "firms.csv").write_text(FIRMS, encoding="utf-8")
    (tmp_path / "rules.txt").write_text(RULES, encoding="utf-8")
    return tmp_path


def edit(verb: str, desk: Path, *more: str) -> Ended:
    ended = run("edit", verb, "firms.csv", "--rules", "rules.txt", *more, cwd=desk)
    assert (desk / "firms.csv").read_text(encoding="utf-8") == FIRMS  # never touched
    return ended


def read(file: Path) -> pd.DataFrame:
    return pd.read_csv(file, sep=";", dtype="str", na_filter=False)


def test_check_lists_what_each_record_breaks(desk: Path) -> None:
    ended = edit("check", desk, "--id", "id", "--weight", "weight")
    assert ended.code == 0, ended.err
    assert ended.out == (
        "3 of 5 records break a hard rule, 1 more cannot be judged for missing values.\n"
        "firms-checked\n"
    )
    found = read(desk / "firms-checked" / "broken-rules.csv")
    assert set(zip(found["id"], found["rule"], strict=True)) >= {
        ("012", "result"),
        ("012", "share"),
        ("013", "result"),
    }
    report = (desk / "firms-checked" / "report.html").read_text(encoding="utf-8")
    assert "<h1>Editing report: firms.csv</h1>" in report
    assert "population" in report  # weights were used


def test_localise_names_the_fields(desk: Path) -> None:
    ended = edit("localise", desk, "--id", "id", "--cost", "status=2")
    assert ended.code == 0, ended.err
    found = read(desk / "firms-localised" / "fields.csv").set_index("id")
    assert found.loc["012", "fields"] == "profit"
    assert found.loc["020", "fields"] == "costs"
    assert found.loc["031", ["fields", "cost"]].tolist() == ["status", "2.0"]
    assert "007" not in found.index


def test_impute_writes_the_file_again_with_nothing_else_changed(desk: Path) -> None:
    ended = edit("impute", desk, "--id", "id")
    assert ended.code == 0, ended.err
    assert "Records that break a hard rule: 3 before, 0 now; 0 left for a clerk." in ended.out
    written = (desk / "firms-imputed" / "edited.csv").read_text(encoding="utf-8")
    assert written == (
        FIRMS.replace("750", "75").replace("-40", "40").replace("100;;40", "100;60;40")
        .replace("dormnat", "active")  # the donor's
    )  # fmt: skip
    changes = read(desk / "firms-imputed" / "changes.csv").set_index("id")
    assert changes.loc["013", ["field", "before", "after", "method"]].tolist() == [
        "profit", "-40", "40", "systematic error"
    ]  # fmt: skip
    assert changes.loc["012", "method"] == "follows from the rules"


@pytest.mark.parametrize("name", ["changes.csv", "report.html"])
def test_a_file_named_like_a_list_is_not_lost(name: str, desk: Path) -> None:
    (desk / name).write_bytes((desk / "firms.csv").read_bytes())
    ended = run("edit", "impute", name, "--rules", "rules.txt", "--out", "new", cwd=desk)
    assert ended.code == 0, ended.err
    assert {path.name for path in (desk / "new").iterdir()} == {
        "changes.csv", "edited.csv", "for-a-clerk.csv", "report.html"
    }  # fmt: skip
    assert "Miller; sons" in (desk / "new" / "edited.csv").read_text(encoding="utf-8")


def test_a_file_from_excel_stays_one(desk: Path) -> None:
    """With its mark in front and its line ends, which Excel needs to read UTF-8."""
    excel = b"\xef\xbb\xbf" + FIRMS.replace("\n", "\r\n").encode()
    (desk / "excel.csv").write_bytes(excel)
    ended = run("edit", "impute", "excel.csv", "--rules", "rules.txt", cwd=desk)
    assert ended.code == 0, ended.err
    written = (desk / "excel-imputed" / "edited.csv").read_bytes()
    assert written.startswith(b"\xef\xbb\xbfid;name;")
    assert written.count(b"\r\n") == written.count(b"\n") == FIRMS.count("\n")


def test_lines_are_counted_as_an_editor_shows_them(desk: Path) -> None:
    """A blank line counts, and so does each line of a text that has several."""
    head, first, *rest = FIRMS.splitlines()
    text = "\n".join([head, "", first, " ", *rest]) + "\n"
    text = text.replace('"Miller; sons"', '"Miller;\n\nsons"')
    (desk / "lines.csv").write_text(text, encoding="utf-8")
    ended = run("edit", "check", "lines.csv", "--rules", "rules.txt", cwd=desk)
    assert ended.code == 0, ended.err
    found = read(desk / "lines-checked" / "broken-rules.csv")
    lines = text.splitlines()
    assert set(found["line"]) == {
        str(place)
        for place, line in enumerate(lines, 1)
        if line.split(";")[0] in {"012", "013", "031"}
    }
    (desk / "lines.csv").write_text(text.replace(";125;75;", ";many;75;"), encoding="utf-8")
    ended = run("edit", "check", "lines.csv", "--rules", "rules.txt", cwd=desk)
    assert "line 3, costs: 'many'" in ended.err


def test_a_second_run_overwrites_nothing(desk: Path) -> None:
    assert edit("impute", desk).code == 0
    before = {path: path.read_bytes() for path in (desk / "firms-imputed").iterdir()}
    ended = edit("impute", desk)
    assert (ended.code, ended.out) == (2, "")
    assert "firms-imputed exists already, and nothing is overwritten" in ended.err
    assert {path: path.read_bytes() for path in (desk / "firms-imputed").iterdir()} == before
    assert edit("impute", desk, "--out", "second").code == 0


FAULTS = {
    "text in a number": (FIRMS.replace(";125;75;", ";many;75;"), RULES, "line 2, costs: 'many'"),
    "infinite": (FIRMS.replace(";125;75;", ";inf;75;"), RULES, "line 2, costs: 'inf'"),
    "no column": (FIRMS.replace("costs", "cost"), RULES, "no column 'costs'"),
    "two columns": (FIRMS.replace("name", "costs", 1), RULES, "'costs' more than once"),
    "no records": (FIRMS.partition("\n")[0] + "\n", RULES, "no records"),
    "syntax": (FIRMS, "profit <= * 3\n", "rules.txt, line 1, column 11"),
    "contradiction": (FIRMS, RULES + "costs <= -1\n", "contradict"),
    "identifiers": (FIRMS.replace("012", "007"), RULES, "007"),
    "all missing": (
        "id;turnover;costs;profit;status\n1;;;;\n2;;;;\n", RULES, "Every value is missing"
    ),
}  # fmt: skip


@pytest.mark.parametrize("verb", ["localise", "impute"])
@pytest.mark.parametrize("fault", FAULTS)
def test_bad_input_is_refused_and_nothing_written(fault: str, verb: str, tmp_path: Path) -> None:
    from mlkit.editing import _command

    firms, rules, message = FAULTS[fault]
    (tmp_path / "firms.csv").write_text(firms, encoding="utf-8")
    (tmp_path / "rules.txt").write_text(rules, encoding="utf-8")
    files = tmp_path / "firms.csv", tmp_path / "rules.txt"
    work = {
        "localise": partial(_command.localise_file, costs={}),
        "impute": partial(_command.impute_file, costs={}, within=()),
    }[verb]
    with pytest.raises(KitError, match=message):
        work(*files, None, identifier="id")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["firms.csv", "rules.txt"]


def test_the_command_line_gives_advice_instead_of_a_traceback(desk: Path) -> None:
    ended = run("edit", "check", "firms.csv", "--rules", "rule.txt", cwd=desk)
    assert ended.code == 2
    assert "rule.txt" in ended.err
    ended = edit("localise", desk, "--cost", "profit=cheap")
    assert ended.code == 2
    assert "profit=cheap" in ended.err


@pytest.mark.parametrize("make", [make_business_survey, make_household_survey])
def test_a_whole_survey_keeps_its_hard_rules_afterwards(make: Any, tmp_path: Path) -> None:
    """Every record of the edited file that is not listed for a clerk is complete and valid."""
    from mlkit.editing import _command

    survey = make(2_000, seed=3)
    survey.observed.to_csv(tmp_path / "survey.csv", index_label="id")
    (tmp_path / "rules.txt").write_text(survey.rules, encoding="utf-8")
    told = _command.impute_file(
        tmp_path / "survey.csv", tmp_path / "rules.txt", None, identifier="id", costs={}, within=()
    )
    assert "changed or filled in" in told
    folder = tmp_path / "survey-imputed"
    clerk = pd.read_csv(folder / "for-a-clerk.csv")
    assert len(clerk) <= 0.03 * len(survey.truth)
    again = _command.read_survey(folder / "edited.csv", tmp_path / "rules.txt", "id")
    check = EditRules.from_text(survey.rules).check(again.frame)
    left = check.failing | check.undecided
    assert set(again.frame.index[left].astype(clerk["id"].dtype)) == set(clerk["id"])
    # What nobody asked about is as it was.
    changes = pd.read_csv(folder / "changes.csv", dtype="str", na_filter=False)
    raw = pd.read_csv(tmp_path / "survey.csv", dtype="str", na_filter=False, index_col="id")
    new = pd.read_csv(folder / "edited.csv", dtype="str", na_filter=False, index_col="id")
    differs = np.argwhere((raw != new).to_numpy())
    cells = {(raw.index[i], raw.columns[j]) for i, j in differs}
    assert cells == set(zip(changes["id"], changes["field"], strict=True))
