"""A small, complete lesson for tests, and ways to spoil it."""

from __future__ import annotations

from pathlib import Path

GLOSSARY = """# Glossary

## accuracy

The share of records that get the right code. Say of which records.

## gsbpm

The Generic Statistical Business Process Model: the steps by which an office makes statistics.

## qf4sa

The Quality Framework for Statistical Algorithms.
"""

PILOTS = """bls:
  office: BLS (United States)
  study: coding of injury narratives
  source: bls.gov/iif/autocoding.htm
"""

SAMPLE = """---
jupytext: {text_representation: {extension: .md, format_name: myst}}
kernelspec: {display_name: Python 3, language: python, name: python3}
mlkit:
  title: A small lesson
  theme: start
  level: beginner
  objectives: [Count right codes, Say what it does to a total]
  gsbpm: "5.2"
  qf4sa: [accuracy]
  pilots: [bls]
---

+++ {"talk": 2, "practice": 0}

## Why this matters

A coder is right or wrong. See [accuracy](../glossary.md#accuracy).

+++ {"tags": ["notes"]}

Ask the room how many codes they think are right.

+++ {"talk": 3, "practice": 5}

## Count the right ones

```{code-cell} ipython3
:tags: [parameters]
SEED = 0  # int: seed of everything that is random
N = 200  # int: records
SHARE = 0.9  # float: true share that is coded right
```

```{code-cell} ipython3
import numpy as np

from mlkit.exercises import exercise, record, say

rng = np.random.default_rng(SEED)
right = rng.random(N) < SHARE
```

What share of the records has the right code?

+++ {"tags": ["hint"], "exercise": "share"}

A share is a mean.

+++ {"tags": ["hint"], "exercise": "share"}

Use `right.mean()`.

```{code-cell} ipython3
:tags: [exercise]
:exercise: share
share = ...
```

```{code-cell} ipython3
:tags: [wrong]
:exercise: share
:expect: a count
share = right.sum()
```

```{code-cell} ipython3
:tags: [solution]
:exercise: share
share = right.mean()
```

+++ {"tags": ["solution"], "exercise": "share"}

The mean of true and false is the share of true, $\\bar{y}$.

```{code-cell} ipython3
:tags: [check]
:exercise: share
# Run this cell to check your answer.
share = (
    exercise("share", share)
    .wrong_if(lambda s: s > 1, "That is a count. Divide it by the number of records.")
    .right_if(lambda s: abs(s - right.mean()) < 1e-9, "The share of right codes.")
    .go_on_with(lambda: right.mean())
)
```

```{code-cell} ipython3
say(f"The share is **{share:.3f}**.")
record("share", share, data="simulated", unit="share")
```

```{code-cell} ipython3
:alt: Two bars, wrong and right; the right one is about nine times as high.
import matplotlib.pyplot as plt

fig, ax = plt.subplots()
ax.bar(["wrong", "right"], [N - right.sum(), right.sum()])
plt.show()
```

+++ {"talk": 2, "practice": 4, "tags": ["stretch"]}

## A second exercise

Write a function that counts the wrong ones.

+++ {"tags": ["hint"], "exercise": "count-wrong"}

Turn right into wrong with `~`.

```{code-cell} ipython3
:tags: [exercise]
:exercise: count-wrong
def count_wrong(right):
    ...
```

```{code-cell} ipython3
:tags: [wrong]
:exercise: count-wrong
:expect: right ones
def count_wrong(right):
    return right.sum()
```

```{code-cell} ipython3
:tags: [solution]
:exercise: count-wrong
def count_wrong(right):
    return (~right).sum()
```

```{code-cell} ipython3
:tags: [check]
:exercise: count-wrong
# Run this cell to check your answer.
count_wrong = (
    exercise("count-wrong", count_wrong)
    .wrong_if(lambda f: f(right) == right.sum(), "These are the right ones.")
    .right_if(lambda f: f(right) == N - right.sum(), "Right and wrong add to all.")
    .go_on_with(lambda: lambda right: (~right).sum())
)
```

+++ {"talk": 1, "practice": 0}

## What this does to the published figure

A total counts every record.

+++ {"talk": 1, "practice": 0}

## What to take away

Count.

+++ {"tags": ["poll"]}

Which figure would you publish?

- [ ] The accuracy
  It tempts, but no user asked for it.
- [x] The total with its error
  It is what users read.

+++ {"talk": 0, "practice": 0}

## Where next

The glossary.
"""


def write_sample(root: Path, text: str = SAMPLE, *, name: str = "start/01-small") -> Path:
    """Write a checkout with one lesson into an empty folder, and give the master's path."""
    (root / "tutorials").mkdir(parents=True, exist_ok=True)
    (root / "pyproject.toml").write_text('[project]\nname = "mlkit-official-statistics"\n')
    (root / "tutorials" / "glossary.md").write_text(GLOSSARY)
    (root / "tutorials" / "pilots.yaml").write_text(PILOTS)
    path = root / "tutorials" / f"{name}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def spoil(old: str, new: str) -> str:
    """Replace a piece of the sample that must be there exactly once."""
    assert SAMPLE.count(old) == 1, f"{old!r} stands {SAMPLE.count(old)} times in the sample"
    return SAMPLE.replace(old, new)
