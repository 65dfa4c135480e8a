"""Tables out of data sets on the Hugging Face hub, at an exact commit.

The files of one commit are fetched into the hub cache first and read from there. ``datasets.load_dataset`` on a hub
name would, without a network, take whichever version it last prepared, whatever the revision asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from actsim.data.files import Table, arrow_columns
from actsim.errors import DataError
from actsim.registry import unknown_name

_FILES = ("*.parquet", "*.jsonl", "*.json", "*.jsonl.gz", "*.json.gz", "*.csv", "*.md")
_TIMEOUT_SECONDS = 10.0


def fetch_snapshot(hub_id: str, revision: str, *, otherwise: str, files: Sequence[str] = _FILES) -> tuple[Path, str]:
    """The local folder with the files of a hub data set, and the commit they belong to.

    A copy in the cache is used when the hub cannot be reached, or HF_HUB_OFFLINE is set.

    Args:
        hub_id: ``owner/name`` of the data set.
        revision: a commit, branch, tag or ref such as ``refs/convert/parquet``.
        otherwise: what the user can do instead, for the message.
        files: patterns of the files that are fetched.

    Raises:
        DataError: it is neither on the hub nor in the cache, or may not be read.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HTTPError

    failure: Exception | None = None
    try:
        # Without a network this fails at once, where snapshot_download would try again for half a minute.
        HfApi().dataset_info(hub_id, revision=revision, timeout=_TIMEOUT_SECONDS)
    except (HTTPError, OSError) as error:
        failure = error
    try:
        folder = snapshot_download(
            hub_id,
            repo_type="dataset",
            revision=revision,
            allow_patterns=list(files),
            local_files_only=failure is not None,
        )
    except (HTTPError, OSError) as error:
        raise DataError(
            f"{hub_id} at revision {revision} is not in the Hugging Face cache and could not be fetched "
            f"({_reason(failure or error)}); {otherwise}, or connect to the network and run again."
        ) from error
    return Path(folder), Path(folder).name


def read_snapshot(folder: Path, split: str, label: str, *, first: int | None = None) -> Table:
    """One split of a folder in the hub's layout, read by ``datasets``.

    Args:
        folder: holds parquet, jsonl or csv files whose names or folders say the split.
        split: the split's name on the hub.
        label: how to call the data in messages.
        first: only so many rows from the start of the split; all of them when None.

    Raises:
        UsageError: there is no such split; lists those found.
        DataError: the files cannot be read.
    """
    import datasets

    try:
        found = datasets.get_dataset_split_names(str(folder))
        if split not in found:
            raise unknown_name(f"split of {label}", split, found)
        rows = split if first is None else f"{split}[:{first}]"
        table = datasets.load_dataset(str(folder), split=rows).with_format("arrow")[:]
    except (datasets.exceptions.DatasetsError, OSError, ValueError) as error:
        raise DataError(f"{label}: cannot be read ({_reason(error)}); delete {folder} and run again.") from error
    return Table(label, arrow_columns(table))


def _reason(error: Exception) -> str:
    """The error's kind and the first line of what it says."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
