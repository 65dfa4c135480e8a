"""The public names: all there, all documented, and free until they are used."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import actsim


@pytest.mark.parametrize("name", [name for name in actsim.__all__ if name != "__version__"])
def test_every_public_name_resolves_and_is_documented(name):
    value = getattr(actsim, name)
    assert value.__name__ == name
    assert inspect.getdoc(value)


def test_the_list_is_sorted_and_without_repetition():
    assert sorted(set(actsim.__all__)) == sorted(actsim.__all__)
    assert dir(actsim) == actsim.__all__


def test_the_names_for_type_checkers_are_those_at_run_time():
    """Three lists of names in one file must not drift apart."""
    tree = ast.parse(Path(actsim.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    typed = {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert typed == actsim._HOMES
    assert {*typed, "__version__"} == set(actsim.__all__)


@pytest.mark.parametrize("name", [name for name in actsim.__all__ if name != "__version__"])
def test_a_name_is_the_one_of_its_home(name):
    assert getattr(actsim, name) is getattr(importlib.import_module(actsim._HOMES[name]), name)


def test_an_unknown_name_is_an_attribute_error_that_lists_the_known():
    with pytest.raises(AttributeError, match=r"no attribute 'evalute'.*evaluate"):
        actsim.evalute  # noqa: B018
    assert not hasattr(actsim, "evalute")


def test_the_version_is_the_packages():
    assert actsim.__version__ == metadata.version("actsim")


@pytest.mark.parametrize("program", ["import actsim", "import actsim; dir(actsim); actsim.UsageError; actsim.Scoring"])
def test_importing_costs_nothing(program):
    check = "import sys; print(*{name.split('.')[0] for name in sys.modules})"
    result = subprocess.run(
        [sys.executable, "-c", f"{program}; {check}"], capture_output=True, text=True, check=True, timeout=120
    )
    heavy = {"torch", "transformers", "numpy", "scipy", "pandas", "pyarrow", "datasets", "click", "matplotlib"}
    assert not heavy & set(result.stdout.split())


def test_every_error_is_of_the_one_tree_with_its_exit_code():
    errors = [getattr(actsim, name) for name in actsim.__all__ if name.endswith("Error")]
    assert len(errors) == 7
    for error in errors:
        assert issubclass(error, actsim.ActsimError)
        assert error.exit_code == (2 if error is actsim.UsageError else 1)
