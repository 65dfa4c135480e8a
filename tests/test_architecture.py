"""Where things live and what may import what: rules about the code itself, and proof that they can fail."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("actsim", "cli")

FLOORS = (
    ("errors", "registry", "config"),
    ("core", "stats"),
    ("data", "models", "baselines", "store"),
    ("pipelines", "report"),
    ("integrations",),
    ("studies",),
    ("cli",),
)
"""Packages from the ground up; each may import those below its own floor."""
FLOOR = {name: floor for floor, names in enumerate(FLOORS) for name in names}

GROUND_ORDER = {"errors": 0, "registry": 1, "config": 2}
"""On the ground floor, which holds single modules, a later one may import an earlier one."""

FORBIDDEN = {
    "core": ("transformers", "datasets", "pandas", "click", "pathlib", "rich", "pyarrow", "huggingface_hub"),
    "stats": ("torch", "transformers", "datasets", "pandas"),
    "report": ("torch", "transformers", "datasets"),
    "cli": ("cli",),
    "": ("cli",),
}
"""Package -> what it never imports, at the top or inside a function; the empty name stands for all of actsim."""

EXCEPTED = {"actsim/core/scoring/compiler.py": ("pathlib",)}
"""File -> what it may import all the same: the compiled kernel lies in a cache folder."""

CONFINED = {
    "triton": ("actsim/core/scoring/kernels.py",),
    "mteb": ("actsim/integrations/mteb/",),
    "sentence_transformers": ("actsim/integrations/mteb/",),
    "lm_eval": ("actsim/integrations/lm_eval/",),
    "ray": ("actsim/integrations/",),
    "click": ("cli/",),
    "rich": ("cli/", "actsim/report/"),
    "datasets": ("actsim/data/",),
    "peft": ("actsim/models/",),
}
"""Module -> the only places that import it."""

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
NO_FILE_NAMES = ("utils.py", "helpers.py", "misc.py")


def violations(root: Path) -> list[str]:
    """Every broken rule under ``root``, one line each."""
    found: list[str] = []
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*.py")):
            source = path.read_text(encoding="utf-8")
            name = path.relative_to(root).as_posix()
            tree = ast.parse(source, name)
            found += [f"{name}: {problem}" for problem in _problems(name, source, tree)]
    return found


def _problems(name: str, source: str, tree: ast.Module) -> Iterator[str]:
    if Path(name).name in NO_FILE_NAMES:
        yield "a file's name says what is in it"
    lines = len(source.splitlines())
    if lines > MAX_FILE_LINES:
        yield f"{lines} lines, at most {MAX_FILE_LINES}"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MAX_FUNCTION_LINES:
                yield f"function {node.name} has {length} lines, at most {MAX_FUNCTION_LINES}"
        if isinstance(node, ast.ExceptHandler) and _is_broad(node):
            yield f"line {node.lineno}: catches every exception"
    for line, module in imports(name, tree):
        for problem in _import_problems(name, module):
            yield f"line {line}: {problem}"


def _is_broad(handler: ast.ExceptHandler) -> bool:
    """``except:`` and ``except Exception:``; one that only cleans up and raises again is none."""
    broad = handler.type is None or (isinstance(handler.type, ast.Name) and handler.type.id.endswith("Exception"))
    return broad and not isinstance(handler.body[-1], ast.Raise)


def imports(name: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and full module name of every import, at the top or inside functions, relative ones resolved."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = name.removesuffix(".py").split("/")[: -node.level]
                if package[0] == "cli":
                    package[0] = "actsim_cli"
                base = ".".join([*package, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{base}.{alias.name}" if base else alias.name) for alias in node.names)


def package_of(name: str) -> str:
    """``actsim/core/batch.py`` -> ``core``; ``actsim/config.py`` -> ``config``; ``cli/main.py`` -> ``cli``."""
    first, *rest = name.removesuffix(".py").split("/")
    if first == "cli":
        return "cli"
    return rest[0] if rest[0] != "__init__" else ""


def _import_problems(name: str, module: str) -> Iterator[str]:
    package, top = package_of(name), module.split(".")[0]
    for forbidden in (*FORBIDDEN.get(package, ()), *FORBIDDEN[""]):
        if top == forbidden and forbidden not in EXCEPTED.get(name, ()):
            yield f"{package or 'actsim'} never imports {forbidden}"
            break
    if top in CONFINED and not name.startswith(CONFINED[top]):
        yield f"{top} is imported only in {', '.join(CONFINED[top])}"
    if top in ("actsim", "actsim_cli") and package:
        yield from _direction_problems(name, package, module)


def _direction_problems(name: str, package: str, module: str) -> Iterator[str]:
    parts = module.split(".")
    target = "cli" if parts[0] == "actsim_cli" else (parts[1] if len(parts) > 1 else "")
    if target not in FLOOR:
        if package != "cli" and target != "__version__":
            yield f"{package} imports the front door ({module}); import the module itself"
        return
    if package == target == "pipelines" and not module.startswith(_dotted(name)):
        yield f"a pipeline imports another one ({module})"
    below = FLOOR[target] < FLOOR[package]
    on_the_ground = GROUND_ORDER.get(target, 9) < GROUND_ORDER.get(package, -1)
    if package != target and not below and not on_the_ground:
        yield f"{package} imports upwards or sideways ({module})"


def _dotted(name: str) -> str:
    return name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def test_the_code_keeps_its_rules():
    assert violations(ROOT) == []


def test_every_package_has_its_floor():
    homes = {path.stem for path in (ROOT / "actsim").iterdir() if path.suffix == ".py" or path.is_dir()}
    assert homes - {"__init__", "__pycache__", "py"} <= set(FLOOR)


PLANTED = {
    "core knows no transformers": ("actsim/core/a.py", "import transformers.models", "core never imports transformers"),
    "core knows no paths, also not in a function": (
        "actsim/core/a.py",
        "def f():\n    from pathlib import Path\n    return Path()",
        "core never imports pathlib",
    ),
    "reports know no torch": ("actsim/report/a.py", "from torch import nn", "report never imports torch"),
    "statistics know no pandas": ("actsim/stats/a.py", "import pandas as pd", "stats never imports pandas"),
    "downwards only": ("actsim/core/a.py", "from actsim.models.loading import load_model", "core imports upwards"),
    "not by a relative import either": ("actsim/core/a.py", "from ..models import loading", "core imports upwards"),
    "not sideways": ("actsim/models/a.py", "import actsim.store", "models imports upwards or sideways"),
    "not through the front door": ("actsim/models/a.py", "from actsim import load_pairs", "the front door"),
    "pipelines keep apart": (
        "actsim/pipelines/a.py",
        "from actsim.pipelines.sts import prepare",
        "a pipeline imports another one (actsim.pipelines.sts.prepare)",
    ),
    "the ground floor has an order": ("actsim/errors.py", "from actsim.config import Scoring", "errors imports"),
    "the command line is called actsim_cli": ("actsim/studies/a.py", "import cli.main", "never imports cli"),
    "also within it": ("cli/a.py", "from cli.options import model", "never imports cli"),
    "nothing below knows the command line": ("actsim/studies/a.py", "import actsim_cli", "studies imports upwards"),
    "triton stays at home": ("actsim/models/a.py", "import triton", "triton is imported only in"),
    "mteb stays at home": ("actsim/studies/a.py", "def f():\n    import mteb", "mteb is imported only in"),
    "lm_eval stays at home": ("actsim/studies/a.py", "def f():\n    import lm_eval", "lm_eval is imported only in"),
    "no screen in the library": ("actsim/studies/a.py", "import click", "click is imported only in cli/"),
    "no broad except": ("actsim/data/a.py", "try:\n    f()\nexcept Exception:\n    g = 1", "catches every exception"),
    "no bare except": ("actsim/data/a.py", "try:\n    f()\nexcept:\n    g = 1", "catches every exception"),
    "no long file": ("actsim/data/a.py", "x = 1\n" * 401, "401 lines, at most 400"),
    "no long function": ("actsim/data/a.py", "def f():\n" + "    x = 1\n" * 60, "function f has 61 lines"),
    "no drawer for everything": ("actsim/data/utils.py", "x = 1", "a file's name says what is in it"),
}


@pytest.mark.parametrize(("name", "source", "message"), PLANTED.values(), ids=PLANTED)
def test_a_planted_violation_is_found(tmp_path, name, source, message):
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    path.write_text(source, encoding="utf-8")
    (line,) = violations(tmp_path)
    assert line.startswith(f"{name}: ") and message in line


ALLOWED = {
    "actsim/core/a.py": "import torch\nfrom actsim.config import Scoring\nfrom actsim.core.batch import pad",
    "actsim/core/scoring/kernels.py": "import triton\nfrom . import tiled",
    "actsim/core/scoring/compiler.py": "from pathlib import Path",
    "actsim/store/b.py": "from actsim import __version__",
    "actsim/pipelines/sts.py": "from actsim.core.batch import pad\nfrom actsim.models.loading import load_model",
    "actsim/registry.py": "from actsim.errors import UsageError",
    "actsim/store/a.py": "try:\n    f()\nexcept BaseException:\n    g()\n    raise",
    "actsim/integrations/mteb/a.py": "import mteb\nfrom actsim.pipelines.sts import prepare",
    "cli/main.py": "import click\nimport actsim\nfrom actsim_cli import options\nfrom .info import info",
    "actsim/data/a.py": "def f():\n" + "    x = 1\n" * 59,
}


def test_what_is_allowed_is_not_found(tmp_path):
    for name, source in ALLOWED.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
    assert violations(tmp_path) == []


def modules_after_importing(*names: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after importing ``names``."""
    program = f"import sys; import {', '.join(names)}; print(*{{name.split('.')[0] for name in sys.modules}})"
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True, timeout=120
    )
    return set(result.stdout.split())


def modules_of(package: str) -> list[str]:
    return [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in sorted((ROOT / "actsim" / package).rglob("*.py"))
    ]


@pytest.mark.parametrize("package", ["report", "stats"])
def test_reports_and_statistics_come_without_torch(package):
    """Not through another module of actsim either."""
    names = modules_of(package)
    assert len(names) > 2
    assert not modules_after_importing(*names) & {"torch", "transformers", "datasets"}


def test_the_core_comes_without_transformers_and_files():
    names = [name for name in modules_of("core") if not name.startswith("actsim.core.scoring.")]
    assert not modules_after_importing(*names) & {"transformers", "datasets", "pandas", "pyarrow", "click"}


def test_naming_the_integrations_does_not_import_what_they_are_for():
    names = ("actsim.integrations.mteb", "actsim_cli.mteb", "actsim.integrations.lm_eval", "actsim_cli.tasks")
    assert not modules_after_importing(*names) & {"mteb", "lm_eval", "torch"}


def test_two_sentences_are_compared_and_shown_without_the_packages_of_tables_and_statistics():
    names = ("actsim_cli.score", "actsim.stats.bands", "actsim.report.terminal")
    assert not modules_after_importing(*names) & {"torch", "scipy", "pandas", "pyarrow", "datasets", "matplotlib"}


def test_the_command_line_starts_without_the_heavy_packages():
    heavy = {"torch", "transformers", "datasets", "mteb", "lm_eval", "scipy", "pandas", "pyarrow", "matplotlib"}
    assert not modules_after_importing("actsim_cli.main") & heavy
