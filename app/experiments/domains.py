"""One network for digits, hearts and hippocampi together, against one for each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from monai.data import list_data_collate
from rich.console import Console

from app.settings import keep_settings
from dirnet.fields.jacobian import folded_percent
from dirnet.fields.resampling import warp
from dirnet.files.pictures import save_picture
from dirnet.files.tables import write_csv
from dirnet.nets.losses import ncc
from dirnet.registrar import Registrar
from dirnet.training.volume_scores import mean_dice
from transforms.mnist import digit_stacks
from transforms.phantom import write_scd, write_volumes
from transforms.volume_records import read_volume_records

from . import figures, outputs, tables
from .domain_data import DOMAINS, pairs_of_test
from .machine import machine
from .methods import METHODS, OVERLAYS, Method
from .report import Section
from .table1 import check_data
from .workplace import Workplace

__all__ = ["run"]

BEFORE = METHODS["before"]
TITLES = {
    "mnist": "network of MNIST",
    "cine": "network of cines",
    "hippocampus": "network of hippocampi",
    "joint": "joint network",
    "joint_3x": "joint network, 3 times the iterations",
}
HEADINGS = {"mnist": "MNIST", "cine": "Cine", "hippocampus": "Hippocampus"}
OVERVIEW = (
    "Mean over the test registrations of each domain: NCC for MNIST, Dice of the lumen, mean Dice of the structures."
)
BATCH = 25

INTRODUCTION = """A network for each of three domains, and one for all: pairs of two images of one digit (MNIST, ten \
digits), of two phases of a cine slice, and of two patients' sagittal slices of the hippocampus. All have the \
architecture, loss and learning-rate schedule of `train.json`, windows of 96 px, batches of 24 pairs and {iterations} \
iterations. A batch of the joint network has 8 pairs of each domain: at equal cost it sees a third of a domain's \
pairs. With 3 times the iterations, `--longer`, it sees as many. Each network keeps its best weights by validation \
loss, over 120 pairs of each of its domains."""
NOTES = {
    "mnist": "NCC of the warped image with the fixed one; digits are enlarged three times.",
    "cine": "Lumen, whole images, as `evaluate.json` scores them: HD95 is the larger of the directed ones.",
    "hippocampus": "Dice of each structure, and of both the mean; pixels of 0.5 mm, planes 0, 4 and 8 mm from the "
    "middle. A structure that one of the images lacks is not scored.",
}
SPREAD = "Mean ± standard deviation, test split. Folded: pixels whose Jacobian determinant is not positive."
TESTS = (
    "Wilcoxon's signed-rank test, two-sided; differences are means of the joint network minus the domain's own. Over "
    "the registrations, which are not independent, and over the means of the patients, of the hippocampus the fixed "
    "one, of MNIST the digits."
)

console = Console()


def run(
    dataset_dir: str | None,
    mnist_dir: str | None,
    hippocampus_dir: str | None,
    output_dir: Path,
    iterations: int,
    longer: bool,
    seed: int,
) -> None:
    """Train what is not trained yet, register the test splits by each network, and write tables and a picture.

    Args:
        dataset_dir: cines, as the bundle's configs take them; without, the phantom is made.
        mnist_dir: folder of MNIST's files; without, scikit-learn's small digits.
        hippocampus_dir: volumes, folder or datalist; without, phantoms are made.
        output_dir: where all goes; what is finished there is kept.
        iterations: of each training except the longer one.
        longer: whether a joint network with three times the iterations is a row too.
        seed: of each training, and of the pairs.

    Raises:
        FileNotFoundError, ValueError: when the data are not as expected.
        ValueError: when ``output_dir`` holds an experiment with other settings.
    """
    given = {"mnist": mnist_dir, "cine": dataset_dir, "hippocampus": hippocampus_dir}
    made = {"cine": output_dir / "phantom", "hippocampus": output_dir / "phantom volumes" / "datalist.json"}
    folders = {name: str(Path(path).resolve()) if path else None for name, path in given.items()}
    folders |= {name: str(path.resolve()) for name, path in made.items() if not given[name]}
    digit_stacks(mnist_dir, 0)  # before anything is written
    if dataset_dir:
        check_data(str(folders["cine"]))
    if hippocampus_dir:
        read_volume_records(hippocampus_dir, "")
    keep_settings(output_dir, {"folders": folders, "iterations": iterations, "seed": seed})
    if not dataset_dir and not made["cine"].is_dir():
        write_scd(made["cine"])
    if not hippocampus_dir and not made["hippocampus"].is_file():
        write_volumes(made["hippocampus"].parent)

    place = Workplace(output_dir, str(folders["cine"]), iterations, seed)
    networks = _networks(folders, iterations)[: None if longer else -1]
    for network in networks:
        if place.is_trained(network):
            console.print(f"{network.title}: trained before, kept")
            continue
        console.rule(f"{network.title}: training")
        place.train(network)
    named = {"dataset_dir": dataset_dir, "mnist_dir": mnist_dir, "hippocampus_dir": hippocampus_dir}
    options = [f"--{name} {Path(path).name}" for name, path in named.items() if path]
    options += [f"--iterations {iterations} --seed {seed}", *(["--longer"] if longer else [])]
    about = {"command": f"python -m app.experiments domains {' '.join(options)}", **machine()}
    _write(place, networks, folders, about)


def _networks(folders: Mapping[str, str | None], iterations: int) -> list[Method]:
    data = {f"{name}_dir": folders[name] for name in ("mnist", "hippocampus") if folders[name]}  # MONAI drops None
    options = {domain: {"domains": [domain]} for domain in DOMAINS}
    options |= {"joint": {}, "joint_3x": {"iterations": 3 * iterations}}
    return [
        Method(name, TITLES[name], OVERLAYS / "domains.json", options={**data, **own}) for name, own in options.items()
    ]


def _write(
    place: Workplace, networks: Sequence[Method], folders: Mapping[str, str | None], about: Mapping[str, Any]
) -> None:
    """Register by each network, and write the results."""
    pairs = {name: pairs_of_test(name, folders[name], place.seed) for name in ("mnist", "hippocampus")}
    rows = [BEFORE, *networks]
    found = {domain: _registrations(domain, pairs.get(domain), place, rows) for domain in DOMAINS}
    measures = {
        "mnist": {"ncc": ("NCC", 3)},
        "cine": {name: tables.MEASURES[name] for name in ("dice", "hd95", "mad")},
        "hippocampus": {
            "dice": ("Dice, mean", 3),
            **{f"{name}_dice": (f"Dice, {name}", 3) for name in pairs["hippocampus"][0]["structures"]},
        },
    }
    titles = {method.name: method.title for method in rows}
    overview = pd.DataFrame(index=pd.Index(titles.values(), name="registration"))
    sections, summaries, tests = [], {}, {}
    for domain, table in found.items():
        scored = table[~table["missing"]]
        shown = {**measures[domain], "folded_percent": tables.MEASURES["folded_percent"]}
        groups = scored.groupby("method", sort=False)[list(shown)]
        mean, spread = groups.mean(), groups.std(ddof=0)
        summaries[domain] = pd.concat({"mean": mean, "sd": spread}, names=["statistic"])
        first, (name, digits) = next(iter(shown.items()))
        overview[f"{HEADINGS[domain]}, {name}"] = [
            f"{value:.{digits}f}{', own' if method == domain else ''}" for method, value in mean[first].items()
        ]
        heading = f"{HEADINGS[domain]}: {len(scored) // len(rows)} registrations scored"
        sections.append(Section(heading, _table(mean, spread, shown, titles), f"{NOTES[domain]} {SPREAD}"))
        compared = tables.compare(table, [domain], tested=list(measures[domain]))
        tests[domain] = compared[compared["method"].str.startswith("joint")]
    sections.insert(0, Section("Every network on every domain", overview, OVERVIEW))
    sections.append(Section("Joint against own: paired tests", _tests_table(tests, measures), TESTS))

    folder = place.output_dir
    for name, parts in (("registrations", found), ("domains", summaries), ("tests", tests)):
        table = pd.concat(parts, names=["domain"]).reset_index()
        write_csv(folder / f"{name}.csv", table.drop(columns=[key for key in table if key.startswith("level_")]))
    introduction = INTRODUCTION.format(iterations=f"{place.iterations:,}")
    outputs.write_markdown(folder / "domains.md", "One network across domains", introduction, sections, about)
    by_name = {network.name: network for network in networks}
    cases = [
        _case(domain, found[domain], next(iter(measures[domain])), pairs.get(domain), place, by_name)
        for domain in DOMAINS
    ]
    save_picture(figures.comparison(cases, 96), folder / "figures" / "domains.png", 150)
    console.print(f"results: {folder / 'domains.md'}")


def _registrations(
    domain: str, pairs: Sequence[Mapping[str, Any]] | None, place: Workplace, rows: Sequence[Method]
) -> pd.DataFrame:
    """A domain's test registrations by each method, a row each: of given pairs, or as ``evaluate.json`` has them."""
    parts = []
    for method in rows:
        console.print(f"{HEADINGS[domain]}: {method.title}")
        scores = _cine_scores(place, method) if pairs is None else _score(pairs, _registrar(place, method))
        parts.append(scores.assign(method=method.name))
    return pd.concat(parts, ignore_index=True)


def _registrar(place: Workplace, method: Method) -> Registrar | None:
    return Registrar.load(place.training_dir(method) / "model.pt") if method.trained else None


def _batches(pairs: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for start in range(0, len(pairs), BATCH):
        yield list_data_collate(list(pairs[start : start + BATCH]))


def _displacement(batch: Mapping[str, Any], registrar: Registrar | None) -> torch.Tensor:
    """The field of a batch, zero without a network."""
    pair = torch.cat([batch["moving"], batch["fixed"]], 1)
    return torch.zeros_like(pair) if registrar is None else registrar.displacement(pair).ddf


def _score(pairs: Sequence[Mapping[str, Any]], registrar: Registrar | None) -> pd.DataFrame:
    """A row a pair: likeness, folds, and Dice of each structure, nan where one of the two images lacks it."""
    parts = []
    for batch in _batches(pairs):
        ddf = _displacement(batch, registrar)
        masks = {"fixed_masks": batch["fixed_masks"], "moving_masks": batch["moving_masks"]}
        warped = warp(masks["moving_masks"].float(), ddf) > 0.5
        columns = {"ncc": ncc(warp(batch["moving"], ddf), batch["fixed"]), "folded_percent": folded_percent(ddf)}
        columns["dice"] = mean_dice({"label": masks, "pred": {"warped_masks": warped}})
        for number, name in enumerate(pairs[0].get("structures", [])):
            one = slice(number, number + 1)
            label = {role: mask[:, one] for role, mask in masks.items()}
            columns[f"{name}_dice"] = mean_dice({"label": label, "pred": {"warped_masks": warped[:, one]}})
        names = {key: list(map(str, batch[key])) for key in ("patient", "direction")}
        places = {"slice": [int(place) for place in batch["slice"]]}
        parts.append(pd.DataFrame({**names, **places, **{key: value.numpy() for key, value in columns.items()}}))
    table = pd.concat(parts, ignore_index=True)
    return table.assign(missing=table["dice"].isna())


def _cine_scores(place: Workplace, method: Method) -> pd.DataFrame:
    if not place.is_evaluated(method, "test"):
        place.evaluate(method, "test")
    table = pd.read_csv(place.evaluation_dir(method, "test") / "registrations.csv")
    names = {f"{name}_after": name for name in ("dice", "hd95", "mad", "ncc")}
    columns = ["patient", "direction", "slice", *names, "folded_percent", "missing"]
    return table[columns].rename(columns=names)


def _table(
    mean: pd.DataFrame, spread: pd.DataFrame, shown: Mapping[str, tuple[str, int]], titles: Mapping[str, str]
) -> pd.DataFrame:
    """Means and standard deviations to read."""
    table = pd.DataFrame(index=pd.Index([titles[name] for name in mean.index], name="registration"))
    for measure, (heading, digits) in shown.items():
        table[heading] = tables.spread_texts(mean[measure], spread[measure], digits)
    return table


def _tests_table(
    tests: Mapping[str, pd.DataFrame], measures: Mapping[str, Mapping[str, tuple[str, int]]]
) -> pd.DataFrame:
    rows = {}
    for domain, found in tests.items():
        for _, test in found.iterrows():
            heading, digits = measures[domain][test["measure"]]
            rows[f"{HEADINGS[domain]}, {heading}: {TITLES[test['method']]}"] = {
                "registrations": str(test["registrations"]),
                "difference": f"{test['difference']:+.{digits}f}",
                "better, %": f"{test['better']:.0f}",
                "p, registrations": tables.p_text(test["p"]),
                "p, patients": tables.p_text(test["p_patients"]),
            }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("measure")


def _case(
    domain: str,
    table: pd.DataFrame,
    measure: str,
    pairs: Sequence[Mapping[str, Any]] | None,
    place: Workplace,
    networks: Mapping[str, Method],
) -> dict[str, Any]:
    """The test pair of median score by the joint network, as :func:`app.experiments.figures.comparison` takes it, by
    the domain's own network and the joint one."""
    joint = table[table["method"] == "joint"].reset_index(drop=True)
    scores = joint[measure].dropna().sort_values(kind="stable")
    index = int(scores.index[len(scores) // 2])
    title = f"{HEADINGS[domain]}\n{joint.loc[index, 'patient']}"
    case: dict[str, Any] = {"title": title, "warped": {}, "warped_lumen": {}}
    for name, network in (("domain's own network", networks[domain]), ("joint network", networks["joint"])):
        if pairs is None:
            found = place.register(network, "test", [index])[0]
            images = {role: found[role] for role in ("moving", "fixed", "warped")}
            lumens = {role: found[f"{role}_masks"][0] for role in images}
        else:
            images, lumens = _pictures(pairs[index], _registrar(place, network))
        case |= {role: images[role] for role in ("moving", "fixed")}
        case |= {f"{role}_lumen": lumens[role] for role in ("moving", "fixed")}
        case["warped"][name], case["warped_lumen"][name] = images["warped"], lumens["warped"]
    return case


def _pictures(
    pair: Mapping[str, Any], registrar: Registrar | None
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """A pair's images (H, W) and its lumens, by role."""
    batch = list_data_collate([pair])
    ddf = _displacement(batch, registrar)
    images = {"moving": batch["moving"], "fixed": batch["fixed"], "warped": warp(batch["moving"], ddf)}
    lumens = {role: batch[f"{role}_lumen"] for role in ("moving", "fixed")}
    lumens["warped"] = warp(batch["moving_lumen"].float(), ddf) > 0.5
    shown = [{role: part[0, 0].numpy() for role, part in parts.items()} for parts in (images, lumens)]
    return shown[0], shown[1]
