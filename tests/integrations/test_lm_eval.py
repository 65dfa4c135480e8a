"""Answers through lm-evaluation-harness against log-likelihoods added up one text at a time."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import tiny_models
import tiny_tasks
import torch

import actsim.integrations.lm_eval as integration
from actsim.data.choices import CHOICE_TASKS
from actsim.data.questions import load_questions
from actsim.errors import DataError, MissingExtraError, ModelError, NumericError
from actsim.models.loading import wrap_model

LETTERS = "ABCD"


@pytest.fixture(scope="module")
def lm_eval():
    return pytest.importorskip("lm_eval")


@pytest.fixture(scope="module")
def folder(lm_eval, tmp_path_factory):
    return tiny_tasks.data_dir(tmp_path_factory.mktemp("tasks"))


@pytest.fixture(scope="module")
def model(lm_eval):
    return tiny_tasks.loaded()


def as_written(task: str, row: tiny_tasks.Row) -> tuple[str, list[str], int]:
    """Question, choices and right choice of a row, written down without actsim."""
    if task == "boolq":
        return f"{row['passage']}\nQuestion: {row['question']}?\nAnswer:", ["no", "yes"], int(row["answer"])
    if task == "siqa":
        choices = [row["answerA"], row["answerB"], row["answerC"]]
        return f"Q: {row['context']} {row['question']}\nA:", choices, int(row["label"]) - 1
    if task == "piqa":
        return f"Question: {row['goal']}\nAnswer:", [row["sol1"], row["sol2"]], row["label"]
    if task == "hellaswag":
        context = f"{row['activity_label']}: {row['ctx_a']} {row['ctx_b'].capitalize()}".strip(" ")
        return context, [ending.replace("[step]", "") for ending in row["endings"]], int(row["label"])
    lines = "".join(f"{letter}. {choice}\n" for letter, choice in zip(LETTERS, row["choices"], strict=True))
    return f"{row['question']}\n{lines}Answer:", list(LETTERS), row["answer"]


def prompt(task: str, row: tiny_tasks.Row, shots: int) -> str:
    """The question behind the first examples of its subject."""
    text, _, _ = as_written(task, row)
    if task != "mmlu":
        return text
    subject = row["subject"]
    pool = [example for example in tiny_tasks.FILES["mmlu/dev"] if example["subject"] == subject]
    solved = [f"{as_written(task, own)[0]} {LETTERS[own['answer']]}\n\n" for own in pool[:shots]]
    about = subject.replace("_", " ")
    return f"The following are multiple choice questions (with answers) about {about}.\n\n{''.join(solved)}{text}"


@torch.no_grad()
def loglikelihood(model, context: str, choice: str) -> float:
    """Of ``choice`` behind ``context``, from one pass over both; the context loses what the model does not take."""
    ids = model.tokenizer(f"{context} {choice}")["input_ids"]
    choice_tokens = len(ids) - len(model.tokenizer(context)["input_ids"])
    kept = ids[-(model.max_tokens + 1) :]
    logs = model.model(torch.tensor([kept[:-1]])).logits[0].double().log_softmax(dim=-1)
    return sum(logs[place - 1, kept[place]].item() for place in range(len(kept) - choice_tokens, len(kept)))


@pytest.mark.parametrize(("task", "shots"), [*((task, 0) for task in CHOICE_TASKS), ("mmlu", 2)])
def test_answers_are_those_of_log_likelihoods_added_up_one_by_one(model, folder, task, shots):
    found = integration.answers(load_questions(task, shots=shots, data_dir=folder), model, batch_tokens=600)
    split = "test" if task == "mmlu" else "validation"
    assert sorted(own["row"] for own in found) == list(range(len(tiny_tasks.FILES[f"{task}/{split}"])))
    for own in found:
        row = tiny_tasks.FILES[f"{task}/{split}"][own["row"]]
        _, choices, right = as_written(task, row)
        logs = torch.tensor([loglikelihood(model, prompt(task, row, shots), choice) for choice in choices])
        lengths = torch.tensor([len(choice) for choice in choices])
        torch.testing.assert_close(torch.tensor(own["loglikelihoods"]), logs, rtol=1e-4, atol=1e-3)
        assert own["right"] == right
        assert own["chosen"] == logs.argmax()
        assert own["acc"] == (logs.argmax() == right)
        assert own["acc_norm"] == ((logs / lengths).argmax() == right)


def test_answers_do_not_depend_on_the_batches(model, folder):
    questions = load_questions("piqa", data_dir=folder)
    alone, together = (integration.answers(questions, model, batch_tokens=tokens) for tokens in (1, 10_000))
    for one, other in zip(alone, together, strict=True):
        assert one["loglikelihoods"] == pytest.approx(other["loglikelihoods"], rel=1e-5)


def harness_config(lm_eval, name: str, read) -> dict:
    """The configuration of one of the harness's own tasks, with the rows that ``read`` gives."""
    from lm_eval.tasks._yaml_loader import load_yaml

    config = load_yaml(Path(lm_eval.__file__).parent / "tasks" / name, resolve_func=True)
    left_out = ("dataset_path", "dataset_name", "tag", "metadata", "training_split", "include")
    return {key: value for key, value in config.items() if key not in left_out} | {"custom_dataset": read}


OWN_TASKS = {
    "boolq": ("super_glue/boolq/default.yaml", {"label": lambda row: int(row["answer"])}),
    "siqa": ("siqa/siqa.yaml", {}),
    "piqa": ("piqa/piqa.yaml", {}),
    "hellaswag": ("hellaswag/hellaswag.yaml", {}),
    "mmlu": ("mmlu/default/mmlu_anatomy.yaml", {}),
}


@pytest.mark.parametrize("task", OWN_TASKS)
def test_prompts_are_those_of_the_harness_own_tasks(lm_eval, tmp_path, task):
    from lm_eval.api.task import ConfigurableTask

    from actsim.data.hf import rows_dataset

    path, further = OWN_TASKS[task]
    rows = tiny_tasks.mmlu("anatomy", 3) if task == "mmlu" else tiny_tasks.FILES[f"{task}/validation"]
    examples = tiny_tasks.mmlu("anatomy", 5, first=7)
    changed = {"mmlu__test": rows, "mmlu__dev": examples} if task == "mmlu" else {}
    questions = load_questions(task, data_dir=tiny_tasks.data_dir(tmp_path, **changed))
    (ours,) = integration.harness_tasks(questions).values()
    whole = [row | {column: made(row) for column, made in further.items()} for row in rows]
    splits = {"validation": rows_dataset(whole), "test": rows_dataset(whole), "dev": rows_dataset(examples)}
    theirs = ConfigurableTask(config=harness_config(lm_eval, path, lambda **_: splits))
    for own, other in zip(ours.eval_docs, theirs.eval_docs, strict=True):
        assert ours.fewshot_context(own, questions.shots) == theirs.fewshot_context(other, questions.shots)
        assert ours.doc_to_choice(own) == theirs.doc_to_choice(other)
        assert ours.doc_to_target(own) == int(theirs.doc_to_target(other))


def test_tasks_cannot_be_taken_for_those_of_the_harness(lm_eval, folder):
    names = [name for task in CHOICE_TASKS for name in integration.harness_tasks(load_questions(task, data_dir=folder))]
    assert names[:4] == ["actsim_boolq", "actsim_siqa", "actsim_piqa", "actsim_hellaswag"]
    assert names[4:] == ["actsim_mmlu_rope_lore", "actsim_mmlu_tides"]


def test_a_question_is_never_its_own_example(lm_eval, folder):
    questions = load_questions("hellaswag", shots=2, data_dir=folder)
    (task,) = integration.harness_tasks(questions).values()
    for doc in task.eval_docs:
        solved, _, asked = task.fewshot_context(doc, 2).rpartition("\n\n")
        assert asked == doc["text"]
        assert doc["choices"][doc["right"]] not in solved


def test_drawn_examples_follow_the_seed(lm_eval, folder):
    def contexts(seed: int) -> list[str]:
        questions = load_questions("piqa", shots=2, seed=seed, data_dir=folder)
        (task,) = integration.harness_tasks(questions).values()
        return [task.fewshot_context(doc, 2) for doc in task.eval_docs]

    assert contexts(0) == contexts(0)
    assert len({tuple(contexts(seed)) for seed in range(4)}) > 1


def test_what_was_cut_is_counted(lm_eval, folder):
    found = integration.answers(
        load_questions("piqa", data_dir=folder), tiny_tasks.loaded(context=56), batch_tokens=600
    )
    expected = {}
    for row, own in enumerate(tiny_tasks.PIQA):
        text, choices, _ = as_written("piqa", own)
        expected[row] = sum(1 + len(f"{text} {choice}") > 57 for choice in choices)
    assert {own["row"]: own["cut"] for own in found} == expected
    assert sorted(expected.values()) == [0, 1, 2]


def test_every_choice_is_told_and_nothing_is_printed(model, folder, capfd):
    told: list[int] = []
    questions = load_questions("siqa", data_dir=folder)
    integration.answers(questions, model, batch_tokens=100, count=told.append)
    assert sum(told) == questions.n_choices
    assert len(told) > 1
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("lm_eval").level != logging.ERROR


def test_the_model_is_not_changed(model, folder):
    before = {name: value.clone() for name, value in model.model.state_dict().items()}
    integration.answers(load_questions("piqa", data_dir=folder), model, batch_tokens=600)
    assert all(torch.equal(before[name], value) for name, value in model.model.state_dict().items())
    assert not any(parameter.requires_grad for parameter in model.model.parameters())


def test_a_choice_that_does_not_fit_is_refused(lm_eval, tmp_path):
    rows = [{**tiny_tasks.PIQA[0], "sol1": "drip " * 20}]
    folder = tiny_tasks.data_dir(tmp_path, piqa__validation=rows)
    with pytest.raises(DataError, match="has 100 tokens, and the model takes 1 to 64"):
        integration.answers(load_questions("piqa", data_dir=folder), tiny_tasks.loaded(context=64), batch_tokens=600)


def test_a_log_likelihood_that_is_not_finite_is_refused(lm_eval, folder):
    broken = tiny_tasks.build()
    with torch.no_grad():
        broken.model.norm.weight.fill_(float("inf"))
    model = tiny_tasks.loaded()
    model.model = broken.eval()
    with pytest.raises(NumericError, match=r"siqa, row \d: .* --dtype float32"):
        integration.answers(load_questions("siqa", data_dir=folder), model, batch_tokens=600)


def test_models_without_log_likelihoods_are_refused(lm_eval):
    with pytest.raises(ModelError, match="tiny-bert was loaded as encoder"):
        integration.check_model(tiny_models.loaded("bert"))
    ending = tiny_models.tokenizer(start=False)
    from tokenizers import processors

    ending.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", tiny_models.EOS)]
    )
    with pytest.raises(ModelError, match="puts </s> behind every text"):
        integration.check_model(wrap_model(tiny_models.build("llama"), ending, name="ends"))


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(integration.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'actsim\[lm-eval\]'"):
        integration.answers  # noqa: B018
