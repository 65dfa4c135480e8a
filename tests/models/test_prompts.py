"""Templates: the text is cut, never the template, and its own tokens are known."""

from __future__ import annotations

import pickle

import pytest
import tiny_models
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from actsim.config import TEMPLATES, RunConfig, Scoring
from actsim.core.batch import Prompt, pad
from actsim.errors import DataError, UsageError
from actsim.models.prompts import Template, tokenise_prompts
from actsim.models.tokenise import tokenise_for

FRAME = "the old {text} is not big"
TWICE = "the {text} and the {text} or"


def encode(template: str, texts, max_tokens: int = 64, tokenizer=None):
    tokenizer = tokenizer or tiny_models.tokenizer()
    labels = [f"sentence {row}" for row in range(len(texts))]
    return tokenise_prompts(tokenizer, Template.of(template), texts, labels, max_tokens)


def words(prompt: Prompt, span: tuple[int, int]) -> str:
    return tiny_models.tokenizer().decode(prompt[slice(*span)])


@pytest.mark.parametrize("text", tiny_models.SENTENCES)
def test_the_tokens_of_the_text_are_found(text):
    (prompt,), (cut,) = encode(FRAME, [text])
    assert tuple(prompt) == tuple(tiny_models.tokenizer()(FRAME.replace("{text}", text))["input_ids"])
    assert not cut and prompt.texts == ((3, 3 + len(text.split())),)
    assert words(prompt, prompt.texts[0]) == text


def test_the_last_of_two_texts_is_read():
    (prompt,), _ = encode(TWICE, ["old dog"])
    assert prompt.texts == ((2, 4), (6, 8))
    assert [words(prompt, span) for span in prompt.texts] == ["old dog", "old dog"]
    batch = pad((prompt,), ("a",), pad_token=0)
    assert batch.text[0].nonzero().flatten().tolist() == [6, 7]


def test_a_text_may_hold_what_a_template_is_made_of():
    (prompt,), _ = encode("the {text} is", ["dog {text} dog"])
    assert prompt.texts == ((2, 5),)


def test_a_token_of_text_and_template_belongs_to_the_text():
    (prompt,), _ = encode('the "{text}" is', ["old dog"])
    assert prompt.texts == ((2, 4),)  # "old and dog"


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """One token per byte, as byte-level tokenizers have for what they do not know."""
    alphabet = {sign: row for row, sign in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    backend = Tokenizer(models.BPE(vocab=alphabet, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=backend)


@pytest.mark.parametrize("text", ["dog", "café ü", "犬が寝る", "🐕 ok"])
def test_bytes_of_one_sign_are_all_found(text):
    tokenizer = byte_tokenizer()
    for template in TEMPLATES.values():
        (prompt,), _ = encode(template, [text], 1000, tokenizer)
        for start, stop in prompt.texts:
            assert tokenizer.decode(prompt[start:stop]) == text


@pytest.mark.parametrize("template", [FRAME, TWICE])
def test_the_text_is_cut_and_never_the_template(template):
    text = "dog cat bird horse tree house"
    whole = len(tiny_models.tokenizer()(template.replace("{text}", text))["input_ids"])
    slots = template.count("{text}")
    frame = whole - slots * 6
    for max_tokens in range(frame + slots, whole + 2):
        (prompt,), (cut,) = encode(template, [text], max_tokens)
        kept = text.split()[: min(6, (max_tokens - frame) // slots)]
        assert cut == (max_tokens < whole) and len(prompt) <= max_tokens
        assert tuple(prompt) == tuple(tiny_models.tokenizer()(template.replace("{text}", " ".join(kept)))["input_ids"])
        assert all(words(prompt, span) == " ".join(kept) for span in prompt.texts)
    with pytest.raises(UsageError, match=rf"max_tokens {frame + slots - 1}: .*leaves no room"):
        encode(template, [text], frame + slots - 1)


def test_a_text_without_a_token_is_named():
    with pytest.raises(DataError, match=r"^sentence 1: the sentence '  ' has no token"):
        encode(FRAME, ["dog", "  "])


def test_a_slow_tokenizer_is_refused():
    class Slow:
        is_fast = False

    with pytest.raises(UsageError, match=r"Slow is a slow one\. Leave --template out"):
        encode(FRAME, ["dog"], tokenizer=Slow())


def test_an_encoder_takes_no_template():
    with pytest.raises(UsageError, match=r"tiny-bert was loaded as encoder.*leave --template out"):
        tokenise_for(tiny_models.loaded("bert"), ["dog"], ["a"], Scoring("embedding-norm", template="echo"))


def test_names_stand_for_texts_and_plain_changes_no_configuration():
    for name, text in TEMPLATES.items():
        assert Scoring("nll", template=name) == Scoring("nll", template=text)
    assert Scoring("nll", template="plain") == Scoring("nll")
    content = RunConfig({}, {}, Scoring("nll", template="plain")).to_dict()
    assert "template" not in content["scoring"]
    digests = {RunConfig({}, {}, Scoring("nll", template=name)).digest() for name in (*TEMPLATES, FRAME)}
    assert len(digests) == len(TEMPLATES) + 1
    # the digest that this configuration had before there were templates
    assert RunConfig({}, {}, Scoring("nll")).digest().startswith("abadeca5522d56cf")


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("prompteal", r"unknown template 'prompteal'.*'prompteol'.*\{text\} stands"),
        ("", "unknown template ''"),
        ("{text} {text} {text}", "3 times; allowed is once, or twice"),
    ],
)
def test_what_is_no_template_is_refused(template, message):
    with pytest.raises(UsageError, match=message):
        Scoring("nll", template=template)


def test_prompts_are_told_apart_by_where_the_text_stands():
    first, same, other = Prompt((1, 2), [(0, 1)]), Prompt((1, 2), [(0, 1)]), Prompt((1, 2), [(1, 2)])
    assert first == same and hash(first) == hash(same) and len({first, same, other}) == 2
    assert first != other and first != (1, 2)
    copied = pickle.loads(pickle.dumps(other))
    assert copied == other and copied.texts == other.texts


def test_padding_is_no_text_and_a_sentence_keeps_its_text_alone():
    long, short = Prompt((1, 2, 3, 4), [(1, 3)]), Prompt((1, 5), [(1, 2)])
    batch = pad((long, short), ("a", "b"), pad_token=0)
    assert batch.text.tolist() == [[False, True, True, False], [False, True, False, False]]
    assert batch.part(1, 2).text.tolist() == [[False, True]]
    plain = pad(((1, 2, 3), (1, 5)), ("a", "b"), pad_token=0)
    assert plain.text_mask is None and torch.equal(plain.text, plain.valid)
