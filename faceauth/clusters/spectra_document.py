"""What `spectra.json` says and `spectra.npz` holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t as student_t

from faceauth.clusters.spectra import AverageSpectrum
from faceauth.clusters.spectral_lines import AXES, Line, find_lines, line_heights
from faceauth.clusters.spectral_peaks import (
    FALSE_ALARM_SHARE,
    LOWEST_FREQUENCY,
    MIN_GROUPS,
    Peak,
    PeakSearch,
    find_own_peaks,
    find_peaks_against,
    height_at,
)
from faceauth.files import whole_file, write_json
from faceauth.labels import FAKE, REAL
from faceauth.scoring.bounds import TAIL
from faceauth.scoring.intervals import Rate

SPECTRA_NAME = "spectra.json"
ARRAYS_NAME = "spectra.npz"
NATIVE, CROPS = SCALES = ("native", "crops")


@dataclass(frozen=True)
class SourceSpectra:
    """What was measured of one source.

    Attributes:
        folder: The generator or collection.
        target: 1 for real, 0 for fake.
        left_out: How many rows had no part, by reason.
        by_kind: The averages; empty if no picture could be used.
    """

    folder: str
    target: int
    left_out: dict[str, int]
    by_kind: dict[str, AverageSpectrum]

    @property
    def n(self) -> int:
        """Number of pictures that were measured."""
        return next(iter(self.by_kind.values())).n if self.by_kind else 0

    @property
    def n_groups(self) -> int:
        """Number of groups that they are of."""
        return next(iter(self.by_kind.values())).n_groups if self.by_kind else 0


def reference_for(source: SourceSpectra, sources: list[SourceSpectra], kind: str) -> list[AverageSpectrum]:
    """Returns what a source is held against: every collection of reals but itself, of 10 groups or more."""
    return [
        other.by_kind[kind]
        for other in sources
        if other.target == REAL and other.folder != source.folder and other.n_groups >= MIN_GROUPS
    ]


def describe_spectra(
    sources: list[SourceSpectra], *, patch_px: int, scale: str, kinds: tuple[str, ...]
) -> dict[str, Any]:
    """Searches every source for peaks and puts all that was found into one document.

    Args:
        sources: Reals and fakes.
        patch_px: Side of the patches.
        scale: `native`, or `crops` if faces were resampled to one size.
        kinds: Which kinds were measured.

    Returns:
        The document of `spectra.json`. Lists of peaks are null, with a reason, where none could be sought.
    """
    return {
        "n": sum(source.n for source in sources),
        "patch_px": patch_px,
        "scale": scale,
        "kinds": list(kinds),
        "window": "hann",
        "family_wise_error": FALSE_ALARM_SHARE,
        "lowest_frequency": LOWEST_FREQUENCY,
        "sources": {source.folder: _describe_source(source, sources, scale, kinds) for source in sources},
    }


def write_spectra(document: dict[str, Any], sources: list[SourceSpectra], output: Path) -> None:
    """Writes `spectra.json` and `spectra.npz`; the arrays are named in `docs/spectra.md`."""
    p = document["patch_px"]
    measured = [source for source in sources if source.n]
    arrays: dict[str, np.ndarray] = {
        "sources": np.array([source.folder for source in measured]),
        "target": np.array([source.target for source in measured], np.int8),
        "n": np.array([source.n for source in measured]),
        "n_groups": np.array([source.n_groups for source in measured]),
        "frequency_x": np.fft.rfftfreq(p),
        "frequency_y": np.fft.fftfreq(p),
        "frequency_radial": np.arange(p // 2 + 1) / p,
    }
    for kind in document["kinds"]:
        for name in ("log_power_db", "error_db", "profile_db", "profile_error_db"):
            values = [getattr(source.by_kind[kind], name) for source in measured]
            arrays[f"{kind}_{name}"] = np.array(values, np.float32)
    with whole_file(output / ARRAYS_NAME) as draft:
        np.savez_compressed(draft, **arrays)  # type: ignore[arg-type]
    write_json(output / SPECTRA_NAME, document)


def _describe_source(
    source: SourceSpectra, sources: list[SourceSpectra], scale: str, kinds: tuple[str, ...]
) -> dict[str, Any]:
    names = ("peaks", "lines", "holes", "own_peaks", "own_lines")
    peaks: dict[str, Any] = dict.fromkeys(names)
    reason = None
    if source.n_groups < MIN_GROUPS:
        reason = f"too few groups: {source.n_groups}; peaks are sought from {MIN_GROUPS} on"
    limits: dict[str, Any] = {}
    if reason is None:
        own = {kind: find_own_peaks(source.by_kind[kind]) for kind in kinds}
        peaks["own_peaks"] = _listed({kind: found.peaks for kind, found in own.items()}, scale)
        own_lines = {kind: find_lines(source.by_kind[kind], []) for kind in kinds}
        peaks["own_lines"] = _listed({kind: lines for kind, (lines, _) in own_lines.items()}, scale)
        limits = {kind: _limit(found, own_lines[kind][1]) for kind, found in own.items()}
        if not reference_for(source, sources, kinds[0]):
            reason = (
                f"there is no other collection of reals, of {MIN_GROUPS} groups or more, to hold it against"
            )
        else:
            found = {
                kind: find_peaks_against(source.by_kind[kind], reference_for(source, sources, kind))
                for kind in kinds
            }
            lines = {
                kind: find_lines(source.by_kind[kind], reference_for(source, sources, kind)) for kind in kinds
            }
            for name, by_kind in (
                ("peaks", {kind: one.peaks for kind, one in found.items()}),
                ("lines", {kind: one for kind, (one, _) in lines.items()}),
            ):
                peaks[name] = [
                    {**entry, **_beside_reals(peak, source, sources, entry["kind"])}
                    for entry, peak in _pairs(by_kind, scale)
                ]
            peaks["holes"] = _listed({kind: one.holes for kind, one in found.items()}, scale)
            limits = {kind: _limit(one, lines[kind][1]) for kind, one in found.items()}
    return {
        "target": source.target,
        "n": source.n,
        "n_groups": source.n_groups,
        "left_out": source.left_out,
        **peaks,
        "reason": reason,
        "limits": limits,
        "high_frequency_db": {kind: _high_frequency(source, kind).to_json() for kind in kinds},
    }


def _pairs(
    by_kind: Mapping[str, Sequence[Peak | Line]], scale: str
) -> list[tuple[dict[str, Any], Peak | Line]]:
    pairs: list[tuple[dict[str, Any], Peak | Line]] = []
    for kind, peaks in by_kind.items():
        for peak in peaks:
            entry = {"kind": kind, **peak.to_json()}
            if scale != NATIVE:
                # Faces of many sizes were brought to one: the blocks of their files lie anywhere.
                entry["on_jpeg_grid"] = None
            pairs.append((entry, peak))
    return sorted(pairs, key=lambda pair: -abs(pair[1].z))


def _listed(by_kind: Mapping[str, Sequence[Peak | Line]], scale: str) -> list[dict[str, Any]]:
    return [entry for entry, _ in _pairs(by_kind, scale)]


def _beside_reals(
    peak: Peak | Line, source: SourceSpectra, sources: list[SourceSpectra], kind: str
) -> dict[str, Any]:
    """How high the source itself stands at a peak, and the collection of reals that stands highest there."""
    heights = {
        other.folder: _own_height(other.by_kind[kind], peak)
        for other in sources
        if other.target == REAL and other.folder != source.folder and other.n_groups >= MIN_GROUPS
    }
    highest = max(heights, key=lambda folder: heights[folder])
    return {
        "own_height_db": _own_height(source.by_kind[kind], peak),
        "highest_real": highest,
        "highest_real_db": heights[highest],
    }


def _own_height(spectrum: AverageSpectrum, peak: Peak | Line) -> float:
    if isinstance(peak, Peak):
        return height_at(spectrum, peak)
    heights = line_heights(spectrum.lines_db)[AXES.index(peak.axis)]
    return float(heights[round(peak.frequency * 2 * (len(heights) - 1))])


def _limit(search: PeakSearch, line_db: float) -> dict[str, float | int]:
    return {
        "z": search.limit_z,
        "height_db": search.limit_db,
        "line_height_db": line_db,
        "n_tested": search.n_tested,
    }


def _high_frequency(source: SourceSpectra, kind: str) -> Rate:
    n_real, n_fake = (source.n if source.target == target else 0 for target in (REAL, FAKE))
    if source.n == 0:
        return Rate(None, None, n_real=0, n_fake=0, reason="no picture could be used")
    spectrum = source.by_kind[kind]
    value = spectrum.high_frequency_db
    if source.n_groups < 2:
        return Rate(value, None, n_real, n_fake, reason="no interval: all pictures are of one group")
    reach = float(student_t.isf(TAIL, source.n_groups - 1)) * spectrum.high_frequency_error_db
    return Rate(value, (value - reach, value + reach), n_real, n_fake)
