"""A hub cache laid out by hand, for tests that read hub data sets without a network."""

from __future__ import annotations

from pathlib import Path


def add_snapshot(cache: Path, hub_id: str, commit: str, files: dict[str, bytes], ref: str | None = None) -> None:
    """Lay files out as huggingface_hub does: blobs, and a folder of links to them for each commit."""
    root = cache / f"datasets--{hub_id.replace('/', '--')}"
    for number, (name, data) in enumerate(files.items()):
        blob = root / "blobs" / f"{commit[:8]}{number}"
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(data)
        link = root / "snapshots" / commit / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blob)
    if ref is not None:
        (root / "refs" / ref).parent.mkdir(parents=True, exist_ok=True)
        (root / "refs" / ref).write_text(commit)
