"""The first thing on the page: what was found, how sure it is, and what speaks against believing it."""

from typing import Any

from faceauth.report.collect import Collected, Evaluation, evaluated_split
from faceauth.report.figures import IntervalRow, interval_chart
from faceauth.report.markup import Markup, callout, interval, join, number, paragraph, text
from faceauth.report.tables import Rate, as_rate, sub_document

SIMULATED_PREFIX = "sim"
# With fewer faces of a class the interval is so wide that its middle means little.
FEW_FACES = 100
_SIMULATED = (
    "These figures come from simulated faces. They show that the chain works from end to end, "
    "and say nothing about photographs of people."
)


def verdict_box(collected: Collected) -> Markup:
    """Returns one card for each evaluation, with warnings above them."""
    warnings = []
    if simulated_folders(collected):
        warnings.append(callout(_SIMULATED, kind="warning"))
    n_leaks = sum(
        count
        for audit in collected.audits
        for count in sub_document(audit.content, "leaks").values()
        if isinstance(count, int)
    )
    if n_leaks:
        warnings.append(
            callout(
                f"The audit found {number(n_leaks)} leaks between splits. Figures on test are too good "
                "until they are mended.",
                kind="warning",
            )
        )
    if not collected.evaluations:
        warnings.append(
            callout("No evaluation was found, so there is no verdict on a detector here.", kind="note")
        )
    shortcut = _audited_shortcut(collected)
    cards = [_card(evaluation, shortcut) for evaluation in collected.evaluations]
    return join(*warnings, *cards)


def simulated_folders(collected: Collected) -> list[str]:
    """Returns the sources whose names say that they are simulated."""
    documents = [sub_document(found.content, "counts", "by_folder") for found in collected.preparations]
    documents += [sub_document(found.metrics, "by_folder") for found in collected.evaluations]
    documents += [sub_document(found.document, "by_folder") for found in collected.clusters]
    return sorted(
        {name for document in documents for name in document if name.lower().startswith(SIMULATED_PREFIX)}
    )


def shortcut_of(metrics: dict[str, Any], audited: Rate | None) -> Rate | None:
    """Returns what plain facts alone reach: on the evaluated split, or else as the audit found it."""
    rate = as_rate(metrics.get("shortcut_auroc"))
    return rate if rate.value is not None else audited


def _audited_shortcut(collected: Collected) -> Rate | None:
    for audit in collected.audits:
        rate = as_rate(sub_document(audit.content, "shortcuts").get("overall"))
        if rate.value is not None:
            return rate
    return None


def _card(evaluation: Evaluation, audited: Rate | None) -> Markup:
    metrics = evaluation.metrics
    auroc = as_rate(sub_document(metrics, "overall").get("auroc"))
    shortcut = shortcut_of(metrics, audited)
    split = evaluated_split(metrics)
    where = f"on {split}" if split else "on the faces that were scored"
    model = metrics.get("model")
    title = f"{model}, {where}" if isinstance(model, str) and model else f"{evaluation.name}, {where}"
    if auroc.value is None:
        return join(
            Markup(f'<div class="verdict"><h2>{text(title)}</h2>'), _undefined(auroc), Markup("</div>")
        )
    figures = [_figure(number(auroc.value), "AUROC", interval(auroc.ci95), kind="main")]
    if shortcut is not None and shortcut.value is not None:
        figures.append(
            _figure(number(shortcut.value), "a ruler alone gets", interval(shortcut.ci95), kind="ruler")
        )
    rows = [IntervalRow("detector", auroc, shortcut)]
    return join(
        Markup(f'<div class="verdict"><h2>{text(title)}</h2><div class="figures">{"".join(figures)}</div>'),
        interval_chart(rows, description="The same on a scale from a coin to perfect"),
        paragraph(_plain_words(auroc, shortcut)),
        *(callout(warning, kind="warning") for warning in _doubts(metrics, auroc, shortcut)),
        Markup("</div>"),
    )


def _undefined(auroc: Rate) -> Markup:
    return paragraph(f"AUROC is undefined: {auroc.reason or 'no reason was given'}.")


def _figure(value: str, label: str, bounds: str, *, kind: str) -> str:
    detail = f"<small>95 % interval {text(bounds)}</small>" if bounds else "<small>no interval</small>"
    return f'<div class="{kind}"><span>{text(label)}</span><strong>{value}</strong>{detail}</div>'


def _plain_words(auroc: Rate, shortcut: Rate | None) -> str:
    """Says the two figures without the word AUROC."""
    words = (
        f"Shown a real and a fake face, this detector points at the fake one in {_of_hundred(auroc)} "
        "of 100 cases."
    )
    if auroc.n_real is not None and auroc.n_fake is not None:
        words += f" That was measured on {number(auroc.n_real)} real and {number(auroc.n_fake)} fake faces."
    if shortcut is not None and shortcut.value is not None:
        words += (
            f" A ruler that sees file, colour and sharpness, and never the face, "
            f"would point at it in {_of_hundred(shortcut)}."
        )
    return words


def _of_hundred(rate: Rate) -> str:
    # 0.9996 is not "100 of 100 cases".
    value = 100 * (rate.value or 0.0)
    return f"{value:.1f}" if 99 < value < 100 else f"{value:.0f}"


def _doubts(metrics: dict[str, Any], auroc: Rate, shortcut: Rate | None) -> list[str]:
    """Says what the figures themselves give reason to doubt."""
    doubts = []
    low = auroc.ci95[0] if auroc.ci95 else auroc.value
    if shortcut is not None and shortcut.value is not None and low is not None and low <= shortcut.value:
        doubts.append(
            "The detector is not clearly better than a ruler: it may have learned how the files were made, "
            "and not how the faces were."
        )
    few = [
        f"{number(count)} {kind}"
        for kind, count in (("real", auroc.n_real), ("fake", auroc.n_fake))
        if count is not None and count < FEW_FACES
    ]
    if few:
        doubts.append(f"There were only {' and '.join(few)} faces: believe the interval, not its middle.")
    reads = metrics.get("test_reads")
    if isinstance(reads, int) and reads > 1:
        doubts.append(
            f"The test split was read {reads} times. Each look makes its figures a little too good."
        )
    if evaluated_split(metrics) not in ("test", ""):
        doubts.append(
            f"These faces are of the split '{evaluated_split(metrics)}', which training has seen or used."
        )
    return doubts
