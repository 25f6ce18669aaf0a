"""Tables of what an evaluation may hold beyond its metrics; what is not there is left out."""

from typing import Any

from faceauth.report.records import records_table
from faceauth.report.tables import (
    Cell,
    Rate,
    Table,
    as_number,
    as_rate,
    metric_title,
    reading_order,
    sub_document,
)

# More rows than this are shown on request only.
MANY_ROWS = 20
RATES_OF_UNSURE = {
    "covered_real": ("Reals covered", "share of reals that were called real or unsure"),
    "covered_fake": ("Fakes covered", "share of fakes that were called fake or unsure"),
    "share_unsure": ("Unsure", "share of all faces to which neither was said"),
    "error_of_the_sure": ("Errors of the sure", "share of wrong calls among the others"),
}
DECISIONS = ("accuracy", "balanced_accuracy", "recall_fake", "recall_real")
# So much of a hash tells two checkpoints apart.
_HASH_CHARACTERS = 12


def pairs_table(metrics: dict[str, Any]) -> Table | None:
    """Each generator against each collection alone, the hardest pair first; None if it was not measured."""
    pairs = metrics.get("pairs")
    rows = []
    for pair in pairs if isinstance(pairs, list) else []:
        if isinstance(pair, dict):
            auroc = as_rate(pair.get("auroc"))
            names = (str(pair.get("generator") or ""), str(pair.get("collection") or ""))
            rows.append((*names, auroc, auroc.n_real, auroc.n_fake, auroc.reason or ""))
    rows.sort(key=lambda row: row[2].value if row[2].value is not None else 2.0)
    if not rows:
        return None
    headers = ("Generator", "Collection", "AUROC", "Real", "Fake", "Remark")
    return Table("Generator against collection", headers, tuple(rows), folded=len(rows) > MANY_ROWS)


def delong_table(metrics: dict[str, Any]) -> Table | None:
    """AUROC with intervals by DeLong's formula, beside those of resampling; None if they are not there."""
    found = sub_document(metrics, "auroc_delong")
    rates = {"all faces": found["overall"]} if "overall" in found else {}
    rates |= sub_document(found, "by_folder")
    if not rates:
        return None
    rows: list[tuple[Cell, ...]] = []
    for name, document in rates.items():
        place = ("overall",) if name == "all faces" else ("by_folder", name)
        resampled = as_rate(sub_document(metrics, *place).get("auroc"))
        rows.append((name, as_rate(document), resampled))
    return Table("AUROC, two kinds of interval", ("Faces", "DeLong", "Resampling"), tuple(rows), folded=True)


def pooled_table(metrics: dict[str, Any]) -> Table | None:
    """The metrics of videos or groups whose faces were pooled, a column a rule; None if there are none."""
    pooled = sub_document(metrics, "pooled")
    rules = [rule for rule in pooled if sub_document(pooled, rule, "overall")]
    names = reading_order(
        dict.fromkeys(name for rule in rules for name in sub_document(pooled, rule, "overall"))
    )
    if not names:
        return None
    rows: list[tuple[Cell, ...]] = []
    for name in names:
        rates = [as_rate(sub_document(pooled, rule, "overall").get(name)) for rule in rules]
        rows.append((metric_title(name), *rates, rates[0].n_real, rates[0].n_fake))
    headers = ("Metric", *(rule.replace("_", " ") for rule in rules), "Real", "Fake")
    notes = ("Counts are of videos and of single pictures.",)
    return Table("Whole videos, by the rule that pools their frames", headers, tuple(rows), notes)


def thresholds_table(metrics: dict[str, Any]) -> Table | None:
    """Each threshold with its interval, and what it decides; None if there is only the one."""
    listed = metrics.get("thresholds")
    rows: list[tuple[Cell, ...]] = []
    for threshold in listed if isinstance(listed, list) else []:
        if isinstance(threshold, dict):
            rates = [as_rate(threshold.get(name)) if name in threshold else None for name in DECISIONS]
            value = as_rate(threshold)
            remark = value.reason or ""
            rule, chosen_on = (str(threshold.get(key) or "") for key in ("rule", "chosen_on"))
            rows.append((rule, value, chosen_on, *rates, remark))
    if not rows:
        return None
    headers = ("Rule", "Threshold", "Chosen on", *map(metric_title, DECISIONS), "Remark")
    return Table("Thresholds", headers, tuple(rows))


def calibration_tables(metrics: dict[str, Any]) -> list[Table | None]:
    """How far a score can be taken at its word: overall, by source and by score; empty if not measured."""
    calibration = sub_document(metrics, "calibration")
    overall = sub_document(calibration, "overall")
    rows: list[tuple[Cell, ...]] = []
    for name, document in overall.items():
        rate = as_rate(document)
        rows.append((metric_title(name), rate, rate.n_real, rate.n_fake, rate.reason or ""))
    by_folder = sub_document(calibration, "by_folder")
    names = [name for name in overall if any(name in sub_document(by_folder, source) for source in by_folder)]
    sources: list[tuple[Cell, ...]] = [
        (source, *(as_rate(sub_document(by_folder, source).get(name)) for name in names))
        for source in by_folder
    ]
    bins = []
    listed = calibration.get("bins")
    for one in listed if isinstance(listed, list) else []:
        if isinstance(one, dict) and one.get("n") != 0:
            share = as_rate({"value": one.get("share_fake"), "ci95": one.get("ci95")})
            span = f"{as_number(one.get('p_from')) or 0:.3f} to {as_number(one.get('p_to')) or 0:.3f}"
            bins.append((span, as_number(one.get("n")), as_number(one.get("mean_p_fake")), share))
    return [
        Table("Calibration", ("Measure", "Value", "Real", "Fake", "Remark"), tuple(rows)) if rows else None,
        Table("Calibration by source", ("Source", *map(metric_title, names)), tuple(sources), folded=True)
        if sources and names
        else None,
        Table(
            "Scores and what they were worth",
            ("p_fake", "n", "Mean p_fake", "Share of fakes"),
            tuple(bins),
            folded=True,
        )
        if bins
        else None,
    ]


def unsure_table(metrics: dict[str, Any]) -> Table | None:
    """What the unsure band costs and what it saves; None if there is none."""
    unsure = sub_document(metrics, "unsure")
    if as_number(unsure.get("low")) is None:
        return None
    rows = tuple(
        (title, rate, rate.n_real, rate.n_fake, meaning)
        for name, (title, meaning) in RATES_OF_UNSURE.items()
        if name in unsure
        for rate in (as_rate(unsure[name]),)
    )
    return (
        Table("Where the detector is unsure", ("Measure", "Value", "Real", "Fake", "Meaning"), rows)
        if rows
        else None
    )


def reads_table(metrics: dict[str, Any]) -> Table | None:
    """Who read the test split and when; None if it was not written down."""
    log = metrics.get("test_read_log")
    rows: list[tuple[Cell, ...]] = []
    for number, read in enumerate(log if isinstance(log, list) else [], start=1):
        if isinstance(read, dict):
            hashes = (
                str(read.get(key) or "")[:_HASH_CHARACTERS]
                for key in ("checkpoint_sha256", "manifest_sha256")
            )
            rows.append((number, str(read.get("when") or ""), str(read.get("who") or ""), *hashes))
    if not rows:
        return None
    return Table(
        "Readings of the test split",
        ("Reading", "When", "Who", "Checkpoint", "Manifest"),
        tuple(rows),
        folded=len(rows) > 1,
    )


def reads_words(metrics: dict[str, Any]) -> str:
    """Says how often the test split was read, when last, and by which checkpoint; empty if unknown."""
    n = metrics.get("test_reads")
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        return ""
    words = (
        "The test split was read once for this model"
        if n == 1
        else f"The test split was read {n} times for this model"
    )
    log = metrics.get("test_read_log")
    last = log[-1] if isinstance(log, list) and log and isinstance(log[-1], dict) else {}
    when, checkpoint = (
        str(last.get("when") or ""),
        str(last.get("checkpoint_sha256") or "")[:_HASH_CHARACTERS],
    )
    words += f", {'last ' if n > 1 else ''}on {when[:10]}" if when else ""
    words += f", by the checkpoint {checkpoint}" if checkpoint else ""
    return f"{words}."


def leaking_rows_table(audit: dict[str, Any]) -> Table | None:
    """The rows that are in two splits, as the audit lists them; None if there are none."""
    table = records_table("Rows that leak", audit.get("leaking_rows"), folded=True)
    n_more = audit.get("leaking_rows_not_listed")
    if table is None or not isinstance(n_more, int) or n_more < 1:
        return table
    return Table(table.title, table.columns, table.rows, (f"{n_more} more are not listed.",), folded=True)


def ruler_pairs_table(audit: dict[str, Any]) -> Table | None:
    """What a ruler alone reaches for each generator and collection, worst first; None if not measured."""
    pairs = sub_document(audit, "shortcuts").get("pairs")
    rows: list[tuple[Cell, ...]] = []
    for pair in pairs if isinstance(pairs, list) else []:
        if isinstance(pair, dict):
            leaned_on = pair.get("leaned_on")
            properties = ", ".join(map(str, leaned_on)) if isinstance(leaned_on, list) else ""
            auroc = as_rate(pair.get("auroc"))
            names = (str(pair.get(key) or "") for key in ("generator", "collection"))
            rows.append(
                (*names, auroc, auroc.n_real, auroc.n_fake, str(pair.get("rating") or ""), properties)
            )
    rows.sort(
        key=lambda row: -(row[2].value if isinstance(row[2], Rate) and row[2].value is not None else -1)
    )
    if not rows:
        return None
    headers = ("Generator", "Collection", "AUROC", "Real", "Fake", "Rating", "It leaned on")
    return Table("What plain facts alone predict, by pair", headers, tuple(rows), folded=True)
