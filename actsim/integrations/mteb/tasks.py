"""The evaluation as tasks of mteb: the activation fingerprints of whatever model it is given, pair by pair, exactly."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from mteb.abstasks.sts import AbsTaskSTS
from mteb.abstasks.task_metadata import TaskMetadata
from tqdm.auto import tqdm

from actsim.data.benchmarks import SICK, STS_B, Benchmark
from actsim.data.hf import as_dataset, pairs_of_dataset
from actsim.data.pairs import PairSet, load_pairs
from actsim.integrations.mteb.figures import MAIN_SCORE, figures, record
from actsim.integrations.mteb.opening import opened
from actsim.integrations.mteb.settings import Settings
from actsim.pipelines.sts import prepare, score_pairs
from actsim.stats.bands import Band

LOG = logging.getLogger("actsim")

UNION = "all"
"""The split that stands for all splits of a benchmark, one after the other."""

METHOD = (
    "The score of a pair is the similarity of the model's parameter activations |W ⊙ ∂D/∂W| under its two sentences "
    "(arXiv 2405.17799), layer by layer; the main score is Spearman's correlation of a band of layers."
)


class PairTask(AbsTaskSTS):
    """Sentence pairs with gold scores, scored by a model's activation patterns instead of its embeddings.

    A subclass has ``metadata`` and ``_load_split``. Its settings belong to the class: others make another task with
    another name, since mteb's cache tells results apart by model and task name alone.
    """

    data_loaded: bool
    settings: ClassVar[Settings] = Settings()
    title: ClassVar[str]
    """The name of the task with default settings."""
    plain: ClassVar[type[PairTask] | None] = None
    """Of a class that ``with_settings`` made: the one that it was made of."""

    @classmethod
    def with_settings(cls, **changes: Any) -> Self:
        """The same pairs under other settings: a task of its own, with a digest of what differs in its name.

        Args:
            changes: of ``Settings``: ``layers``, ``kinds``, ``objective``, ``pattern``, ``measure`` and others.

        Raises:
            UsageError: an unknown setting, or one that is impossible.
        """
        plain, settings = cls.plain or cls, cls.settings.changed_to(**changes)
        said = "".join(f" {name}: {value}." for name, value in settings.other_than_default().items())
        description = f"{plain.metadata.description} Settings:{said or ' default.'}"
        name = cls._name_with(settings)
        metadata = plain.metadata.model_copy(update={"name": name, "description": description})
        made: Any = type(
            name, (plain,), {"plain": plain, "settings": settings, "metadata": metadata, "__doc__": description}
        )
        return made()

    @classmethod
    def _name_with(cls, settings: Settings) -> str:
        changed = settings.other_than_default()
        return f"{cls.title}-{_digest(changed)}" if changed else cls.title

    def _load_split(self, split: str) -> Sequence[PairSet]:
        """The pairs of a split, in one part or several."""
        raise NotImplementedError

    def load_data(self, num_proc: int | None = None, **kwargs: Any) -> None:
        """Load the evaluated splits as ``load_pairs`` does: from ACTSIM_DATA_DIR, else from the hub at a fixed commit.

        Args:
            num_proc: not needed, the data is small.
            kwargs: what mteb passes on, by version.

        Raises:
            ActsimError: see ``load_pairs``; another release of the data than the declared one.
        """
        if not self.data_loaded:
            self.dataset = {split: as_dataset(self._load_split(split)) for split in self.eval_splits}
            self.data_loaded = True

    def _evaluate_subset(
        self,
        model: Any,
        data_split: Any,
        *,
        encode_kwargs: Any,
        hf_split: str,
        hf_subset: str,
        prediction_folder: Path | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """The figures of a split; see ``figures`` and ``record`` for its keys.

        Raises:
            ModelError: the model cannot be opened, see ``opened``.
            DataError: a row of the data is unfit.
            NumericError: a value that is not finite, or no correlation.
        """
        settings, pairs = self.settings, pairs_of_dataset(data_split, self.metadata.name, hf_split)
        with opened(model, max_tokens=settings.max_tokens) as loaded:
            for note in loaded.notes:
                LOG.warning("%s: %s", loaded.source["name"], note)
            scoring, band = settings.scoring_for(loaded), Band.parse(settings.layers, loaded.n_layers)
            hidden = not encode_kwargs.get("show_progress_bar", True)
            with tqdm(total=len(pairs), desc=self.metadata.name, unit="pair", disable=hidden) as bar:
                scores = score_pairs(prepare(loaded, pairs, scoring), progress=bar.update)
            found = figures(pairs.gold, scores, band, settings.measure, kinds=settings.kinds)
            found |= record(loaded, pairs, scoring, settings, band, scores)
        if prediction_folder is not None:
            layers = scores.layer_scores(settings.measure)
            predictions = {str(layer): values.tolist() for layer, values in layers.items()}
            self._save_task_predictions(predictions, model, prediction_folder, hf_split=hf_split, hf_subset=hf_subset)
        return found


class BenchmarkTask(PairTask):
    """The pairs of a benchmark's default release; the split ``all`` is all of its splits."""

    benchmark: ClassVar[Benchmark]

    def _load_split(self, split: str) -> list[PairSet]:
        names = list(self.benchmark.splits) if split == UNION else [split]
        release = self.benchmark.releases[0].name
        return [load_pairs(self.benchmark.name, name, release=release) for name in names]


def _benchmark_metadata(title: str, benchmark: Benchmark, **rest: Any) -> TaskMetadata:
    description = f"{benchmark.description}. Licence: {benchmark.licence}. {METHOD}"
    return TaskMetadata(
        name=title,
        dataset={"path": str(benchmark.hub_id), "revision": str(benchmark.hub_revision)},
        description=" ".join([description, *rest.pop("remarks", ())]),
        reference=benchmark.url,
        type="STS",
        category="t2t",
        modalities=["text"],
        eval_langs=["eng-Latn"],
        main_score=MAIN_SCORE,
        annotations_creators="human-annotated",
        dialect=[],
        **rest,
    )


class ActSimSTSB(BenchmarkTask):
    """STS-B, test split of 1379 pairs by default."""

    title = "ActSimSTSB"
    benchmark = STS_B
    min_score, max_score = 0, 5
    metadata = _benchmark_metadata(
        title,
        STS_B,
        eval_splits=["test"],
        date=("2012-01-01", "2017-12-31"),
        domains=["News", "Web", "Written"],
        task_subtypes=[],
        license="cc-by-sa-4.0",
        sample_creation="found",
        adapted_from=["STSBenchmark"],
        bibtex_citation=r"""
@inproceedings{cer-etal-2017-semeval,
  author = {Cer, Daniel and Diab, Mona and Agirre, Eneko and Lopez-Gazpio, I{\~n}igo and Specia, Lucia},
  booktitle = {Proceedings of the 11th International Workshop on Semantic Evaluation ({S}em{E}val-2017)},
  doi = {10.18653/v1/S17-2001},
  pages = {1--14},
  title = {{S}em{E}val-2017 Task 1: Semantic Textual Similarity Multilingual and Crosslingual Focused Evaluation},
  year = {2017},
}
""",
    )


class ActSimSICKR(BenchmarkTask):
    """SICK's relatedness, by default on all 9927 pairs as mteb's SICK-R; ``eval_splits=["test"]`` takes 4927."""

    title = "ActSimSICKR"
    benchmark = SICK
    min_score, max_score = 1, 5
    metadata = _benchmark_metadata(
        title,
        SICK,
        remarks=(
            "The split 'all', evaluated by default, is the union of train, validation and test: the 9927 pairs that "
            "mteb's SICK-R calls test. The split 'test' is the original one of 4927 pairs.",
        ),
        eval_splits=[UNION],
        date=("2014-01-01", "2014-12-31"),
        domains=["Web", "Written"],
        task_subtypes=["Textual Entailment"],
        license="cc-by-nc-sa-3.0",
        sample_creation="created",
        adapted_from=["SICK-R"],
        bibtex_citation=r"""
@inproceedings{marelli-etal-2014-sick,
  author = {Marelli, Marco and Menini, Stefano and Baroni, Marco and Bentivogli, Luisa and Bernardi, Raffaella
and Zamparelli, Roberto},
  booktitle = {Proceedings of the Ninth International Conference on Language Resources and Evaluation ({LREC}'14)},
  pages = {216--223},
  publisher = {European Language Resources Association (ELRA)},
  title = {A {SICK} cure for the evaluation of compositional distributional semantic models},
  url = {http://www.lrec-conf.org/proceedings/lrec2014/pdf/363_Paper.pdf},
  year = {2014},
}
""",
    )


class _OwnPairs(PairTask):
    """Pairs of the user's, in memory."""

    pairs: ClassVar[PairSet]

    @classmethod
    def _name_with(cls, settings: Settings) -> str:
        return f"{cls.title}-{_digest({'data': cls.pairs.fingerprint(), **settings.other_than_default()})}"

    def _load_split(self, split: str) -> list[PairSet]:
        return [self.pairs]


def pair_task(
    pairs: str | Path | PairSet, *, name: str | None = None, languages: Sequence[str] = ("eng-Latn",), **settings: Any
) -> PairTask:
    """Any sentence pairs with gold scores as a task.

    Its name ends in a digest of the data and of the settings that differ from their defaults: mteb's cache, which goes
    by names, then never takes the result of other pairs for these.

    Args:
        pairs: pairs from ``load_pairs``, or what that takes: a csv, tsv, jsonl or parquet file, a data set's name.
        name: what the task's name begins with; default ``ActSim-`` and the name of the data.
        languages: of the sentences, as mteb writes them.
        settings: see ``Settings``.

    Raises:
        ActsimError: see ``load_pairs`` and ``Settings``.
    """
    found = pairs if isinstance(pairs, PairSet) else load_pairs(str(pairs))
    title = name or f"ActSim-{re.sub('[^A-Za-z0-9._-]+', '_', Path(found.name).stem)}"
    metadata = TaskMetadata(
        name=title,
        dataset={"path": found.name, "revision": found.fingerprint()},
        description=f"{len(found)} sentence pairs of {found.name}, {found.split}. {METHOD}",
        type="STS",
        category="t2t",
        modalities=["text"],
        eval_splits=[found.split],
        eval_langs=list(languages),
        main_score=MAIN_SCORE,
    )
    plain: Any = type(title, (_OwnPairs,), {"pairs": found, "title": title, "metadata": metadata, "__doc__": title})
    return plain.with_settings(**settings)


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]
