"""How a run was made: what is kept beside its configuration and changes no number."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib import metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from actsim.models.loading import LoadedModel

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
        "threads": torch.get_num_threads(),
        "machine": {"system": platform.platform(), "processor": platform.machine(), "cpus": os.cpu_count()},
        "versions": {"python": platform.python_version(), **versions},
    }
