"""A pruned model as a folder, with its plan and the record of how it was made."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from actsim import __version__
from actsim.config import digest_of
from actsim.errors import ResumeError, UsageError
from actsim.models.saving import save_masks, save_model, source_folder
from actsim.store.files import TEMPORARY_PREFIX, list_directory, sync_directory, write_atomic
from actsim.store.manifest import timestamp, to_json
from actsim.store.plans import PLAN_NAME
from actsim.studies.exports import EXPORT_NAME, llm_compressor_recipe
from actsim.studies.pruning import Request
from actsim.studies.record import circumstances

RECORD_NAME = "pruning.json"


def check_out(out: Path, folder: Path | None = None) -> None:
    """Raise, without touching anything, where no pruned model can be written.

    Args:
        out: where it is to go.
        folder: of the dense model.

    Raises:
        UsageError: a file, the dense model's own folder or one inside of it, or a directory that is not empty.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; --out takes a directory.")
    if folder is not None and (out.resolve() == folder.resolve() or folder.resolve() in out.resolve().parents):
        raise UsageError(f"{out} is the folder of the model itself, which stays as it is; give another --out.")
    if list_directory(out):
        raise UsageError(f"{out} is not empty; nothing was touched. Give another --out, or an empty directory.")


def write_pruned(
    request: Request,
    plan: dict[str, Any],
    out: Path,
    *,
    masks_only: bool = False,
    export: str | None = None,
    command: Sequence[str] | None = None,
) -> list[str]:
    """Write the pruned model, or its masks alone, with plan and record beside it; for ``export`` also the recipe by
    which that program prunes the dense model, see ``check_exportable``.

    All of it is made in a directory beside ``out`` and moved there when it is complete.

    Returns:
        The names of the files and folders in ``out``.

    Raises:
        UsageError: see ``check_out``.
        ModelError: see ``source_folder``.
        ResumeError: the operating system refuses.
    """
    check_out(out, source_folder(request.loaded))
    working = out.absolute().with_name(f"{TEMPORARY_PREFIX}{os.getpid()}-{out.name}")
    try:
        working.mkdir(parents=True)
        (save_masks if masks_only else save_model)(request.loaded, working)
        write_atomic(working / PLAN_NAME, to_json(plan))
        if export is not None:
            write_atomic(working / EXPORT_NAME, llm_compressor_recipe(request.loaded, plan).encode())
        write_atomic(working / RECORD_NAME, to_json(_record(request, plan, masks_only, command)))
        working.replace(out)
        sync_directory(out.absolute().parent)
    except OSError as error:
        raise ResumeError(
            f"cannot write {out}: {error.strerror or error}. Make room, or give another --out."
        ) from error
    finally:
        shutil.rmtree(working, ignore_errors=True)
    return sorted(path.name for path in out.iterdir())


def _record(request: Request, plan: dict[str, Any], masks_only: bool, command: Sequence[str] | None) -> dict[str, Any]:
    """What made the pruned model: configuration with the ids of its calibration samples, digest, circumstances."""
    return {
        "actsim": __version__,
        "written": timestamp(),
        "digest": digest_of(request.config),
        "config": request.config,
        "masks_only": masks_only,
        "achieved": plan["achieved"],
        "record": circumstances(request.loaded, command),
    }
