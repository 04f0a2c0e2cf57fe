"""The rules of the house: which part may import which, and no circles."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {"dirnet": ROOT / "bundles/dirnet/dirnet", "transforms": ROOT / "transforms", "app": ROOT / "app"}
FILE_LIBRARIES = {"SimpleITK", "nibabel", "pydicom", "pandas", "matplotlib", "PIL"}

FORBIDDEN = [  # who, what it may not import at module level or in a function
    ("dirnet.nets", FILE_LIBRARIES | {"dirnet.training", "dirnet.cine", "dirnet.registrar"}),
    ("dirnet.fields", FILE_LIBRARIES | {"dirnet.nets", "dirnet.files", "dirnet.training", "dirnet.registrar"}),
    ("dirnet.speed", FILE_LIBRARIES | {"dirnet.nets", "dirnet.fields", "dirnet.files", "dirnet.training"}),
    ("dirnet.files", {"dirnet.nets", "dirnet.registrar", "dirnet.training", "dirnet.cine"}),
    ("dirnet.cine", {"dirnet.nets", "dirnet.training"}),
    ("dirnet.registrar", {"dirnet.training", "dirnet.cine"}),
    ("dirnet", {"app"}),
    ("transforms", {"dirnet", "app"}),
]


def modules():
    for package, folder in PACKAGES.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            yield ".".join((package, *(part for part in parts if part != "__init__"))), path


PATHS = dict(modules())


def imported(name, path, everywhere):
    """What a module imports: at module level, or everywhere but for type checkers alone."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    nodes = list(ast.parse(path.read_text(encoding="utf-8")).body)
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            nodes += node.orelse
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            base = ".".join(parts[: len(parts) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, (base, node.module)))
            for alias in node.names:
                submodule = f"{module}.{alias.name}"
                yield submodule if submodule in PATHS else module
        elif everywhere or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            nodes += ast.iter_child_nodes(node)


@pytest.mark.parametrize(("part", "forbidden"), FORBIDDEN, ids=[part for part, _ in FORBIDDEN])
def test_what_a_part_may_not_import(part, forbidden):
    wrong = [
        f"{name} imports {found}"
        for name, path in PATHS.items()
        if name == part or name.startswith(f"{part}.")
        for found in imported(name, path, everywhere=True)
        if any(found == other or found.startswith(f"{other}.") for other in forbidden)
    ]
    assert not wrong


def test_only_configs_and_app_use_the_training():
    users = {
        name
        for name, path in PATHS.items()
        for found in imported(name, path, everywhere=True)
        if found.startswith("dirnet.training")
    }
    assert {name for name in users if not name.startswith(("dirnet.training", "app."))} == set()


def test_no_circle_at_run_time():
    graph = {name: {f for f in imported(name, path, everywhere=False) if f in PATHS} for name, path in PATHS.items()}
    done, circles = set(), []

    def visit(name, way):
        if name in way:
            circles.append([*way[way.index(name) :], name])
        elif name not in done:
            for other in sorted(graph[name] - {name}):
                visit(other, [*way, name])
            done.add(name)

    for name in graph:
        visit(name, [])
    assert circles == []


def test_the_front_door():
    import dirnet

    for name in dirnet.__all__:
        assert getattr(dirnet, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'Registrars'"):
        dirnet.Registrars  # noqa: B018
