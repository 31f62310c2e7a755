"""Links between lessons, to the glossary, and to pilot studies."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import yaml

__all__ = ["IMAGE", "LINK", "anchor", "glossary_terms", "is_outside", "pilot_studies"]

LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)(?:\s+\"[^\"]*\")?\)")
IMAGE = re.compile(r"!\[(?P<alt>[^\]]*)\]\((?P<target>[^)\s]+)[^)]*\)")


def is_outside(target: str) -> bool:
    """Tell whether a link leads out of the repository, or within its own page.

    Parameters
    ----------
    target : str
        The address in a link.

    Returns
    -------
    bool
        True for web and mail addresses, and for ``#anchor``.
    """
    return re.match(r"https?://|mailto:|#", target) is not None


@cache
def glossary_terms(glossary: Path) -> dict[str, str]:
    """Read the glossary's terms.

    Parameters
    ----------
    glossary : Path
        A Markdown file with a heading ``## term``, in lower case, for every term.

    Returns
    -------
    dict
        From the anchor of a term to the first sentence of its text.
    """
    if not glossary.is_file():
        return {}
    terms = {}
    for part in re.split(r"^## ", glossary.read_text(encoding="utf-8"), flags=re.M)[1:]:
        term, _, body = part.partition("\n")
        sentence = re.split(r"(?<=[.:])\s", " ".join(body.split()), maxsplit=1)[0]
        plain = LINK.sub(lambda link: link["text"], sentence)
        terms[anchor(term)] = plain.replace('"', "'").replace("*", "")
    return terms


def anchor(heading: str) -> str:
    """Make the anchor that GitHub and JupyterLab give a heading in lower case.

    Parameters
    ----------
    heading : str
        The words of the heading.

    Returns
    -------
    str
        Words joined by hyphens.

    Examples
    --------
    >>> anchor("design weight")
    'design-weight'
    """
    return re.sub(r"[^\w\- ]", "", heading.strip()).replace(" ", "-")


@cache
def pilot_studies(file: Path) -> dict[str, dict[str, str]]:
    """Read the pilot studies that a lesson may name.

    Parameters
    ----------
    file : Path
        ``tutorials/pilots.yaml``: from a short name to ``office``, ``study`` and ``source``.

    Returns
    -------
    dict
        The file's content; empty when there is no such file.
    """
    if not file.is_file():
        return {}
    return yaml.safe_load(file.read_text(encoding="utf-8")) or {}
