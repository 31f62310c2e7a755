"""Plan a session of so many minutes: what is talked through, what is practised, what is left."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mlkit.lessons.model import Section
from mlkit.paths import KitError

__all__ = ["Cut", "Part", "PresentationError", "cut"]


class PresentationError(KitError):
    """Slides cannot be made; the message says why, and what to do."""


@dataclass(frozen=True)
class Part:
    """What one section gets of a session.

    Parameters
    ----------
    section : Section
        The section.
    kept : bool
        Whether it is in the session.
    start : int
        The minute at which it begins, or would begin.
    talk, practice : int
        The minutes it gets.
    """

    section: Section
    kept: bool
    start: int
    talk: int
    practice: int

    @property
    def end(self) -> int:
        """The minute at which it ends."""
        return self.start + self.talk + self.practice

    @property
    def practised(self) -> bool:
        """Whether its exercises are done in the session."""
        return self.kept and self.practice == self.section.practice

    @property
    def at_home(self) -> tuple[str, ...]:
        """The exercises that are left for home, by name."""
        if self.practised:
            return ()
        cells = self.section.cells
        return tuple(cell.exercise or "" for cell in cells if "exercise" in cell.tags)


@dataclass(frozen=True)
class Cut:
    """A session's plan; printed, it is a table of minutes.

    Parameters
    ----------
    parts : tuple of Part
        One for each section of the lesson, in order.
    minutes : int or None
        What the session was cut to; None if nothing was cut.
    """

    parts: tuple[Part, ...]
    minutes: int | None = None

    @property
    def end(self) -> int:
        """The minute at which the session ends."""
        return self.parts[-1].end if self.parts else 0

    @property
    def at_home(self) -> tuple[str, ...]:
        """What the session leaves out: sections, and exercises with their section."""
        lines = []
        for part in self.parts:
            names = "; ".join(f"exercise {name}" for name in part.at_home)
            if names or not part.kept:
                lines.append(part.section.title + (f" ({names})" if names else ""))
        return tuple(lines)

    def __str__(self) -> str:
        rows = [("section", "talk", "practice", "minutes"), *map(_row, self.parts)]
        of = f" of {self.minutes}" if self.minutes else ""
        talk, practice = (
            sum(getattr(p, what) for p in self.parts) for what in ("talk", "practice")
        )
        rows.append(("in all", str(talk), str(practice), f"{self.end}{of}"))
        widest = max(len(row[0]) for row in rows)
        return "\n".join(
            f"{name:<{widest}}  {talk:>4}  {practice:>8}  {span:>9}".rstrip()
            for name, talk, practice, span in rows
        )


def cut(sections: Sequence[Section], minutes: int | None = None) -> Cut:
    """Choose what a session of so many minutes holds.

    The talk of every core section stays. Then the practice of core sections is taken in
    order, wherever it still fits; then whole stretch sections, likewise.

    Parameters
    ----------
    sections : sequence of Section
        The lesson's sections in order.
    minutes : int, optional
        How long the session is; by default as long as the whole lesson takes.

    Returns
    -------
    Cut
        The plan.

    Raises
    ------
    PresentationError
        If not even the talk of the core sections fits.

    Examples
    --------
    >>> from mlkit.lessons.model import Section
    >>> lesson = [
    ...     Section("Why", talk=5, practice=0, stretch=False, cells=()),
    ...     Section("How", talk=10, practice=15, stretch=False, cells=()),
    ...     Section("More", talk=5, practice=5, stretch=True, cells=()),
    ... ]
    >>> print(cut(lesson, minutes=30))
    section         talk  practice    minutes
    Why                5         0        0-5
    How               10        15       5-30
    More (stretch)     -         -   left out
    in all            15        15   30 of 30
    """
    given = {i: (s.talk, 0) for i, s in enumerate(sections) if not s.stretch}
    needed = sum(talk for talk, _ in given.values())
    left = float("inf") if minutes is None else minutes - needed
    if left < 0:
        raise PresentationError(
            f"The session has {minutes} minutes, and the talk of the core sections alone takes "
            f"{needed}. Give it {needed} minutes or more, or tag sections that may be dropped as "
            "stretch."
        )
    for i, section in enumerate(sections):
        if not section.stretch and section.practice <= left:
            given[i] = (section.talk, section.practice)
            left -= section.practice
    for i, section in enumerate(sections):
        if section.stretch and section.talk + section.practice <= left:
            given[i] = (section.talk, section.practice)
            left -= section.talk + section.practice
    return Cut(tuple(_parts(sections, given)), minutes)


def _parts(sections: Sequence[Section], given: dict[int, tuple[int, int]]) -> Iterator[Part]:
    minute = 0
    for i, section in enumerate(sections):
        talk, practice = given.get(i, (0, 0))
        # A section of practice alone has nothing to show without it.
        kept = i in given and bool(talk or practice == section.practice)
        part = Part(section, kept, minute, talk, practice)
        minute = part.end
        yield part


def _row(part: Part) -> tuple[str, str, str, str]:
    name = part.section.title + (" (stretch)" if part.section.stretch else "")
    if not part.kept:
        return name, "-", "-", "left out"
    practice = str(part.practice) if part.practised else "at home"
    return name, str(part.talk), practice, f"{part.start}-{part.end}"
