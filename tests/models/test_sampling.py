"""Samples of a domain: seeded, without replacement, cut on the left or packed to an exact length."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import tiny_models
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from actsim.data.domains import Domain, load_domain
from actsim.errors import DataError, ModelError, UsageError
from actsim.models.controls import shuffled_tokens
from actsim.models.loading import LoadedModel, wrap_model
from actsim.models.sampling import draw_samples

WORDS = tiny_models.WORDS


@pytest.fixture(scope="module")
def llama() -> LoadedModel:
    return tiny_models.loaded("llama")


def domain(texts: list[str], *, packed: bool = False) -> Domain:
    ids = tuple(f"t{place}" for place in range(len(texts)))
    return Domain("made-up", tuple(texts), ids, packed, None, 0, None, 0, {"kind": "file", "path": "made-up.txt"})


def word_texts(count: int, length: int) -> list[str]:
    """Texts of so many words, no two alike."""
    return [
        " ".join(WORDS[(place + step * (place + 1)) % len(WORDS)] for step in range(length)) for place in range(count)
    ]


def tokens_of(text: str) -> tuple[int, ...]:
    return tuple(tiny_models.VOCABULARY[word] for word in text.split())


def test_samples_are_texts_of_the_pool_each_once(llama: LoadedModel) -> None:
    pool = domain(word_texts(20, 5))
    drawn = draw_samples(pool, llama, samples=20, max_tokens=16)
    assert sorted(drawn.ids) == sorted(pool.ids) and drawn.ids != pool.ids
    for name, tokens in zip(drawn.ids, drawn.tokens, strict=True):
        assert tokens == (tiny_models.BOS, *tokens_of(pool.texts[pool.ids.index(name)]))
    assert drawn.truncated == 0 and drawn.available == 20


@pytest.mark.parametrize("packed", [False, True])
def test_the_seed_decides_and_fewer_samples_are_the_first_of_more(llama: LoadedModel, packed: bool) -> None:
    pool = domain(word_texts(30, 7), packed=packed)
    draw = lambda count, seed: draw_samples(pool, llama, samples=count, max_tokens=8, seed=seed)  # noqa: E731
    many = draw(12, 3)
    assert many == draw(12, 3) and many.fingerprint() == draw(12, 3).fingerprint()
    assert draw(5, 3).tokens == many.tokens[:5] and draw(5, 3).ids == many.ids[:5]
    assert draw(12, 4).ids != many.ids and draw(12, 4).fingerprint() != many.fingerprint()


def test_a_long_text_is_cut_on_the_left_between_the_special_tokens() -> None:
    backend = Tokenizer(models.WordLevel(tiny_models.VOCABULARY, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", tiny_models.BOS), ("</s>", tiny_models.EOS)]
    )
    both = transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="<unk>", pad_token="<pad>", model_max_length=64
    )
    model = wrap_model(tiny_models.build("llama"), both, name="both-ends")
    texts = word_texts(3, 20)
    drawn = draw_samples(domain(texts), model, samples=3, max_tokens=9)
    for name, tokens in zip(drawn.ids, drawn.tokens, strict=True):
        assert tokens == (tiny_models.BOS, *tokens_of(texts[int(name[1:])])[-7:], tiny_models.EOS)
    assert drawn.truncated == 3 and drawn.max_tokens == 9


def test_packed_samples_are_disjoint_windows_of_the_text_laid_end_to_end(llama: LoadedModel) -> None:
    texts = word_texts(9, 5)
    stream = [token for text in texts for token in tokens_of(text)]
    drawn = draw_samples(domain(texts, packed=True), llama, samples=6, max_tokens=8)
    assert {len(tokens) for tokens in drawn.tokens} == {8} and drawn.available == len(stream) // 7 == 6
    windows = {f"#{number}": (tiny_models.BOS, *stream[7 * number : 7 * number + 7]) for number in range(6)}
    assert {name.split()[1]: tokens for name, tokens in zip(drawn.ids, drawn.tokens, strict=True)} == windows
    for name in drawn.ids:
        place, number = name.split(" #")
        first, last = 7 * int(number) // 5, (7 * int(number) + 6) // 5
        assert place == f"t{first}..t{last}"
    assert drawn.truncated == 0


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        (False, "made-up: 4 samples wanted, the domain has 3 texts; give a smaller --samples, or more text"),
        (True, r"made-up: 4 samples wanted, the domain has 2 of 7 tokens \(15 tokens\); give .* or --max-tokens"),
    ],
)
def test_too_little_text_is_refused_with_both_counts(llama: LoadedModel, packed: bool, message: str) -> None:
    with pytest.raises(DataError, match=message):
        draw_samples(domain(word_texts(3, 5), packed=packed), llama, samples=4, max_tokens=8)


@pytest.mark.parametrize(("options", "message"), [({"samples": 0}, "--samples must"), ({"max_tokens": 65}, "2 to 64")])
def test_counts_that_make_no_sense_are_refused(llama: LoadedModel, options: dict[str, int], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        draw_samples(domain(word_texts(3, 5)), llama, **{"samples": 1, "max_tokens": 8, **options})


def test_a_text_without_a_token_is_named(llama: LoadedModel) -> None:
    with pytest.raises(DataError, match="made-up: the text t0 has no token"):
        draw_samples(domain(["\u2003"]), llama, samples=1, max_tokens=8)


def test_a_tokenizer_that_changes_the_text_between_its_special_tokens_is_refused(llama: LoadedModel) -> None:
    class Reversing:
        is_fast, model_max_length = True, 64

        def num_special_tokens_to_add(self) -> int:
            return 0

        def __call__(self, texts: Any, add_special_tokens: bool = True, **options: Any) -> dict[str, Any]:
            return {"input_ids": [2, 1] if add_special_tokens else [[1, 2]]}

    with pytest.raises(ModelError, match="Reversing does not put its special tokens around a text"):
        draw_samples(domain(["a b"]), replace(llama, tokenizer=Reversing()), samples=1, max_tokens=8)


def test_a_control_with_shuffled_tokens_gets_the_same_tokens_in_another_order(llama: LoadedModel) -> None:
    pool = domain(word_texts(6, 12))
    plain = draw_samples(pool, llama, samples=6, max_tokens=10)
    shuffled = draw_samples(pool, shuffled_tokens(llama, 1), samples=6, max_tokens=10)
    assert shuffled.ids == plain.ids and shuffled.tokens != plain.tokens
    assert [sorted(tokens) for tokens in shuffled.tokens] == [sorted(tokens) for tokens in plain.tokens]
    assert all(tokens[0] == tiny_models.BOS for tokens in shuffled.tokens)


def test_the_identity_is_ready_for_a_manifest(llama: LoadedModel) -> None:
    drawn = draw_samples(load_domain("sample:contracts"), llama, samples=4, max_tokens=12, seed=5)
    identity = json.loads(json.dumps(drawn.identity()))
    assert identity["ids"] == list(drawn.ids) and all(name.startswith("contracts-") for name in drawn.ids)
    assert (identity["n"], identity["seed"], identity["available"], identity["tokens"]) == (4, 5, 16, 48)
    assert identity["truncated"] == 4 and identity["source"]["split"] == "all" and identity["source"]["shots"] == 0
    other = replace(drawn, tokens=(drawn.tokens[1], drawn.tokens[0], *drawn.tokens[2:]))
    assert other.fingerprint() != drawn.fingerprint() == identity["fingerprint"]
