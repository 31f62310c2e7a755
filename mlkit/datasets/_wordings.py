"""How jobs are put into words: the finite table from which survey answers are drawn.

Everything here is fixed by the card's settings; no sample is drawn.
"""

from __future__ import annotations

import functools
import io
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlkit.classifications import Classification
from mlkit.datasets._cards import Card, dataset_card, read_data_file
from mlkit.datasets._soc import load_soc_index

__all__ = ["Language", "language", "spoken"]

Floats: TypeAlias = NDArray[np.float64]
Places: TypeAlias = NDArray[np.intp]
Words: TypeAlias = Mapping[str, str]

# Neighbours on the rows of a British keyboard.
_KEYBOARD = ("qwertyuiop", "asdfghjkl", "zxcvbnm")


@dataclass(frozen=True)
class Language:
    """The entries of the index, the texts they may become, and how likely that is.

    Attributes
    ----------
    card : Card
        With the settings.
    index : DataFrame
        The index of SOC 2010, one row per entry.
    classification : Classification
        SOC 2010.
    unit : array of shape (entries,)
        The place of the entry's code in ``classification.codes("unit")``.
    frequency : array of shape (entries,)
        How common the entry is; they add up to 1.
    held_back : array of bool, shape (entries,)
        Whether its title is held back.
    texts : array of str, shape (texts,)
        All texts, without typing errors.
    entry, text : arrays of shape (wordings,)
        One row for each pair of an entry and a text, in the order of entries.
    usual, new : arrays of shape (wordings,)
        How likely the entry becomes the text, in usual words and in new ones. For each
        entry, both add up to 1.
    typable : tuple of arrays
        For each text: the places in `vocabulary` of the words that may be misspelt.
    vocabulary, misspellings : arrays of str, and a tuple of tuples of str
        The words, and how each may be misspelt.
    """

    card: Card
    index: pd.DataFrame
    classification: Classification
    unit: Places
    frequency: Floats
    held_back: NDArray[np.bool_]
    texts: NDArray[np.object_]
    entry: Places
    text: Places
    usual: Floats
    new: Floats
    typable: tuple[Places, ...]
    vocabulary: NDArray[np.object_]
    misspellings: tuple[tuple[str, ...], ...]


@functools.cache
def language() -> Language:
    """Make the language of the card's settings, once per process."""
    card = dataset_card("occupation_responses")
    settings = card.settings
    rng = np.random.default_rng(settings["population_seed"])
    soc = load_soc_index()
    titles = [spoken(title) for title in soc.frame["title"]]
    qualifiers = [
        _plain(a + " " + b)
        for a, b in zip(soc.frame["industry"], soc.frame["additional"], strict=True)
    ]
    unit = pd.Index(soc.classification.codes("unit")).get_indexer(soc.frame["code"])
    frequency = _frequencies(soc.classification, unit, titles, qualifiers, settings, rng)
    heads = [_plain(title.partition(",")[0]) for title in soc.frame["title"]]
    table = _wordings(titles, qualifiers, heads, _words(card), settings)
    held_back, table = _hold_back(titles, table, settings["held_back"], rng)
    text, texts = pd.factorize(table["text"].to_numpy(dtype=object))
    typable, vocabulary, misspellings = _misspellings(texts, settings["misspellings"], rng)
    return Language(
        card=card,
        index=soc.frame.assign(text=titles),
        classification=soc.classification,
        unit=unit,
        frequency=frequency,
        held_back=held_back,
        texts=texts,
        entry=table["entry"].to_numpy(),
        text=text,
        usual=table["usual"].to_numpy(),
        new=table["new"].to_numpy(),
        typable=typable,
        vocabulary=vocabulary,
        misspellings=misspellings,
    )


def spoken(title: str) -> str:
    """Turn a title of the index into the order in which people say it.

    >>> spoken("Maker, stick, walking")
    'walking stick maker'
    """
    return " ".join(filter(None, map(_plain, reversed(title.split(",")))))


def _plain(text: str) -> str:
    """Fold case and accents, and drop brackets, commas and full stops."""
    folded = unicodedata.normalize("NFKD", text.replace("’", "'").lower())
    return " ".join(
        re.sub(r"[^a-z0-9&/' -]", " ", folded.encode("ascii", "ignore").decode()).split()
    )


def _words(card: Card) -> dict[str, Words]:
    """Read the lists of abbreviations, synonyms and new words."""
    table = pd.read_csv(io.BytesIO(read_data_file(card, "words.csv")), dtype="str", na_filter=False)
    return {
        str(kind): dict(zip(rows["word"], rows["instead"], strict=True))
        for kind, rows in table.groupby("kind")
    }


# --- how common jobs are ----------------------------------------------------------------------


def _frequencies(
    classification: Classification,
    unit: Places,
    titles: list[str],
    qualifiers: list[str],
    settings: Mapping[str, Any],
    rng: np.random.Generator,
) -> Floats:
    """Give each entry its share: Zipf's law for unit groups, and within them for entries."""
    codes = classification.codes("unit")
    first = {str(code): rank for rank, code in enumerate(settings["common"])}
    by_chance = len(codes) + rng.permutation(len(codes))
    order = [first.get(code, chance) for code, chance in zip(codes, by_chance, strict=True)]
    share = 1 / (_ranks(np.array(order)) + settings["unit_shift"]) ** settings["unit_exponent"]

    names = [_stems(_plain(title)) for title in classification.title(codes)]
    stems = [_stems(title) for title in titles]
    table = pd.DataFrame(
        {
            "unit": unit,
            "said": [-len(words & names[u]) for words, u in zip(stems, unit, strict=True)],
            "qualified": [bool(qualifier) for qualifier in qualifiers],
            "beside": [len(words - names[u]) for words, u in zip(stems, unit, strict=True)],
            "chance": rng.random(len(unit)),
        }
    ).sort_values(["unit", "said", "beside", "qualified", "chance"])
    rank = table.groupby("unit").cumcount().sort_index().to_numpy() + 1
    within = 1 / rank ** settings["entry_exponent"]
    within /= np.bincount(unit, within)[unit]
    return np.asarray(within * (share / share.sum())[unit])


def _ranks(values: NDArray[Any]) -> Places:
    ranks = np.empty(len(values), dtype=np.intp)
    ranks[np.argsort(values, kind="stable")] = np.arange(1, len(values) + 1)
    return ranks


def _stems(text: str) -> set[str]:
    """List the words of a text in the singular, roughly."""
    return {word.removesuffix("s") for word in text.split() if word not in ("and", "of", "nec")}


# --- how they are worded ----------------------------------------------------------------------


def _wordings(
    titles: list[str],
    qualifiers: list[str],
    heads: list[str],
    words: Mapping[str, Words],
    settings: Mapping[str, Any],
) -> pd.DataFrame:
    """List every wording of every entry, in the order of entries, with its probabilities."""
    rows = []
    for entry, (title, qualifier, head) in enumerate(zip(titles, qualifiers, heads, strict=True)):
        for text, share in _contents(title, qualifier, head, settings):
            usual = {"abbreviated": words["abbreviation"], "synonym": words["synonym"]}
            other = {
                _replace(text, usual[key]): settings[key] for key in usual if _has(text, usual[key])
            }
            fresh = _replace(text, words["new"])
            left = share * (1 - sum(other.values()))
            old = [(text, left), *((variant, share * part) for variant, part in other.items())]
            if fresh == text:
                rows += [(entry, variant, part, part) for variant, part in old]
            else:
                rows += [(entry, variant, part, 0.0) for variant, part in old]
                rows.append((entry, fresh, 0.0, share))
    table = pd.DataFrame(rows, columns=["entry", "text", "usual", "new"])
    return table.groupby(["entry", "text"], sort=False, as_index=False).sum()


def _contents(
    title: str, qualifier: str, head: str, settings: Mapping[str, Any]
) -> list[tuple[str, float]]:
    """List what may be said of an entry, before words are replaced."""
    vague = settings["vague"] if head != title else 0.0
    kept = settings["qualifier_kept"] if qualifier else 0.0
    contents = [(title, (1 - vague) * (1 - kept))]
    if vague:
        contents.append((head, vague))
    if kept:
        contents.append((f"{title} {qualifier}", (1 - vague) * kept))
    return contents


def _has(text: str, words: Words) -> bool:
    return any(word in words for word in text.split())


def _replace(text: str, words: Words) -> str:
    return " ".join(words.get(word, word) for word in text.split())


# --- what is held back ------------------------------------------------------------------------


def _hold_back(
    titles: list[str], table: pd.DataFrame, share: float, rng: np.random.Generator
) -> tuple[NDArray[np.bool_], pd.DataFrame]:
    """Choose titles to hold back, and see to it that they share no text with the others.

    Wordings of held-back titles that others have too are dropped. A title that would be left
    without usual wordings is not held back after all.
    """
    # "building engineer" and "engineer building" are one title.
    key, keys = pd.factorize(np.array([" ".join(sorted(t.split())) for t in titles], dtype=object))
    chosen = rng.random(len(keys)) < share
    entry = table["entry"].to_numpy()
    text, texts = pd.factorize(table["text"].to_numpy(dtype=object))
    while True:
        held = chosen[key][entry]
        open_texts = np.zeros(len(texts), dtype=bool)
        open_texts[text[~held]] = True
        keep = ~(held & open_texts[text])
        left = np.bincount(entry, table["usual"].to_numpy() * keep, minlength=len(titles))
        speechless = np.unique(key[(left == 0) & chosen[key]])
        if not len(speechless):
            break
        chosen[speechless] = False
    table = table[keep].copy()
    entry = entry[keep]
    for column in ("usual", "new"):
        left = np.bincount(entry, table[column], minlength=len(titles))[entry]
        table[column] = np.where(
            left > 0, table[column] / np.where(left > 0, left, 1), table["usual"]
        )
    return chosen[key], table


# --- how they are mistyped --------------------------------------------------------------------


def _misspellings(
    texts: Iterable[str], most: int, rng: np.random.Generator
) -> tuple[tuple[Places, ...], NDArray[np.object_], tuple[tuple[str, ...], ...]]:
    """Make up misspellings of all words with four letters or more.

    None is a word of any text, and no two words share one, so that a text with one misspelt
    word can be put right without doubt.
    """
    words = [text.split() for text in texts]
    known = dict.fromkeys(word for text in words for word in text)
    taken = set(known)
    vocabulary: list[str] = []
    misspellings: list[tuple[str, ...]] = []
    for word in known:
        if len(word) < 4 or not word.isalpha():
            continue
        slips = sorted(_slips(word) - taken)
        if slips:
            picked = [slips[i] for i in rng.permutation(len(slips))[:most].tolist()]
            taken.update(picked)
            vocabulary.append(word)
            misspellings.append(tuple(picked))
    place = {word: i for i, word in enumerate(vocabulary)}
    typable = tuple(
        np.array([place[word] for word in text if word in place], dtype=np.intp) for text in words
    )
    return typable, np.array(vocabulary, dtype=object), tuple(misspellings)


def _slips(word: str) -> set[str]:
    """List what a single slip of the fingers makes of a word: the first letter stays."""
    slips = set()
    for i in range(1, len(word)):
        before, letter, after = word[:i], word[i], word[i + 1 :]
        slips.add(before + after)
        slips.add(before + letter + letter + after)
        slips.update(before + neighbour + after for neighbour in _neighbours(letter))
        if after:
            slips.add(before + after[0] + letter + after[1:])
    return slips - {word}


def _neighbours(letter: str) -> str:
    row = next(row for row in _KEYBOARD if letter in row)
    place = row.index(letter)
    return row[max(place - 1, 0) : place] + row[place + 1 : place + 2]
