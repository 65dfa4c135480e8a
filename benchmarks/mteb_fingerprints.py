"""Stock MTEB tasks on fingerprints beside the model's own embedding: score, fidelity, size, time.

    python -m benchmarks.mteb_fingerprints --out benchmarks/results/mteb-minilm.json
    python -m benchmarks.mteb_fingerprints --task STSBenchmark --kind columns --layers last

STSBenchmark (test) and SICK-R (all splits, as in MTEB) run as they are, on data of ``ACTSIM_DATA_DIR``. Fidelity is the
Spearman correlation of the vectors' cosines with the exact cosines of the whole patterns, in the same layers, over the
pairs of STSBenchmark; error is the mean of their absolute difference. Results are kept in ``--cache`` as MTEB keeps
them, so a run that was stopped goes on. Needs actsim[mteb] and the default model.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import mteb
import numpy as np
from datasets import Dataset, DatasetDict
from mteb.models.sentence_transformer_wrapper import SentenceTransformerEncoderWrapper
from scipy.stats import spearmanr
from sentence_transformers import SentenceTransformer
from torch.utils.data import DataLoader

import actsim
from actsim.data.pairs import load_pairs
from actsim.integrations.mteb import register
from actsim.models.locate import DEFAULT_MODEL, locate
from benchmarks.machine import describe, pick_device

ROWS = {"STSBenchmark": ("sts-b", ("test",)), "SICK-R": ("sick", ("train", "validation", "test"))}
KINDS = {
    "columns": {"kind": "columns", "dim": None},
    "rows": {"kind": "rows", "dim": None},
    "neurons": {"kind": "neurons", "dim": None},
    "columns, dim 8192": {"kind": "columns"},
    "columns, dim 1024": {"kind": "columns", "dim": 1024},
    "sketch, dim 8192": {"kind": "sketch"},
    "sketch, dim 1024": {"kind": "sketch", "dim": 1024},
    "sets 1 %, dim 8192": {"kind": "sets"},
    "sets 1 %, overlap": {"kind": "sets", "measure": "overlap"},
}
BANDS = ("last", "deep", "all")
TIMED = 200
"""Distinct sentences that the time is taken on."""


def stock_task(name: str) -> Any:
    """MTEB's task with the rows of ACTSIM_DATA_DIR in it."""
    dataset, splits = ROWS[name]
    rows: list[dict[str, Any]] = []
    for split in splits:
        pairs = load_pairs(dataset, split)
        columns = zip(pairs.sentences_a, pairs.sentences_b, pairs.gold.tolist(), strict=True)
        rows += [{"sentence1": a, "sentence2": b, "score": gold} for a, b, gold in columns]
    task = mteb.get_task(name)
    task.dataset, task.data_loaded = DatasetDict({"test": Dataset.from_list(rows)}), True
    return task


def scored(model: Any, task: Any, cache: Path) -> tuple[float, list[float]]:
    """The task's main score, and the cosine of every pair."""
    predictions = cache / "predictions" / model.mteb_model_meta.revision / task.metadata.name
    kept = predictions / "scores.json"
    if not kept.exists():
        result = mteb.evaluate(model, task, cache=None, prediction_folder=predictions)
        found = json.loads(task._predictions_path(predictions).read_text())
        cosines = found["default"]["test"]["cosine_scores"]
        kept.write_text(json.dumps({"score": result.task_results[0].get_score(), "cosines": cosines}))
    content = json.loads(kept.read_text())
    return content["score"], content["cosines"]


def own_embedding(device: str) -> Any:
    """The default model as MTEB runs it: its sentence embedding."""
    folder = locate(DEFAULT_MODEL).folder
    model = SentenceTransformerEncoderWrapper(SentenceTransformer(str(folder), device=device))
    model.mteb_model_meta = mteb.get_model_meta(DEFAULT_MODEL)
    return model


def exact_scores(cache: Path) -> np.ndarray:
    """Cosine of the whole patterns of STSBenchmark's pairs, [pairs, layers]."""
    run = actsim.evaluate(load_pairs("sts-b", "test"), DEFAULT_MODEL, out=cache / "exact", report=False)
    return run.layer_scores("cosine").to_numpy()


def batches(texts: Sequence[str]) -> DataLoader[Any]:
    """Texts as MTEB hands them to a model."""
    return DataLoader(Dataset.from_dict({"text": list(texts)}), batch_size=32)


def seconds_per_text(model: Any, texts: Sequence[str]) -> float:
    """Wall time of encoding, per text; the first call, which compiles what there is to compile, is not counted."""
    model.encode(batches(texts[:8]), **TASK)
    start = time.perf_counter()
    model.encode(batches(texts), **TASK)
    return (time.perf_counter() - start) / len(texts)


TASK = {"task_metadata": mteb.get_task("STSBenchmark").metadata, "hf_split": "test", "hf_subset": "default"}


def settings(kinds: Sequence[str], bands: Sequence[str]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Name, band and keyword arguments of every model."""
    for kind in kinds:
        for band in bands:
            yield kind, band, {**KINDS[kind], "layers": band}


def measure(options: argparse.Namespace, cache: Path) -> list[dict[str, Any]]:
    """One row per model."""
    tasks = {name: stock_task(name) for name in options.task}
    texts = list(dict.fromkeys(load_pairs("sts-b", "test").sentences_a))[:TIMED]
    exact = exact_scores(cache)
    bands = {"last": exact[:, -1], "deep": exact[:, exact.shape[1] // 2 :].mean(axis=1), "all": exact.mean(axis=1)}
    register()
    own = own_embedding(options.device)
    entries = own.encode(batches(texts[:1]), **TASK).shape[1]
    rows: list[dict[str, Any]] = [
        {"kind": "own embedding", "entries": entries, "ms": 1e3 * seconds_per_text(own, texts)}
    ]
    rows[0] |= {name: scored(own, task, cache)[0] for name, task in tasks.items()}
    print(json.dumps(rows[0]), flush=True)
    name = f"actsim/{DEFAULT_MODEL.rpartition('/')[2]}"
    for kind, band, given in settings(options.kind, options.layers):
        model = mteb.get_model(name, device=options.device, **given)
        row = {"kind": kind, "layers": band, "entries": model.encoder.width, "ms": 1e3 * seconds_per_text(model, texts)}
        for task_name, task in tasks.items():
            row[task_name], cosines = scored(model, task, cache)
            if task_name == "STSBenchmark":
                row |= {"fidelity": float(spearmanr(cosines, bands[band])[0])}
                row |= {"error": float(np.abs(np.array(cosines) - bands[band]).mean())}
        rows.append(row)
        print(json.dumps(row), flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--task", action="append", choices=ROWS)
    parser.add_argument("--kind", action="append", choices=KINDS)
    parser.add_argument("--layers", action="append", choices=BANDS)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "actsim-mteb-fingerprints")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    options.task = options.task or list(ROWS)
    options.kind, options.layers = options.kind or list(KINDS), options.layers or list(BANDS)
    rows = measure(options, options.cache)
    if options.out:
        machine = describe(pick_device(options.device))
        options.out.write_text(
            json.dumps({"machine": machine, "mteb": mteb.__version__, "rows": rows}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
