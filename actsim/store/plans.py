"""Plans of sparsities: one for every block, as ``actsim prune`` writes and takes them."""

from __future__ import annotations

import json
from pathlib import Path

from actsim.errors import DataError, UsageError

PLAN_NAME = "plan.json"
FORM = '{"blocks": [{"layer": 1, "sparsity": 0.5}, …]}'


def read_plan(path: Path, n_layers: int) -> list[float]:
    """The sparsities of blocks 1 … L out of a plan; whatever else is in the file is left alone.

    Raises:
        UsageError: there is no such file, or it is a plan for another number of blocks.
        DataError: it is not a plan.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file; give a plan, see 'actsim prune --help', or the name of an allocation.")
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["blocks"]
        found = {int(row["layer"]): float(row["sparsity"]) for row in rows}
    except (ValueError, KeyError, TypeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise DataError(f"{path.name}: not a plan of sparsities ({reason}); it has to be {FORM}.") from error
    if len(found) != len(rows) or sorted(found) != list(range(1, n_layers + 1)):
        raise UsageError(
            f"{path.name}: a plan for layers {', '.join(str(row['layer']) for row in rows)}; the model has layers 1 to "
            f"{n_layers}, each of which needs one sparsity."
        )
    return [found[layer] for layer in range(1, n_layers + 1)]
