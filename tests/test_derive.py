"""What each copy of a lesson holds, and what a change in the master changes in it."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

from mlkit.lessons import (
    Master,
    learner_copy,
    notebook_path,
    read_master,
    slide_copy,
    solved_copy,
)
from mlkit.lessons.derive import fingerprint, trial_copy
from tests.sample import SAMPLE, spoil, write_sample

NEXT = (
    spoil("title: A small lesson", 'title: "What comes next: a second lesson"')
    .replace('gsbpm: "5.2"', 'gsbpm: "6.4"\n  prerequisites: [start/01-small]')
    .replace("qf4sa: [accuracy]", "qf4sa: [accuracy]\n  datasets: [soc_index]")
    .replace("pilots: [bls]", "requires: [imagery]")
    .replace(
        "\nCount.\n",
        "\n[Back](01-small.md), [part](01-small.md#count), [far](../other/01-far.md), "
        "[out](https://example.org/a.md), [here](#x), [`code`](../glossary.md#accuracy).\n\n"
        "![A map](pictures/map.png) ![Out](https://example.org/a.png)\n",
    )
)

COPIES = [learner_copy, slide_copy, solved_copy, trial_copy]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a checkout of three lessons, one with every kind of link."""
    root = tmp_path_factory.mktemp("checkout")
    write_sample(root)
    write_sample(root, spoil("theme: start", "theme: other"), name="other/01-far")
    path = write_sample(root, NEXT, name="start/02-next")
    (path.parent / "pictures").mkdir()
    (path.parent / "pictures" / "map.png").touch()
    return root


@pytest.fixture(scope="module")
def small(root: Path) -> Master:
    return read_master(root / "tutorials" / "start" / "01-small.md")


@pytest.fixture(scope="module")
def following(root: Path) -> Master:
    return read_master(root / "tutorials" / "start" / "02-next.md")


def sources(notebook: NotebookNode, tag: str) -> list[str]:
    return [cell.source for cell in notebook.cells if tag in cell.metadata.get("tags", [])]


def text_of(notebook: NotebookNode) -> str:
    return "\n".join(cell.source for cell in notebook.cells)


# ------------------------------------------------------------------------------------------
# All copies
# ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("copy", COPIES)
def test_a_copy_is_a_sound_notebook_that_nothing_has_run(
    copy: Callable[[Master], NotebookNode], small: Master
) -> None:
    notebook = copy(small)
    nbformat.validate(notebook)
    assert all(not c.outputs for c in notebook.cells if c.cell_type == "code")
    assert notebook.metadata["kernelspec"]["name"] == "python3"
    assert notebook.metadata["mlkit"]["lesson"] == "start/01-small"
    assert notebook.metadata["mlkit"]["copy"] == copy.__name__.removesuffix("_copy").replace(
        "slide", "slides"
    )


def test_a_notebook_stands_beside_the_tutorials_under_the_name_of_its_master(small: Master) -> None:
    assert notebook_path(small.path) == small.root / "notebooks" / "start" / "01-small.ipynb"


# ------------------------------------------------------------------------------------------
# The learner's copy
# ------------------------------------------------------------------------------------------


def test_the_learner_sees_blanks_and_checks_but_no_wrong_answers_and_no_notes(
    small: Master,
) -> None:
    notebook = learner_copy(small)
    assert sources(notebook, "exercise") == ["share = ...", "def count_wrong(right):\n    ..."]
    assert len(sources(notebook, "check")) == 2
    assert "share = right.sum()" not in text_of(notebook)
    assert "Ask the room" not in text_of(notebook)
    assert (
        not sources(notebook, "wrong") + sources(notebook, "solution") + sources(notebook, "notes")
    )


def test_hints_come_in_numbered_folded_steps(small: Master) -> None:
    assert sources(learner_copy(small), "hint") == [
        "<details>\n<summary>Hint 1 of 2</summary>\n\nA share is a mean.\n\n</details>",
        "<details>\n<summary>Hint 2 of 2</summary>\n\nUse `right.mean()`.\n\n</details>",
        "<details>\n<summary>Hint</summary>\n\nTurn right into wrong with `~`.\n\n</details>",
    ]


def test_the_answer_is_folded_right_behind_its_check(small: Master) -> None:
    tags = [cell.metadata.get("tags", []) for cell in learner_copy(small).cells]
    assert [after for before, after in pairwise(tags) if "check" in before] == [["answer"]] * 2
    first, second = sources(learner_copy(small), "answer")
    assert first == (
        "<details>\n<summary>One right answer</summary>\n\n```python\nshare = right.mean()\n```\n\n"
        "The mean of true and false is the share of true, $\\bar{y}$.\n\n</details>"
    )
    assert "def count_wrong(right):\n    return (~right).sum()\n```\n\n</details>" in second


def test_the_answers_of_a_poll_are_folded(small: Master) -> None:
    (poll,) = sources(learner_copy(small), "poll")
    assert poll == (
        "**Poll.** Which figure would you publish?\n\n"
        "- **A.** The accuracy\n- **B.** The total with its error\n\n"
        "<details>\n<summary>Answers</summary>\n\n"
        "- **A** is wrong. It tempts, but no user asked for it.\n"
        "- **B** is right. It is what users read.\n\n</details>"
    )


def test_the_header_tells_what_a_learner_asks_first(following: Master) -> None:
    (header,) = sources(learner_copy(following), "header")
    for fact in (
        "# What comes next: a second lesson\n",
        "*Beginner · 7 minutes to read · 5 to practise · 6 more if you like*",
        "- Count right codes\n- Say what it does to a total",
        "**Before this:** [A small lesson](01-small.ipynb)",
        "**Data:** ONS coding index of the Standard Occupational Classification 2010 (real)",
        "6.4 (apply disclosure control); [QF4SA]",
        ": accuracy\n\n**Needs the extra:** imagery",
    ):
        assert fact in header


def test_the_header_names_the_pilot_study(small: Master) -> None:
    (header,) = sources(learner_copy(small), "header")
    assert "**From practice**\n\n- BLS (United States): coding of injury narratives\n" in header


def test_the_header_tells_the_measured_time_and_memory(tmp_path: Path) -> None:
    master = read_master(write_sample(tmp_path))
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "measured.json").write_text(
        '{"start/01-small": {"seconds": 5, "slowest_cell": 2, "megabytes": 200}}'
    )
    (header,) = sources(learner_copy(master), "header")
    assert "6 more if you like · the computer needs up to 5 s and 200 MB*" in header


def test_the_footer_leads_to_the_neighbours(small: Master, following: Master) -> None:
    (footer,) = sources(learner_copy(small), "footer")
    assert "Before:" not in footer
    assert "Next: [What comes next: a second lesson](02-next.ipynb)" in footer
    (footer,) = sources(learner_copy(following), "footer")
    assert "Before: [A small lesson](01-small.ipynb)" in footer
    assert "Next:" not in footer


def test_a_check_is_folded_because_it_states_the_answer(small: Master) -> None:
    checks = [c for c in learner_copy(small).cells if "check" in c.metadata.get("tags", [])]
    assert len(checks) == 2
    for check in checks:
        assert check.metadata["jupyter"] == {"source_hidden": True}
        assert "hide-input" in check.metadata["tags"]


def test_keys_of_cells_are_kept(tmp_path: Path) -> None:
    text = spoil(
        "```{code-cell} ipython3\nsay(",
        "```{code-cell} ipython3\n:tags: [hide-input, nbval-ignore-output]\n"
        ":tolerance: {relative: 0.1, reason: the clock}\nassert share\nsay(",
    )
    notebook = learner_copy(read_master(write_sample(tmp_path, text)))
    (cell,) = (cell for cell in notebook.cells if cell.source.startswith("assert share"))
    assert cell.metadata == {
        "tags": ["hide-input", "nbval-ignore-output"],
        "tolerance": {"relative": 0.1, "reason": "the clock"},
        "jupyter": {"source_hidden": True},
    }
    (figure,) = (cell for cell in notebook.cells if "plt.show" in cell.source)
    assert figure.metadata["alt"].startswith("Two bars, wrong and right;")
    heads = [cell.metadata for cell in notebook.cells if cell.source.startswith("## ")]
    assert [(head["talk"], head["practice"]) for head in heads][:3] == [(2, 0), (3, 5), (2, 4)]
    assert heads[2]["tags"] == ["stretch"]


# ------------------------------------------------------------------------------------------
# The other copies
# ------------------------------------------------------------------------------------------


def test_slides_are_the_learners_copy_with_the_notes(small: Master) -> None:
    slides, learner = slide_copy(small), learner_copy(small)
    assert sources(slides, "notes") == ["Ask the room how many codes they think are right."]
    assert [cell.id for cell in slides.cells if "notes" not in cell.metadata.get("tags", [])] == [
        cell.id for cell in learner.cells
    ]


def test_the_solved_copy_has_no_blank(small: Master) -> None:
    notebook = solved_copy(small)
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    assert "..." not in code
    assert code.count("share = right.mean()") == 1
    assert code.count("return (~right).sum()") == 1
    assert not sources(notebook, "hint") + sources(notebook, "answer") + sources(notebook, "notes")
    assert len(sources(notebook, "check")) == 2
    assert len(sources(notebook, "parameters")) == 1


def test_the_trial_copy_tries_every_answer_before_the_lesson_goes_on(small: Master) -> None:
    cells = trial_copy(small).cells
    tried = [
        (cell.metadata["trial"]["exercise"], cell.metadata["trial"]["attempt"], answer.source)
        for answer, cell in pairwise(cells)
        if "trial" in cell.metadata
    ]
    assert tried == [
        ("share", "blank", "share = ..."),
        ("share", "wrong", "share = right.sum()"),
        ("share", "solution", "share = right.mean()"),
        ("count-wrong", "blank", "def count_wrong(right):\n    ..."),
        ("count-wrong", "wrong", "def count_wrong(right):\n    return right.sum()"),
        ("count-wrong", "solution", "def count_wrong(right):\n    return (~right).sum()"),
    ]
    lines = SAMPLE.split("\n")
    for answer, cell in pairwise(cells):
        if "trial" in cell.metadata:
            assert lines[cell.metadata["trial"]["line"] - 1] == answer.source.split("\n")[0]


# ------------------------------------------------------------------------------------------
# Links
# ------------------------------------------------------------------------------------------


def test_links_lead_from_the_notebook_to_files(following: Master) -> None:
    notebook = learner_copy(following)
    place = notebook_path(following.path)
    masters = (following.root / "tutorials").glob("*/*.md")
    files = {following.root / "tutorials" / "glossary.md", *map(notebook_path, masters)}
    files |= {following.path.parent / "pictures" / "map.png", place.parent / "01-welcome.ipynb"}
    targets = re.findall(r"\]\(([^)\s]+)", text_of(notebook))
    inside = [target for target in targets if not target.startswith(("http", "#"))]
    assert len(inside) > 10
    for target in inside:
        assert "\\" not in target
        assert (place.parent / target.partition("#")[0]).resolve() in files


def test_links_are_rewritten_and_glossary_terms_explained(following: Master) -> None:
    text = text_of(learner_copy(following))
    assert (
        "[Back](01-small.ipynb), [part](01-small.ipynb#count), [far](../other/01-far.ipynb), "
        "[out](https://example.org/a.md), [here](#x), [`code`](../../tutorials/glossary.md#accuracy"
        ' "The share of records that get the right code.").\n\n'
        "![A map](../../tutorials/start/pictures/map.png) ![Out](https://example.org/a.png)"
    ) in text


def test_a_quotation_mark_in_the_glossary_does_not_end_the_title(tmp_path: Path) -> None:
    path = write_sample(tmp_path)
    (tmp_path / "tutorials" / "glossary.md").write_text(
        '# Glossary\n\n## accuracy\n\nThe *share* of "right"\n[codes](a.md). More.\n\n'
        "## gsbpm\n\nG.\n\n## qf4sa\n\nQ.\n"
    )
    text = text_of(learner_copy(read_master(path)))
    assert """glossary.md#accuracy "The share of 'right' codes.")""" in text


# ------------------------------------------------------------------------------------------
# Identity
# ------------------------------------------------------------------------------------------


def derived(folder: Path, text: str) -> NotebookNode:
    return learner_copy(read_master(write_sample(folder, text)))


def test_the_same_text_gives_the_same_notebook(tmp_path: Path) -> None:
    one, other = derived(tmp_path / "a", SAMPLE), derived(tmp_path / "b", SAMPLE)
    assert nbformat.writes(one) == nbformat.writes(other)


def test_a_change_in_one_cell_changes_one_id(tmp_path: Path) -> None:
    before = derived(tmp_path / "a", SAMPLE)
    after = derived(tmp_path / "b", spoil("\nCount.\n", "\nCount twice.\n"))
    pairs = zip(before.cells, after.cells, strict=True)
    assert [(a.source, b.source) for a, b in pairs if a.id != b.id] == [
        ("## What to take away\n\nCount.", "## What to take away\n\nCount twice.")
    ]


def test_a_new_cell_changes_no_other_id(tmp_path: Path) -> None:
    before = derived(tmp_path / "a", SAMPLE)
    cell = "```{code-cell} ipython3\nx = 1\n```\n"
    after = derived(tmp_path / "b", spoil("\nCount.\n", f"\nCount.\n\n{cell}\n"))
    new = {cell.id for cell in after.cells} - {cell.id for cell in before.cells}
    assert len(new) == 1
    assert len(after.cells) == len(before.cells) + 1


def test_cells_of_the_same_text_have_ids_of_their_own(tmp_path: Path) -> None:
    cell = "```{code-cell} ipython3\nx = 1\n```\n"
    notebook = derived(tmp_path, spoil("\nCount.\n", f"\nCount.\n\n{cell}\n{cell}\n{cell}\n"))
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("N = 200", "N = 201"),
        ("\nCount.\n", "\nCount twice.\n"),
        (":alt: Two bars", ":alt: Three bars"),
        ('{"talk": 3, "practice": 5}', '{"talk": 3, "practice": 6}'),
        ("Use `right.mean()`.", "Use `right.sum()`."),
        ("share = right.mean()\n```", "share = right.mean() + 0\n```"),
        ("title: A small lesson", "title: A little lesson"),
    ],
)
def test_the_fingerprint_changes_with_all_that_a_learner_sees(
    old: str, new: str, tmp_path: Path
) -> None:
    before, after = derived(tmp_path / "a", SAMPLE), derived(tmp_path / "b", spoil(old, new))
    assert fingerprint(before) != fingerprint(after)
    assert before.metadata["mlkit"] != after.metadata["mlkit"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Ask the room how many", "Ask how many"),
        ("share = right.sum()", "share = right.sum() + 0"),
    ],
)
def test_the_fingerprint_does_not_change_with_what_only_authors_see(
    old: str, new: str, tmp_path: Path
) -> None:
    before, after = derived(tmp_path / "a", SAMPLE), derived(tmp_path / "b", spoil(old, new))
    assert nbformat.writes(before) == nbformat.writes(after)


def test_the_fingerprint_does_not_change_with_outputs(small: Master) -> None:
    notebook = learner_copy(small)
    before = fingerprint(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.execution_count = 3
            cell.outputs = [nbformat.v4.new_output("stream", text="x")]
            cell.metadata["execution"] = {"iopub.execute_input": "now"}
    assert fingerprint(notebook) == before


def test_the_fingerprints_of_the_data_are_kept(following: Master) -> None:
    data = learner_copy(following).metadata["mlkit"]["built_from"]["datasets"]
    assert list(data) == ["soc_index"]
    assert re.fullmatch(r"[0-9a-f]{64}", data["soc_index"])
