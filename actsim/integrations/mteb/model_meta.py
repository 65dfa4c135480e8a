"""What MTEB knows of actsim's models, before and after they are loaded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from importlib import metadata
from typing import Any

from mteb.models import ModelMeta
from mteb.models.model_implementations import MODEL_REGISTRY
from mteb.models.model_meta import ScoringFunction

from actsim.config import Encoding
from actsim.integrations.mteb.fingerprint_settings import ENCODING_SETTINGS, checked, part
from actsim.models.loading import weights_identity
from actsim.models.locate import DEFAULT_MODEL

ORGANISATION = "actsim"

INHERITED = (
    "release_date",
    "languages",
    "n_parameters",
    "n_embedding_parameters",
    "memory_usage_mb",
    "max_tokens",
    "license",
    "open_weights",
    "public_training_code",
    "public_training_data",
    "training_datasets",
    "reference",
)
"""What a model of fingerprints has of its base model; None where MTEB does not know that one."""

CITATION = """@inproceedings{wang2025exploring,
  title = {Exploring Activation Patterns of Parameters in Language Models},
  author = {Wang, Yudong and Dai, Damai and Yang, Zhe and Ma, Jingyuan and Sui, Zhifang},
  booktitle = {Proceedings of the AAAI Conference on Artificial Intelligence},
  year = {2025},
}"""


class FingerprintMeta(ModelMeta):
    """Metadata of a model of fingerprints; loading it fills in what the settings decide."""

    def load_model(self, *args: Any, **kwargs: Any) -> Any:
        """Load the encoder. MTEB gives it the registered metadata, which knows none of the settings of this call."""
        model: Any = super().load_model(*args, **kwargs)
        model.mteb_model_meta = model.mteb_model_meta.model_copy(update=model.facts())
        return model


def described(base: str, *, base_revision: str | None = None, **settings: Any) -> FingerprintMeta:
    """Metadata of the model made of ``base``, without loading it.

    Args:
        base: an id on the hub, or a folder.
        base_revision: commit on the hub; default the one that MTEB pins, where it knows the base model.
        settings: those of ``ActSimEncoder``.

    Raises:
        UsageError: an unknown setting, or one that is impossible.
        ModelError: weights that no commit names, and that cannot be found.
    """
    known = MODEL_REGISTRY.get(base)
    commit = base_revision or (known.revision if known is not None else None)
    own = checked(settings)
    inherited = {field: getattr(known, field, None) for field in INHERITED}
    from actsim.integrations.mteb.encoder import ActSimEncoder  # which needs this module

    return FingerprintMeta(
        **inherited,
        loader=ActSimEncoder,
        loader_kwargs={"base": base, "base_revision": commit, **own},
        name=name_of(base),
        revision=revision_of(commit or weights_identity(base), own),
        embed_dim=None,
        framework=["PyTorch", "Transformers"],
        similarity_fn_name=ScoringFunction.COSINE,
        use_instructions=False,
        adapted_from=base if known is not None else None,
        citation=CITATION,
    )


def name_of(base: str) -> str:
    """The name in MTEB of the model that is made of ``base``: ``actsim/`` and the last part of its name."""
    return f"{ORGANISATION}/{base.rstrip('/').rpartition('/')[2]}"


def base_of(name: str) -> str:
    """The base model that a name in MTEB stands for where none is registered: all of it but ``actsim/``."""
    base = name.removeprefix(f"{ORGANISATION}/")
    return DEFAULT_MODEL if name_of(DEFAULT_MODEL) == name else base


def revision_of(weights: str, settings: Mapping[str, Any]) -> str:
    """40 hexadecimal digits that change with the base model's weights, the settings and the version of actsim.

    Args:
        weights: what ``weights_identity`` gives.
        settings: as ``checked`` gives them; those of an Encoding are filled up with its defaults.
    """
    encoding = asdict(Encoding(**part(settings, ENCODING_SETTINGS)))
    made_of = {"weights": weights, "version": metadata.version("actsim"), "dtype": "float32", **settings, **encoding}
    return hashlib.sha256(json.dumps(made_of, sort_keys=True, default=str).encode()).hexdigest()[:40]
