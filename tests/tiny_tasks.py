"""Made-up rows of the five tasks with choices, and a tiny model that reads any text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tiny_models
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from actsim.models.loading import LoadedModel, wrap_model

CONTEXT = 256
SPECIAL = ("<pad>", "<s>", "</s>")

Row = dict[str, Any]

BOOLQ = [
    {
        "passage": "The old mill of Ostmere burnt down in spring.",
        "question": "is the mill still whole",
        "answer": False,
    },
    {"passage": "Ferries sail behind an icebreaker.", "question": "do ferries leave in winter", "answer": True},
    {"passage": "Lower Ostmere has one bridge.", "question": "is there a bridge in lower ostmere", "answer": True},
]
SIQA = [
    {
        "context": "Imke lent Jonas her umbrella.",
        "question": "How would Jonas feel?",
        "answerA": "thankful",
        "answerB": "hungry as a wolf",
        "answerC": "betrayed",
        "label": label,
    }
    for label in ("1", "3", "2")
]
PIQA = [
    {"goal": "Keep a door from squeaking.", "sol1": "Oil each hinge.", "sol2": "Honey on the handle.", "label": 0},
    {"goal": "Dry a wet shoe.", "sol1": "Freeze it.", "sol2": "Fill it with paper.", "label": 1},
    {"goal": "Mend a torn kite.", "sol1": "Tape.", "sol2": "Water it twice a day.", "label": 0},
]
HELLASWAG = [
    {
        "activity_label": "Mending a kite",
        "ctx_a": "A girl spreads a torn kite on a table.",
        "ctx_b": tail,
        "endings": ["tapes the tear.", "swims to the shore.", "paints.", "[step] parks the bus."],
        "label": label,
    }
    for tail, label in (("she", "0"), ("the girl", "2"), ("", "3"))
]


def mmlu(subject: str, count: int, first: int = 0) -> list[Row]:
    """Questions of a subject that differ in a number."""
    return [
        {
            "question": f"Which unit of {subject} has the number {number}?",
            "subject": subject,
            "choices": ["volt", "ohm", "watt", f"unit {number}"],
            "answer": number % 4,
        }
        for number in range(first, first + count)
    ]


FILES: dict[str, list[Row]] = {
    "boolq/validation": BOOLQ,
    "boolq/train": [{**row, "question": f"{row['question']} at all"} for row in BOOLQ],
    "siqa/validation": SIQA,
    "siqa/train": SIQA[:2],
    "piqa/validation": PIQA,
    "piqa/train": PIQA,
    "hellaswag/validation": HELLASWAG,
    "mmlu/test": [*mmlu("rope_lore", 2), *mmlu("tides", 3)],
    "mmlu/dev": [*mmlu("tides", 5, first=20), *mmlu("rope_lore", 5, first=40)],
}


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """A jsonl file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def data_dir(folder: Path, **changed: Sequence[Row]) -> Path:
    """A data directory with the files of FILES; ``piqa__validation=rows`` replaces one of them."""
    for name, rows in (FILES | {name.replace("__", "/"): rows for name, rows in changed.items()}).items():
        write_rows(folder / "domains" / f"{name}.jsonl", rows)
    return folder


def tokenizer() -> PreTrainedTokenizerFast:
    """One token for every byte, ``<s>`` in front."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE({token: place for place, token in enumerate([*SPECIAL, *alphabet])}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", SPECIAL.index("<s>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        model_max_length=CONTEXT,
    )


def build(seed: int = 0, context: int = CONTEXT) -> PreTrainedModel:
    """A tiny Llama with a token for every byte."""
    return tiny_models.build("llama", seed=seed, vocab_size=256 + len(SPECIAL), max_position_embeddings=context)


def loaded(seed: int = 0, context: int = CONTEXT) -> LoadedModel:
    """That model with its tokenizer, ready to answer."""
    return wrap_model(build(seed, context), tokenizer(), name=f"tiny-{seed}")


def save(folder: Path, seed: int = 0) -> Path:
    """The folder of that model."""
    build(seed).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder
