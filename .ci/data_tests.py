"""Print which tests on real data ran and which were skipped, from pytest's JUnit file."""

import sys
from pathlib import Path
from xml.etree import ElementTree

if not Path(sys.argv[1]).is_file():
    sys.exit("tests: no result file; pytest did not run")
cases = list(ElementTree.parse(sys.argv[1]).iter("testcase"))
skipped = {
    id(case): case.find("skipped").get("message", "") for case in cases if case.find("skipped") is not None
}
failed = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
marked = [case for case in cases if any(p.get("name") == "data" for p in case.iter("property"))]
print(f"tests: {len(cases)} in all, {len(failed)} failed, {len(skipped)} skipped")
for case in marked:
    state = f"skipped ({skipped[id(case)]})" if id(case) in skipped else "ran"
    print(f"  data test {case.get('classname')}::{case.get('name')}: {state}")
for case in cases:
    if id(case) in skipped and case not in marked:
        print(f"  skipped: {case.get('classname')}::{case.get('name')}: {skipped[id(case)]}")
