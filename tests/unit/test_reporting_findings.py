"""The findings in words, and the page that begins with them."""

from pathlib import Path

import pandas as pd
import pytest

from glitchtrace.core import files
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.reporting.findings import detection_table, write_findings
from glitchtrace.reporting.page import Section, html_table, in_words, title, write_page

CELL = {"dataset": "wine", "model": "linear", "glitch": "uniform", "ratio": "0.1", "estimator": "tracin"}


def summary(signal: list[float], rival: list[float]) -> pd.DataFrame:
    """F1 of CNCI and of 1 − p by seed."""
    rows = [
        CELL | {"seed": seed, "signal": name, "metric": metric, "value": value}
        for name, metric, values in (
            ("CNCI", "f1", signal), ("one_minus_p", "f1", rival), ("", "contamination", [0.1] * len(signal))
        )
        for seed, value in enumerate(values)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def gain(influence: float) -> pd.DataFrame:
    """Test accuracy of three seeds without repair, after one by influence, and by the oracle."""
    rows = [
        CELL
        | {"seed": seed, "policy": policy, "part": "test", "accuracy": 0.8 + change + 0.001 * seed * change}
        for policy, change in (("none", 0.0), ("influence", influence), ("oracle", 0.05))
        for seed in range(3)
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("signal", "rival", "ahead"),
    [
        ([0.9, 0.91, 0.92], [0.5, 0.52, 0.51], "signal"),
        ([0.5, 0.52, 0.51], [0.9, 0.91, 0.92], "rival"),
        ([0.5, 0.9, 0.7], [0.9, 0.5, 0.75], "neither"),
    ],
)
def test_nobody_is_ahead_within_the_noise(signal: list[float], rival: list[float], ahead: str) -> None:
    row = detection_table(summary(signal, rival)).iloc[0]
    assert (row["signal"], row["rival"], row["ahead"]) == ("CNCI", "one_minus_p", ahead)


def test_one_run_names_nobody() -> None:
    assert detection_table(summary([0.9], [0.1]))["ahead"].tolist() == ["neither"]


def test_estimators_are_not_averaged_and_are_named(tmp_path: Path) -> None:
    others = {"estimator": "influence_functions"}
    first, second = summary([0.4, 0.6, 0.5], [0.1, 0.1, 0.1]), summary([0.8, 1.0, 0.9], [0.1, 0.1, 0.1])
    files.write_parquet(pd.concat([first, second.assign(**others)]), tmp_path / "summary.parquet")
    files.write_parquet(pd.concat([gain(-0.02), gain(-0.03).assign(**others)]), tmp_path / "gain.parquet")
    write_findings(
        summary=tmp_path / "summary.parquet",
        gain=[tmp_path / "gain.parquet"],
        findings=tmp_path / "findings.html",
    )
    text = (tmp_path / "findings.html").read_text(encoding="utf-8")
    assert "<b>CNCI (Koh &amp; Liang)</b> finds 90 %" in text
    assert "the best plain detector, 1 − p, 10 %" in text
    assert "10 %, TracIn: influence -2.0" in text
    assert "10 %, Koh &amp; Liang: influence -3.0" in text


@pytest.mark.parametrize(("change", "harm"), [(-0.02, True), (0.02, False)])
def test_a_repair_that_harms_is_named(tmp_path: Path, change: float, harm: bool) -> None:
    files.write_parquet(summary([0.5, 0.6, 0.7], [0.8, 0.9, 0.95]), tmp_path / "summary.parquet")
    files.write_parquet(gain(change), tmp_path / "gain.parquet")
    write_findings(
        summary=tmp_path / "summary.parquet",
        gain=[tmp_path / "gain.parquet"],
        findings=tmp_path / "findings.html",
    )
    text = (tmp_path / "findings.html").read_text(encoding="utf-8")
    assert ("Do not repair without measuring" in text) == harm
    assert ("Wine, Linear head, uniform label noise, 10 %: influence -2.0" in text) == harm
    assert "<b>oracle</b>" in text
    assert "+5.0 points on average over 1 setting." in text
    assert "A plain rival has the higher mean in 1 of 1 setting" in text
    assert "in 1 of 1 setting.</li>" in text  # 1 − p beside CNCI, without hindsight


@pytest.mark.parametrize("pairs", [[], [["wine", "mlp"]], [["wine", "linear"]]])
def test_a_network_that_has_seen_the_data_is_marked(tmp_path: Path, pairs: list[list[str]]) -> None:
    files.write_parquet(summary([0.5, 0.6, 0.7], [0.8, 0.9, 0.95]), tmp_path / "summary.parquet")
    files.write_parquet(gain(0.02), tmp_path / "gain.parquet")
    write_findings(
        summary=tmp_path / "summary.parquet",
        gain=[tmp_path / "gain.parquet"],
        findings=tmp_path / "findings.html",
        memorised=pairs,
    )
    text = (tmp_path / "findings.html").read_text(encoding="utf-8")
    seen = ["wine", "linear"] in pairs
    assert text.count("Linear head †") == 2 * seen  # the tables of detection and of repair
    assert ("have learnt these training samples" in text) == seen


def test_a_study_without_repairs_has_findings_of_detection_alone(tmp_path: Path) -> None:
    files.write_parquet(summary([0.5, 0.6, 0.7], [0.8, 0.9, 0.95]), tmp_path / "summary.parquet")
    write_findings(summary=tmp_path / "summary.parquet", findings=tmp_path / "findings.html")
    text = (tmp_path / "findings.html").read_text(encoding="utf-8")
    assert "A plain rival has the higher mean in 1 of 1 setting" in text
    assert "trained again" not in text


def test_the_page_begins_with_the_findings_and_shows_tables(tmp_path: Path) -> None:
    (tmp_path / "findings.html").write_text(
        "<html><body><h2>What was found</h2></body></html>", encoding="utf-8"
    )
    (tmp_path / "t.csv").write_text(
        "glitch,signal,mean\nclass_dependent@all_classes,one_minus_p,0.123456\n", "utf-8"
    )
    (tmp_path / "f.svg").write_text('<svg width="100pt"></svg>', "utf-8")
    caption = '<p>See <a href="javascript:show(1)">there</a>, <a href="mailto:a@b">a@b</a>.</p>'
    write_page(
        tmp_path / "page.html",
        [
            Section("Detection", "Signals <&>", caption, [tmp_path / "t.csv", tmp_path / "f.svg"]),
            Section("Detection", "Tables", caption, [tmp_path / "t.csv"]),
            Section("Findings", "", "", [tmp_path / "findings.html"]),
        ],
        "<p>How.</p>",
    )
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert text.index("What was found") < text.index("Signals &lt;&amp;&gt;") < text.index("<td>1 − p</td>")
    assert text.count("<p>See there, a@b.</p>") == 1, "a caption is said once"
    assert text.index("See there") < text.index("<h3>Tables</h3>") < text.index("Caption as above.")
    assert "0.1235" in text
    assert "mailto" not in text
    assert "javascript" not in text


def test_words_instead_of_names() -> None:
    cell = {"dataset": "digits", "glitch": "uniform", "ratio": "0.2"}
    assert title("gallery", cell) == "Most suspicious pictures: Digits, uniform label noise, 20 %"
    table = in_words(pd.DataFrame({"dataset": ["no such"], "peak_mib": ["1"]}))
    assert table.to_dict("records") == [{"dataset": "no such", "peak mib": "1"}]


@pytest.mark.parametrize("name", ["report.zip", "report"])
def test_a_page_ends_in_html(tmp_path: Path, name: str) -> None:
    with pytest.raises(GlitchtraceError, match=r"ends in \.html"):
        write_page(tmp_path / name, [], "")


def test_a_page_shows_no_pdf(tmp_path: Path) -> None:
    (tmp_path / "f.pdf").write_bytes(b"%PDF")
    with pytest.raises(GlitchtraceError, match="put svg or png first"):
        write_page(tmp_path / "p.html", [Section("Detection", "a", "", [tmp_path / "f.pdf"])], "")


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ("12345.6", "12346"),
        ("9999.6", "10000"),
        ("-123456", "-123456"),
        ("1.23456e+06", "1.235e+06"),
        ("1e+06", "1e+06"),
        ("2.34567e-05", "2.346e-05"),
        ("0.123456", "0.1235"),
    ],
)
def test_large_and_small_numbers_are_read_and_aligned_as_numbers(stored: str, shown: str) -> None:
    table = in_words(pd.DataFrame({"cpu_seconds": [stored]}))
    assert table["CPU seconds"].tolist() == [shown]
    assert f'<td class="number">{shown}</td>' in html_table(table)
