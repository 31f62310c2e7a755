"""What a master may say: front matter, cell tags and cell keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

__all__ = ["CODE_TAGS", "GSBPM", "MARKDOWN_TAGS", "CodeKeys", "FrontMatter", "MarkdownKeys"]

Level = Literal["beginner", "intermediate", "advanced"]

Quality = Literal[
    "accuracy", "cost-effectiveness", "explainability", "reproducibility", "timeliness"
]

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]*$")]

# Generic Statistical Business Process Model, version 5.1 (UNECE, 2019).
GSBPM: Mapping[str, str] = {
    "1": "Specify needs",
    "2": "Design",
    "3": "Build",
    "4": "Collect",
    "5": "Process",
    "5.1": "Integrate data",
    "5.2": "Classify and code",
    "5.3": "Review and validate",
    "5.4": "Edit and impute",
    "5.5": "Derive new variables and units",
    "5.6": "Calculate weights",
    "5.7": "Calculate aggregates",
    "5.8": "Finalise data files",
    "6": "Analyse",
    "6.1": "Prepare draft outputs",
    "6.2": "Validate outputs",
    "6.3": "Interpret and explain outputs",
    "6.4": "Apply disclosure control",
    "6.5": "Finalise outputs",
    "7": "Disseminate",
    "8": "Evaluate",
}

CODE_TAGS = {
    "parameters": "the one cell that a plan may change",
    "exercise": "the blank",
    "solution": "our answer",
    "wrong": "a wrong answer and the message it must get",
    "check": "the cell that answers back",
    "hide-input": "code that is folded away",
    "nbval-ignore-output": "output that depends on clock or machine; needs an assert",
}
"""Tags of code cells, with what they mean."""

MARKDOWN_TAGS = {
    "hint": "a step towards the answer, folded",
    "solution": "words to go with our answer, folded",
    "notes": "what the speaker says",
    "poll": "a question to the room",
    "core": "a section that every cut keeps",
    "stretch": "a section that a short cut drops",
}
"""Tags of Markdown cells, with what they mean."""


def _known_process(value: object) -> object:
    text = str(value)
    if text not in GSBPM:
        raise ValueError(f"not a process of the GSBPM in the kit; known are {', '.join(GSBPM)}")
    return text


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class FrontMatter(_Strict):
    """What stands under ``mlkit:`` at the top of a master."""

    title: Text
    theme: Name
    level: Level
    objectives: Annotated[list[Text], Field(min_length=1, max_length=6)]
    prerequisites: list[Text] = []
    datasets: list[Name] = []
    requires: list[Literal["imagery", "neural"]] = []
    gsbpm: Annotated[str, BeforeValidator(_known_process)]
    qf4sa: Annotated[list[Quality], Field(min_length=1)]
    pilots: list[Name] = []


class Tolerance(_Strict):
    """A looser comparison of a cell's figures, with its reason."""

    relative: Annotated[float, Field(gt=0, lt=1)]
    reason: Text


class CodeKeys(_Strict):
    """Keys of a code cell, beside its tags."""

    exercise: Name | None = None
    expect: Text | None = None
    alt: Text | None = None
    tolerance: Tolerance | None = None


class MarkdownKeys(_Strict):
    """Keys of a Markdown cell, beside its tags."""

    exercise: Name | None = None
    talk: Annotated[int, Field(ge=0, le=60)] | None = None
    practice: Annotated[int, Field(ge=0, le=60)] | None = None
