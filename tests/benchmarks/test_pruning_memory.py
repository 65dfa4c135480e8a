"""The memory of pruning is measured on a model that is really pruned."""

from __future__ import annotations

import argparse
import json

from benchmarks.pruning_memory import measure, save_random

OPTIONS = argparse.Namespace(blocks=2, width=64, samples=2, tokens=16, dtype="float32")


def test_the_weights_are_counted_and_the_model_is_pruned(tmp_path):
    save_random(tmp_path / "dense", OPTIONS)
    found = measure(tmp_path, OPTIONS)
    assert "problem" in found or found["peak_over_weights"] >= 1
    if "problem" not in found:
        per_block = 4 * 64 * 64 + 3 * 64 * 176 + 2 * 64
        assert found["weights_mb"] == round(4 * (2 * 4096 * 64 + 2 * per_block + 64) / 1e6, 1)
        plan = json.loads((tmp_path / "pruned" / "plan.json").read_text(encoding="utf-8"))
        assert plan["achieved"] == 0.5
