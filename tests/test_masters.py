"""What a master may hold, and how each fault in one is told: file, line, remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jupytext
import pytest

from mlkit.lessons import Master, MasterError, Parameter, find_masters, read_master
from mlkit.lessons.model import poll_options
from tests.sample import SAMPLE, spoil, write_sample

ROOT = Path(__file__).resolve().parents[1]


def piece(begin: str, end: str) -> str:
    """Give the part of the sample from one piece of text up to another."""
    start = SAMPLE.index(begin)
    return SAMPLE[start : SAMPLE.index(end, start)]


CODE = "```{code-cell} ipython3\n"
NOTES = piece('+++ {"tags": ["notes"]}', '+++ {"talk": 3')
PARAMETERS = piece(f"{CODE}:tags: [parameters]", f"{CODE}import numpy")
BLANK = piece(f"{CODE}:tags: [exercise]\n:exercise: share", f"{CODE}:tags: [wrong]")
WRONG = piece(f"{CODE}:tags: [wrong]\n:exercise: share", f"{CODE}:tags: [solution]")
SOLUTION = piece(f"{CODE}:tags: [solution]\n:exercise: share", "+++")
CHECK = piece(f"{CODE}:tags: [check]\n:exercise: share", f"{CODE}say(")
RIGHT_IF = piece("    .right_if(lambda s", "    .go_on")
ANSWERS = piece(f"{CODE}:tags: [exercise]\n:exercise: share", CHECK)
GO_ON = piece("    .go_on_with(lambda: right", ")\n```")
HINT = piece('+++ {"tags": ["hint"], "exercise": "count-wrong"}', f"{CODE}:tags: [exercise]")
POLL = piece('+++ {"tags": ["poll"]}', '+++ {"talk": 0')
ORDERED = piece('+++ {"talk": 1, "practice": 0}\n\n## What this', '+++ {"tags": ["poll"]}')
ALT = piece(":alt:", "import matplotlib")

COMPUTE = "right = rng.random(N) < SHARE"
SECTION = '+++ {"talk": 2, "practice": 0}'
THROUGHOUT = "---"  # a fault of the whole lesson is told on the first line

# ------------------------------------------------------------------------------------------
# Every fault: what is replaced by what, and what is told. The line is the first that differs
# from the sample, or else the one that holds the fourth piece of text.
# ------------------------------------------------------------------------------------------

FRONT_MATTER = [
    ("  level: beginner", "  levle: beginner", "unknown key 'levle'. Did you mean 'level'?"),
    ("  level: beginner\n", "", "the key 'level' is missing. Add it.", "mlkit:"),
    (
        "level: beginner",
        "level: begginer",
        "level: given 'begginer': input should be 'beginner', 'intermediate' or 'advanced'.",
    ),
    ("title: A small lesson", "title: 3", "title: given 3: input should be a valid string."),
    ("title: A small lesson", "title: ''", "title: given '': string should have at least 1"),
    ("title: A small lesson", "title: A: b", "this is not valid YAML"),
    ("title: A small lesson", "title: A: b", "Text with a colon needs quotes."),
    ("theme: start", "theme: start\n  theme: start", "the key 'theme' stands twice. Keep one"),
    ("  theme: start", "\ttheme: start", "this is not valid YAML"),
    ("theme: start", "theme: imagery", "theme 'imagery', but the folder is 'start'."),
    ("[Count right codes, Say what it does to a total]", "[]", "objectives: list should have at"),
    ("[Count right codes, S", "[Count right codes, 7, S", "objectives.1: given 7: input should"),
    ('gsbpm: "5.2"', 'gsbpm: "5.9"', "gsbpm: given '5.9': not a process of the GSBPM in the kit"),
    ("qf4sa: [accuracy]", "qf4sa: [speed]", "qf4sa.0: given 'speed': input should be 'accuracy'"),
    ("pilots: [bls]", "pilots: [bsl]", "no pilot study 'bsl' in pilots.yaml. Did you mean 'bls'?"),
    (
        "pilots: [bls]",
        "datasets: [soc]",
        "no data set 'soc'. Known: business_survey, ecoicop,",
    ),
    ("pilots: [bls]", "datasets: [soc_indx]", "no data set 'soc_indx'. Did you mean 'soc_index'?"),
    (
        "pilots: [bls]",
        "requires: [gpu]",
        "requires.0: given 'gpu': input should be 'imagery' or 'neural'.",
    ),
    (
        "pilots: [bls]",
        "prerequisites: [start/01-smal]",
        "no lesson 'start/01-smal'. Did you mean 'start/01-small'?",
    ),
    ("mlkit:", "mklit:", "no block 'mlkit:'. Copy that of the template.", THROUGHOUT),
    ("mlkit:", "author: me\nmlkit:", "unknown key 'author'. Known: jupytext, kernelspec, mlkit."),
    ("format_name: myst", "format_name: percent", "jupytext's format_name must be 'myst'."),
    ("name: python3}", "name: ir}", "kernelspec's name must be 'python3'."),
    ("---\njupytext", "jupytext", "no front matter. A master begins with --- and a block of YAML."),
]

KEYS = [
    ("[parameters]", "[parameter]", "unknown tag 'parameter' on a code cell. Did you mean"),
    ("[parameters]", "parameters", "tags are a list of words, such as [exercise]."),
    ('["poll"]', '["pol"]', "unknown tag 'pol' on a markdown cell. Did you mean 'poll'?"),
    ('["notes"]', '["check"]', "unknown tag 'check' on a markdown cell. Known: core, hint,"),
    (":expect: a count", ":expcet: a count", "unknown key 'expcet'. Did you mean 'expect'?"),
    (":expect: a count", ":expect: 3", "expect: given 3: input should be a valid string."),
    (":expect: a count", ":expect: That: a count", "Text with a colon needs quotes."),
    (":expect: a count", ":expect: a count\n:expect: b", "the key 'expect' stands twice."),
    (":expect: a count", ":expect: [a count", "this is not valid YAML"),
    (SECTION, '+++ {"tlak": 2, "practice": 0}', "unknown key 'tlak'. Did you mean 'talk'?"),
    (SECTION, '+++ {"talk": "2", "practice": 0}', "talk: given '2': input should be a valid int"),
    (SECTION, '+++ {"talk": 99, "practice": 0}', "talk: given 99: input should be less than or"),
    (SECTION, "+++ {talk: 2, practice: 0}", 'keys are written +++ {"key": "value"}.'),
    (SECTION, "+++ [2, 0]", 'keys are written +++ {"key": "value"}.'),
    (SECTION, '+++ {"talk: 2, "practice": 0}', "this is not valid YAML"),
    (
        ALT,
        f":tolerance: {{relative: 0.1}}\n{ALT}",
        "the key 'tolerance.reason' is missing. Add it.",
    ),
    (ALT, f":tolerance: {{relative: 2, reason: x}}\n{ALT}", "input should be less than 1."),
]

CELLS = [
    (COMPUTE, f"%matplotlib inline\n{COMPUTE}", "magic and shell lines do not belong in a lesson"),
    (COMPUTE, f"!ls\n{COMPUTE}", "nbval passes them without running them. Write Python."),
    ("right = rng", "right = (rng", "not valid Python: '(' was never closed."),
    (COMPUTE, f"{COMPUTE} +", "not valid Python: invalid syntax."),
    (COMPUTE, "if N:", "not valid Python: expected an indented block after 'if' statement on line"),
    (COMPUTE, f"{COMPUTE};", "the trailing semicolon hides an output", "import numpy"),
    (COMPUTE, f"{COMPUTE}\n# NBVAL_SKIP", "the comment NBVAL_SKIP steers nbval", "import numpy"),
    (
        f"{CODE}say(",
        f"{CODE}:tags: [nbval-ignore-output]\nsay(",
        "nothing checks this cell. Add an assert",
        "say(f",
    ),
    (ALT, "", "this cell shows a figure. Describe it in words with :alt: ..."),
    ("\nCount.\n", "\n![](no.png)\n", "this picture has no alt text: ![what it shows](file)."),
    (f"{CODE}import numpy", f"{CODE}```\n\n{CODE}import numpy", "an empty cell."),
    (NOTES, f'{NOTES}+++ {{"tags": ["notes"]}}\n\n', "an empty cell. Fill it or remove it."),
    ("\nCount.\n", "\n```python\nCount.\n", "this fence is never closed. Add a line ```."),
    ("\nCount.\n", "\n:::{note}\nCount.\n", "this fence is never closed. Add a line :::."),
    (PARAMETERS, "", "0 cells tagged 'parameters'. A lesson has exactly one.", THROUGHOUT),
    (
        f"{CODE}say(",
        f"{CODE}:tags: [parameters]\nSEED = 1  # int: again\n```\n\n{CODE}say(",
        "2 cells tagged 'parameters'. A lesson has exactly one.",
        "SEED = 1",
    ),
    ("SEED = 0", "SEEDS = 0", "no SEED. Add: SEED = 0  # int: seed of everything that is random"),
    ("SEED = 0  # int: s", "SEED = 0.5  # float: s", "no SEED. Add: SEED = 0  # int"),
    ("N = 200  # int: records", "N = 200", "N has no type and meaning."),
    ("N = 200  # int: records", "N = 200  # int", "N has no type and meaning."),
    ("N = 200  # int: records", "N = [200]  # list: x", "Types: int, float, str, bool."),
    ("N = 200  # int", "N = 2.5  # int", "N is said to be int, but 2.5 is float."),
    ("N = 200  # int", "N = True  # int", "N is said to be int, but True is bool."),
    ("N = 200  # int", "N = 2 * SEED  # int", "N must be a plain value, not computed."),
    ("N = 200  # int", "N = {[1]: 2}  # int", "N must be a plain value, not computed."),
    ("N = 200  # int", "n = 200  # int", "n must be in capitals. A parameter is written NAME ="),
    ("N = 200  # int: records", "print(5)", "the parameters cell holds only parameters."),
    ("N = 200  # int: records", "N = M = 200  # int: n", "holds only parameters."),
]

CHECK_BEGINS = "# Run this cell to check"
FIRST_OF_SHARE = "A share is a mean."

EXERCISES = [
    (BLANK, "", "exercise 'share' has no blank. Add one.", FIRST_OF_SHARE),
    (WRONG, "", "exercise 'share' has no wrong answer. Add one or more.", FIRST_OF_SHARE),
    (SOLUTION, "", "exercise 'share' has no solution. Add one.", FIRST_OF_SHARE),
    (CHECK, "", "exercise 'share' has no check. Add one.", FIRST_OF_SHARE),
    (HINT, "", "exercise 'count-wrong' has no hint. Add one or more.", "def count_wrong"),
    (
        BLANK,
        BLANK.replace("...", "(...)") + BLANK,
        "exercise 'share' has a second blank. If these are two exercises, give them two names.",
        "share = ...",
    ),
    (
        SOLUTION,
        SOLUTION.replace("right", "(right)") + SOLUTION,
        "exercise 'share' has a second solution.",
        "share = right.mean()\n```\n\n+++",
    ),
    (
        CHECK,
        CHECK.replace("# Run", "# First run") + CHECK,
        "exercise 'share' has a second check.",
        CHECK_BEGINS,
    ),
    (
        ANSWERS + CHECK,
        CHECK + ANSWERS,
        "the check of 'share' comes after its other cells.",
        CHECK_BEGINS,
    ),
    ("share = ...", "share = None", "a blank is written ... as the right-hand side or body."),
    ("share = right.mean()", "part = right.mean()", "this cell must define share, as the blank"),
    ("share = right.sum()", "part = right.sum()", "this cell must define share, as the blank"),
    (
        'exercise("share", share)',
        'exercise("part", share)',
        'the check must begin with exercise("share", ...).',
        CHECK_BEGINS,
    ),
    (
        '# Run this cell to check your answer.\nshare = (\n    exercise("share"',
        'share = (\n    exercise("share"',
        "begin the check with a comment: the notebook folds it and shows its first line",
    ),
    (RIGHT_IF, "", "the check of 'share' has no right_if(...).", CHECK_BEGINS),
    (GO_ON, "", "the check of 'share' has no go_on_with(...).", CHECK_BEGINS),
    (
        'share = (\n    exercise("share"',
        '(\n    exercise("share"',
        "the check must keep what go_on_with hands on: name = (exercise(...).",
        CHECK_BEGINS,
    ),
    (
        ":tags: [wrong]\n:exercise: share\n",
        ":tags: [wrong]\n",
        "name the exercise with :exercise: name.",
        "share = right.sum()",
    ),
    (
        ":tags: [wrong]\n:exercise: share\n:expect: a count\n",
        ":exercise: share\n",
        "the cell names an exercise; tag it exercise, solution, wrong or check.",
        "share = right.sum()",
    ),
    (
        ":tags: [wrong]\n:exercise: share",
        ":tags: [wrong, solution]\n:exercise: share",
        "one cell cannot be solution and wrong.",
        "share = right.sum()",
    ),
    (
        ":expect: a count\n",
        "",
        "a wrong answer, and only that, has :expect: with words of the message it must get.",
    ),
    (
        "\nshare = right.mean()",
        "\n:expect: x\nshare = right.mean()",
        "a wrong answer, and only that, has :expect:",
        "share = right.mean()",
    ),
    (
        '["solution"], "exercise": "share"}',
        '["solution"]}',
        'name the exercise: +++ {"tags": ["hint"], "exercise": "name"}.',
        "The mean of true",
    ),
]

SKELETON = [
    (
        "## What to take away",
        "### Keep",
        "the section '## What to take away' is missing.",
        THROUGHOUT,
    ),
    (
        ORDERED,
        ORDERED.replace("## What this does to the published figure", "## X")
        .replace("## What to take away", "## What this does to the published figure")
        .replace("## X", "## What to take away"),
        "these sections come in the order",
        THROUGHOUT,
    ),
    ("## Why this matters", "### Why", "a lesson begins with a section: a ## heading with its"),
    (
        f"{SECTION}\n\n## Why",
        "+++\n\n## Why",
        "a section begins after a line with its minutes:",
        "## Why",
    ),
    (
        '+++ {"talk": 0, "practice": 0}',
        '+++ {"talk": 0}',
        "a section begins after a line with its minutes:",
        "## Where next",
    ),
    (
        "\nCount.\n",
        "\nCount.\n\n## More\n",
        'begin a section with a line +++ {"talk": ...}.',
        "## M",
    ),
    (
        "\nCount.\n",
        "\n```\n# A comment\n`````\n\n# Title\n",
        "the title is made from the front matter. Use ##.",
        "# Title",
    ),
    (
        "\nCount.\n",
        "\nCount.\n\n# Title\n",
        "the title is made from the front matter. Use ##.",
        "# T",
    ),
    (
        '["poll"]',
        '["poll", "core"]',
        "minutes and core/stretch belong to a ## heading.",
        "Which figure",
    ),
    (
        '{"tags": ["poll"]}',
        '{"tags": ["poll"], "talk": 3}',
        "minutes and core/stretch belong to a ## heading.",
        "Which figure",
    ),
    (
        NOTES,
        f"{NOTES}{CODE}x = 1\n```\n\n",
        "the first section says why this matters, without code.",
        "x = 1",
    ),
    (NOTES, "", "no speaker note. Add a Markdown cell tagged 'notes'.", THROUGHOUT),
    (POLL, "", "no poll question. Add a Markdown cell tagged 'poll'.", THROUGHOUT),
]

A_POLL_IS = "a poll is a question and two to eight items '- [ ] option', a right one '- [x]'."
POLLS = [
    ("- [x] The total", "- [ ] The total", A_POLL_IS, "Which figure"),
    ("- [x] The total with its error\n  It is what users read.\n", "", A_POLL_IS, "Which figure"),
    ("Which figure would you publish?\n\n", "", A_POLL_IS),
    ("- [ ] The accuracy", "- [x] A\n  Why.\n" * 7 + "- [ ] The accuracy", A_POLL_IS, "Which fig"),
    (
        "  It is what users read.\n",
        "",
        "say in an indented line under 'The total with its error' why it is right or why it",
        "Which figure",
    ),
]

LINKS = [
    ("../glossary.md#accuracy", "../glosary.md", "the link leads to ../glosary.md, and there is"),
    ("#accuracy", "#acuracy", "the glossary has no term 'acuracy'. Did you mean 'accuracy'?"),
    ("#accuracy", "", "the glossary has no term ''. Known: accuracy, gsbpm, qf4sa."),
    (
        "\nCount.\n",
        "\n![A map](map.png)\n",
        "the link leads to map.png, and there is no such file.",
    ),
]


def first_difference(one: str, other: str) -> int:
    """Give the first line, from 1, on which two texts differ."""
    pairs = enumerate(zip(one.split("\n"), other.split("\n"), strict=False), start=1)
    return next(number for number, (a, b) in pairs if a != b)


def faults_of(path: Path) -> list[str]:
    """Give the faults of a master, as 'line: what'."""
    with pytest.raises(MasterError) as refused:
        read_master(path)
    lines = str(refused.value).splitlines()
    assert all(line.startswith(f"{path}:") for line in lines)
    return [line.removeprefix(f"{path}:") for line in lines]


@pytest.mark.parametrize(
    "row",
    [*FRONT_MATTER, *KEYS, *CELLS, *EXERCISES, *SKELETON, *POLLS, *LINKS],
    ids=lambda row: row[2],
)
def test_every_fault_is_told_with_its_line_and_a_remedy(
    row: tuple[str, ...], tmp_path: Path
) -> None:
    old, new, words, *at = row
    text = spoil(old, new)
    line = text.count("\n", 0, text.index(at[0])) + 1 if at else first_difference(SAMPLE, text)
    faults = faults_of(write_sample(tmp_path, text))
    assert [fault for fault in faults if fault.startswith(f"{line}: ") and words in fault], faults


@pytest.mark.parametrize("row", KEYS, ids=lambda row: row[2])
def test_a_cell_that_cannot_be_read_is_not_missed_elsewhere(
    row: tuple[str, ...], tmp_path: Path
) -> None:
    """Its exercise may well have the answer that stands in the cell with faulty keys."""
    old, new, *_ = row
    assert len(faults_of(write_sample(tmp_path, spoil(old, new)))) == 1


def test_all_faults_of_a_file_are_told_at_once_in_order(tmp_path: Path) -> None:
    text = spoil("level: beginner", "level: begginer").replace(ALT, "").replace(NOTES, "")
    text = text.replace("#accuracy", "#acuracy").replace("N = 200  #", "N = 2.5  #")
    text = text.replace("share = ...", "share = None").replace("\nCount.\n", "\n# Count.\n")
    faults = faults_of(write_sample(tmp_path, text))
    lines = [int(fault.partition(":")[0]) for fault in faults]
    assert len(faults) == 7
    assert lines == sorted(lines)


def test_faults_of_the_front_matter_and_of_an_open_fence_are_told_together(tmp_path: Path) -> None:
    text = spoil("level: beginner", "level: begginer").replace("\nCount.\n", "\n```\n")
    assert len(faults_of(write_sample(tmp_path, text))) == 2


@pytest.mark.parametrize("name", ["start/1-small", "start/01-Small", "start/01_small"])
def test_a_file_name_that_no_command_would_find_is_refused(name: str, tmp_path: Path) -> None:
    (fault,) = faults_of(write_sample(tmp_path, name=name))
    assert fault == "1: a master is named <two digits>-<words-with-hyphens>.md."
    assert find_masters(tmp_path) == []


def test_a_link_to_a_notebook_is_refused(tmp_path: Path) -> None:
    path = write_sample(tmp_path, spoil("../glossary.md#accuracy", "02-next.ipynb"))
    (path.parent / "02-next.ipynb").touch()
    (fault,) = faults_of(path)
    assert fault.endswith("link to the master, not to the notebook: 02-next.md.")


def test_text_in_another_encoding_is_refused_with_its_line(tmp_path: Path) -> None:
    path = write_sample(tmp_path)
    path.write_bytes(spoil("\nCount.\n", "\nZähle.\n").encode("latin-1"))
    line = SAMPLE.count("\n", 0, SAMPLE.index("\nCount.\n") + 1) + 1
    assert faults_of(path) == [f"{line}: this is not UTF-8. Save the file with the encoding UTF-8."]


@pytest.mark.parametrize(
    "text", ["", "\n", "---\n---\n", "---\nwords\n---\n", "---\nmlkit: 3\n---\n"]
)
def test_a_file_that_is_no_lesson_is_refused(text: str, tmp_path: Path) -> None:
    assert faults_of(write_sample(tmp_path, text))


def test_a_file_that_is_not_there_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_master(tmp_path / "tutorials" / "start" / "01-none.md")


# ------------------------------------------------------------------------------------------
# What is accepted
# ------------------------------------------------------------------------------------------

FENCED = """
```md
## Not a section
+++ {"not": "a cell"}
```
"""
ACCEPTED = {
    "a fence in words": FENCED,
    "a fence of tildes": FENCED.replace("```", "~~~"),
    "a fence in a fence": f"````md\n{CODE}%ls\n```\n## Not a section\n````\n",
    "a fence closed by a longer one": "```md\n## Not a section\n`````\n",
    "a fence in a list": "- Count:\n\n  ```md\n  ## Not a section\n  ```\n",
    "an admonition": ":::{note}\nCount.\n:::\n",
    "other writing": "Größe, Δ, 数 and 💶 are counted.\n",
    "outside links": "[a](https://example.org) [b](mailto:a@example.org) [c](#here)\n",
    "a smaller heading": "### Count\n",
    "a table and mathematics": "| a | b |\n|---|---|\n| 1 | $x_1$ |\n\n$$\\bar{y}$$\n",
    "a hidden cell": f"{CODE}:tags: [hide-input]\nx = 1\n```\n",
    "a tolerance": f"{CODE}:tolerance: {{relative: 0.1, reason: the clock}}\nx = 1\n```\n",
    "an output not compared": f"{CODE}:tags: [nbval-ignore-output]\nassert right.any()\n```\n",
    "a line that begins with %": f"{CODE}x = (\n    N\n    % 7\n)\n```\n",
    "a comment that ends with ;": f"{CODE}x = 1  # one;\n```\n",
    "words that end with a cell": f"Count.\n{CODE}x = 1\n```\nCount on.\n",
}


@pytest.mark.parametrize("words", ACCEPTED.values(), ids=ACCEPTED)
def test_accepted(words: str, tmp_path: Path) -> None:
    text = spoil("\nCount.\n", f"\n{words}")
    master = read_master(write_sample(tmp_path, text))
    assert [section.title for section in master.sections][-2:] == [
        "What to take away",
        "Where next",
    ]
    assert_cells_stand_on_their_lines(master, text)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_line_ends_and_the_mark_of_an_encoding_change_nothing(
    mark: bytes, end: bytes, tmp_path: Path
) -> None:
    path = write_sample(tmp_path)
    plain = read_master(path)
    path.write_bytes(mark + SAMPLE.encode().replace(b"\n", end))
    assert read_master(path).cells == plain.cells


# ------------------------------------------------------------------------------------------
# What is read
# ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Master:
    return read_master(write_sample(tmp_path_factory.mktemp("checkout")))


def test_the_parts_of_a_lesson(small: Master) -> None:
    assert small.key == "start/01-small"
    assert small.front.title == "A small lesson"
    assert small.parameters == (
        Parameter("SEED", int, 0, "seed of everything that is random"),
        Parameter("N", int, 200, "records"),
        Parameter("SHARE", float, 0.9, "true share that is coded right"),
    )
    assert [(s.title, s.talk, s.practice, s.stretch) for s in small.sections] == [
        ("Why this matters", 2, 0, False),
        ("Count the right ones", 3, 5, False),
        ("A second exercise", 2, 4, True),
        ("What this does to the published figure", 1, 0, False),
        ("What to take away", 1, 0, False),
        ("Where next", 0, 0, False),
    ]
    assert [cell for section in small.sections for cell in section.cells] == list(small.cells)


def test_an_exercise_is_read_with_all_its_cells(small: Master) -> None:
    share, count = small.exercises.values()
    assert (share.name, count.name) == ("share", "count-wrong")
    assert share.blank.source == "share = ..."
    assert share.solution.source == "share = right.mean()"
    assert [(cell.source, cell.keys.expect) for cell in share.wrong] == [
        ("share = right.sum()", "a count")
    ]
    assert [cell.source for cell in share.hints] == ["A share is a mean.", "Use `right.mean()`."]
    assert [cell.source for cell in share.words] == [
        "The mean of true and false is the share of true, $\\bar{y}$."
    ]
    assert count.words == ()


def test_a_poll_is_taken_apart(small: Master) -> None:
    (poll,) = (cell for cell in small.cells if "poll" in cell.tags)
    question, options = poll_options(poll)
    assert question == "Which figure would you publish?"
    assert [(option.text, option.right) for option in options] == [
        ("The accuracy", False),
        ("The total with its error", True),
    ]
    assert options[0].why == "It tempts, but no user asked for it."


def assert_cells_stand_on_their_lines(master: Master, text: str) -> None:
    lines = text.split("\n")
    for cell in master.cells:
        first, *_ = cell.source.split("\n")
        assert lines[cell.line - 1] == first


# ------------------------------------------------------------------------------------------
# The masters of this checkout
# ------------------------------------------------------------------------------------------

MASTERS = find_masters(ROOT)


def test_there_are_masters() -> None:
    assert len(MASTERS) >= 2


@pytest.mark.parametrize("path", MASTERS, ids=lambda path: path.stem)
def test_our_cells_are_those_of_jupytext(path: Path) -> None:
    """jupytext is what opens a master in JupyterLab; we read it anew only to know the lines."""
    text = path.read_text(encoding="utf-8")
    master = read_master(path)
    theirs = jupytext.reads(text, fmt="md:myst").cells
    assert [(cell.cell_type, cell.source) for cell in theirs] == [
        (cell.cell_type, cell.source) for cell in master.cells
    ]
    for cell, ours in zip(theirs, master.cells, strict=True):
        keys: dict[str, Any] = dict(cell.metadata)
        assert set(keys.pop("tags", [])) == ours.tags
        assert keys == ours.keys.model_dump(exclude_unset=True)
    assert_cells_stand_on_their_lines(master, text)
