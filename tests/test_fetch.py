"""Data sets that are downloaded: small files made here, and with MLKIT_REAL_DATA the real ones."""

from __future__ import annotations

import gzip
import hashlib
import os
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import unquote

import pandas as pd
import pytest

from mlkit.datasets import (
    Bunch,
    DatasetError,
    dataset_card,
    fetch_ecoicop,
    fetch_uksic2007,
)
from tests.serve import Server, give, serve, write_registry

ROOT = Path(__file__).resolve().parents[1]
LABELS = ROOT / "datasets" / "ecoicop" / "ecoicop_labels.csv"
WORKBOOK = "stats-poland-ecoicop.xlsx"
LANGUAGES = ["polish", "english", "french", "spanish", "italian", "german", "dutch"]

REAL = os.environ.get("MLKIT_REAL_DATA")
real_data = pytest.mark.skipif(not REAL, reason="MLKIT_REAL_DATA names no folder of real copies")


@pytest.fixture
def labels() -> pd.DataFrame:
    return pd.read_csv(LABELS, dtype="str", na_filter=False)


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """Give a folder whose files a server offers."""
    (tmp_path / "shelf").mkdir()
    return tmp_path / "shelf"


@pytest.fixture
def server(shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    def answer(request: BaseHTTPRequestHandler) -> None:
        give((shelf / unquote(request.path)[1:]).read_bytes())(request)

    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MLKIT_REGISTRY", str(tmp_path / "registry.toml"))
    with serve(answer) as server:
        yield server


def offer(server: Server, shelf: Path, dataset: str, name: str) -> None:
    content = (shelf / name).read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    registry = shelf.parent / "registry.toml"
    url = f"{server.url}/{name}"
    write_registry(registry, dataset, name, url=url, sha256=sha256, bytes=len(content))


def write_workbook(shelf: Path, **sheets: pd.DataFrame) -> None:
    with pd.ExcelWriter(shelf / WORKBOOK, engine="openpyxl") as writer:
        for name, sheet in sheets.items():
            sheet.to_excel(writer, sheet_name=name, index=False)


# --- ECOICOP ----------------------------------------------------------------------------------


@pytest.fixture
def products(labels: pd.DataFrame, server: Server, shelf: Path) -> pd.DataFrame:
    """Offer a workbook with one product for each label, and a few that text readers break."""
    names = [f"product {i}" for i in range(61)]
    names[:4] = ["NA", "  007 ", "1.0", "null"]
    sheets = {
        language.capitalize(): pd.DataFrame(
            {
                "Produkt" if language == "dutch" else "produkt": names,
                "kategoria": labels[language],
            }
        )
        for language in LANGUAGES
    }
    write_workbook(shelf, **sheets)
    offer(server, shelf, "ecoicop", WORKBOOK)
    return sheets["English"]


@pytest.mark.parametrize("language", [*LANGUAGES, "French"])
def test_every_language(products: pd.DataFrame, labels: pd.DataFrame, language: str) -> None:
    ecoicop = fetch_ecoicop(language)
    frame = ecoicop.frame
    assert list(frame.columns) == ["product", "label", "code"]
    assert (frame.dtypes == "str").all()
    assert frame["product"].tolist() == products["produkt"].tolist()
    assert frame["label"].tolist() == labels[language.lower()].tolist()
    assert frame["code"].tolist() == labels["code"].tolist()
    assert (ecoicop.name, ecoicop.kind, ecoicop.language) == ("ecoicop", "real", language.lower())
    assert str(ecoicop.card) == ecoicop.DESCR


def test_english_by_default_and_one_download(products: pd.DataFrame, server: Server) -> None:
    assert fetch_ecoicop().language == "english"
    fetch_ecoicop("dutch")
    assert len(server.asked) == 1


def test_levels_of_ecoicop(products: pd.DataFrame) -> None:
    tree = fetch_ecoicop().classification
    assert tree.levels == ("division", "group", "class", "subclass")
    assert [len(tree.codes(level)) for level in tree.levels] == [1, 2, 11, 61]
    assert tree.ancestors("01.2.1.3") == ("01", "01.2", "01.2.1")
    assert tree.title("01.1.4.5") == "Cheese and curd"
    assert tree.title("01.1.9") == "Food products n.e.c."
    assert list(tree.codes("subclass")) == sorted(tree.codes("subclass"))


@pytest.mark.parametrize("language", ["klingon", "", "en", None, 3])
def test_unknown_language(language: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLKIT_CACHE", "/dev/null/nowhere")  # refused before any work
    with pytest.raises(ValueError, match=f"language is {language!r}; there are: polish, english"):
        fetch_ecoicop(language)  # type: ignore[arg-type]


def test_a_label_without_a_code(server: Server, shelf: Path) -> None:
    write_workbook(shelf, English=pd.DataFrame({"produkt": ["a"], "kategoria": ["Moon dust"]}))
    offer(server, shelf, "ecoicop", WORKBOOK)
    with pytest.raises(DatasetError, match=r"no code for: 'Moon dust'\. ecoicop_labels"):
        fetch_ecoicop()
    with pytest.raises(DatasetError, match="has no readable sheet for french"):
        fetch_ecoicop("french")


def test_other_columns(server: Server, shelf: Path) -> None:
    write_workbook(shelf, English=pd.DataFrame({"product": ["a"], "label": ["Rice"]}))
    offer(server, shelf, "ecoicop", WORKBOOK)
    with pytest.raises(DatasetError, match="has the columns product, label for english"):
        fetch_ecoicop()


def test_no_workbook_at_all(server: Server, shelf: Path) -> None:
    (shelf / WORKBOOK).write_bytes(b"no workbook")
    offer(server, shelf, "ecoicop", WORKBOOK)
    with pytest.raises(DatasetError, match="has no readable sheet"):
        fetch_ecoicop()


def test_table_of_labels(labels: pd.DataFrame) -> None:
    assert len(labels) == 61
    assert (labels != "").all(axis=None)
    assert labels["code"].is_unique
    assert all(labels[language].is_unique for language in LANGUAGES)
    for code, parent in [("code", "class"), ("class", "group"), ("group", "division")]:
        assert (labels[code].str.rpartition(".")[0] == labels[parent]).all()


@real_data
def test_table_of_labels_is_eurostats(labels: pd.DataFrame) -> None:
    structure = pd.read_csv(
        Path(REAL or "") / "ecoicop_v1_structure_24lang.tsv",
        sep="\t",
        dtype="str",
        na_filter=False,
    ).set_index("CODE")
    subclasses = structure[structure["PARENT_CODE"].str.match(r"01\.\d\.\d$")]
    assert set(subclasses.index) == set(labels["code"])
    short = dict(zip(LANGUAGES, ["PL", "EN", "FR", "ES", "IT", "DE", "NL"], strict=True))
    differ = {
        language: int((labels["code"].map(structure[f"NAME_{code}"]) != labels[language]).sum())
        for language, code in short.items()
    }
    assert differ == {**dict.fromkeys(LANGUAGES, 0), "french": 43}
    for level in ("class", "group", "division"):
        assert (labels[level].map(structure["NAME_EN"]) == labels[f"{level}_title"]).all()
    assert (labels["code"].map(structure["PARENT_CODE"]) == labels["class"]).all()
    assert (labels["class"].map(structure["PARENT_CODE"]) == labels["group"]).all()
    assert (labels["group"].map(structure["PARENT_CODE"]) == labels["division"]).all()


def serve_real(server: Server, shelf: Path, dataset: str) -> None:
    """Offer the real files under the checksums of the card: the registry gives only addresses."""
    for file in dataset_card(dataset).files:
        if file.url is not None:
            (shelf / file.name).symlink_to(Path(REAL or "").resolve() / file.name)
            url = f"{server.url}/{file.name}"
            write_registry(shelf.parent / "registry.toml", dataset, file.name, url=url)


@real_data
def test_numbers_in_the_card_of_ecoicop(server: Server, shelf: Path) -> None:
    serve_real(server, shelf, "ecoicop")
    sets: dict[str, Bunch] = {language: fetch_ecoicop(language) for language in LANGUAGES}
    frames = {language: bunch.frame for language, bunch in sets.items()}
    card = dataset_card("ecoicop")
    text = " ".join([card.size, *card.defects])
    english = frames["english"]
    assert f"{len(english):,} rows, {english['label'].nunique()} labels" in text
    repeats, conflicts = [], []
    for language, frame in frames.items():
        assert frame["code"].equals(english["code"])
        assert len(frame.drop_duplicates(["label", "code"])) == 61
        name = language.capitalize()
        rows = " rows" if language == "polish" else ""
        repeats.append(f"{frame.duplicated().sum()}{rows} in {name}")
        codes = frame.groupby(frame["product"].str.lower())["code"].nunique()
        conflicts.append(f"{codes.gt(1).sum()} in {name}")
        blanks = (frame["product"] != frame["product"].str.strip()).sum()
        assert blanks == (4_391 if language == "polish" else 0)
    assert f"Exact repeats of name and label: {', '.join(repeats)}." in text
    assert f"more than one label: {', '.join(conflicts)}." in text
    sizes = english["label"].value_counts()
    assert f"cheese and curd, has {sizes.iloc[0]:,} rows" in text
    assert f"lamb and goat, has {sizes.iloc[-1]}." in text
    assert (sizes.index[0], sizes.index[-1]) == ("Cheese and curd", "Lamb and goat")
    french = dict(zip(frames["french"]["label"], english["label"], strict=True))
    assert french["viandes"] == "Dried, salted or smoked meat"
    assert french["frites"] == "Crisps"
    assert french["Lait condensé et en poudre"] == "Preserved milk"


# --- UK SIC 2007 ------------------------------------------------------------------------------

STRUCTURE = """\
Description,SECTION,Division,Group,Class,Sub Class,Most disaggregated level,Level headings
"AGRICULTURE, FORESTRY", A,na,na,na,na, A,SECTION
Crops, A,01,na,na,na,01,Division
Support, A,01,016,na,na,016,Group
Support for crops, A,01,016,0161,na,01610,Class
Support for animals, A,01,016,0162,na,01620,Class
Boarding, A,01,016,0162,01621,01621,Sub Class
MANUFACTURING,C,na,na,na,na,C,SECTION
Food,C,10,na,na,na,10,Division
"""
INDEX = "activity,sic2007,sic2003\nKennels,01621,00000\nCrop spraying,01610,00000\nNA,01620,1\n"


def put_uksic(server: Server, shelf: Path, index: str = INDEX) -> None:
    for part, text in (("index", index), ("structure", STRUCTURE)):
        name = f"uksic2007_{part}.csv.gz"
        (shelf / name).write_bytes(gzip.compress(text.encode(), mtime=0))
        offer(server, shelf, "uksic2007", name)


def test_uksic(server: Server, shelf: Path) -> None:
    put_uksic(server, shelf)
    sic = fetch_uksic2007()
    assert sic.frame.to_numpy().tolist() == [
        ["Kennels", "01621", "01621"],
        ["Crop spraying", "01610", "0161"],
        ["NA", "01620", "0162"],
    ]
    assert (sic.frame.dtypes == "str").all()
    assert list(sic.frame.columns) == list(sic.card.columns)
    tree = sic.classification
    assert tree.levels == ("section", "division", "group", "class", "subclass")
    assert tree.at_level(["01621", "0161", "10"], "section").tolist() == ["A", "A", "C"]
    assert tree.children("0161") == ()
    assert tree.children("0162") == ("01621",)
    assert (sic.name, sic.kind) == ("uksic2007", "real")


def test_uksic_has_no_public_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLKIT_REGISTRY", raising=False)
    monkeypatch.setenv("MLKIT_CACHE", str(tmp_path))
    with pytest.raises(DatasetError) as error:
        fetch_uksic2007()
    assert "knows no public address of uksic2007_index.csv.gz. By hand: get" in str(error.value)
    assert f"put it at {tmp_path / 'uksic2007' / 'uksic2007_index.csv.gz'}." in str(error.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (gzip.compress(b"a,b\n1,2\n", mtime=0), "is not the table it should be"),
        (b"no gzip", "is not the table it should be: Not a gzipped file"),
        (
            gzip.compress(INDEX.encode(), mtime=0)[:-9],
            "is not the table it should be: Compressed file ended",
        ),
    ],
)
def test_uksic_of_another_kind(server: Server, shelf: Path, content: bytes, said: str) -> None:
    name = "uksic2007_index.csv.gz"
    (shelf / name).write_bytes(content)
    offer(server, shelf, "uksic2007", name)
    with pytest.raises(DatasetError, match=said):
        fetch_uksic2007()


def test_uksic_index_and_structure_of_two_editions(server: Server, shelf: Path) -> None:
    put_uksic(server, shelf, INDEX.replace("01621", "99999"))
    with pytest.raises(DatasetError, match="has codes that its structure lacks: 99999"):
        fetch_uksic2007()


@real_data
def test_numbers_in_the_card_of_uksic(server: Server, shelf: Path) -> None:
    serve_real(server, shelf, "uksic2007")
    sic = fetch_uksic2007()
    frame, tree, card = sic.frame, sic.classification, sic.card
    text = " ".join([card.size, *card.about.split(), *card.defects])
    sizes = [len(tree.codes(level)) for level in tree.levels]
    assert "{} sections, {} divisions, {} groups, {} classes and {} subc".format(*sizes) in text
    assert f"{len(tree):,} codes in all" in text
    assert not frame["activity"].duplicated().any()
    assert f"{len(frame):,} entries, all different; {frame['code'].nunique()} codes" in text
    parents = set(tree.parent(tree.codes("subclass")))
    assert f"{len(set(tree.codes('class')) - parents)} classes have no subclasses" in text
    odd = frame[frame["code"].isin(parents)]
    assert odd["activity"].tolist() == ["Installation of sun filter mounting on buildings"]
    assert odd["sic2007"].tolist() == ["43990"]
    leaves = (set(tree.codes("class")) - parents) | set(tree.codes("subclass"))
    assert leaves - set(frame["code"]) == {"52243"}
    per_code = frame["code"].value_counts()
    assert f"between 1 and {per_code.max()} entries, half of them {per_code.median():.0f}" in text
    making = (tree.at_level(frame["code"], "section") == "C").mean()
    assert f"{making:.0%}".replace("%", " % of the entries are manufacturing") in text
    blanks = (frame["activity"] != frame["activity"].str.strip()).sum()
    letters = (~frame["activity"].map(str.isascii)).sum()
    assert f"{blanks} activities begin or end with a blank, {letters} hold letters" in text
    # Section letters are no prefixes: the trap for whoever slices strings.
    assert tree.at_level("0111", "section") == "A"
