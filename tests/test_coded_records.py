"""The loader that lessons share: the same words and columns from three places."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mlkit.datasets import Bunch, load_coded_records, make_occupation_responses
from mlkit.datasets import _coded as module

OWN = pd.DataFrame({"text": ["nurse", "Nurse ", "smith"] * 400, "code": ["1", "1", "2"] * 400})


@pytest.fixture
def own(tmp_path: Path) -> Path:
    OWN.to_csv(tmp_path / "own.csv", index=False)
    return tmp_path / "own.csv"


def test_simulated_answers_keep_their_truth_and_their_repeats() -> None:
    records = load_coded_records("responses", rows=1_500, seed=4, drop_repeats=True)
    survey = make_occupation_responses(1_500, seed=4)
    assert records.data == "simulated"
    assert records.frame["code"].tolist() == survey.frame["arbiter"].tolist()
    assert records.source is not None
    assert records.source.truth.equals(survey.truth)
    assert records.frame["text"].duplicated().any()
    assert not records.copies.any()  # other people gave the same answer
    assert records.classification is not None
    records.classification.level_of(records.frame["code"])  # refuses unknown codes


def test_repeats_in_your_file_are_copies_if_you_say_so(own: Path) -> None:
    kept = load_coded_records("csv", rows=1, seed=0, file=own)
    assert not kept.copies.any()
    assert len(kept.frame) == 1_200
    assert (kept.data, kept.classification, kept.source) == ("real", None, None)
    dropped = load_coded_records("csv", rows=1, seed=0, file=str(own), drop_repeats=True)
    assert dropped.frame[~dropped.copies]["text"].tolist() == ["nurse", "smith"]


def test_product_names_are_always_things(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def shop(language: str) -> Bunch:
        asked.append(language)
        names = pd.DataFrame({"product": ["Lait", "lait", "Pain"], "code": ["1", "1", "2"]})
        return Bunch(frame=names, classification=None, language=language)

    monkeypatch.setattr(module, "fetch_ecoicop", shop)
    records = load_coded_records("ecoicop", rows=1, seed=0, language="french")
    assert asked == ["french"]
    assert np.array_equal(records.copies, [False, True, False])
    assert "(french)" in records.population
    assert list(records.frame.columns) == ["text", "code"]
    assert repr(records) == "CodedRecords: 3 names, 1 of them copies (real data)"


def test_another_dataset_is_refused() -> None:
    with pytest.raises(ValueError, match="'soc'; allowed are 'responses', 'ecoicop' and 'csv'"):
        load_coded_records("soc", rows=1, seed=0)
