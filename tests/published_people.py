"""A few people in the layout of published surveys, and files of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

# Weights of five people; the sum of all is 8, of the women 5.
WVS = pd.DataFrame(
    {
        "version": [1, 1, 1, 1, 1],
        "B_COUNTRY": [840, 840, 840, 356, 999],
        "D_INTERVIEW": [840070001, 840070002, 840070003, 356070001, 999070001],
        "W_WEIGHT": [1.0, 2.0, 1.0, 3.0, 1.0],
        "H_URBRURAL": [1, 1, 2, -5, 2],
        "Q1": [1, 2, 4, -1, 1],
        "Q7": [1, 2, 2, 1, 2],
        "Q56": [1, 2, 3, 3, -2],
        "Q90": [-4, -4, -4, -4, -4],
        "Q111": [1, 2, 3, 1, -1],
        "Q119": [0, 1, 2, 4, 0],
        "Q152": [1, 3, 3, 4, 2],
        "Q177": [1, 10, 5, 1, -2],
        "Q223": [840001, 840002, 4, 5, -1],
        "Q240": [3, 4, 8, -1, 7],
        "Q260": [1, 2, 1, 2, -2],
        "Q262": [17, 25, 64, 65, -1],
        "X003R": [1, 2, 5, 6, -1],
        "Q275R": [1, 2, 3, 3, -2],
        "Q288R": [1, 2, 3, 2, 2],
        "Q289": [0, 1, 2, 6, 9],
        "PWGHT": [1.0, 1.0, 1.0, 1.0, 1.0],
    }
)
WGM = pd.DataFrame(
    {
        "WP5": [1, 1, 97, 99],
        "wgt": [1.0, 3.0, 2.0, 2.0],
        "PROJWT": [9.0, 1.0, 1.0, 1.0],
        "Q1": [1, 4, 98, 1],
        "Q5A": [1, 97, 2, 1],
        "Q11C": [1, 2, 4, 99],
        "Q19": [1, 2, 3, 3],
        "Q20": [1, 3, 97, 3],
        "Q23": [1, 1, 1, 2],
        "Q25": [1, 3, 5, None],
        "Q30": [1, 2, 97, 2],
        "WGM_Index": [1.5, 2.0, 3.25, 3.0],
        "Age": [15, 29, 99, 100],
        "AgeCategories": [1, 1, 3, None],
        "Gender": [1, 2, 2, 1],
        "Education": [1, 2, 3, None],
        "Household_Income": [1, 2, 3, 5],
        "Urban_Rural": [1, 2, 2, 1],
        "Regions_Report": [7, 7, 14, 0],
        "Subjective_Income": [1, 2, 3, None],
        "EMP_2010": [1, 2, 6, 6],
    }
)
IMPORTANT = {1: "Very important", 2: "Rather important", 3: "Not very important",
             4: "Not at all important"}  # fmt: skip
MISSING = {-1: "Don't know", -2: "No answer", -4: "Not asked in this country",
           -5: "Missing; Not available"}  # fmt: skip
SAV_LABELS: dict[str, Any] = {
    "Q1": IMPORTANT | MISSING,
    "Q7": {1: "Important", 2: "Not mentioned"} | MISSING,
    "Q56": {1: "Better off", 2: "Worse off", 3: "Or about the same"} | MISSING,
    "Q90": {1: "Being effective", 10: "Being democratic"} | MISSING,
    "B_COUNTRY": {356: "India", 840: "United States", 999: "999"},
    "Q260": {1: "Male", 2: "Female"} | MISSING,
    "Q262": MISSING,
}


def write_people(people: pd.DataFrame, folder: Path, kind: str) -> Path:
    """``people.csv``, ``.sav`` or ``.dta``, with the labels and letters of the archive's own."""
    path = folder / f"people{kind}"
    if kind == ".csv":
        people.to_csv(path, index=False)
        return path
    pyreadstat = pytest.importorskip("pyreadstat")
    words = {"Q1": "Important in life: Family"} if "Q260" in people else {}
    labels = SAV_LABELS if "Q260" in people else {}
    if kind == ".sav":
        pyreadstat.write_sav(
            people, path, column_labels=words, variable_value_labels=labels,
            missing_ranges={name: [{"lo": -5, "hi": -1}] for name in labels},
        )  # fmt: skip
        return path
    # Stata's letters, as the archive's own file has them.
    letters = {-1: "a", -2: "b", -4: "d", -5: "e"}
    lettered = [name for name in labels if people[name].isin(list(letters)).any()]
    people = people.astype(dict.fromkeys(lettered, object))
    for name in lettered:
        people[name] = [letters.get(one, float(one)) for one in people[name]]
    pyreadstat.write_dta(
        people, path, column_labels=[words.get(name, "") for name in people],
        variable_value_labels={
            name: {
                letters.get(code, code): label
                for code, label in labels[name].items()
                if code > 0 or (name in lettered and code in letters)
            }
            for name in labels
        },
        missing_user_values={name: list(letters.values()) for name in lettered}, version=15,
    )  # fmt: skip
    return path
