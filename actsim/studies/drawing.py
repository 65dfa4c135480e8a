"""From domains by name to their samples, for the studies over domains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from actsim.config import DEFAULT_SAMPLE_TOKENS, DEFAULT_SAMPLES, DomainConfig
from actsim.data.domains import Domain, load_domains
from actsim.registry import refuse_repeated
from actsim.studies import default_path

if TYPE_CHECKING:
    from actsim.models.loading import LoadedModel
    from actsim.models.sampling import Samples


@dataclass(frozen=True)
class Drawing:
    """How samples are drawn from domains.

    Attributes:
        samples: of every domain.
        max_tokens: the most tokens of a sample.
        shots: solved examples in front of each question.
        seed: of the draw, and of that of the solved examples.
        data_dir: where corpora are looked for, see ``load_domain``.
    """

    samples: int = DEFAULT_SAMPLES
    max_tokens: int = DEFAULT_SAMPLE_TOKENS
    shots: int = 0
    seed: int = 0
    data_dir: str | Path | None = None

    def load(self, domains: Sequence[str]) -> tuple[Domain, ...]:
        """The domains of these names; raises as ``load_domains``."""
        return load_domains(domains, shots=self.shots, seed=self.seed, data_dir=self.data_dir)

    def draw(self, domains: Sequence[Domain], loaded: LoadedModel) -> tuple[Samples, ...]:
        """Samples of every domain; raises as ``draw_samples``, UsageError where two domains have one name."""
        from actsim.models.sampling import draw_samples

        refuse_repeated("domain", [domain.name for domain in domains])
        return tuple(
            draw_samples(domain, loaded, samples=self.samples, max_tokens=self.max_tokens, seed=self.seed)
            for domain in domains
        )


def default_directory(config: DomainConfig) -> Path:
    """``reports/<study>-<model>-<first eight digits of the digest>``, in letters that every file system takes."""
    return default_path(config.study, config.model["name"], config.digest())
