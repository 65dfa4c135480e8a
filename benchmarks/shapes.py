"""Models of known shapes with random weights, and pairs of random tokens as long as STS-B's sentences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor, nn

from actsim.core.batch import Tokens
from actsim.core.linears import LinearMap
from actsim.models.layers import linear_maps
from actsim.models.pooling import Pooling

PAD_TOKEN = 0
FIRST_TOKEN = 1000
"""Random ids start here, above the reserved tokens of every vocabulary used; each shape's vocabulary is larger."""

LENGTH_SHIFT, LENGTH_MU, LENGTH_SIGMA, LENGTH_CORRELATION, LENGTH_MAX = 5, 1.97, 0.70, 0.82, 64
LENGTH_MEAN = 14.1
"""Tokens of a sentence: 5 + exp(N(1.97, 0.70²)), rounded, at most 64; the two normals of a pair correlate with 0.82.

Fitted by hand to the test split of STS-B (2758 sentences) under all-MiniLM-L6-v2's tokenizer, [CLS] and [SEP] included:

    ============  ====  ===  ===  ===  ===  ===  ===  =====================================
    tokens        mean   5%  25%  50%  75%  90%  95%  difference within a pair, 50% and 95%
    STS-B test    14.2    8    9   12   16   24   31  2 and 7
    distribution  14.1    7    9   12   17   23   28  2 and 10
    ============  ====  ===  ===  ===  ===  ===  ===  =====================================
"""


@dataclass(frozen=True)
class Shape:
    """A model's architecture and sizes.

    Attributes:
        name: what it is called on the command line.
        family: causal or encoder.
        config: name of the transformers configuration class.
        sizes: its values that differ from the class's defaults.
        half: the half-precision type that such a model is published in or usually run in.
    """

    name: str
    family: str
    config: str
    sizes: Mapping[str, int | float | bool]
    half: str = "float16"

    @property
    def objective(self) -> str:
        """The family's default read-out."""
        return "next-token" if self.family == "causal" else "embedding-norm"

    def configuration(self) -> transformers.PretrainedConfig:
        """The transformers configuration."""
        return getattr(transformers, self.config)(**self.sizes, pad_token_id=PAD_TOKEN)


def _llama(name: str, hidden: int, ffn: int, layers: int, heads: int, kv_heads: int = 0, **more: Any) -> Shape:
    sizes = {
        "hidden_size": hidden,
        "intermediate_size": ffn,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads or heads,
        "vocab_size": 32000,
        "max_position_embeddings": 4096,
    }
    return Shape(name, "causal", "LlamaConfig", {**sizes, **more})


MINILM = Shape(
    "minilm",
    "encoder",
    "BertConfig",
    {
        "hidden_size": 384,
        "intermediate_size": 1536,
        "num_hidden_layers": 6,
        "num_attention_heads": 12,
        "vocab_size": 30522,
        "max_position_embeddings": 512,
        "initializer_range": 0.05,  # MiniLM's weights are larger than BERT's default spread
    },
)
LLAMA_110M = _llama("llama-110m", 768, 2048, 12, 12, tie_word_embeddings=True)
LLAMA_2_7B = _llama("llama-2-7b", 4096, 11008, 32, 32)
LLAMA_3_8B = Shape(
    "llama-3-8b",
    "causal",
    "LlamaConfig",
    {
        **_llama("", 4096, 14336, 32, 32, 8).sizes,
        "vocab_size": 128256,
        "max_position_embeddings": 8192,
    },
    half="bfloat16",
)
QWEN_2_5_7B = Shape(
    "qwen2.5-7b",
    "causal",
    "Qwen2Config",
    {**_llama("", 3584, 18944, 28, 28, 4).sizes, "vocab_size": 152064, "max_position_embeddings": 32768},
    half="bfloat16",
)

SHAPES = {shape.name: shape for shape in (MINILM, LLAMA_110M, LLAMA_2_7B, LLAMA_3_8B, QWEN_2_5_7B)}

GROWTH = (
    _llama("llama-20m", 512, 1376, 6, 8),
    LLAMA_110M,
    _llama("llama-300m", 1024, 2816, 24, 16),
    _llama("llama-1b", 2048, 5632, 22, 32, 4),
    _llama("llama-3b", 3200, 8640, 26, 32),
    LLAMA_2_7B,
)
"""One family from 20 million to 7 billion parameters in its blocks."""


@dataclass(frozen=True)
class Counts:
    """Parameters of a shape.

    Attributes:
        scored: P, those of the scored linear maps, each counted once.
        layer: the scored parameters of the largest layer.
        head: those of the language-model head, 0 for an encoder.
        total: all of them, tied ones counted once.
    """

    scored: int
    layer: int
    head: int
    total: int


@dataclass(frozen=True)
class Subject:
    """A model with random weights, as the scorer needs it (``actsim.core.passes.ScoredModel``)."""

    shape: Shape
    model: transformers.PreTrainedModel
    maps: tuple[LinearMap, ...]
    blocks: tuple[nn.Module, ...]
    pooling: Callable[[Tensor, Tensor], Tensor] | None
    device: torch.device
    batchable: bool = True

    def counts(self) -> Counts:
        """Parameters of the model."""
        by_layer: dict[int, int] = {}
        for parameter, layer in {id(m.parameter): (m.parameter, m.layer) for m in self.maps}.values():
            by_layer[layer] = by_layer.get(layer, 0) + parameter.numel()
        head = self.model.get_output_embeddings()
        return Counts(
            scored=sum(by_layer.values()),
            layer=max(by_layer.values()),
            head=0 if head is None else head.weight.numel(),
            total=sum(parameter.numel() for parameter in self.model.parameters()),
        )


def build(shape: Shape, *, dtype: torch.dtype, device: torch.device, seed: int = 0) -> Subject:
    """The model of that shape on ``device``, its weights drawn there from ``seed``; no weight requires a gradient.

    On the ``meta`` device nothing is allocated and nothing drawn.
    """
    auto = transformers.AutoModelForCausalLM if shape.family == "causal" else transformers.AutoModel
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), device:
        torch.manual_seed(seed)
        model = auto.from_config(shape.configuration(), dtype=dtype, attn_implementation="sdpa")
    model.eval().requires_grad_(False)
    coverage = linear_maps(model)
    pooling = None if shape.family == "causal" else Pooling()
    return Subject(shape, model, coverage.maps, coverage.blocks, pooling, device)


def count(shape: Shape) -> Counts:
    """Parameters of a shape, without building the model."""
    return build(shape, dtype=torch.float32, device=torch.device("meta")).counts()


def draw_lengths(pairs: int, rng: np.random.Generator) -> np.ndarray:
    """Tokens of the two sentences of each pair, [pairs, 2], from the distribution described at LENGTH_SHIFT."""
    common = rng.standard_normal((pairs, 1))
    own = rng.standard_normal((pairs, 2))
    normal = np.sqrt(LENGTH_CORRELATION) * common + np.sqrt(1 - LENGTH_CORRELATION) * own
    lengths = LENGTH_SHIFT + np.rint(np.exp(LENGTH_MU + LENGTH_SIGMA * normal)).astype(np.int64)
    return np.minimum(lengths, LENGTH_MAX)


def draw_pairs(lengths: np.ndarray, vocabulary: int, rng: np.random.Generator) -> list[tuple[Tokens, Tokens]]:
    """Random token ids for ``lengths`` [pairs, 2]; none occurs twice, so nothing is saved by repeats."""

    def sentence(length: int) -> Tokens:
        return tuple(rng.integers(min(FIRST_TOKEN, vocabulary // 2), vocabulary, size=length).tolist())

    return [(sentence(a), sentence(b)) for a, b in lengths.tolist()]
