"""A reporter for Snakemake: ``snakemake --reporter glitchtrace`` writes the page of ``glitchtrace.reporting.page``.

Snakemake finds this package by its name and hands it what rules have marked with ``report()``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from snakemake_interface_report_plugins.reporter import ReporterBase
from snakemake_interface_report_plugins.settings import ReportSettingsBase


@dataclass
class ReportSettings(ReportSettingsBase):  # type: ignore[misc]
    """Where the page is written."""

    path: Path | None = field(
        default=Path("report.html"),
        metadata={"help": "The page, one HTML file.", "env_var": False, "required": False, "type": Path},
    )


class Reporter(ReporterBase):  # type: ignore[misc]
    """Turns the marked files of a run into one page."""

    def render(self) -> None:
        """Write the page; a figure and the table behind it, both of one job, stand together."""
        from glitchtrace.reporting.page import Section, write_page

        sections: dict[Any, Section] = {}
        for category, groups in self.results.items():
            for record in (one for group in groups.values() for one in group):
                key = (category.name, record.job.rule.name, str(record.wildcards), str(record.caption))
                section = sections.setdefault(
                    key, Section(category.name, _title(record.labels, record.name), record.caption)
                )
                section.files.append(Path(record.path))
        write_page(self.settings.path, sections.values(), self.workflow_description)


def _title(labels: Mapping[str, str] | None, name: str) -> str:
    """What the workflow calls the result, without saying whether it is a figure or a table."""
    return str((labels or {}).get("result", name)).rpartition(" (")[0] or name
