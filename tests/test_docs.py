"""The documentation's own Python, run as it stands."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dirnet import trust
from transforms.cine_files import read_cine_stack

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "bundles" / "dirnet" / "docs"
PAGES = [
    ROOT / "README.md",
    DOCS / "register.md",
    DOCS / "structures.md",
    DOCS / "report.md",
    DOCS / "itk.md",
    DOCS / "similarities.md",
]  # Python is run


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_the_python_of_a_page_runs(page, phantom_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cines").mkdir()
    for number, series in enumerate(sorted(phantom_dir.glob("SCD_IMAGES_0*/*/*"))):
        shutil.copytree(series, tmp_path / "cines" / f"patient {number}")
    files = read_cine_stack(tmp_path / "cines" / "patient 0").files[0]
    shutil.copy(files[0], "ed.dcm")
    shutil.copy(files[7], "es.dcm")
    if page.name == "itk.md":
        from dirnet.registrar import Registrar

        Registrar.load().register("es.dcm", "ed.dcm").save("results", "es_to_ed", formats=["nifti", "itk", "numpy"])
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert blocks
    names: dict = {}
    for block in blocks:
        exec(compile(block, page.name, "exec"), names)


def test_the_page_of_a_network_of_ones_own_runs(phantom_dir, tmp_path):
    """Its files under their names, and its commands in small."""
    page = (DOCS / "own_network.md").read_text(encoding="utf-8")
    files = dict(re.findall(r"^`(\w+\.\w+)`:\n\n```\w+\n(.*?)^```", page, re.MULTILINE | re.DOTALL))
    assert set(files) == {"own_network.py", "own_network.json", "own_imports.json", "use_own.py"}
    for name, content in files.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    cine = read_cine_stack(next(phantom_dir.glob("SCD_IMAGES_01/*/*")))
    for name, frame in (("ed", 0), ("es", 7)):
        shutil.copy(cine.files[0][frame], tmp_path / f"{name}.dcm")
    training, evaluation = re.findall(r"^```bash\n(python .*?)^```", page, re.MULTILINE | re.DOTALL)
    data = f"--dataset_dir {phantom_dir} --cache_dir {tmp_path / 'cache'}"
    small = "--iterations 30 --batch_size 4 --spatial_size [48,64] --crop_size [48,48] --learning_rate 0.01"
    commands = [f"{training.strip()} {data} {small}", f"{evaluation.strip()} {data}", "python use_own.py"]
    path = os.pathsep.join(["", *(str(Path(part).resolve()) for part in sys.path if part)])
    for command in commands:
        parts = shlex.split(command.replace("bundles/dirnet", str(DOCS.parent)))
        result = subprocess.run(
            [sys.executable, *parts[1:]],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert result.returncode == 0, result.stderr[-3000:]
    assert re.fullmatch(r"0\.\d+ \(2, 48, 64\)", result.stdout.strip().splitlines()[-1])
    summary = json.loads((tmp_path / "runs" / "own_evaluated" / "summary.json").read_text())
    assert summary["network"] == {"channels": 16}
    losses = EventAccumulator(str(tmp_path / "runs" / "own" / "events")).Reload().Scalars("train_similarity_loss")
    assert 0 < losses[-1].value < losses[0].value  # absolute differences, not NCC


def test_every_form_that_is_read_has_its_test():
    named = re.findall(r"`((?:transforms|dirnet)/\S+\.py)::(test_\w+)`", (DOCS / "data.md").read_text(encoding="utf-8"))
    assert len(named) > 40
    for file, test in named:
        assert f"\ndef {test}(" in (ROOT / "tests" / file).read_text(encoding="utf-8"), f"{file}::{test}"


def test_the_links_of_the_pages_lead_somewhere():
    for page in [ROOT / "README.md", *DOCS.rglob("*.md")]:
        for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if "://" not in link:
                assert (page.parent / link).exists(), f"{page.name}: {link}"


def table_rows(page: Path) -> dict[str, list[str]]:
    """The rows of a page's tables: cells by the text of the first one, without bold."""
    rows = {}
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("| "):
            name, *cells = [cell.strip().replace("**", "") for cell in line.strip().strip("|").split("|")]
            rows.setdefault(name, cells)
    return rows


def measured(method: str, split: str, *columns: str) -> list[str]:
    """What the experiment found, as its table prints it."""
    found = pd.read_csv(DOCS / "results" / "table1" / "table1.csv").set_index(["method", "split"]).loc[(method, split)]
    digits = {"dice": 3, "hd95": 2, "hd95_pooled": 2, "mad": 2, "folded_percent": 4}
    return [
        f"{found[f'{name}_mean']:.{digits[name]}f} ± {found[f'{name}_sd']:.{digits[name]}f}" for name in columns
    ] + [f"{found['milliseconds_median']:.1f}"]


@pytest.mark.parametrize(
    ("row", "method"),
    [
        ("no registration", "before"),
        ("elastix, as in the paper", "elastix"),
        ("elastix, tuned", "elastix_tuned"),
        ("`unsupervised`", "fine"),
    ],
)
def test_the_rows_of_the_readme_are_those_of_the_experiment(row, method):
    *scores, folded, time = table_rows(ROOT / "README.md")[row]
    expected = measured(method, "test", "dice", "hd95", "mad", "folded_percent")
    assert scores == expected[:3]
    assert folded == expected[3].split(" ± ")[0]
    assert time == ("" if method == "before" else expected[4])


@pytest.mark.parametrize(
    ("row", "method", "split"),
    [
        ("test split, 264 registrations of 15 patients, none", "before", "test"),
        ("test split, this network", "fine", "test"),
        ("validation split, 244 of 248 of 14 patients, none", "before", "validation"),
        ("validation split, this network", "fine", "validation"),
    ],
)
def test_the_scores_of_the_model_card_are_those_of_the_experiment(row, method, split):
    columns = ["dice", "hd95", "hd95_pooled", "mad", "folded_percent"]
    assert table_rows(DOCS / "README.md")[row] == measured(method, split, *columns)[:5]


def test_the_groups_of_the_model_card_are_those_of_the_experiment():
    found = pd.read_csv(DOCS / "results" / "table1" / "registrations.csv")
    found = found[(found["method"] == "fine") & (found["split"] == "test")]
    assert found["pathology"].nunique() == 4
    for group, of_group in found.groupby("pathology"):
        mean, sd = of_group.mean(numeric_only=True), of_group.std(numeric_only=True, ddof=0)
        expected = [str(len(of_group)), f"{mean['dice_before']:.3f}", f"{mean['dice']:.3f} ± {sd['dice']:.3f}"]
        expected += [f"{mean[name]:.2f} ± {sd[name]:.2f}" for name in ["hd95", "mad"]]
        assert table_rows(DOCS / "README.md")[group] == expected


def test_the_scores_of_contours_are_those_of_its_evaluation():
    found = pd.read_csv(DOCS / "results" / "contours" / "registrations.csv")
    fractions = pd.read_csv(DOCS / "results" / "contours" / "patients.csv")
    digits = {"dice": 3, "hd95": 2, "hd95_pooled": 2, "mad": 2}

    def cells(rows: pd.DataFrame, *columns: str) -> list[str]:
        scores = [(rows[f"{name}_after"], digits[name]) for name in columns]
        return [f"{score.mean():.{places}f} ± {score.std(ddof=0):.{places}f}" for score, places in scores]

    assert len(found) == 264
    assert table_rows(ROOT / "README.md")["`contours`, the default"][:3] == cells(found, "dice", "hd95", "mad")
    card = table_rows(DOCS / "README.md")
    assert card["test split, `contours`"][:4] == cells(found, "dice", "hd95", "hd95_pooled", "mad")
    text = (DOCS / "README.md").read_text(encoding="utf-8")
    section = text[text.index("| `contours`, group, test split |") :]
    for group, of_group in found.groupby("pathology"):
        expected = [str(group), str(len(of_group)), *cells(of_group, "dice", "hd95", "mad")]
        assert f"| {' | '.join(expected)} |" in section
    for name in ("ef", "strain"):
        found = fractions[f"{name}_difference"]
        expected = f"{found.mean():+.1f} points, SD {found.std():.1f}, mean absolute error {found.abs().mean():.1f}"
        assert f"{expected}, worst {found.abs().max():.1f}" in text
    error = fractions["ef_difference"]
    assert f"by {error.abs().mean():.1f} points on average (bias" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_cross_validation_and_the_estimate_fitted_to_it():
    folder = DOCS / "results" / "cross_validation"
    found, patients = (pd.read_csv(folder / f"{name}.csv") for name in ("registrations", "patients"))
    scored = found[~found["missing"]]
    assert patients["patient"].nunique() == len(patients) == 29
    rows = table_rows(DOCS / "README.md")
    parts = {f"fold {fold}": (scored["fold"] == fold, patients["fold"] == fold) for fold in range(5)}
    for name, (which, whose) in {**parts, "all folds": (scored["fold"] >= 0, patients["fold"] >= 0)}.items():
        means, of = scored[which].mean(numeric_only=True), patients[whose]
        expected = [str(len(of)), f"{means['dice_after']:.3f}", f"{means['hd95_after']:.2f}"]
        expected += [f"{means['mad_after']:.2f}", f"{means['folded_percent']:.4f}"]
        for measure in ("ef", "strain"):
            difference = of[f"{measure}_difference"]
            expected.append(f"{difference.mean():+.1f}, {difference.abs().mean():.1f}".replace("-", "−"))
        assert rows[name] == expected
    terms = np.stack([np.ones(len(scored)), scored["mirrored_difference"], scored["inverse_side"]], 1)
    fit = np.linalg.lstsq(terms, scored["dice_after"], rcond=None)[0]
    np.testing.assert_allclose([trust.CONSTANT, trust.BY_DIFFERENCE, trust.BY_SIZE], fit, atol=2e-4)
