"""What an audit found, in sentences: the same on the console and on the page."""

from collections.abc import Mapping
from typing import Any

from glitchtrace.core.paths import audit_name

_KINDS = {
    "mislabelled": ("wrong label", "wrong labels"),
    "leak": (
        "row that stands in the trusted data too, equal or nearly",
        "rows that stand in the trusted data too, equal or nearly",
    ),
    "near duplicate": ("duplicate", "duplicates"),
    "corrupted": ("corrupted sample", "corrupted samples"),
    "anomalous": ("sample that belongs to no class", "samples that belong to no class"),
}


def noun(summary: Mapping[str, Any]) -> str:
    """What the samples are called."""
    return "pictures" if summary["kind"] == "pictures" else "rows"


def folder_name(summary: Mapping[str, Any]) -> str:
    """A name for files that belong to an audit."""
    return audit_name(str(summary["name"]))


def headline(summary: Mapping[str, Any]) -> str:
    """One sentence: what was found and how sure."""
    flags, rows = summary["counts"]["mislabelled"], summary["rows"]
    what = noun(summary)
    if summary["facts"].get("unjudged"):
        return f"No label of {rows:,} {what} could be judged: {summary['facts']['unjudged']}."
    promise = f"at most {100 * summary['max_false']:g} % of such flags are false"
    if not flags:
        number = summary["wrong_labels"]
        if number and number["low"] >= 1:
            return (
                f"About {number['estimate']:.0f} of {rows:,} labels seem wrong, "
                f"but none can be named so that {promise}."
            )
        return f"No label of {rows:,} {what} can be called wrong so that {promise}."
    return f"{flags:,} {_KINDS['mislabelled'][flags != 1]} found in {rows:,} {what}; {promise}."


def counted(summary: Mapping[str, Any]) -> list[str]:
    """The number of wrong labels with its interval, and what else was found."""
    lines = []
    number = summary["wrong_labels"]
    if number:
        lines.append(
            f"wrong labels in all: about {number['estimate']:.0f} ({number['low']:.0f} to {number['high']:.0f}, 95 %)"
        )
    for kind, (one, many) in _KINDS.items():
        count = summary["counts"][kind]
        if count and kind != "mislabelled":
            lines.append(f"{count:,} {one if count == 1 else many}")
    return lines


def next_steps(summary: Mapping[str, Any]) -> list[str]:
    """What a person should do now, most useful first."""
    counts, steps = summary["counts"], []
    if counts["leak"]:
        steps.append(
            "Take the leaks out of the training data before anything is measured on the trusted data."
        )
    if counts["mislabelled"]:
        steps.append(
            "Go through the suspects below, accept or refuse each, save the list, and run the line shown."
        )
    elif summary["wrong_labels"] and summary["wrong_labels"]["low"] >= 1:
        steps.append("Look at the first suspects by hand: each is more likely right than the promise allows.")
    if counts["corrupted"]:
        steps.append("Mend or drop the corrupted samples: models learn nothing from them.")
    if counts["near duplicate"]:
        steps.append("Drop duplicates, or keep each cluster on one side of your split.")
    if counts["anomalous"]:
        steps.append("Decide whether the samples that belong to no class belong into your data at all.")
    return steps or ["Nothing has to be done. The data look as clean as this method can tell."]
