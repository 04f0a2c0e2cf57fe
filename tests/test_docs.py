"""The documentation's own Python, run as it stands."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from transforms.cine_files import read_cine_stack

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "bundles" / "dirnet" / "docs"


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("page", [DOCS / "register.md", DOCS / "itk.md", DOCS / "train.md"], ids=lambda path: path.name)
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


def test_the_links_of_the_pages_lead_somewhere():
    for page in [ROOT / "README.md", *DOCS.rglob("*.md")]:
        for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if "://" not in link:
                assert (page.parent / link).exists(), f"{page.name}: {link}"
