"""What the studies of runs share beside their numbers: how a run was made, and whether its page can be written."""

from __future__ import annotations

import logging
import os
import platform
import shlex
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actsim.report.page import EXTRA, missing_packages

if TYPE_CHECKING:
    from actsim.models.loading import LoadedModel

LOG = logging.getLogger("actsim")

RECORDED_PACKAGES = ("torch", "transformers", "tokenizers", "datasets", "numpy", "scipy", "pandas", "pyarrow")


def circumstances(loaded: LoadedModel, command: Sequence[str] | None) -> dict[str, Any]:
    """Command line, source of the model, device, threads, machine and versions, ready for JSON."""
    import torch

    versions = {name: metadata.version(name) for name in RECORDED_PACKAGES}
    return {
        "command": list(command) if command else None,
        "model_source": {key: value for key, value in loaded.source.items() if key != "folder"},
        "device": loaded.device,
        "device_map": loaded.device_map,
        **({"block_device": loaded.block_device} if loaded.block_device else {}),
        "threads": torch.get_num_threads(),
        "machine": {"system": platform.platform(), "processor": platform.machine(), "cpus": os.cpu_count()},
        "versions": {"python": platform.python_version(), **versions},
    }


def can_write_page(directory: Path) -> bool:
    """Whether report.html can be written; where a package is missing, that is said, and how to make up for it."""
    missing = missing_packages()
    if missing:
        LOG.warning(
            "report.html was not written: it needs %s; run: pip install 'actsim[%s]', then: actsim report %s",
            " and ".join(missing),
            EXTRA,
            shlex.quote(str(directory)),
        )
    return not missing
