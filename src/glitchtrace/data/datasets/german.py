"""German credit: applicants of a German bank, good or bad risks."""

from pathlib import Path

from glitchtrace.data.pool import Pool
from glitchtrace.data.raw_files import RawFile, find, locate
from glitchtrace.data.tables import encode, read_frame

KIND = "dataset"
CARD = {
    "summary": "German credit applicants, good or bad risks, 7 numeric and 13 categorical columns.",
    "modality": "table",
    "classes": 2,
    "rows": {"all": 1000},
    "shape": [59],
    "foreign": None,
    "greyscale": False,
    "convolution_size": None,
    "licence": "CC BY 4.0",
    "citation": "Hofmann: Statlog (German credit data), UCI repository, 1994",
}

TABLE = RawFile(
    "tabular/german_credit.parquet", "sha256:0c40eaad2ccae2eff9b316458ca2bb7e23e8a5c71f8f9603fb43e93613596458"
)
OFFICIAL = RawFile("german/german.data", "md5:6b94c2e35480e671545e52a808a8a549")
ADDRESS = "https://archive.ics.uci.edu/ml/machine-learning-databases/statlog/german/german.data"

COLUMNS = (
    "checking_status",
    "duration",
    "credit_history",
    "purpose",
    "credit_amount",
    "savings_status",
    "employment",
    "installment_commitment",
    "personal_status",
    "other_parties",
    "residence_since",
    "property_magnitude",
    "age",
    "other_payment_plans",
    "housing",
    "existing_credits",
    "job",
    "num_dependents",
    "own_telephone",
    "foreign_worker",
)
NUMERIC = (
    "duration",
    "credit_amount",
    "installment_commitment",
    "residence_since",
    "age",
    "existing_credits",
    "num_dependents",
)
CLASSES: dict[object, str] = {1: "good", 2: "bad"}


def load(data_root: Path | None) -> Pool:
    """All 1,000 rows: from the data folder, else the file of UCI; categories have the codes of that file."""
    import pandas as pd

    table = find(TABLE, data_root)
    if table:
        frame, raw = read_frame(table), TABLE
    else:
        raw = OFFICIAL
        official = locate(raw, data_root, lambda: [ADDRESS])
        frame = pd.read_csv(official, header=None, names=[*COLUMNS, "class"], sep=" ")
    return encode(
        frame,
        origin=raw.path,
        columns=COLUMNS,
        categorical=[name for name in COLUMNS if name not in NUMERIC],
        label="class",
        classes=CLASSES,
        parts={"all": (0, len(frame))},
        checksums={raw.path: raw.checksum},
    )
