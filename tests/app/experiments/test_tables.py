from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import wilcoxon

from app.experiments.tables import compare, markdown, summarise, table1


@pytest.fixture
def registrations():
    """Four patients of five registrations by two methods, of which "b" is better by 0.1; one not scored, one lost."""
    rows = []
    for method, gain in (("a", 0.0), ("b", 0.1)):
        for number in range(20):
            score = 0.5 + 0.01 * number + gain * (1 + 0.01 * number)
            row = {"method": method, "patient": f"P{number // 5}", "slice": number, "direction": "ED-ES"}
            row |= {"dice": score, "hd95": 10 * (1 - score), "hd95_pooled": 9 * (1 - score), "mad": 5 * (1 - score)}
            row |= {"folded_percent": 0.0, "milliseconds": 100.0 if method == "a" else 2.0, "lost": False}
            rows.append({**row, "missing": False})
    table = pd.DataFrame(rows)
    table.loc[table["slice"] == 0, ["missing", "dice", "hd95", "hd95_pooled", "mad"]] = [True, *[np.nan] * 4]
    table.loc[(table["slice"] == 1) & (table["method"] == "a"), ["lost", "hd95", "hd95_pooled", "mad"]] = [
        True,
        *[np.nan] * 3,
    ]
    return table


def test_means_leave_out_what_is_missing(registrations):
    summary = summarise(registrations)
    scored = registrations[(registrations["method"] == "a") & (registrations["slice"] > 0)]
    assert summary.loc["a", ["registrations", "lost"]].tolist() == [19, 1]
    assert summary.loc["a", "dice_mean"] == pytest.approx(scored["dice"].mean())
    assert summary.loc["a", "dice_sd"] == pytest.approx(np.std(scored["dice"]))
    assert summary.loc["a", "mad_mean"] == pytest.approx(scored["mad"].dropna().mean())


def test_methods_are_paired_by_registration(registrations):
    shuffled = registrations.sample(frac=1, random_state=0)
    tests = compare(shuffled, ["a"]).set_index("measure")
    assert tests.loc["dice", "registrations"] == 19
    assert tests.loc["hd95", "registrations"] == 18  # one has no distance by "a"
    assert tests.loc["dice", "better"] == 100 == tests.loc["mad", "better"]
    difference = 0.1 * (1 + 0.01 * np.arange(1, 20))
    assert tests.loc["dice", "difference"] == pytest.approx(difference.mean())
    assert tests.loc["dice", "p"] == pytest.approx(wilcoxon(difference).pvalue)
    assert tests.loc["dice", "p_patients"] == pytest.approx(2 / 2**4)  # four patients, all better: the least there is


def test_no_difference_has_no_p(registrations):
    same = pd.concat([registrations[registrations["method"] == "a"].assign(method=name) for name in "ab"])
    assert compare(same, ["a"])[["p", "p_patients"]].isna().all(axis=None)


def test_table_to_read(registrations):
    registrations["method"] = registrations["method"].map({"a": "elastix", "b": "bl"})
    text = markdown(table1(summarise(registrations), {"elastix": "elastix", "bl": "BL"}))
    lines = text.splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("| registration | Dice |")
    assert lines[0].endswith("| time, ms | times faster than elastix |")
    scored = registrations[(registrations["method"] == "bl") & (registrations["slice"] > 0)]["dice"]
    assert lines[3].startswith(f"| BL | {scored.mean():.3f} ± {np.std(scored):.3f} |")
    assert lines[3].endswith("| 2.0 | 50 |")


def test_of_other_measures_more_is_better(registrations):
    likeness = registrations.rename(columns={"dice": "ncc"})
    (test,) = compare(likeness, ["a"], tested=["ncc"]).to_dict("records")
    assert (test["measure"], test["better"]) == ("ncc", 100)
    assert test["difference"] == pytest.approx(0.1 * (1 + 0.01 * np.arange(1, 20)).mean())
