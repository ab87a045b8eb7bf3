"""The report of an audit: one page that needs nothing else, of bounded size whatever the data."""

import base64
import hashlib
import html
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files as resources
from typing import TYPE_CHECKING, Any

from glitchtrace.audit import sentences, verdicts
from glitchtrace.audit.samples import Samples

if TYPE_CHECKING:
    import pandas as pd

_ROWS = 2000  # that the page lists, all kinds together
_NEXT = 40  # clean rows that come next
_PICTURES = 600
_CELLS = 12  # columns of a row that are shown
_PAIRS = 12
_SIDE = 112
_LONGEST = 200  # signs of one text


def page(samples: Samples, table: "pd.DataFrame", summary: Mapping[str, Any], gain: Mapping[str, Any]) -> str:
    """The page as HTML."""
    room = resources("glitchtrace.audit")
    style = room.joinpath("page.css").read_text(encoding="utf-8")
    script = room.joinpath("page.js").read_text(encoding="utf-8")
    data = _data(samples, table, summary)
    csp = (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    counts = summary["counts"]
    found = len(table) - counts[verdicts.CLEAN]
    listed = len(data["rows"])
    noun = sentences.noun(summary)
    filled = {
        "csp": csp,
        "style": style,
        "title": html.escape(f"Audit of {_short(summary['name'])}"),
        "over": html.escape(_over(summary, noun)),
        "headline": html.escape(sentences.headline(summary).replace(" %", "\u00a0%")),
        "sure": html.escape(_sure(summary)),
        "tiles": _tiles(counts),
        "steps": "".join(f"<li>{html.escape(step)}</li>" for step in sentences.next_steps(summary)),
        "gain_sentence": html.escape(str(gain.get("sentence", ""))),
        "kind": "pictures" if summary["kind"] == "pictures" else "rows",
        "listed": html.escape(
            f"This page lists {min(found, listed):,} of {found:,} findings and the clean {noun} that come next; "
            "issues.csv and issues.parquet list everything."
        ),
        "sections": "".join(
            [
                _confusion(table, summary),
                _classes(samples, table),
                _twins(table),
                _gain(gain),
                _method(summary),
            ]
        ),
        "data": json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c"),
        "script": script,
    }
    text = room.joinpath("page.html").read_text(encoding="utf-8")
    parts = text.split("{{")
    made = [parts[0]]
    for part in parts[1:]:
        name, _, rest = part.partition("}}")
        made += [filled[name], rest]
    return "".join(made).encode("utf-8", "replace").decode("utf-8")


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _short(name: str) -> str:
    return name.replace("\\", "/").rstrip("/").rpartition("/")[2][:80] or "data"


def _cut(text: object) -> str:
    value = str(text)
    return value if len(value) <= _LONGEST else f"{value[: _LONGEST - 1]}…"


def _over(summary: Mapping[str, Any], noun: str) -> str:
    what = f"{len(summary['classes'])} classes" if summary["task"] == "classes" else "a numeric target"
    return f"Audit of {_short(summary['name'])}: {summary['rows']:,} {noun}, {what}"


def _sure(summary: Mapping[str, Any]) -> str:
    number = summary["wrong_labels"]
    if not number:
        return ""
    share = 100 * number["estimate"] / max(summary["rows"], 1)
    named = summary["counts"][verdicts.WRONG]
    rest = "; the others cannot be named so surely" if 0 < named < round(number["estimate"]) else ""
    return (
        f"In all about {number['estimate']:,.0f} labels are wrong ({share:.1f} %), between {number['low']:,.0f} and "
        f"{number['high']:,.0f} with 95 % confidence{rest}."
    )


_TILES = {
    "mislabelled": "wrong labels",
    "leak": "leaks into the trusted data",
    "near duplicate": "duplicates",
    "corrupted": "corrupted",
    "anomalous": "belong to no class",
    "clean": "without a finding",
}


def _tiles(counts: Mapping[str, int]) -> str:
    return "".join(
        f"<li{'' if counts[kind] else ' class=none'}><b>{counts[kind]:,}</b>{text}</li>"
        for kind, text in _TILES.items()
        if counts[kind] or kind != verdicts.LEAK
    )


def _data(samples: Samples, table: "pd.DataFrame", summary: Mapping[str, Any]) -> dict[str, Any]:
    found = table[table.verdict != verdicts.CLEAN]
    # Every kind has its place on the page, however many another kind has.
    share = max(1, _ROWS // max(found.verdict.nunique(), 1))
    first = found.groupby("verdict", sort=False).head(share)
    clean = table[(table.verdict == verdicts.CLEAN) & table.suspicion.notna()].head(_NEXT)
    import pandas as pd

    chosen = pd.concat([first, clean]).sort_values("rank", kind="stable")
    columns = [column.name for column in samples.columns][:_CELLS] if samples.table is not None else []
    shown = chosen.row.to_numpy()
    texts = {name: samples.table.text(name, shown) for name in columns} if samples.table is not None else {}
    rows = []
    for number, each in enumerate(chosen.to_dict("records")):
        row: dict[str, Any] = {
            "rank": int(each["rank"]),
            "row": int(each["row"]),
            "suspicion": round(float(each["suspicion"]), 3),
            **{
                name: _cut(each[name])
                for name in ("id", "verdict", "observed", "proposed", "action", "evidence")
            },
        }
        for name in ("supporters", "helps", "hurts"):
            if each[name]:
                row[name] = _cut(each[name])
        if columns:
            row["cells"] = [_cut(texts[name][number])[:60] for name in columns]
        if samples.pictures is not None and number < _PICTURES:
            from glitchtrace.data.picture_folders import thumbnail

            picture = thumbnail(samples.pictures.path(row["row"]), _SIDE)
            if picture is not None:
                row["picture"] = f"data:image/jpeg;base64,{base64.b64encode(picture).decode()}"
        rows.append(row)
    name = sentences.folder_name(summary)
    return {
        "rows": rows,
        "columns": [_cut(name) for name in columns],
        "classes": [_cut(name) for name in samples.class_names[:1000]],
        "digest": summary["digest"][:16],
        "file": f"reviewed-{name}.csv",
        "command": f"glitchtrace apply reviewed-{name}.csv --audit FOLDER_OF_THIS_PAGE",
    }


def _confusion(table: "pd.DataFrame", summary: Mapping[str, Any]) -> str:
    wrong = table[table.verdict == verdicts.WRONG]
    if wrong.empty or summary["task"] != "classes":
        return ""
    pairs = (
        wrong.groupby(["observed", "proposed"])
        .size()
        .sort_values(ascending=False, kind="stable")
        .reset_index(name="n")
    )
    rows = [
        f"<tr><td>{html.escape(_cut(a))}</td><td>{html.escape(_cut(b))}</td><td class=n>{count}</td>"
        f"<td>{_bar(count / pairs.n[0])}</td></tr>"
        for a, b, count in pairs.head(_PAIRS).itertuples(index=False)
    ]
    return _section(
        "Which classes are confused",
        _table(
            f"Labels that seem wrong, by the label they carry and the label proposed; {min(len(pairs), _PAIRS)} of "
            f"{len(pairs)} pair{'s' if len(pairs) > 1 else ''}",
            ["labelled", "probably", "#rows", ""],
            rows,
        ),
    )


def _bar(share: float) -> str:
    bar = f'<rect class="b" width="{120 * share:.1f}" height="10"/>'
    return f'<svg width="120" height="10" aria-hidden="true">{bar}</svg>'


def _classes(samples: Samples, table: "pd.DataFrame") -> str:
    if samples.labels is None:
        return ""
    parts = [("class", "classes", table.observed.to_numpy())]
    if samples.group_names is not None:
        parts.append(("group", "groups", samples.group_names[table.row.to_numpy()]))
    made = []
    for noun, plural, keys in parts:
        frame = table.assign(key=keys, bad=(table.verdict != verdicts.CLEAN).to_numpy())
        frame = frame[frame.key != ""]
        by = frame.groupby("key").agg(
            rows=("bad", "size"), bad=("bad", "sum"), sure=("observed_confidence", "mean")
        )
        by["share"] = by.bad / by.rows
        by = by[by.rows >= 5].sort_values(["share", "rows"], ascending=[False, False], kind="stable")
        rows = [
            f"<tr><td>{html.escape(_cut(key))}</td><td class=n>{each['rows']:,.0f}</td>"
            f"<td class=n>{each['bad']:,.0f}</td><td class=n>{100 * each['share']:.1f} %</td>"
            f"<td class=n>{100 * each['sure']:.0f} %</td></tr>"
            for key, each in by.head(_PAIRS).iterrows()
        ]
        made.append(
            _table(
                f"{plural.capitalize()} with the largest share of findings; {len(rows)} of {len(by)}",
                [noun, "#rows", "#findings", "#share", "#mean confidence in the label"],
                rows,
            )
        )
    return _section("Where it fares worst", "".join(made))


def _twins(table: "pd.DataFrame") -> str:
    twins = table[table.verdict == verdicts.TWIN]
    if twins.empty:
        return ""
    clusters = twins.groupby("duplicate_of", sort=False).agg(
        size=("id", "size"), ids=("id", lambda ids: "; ".join(ids[:5]))
    )
    clusters = clusters.sort_values("size", ascending=False, kind="stable")
    rows = [
        f"<tr><td>{html.escape(_cut(first))}</td><td class=n>{each['size']}</td>"
        f"<td>{html.escape(_cut(each['ids']))}</td></tr>"
        for first, each in clusters.head(_PAIRS).iterrows()
    ]
    text = (
        f"{len(twins):,} row{'s repeat' if len(twins) > 1 else ' repeats'} one of {len(clusters):,} others; "
        "the largest clusters"
    )
    return _section("Duplicates", _table(text, ["first", "#copies", "which"], rows))


_ARMS = {
    "repairs": "the repairs",
    "drop": "the same rows dropped",
    "random": "as many random rows relabelled",
    "random_drop": "as many random rows dropped",
}


def _gain(gain: Mapping[str, Any]) -> str:
    # Where nothing was repaired, a chart of zeros would look like a measurement.
    if not gain.get("measured") or gain["rows_repaired"] == 0:
        return _section("What the repairs bring", f"<p>{html.escape(str(gain.get('sentence', '')))}</p>")
    arms = gain["arms"]
    differences = {arm: arms[arm]["accuracy_difference"] for arm in _ARMS}
    ends = {
        arm: [d["mean"] if d[key] is None else d[key] for key in ("low", "high")]
        for arm, d in differences.items()
    }
    most = max(abs(end) for both in ends.values() for end in both) or 0.01
    lines = []
    for number, (arm, d) in enumerate(differences.items()):
        y = 20 + 26 * number
        low, mean, high = (400 + 150 * value / most for value in (ends[arm][0], d["mean"], ends[arm][1]))
        lines.append(
            f'<text x="0" y="{y + 4}">{_ARMS[arm]}</text>'
            f'<line class="l" x1="{low:.1f}" x2="{high:.1f}" y1="{y}" y2="{y}"/>'
            f'<circle class="d" cx="{mean:.1f}" cy="{y}" r="5"/>'
            f'<text x="570" y="{y + 4}">{100 * d["mean"]:+.1f}</text>'
        )
    interval = ", 95 % interval" if any(low != high for low, high in ends.values()) else ""
    svg = (
        '<svg viewBox="0 0 640 150" width="640" role="img" aria-label="Change of accuracy in points: '
        + "; ".join(f"{_ARMS[arm]} {100 * d['mean']:+.1f}" for arm, d in differences.items())
        + f'"><line class="z" x1="400" x2="400" y1="6" y2="118"/>{"".join(lines)}'
        f'<text x="400" y="140" text-anchor="middle">points of accuracy against nothing done{interval}</text>'
        "</svg>"
    )
    rows = [
        f"<tr><td>{name}</td><td class=n>{arms[arm]['accuracy']:.4f}</td><td class=n>{arms[arm]['loss']:.4f}</td></tr>"
        for arm, name in {"nothing": "nothing done", **_ARMS}.items()
    ]
    repeats = f"{gain['repeats']} repeat{'s' if gain['repeats'] > 1 else ''}"
    text = (
        f"{repeats}; on average {gain['learner']} trained on {gain['rows_training']:,} rows, of which "
        f"{gain['rows_repaired']:g} were repaired, and measured on {gain['rows_measuring']:,} rows that were never "
        "repaired and never seen by what repaired. Judged without these rows, fewer labels can be named than "
        "above. The labels that measure are the observed ones, errors included."
    )
    measures = gain["measures"]
    table = _table("Means over the repeats", ["", f"#{measures['accuracy']}", f"#{measures['loss']}"], rows)
    return _section(
        "What the repairs bring",
        f"<p>{html.escape(gain['sentence'])}</p><div class=two><div>{svg}</div><div>{table}</div></div>"
        f"<p class=small>{html.escape(text)}</p>",
    )


def _method(summary: Mapping[str, Any]) -> str:
    facts = summary["facts"]
    lines = [f"What the learners saw: {summary['representation']}."]
    if facts.get("judges"):
        lines.append(f"Judged by {facts['judges']}, never by one that has seen the row's label.")
    if facts.get("held_out_loss"):
        losses = ", ".join(
            f"{_plain(name)} {value:.3f}"
            for name, value in sorted(facts["held_out_loss"].items(), key=lambda x: x[1])
        )
        lines.append(
            f"Learners tried, by their loss on rows not seen: {losses}. The first also measures the gain."
        )
    if facts.get("weights"):
        lines.append(
            "Weights of the judges: "
            + ", ".join(f"{_plain(k)} {v:.2f}" for k, v in facts["weights"].items())
            + "."
        )
    if facts.get("rare_classes"):
        lines.append(
            f"Classes of fewer than five rows are not judged: {', '.join(facts['rare_classes'][:10])}."
        )
    if facts.get("duplicates_by_chance"):
        lines.append(
            "More than a tenth of the rows have an equal twin: here duplicates are the rule and are not flagged."
        )
    if facts.get("leaks_by_chance"):
        lines.append(
            "Rows equal others by chance: one that also stands in the trusted data is therefore not called a leak."
        )
    lines += list(summary["notes"])
    blind = [
        "A label that is wrong in the way that most labels of its kind are wrong: it looks right to every model.",
        "Which of two classes is right where the columns or pixels do not tell them apart.",
        "Errors that follow pairs of classes can break the promise: check the table of confused classes.",
        "Whether a rare sample is an error or the most valuable one you have.",
    ]
    if summary["task"] == "numbers":
        blind[0] = "Numbers that are wrong by less than the usual residual."
    how = "".join(f"<li>{html.escape(_cut_long(line))}</li>" for line in lines)
    not_seen = "".join(f"<li>{html.escape(line)}</li>" for line in blind)
    promise = (
        f"The promise: in 95 of 100 such audits at most {100 * summary['max_false']:g} % of the flags are false. "
        f"{facts.get('condition', '')}"
    )
    return (
        f"<div class=two>{_section('How it was computed', f'<ul>{how}</ul><p>{html.escape(promise)}</p>')}"
        f"{_section('What it cannot see', f'<ul>{not_seen}</ul>')}</div>"
    )


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _cut_long(text: str) -> str:
    return text if len(text) < 600 else f"{text[:599]}…"


def _section(title: str, content: str) -> str:
    return f"<section><h2>{html.escape(title)}</h2>{content}</section>" if content else ""


def _table(caption: str, names: Sequence[str], rows: Sequence[str]) -> str:
    head = "".join(
        f'<th scope="col"{" class=n" if name.startswith("#") else ""}>{html.escape(name.lstrip("#"))}</th>'
        if name
        else "<td></td>"
        for name in names
    )
    text = html.escape(caption)
    return (
        f'<div class=scroll tabindex=0 role=group aria-label="{text}"><table><caption>{text}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )
