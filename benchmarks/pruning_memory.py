"""Peak memory of pruning a random Llama by Wanda on the CPU, above what is in use once its weights are loaded.

    python -m benchmarks.pruning_memory --blocks 12 --width 1024 --samples 16 --tokens 512
    python -m benchmarks.pruning_memory --blocks 32 --width 4096 --samples 16 --tokens 256      # 6.5 billion parameters

Prints one line of JSON; the model is made in a temporary directory and pruned there.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from actsim.models.devices import resolve_dtype
from actsim.models.loading import load_model
from actsim.models.sampling import Samples
from actsim.studies.pruned_files import write_pruned
from actsim.studies.pruning import Request, plan_document, prune
from actsim.studies.recipe import Recipe
from benchmarks.machine import PeakMemory

VOCABULARY = 4096
CPU = torch.device("cpu")


def save_random(folder: Path, options: argparse.Namespace) -> None:
    """A Llama with random weights and a tokenizer of numbers."""
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=options.width,
        intermediate_size=options.width * 11 // 4,
        num_hidden_layers=options.blocks,
        num_attention_heads=options.width // 64,
        max_position_embeddings=options.tokens,
        pad_token_id=0,
    )
    torch.manual_seed(0)
    torch.set_default_dtype(resolve_dtype(options.dtype, CPU))  # never a second copy in float32
    LlamaForCausalLM(config).save_pretrained(folder)
    torch.set_default_dtype(torch.float32)
    words = models.WordLevel({str(number): number for number in range(VOCABULARY)}, unk_token="1")
    backend = Tokenizer(words)
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="0", unk_token="1").save_pretrained(folder)


def random_samples(options: argparse.Namespace) -> Samples:
    """Calibration samples of random tokens."""
    drawn = torch.randint(2, VOCABULARY, (options.samples, options.tokens)).tolist()
    ids = tuple(str(number) for number in range(options.samples))
    return Samples(
        "random", tuple(map(tuple, drawn)), ids, 0, options.samples, options.tokens, 0, {"kind": "random tokens"}
    )


def measure(folder: Path, options: argparse.Namespace) -> dict[str, float | str]:
    """Megabytes of weights and hidden states, and of both phases' peaks above the loaded model."""
    loaded = load_model(folder / "dense", device="cpu", dtype=options.dtype)
    weights = sum(own.numel() * own.element_size() for own in loaded.model.parameters())
    request = Request(loaded, Recipe(), random_samples(options))
    peak = PeakMemory(CPU)
    if peak.problem is not None:
        return {"problem": peak.problem}
    peak.start_phase()
    allocation = request.allocate(None)
    blocks = prune(request, allocation)
    pruning = peak.phase_bytes() or 0
    peak.start_phase()
    write_pruned(request, plan_document(request, None, allocation, blocks), folder / "pruned")
    writing = peak.phase_bytes() or 0
    states = options.samples * options.tokens * options.width * resolve_dtype(options.dtype, CPU).itemsize
    return {
        "weights_mb": round(weights / 1e6, 1),
        "hidden_states_mb": round(states / 1e6, 1),
        "pruning_above_weights_mb": round(pruning / 1e6, 1),
        "writing_above_weights_mb": round(writing / 1e6, 1),
        "peak_over_weights": round(1 + max(pruning, writing) / weights, 3),
    }


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=12)
    parser.add_argument("--width", type=int, default=1024, help="of the hidden states, a multiple of 64")
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=512, help="of a sample")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="bfloat16")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        save_random(Path(folder) / "dense", options)
        print(json.dumps({**vars(options), **measure(Path(folder), options)}))


if __name__ == "__main__":
    main()
