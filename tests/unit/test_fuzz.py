"""One bit at random in every kind of file that decides a result, as tests/helpers/fuzzing.py counts it."""

from pathlib import Path

import pandas as pd
import pytest
from fuzzing import KINDS, flipped

TRIALS = 200


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.filterwarnings("ignore")
def test_a_flipped_bit_is_refused_in_one_line_or_does_no_harm(name: str, tmp_path: Path) -> None:
    outcomes, raised = flipped(KINDS[name], tmp_path, TRIALS)
    assert not raised
    assert outcomes["refused"] + outcomes["harmless"] + outcomes["noticed"] == TRIALS
    assert outcomes["refused"], "the bits reach the content"


def test_the_table_has_every_kind() -> None:
    table = pd.read_csv(Path(__file__).parents[2] / "docs/tables/fuzz.csv")
    assert table["kind of file"].tolist() == [*KINDS], "run make fuzz"
