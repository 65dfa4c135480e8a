"""The settings of a model of fingerprints, checked without mteb and torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from actsim.config import Encoding
from actsim.errors import UsageError
from actsim.registry import unknown_name

ENCODING_SETTINGS = tuple(field.name for field in fields(Encoding))
SCORING_SETTINGS = ("objective", "pattern", "template", "max_tokens", "batch_tokens")
LOADING_SETTINGS = ("dtype", "family", "trust_remote_code", "allow_unsafe_weights", "device_map")
SETTINGS = (*ENCODING_SETTINGS, *SCORING_SETTINGS, *LOADING_SETTINGS)
VALUES_IN_JSON = ("dim", "top_fraction", "seed", "max_tokens", "batch_tokens", "trust_remote_code")


def read_settings(settings: Sequence[str]) -> Mapping[str, Any]:
    """``name=value`` texts as the keyword arguments of ``ActSimEncoder``.

    Raises:
        UsageError: another form, a name given twice, a number that is none, or what ``checked`` refuses.
    """
    found: dict[str, Any] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or name in found:
            raise UsageError(f"--set {setting}: give every setting once, as NAME=VALUE, such as kind=sketch.")
        try:
            found[name] = json.loads(value) if name in VALUES_IN_JSON else value
        except json.JSONDecodeError:
            raise UsageError(f"--set {setting}: {value!r} is no number; null stands for no limit.") from None
    checked({name: value for name, value in found.items() if name != "base_revision"})
    return found


def checked(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that say something: by actsim's names, without those that are None (but ``dim=None``).

    Raises:
        UsageError: an unknown setting, or one that is impossible whatever the model.
    """
    for name in settings:
        if name not in (*SETTINGS, "embed_dim"):
            raise unknown_name("setting of ActSimEncoder", name, SETTINGS)
    own = {name: value for name, value in settings.items() if value is not None or name == "dim"}
    if "embed_dim" in own:  # MTEB's word
        own["dim"] = own.pop("embed_dim")
    Encoding(**part(own, ENCODING_SETTINGS))
    return own


def part(settings: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """The settings of these names."""
    return {name: settings[name] for name in names if name in settings}
