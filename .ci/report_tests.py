"""Print a table of both tiers of tests, and why tests were skipped, from pytest's JUnit files."""

import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

OUTCOMES = ("passed", "failed", "skipped")


def outcome(case: ElementTree.Element) -> str:
    """Whether a test passed, failed or was skipped."""
    if case.find("failure") is not None or case.find("error") is not None:
        return "failed"
    return "skipped" if case.find("skipped") is not None else "passed"


def reason(case: ElementTree.Element) -> str:
    """Why a test was skipped."""
    found = case.find("skipped")
    return found.get("message", "") if found is not None else ""


def main(files: list[str]) -> int:
    """Print the table; 1 where a result file is missing."""
    cases = []
    for file in files:
        if not Path(file).is_file():
            print(f"{file}: no result file; pytest did not run")
            return 1
        cases += ElementTree.parse(file).iter("testcase")
    groups: dict[str, Counter[str]] = {}
    for case in cases:
        group = ".".join(case.get("classname", "").split(".")[:2])
        data = any(item.get("name") == "data" for item in case.iter("property"))
        for name in (group, *(["on real data"] if data else [])):
            groups.setdefault(name, Counter())[outcome(case)] += 1
    print(f"{'tests':24}" + "".join(f"{name:>9}" for name in OUTCOMES))
    for group, counts in sorted(groups.items()):
        print(f"{group:24}" + "".join(f"{counts[name]:>9}" for name in OUTCOMES))
    for why, count in Counter(reason(case) for case in cases if outcome(case) == "skipped").most_common():
        print(f"  {count} skipped: {why}")
    for case in cases:
        if outcome(case) == "failed":
            print(f"  failed: {case.get('classname')}::{case.get('name')}")
    return 0


sys.exit(main(sys.argv[1:]))
