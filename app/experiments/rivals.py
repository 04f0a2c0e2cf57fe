"""What ``compare`` compares with weights: registrations by others, in 2-D and in 3-D; light, for the command's help."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dirnet.errors import InputError
from dirnet.models import SHIPPED, weights_file

__all__ = ["RIVALS", "Row", "chosen_rows"]

PEERS = "app.experiments.peers."
DENSE = "app.experiments.dense_peers."


@dataclass(frozen=True)
class Row:
    """A row of the comparison.

    Args:
        name: on the command line and in file names.
        title: in tables and figures.
        inferer: by the number of dimensions in which there is one, its class and options.
        needs: a library beside the project's own.
        weights: a checkpoint, of a network rather than an inferer.
    """

    name: str
    title: str
    inferer: dict[int, dict[str, Any]] = field(default_factory=dict)
    needs: str | None = None
    weights: Path | None = None


def _class(name: str, **options: Any) -> dict[str, Any]:
    return {"_target_": name, **options}


RIVALS = {
    row.name: row
    for row in (
        Row("before", "no registration", dict.fromkeys((2, 3), _class(PEERS + "IdentityInferer"))),
        Row("elastix_affine", "elastix, affine", {3: _class(PEERS + "ElastixDefaultInferer", stages=["affine"])}),
        Row(
            "elastix",
            "elastix, default parameters",
            {
                2: _class(PEERS + "ElastixDefaultInferer", stages=["bspline"]),
                3: _class(PEERS + "ElastixDefaultInferer", stages=["affine", "bspline"]),
            },
        ),
        Row(
            "elastix_tuned",
            "elastix, tuned",
            {
                2: _class(
                    PEERS + "ElastixInferer",
                    grid_spacing=10,
                    resolutions=3,
                    iterations=200,
                    samples=4096,
                    downsample=False,
                    bending_energy=1,
                ),
                3: _class(
                    PEERS + "ElastixInferer",
                    grid_spacing=5,
                    resolutions=2,
                    iterations=150,
                    samples=2048,
                    downsample=False,
                    spatial_dims=3,
                    metric="AdvancedMattesMutualInformation",
                    affine=True,
                ),
            },
        ),
        Row(
            "syn",
            "SyN, DIPY",
            {2: _class(DENSE + "SynInferer", affine=False), 3: _class(DENSE + "SynInferer")},
            needs="dipy",
        ),
        Row(
            "greedy",
            "greedy",
            {2: _class(DENSE + "GreedyInferer", affine=False), 3: _class(DENSE + "GreedyInferer")},
            needs="picsl_greedy",
        ),
        Row(
            "demons",
            "diffeomorphic demons, SimpleITK",
            {2: _class(DENSE + "DemonsInferer", affine=False), 3: _class(DENSE + "DemonsInferer")},
        ),
        Row("farneback", "Farnebäck's flow", {2: _class(PEERS + "OpticalFlowInferer", method="farneback")}, "cv2"),
        Row("dis", "DIS flow", {2: _class(PEERS + "OpticalFlowInferer", method="dis")}, "cv2"),
    )
}


def chosen_rows(names: str, weights: Sequence[str], dims: int) -> tuple[list[Row], list[str]]:
    """Rows in the table's order, the weights' after "before"; and what is left out, with the reason.

    Args:
        names: of RIVALS, separated by commas.
        weights: each shipped weights' name, a file or a folder, or TITLE=FILE.
        dims: of the images.

    Raises:
        ValueError: when there is no such row, or two weights have one title.
        FileNotFoundError: when weights do not exist.
    """
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    if not wanted or not set(wanted) <= set(RIVALS):
        raise InputError(f"rows must be some of {','.join(RIVALS)}; got {names!r}")
    rows, left_out = [row for name, row in RIVALS.items() if name in wanted and dims in row.inferer], []
    for row in list(rows):
        if row.needs and find_spec(row.needs) is None:
            rows.remove(row)
            left_out.append(f"{row.title}: left out, {row.needs} is not installed")
    networks = [_network(text) for text in weights]
    names_given = [row.name for row in networks]
    if len(set(names_given)) < len(networks) or set(names_given) & set(RIVALS):
        raise InputError(f"weights: expected a title of its own for each, TITLE=FILE; got {', '.join(names_given)}")
    first = [row for row in rows if row.name == "before"]
    return [*first, *networks, *rows[len(first) :]], left_out


def _network(text: str) -> Row:
    title, _, file = text.rpartition("=")
    path = weights_file(file)
    if not title:
        trained = path.stem in ("model", "model_final")  # as a training calls them, in a folder of its own
        title = file if file in SHIPPED else path.resolve().parent.name if trained else path.stem
    name = "".join(letter if letter.isalnum() or letter in "-." else "_" for letter in title)
    return Row(name, title, weights=path)
