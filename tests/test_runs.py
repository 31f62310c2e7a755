"""Plans, the record of runs and the report. Nothing here starts a kernel."""

from __future__ import annotations

import math
import re
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path
from threading import Barrier
from time import sleep
from typing import TYPE_CHECKING, Any

import pytest

from mlkit.paths import find_checkout
from mlkit.runs.command import run_command
from mlkit.runs.plan import Limits, PlanError, read_plan
from mlkit.runs.report import write_report
from mlkit.runs.store import STATES, NewRun, Store, StoreError
from mlkit.runs.summary import say_state
from tests.sample import SAMPLE, write_sample

if TYPE_CHECKING:
    from playwright.sync_api import Page

PARAMETERS = """
EXACT = True  # bool: compute the long way
WORD = "fast"  # str: a word"""

LESSON = "start/01-small"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("checkout")
    line = "SHARE = 0.9  # float: true share that is coded right"
    assert line in SAMPLE
    write_sample(root, SAMPLE.replace(line, line + PARAMETERS))
    (root / "plans").mkdir()
    return root


def plan_in(root: Path, text: str, name: str = "plan") -> Path:
    path = root / "plans" / f"{name}.yaml"
    path.write_text(text)
    return path


# ------------------------------------------------------------------------------------------
# Plans
# ------------------------------------------------------------------------------------------


def test_the_plan_in_the_repository_is_sound() -> None:
    root = find_checkout(Path(__file__))
    for path in (root / "plans").glob("*.yaml"):
        assert read_plan(path, root).runs


def test_grids_and_repeats_are_multiplied_out(checkout: Path) -> None:
    path = plan_in(
        checkout,
        f"runs:\n"
        f"  - lesson: {LESSON}\n"
        f"    parameters: {{SHARE: [0.5, 1], WORD: [a, b], SEED: 7}}\n"
        f"    repeats: 3\n",
    )
    plan = read_plan(path, checkout)
    assert plan.name == "plan"
    assert plan.limits.workers == 2
    assert [(r.parameters["SHARE"], r.parameters["WORD"], r.parameters["SEED"]) for r in plan.runs][
        :4
    ] == [(0.5, "a", 7), (0.5, "a", 8), (0.5, "a", 9), (0.5, "b", 7)]
    assert len(plan.runs) == 12
    assert {type(r.parameters["SHARE"]) for r in plan.runs} == {float}
    assert {r.parameters["N"] for r in plan.runs} == {200}, "a parameter left out has its default"
    assert [r.repeat for r in plan.runs[:3]] == [0, 1, 2]


# Each entry: the plan, the line of the fault, and words that its message must have.
FAULTS = {
    "no YAML": ("runs: [", 1, "not valid YAML"),
    "a tab": ("runs:\n\t- lesson: x\n", 2, "not valid YAML"),
    "empty": ("# nothing here\n", 1, "block of lines"),
    "a list": ("- lesson: x\n", 1, "block of lines"),
    "no runs": ("limits: {workers: 1}\n", 1, "'runs' is missing"),
    "runs empty": ("runs: []\n", 1, "at least 1 item"),
    "unknown key at the top": ("runs: [{lesson: start/01-small}]\nlimts: {}\n", 2, "'limits'"),
    "unknown key of a run": ("runs:\n  - lesson: start/01-small\n    repeat: 2\n", 3, "'repeats'"),
    "unknown limit": (
        "limits:\n  worker: 1\nruns: [{lesson: start/01-small}]\n",
        2,
        "Did you mean 'workers'?",
    ),
    "limit of another type": (
        "limits: {workers: two}\nruns: [{lesson: start/01-small}]\n",
        1,
        "workers: given 'two'",
    ),
    "no workers": ("limits: {workers: 0}\nruns: [{lesson: start/01-small}]\n", 1, "given 0"),
    "endless": (
        "limits: {seconds_per_run: .inf}\nruns: [{lesson: start/01-small}]\n",
        1,
        "finite number",
    ),
    "a run that is text": ("runs:\n  - start/01-small\n", 2, "block of lines"),
    "key twice": ("runs: [{lesson: start/01-small}]\nruns: []\n", 2, "stands twice"),
    "unknown lesson": (
        "runs:\n  - lesson: start/01-smal\n",
        2,
        "no lesson 'start/01-smal'. Did you mean 'start/01-small'?",
    ),
    "unknown parameter": (
        "runs:\n  - lesson: start/01-small\n    parameters: {SHARES: 1}\n",
        3,
        "no parameter 'SHARES'. Did you mean 'SHARE'?",
    ),
    "text for a number": (
        "runs:\n  - lesson: start/01-small\n    parameters:\n      SHARE: oops\n",
        4,
        "SHARE: given 'oops'; it takes a number (true share that is coded right)",
    ),
    "true for a whole number": (
        "runs:\n  - lesson: start/01-small\n    parameters: {N: true}\n",
        3,
        "N: given true; it takes a whole number",
    ),
    "a fraction for a whole number": (
        "runs:\n  - lesson: start/01-small\n    parameters: {N: 3.5}\n",
        3,
        "N: given 3.5",
    ),
    "1e3, which YAML takes for text": (
        "runs:\n  - lesson: start/01-small\n    parameters: {SHARE: 1e3}\n",
        3,
        "SHARE: given '1e3'",
    ),
    "no number": (
        "runs:\n  - lesson: start/01-small\n    parameters: {SHARE: .nan}\n",
        3,
        "SHARE: given nan",
    ),
    "too large for a float": (
        f"runs:\n  - lesson: start/01-small\n    parameters: {{SHARE: 1{'0' * 400}}}\n",
        3,
        "SHARE: given 1000",
    ),
    "a number for text": (
        "runs:\n  - lesson: start/01-small\n    parameters: {WORD: 2010}\n",
        3,
        "Put it in quotes",
    ),
    "a date for text": (
        "runs:\n  - lesson: start/01-small\n    parameters: {WORD: 2024-01-31}\n",
        3,
        "the date 2024-01-31",
    ),
    "1 for true": (
        "runs:\n  - lesson: start/01-small\n    parameters: {EXACT: 1}\n",
        3,
        "EXACT: given 1; it takes true or false",
    ),
    "nothing": (
        "runs:\n  - lesson: start/01-small\n    parameters: {WORD: }\n",
        3,
        "WORD: given nothing",
    ),
    "empty grid": (
        "runs:\n  - lesson: start/01-small\n    parameters: {N: []}\n",
        3,
        "an empty list means no run at all",
    ),
    "fault inside a grid": (
        "runs:\n  - lesson: start/01-small\n    parameters:\n      N:\n        - 1\n        - x\n",
        6,
        "N: given 'x'",
    ),
    "value twice in a grid": (
        "runs:\n  - lesson: start/01-small\n    parameters: {SHARE: [1, 1.0]}\n",
        3,
        "stands twice",
    ),
    "SEED twice over": (
        "runs:\n  - lesson: start/01-small\n    parameters: {SEED: [0, 1]}\n    repeats: 2\n",
        4,
        "changes SEED as well",
    ),
    "no repeats": ("runs:\n  - lesson: start/01-small\n    repeats: 0\n", 3, "repeats: given 0"),
    "the same run twice": (
        "runs:\n  - lesson: start/01-small\n"
        "  - lesson: start/01-small\n    parameters: {SEED: 0}\n",
        3,
        "planned already on line 2",
    ),
    "too many runs": (
        "runs:\n  - lesson: start/01-small\n    parameters:\n"
        f"      N: {list(range(200))}\n      SEED: {list(range(200))}\n",
        2,
        "40,000 runs",
    ),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_fault_in_a_plan_is_named_with_its_line(checkout: Path, case: str) -> None:
    text, line, words = FAULTS[case]
    path = plan_in(checkout, text)
    with pytest.raises(PlanError) as raised:
        read_plan(path, checkout)
    assert f"{path}:{line}: " in str(raised.value)
    assert words in str(raised.value)
    assert len(raised.value.faults) == 1, str(raised.value)


def test_all_faults_of_a_plan_are_named_at_once(checkout: Path) -> None:
    path = plan_in(
        checkout,
        "runs:\n"
        "  - lesson: start/01-small\n"
        "    parameters: {N: x, SHARES: 1}\n"
        "  - lesson: nowhere/01-none\n"
        "  - lesson: start/01-small\n"
        "    repeets: 2\n"
        "limits:\n"
        "  workers: many\n",
    )
    with pytest.raises(PlanError) as raised:
        read_plan(path, checkout)
    assert [fault.line for fault in raised.value.faults] == [3, 3, 4, 6, 8]


def test_a_fault_in_a_lesson_is_named_with_the_lesson_s_line(tmp_path: Path) -> None:
    master = write_sample(tmp_path, SAMPLE.replace("SEED = 0  #", "SEED = 'x'  #"))
    (tmp_path / "plans").mkdir()
    path = plan_in(tmp_path, f"runs:\n  - lesson: {LESSON}\n  - lesson: {LESSON}\n")
    with pytest.raises(PlanError, match=f"{master.name}:[0-9]+: "):
        read_plan(path, tmp_path)


def test_a_missing_plan_is_answered_with_the_plans_there_are(checkout: Path) -> None:
    plan_in(checkout, "runs: []", name="other")
    with pytest.raises(FileNotFoundError, match=r"plans/other\.yaml"):
        read_plan(checkout / "plans" / "none.yaml", checkout)


def test_a_plan_in_another_encoding_is_refused(checkout: Path) -> None:
    path = checkout / "plans" / "plan.yaml"
    path.write_bytes("runs: [] # é".encode("latin-1"))
    with pytest.raises(PlanError, match="not UTF-8"):
        read_plan(path, checkout)


def test_nothing_is_run_when_the_plan_is_faulty(
    checkout: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = plan_in(checkout, f"runs: [{{lesson: {LESSON}, parameters: {{N: oops}}}}]\n")
    monkeypatch.chdir(checkout)
    assert run_command(path, tmp_path / "out") == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "Nothing was run" in said.err
    assert "N: given 'oops'" in said.err
    assert not (tmp_path / "out").exists(), "a record is made before the first kernel starts"


def test_the_command_needs_a_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_command(Path("plan.yaml")) == 2
    assert "not inside a checkout" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------
# The record
# ------------------------------------------------------------------------------------------


def new_run(seed: int = 0, **parameters: Any) -> NewRun:
    return NewRun(
        run_id=f"start-01-small-{seed}",
        lesson=LESSON,
        title="A small lesson",
        parameters={"SEED": seed, **parameters},
        repeat=seed,
        notebook_hash="abc",
        dataset_hashes={"soc_index": "def"},
    )


def metric(name: str, value: Any, **more: Any) -> dict[str, Any]:
    return {
        "schema": 1,
        "name": name,
        "value": value,
        "unit": "",
        "data": "real",
        "standard_error": None,
        "interval": None,
        "confidence": None,
        "note": "",
        **more,
    }


def succeed(store: Store, number: int, folder: Path, *metrics: dict[str, Any]) -> None:
    output = folder / f"{number}.ipynb"
    output.write_text("{}")
    store.start(number)
    store.finish(
        number,
        "succeeded",
        seconds=1.5,
        versions={"python": "3.11.7"},
        output=output.relative_to(store.folder).as_posix(),
        metrics=metrics,
    )


def test_results_come_back_as_they_were_recorded(tmp_path: Path) -> None:
    recorded = [
        metric("a", 0.5, interval=[0.4, None], confidence=0.9, unit="share", note="why"),
        metric("b", 3),
        metric("c", "text"),
        metric("d", True),
        metric("e", None, data="simulated"),
        metric("f", 0.25, standard_error=0.01),
    ]
    with Store(tmp_path) as store:
        batch = store.begin("plan", "runs: []", [new_run()])
        run = store.batch(batch).runs[0]
        assert run.state == "not_started"
        succeed(store, run.number, store.batch(batch).folder, *recorded)
        store.end(batch)
        run = store.batch(batch).runs[0]
    assert run.state == "succeeded"
    assert run.parameters == {"SEED": 0}
    assert [m.value for m in run.metrics] == [0.5, 3, "text", True, None, 0.25]
    assert [type(m.value) for m in run.metrics][:4] == [float, int, str, bool]
    assert run.metrics[0].interval == (0.4, math.inf)
    assert run.metrics[1].interval is None
    assert run.metrics[0].note == "why"
    assert run.metrics[5].standard_error == 0.01


def test_a_finished_record_never_changes(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        batch = store.begin("plan", "", [new_run()])
        number = store.batch(batch).runs[0].number
        succeed(store, number, store.batch(batch).folder, metric("a", 1))
        store.finish(number, "failed", error=("Error", "late", 1), metrics=[metric("b", 2)])
        run = store.run(number)
        store.end(batch)
    assert run.state == "succeeded"
    assert [m.name for m in run.metrics] == ["a"]


def test_a_result_that_cannot_be_stored_leaves_the_run_unfinished(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        batch = store.begin("plan", "", [new_run()])
        number = store.batch(batch).runs[0].number
        store.start(number)
        with pytest.raises(sqlite3.IntegrityError):
            store.finish(number, "succeeded", metrics=[metric("a", 1), metric("a", 2)])
        run = store.run(number)
        store.end(batch)
        assert (run.state, run.metrics) == ("running", ())
        assert store.run(number).state == "interrupted"


def test_a_run_is_interrupted_only_when_its_program_is_gone(tmp_path: Path) -> None:
    first = Store(tmp_path)
    batch = first.begin("plan", "", [new_run(), new_run(1)])
    number = first.batch(batch).runs[0].number
    first.start(number)
    with Store(tmp_path) as second:
        assert second.find_interrupted() == 0
        assert second.run(number).state == "running"
        first.__exit__()  # what the operating system does when the program dies
        assert second.find_interrupted() == 1
        assert [run.state for run in second.batch(batch).runs] == ["interrupted", "not_started"]


def test_resuming_keeps_what_succeeded_and_nothing_else(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        first = store.begin("plan", "", [new_run(0), new_run(1)])
        good, bad = store.batch(first).runs
        succeed(store, good.number, store.batch(first).folder)
        store.start(bad.number)
        store.finish(bad.number, "failed", error=("ValueError", "no", 3))
        store.end(first)
        second = store.batch(store.begin("plan", "", [new_run(0), new_run(1)], resume=True))
        third = store.batch(store.begin("plan", "", [new_run(0), new_run(1)]))
        assert [run.state for run in second.runs] == ["succeeded", "not_started"]
        assert second.kept == {good.number}
        assert [run.state for run in third.runs] == ["not_started", "not_started"]
        assert third.kept == frozenset()
        assert len({b.folder for b in (store.batch(first), second, third)}) == 3
        assert store.run(bad.number).error_message == "no", "the failed run is still there"


def test_a_run_whose_notebook_is_gone_is_not_kept(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        batch = store.begin("plan", "", [new_run()])
        run = store.batch(batch).runs[0]
        succeed(store, run.number, store.batch(batch).folder)
        store.end(batch)
        (store.folder / (store.run(run.number).output or "")).unlink()
        again = store.batch(store.begin("plan", "", [new_run()], resume=True))
        assert again.runs[0].state == "not_started"


def test_many_programs_write_one_record_at_once(tmp_path: Path) -> None:
    writers, rounds = 4, 5
    ready = Barrier(writers)

    def write(seed: int) -> None:
        ready.wait()
        with Store(tmp_path / "new") as store:
            for _ in range(rounds):
                store.find_interrupted()
                batch = store.begin(f"plan-{seed}", "", [new_run(seed)])
                number = store.batch(batch).runs[0].number
                succeed(store, number, store.batch(batch).folder, metric("a", seed))
                store.end(batch)

    with ThreadPoolExecutor(writers) as pool:
        list(pool.map(write, range(writers)))
    with closing(sqlite3.connect(tmp_path / "new" / "runs.sqlite")) as connection:
        counts = connection.execute(
            "SELECT count(*), count(DISTINCT folder) FROM batches JOIN batch_runs "
            "ON batch = batches.id JOIN runs ON run = runs.id JOIN metrics USING (run) "
            "WHERE state = 'succeeded' AND batches.finished IS NOT NULL"
        ).fetchone()
    assert counts == (writers * rounds, writers * rounds)


def test_two_programs_that_write_wait_for_each_other(tmp_path: Path) -> None:
    with Store(tmp_path) as gone:
        number = gone.batch(gone.begin("plan", "", [new_run()])).runs[0].number
        gone.start(number)

    def commit_late() -> None:
        sleep(0.5)
        other.execute("COMMIT")

    with (
        Store(tmp_path) as store,
        closing(
            sqlite3.connect(tmp_path / "runs.sqlite", isolation_level=None, check_same_thread=False)
        ) as other,
    ):
        other.execute("BEGIN IMMEDIATE")
        other.execute("UPDATE batches SET plan_text = 'other'")
        with ThreadPoolExecutor(1) as pool:
            late = pool.submit(commit_late)
            assert store.find_interrupted() == 1
            late.result()


def test_notebooks_without_their_record_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "plan-1").mkdir()
    with Store(tmp_path) as store:
        folder = store.batch(store.begin("plan", "", [])).folder
    assert folder.name != "plan-1"
    assert folder.is_dir()


@pytest.mark.parametrize("what", ["text", "another database", "a newer record", "a folder"])
def test_a_file_that_is_no_record_is_left_alone(tmp_path: Path, what: str) -> None:
    file = tmp_path / "runs.sqlite"
    if what == "text":
        file.write_text("these are no runs, but a text of some length" * 100)
    elif what == "a folder":
        file.mkdir()
    else:
        connection = sqlite3.connect(file)
        connection.execute("CREATE TABLE other (x)")
        if what == "a newer record":
            connection.execute("PRAGMA user_version = 99")
        connection.commit()
        connection.close()
    before = file.read_bytes() if file.is_file() else None
    with pytest.raises(StoreError, match=r"runs\.sqlite") as raised:
        Store(tmp_path)
    assert "--out" in str(raised.value)
    assert before == (file.read_bytes() if file.is_file() else None)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        Store(tmp_path / "file" / "out")


# ------------------------------------------------------------------------------------------
# The report
# ------------------------------------------------------------------------------------------


class Outline(HTMLParser):
    """What the tests ask of a page: its words in order, its tags, the text of table bodies."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.bodies: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tbody":
            self.bodies.append("")

    def handle_data(self, data: str) -> None:
        self.words.append(" ".join(data.split()))
        if self.bodies:
            self.bodies[-1] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def report(tmp_path: Path) -> Path:
    """Give the report of three runs, of which one failed."""
    long = "share_of_titles_coded_right_without_a_clerk_at_four_digits"
    with Store(tmp_path / "with space & <sign>") as store:
        runs = [new_run(seed, TARGET=0.95, WORD="<b>bold</b>") for seed in range(3)]
        batch = store.begin("plan #1, 50 %25", "# <script>alert(1)</script>\nruns: []", runs)
        folder = store.batch(batch).folder
        first, second, third = store.batch(batch).runs
        for run, value in ((first, 0.52), (third, 0.55)):
            interval = [value - 0.02, value + 0.02]
            succeed(
                store,
                run.number,
                folder,
                metric(long, value, unit="share", interval=interval, confidence=0.95),
                metric("titles", 28521, data="simulated", note="in the <index>"),
                metric("best_model", "linear"),
                metric("total", value, data="real" if run is first else "simulated"),
            )
        store.start(second.number)
        (folder / "bad one.ipynb").write_text("{}")
        store.finish(
            second.number,
            "failed",
            error=("ValueError", "<script>alert(2)</script>" + "very_long" * 60, 4),
            output=f"{folder.name}/bad one.ipynb",
        )
        store.end(batch)
        return write_report(store.batch(batch))


def test_the_report_says_what_failed_first_and_what_the_rest_found(report: Path) -> None:
    page = report.read_text(encoding="utf-8")
    words = " ".join(Outline(page).words)
    assert "2 of 3 runs succeeded; 1 failed." in words
    assert words.index("did not succeed") < words.index("ValueError") < words.index("0.52 to 0.55")
    assert "in cell [4]" in words
    assert "0.5 to 0.54 (95%)" in words
    assert "What 2 of 3 runs recorded" in words
    assert "28,521" in words
    assert words.count("SEED 0") == 3, "in two results, and in the list of all runs"
    assert "all runs" in words, "what is the same in all runs is said once"
    assert "soc_index" in words


def test_the_report_says_of_every_figure_whether_it_is_real(report: Path) -> None:
    share, titles, model, total = Outline(report.read_text(encoding="utf-8")).bodies[:4]
    assert ("real data" in share, "simulated data" in share) == (True, False)
    assert ("real data" in titles, "simulated data" in titles) == (False, True)
    assert ("real data" in model, "simulated data" in model) == (True, False)
    assert total.index("SEED 0") < total.index("real data") < total.index("SEED 2")
    assert total.index("SEED 2") < total.index("simulated data")


def test_the_page_for_instructors_explains_every_state() -> None:
    page = (find_checkout(Path(__file__)) / "docs" / "runs.md").read_text(encoding="utf-8")
    for state in STATES:
        assert state == "running" or f"| {say_state(state)} |" in page
    for limit, field in Limits.model_fields.items():
        assert re.search(rf"`{limit}` \|.*\| {field.default} \|", page), limit


def test_the_report_asks_for_nothing_and_runs_nothing(report: Path) -> None:
    page = report.read_text(encoding="utf-8")
    outline = Outline(page)
    assert not outline.all("script")
    assert not outline.all("link")
    assert not outline.all("img")
    assert "<b>bold</b>" not in page
    assert "http" not in page


def test_the_report_s_links_lead_to_the_notebooks(report: Path) -> None:
    from urllib.parse import unquote

    links = [a["href"] or "" for a in Outline(report.read_text(encoding="utf-8")).all("a")]
    assert len(links) == 4, "three runs, and the failed one twice"
    for link in links:
        assert (report.parent / unquote(link)).is_file(), link


def test_every_table_of_the_report_has_a_caption_and_scopes(report: Path) -> None:
    outline = Outline(report.read_text(encoding="utf-8"))
    assert len(outline.all("table")) == len(outline.all("caption")) == 3
    assert all(th.get("scope") for th in outline.all("th"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_fits_a_phone(page_offline: Page, report: Path, scheme: Any) -> None:
    page_offline.set_viewport_size({"width": 360, "height": 740})
    page_offline.emulate_media(color_scheme=scheme)
    page_offline.goto(report.as_uri())
    wide = (
        "[...document.querySelectorAll('html, .scroll')].filter(e => e.scrollWidth > e.clientWidth)"
    )
    assert page_offline.evaluate(f"{wide}.length") == 0, "nothing needs sideways scrolling"
    background = page_offline.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(21, 25, 29)"}[scheme]
