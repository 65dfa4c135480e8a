"""Tiny random models of many families, their tokenizer, and folders of them; shared by all tests.

Weights are drawn with a larger spread than transformers' default, so that no pattern is all but zero.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from actsim.models.loading import LoadedModel, wrap_model
from actsim.models.pooling import Pooling

WORDS = re.findall(
    r"\w+",
    """
    a an the old young man woman child dog cat bird birds horse horses tree house river road car train
    boat ball is are was runs walks sits sleeps eats plays reads sings flies swims jumps looks waits red
    green blue small big fast slow happy quiet warm in on under near with without and or not two three
    """,
)
SPECIAL = ("<pad>", "<unk>", "<s>", "</s>", "<mask>")
VOCABULARY = {word: index for index, word in enumerate(dict.fromkeys((*SPECIAL, *WORDS)))}
PAD, UNK, BOS, EOS, _MASK = range(len(SPECIAL))
MAX_POSITIONS = 64

SENTENCES = (
    "the old dog sleeps under the tree",
    "a young cat plays with a small red ball",
    "two birds and three horses",
    "the woman reads",
    "a man walks near the quiet river with a big happy dog and a child",
    "boat",
)

_SIZES = {
    "vocab_size": len(VOCABULARY),
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "max_position_embeddings": MAX_POSITIONS,
    "initializer_range": 0.15,
    "pad_token_id": PAD,
    "bos_token_id": BOS,
    "eos_token_id": EOS,
}
_GROUPED = {**_SIZES, "num_key_value_heads": 1}
_HEAD_DIM = {**_GROUPED, "head_dim": 8}
_GPT2 = {
    "vocab_size": len(VOCABULARY),
    "n_embd": 24,
    "n_layer": 3,
    "n_head": 3,
    "n_positions": MAX_POSITIONS,
    "initializer_range": 0.15,
    "pad_token_id": PAD,
    "bos_token_id": BOS,
    "eos_token_id": EOS,
}
_ENCODER_DECODER = {
    "vocab_size": len(VOCABULARY),
    "d_model": 24,
    "pad_token_id": PAD,
    "bos_token_id": BOS,
    "eos_token_id": EOS,
    "decoder_start_token_id": BOS,
}
_RELATIVE = {
    **_SIZES,
    "relative_attention": True,
    "pos_att_type": ["p2c", "c2p"],
    "position_biased_input": False,
    "type_vocab_size": 0,
}
_ROBERTA = {**_SIZES, "max_position_embeddings": MAX_POSITIONS + 1}  # positions start after the padding id, 0

CAUSAL: dict[str, tuple[str, str, dict]] = {
    "llama": ("LlamaForCausalLM", "LlamaConfig", {**_GROUPED, "tie_word_embeddings": True}),
    "mistral": ("MistralForCausalLM", "MistralConfig", _GROUPED),
    "qwen2": ("Qwen2ForCausalLM", "Qwen2Config", _GROUPED),
    "qwen3": ("Qwen3ForCausalLM", "Qwen3Config", _HEAD_DIM),
    "gemma": ("GemmaForCausalLM", "GemmaConfig", _HEAD_DIM),
    "gemma2": ("Gemma2ForCausalLM", "Gemma2Config", _HEAD_DIM),
    "gemma3": ("Gemma3ForCausalLM", "Gemma3TextConfig", _HEAD_DIM),
    "phi3": ("Phi3ForCausalLM", "Phi3Config", _GROUPED),
    "gpt2": ("GPT2LMHeadModel", "GPT2Config", _GPT2),
    "gpt_neo": (
        "GPTNeoForCausalLM",
        "GPTNeoConfig",
        {
            **{key: value for key, value in _SIZES.items() if not key.startswith("num")},
            "num_layers": 2,
            "num_heads": 3,
            "attention_types": [[["global", "local"], 1]],
        },
    ),
    "gpt_neox": ("GPTNeoXForCausalLM", "GPTNeoXConfig", _SIZES),
    "falcon": (
        "FalconForCausalLM",
        "FalconConfig",
        {key: value for key, value in _SIZES.items() if key != "intermediate_size"},
    ),
    "opt": (
        "OPTForCausalLM",
        "OPTConfig",
        {
            **{key: value for key, value in _SIZES.items() if key not in ("initializer_range", "intermediate_size")},
            "ffn_dim": 40,
            "word_embed_proj_dim": 24,
            "init_std": 0.15,
        },
    ),
}
ENCODERS: dict[str, tuple[str, str, dict]] = {
    "bert": ("BertModel", "BertConfig", _SIZES),
    "roberta": ("RobertaModel", "RobertaConfig", _ROBERTA),
    "xlm_roberta": ("XLMRobertaModel", "XLMRobertaConfig", _ROBERTA),
    "distilbert": (
        "DistilBertModel",
        "DistilBertConfig",
        {
            "vocab_size": len(VOCABULARY),
            "dim": 24,
            "hidden_dim": 40,
            "n_layers": 3,
            "n_heads": 3,
            "max_position_embeddings": MAX_POSITIONS,
            "initializer_range": 0.15,
            "pad_token_id": PAD,
        },
    ),
    "albert": ("AlbertModel", "AlbertConfig", {**_SIZES, "embedding_size": 16, "num_hidden_groups": 1}),
    "deberta": ("DebertaModel", "DebertaConfig", _RELATIVE),
    "deberta_v2": (
        "DebertaV2Model",
        "DebertaV2Config",
        {**_RELATIVE, "share_att_key": True, "position_buckets": 8, "norm_rel_ebd": "layer_norm"},
    ),
    "electra": ("ElectraModel", "ElectraConfig", {**_SIZES, "embedding_size": 16}),
    "modernbert": (
        "ModernBertModel",
        "ModernBertConfig",
        {**_SIZES, "cls_token_id": BOS, "sep_token_id": EOS, "initializer_cutoff_factor": 2.0, "local_attention": 8},
    ),
    "mpnet": ("MPNetModel", "MPNetConfig", {**_ROBERTA, "pad_token_id": 1}),
}
REFUSED: dict[str, tuple[str, str, dict]] = {
    "mixtral": ("MixtralForCausalLM", "MixtralConfig", {**_GROUPED, "num_local_experts": 2}),
    "qwen2_moe": (
        "Qwen2MoeForCausalLM",
        "Qwen2MoeConfig",
        {**_GROUPED, "num_experts": 2, "moe_intermediate_size": 16, "shared_expert_intermediate_size": 16},
    ),
    "mamba": (
        "MambaForCausalLM",
        "MambaConfig",
        {
            "vocab_size": len(VOCABULARY),
            "hidden_size": 24,
            "num_hidden_layers": 2,
            "state_size": 4,
            "pad_token_id": PAD,
        },
    ),
    "t5": (
        "T5ForConditionalGeneration",
        "T5Config",
        {**_ENCODER_DECODER, "d_kv": 8, "d_ff": 40, "num_layers": 2, "num_heads": 3},
    ),
    "bart": (
        "BartModel",
        "BartConfig",
        {
            **_ENCODER_DECODER,
            **{f"{side}_layers": 2 for side in ("encoder", "decoder")},
            **{f"{side}_attention_heads": 3 for side in ("encoder", "decoder")},
            **{f"{side}_ffn_dim": 40 for side in ("encoder", "decoder")},
        },
    ),
}
_ALL = {**CAUSAL, **ENCODERS, **REFUSED}


def build(name: str, *, seed: int = 0, architecture: str | None = None, **changes: object) -> PreTrainedModel:
    """The tiny model of that name in evaluation mode, its weights drawn from ``seed``.

    Args:
        name: a key of CAUSAL, ENCODERS or REFUSED.
        seed: the global generator is seeded for the draw and restored afterwards.
        architecture: another class of the same configuration, e.g. ``BertForSequenceClassification``.
        changes: configuration values that differ.
    """
    default_architecture, config_name, values = _ALL[name]
    config = getattr(transformers, config_name)(**{**values, **changes})
    architecture = architecture or default_architecture
    config.architectures = [architecture]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = getattr(transformers, architecture)(config)
        _spread_constants(model)
    return model.eval()


def _spread_constants(model: PreTrainedModel) -> None:
    """Move norms and biases off their initial ones and zeros, where a wrong use of them would not show."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))


def tokenizer(*, pad: bool = True, start: bool = True) -> PreTrainedTokenizerFast:
    """One token per word of WORDS; ``<s>`` in front where ``start``; without a padding token where not ``pad``."""
    backend = Tokenizer(models.WordLevel(VOCABULARY, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if start:
        backend.post_processor = processors.TemplateProcessing(
            single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", BOS)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        mask_token="<mask>",
        model_max_length=MAX_POSITIONS,
        **({"pad_token": "<pad>"} if pad else {}),
    )


def loaded(
    name: str,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    pooling: Pooling | None = None,
    max_tokens: int | None = None,
    change: Callable[[PreTrainedModel], None] | None = None,
) -> LoadedModel:
    """A tiny model ready to be scored; ``change`` may alter its weights first."""
    model = build(name, seed=seed).to(dtype)
    if change is not None:
        change(model)
    return wrap_model(model, tokenizer(), name=f"tiny-{name}", pooling=pooling, max_tokens=max_tokens)


def save(folder: Path, name: str, *, seed: int = 0, architecture: str | None = None, **changes: object) -> Path:
    """Write a tiny model and its tokenizer into ``folder`` as ``save_pretrained`` does; returns the folder."""
    build(name, seed=seed, architecture=architecture, **changes).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder
