"""The report of a run that was stored: rebuilt without a model, a data set or a pass."""

from __future__ import annotations

from pathlib import Path

from actsim.errors import UsageError
from actsim.report.density_files import density_files
from actsim.report.domain_files import domain_files
from actsim.report.files import PAGE, report_files
from actsim.report.page import check_packages
from actsim.report.study_files import study_files
from actsim.store import Run, cells, densities, open_run, replace_files, similarities, study_in
from actsim.store.files import write_atomic
from actsim.store.manifest import MANIFEST_NAME, SUMMARY_NAME
from actsim.store.reading import EVALUATION

WITHOUT_PAIRS = {
    densities.STUDY: (densities.open_density, density_files),
    similarities.STUDY: (similarities.open_domains, domain_files),
    cells.STUDY: (cells.open_study, study_files),
}
"""How runs that are not over pairs are opened, and what their report is, by the command that made them."""


def write_report(run: str | Path, *, out: str | Path | None = None, keep_text: bool = True) -> tuple[Path, list[str]]:
    """Write the whole report of a finished run.

    Args:
        run: the run's directory.
        out: where the files go; default the run's directory.
        keep_text: False leaves out every sentence, for a report that may be published.

    Returns:
        The directory, and the names of the files written.

    Raises:
        UsageError: there is no run, or ``out`` is a file or another run.
        ResumeError: the run is not finished or damaged, or a file cannot be written.
        MissingExtraError: plotly or jinja2 is not installed; nothing is written.
    """
    check_packages(PAGE)
    study = study_in(run)
    if study not in (EVALUATION, *WITHOUT_PAIRS):
        known = ", ".join((EVALUATION, *WITHOUT_PAIRS))
        raise UsageError(f"{run} is a run of actsim {study}, which has tables but no report; {known} have one.")
    found = WITHOUT_PAIRS[study][0](run) if study in WITHOUT_PAIRS else open_run(run)
    directory = found.directory if out is None else Path(out)
    own = directory.resolve() == found.directory.resolve()
    if not own:
        _make_directory(directory)
    beside = [SUMMARY_NAME] if own else []
    if isinstance(found, Run):
        files = report_files(found, found.pairs, found.summary, found.manifest, keep_text=keep_text, beside=beside)
    else:
        files = WITHOUT_PAIRS[study][1](found.summary, found.manifest, beside=beside)
    if own:
        replace_files(found.directory, files)
    else:
        for name, content in files.items():
            write_atomic(directory / name, content)
    return directory, sorted(files)


def _make_directory(path: Path) -> None:
    if (path / MANIFEST_NAME).exists():
        raise UsageError(f"{path} holds another run, whose report would be lost; give another --out.")
    if path.exists() and not path.is_dir():
        raise UsageError(f"{path} is a file; --out takes a directory.")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make the directory {path}: {error.strerror}. Give another --out.") from error
