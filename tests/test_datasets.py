"""Data sets: every number in a card is computed from the data, and damage is noticed."""

from __future__ import annotations

import copy
import hashlib
import pickle
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mlkit.datasets import Bunch, DatasetError, dataset_card, dataset_names, load_soc_index

ROOT = Path(__file__).resolve().parents[1]
INDEX = "datasets/soc_index/ons_soc2010_index.csv.gz"
CARD = "datasets/soc_index/card.toml"


@pytest.fixture(scope="module")
def soc() -> Bunch:
    return load_soc_index()


# --- the SOC index ---------------------------------------------------------------------------


def test_frame(soc: Bunch) -> None:
    assert soc.frame.shape == (28_521, 4)
    assert list(soc.frame.columns) == ["title", "industry", "additional", "code"]
    assert (soc.frame.dtypes == "str").all()
    assert not soc.frame.isna().any(axis=None)
    assert (soc.frame["title"] != "").all()
    assert soc.frame["code"].str.fullmatch(r"\d{4}").all()
    assert set(soc.frame["code"]) == set(soc.classification.codes("unit"))


def test_nothing_is_lost_between_file_and_frame(soc: Bunch) -> None:
    import csv
    import gzip

    with gzip.open(ROOT / INDEX, "rt", encoding="utf-8", newline="") as file:
        rows = [row[:4] for row in csv.reader(file)]
    assert rows[0] == ["title", "industry", "additional", "soc2010"]
    assert soc.frame.to_numpy().tolist() == rows[1:]
    assert ["A1", "(Office for National Statistics)", "", "4112"] in rows


def test_bunch_tells_what_it_is(soc: Bunch) -> None:
    assert (soc.name, soc.kind) == ("soc_index", "real")
    assert soc["licence"] == soc.licence == "Open Government Licence v3.0"
    assert str(soc.card) == soc.DESCR
    assert "Office for National Statistics" in soc.citation
    assert "DataFrame of 28,521 rows, 4 columns: title, industry, additional, code" in repr(soc)
    assert max(map(len, repr(soc).splitlines())) <= 100


def number_in_card(text: str) -> None:
    __tracebackhide__ = True
    card = dataset_card("soc_index")
    assert text in " ".join([card.size, *card.about.split(), *card.defects])


def test_numbers_in_the_card(soc: Bunch) -> None:
    frame = soc.frame
    units = frame["code"].value_counts()
    number_in_card(
        f"{len(frame):,} entries, {frame['title'].nunique():,} distinct titles, "
        f"{len(units)} unit groups"
    )
    sizes = [len(soc.classification.codes(level)) for level in soc.classification.levels]
    number_in_card("{} major, {} sub-major, {} minor and {} unit groups".format(*sizes))
    number_in_card(f"{len(soc.classification)} codes in all")

    codes = frame.groupby("title")["code"].nunique()
    number_in_card(f"{(codes > 1).sum():,} titles have more than one code")
    number_in_card(f"'{codes.idxmax()}' {codes.max()} of them")
    ambiguous = frame[frame["title"].map(codes) > 1]
    number_in_card(f"They fill {len(ambiguous):,} entries")
    assert not frame.duplicated(["title", "industry", "additional"]).any()
    bare = (ambiguous["industry"] == "") & (ambiguous["additional"] == "")
    defaults = bare.groupby(ambiguous["title"]).sum()
    assert defaults.max() == 1
    number_in_card(f"For {defaults.sum():,} of the {len(defaults):,} titles, one entry has no")
    number_in_card(f"For the other {(defaults == 0).sum():,} there is no such entry")

    bare = (frame["industry"] == "") & (frame["additional"] == "")
    number_in_card(f"{bare.sum():,} entries have neither")
    both = frame[(frame["industry"] != "") & (frame["additional"] != "")]
    assert not both["industry"].str.endswith(")").any()
    assert both["additional"].str.endswith(")").all()
    alone = frame.drop(both.index)
    for qualifier in (alone["industry"], alone["additional"]):
        assert qualifier.str.fullmatch(r"(\(.*\))?").all()
    number_in_card(f"In {len(both)} entries a bracket opens in industry and closes in additional")
    assert {("(local government:", "grade 4,5)")} <= set(
        both[["industry", "additional"]].itertuples(index=False, name=None)
    )

    text = frame["title"] + frame["industry"] + frame["additional"]
    number_in_card(f"{(~text.map(str.isascii)).sum()} entries hold accents or curly apostrophes")
    odd = {unicodedata.name(sign) for sign in set("".join(text)) if not sign.isascii()}
    assert all(" WITH " in name or name == "RIGHT SINGLE QUOTATION MARK" for name in odd)
    number_in_card(f"between {units.min()} and {units.max():,} entries")
    number_in_card(f"half of them {units.median():.0f} or fewer")
    number_in_card(f"{(frame['code'].str[0] == '8').mean():.0%}".replace("%", " % of the entries"))


def test_numbers_about_the_column_left_out() -> None:
    raw = pd.read_csv(ROOT / INDEX, dtype="str", na_filter=False)
    same = (raw["soc2000"] == raw["soc2010"]).sum()
    number_in_card(f"{same:,} entries have the same digits in both")
    invalid = raw.loc[~raw["soc2000"].str.fullmatch(r"\d{4}"), "soc2000"]
    number_in_card(f"{len(invalid)} entries hold no valid code ('}}}}}}}}' twice, '631', empty)")
    assert sorted(invalid) == ["", "631", "}}}}", "}}}}"]


# --- cards -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", dataset_names())
def test_every_data_set_is_as_its_card_says(name: str) -> None:
    card = dataset_card(name)
    folder = ROOT / "datasets" / name
    assert card.name == name
    assert card.files or card.settings
    assert {path.name for path in folder.iterdir()} - {"results.csv"} == {
        "card.toml",
        "LICENSE",
        *(file.name for file in card.files if file.url is None),
    }
    for file in card.files:
        if file.url is not None:
            assert len(file.sha256) == 64
            continue
        content = (folder / file.name).read_bytes()
        assert len(content) == file.bytes
        assert hashlib.sha256(content).hexdigest() == file.sha256
    assert sum(file.bytes for file in card.files if file.url is None) < 5_000_000
    licence = (folder / "LICENSE").read_text(encoding="utf-8")
    assert card.licence in licence
    if card.licence_url:
        assert card.licence_url in licence


def test_the_table_in_the_readme_lists_them_all() -> None:
    readme = (ROOT / "datasets" / "README.md").read_text(encoding="utf-8")
    rows = [line for line in readme.splitlines() if line.startswith("| [")]
    for row, name in zip(rows, dataset_names(), strict=True):
        card = dataset_card(name)
        _, link, title, kind, _, licence, _ = (cell.strip() for cell in row.split("|"))
        assert link == f"[{name}]({name}/card.toml)"
        assert title == card.title
        assert kind == card.kind
        assert licence == f"[{card.licence}]({name}/LICENSE)"


def test_a_card_reads_well() -> None:
    card = dataset_card("soc_index")
    page = str(card)
    assert page.startswith(f"# {card.title}\n\n")
    assert "- **Kind:** real data\n" in page
    assert card._repr_markdown_() == page
    for part in (card.attribution, card.licence_url, card.source, *card.defects):
        assert part in page


def test_unknown_name() -> None:
    with pytest.raises(DatasetError, match=r"no data set 'soc_indx'. Did you mean 'soc_index'\?"):
        dataset_card("soc_indx")
    with pytest.raises(DatasetError, match=r"There are: .*soc_index"):
        dataset_card("../datasets/soc_index")


def test_bunch() -> None:
    bunch = Bunch(name="x", frame=pd.DataFrame({"a": [1]}), text="word " * 100)
    bunch.extra = np.array([1, 2])
    assert bunch["extra"] is bunch.extra
    assert "extra" in dir(bunch)
    assert pickle.loads(pickle.dumps(bunch)).name == "x"  # noqa: S301 - our own
    assert copy.copy(bunch).name == "x"
    with pytest.raises(AttributeError, match="No 'nmae' here; there are: name, frame, text, extra"):
        _ = bunch.nmae
    assert not hasattr(bunch, "_repr_html_")
    assert repr(bunch).splitlines()[2] == "  frame  DataFrame of 1 rows, 1 columns: a"
    assert repr(bunch).splitlines()[3].endswith("...")
    assert repr(Bunch()) == "Bunch"


# --- a damaged kit ---------------------------------------------------------------------------


@pytest.fixture
def kit(tmp_path: Path) -> Path:
    """Copy the library and its data to a folder with a space in its name."""
    copied = tmp_path / "my kit"
    for folder in ("mlkit", "datasets"):
        shutil.copytree(
            ROOT / folder, copied / folder, ignore=shutil.ignore_patterns("__pycache__", ".*")
        )
    return copied


def run_in(kit: Path, code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", f"from mlkit.datasets import *; {code}"],
        cwd=kit,
        capture_output=True,
        text=True,
        check=False,
    )


def complaint(kit: Path, code: str = "load_soc_index()") -> str:
    """Run code that must fail, and return the last line of what it says."""
    run = run_in(kit, code)
    assert run.returncode == 1
    return run.stderr.strip().splitlines()[-1]


def test_the_kit_that_is_damaged_below_is_the_copy(kit: Path) -> None:
    run = run_in(kit, "import mlkit; print(mlkit.__file__, len(load_soc_index().frame))")
    assert run.stdout.split("\n")[0] == f"{kit / 'mlkit' / '__init__.py'} 28521"


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def flip_one_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[100_000] ^= 1
    path.write_bytes(content)


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (truncate, "is damaged: it has 1,000 bytes with sha256 "),
        (flip_one_byte, "is damaged: it has 218,948 bytes with sha256 "),
        (Path.unlink, "cannot be read (No such file or directory)"),
        (replace_by_folder, "cannot be read (Is a directory)"),
    ],
)
def test_damaged_file(kit: Path, damage: Callable[[Path], None], said: str) -> None:
    damage(kit / INDEX)
    message = complaint(kit)
    assert message.startswith(f"mlkit.datasets._cards.DatasetError: {kit / INDEX} {said}")
    assert "expected 218,948 bytes with sha256 bbdc4bc8b1b685f0e8fb187e307ddfd0" in message
    assert message.endswith(f". Restore it with: git -C '{kit}' checkout -- {INDEX}")


def test_the_remedy_restores_the_file(kit: Path) -> None:
    for words in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "all"],
    ):
        subprocess.run(["git", *words], cwd=kit, check=True, capture_output=True)
    truncate(kit / INDEX)
    command = complaint(kit).partition("Restore it with: ")[2]
    subprocess.run(command, shell=True, check=True, capture_output=True)  # noqa: S602 - our own words
    assert run_in(kit, "load_soc_index()").returncode == 0


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('kind = "real"', 'kind = "reel"', "kind is 'reel'; allowed are 'real' and 'simulated'"),
        ('kind = "real"', "", "the key 'kind' is missing"),
        ('kind = "real"', 'kind = "real"\ncolour = 1', "the key 'colour' is unknown"),
        ("sha256 =", "md5 =", "an entry of files has other keys than bytes, name, sha256 and"),
        ('kind = "real"', "kind = real", "is not a readable card: Invalid value (at line 2"),
    ],
)
def test_faulty_card(kit: Path, old: str, new: str, said: str) -> None:
    card = kit / CARD
    card.write_text(card.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    message = complaint(kit, "dataset_card('soc_index')")
    assert f"{card} " in message
    assert said in message
    assert f"checkout -- {CARD}" in message


RESULTS = """lesson,parameters,name,unit,value,standard_error,low,high
t/01-a,LANGUAGE=x,accuracy,share of records,0.9126,0.01,0.892,0.932
t/01-a,LANGUAGE=y,accuracy,share of records,0.5,,,
t/01-a,LANGUAGE=y,records,records,2698,,,
t/02-b,,accuracy,share of records,1,,,
"""


def test_results_of_lessons_stand_in_the_card(kit: Path) -> None:
    before = run_in(kit, "print(dataset_card('soc_index').fingerprint)").stdout
    (kit / CARD).with_name("results.csv").write_text(RESULTS, encoding="utf-8")
    run = run_in(kit, "c = dataset_card('soc_index'); print(c.fingerprint); print(c)")
    assert run.stdout.startswith(before)  # no part of the data, so no notebook becomes stale
    assert run.stdout.endswith(
        """
## What lessons found in these real data

Lesson t/01-a; in brackets: 95 % intervals.

| figure | unit | LANGUAGE=x | LANGUAGE=y |
| --- | --- | --- | --- |
| accuracy | share of records | 0.913 (0.892 to 0.932) | 0.500 |
| records | records |  | 2,698 |

Lesson t/02-b; in brackets: 95 % intervals.

| figure | unit | as it comes |
| --- | --- | --- |
| accuracy | share of records | 1 |

"""
    )


@pytest.mark.parametrize(("old", "new"), [("0.9126", "much"), ("value", "worth"), (",,,", "")])
def test_faulty_results(kit: Path, old: str, new: str) -> None:
    path = (kit / CARD).with_name("results.csv")
    path.write_text(RESULTS.replace(old, new), encoding="utf-8")
    message = complaint(kit, "dataset_card('soc_index')")
    assert f"{path} is no table of results" in message
    assert "checkout -- datasets/soc_index/results.csv" in message


def test_no_data_at_all(kit: Path) -> None:
    shutil.rmtree(kit / "datasets")
    assert f"The kit's data are missing: {kit / 'datasets'} holds no card." in complaint(kit)


def test_fingerprint_changes_with_the_card_only(kit: Path) -> None:
    code = "print(dataset_card('soc_index').fingerprint)"
    before = run_in(kit, code).stdout
    assert before.strip() == dataset_card("soc_index").fingerprint
    card = kit / CARD
    text = card.read_text(encoding="utf-8")
    card.write_text(f"# a remark\n{text}", encoding="utf-8")
    assert run_in(kit, code).stdout == before
    card.write_text(text.replace("bbdc4bc8", "00000000"), encoding="utf-8")
    assert run_in(kit, code).stdout != before


def test_a_simulated_data_set_has_settings_and_no_files(kit: Path) -> None:
    folder = kit / "datasets" / "made_up"
    folder.mkdir()
    (folder / "card.toml").write_text(
        'title = "Made up"\nkind = "simulated"\nabout = "a"\npopulation = "b"\nperiod = "c"\n'
        'size = "any"\ndefects = []\nlicence = "CC BY 4.0"\nattribution = "d"\ncitation = "e"\n'
        '[columns]\nx = "a number"\n[settings]\nseed = 1\n',
        encoding="utf-8",
    )
    run = run_in(kit, "print(dataset_names()); print(dataset_card('made_up'))")
    assert "'made_up'" in run.stdout.partition("\n")[0]
    assert run.stdout.partition("\n")[2].startswith("# Made up\n")
    assert "- **Kind:** simulated data" in run.stdout
    assert "- `seed = 1`" in run.stdout
    assert "## Files" not in run.stdout
