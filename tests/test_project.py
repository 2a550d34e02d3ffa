"""What holds the project together beside its code."""

import ast
import re
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
import yaml
from packaging.specifiers import SpecifierSet
from packaging.version import Version

import sparseguard

ROOT = Path(__file__).resolve().parents[1]
CONDA_NAMES = {"torch": "pytorch"}


def requirement(text: str) -> tuple[str, str]:
    match = re.fullmatch(r"([A-Za-z0-9_.-]+)\s*(.*)", text)
    assert match
    return match[1].lower(), match[2]


def test_environment_yml_and_pyproject_name_the_same_packages() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = dict(requirement(text) for text in project["dependencies"])
    wanted = {CONDA_NAMES.get(name, name): version for name, version in wanted.items()}
    listed = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    flat = [item for entry in listed for item in (entry["pip"] if isinstance(entry, dict) else [entry])]
    found = dict(requirement(text) for text in flat)
    assert found.pop("python") == project["requires-python"]
    found.pop("pip")
    assert found == wanted


def test_the_lock_file_has_what_pyproject_asks_for_each_with_its_hashes() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    entries = re.split(r"\n(?=[a-z0-9])", re.sub(r"(?m)^#.*\n", "", (ROOT / "requirements.lock").read_text()))
    locked: dict[str, list[str]] = {}
    for entry in entries:
        match = re.match(r"([\w.-]+)(?:\[[\w,]+\])?==(\S+)", entry)
        assert match, entry[:80]
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), f"{match[1]} has no hash"
        locked.setdefault(match[1].lower(), []).append(match[2])
    for text in [*project["dependencies"], *project["optional-dependencies"]["dev"]]:
        name, wanted = requirement(text)
        assert all(Version(version) in SpecifierSet(wanted) for version in locked[name]), text


def test_version_is_stated_once_over() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert sparseguard.__version__ == project["version"]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == project["version"]


def test_public_names() -> None:
    classes = ["BlackBox", "Experiment", "Result", "SparseCoding2d"]
    expected = [*classes, "audit", "list_attacks", "list_defenses", "load_data"]
    assert sorted(sparseguard.__all__) == expected
    assert all(hasattr(sparseguard, name) for name in expected)


ROOMS: dict[str, set[str]] = {
    "checks": set(),
    "sparse": set(),
    "scales": set(),
    "device": set(),
    "access": set(),
    "registry": set(),
    "places": set(),
    "bending": set(),
    "ondisk": {"places"},
    "reference": {"places"},
    "leases": set(),
    "progress": {"places"},
    "resuming": {"places"},
    "store": {"leases", "places", "reference"},
    "paper": set(),
    "normalisation": {"sparse"},
    "targets": {"access"},
    "data": {"leases", "ondisk", "places", "progress", "scales"},
    "priors": {"bending", "ondisk", "places", "resuming", "scales", "store"},
    "defenses": {
        "data", "leases", "normalisation", "ondisk", "places", "priors", "progress", "registry", "resuming", "scales",
        "sparse", "targets",
    },
    "attacks": {"access", "bending", "normalisation", "ondisk", "priors", "registry", "resuming", "scales", "sparse"},
    "metrics": {"data", "normalisation", "scales"},
    "tap": {"access"},
    "auditing": {"access", "attacks", "device", "metrics", "registry", "scales", "tap"},
    "result": {"metrics", "reference"},
    "deployed": {"data", "leases", "places", "resuming", "scales", "store", "targets"},
    "trial": {
        "access", "data", "deployed", "device", "metrics", "ondisk", "result", "resuming", "scales", "store", "targets",
    },
    "experiment": {
        "attacks", "data", "defenses", "deployed", "device", "leases", "places", "progress", "registry", "result",
        "scales", "store", "targets", "trial",
    },
    "workers": {"device", "experiment", "places", "store"},
    "submitting": {"experiment", "places", "store", "workers"},
    "grid": {"defenses", "experiment", "progress", "result", "scales", "store", "submitting", "trial", "workers"},
    "plans": {"experiment", "grid", "store"},
    "shipping": {
        "data", "experiment", "grid", "places", "reference", "result", "scales", "store", "studies", "workers",
    },
    "studies": {
        "access", "bending", "reference", "data", "device", "experiment", "metrics", "normalisation", "places",
        "priors", "progress", "scales", "sparse", "store", "targets", "trial",
    },
    "report": {
        "attacks", "auditing", "data", "defenses", "experiment", "grid", "metrics", "paper", "plans", "progress",
        "result", "scales", "shipping", "sparse", "store", "studies", "targets", "workers",
    },
}  # fmt: skip
"""What each room may import, besides ``checks`` and itself. ``report`` draws what others computed."""


def imported(file: Path, depth: int) -> set[str]:
    """Rooms that a module imports when it runs, of a package that lies so many folders up."""
    tree = ast.parse(file.read_text())
    typing = [node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)]
    apart = {id(node) for block in typing for node in ast.walk(block)}
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == depth and id(node) not in apart:
            found |= {node.module.split(".")[0]} if node.module else {alias.name for alias in node.names}
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_imports_run_downwards_only(room: str) -> None:
    path = ROOT / "sparseguard" / room
    for file in sorted(path.glob("*.py")) if path.is_dir() else [path.with_suffix(".py")]:
        assert imported(file, 2 if path.is_dir() else 1) <= ROOMS[room] | {"checks"}, file
        assert "import sparseguard" not in file.read_text()


def test_the_report_has_the_titles_of_data_sets_and_none_of_their_images() -> None:
    for file in (ROOT / "sparseguard" / "report").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level == 2 and (node.module or "").split(".")[0] == "data":
                assert {alias.name for alias in node.names} == {"dataset_title"}, file


def test_every_room_has_its_walls_and_none_imports_in_a_circle() -> None:
    there = {
        path.stem
        for path in (ROOT / "sparseguard").iterdir()
        if (path / "__init__.py").is_file() or path.suffix == ".py"
    }
    assert set(ROOMS) == there - {"__init__", "__main__"}
    order = TopologicalSorter(ROOMS)
    assert len(list(order.static_order())) == len(ROOMS)


def test_drawing_does_not_wait_for_libraries_that_it_does_not_need() -> None:
    """A page of the report is a process of its own: seconds of imports are paid thirty times."""
    slow = "('torchvision', 'torch._dynamo', 'nbformat', 'nbconvert', 'opacus', 'umap')"
    code = f"import sys, sparseguard.report; print([name for name in {slow} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_modules_stay_small() -> None:
    for file in (ROOT / "sparseguard").rglob("*.py"):
        assert len(file.read_text().splitlines()) <= 330, file


def cli(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    environment = {"SPARSEGUARD_HOME": str(home / "runs"), "SPARSEGUARD_DATA": str(home / "data"), "HOME": str(home)}
    command = [sys.executable, "-m", "sparseguard", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "--dataset", "imagenet"), "dataset must be one of mnist, fashion_mnist"),
        (("run", "--defense", "sparse_guard", "--lam", "nan"), "lam must be a finite number greater than 0, not nan"),
        (("run", "--defense", "laplace", "--options", "b=1"), "--options must be a JSON object"),
        (("grid", "{folder}/plan.yaml"), "setting must be one of end_to_end, split"),
        (("data", "imagenet"), "dataset must be one of"),
        (("run", "--defense", "sparse_gaurd"), "not 'sparse_gaurd'; did you mean 'sparse_guard'?"),
        (("run", "--defense", "laplace", "--options", '{"c": 1}'), "has no option 'c'; its options are front, b"),
        (("run", "--options", "[1]"), "--options must be a JSON object, not '[1]'."),
        (("run", "--options", "null"), "--options must be a JSON object, not 'null'."),
        (("report", "--parameters", "[1]"), "--parameters must be a JSON object, not '[1]'."),
        (("run", "--lam", "0.5"), "--lam: none has no λ; its options are front."),
        (("run", "--defense", "laplace", "--lam", "1"), "--lam: laplace has no λ; its options are front, b, relative."),
    ],
)
def test_bad_input_is_one_sentence_and_status_2(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text("setting: federated")
    done = cli(*(text.replace("{folder}", str(tmp_path)) for text in arguments), home=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("sparseguard: ")
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "data").exists()


def test_help_imports_no_library_of_the_report_or_of_training() -> None:
    code = (
        "import sys; sys.argv = ['sparseguard', '--help']; import sparseguard.__main__ as m\n"
        "try: m.main()\nexcept SystemExit: pass\n"
        "print({'torch', 'matplotlib', 'pandas', 'numpy', 'papermill'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("set()")
    assert "reproduce" in done.stdout


def test_a_constant_has_one_value() -> None:
    """A second one of the same name changes what was written for the first."""
    for file in (ROOT / "sparseguard").rglob("*.py"):
        targets = [t for node in ast.parse(file.read_text()).body if isinstance(node, ast.Assign) for t in node.targets]
        names = [name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)]
        assert len(names) == len(set(names)), file
