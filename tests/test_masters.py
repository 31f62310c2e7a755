"""What a master may hold, and how each fault in one is told: file, line, remedy."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import jupytext
import pytest

from mlkit.lessons import MasterError, Parameter, find_masters, read_master
from mlkit.lessons.model import poll_options
from tests.sample import SAMPLE, spoil, write_sample

ROOT = Path(__file__).resolve().parents[1]


def line_of(text: str, piece: str) -> int:
    """Give the line on which a piece of a text first stands."""
    return text.count("\n", 0, text.index(piece)) + 1


def faults_of(path: Path) -> list[str]:
    """Give the faults of a master without its path, as 'line: what'."""
    with pytest.raises(MasterError) as refused:
        read_master(path)
    lines = str(refused.value).splitlines()
    assert all(line.startswith(f"{path}:") for line in lines)
    return [line.removeprefix(f"{path}:") for line in lines]


# ------------------------------------------------------------------------------------------
# Every fault
# ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Spoilt:
    """The sample with one fault: what is replaced, what stands on the line, what is told."""

    old: str
    new: str
    at: str | None  # None: the fault is of the whole file, told on line 1
    words: str

    def __str__(self) -> str:
        return self.words


NOTES = '+++ {"tags": ["notes"]}\n\nAsk the room how many codes they think are right.\n\n'
POLL = SAMPLE[SAMPLE.index('+++ {"tags": ["poll"]}') : SAMPLE.index('+++ {"talk": 0')]
FIGURE = ":alt: Two bars, wrong and right; the right one is about nine times as high.\n"
SHARE_SOLUTION = (
    "```{code-cell} ipython3\n:tags: [solution]\n:exercise: share\nshare = right.mean()\n```\n"
)
SHARE_BLANK = "```{code-cell} ipython3\n:tags: [exercise]\n:exercise: share\nshare = ...\n```\n"
SHARE_WRONG = (
    "```{code-cell} ipython3\n:tags: [wrong]\n:exercise: share\n:expect: a count\n"
    "share = right.sum()\n```\n"
)
SHARE_CHECK = SAMPLE[
    SAMPLE.index("```{code-cell} ipython3\n:tags: [check]\n:exercise: share") : SAMPLE.index(
        '```{code-cell} ipython3\nsay(f"The'
    )
]
LAST_HINT = '+++ {"tags": ["hint"], "exercise": "count-wrong"}\n\nTurn right into wrong with `~`.\n'
PARAMETERS = SAMPLE[
    SAMPLE.index("```{code-cell} ipython3\n:tags: [parameters]") : SAMPLE.index(
        "```{code-cell} ipython3\nimport numpy"
    )
]
TAKE_AWAY = '+++ {"talk": 1, "practice": 0}\n\n## What to take away\n'
RIGHT = "right = rng.random(N) < SHARE"

FRONT = [
    Spoilt("  level: beginner", "  levle: beginner", "levle:", "unknown key 'levle'. Did you mean"),
    Spoilt("  level: beginner", "  levle: beginner", "mlkit:", "the key 'level' is missing. Add"),
    Spoilt(
        "level: beginner",
        "level: begginer",
        "level:",
        "given 'begginer': input should be 'beginner', 'intermediate' or 'advanced'",
    ),
    Spoilt("title: A small lesson", "title: 3", "title:", "title: given 3: input should be a"),
    Spoilt("title: A small lesson", "title: ''", "title:", "at least 1 character"),
    Spoilt("title: A small lesson", "title: A: b", "title:", "Text with a colon needs quotes"),
    Spoilt("theme: start", "theme: start\n  theme: start", "theme:", "stands twice. Keep one"),
    Spoilt("theme: start", "\ttheme: start", "\ttheme", "this is not valid YAML"),
    Spoilt("theme: start", "theme: imagery", "theme:", "but the folder is 'start'"),
    Spoilt("objectives: [Count right codes, Say what it", "objectives: [] #", "objectives:", "at"),
    Spoilt("objectives: [Count right codes, S", 'objectives: "S', "objectives:", "valid YAML"),
    Spoilt("objectives: [Count right codes", "objectives: [3", "objectives:", "objectives.0: gi"),
    Spoilt('gsbpm: "5.2"', 'gsbpm: "5.9"', "gsbpm:", "given '5.9': not a process of the GSBPM"),
    Spoilt("qf4sa: [accuracy]", "qf4sa: [acuracy]", "qf4sa:", "'timeliness'"),
    Spoilt("pilots: [bls]", "pilots: [bsl]", "pilots:", "no pilot study 'bsl' in pilots.yaml."),
    Spoilt("pilots: [bls]", "datasets: [soc_indx]", "datasets:", "Did you mean 'soc_index'?"),
    Spoilt(
        "pilots: [bls]",
        "prerequisites: [start/01-smal]",
        "prerequisites:",
        "no lesson 'start/01-smal'. Did you mean 'start/01-small'?",
    ),
    Spoilt("pilots: [bls]", "requires: [gpu]", "requires:", "given 'gpu': input should be 'imag"),
    Spoilt("mlkit:", "mklit:", None, "no block 'mlkit:'. Copy that of the template."),
    Spoilt("mlkit:", "author: me\nmlkit:", "author:", "unknown key 'author'. Known: jupytext,"),
    Spoilt("format_name: myst", "format_name: percent", "jupytext:", "must be 'myst'"),
    Spoilt("kernelspec: {display_name: Python 3, language: python, name: python3}\n", "", "jupyt",
           "kernelspec's name must be 'python3'"),
    Spoilt("---\njupytext", "jupytext", None, "no front matter. A master begins with ---"),
]  # fmt: skip

KEYS = [
    Spoilt(":tags: [parameters]", ":tags: [parameter]", ":tags: [parameter]", "'parameters'?"),
    Spoilt(":tags: [parameters]", ":tags: parameters", ":tags: parameters", "such as [exercise]"),
    Spoilt('["poll"]', '["pol"]', '["pol"]', "tag 'pol' on a markdown cell. Did you mean 'poll'?"),
    Spoilt('["notes"]', '["check"]', '["check"]', "unknown tag 'check' on a markdown cell."),
    Spoilt(":expect: a count", ":expcet: a", ":expcet:", "unknown key 'expcet'. Did you mean 'exp"),
    Spoilt(":expect: a count", ":expect: 3", ":expect: 3", "expect: given 3: input should be a"),
    Spoilt(":expect: a count", ":expect: That: a count", ":expect: That", "Text with a colon"),
    Spoilt(":expect: a count", ":expect: a\n:expect: a", ":expect: a\n:tags"[:10], "stands twice"),
    Spoilt(":expect: right ones", ":alt: x\n:expect: [", ":expect: [", "this is not valid YAML"),
    Spoilt('+++ {"talk": 2, "practice": 0}', '+++ {"tlak": 2}', "+++", "Did you mean 'talk'?"),
    Spoilt('+++ {"talk": 2, "practice": 0}', '+++ {"talk": "2"}', "+++", "talk: given '2': input"),
    Spoilt('+++ {"talk": 2, "practice": 0}', '+++ {"talk": 99}', "+++", "less than or equal to 60"),
    Spoilt('+++ {"talk": 2, "practice": 0}', "+++ {talk: 2}", "+++", '+++ {"key": "value"}'),
    Spoilt('+++ {"talk": 2, "practice": 0}', "+++ [2]", "+++", '+++ {"key": "value"}'),
    Spoilt('+++ {"talk": 2, "practice": 0}', '+++ {"talk: 2}', "+++", "this is not valid YAML"),
    Spoilt(FIGURE, ":tolerance: {relative: 0.1}\n" + FIGURE, ":tolerance:", "reason' is missing"),
    Spoilt(FIGURE, ":tolerance: {relative: 2, reason: x}\n" + FIGURE, ":tolerance:", "less than 1"),
]

CELLS = [
    Spoilt(RIGHT, f"{RIGHT}\n%matplotlib inline", "%matpl", "magic and shell lines do not belong"),
    Spoilt(RIGHT, f"{RIGHT}\nif N:\n    !ls", "    !ls", "Write Python."),
    Spoilt(RIGHT, "right = (rng", "right = (rng", "not valid Python: '(' was never closed"),
    Spoilt(RIGHT, "right = 1 +", "right = 1 +", "not valid Python: invalid syntax"),
    Spoilt(RIGHT, f"{RIGHT};", "import numpy", "the trailing semicolon"),
    Spoilt(RIGHT, f"{RIGHT}\n# NBVAL_SKIP", "import numpy", "the comment NBVAL_SKIP"),
    Spoilt(
        "```{code-cell} ipython3\nsay(",
        "```{code-cell} ipython3\n:tags: [nbval-ignore-output]\nsay(",
        "say(f",
        "nothing checks this cell. Add an assert",
    ),
    Spoilt(FIGURE, "", "import matplotlib", "this cell shows a figure. Describe it in words"),
    Spoilt("\nCount.\n", "\n![](glossary.md)\n", "![]", "no alt text: ![what it shows](file)"),
    Spoilt("\nCount.\n", "\n```{code-cell} ipython3\n```\n", "```\n\n+++", "an empty cell. Fill it"),
    Spoilt(NOTES, NOTES + '+++ {"tags": ["notes"]}\n\n', '+++ {"tags": ["notes"]}\n\n+++', "empty"),
    Spoilt("\nCount.\n", "\n```python\nCount.\n", "```python", "never closed. Add a line ```."),
    Spoilt("\nCount.\n", "\n:::{note}\nCount.\n", ":::{note}", "never closed. Add a line :::."),
    Spoilt(PARAMETERS, "", None, "0 cells tagged 'parameters'. A lesson has exactly one."),
    Spoilt(
        "```{code-cell} ipython3\nsay(",
        "```{code-cell} ipython3\n:tags: [parameters]\nSEED = 1  # int: again\nsay(",
        "SEED = 1",
        "2 cells tagged 'parameters'",
    ),
    Spoilt("SEED = 0  # int", "SEEDS = 0  # int", "SEEDS = 0", "no SEED. Add: SEED = 0  # int:"),
    Spoilt("N = 200  # int: records", "N = 200", "N = 200", "N has no type and meaning. A param"),
    Spoilt("N = 200  # int: records", "N = 200  # int", "N = 200", "N has no type and meaning."),
    Spoilt("N = 200  # int: records", "N = 200  # list: x", "N = 200", "Types: int, float, str"),
    Spoilt("N = 200  # int", "N = 2.5  # int", "N = 2.5", "said to be int, but 2.5 is float"),
    Spoilt("N = 200  # int", "N = True  # int", "N = True", "said to be int, but True is bool"),
    Spoilt("N = 200  # int", "N = 2 * SEED  # int", "N = 2 *", "a plain value, not computed"),
    Spoilt("N = 200  # int", "N = {[1]: 2}  # int", "N = {", "a plain value, not computed"),
    Spoilt("N = 200  # int", "n = 200  # int", "n = 200", "n must be in capitals"),
    Spoilt("N = 200  # int: records", "print(5)", "print(5)", "holds only parameters"),
]  # fmt: skip

EXERCISES = [
    Spoilt(SHARE_SOLUTION, "", 'A share is a mean', "'share' has no solution. Add one."),
    Spoilt(SHARE_BLANK, "", 'A share is a mean', "'share' has no blank. Add one."),
    Spoilt(SHARE_CHECK, "", 'A share is a mean', "'share' has no check. Add one."),
    Spoilt(SHARE_WRONG, "", 'A share is a mean', "'share' has no wrong answer. Add one or more."),
    Spoilt(LAST_HINT, "", "def count_wrong", "'count-wrong' has no hint. Add one or more."),
    Spoilt(SHARE_BLANK, SHARE_BLANK * 2, "share = ...\n```\n\n```{code-cell} ipython3\n:tags: [w",
           "has a second blank. If these are two exercises, give them two names."),
    Spoilt("share = ...", "share = None", "share = None", "a blank is written ... as the right"),
    Spoilt("share = right.mean()", "part = right.mean()", "part =", "this cell must define share"),
    Spoilt("share = right.sum()", "part = right.sum()", "part =", "this cell must define share, as"),
    Spoilt('exercise("share", share)', 'exercise("shares", share)', "share = (",
           'the check must begin with exercise("share", ...)'),
    Spoilt('    .right_if(lambda s: abs(s - right.mean()) < 1e-9, "The share of right codes.")\n',
           "", "share = (", "the check of 'share' has no right_if(...)."),
    Spoilt("    .go_on_with(lambda: right.mean())\n", "", "share = (", "no go_on_with(...)"),
    Spoilt("share = (\n    exercise", "(\n    exercise", "(\n    exercise",
           "must keep what go_on_with hands on"),
    Spoilt(SHARE_CHECK + "```{code-cell} ipython3\nsay(",
           "```{code-cell} ipython3\nsay(", "A share is a mean", "'share' has no check"),
    Spoilt(SHARE_BLANK + "\n" + SHARE_WRONG, SHARE_WRONG + "\n" + SHARE_CHECK + SHARE_BLANK + "\n",
           "share = (", "the check of 'share' comes after its other cells."),
    Spoilt(":tags: [exercise]\n:exercise: share", ":tags: [exercise]", "share = ...",
           "name the exercise with :exercise: name."),
    Spoilt(":tags: [wrong]\n:exercise: share", ":exercise: share", "share = right.sum()",
           "tag it exercise, solution, wrong or check"),
    Spoilt(":tags: [wrong]\n:exercise: share", ":tags: [wrong, check]\n:exercise: share",
           "share = right.sum()", "one cell cannot be check and wrong."),
    Spoilt(":expect: a count\n", "", "share = right.sum()", "has :expect: with words of the"),
    Spoilt(":tags: [solution]\n:exercise: share", ":tags: [solution]\n:exercise: share\n:expect: x",
           "share = right.mean()\n```", "a wrong answer, and only that, has :expect:"),
    Spoilt('"solution"], "exercise": "share"}', '"solution"]}', "The mean of", "name the exercise"),
    Spoilt(LAST_HINT, LAST_HINT.replace(', "exercise": "count-wrong"', ""), "Turn right",
           'name the exercise: +++ {"tags": ["hint"], "exercise": "name"}.'),
]  # fmt: skip

SKELETON = [
    Spoilt("## What to take away", "### Keep", None, "'## What to take away' is missing."),
    Spoilt("## What to take away", "## Where next", None, "'## What to take away' is missing."),
    Spoilt("## Why this matters\n", "Hello.\n", "Hello.", "a lesson begins with a section"),
    Spoilt('+++ {"talk": 1, "practice": 0}\n\n## What to take', "+++\n\n## What to take",
           "## What to take", "a section begins after a line with its minutes"),
    Spoilt('+++ {"talk": 0, "practice": 0}', '+++ {"talk": 0}', "## Where next", "its minutes"),
    Spoilt(TAKE_AWAY, "## What to take away\n", "## What to take",
           'begin a section with a line +++ {"talk": ...}'),
    Spoilt("\nCount.\n", '\n+++ {"tags": ["core"]}\n\nCount.\n', "Count.\n\n+++ {\"tags\": [\"p",
           "minutes and core/stretch belong to a ## heading"),
    Spoilt("\nCount.\n", '\n+++ {"talk": 3, "practice": 0}\n\nCount.\n', "Count.\n\n+++",
           "minutes and core/stretch belong to a ## heading"),
    Spoilt("\nCount.\n", "\nCount.\n\n# Title\n", "# Title", "made from the front matter. Use ##."),
    Spoilt(NOTES, NOTES + "```{code-cell} ipython3\nx = 1\n```\n\n", "x = 1", "without code"),
    Spoilt(NOTES, "", None, "no speaker note. Add a Markdown cell tagged 'notes'."),
    Spoilt(POLL, "", None, "no poll question. Add a Markdown cell tagged 'poll'."),
    Spoilt("- [x] The total", "- [ ] The total", "Which figure", "a right one '- [x]'"),
    Spoilt("- [x] The total with its error\n  It is what users read.\n", "", "Which figure",
           "at least two items"),
    Spoilt("Which figure would you publish?\n\n", "", "- [ ] The acc", "a poll is a question and"),
    Spoilt("  It is what users read.\n", "", "Which figure",
           "under 'The total with its error' why it is right"),
    Spoilt("\n- [ ] The accuracy\n", "\n" + "- [ ] x\n  y\n" * 7 + "- [ ] The accuracy\n",
           "Which figure", "at most eight"),
]  # fmt: skip

LINKS = [
    Spoilt("(../glossary.md#accuracy)", "(../glosary.md)", "See [acc", "there is no such file"),
    Spoilt("glossary.md#accuracy", "glossary.md#acuracy", "See [acc", "Did you mean 'accuracy'?"),
    Spoilt("(../glossary.md#accuracy)", "(../glossary.md)", "See [acc", "the glossary has no term"),
    Spoilt("\nCount.\n", "\nCount.\n![A](no.png)\n", "![A]", "leads to no.png, and there is no"),
]


@pytest.mark.parametrize("fault", FRONT + KEYS + CELLS + EXERCISES + SKELETON + LINKS, ids=str)
def test_every_fault_is_told_with_its_line_and_a_remedy(fault: Spoilt, tmp_path: Path) -> None:
    text = spoil(fault.old, fault.new)
    faults = faults_of(write_sample(tmp_path, text))
    line = line_of(text, fault.at) if fault.at else 1
    assert [f for f in faults if f.startswith(f"{line}: ") and fault.words in f], faults
