"""One network across domains in small: scikit-learn's digits and phantoms."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from app.experiments import domain_data, domains
from app.experiments.__main__ import app
from app.experiments.domain_data import DOMAINS, MixedPairDataset, validation_pairs
from dirnet.errors import InputError

NETWORKS = ["before", *DOMAINS, "joint", "joint_3x"]


@pytest.fixture(scope="module")
def small():
    """Windows of 32 px, and few pairs."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"SIDE": 32, "ENLARGED": 1, "PIXEL": 1.5, "REACH": 8, "VALIDATION_PAIRS": 6}.items():
            patch.setattr(domain_data, name, value)
        patch.setattr(domain_data, "DIGIT_PAIRS", {"validation": 1, "test": 3})
        patch.setattr(domain_data, "PLANE_PAIRS", {"validation": 2, "test": 2})
        yield patch


@pytest.fixture(scope="module")
def experiment(small, phantom_dir, tmp_path_factory):
    folder = tmp_path_factory.mktemp("domains")
    for name in ("MNIST_DIR", "HIPPOCAMPUS_DIR"):
        small.delenv(name, raising=False)
    small.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    options = f"--iterations 20 --longer --output_dir {folder / 'out'} --dataset_dir {phantom_dir}"
    arguments = ["domains", *options.split()]
    app(arguments, standalone_mode=False)
    return folder / "out", arguments


def test_every_network_registers_every_domain(experiment):
    folder, _ = experiment
    rows = pd.read_csv(folder / "registrations.csv")
    counts = rows.groupby(["domain", "method"]).size().unstack()
    assert counts.loc["mnist", NETWORKS].tolist() == [30] * 6
    assert counts.loc["cine", NETWORKS].tolist() == [4] * 6
    assert counts.loc["hippocampus", NETWORKS].tolist() == [2 * 3] * 6
    means = rows.groupby(["domain", "method"])[["ncc", "dice"]].mean()
    assert means.loc[("cine", "cine"), "ncc"] > means.loc[("cine", "before"), "ncc"]  # after 20 iterations
    for domain in DOMAINS:
        assert means.loc[(domain, "joint_3x"), "ncc"] > means.loc[(domain, "before"), "ncc"]
    written = pd.read_csv(folder / "domains.csv").set_index(["domain", "method", "statistic"])
    assert written.loc[("cine", "joint", "mean"), "dice"] == pytest.approx(means.loc[("cine", "joint"), "dice"])
    page = (folder / "domains.md").read_text(encoding="utf-8")
    own = next(line for line in page.splitlines() if line.startswith("| network of cines | "))  # of the first table
    assert f"{means.loc[('cine', 'cine'), 'dice']:.3f}, own" in own
    assert (folder / "figures" / "domains.png").is_file()


def test_no_registration_leaves_the_images(experiment, phantom_dir):
    folder, _ = experiment
    rows = pd.read_csv(folder / "registrations.csv")
    before = rows[(rows["domain"] == "mnist") & (rows["method"] == "before")]
    pairs = domain_data.pairs_of_test("mnist", None, 0)
    fixed, moving = (torch.stack([pair[role] for pair in pairs]).flatten(1) for role in ("fixed", "moving"))
    expected = [torch.corrcoef(torch.stack(pair))[0, 1].item() for pair in zip(fixed, moving, strict=True)]
    assert before["ncc"].tolist() == pytest.approx(expected, abs=1e-4)
    assert not before["folded_percent"].any()


def test_the_networks_saw_what_they_are_named_after(experiment):
    folder, _ = experiment
    settings = pd.concat(
        {name: pd.read_json(folder / "training" / name / "settings.json", typ="series") for name in NETWORKS[1:]},
        axis=1,
    )
    assert settings.loc["domains"].tolist() == [*([domain] for domain in DOMAINS), list(DOMAINS), list(DOMAINS)]
    assert settings.loc["iterations"].tolist() == [20, 20, 20, 20, 60]


def test_finished_trainings_are_kept(experiment, capsys):
    _, arguments = experiment
    app(arguments, standalone_mode=False)
    assert capsys.readouterr().out.count("trained before, kept") == 5
    with pytest.raises(InputError, match=r"iterations 20 \(now 30\)"):
        app([*arguments, "--iterations", "30"], standalone_mode=False)


def flat(value):
    return [{"image": torch.full((4, 32, 32), value, dtype=torch.float16)} for _ in range(3)]


def test_a_batch_has_equal_parts_of_each_domain(small):
    stacks = {domain: flat(number / 4) for number, domain in enumerate(DOMAINS)}
    mixed = MixedPairDataset(stacks, 6, 10, 0)
    batch = mixed[4]
    assert len(mixed) == 10
    for role in ("moving", "fixed"):
        assert batch[role].amax((1, 2, 3)).tolist() == [0, 0, 0.25, 0.25, 0.5, 0.5]
    with pytest.raises(InputError, match="batch_size: expected a multiple of 3"):
        MixedPairDataset(stacks, 7, 10, 0)


def test_a_domain_has_a_name():
    with pytest.raises(InputError, match="domains: expected some of mnist, cine, hippocampus, got 'brain'"):
        validation_pairs(["brain"], {}, 0)


def test_data_are_refused_before_anything_is_written(tmp_path, phantom_dir):
    with pytest.raises(FileNotFoundError, match="no_such_folder"):
        domains.run(str(phantom_dir), None, str(tmp_path / "no_such_folder"), tmp_path / "out", 10, False, 0)
    assert not (tmp_path / "out").exists()
