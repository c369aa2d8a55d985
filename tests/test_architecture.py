"""What may know what, read from the source: imports run one way, and each library has its place."""

import ast
import importlib.metadata
import itertools
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted([*ROOT.glob("fes/**/*.py"), *ROOT.glob("shards/**/*.py")])
BENCHES = sorted(ROOT.glob("bench/*.py"))

LAYERS = (
    {"telling", "expressions", "machine", "batch", "draws", "loading"},
    {"errors"},
    {"commandline", "files", "hardware"},
    {"config", "pictures", "report"},
    {"clock", "data", "model"},
    {"judge", "saved"},
    {"learning", "photographs"},
    {"runtime"},
    {"evaluation"},
    {"training"},
    {"train", "selfcheck", "bench"},
    {"cli"},
    {"__main__"},
)
"""The modules and packages of fes from the ground up; each imports from the layers below its own alone."""

ROOMS = (
    {"schema", "documents", "meter", "workers", "turning"},
    {"pictures", "catalogue", "tar_members"},
    {"drawing", "finding", "remote", "shelf"},
    {"index"},
    {"sources", "build", "show"},
    {"foreign"},
    {"checks"},
    {"builders"},
    {"cli"},
    {"__main__"},
)
"""The modules and packages of shards from the ground up; each imports from those below its own alone."""

FLOORS = {
    "fes/commandline": ({"advice", "ending", "helptexts", "misread"}, {"parsing"}),
    "fes/config": (
        {"model", "learning", "course", "running"},
        {"tree", "validity"},
        {"levels"},
        {"keys"},
    ),
    "fes/data": (
        {"mix", "order", "patience"},
        {"ahead", "mixture", "reading"},
        {"balance", "decoded"},
        {"stream"},
    ),
    "fes/model": ({"drawing", "edges", "piecewise"}, {"blocks"}, {"residual"}, {"networks"}, {"ema"}),
    "fes/saved": ({"beginning", "shipped", "snapshot", "state"}, {"growth"}),
    "fes/learning": (
        {"adaptive", "augment", "guide", "losses", "stages"},
        {"dials", "guided"},
        {"objectives"},
        {"players"},
    ),
    "fes/photographs": ({"framing", "metadata"}, {"photograph"}, {"synthesizer"}, {"synthesis"}),
    "fes/runtime": (
        {"links", "pulse", "precision", "stopping"},
        {"hub", "player", "launcher"},
        {"attempt", "heartbeat", "engine", "replayed"},
        {"processes"},
    ),
    "fes/judge": ({"augmentation", "confusion"}, {"network"}, {"training", "file"}, {"halfway"}),
    "fes/evaluation": (
        {"distances", "similarity", "identity", "probe", "score", "faces", "embedder", "inception", "best"},
        {"regions", "eigenfaces", "figures", "results"},
        {"readings"},
        {"evaluator"},
        {"command", "in_loop"},
    ),
    "fes/training": (
        {"arguments", "cast", "forewarning", "memory", "meters", "plan", "supply", "watch"},
        {"preview", "recorder", "trainer"},
    ),
    "fes/bench": ({"peak", "plot"}, {"measure"}, {"command"}),
    "fes/selfcheck": ({"verdict"}, {"comparison"}, {"command"}, {"__main__"}),
}
"""The modules of a package from the ground up; each imports from those below its own alone."""

PLACES = {
    "accelerate": {"fes/runtime/processes.py"},
    "deepspeed": {"fes/runtime/engine.py"},
    "torch.distributed": {
        f"fes/runtime/{name}.py" for name in ("processes", "engine", "heartbeat", "attempt")
    },
    "torch.nn.parallel": {"fes/runtime/player.py"},
    "webdataset": {"shards/foreign/tar.py"},
    "braceexpand": {"shards/foreign/files.py"},
    "rich": {"fes/report.py", "shards/show.py", "shards/meter.py"},
    "tensorboard": {"fes/report.py"},
    "torch.utils.tensorboard": {"fes/report.py"},
    "yaml": {"fes/config/tree.py", "fes/training/plan.py"},
    "onnxruntime": {"fes/evaluation/embedder.py"},
    "torch_fidelity": {"fes/evaluation/inception.py"},
    "simplejpeg": {"shards/pictures.py"},
    "cv2": {"shards/finding.py"},
    "h5py": {"shards/sources/matlab.py"},
    "pyarrow": {"shards/sources/parquet.py"},
    "fsspec": {"shards/remote/opener.py"},
}
"""Where alone a library may be used."""

MATHEMATICS = (
    "draws",
    "model.networks",
    "model.drawing",
    "model.ema",
    "learning.losses",
    "learning.objectives",
    "learning.augment",
    "learning.adaptive",
    "training.meters",
    "training.trainer",
)
NOT_MATHEMATICS = {
    "fes.runtime",
    "fes.report",
    "fes.saved.snapshot",
    "fes.saved.state",
    "fes.files",
    "fes.pictures",
    "PIL",
    "rich",
    "accelerate",
    "tyro",
}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def dotted(node: ast.expr) -> str:
    """`a.b.c` for an attribute of an attribute of a name; else what of it can be told."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def imports(path: Path) -> Iterator[str]:
    """Dotted names that a file imports, anywhere in it: `from a import b` gives `a` and `a.b`."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)} line {node.lineno} imports relatively"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def uses(path: Path) -> set[str]:
    """What a file imports, and the dotted names in its code."""
    names = {dotted(node) for node in ast.walk(tree_of(path)) if isinstance(node, ast.Attribute)}
    return names | set(imports(path))


def modules(path: Path, package: str) -> set[str]:
    """The modules and packages right below a package of ours that a file imports."""
    found = {name.split(".")[1] for name in imports(path) if name.startswith(f"{package}.")}
    return {name for name in found if list(ROOT.glob(f"{package}/{name}*"))}


def test_every_module_of_fes_has_a_layer():
    layered = [name for layer in LAYERS for name in layer]
    there = {path.relative_to(ROOT / "fes").parts[0].removesuffix(".py") for path in ROOT.glob("fes/**/*.py")}
    assert sorted(layered) == sorted(there - {"__init__"})


@pytest.mark.parametrize("height", range(len(LAYERS)))
def test_imports_run_one_way(height):
    below = set().union(*LAYERS[:height])
    for name in LAYERS[height]:
        for path in [*(ROOT / "fes").glob(f"{name}.py"), *(ROOT / "fes" / name).glob("*.py")]:
            assert modules(path, "fes") - {name} <= below, name_of(path)


def test_everything_in_shards_has_a_place():
    placed = [name for room in ROOMS for name in room]
    there = {
        path.relative_to(ROOT / "shards").parts[0].removesuffix(".py") for path in ROOT.glob("shards/**/*.py")
    }
    assert sorted(placed) == sorted(there - {"__init__"})


@pytest.mark.parametrize("height", range(len(ROOMS)))
def test_imports_in_shards_run_one_way(height):
    below = set().union(*ROOMS[:height])
    for name in ROOMS[height]:
        for path in (ROOT / "shards").glob(f"{name}.py"):
            assert modules(path, "shards") <= below, name_of(path)
        for path in (ROOT / "shards" / name).glob("*.py"):
            assert modules(path, "shards") - {name} <= below, name_of(path)


def test_shards_know_only_the_ground_of_fes_and_its_judge_where_that_labels():
    known = {"errors", "telling", "expressions", "files", "machine", "commandline", "loading"}
    for path in ROOT.glob("shards/**/*.py"):
        more = {"judge"} if path.name == "labelling.py" else set()
        assert modules(path, "fes") <= known | more, name_of(path)


@pytest.mark.parametrize("package", FLOORS)
def test_imports_within_a_package_run_one_way(package):
    there = {path.stem: path for path in (ROOT / package).glob("*.py") if path.stem != "__init__"}
    assert sorted(name for floor in FLOORS[package] for name in floor) == sorted(there)
    below: set[str] = set()
    for floor in FLOORS[package]:
        for name in floor:
            above = there.keys() - below
            found = {each.removeprefix(f"{package.replace('/', '.')}.") for each in imports(there[name])}
            assert found & above == set(), f"{package}/{name}.py"
        below |= floor


@pytest.mark.parametrize("library", PLACES)
def test_a_library_is_used_in_its_place_alone(library):
    users = {
        name_of(path)
        for path in SOURCES
        if any(name == library or name.startswith(f"{library}.") for name in uses(path))
    }
    assert users <= PLACES[library]


def test_every_library_that_is_used_is_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = [*project["dependencies"], *itertools.chain(*project["optional-dependencies"].values())]
    names = {re.match(r"[\w-]+", each)[0].lower() for each in declared}
    libraries = {name.split(".")[0] for path in [*SOURCES, *BENCHES] for name in imports(path)}
    packages = importlib.metadata.packages_distributions()
    for library in libraries - sys.stdlib_module_names - {"fes", "shards", "bench"}:
        assert names & {each.lower() for each in packages.get(library, [library.replace("_", "-")])}, library


@pytest.mark.parametrize("name", MATHEMATICS)
def test_the_mathematics_know_nothing_of_files_terminals_and_ranks_even_through_others(name):
    reached, waiting = set(), [f"fes.{name}"]
    while waiting:
        module = waiting.pop()
        if module in reached:
            continue
        reached.add(module)
        place = ROOT / module.replace(".", "/")
        for path in (place.with_suffix(".py"), place / "__init__.py"):
            if path.exists():
                waiting += [part for each in imports(path) for part in (each, each.split(".")[0])]
    assert reached & NOT_MATHEMATICS == set()


def test_nothing_in_fes_bears_the_name_of_another_module():
    """A script that is run by its path has its own folder first on sys.path: a namesake would hide others."""
    others = sys.stdlib_module_names | importlib.metadata.packages_distributions().keys()
    ours = {path.stem for path in ROOT.glob("fes/*") if not path.name.startswith("__")}
    assert ours & others == set()


@pytest.mark.parametrize("path", [*SOURCES, *BENCHES], ids=name_of)
def test_no_file_is_longer_than_300_lines(path):
    assert len(path.read_text().splitlines()) <= 300


@pytest.mark.parametrize("path", [*SOURCES, *BENCHES], ids=name_of)
def test_no_file_loads_what_can_run_code(path):
    calls = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call)]
    for call in calls:
        name = dotted(call.func)
        arguments = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        assert not name.startswith(("pickle.", "marshal.", "shelve.", "joblib.")), name
        assert name not in ("yaml.load", "yaml.unsafe_load", "eval", "exec"), name
        if name == "torch.load":
            assert arguments.get("weights_only") == "True"
        assert arguments.get("allow_pickle", "False") == "False"
    assert {"pickle.load", "pickle.loads", "torch.load"} & set(imports(path)) == set()


def test_every_file_begins_by_saying_what_it_is():
    assert [name_of(path) for path in [*SOURCES, *BENCHES] if not ast.get_docstring(tree_of(path))] == []
