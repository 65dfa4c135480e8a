"""The manifest of a run: what made it, which parts it has, when it was worked on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import accumulate, zip_longest
from pathlib import Path
from typing import Any

from actsim import __version__
from actsim.config import ABSENT, changed_leaves, differences, shown
from actsim.errors import ResumeError
from actsim.store.files import LOCK_NAME, TEMPORARY_PREFIX, list_directory, read_bytes, remove, write_atomic
from actsim.store.parts import PARTS_FOLDER, Layout, PartLayout, part_number

MANIFEST_NAME = "manifest.json"
SUMMARY_NAME = "summary.json"
PAIRS_NAME = "pairs.parquet"
FORMAT = 1

_RESULT_NAMES = (SUMMARY_NAME, PAIRS_NAME, "layers.csv", "kinds.csv", "report.md")
_KEYS: dict[str, type | tuple[type, ...]] = {
    "status": str,
    "digest": str,
    "config": dict,
    "plan": str,
    "groups": list,
    "n_parts": int,
    "parts": list,
    "record": dict,
    "sessions": list,
    "seconds": (int, float),
    "files": list,
}
_ROOM = 240
"""Characters for all that differs from another run: three lines of a terminal."""
_ROOM_OF_A_LEAF = 120
_EXCERPT = 32
_CHECKSUMS = ("sha256", "fingerprint")


def timestamp() -> str:
    """The present moment in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def to_json(value: Any) -> bytes:
    """Readable UTF-8 JSON; raises ValueError for NaN and infinities, which JSON does not have."""
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def write_manifest(directory: Path, manifest: dict[str, Any]) -> None:
    """Replace the manifest in one step."""
    write_atomic(directory / MANIFEST_NAME, to_json(manifest))


class UnusableManifest(ResumeError):
    """A manifest of actsim's that cannot be continued; starting over is a way out."""


def read_manifest(directory: Path) -> dict[str, Any] | None:
    """The manifest in ``directory``, None where there is none.

    Raises:
        UnusableManifest: it is damaged, or of another format.
        ResumeError: it is not actsim's.
    """
    path = directory / MANIFEST_NAME
    if not path.exists():
        return None
    try:
        manifest = json.loads(read_bytes(path))
    except ValueError as error:
        if not (directory / LOCK_NAME).exists():
            raise ResumeError(
                f"{path} is not JSON and nothing beside it shows that actsim made it; nothing was touched. "
                "Give another --out."
            ) from error
        raise _damaged(path, "it is not JSON") from error
    if not isinstance(manifest, dict) or "actsim" not in manifest:
        raise ResumeError(f"{path} was not written by actsim; nothing was touched. Give another --out.")
    if manifest.get("format") != FORMAT:
        raise UnusableManifest(
            f"{path} has format {manifest.get('format')!r}, this actsim reads format {FORMAT}; "
            "use the actsim that wrote it, give another --out, or start over with --fresh."
        )
    if wrong := [key for key, kind in _KEYS.items() if not isinstance(manifest.get(key), kind)]:
        raise _damaged(path, f"no usable {', '.join(wrong)}")
    return manifest


def _damaged(path: Path, reason: str) -> UnusableManifest:
    return UnusableManifest(f"{path} is damaged ({reason}); start over with --fresh, or give another --out.")


def stored_layout(directory: Path, manifest: dict[str, Any]) -> PartLayout:
    """The layout of the parts of a run over pairs as the manifest tells it, without the pairs of each part."""
    groups, counts = stored_groups(directory, manifest)
    try:
        measures = tuple(manifest["config"]["scoring"]["measures"])
        return PartLayout(digest=manifest["digest"], groups=groups, counts=counts, measures=measures)
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(directory / MANIFEST_NAME, "its groups, parts or measures cannot be read") from error


def stored_groups(directory: Path, manifest: dict[str, Any]) -> tuple[tuple[tuple[int, str], ...], tuple[int, ...]]:
    """The (layer, kind) that a run has numbers for, and the number of rows of each of its parts."""
    try:
        groups = tuple((int(group["layer"]), str(group["kind"])) for group in manifest["groups"])
        return groups, tuple(int(count) for count in manifest["parts"])
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(directory / MANIFEST_NAME, "its groups, parts or measures cannot be read") from error


def refuse_foreign(directory: Path) -> None:
    """Raise ResumeError when ``directory`` has files that do not belong to a run of actsim's."""
    names = [path.name for path in list_directory(directory)]
    names = [name for name in names if name != LOCK_NAME and not name.startswith(TEMPORARY_PREFIX)]
    if MANIFEST_NAME not in names and names:
        shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
        raise ResumeError(
            f"{directory} is not empty and holds no actsim run (found {shown}); nothing was touched. "
            "Give another --out, or an empty directory."
        )


def clear_run(directory: Path, files: Sequence[str]) -> None:
    """Remove parts and results that actsim made in ``directory``, ``files`` among them, and nothing else.

    The manifest stays until the new one replaces it, so that the directory is a run at every moment.
    """
    for name in {*_RESULT_NAMES, *files}:
        remove(directory / Path(name).name)
    for path in list_directory(directory / PARTS_FOLDER):
        if part_number(path) is not None:
            remove(path)


def new_manifest(config: dict[str, Any], layout: Layout, record: dict[str, Any]) -> dict[str, Any]:
    """The manifest of a run that has no parts yet; ``record`` is whatever the caller wants kept beside the results."""
    return {
        "format": FORMAT,
        "actsim": __version__,
        "status": "running",
        "digest": layout.digest,
        "config": config,
        "plan": layout.plan_digest(),
        "groups": [{"layer": layer, "kind": kind} for layer, kind in layout.groups],
        "n_parts": len(layout.counts),
        "parts": list(layout.counts),
        "record": record,
        "seconds": 0.0,
        "sessions": [],
        "files": [],
    }


def refuse_other_run(directory: Path, old: dict[str, Any], new: dict[str, Any]) -> None:
    """Raise ResumeError, with what differs, when ``old`` is the manifest of another run than ``new``."""
    ways_out = "Start over with --fresh, or give another --out."
    of_old, of_new = (manifest["config"].get("study", "eval") for manifest in (old, new))
    if of_old != of_new:
        raise ResumeError(f"{directory} holds a run of actsim {of_old}, this is one of actsim {of_new}. {ways_out}")
    if old["digest"] != new["digest"]:
        differing = _briefly(old["config"], new["config"])
        raise ResumeError(f"{directory} holds a run with another configuration ({differing}). {ways_out}")
    if changed := [key for key in ("plan", "groups", "parts") if old[key] != new[key]]:
        raise ResumeError(
            f"{directory} was begun by actsim {old['actsim']}, whose {', '.join(changed)} differ from those of "
            f"this actsim ({new['actsim']}). {ways_out}"
        )


def _briefly(old: dict[str, Any], new: dict[str, Any]) -> str:
    """What differs between two configurations, leaf by leaf; those for which there is no room are counted.

    Checksums, which follow from something else, come last.
    """
    leaves = sorted(changed_leaves(old, new), key=lambda leaf: leaf[0].rpartition(".")[2] in _CHECKSUMS)
    told = [_difference(*leaf) for leaf in leaves]
    fitting = sum(end <= _ROOM for end in accumulate(map(len, told)))
    first = told[: max(1, fitting)]
    more = [f"and {len(told) - len(first)} more"] if len(told) > len(first) else []
    return "; ".join([*first, *more])


def _difference(path: str, old: Any, new: Any) -> str:
    """A leaf that differs: of long lists how many entries do, and how the first; long texts from where they part."""
    values = shown(old), shown(new)
    if sum(map(len, values)) > _ROOM_OF_A_LEAF:
        if isinstance(old, list) and isinstance(new, list):
            return _entries(path, old, new)
        values = _excerpts(*values)
    return f"{path}: {values[0]} -> {values[1]}"


def _entries(path: str, old: list[Any], new: list[Any]) -> str:
    """How many entries of two lists differ, unless there is but one, and how the first of them does."""
    places = enumerate(zip_longest(old, new, fillvalue=ABSENT))
    leaves = [list(changed_leaves({f"{path}[{i}]": left}, {f"{path}[{i}]": right})) for i, (left, right) in places]
    differing = [own for own in leaves if own]
    first = _difference(*differing[0][0])
    if len(old) == len(new) == 1:
        return first
    count = f"{len(old)}" if len(old) == len(new) else f"{len(old)} -> {len(new)}"
    return f"{path}: {count} entries, differing: {len(differing)}, the first: {first}"


def _excerpts(old: str, new: str) -> tuple[str, str]:
    """Two texts from shortly before they part."""
    parting = next(place for place, (left, right) in enumerate(zip_longest(old, new)) if left != right)
    start = max(0, parting - _EXCERPT // 4)
    end = start + _EXCERPT
    cut = [f"{'…' if start else ''}{text[start:end]}{'…' if len(text) > end else ''}" for text in (old, new)]
    return cut[0], cut[1]


def record_changes(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What a resuming session does under other circumstances than the first: version, device, threads, machine."""
    before = {"actsim": old["actsim"]} | {key: old["record"].get(key) for key in new["record"]}
    return differences(before, {"actsim": new["actsim"]} | new["record"])
