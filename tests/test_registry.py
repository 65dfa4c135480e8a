"""Names stand for objects that are imported when asked for; unknown names answer with a suggestion."""

from __future__ import annotations

import collections
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

import actsim.errors
from actsim.errors import ActsimError, MissingExtraError, UsageError
from actsim.registry import Registry, refuse_repeated, unknown_name


def make_registry() -> Registry:
    return Registry("container", {"deque": "collections:deque", "Counter": "collections:Counter"})


def test_get_imports_the_named_object():
    registry = make_registry()
    assert registry.get("deque") is collections.deque
    assert registry.get("Counter") is collections.Counter


def test_names_keep_their_order_and_membership():
    registry = make_registry()
    assert list(registry) == ["deque", "Counter"]
    assert "deque" in registry
    assert "dict" not in registry


def test_nothing_is_imported_before_it_is_asked_for():
    code = (
        "import sys; from actsim.registry import Registry; r = Registry('format', {'wav': 'wave:open'}); "
        "before = 'wave' in sys.modules; r.get('wav'); print(before, 'wave' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_the_registry_does_not_follow_later_changes_of_the_mapping_it_was_made_from():
    entries = {"deque": "collections:deque"}
    registry = Registry("container", entries)
    entries["dict"] = "builtins:dict"
    assert "dict" not in registry


def test_register_adds_and_repeating_it_changes_nothing():
    registry = make_registry()
    registry.register("chain", "itertools:chain")
    registry.register("chain", "itertools:chain")
    assert list(registry) == ["deque", "Counter", "chain"]


def test_register_refuses_a_name_that_is_taken_and_keeps_the_first():
    registry = make_registry()
    with pytest.raises(UsageError, match="already registered as collections:deque"):
        registry.register("deque", "somewhere:else")
    assert registry.get("deque") is collections.deque


@pytest.mark.parametrize(("got", "suggestion"), [("deq", "deque"), ("COUNTER", "Counter"), ("counter", "Counter")])
def test_unknown_name_suggests_the_nearest_whatever_its_case(got, suggestion):
    with pytest.raises(UsageError, match=f"unknown container '{got}'.*Did you mean '{suggestion}'"):
        make_registry().get(got)


def test_a_name_like_none_gets_no_suggestion_but_the_list():
    message = str(unknown_name("container", "zzzzzz", ["deque", "Counter"], "See the list."))
    assert message == "unknown container 'zzzzzz'; known: deque, Counter. See the list."


@given(st.text(max_size=12))
def test_check_returns_known_names_and_refuses_all_others_in_one_line(name):
    registry = make_registry()
    if name in ("deque", "Counter"):
        assert registry.check(name) == name
    else:
        with pytest.raises(UsageError) as caught:
            registry.check(name)
        assert "\n" not in str(caught.value)


def test_exit_codes_are_two_for_usage_and_one_for_every_other_error():
    errors = [kind for kind in vars(actsim.errors).values() if isinstance(kind, type)]
    assert all(issubclass(kind, ActsimError) for kind in errors)
    assert {kind for kind in errors if kind.exit_code != 1} == {UsageError}
    assert UsageError.exit_code == 2


def test_missing_extra_names_package_purpose_and_command():
    message = str(MissingExtraError("peft", "peft", "merging an adapter"))
    assert message == "merging an adapter needs peft, which is not installed; run: pip install 'actsim[peft]'"


def test_a_name_that_is_given_twice_is_refused_by_name():
    refuse_repeated("pattern", ("a", "b"))
    with pytest.raises(UsageError, match="the pattern b is given twice"):
        refuse_repeated("pattern", ("a", "b", "b"))
