"""Put the facts of every dataset, from its card and its raw files, into docs/datasets.md (``make docs``)."""

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from glitchtrace.core import files, registry
from glitchtrace.data.raw_files import RawFile

PAGE = Path(__file__).with_suffix(".md")
# Of the datasets whose modules hold no address of their own.
_LIBRARY = "shipped with scikit-learn"
_LIBSVM = "file {} of the LIBSVM data page, binary classification, to be put there by hand; no checksum is published"
_AT_HAND = "none to download: the file lies in the data folder"
SOURCES = {
    "breast_cancer": _LIBRARY,
    "digits": _LIBRARY,
    "iris": _LIBRARY,
    "photo_patches": _LIBRARY,
    "wine": _LIBRARY,
    "synthetic": "made by scikit-learn",
    "mnist": "the mirrors that torchvision names (`torchvision.datasets.MNIST`)",
    "mnist17": "as mnist",
    "mnist49": "as mnist",
    "fmnist": "the mirrors that torchvision names (`torchvision.datasets.FashionMNIST`)",
    "cifar10": "the address that torchvision names (`torchvision.datasets.CIFAR10`)",
    "stl10": "the address that torchvision names (`torchvision.datasets.STL10`)",
    "cifar10_jpeg": _AT_HAND,
    "cifar10_lossless": _AT_HAND,
    "covtype_sample": _AT_HAND,
    "epsilon_sample": _AT_HAND,
    "jannis_sample": _AT_HAND,
    "jannis": "OpenML 41168",
    "adult_a1a": _LIBSVM.format("`LIBSVM/a1a.t` and `LIBSVM/a1a`"),
    "avazu_app": _LIBSVM.format("`LIBSVM/avazu-app.tr` and `LIBSVM/avazu-app.val`"),
    "cancer_libsvm": f"{_LIBSVM.format('`LIBSVM/breast-cancer_scale`')}; else the table below",
    "covtype_binary": f"{_LIBSVM.format('`LIBSVM/covtype.libsvm.binary.scale`')}; else OpenML 293",
    "criteo": _LIBSVM.format("`LIBSVM/criteo.train` and `LIBSVM/criteo.test`"),
    "diabetes_libsvm": f"{_LIBSVM.format('`LIBSVM/diabetes_scale`')}; else OpenML 37",
    "news20_binary": _LIBSVM.format("`LIBSVM/news20.binary`"),
    "own_libsvm": "your own file",
    "real_sim": _LIBSVM.format("`LIBSVM/real-sim`"),
}


def facts(name: str) -> str:
    """Content, size, licence, citation and checksums of one dataset, as Markdown."""
    card = registry.card("dataset", name)
    rows = [f"{count:,} {'rows' if part == 'all' else part}" for part, count in card["rows"].items()]
    size = f"{', '.join(rows) or 'as many rows as the files hold'}; {card['classes']} classes"
    lines = [card["summary"], "", f"* {size}", f"* licence: {card['licence']}"]
    lines += [f"* {card['citation']}", f"* source: {source(name)}"]
    lines += [f"* `{path}`, {checksum}" for path, checksum in raw_files(name)]
    return "\n".join(lines)


def source(name: str) -> str:
    """Where a dataset comes from: the address that its module downloads from, else the text of ``SOURCES``."""
    addresses = [vars(module)["ADDRESS"] for module in modules(name) if "ADDRESS" in vars(module)]
    return addresses[0] if addresses else SOURCES.get(name, "not stated")


def modules(name: str) -> list[ModuleType]:
    """The module of a dataset and those that it takes as a whole: they may hold its raw files and address."""
    own = registry.load("dataset", name)
    return [own, *(value for value in vars(own).values() if isinstance(value, ModuleType))]


def raw_files(name: str) -> Iterator[tuple[str, str]]:
    """Path and checksum of every raw file of a dataset."""
    for module in modules(name):
        for value in vars(module).values():
            for raw in value.values() if isinstance(value, dict) else [value]:
                if isinstance(raw, RawFile):
                    yield raw.path, raw.checksum.replace(":", " ")
        for file, digest in getattr(module, "MD5", {}).items():
            yield file, f"md5 {digest}"


def add_section(name: str) -> None:
    """Give a dataset that the page does not know a section of its own, the last of the datasets."""
    text = PAGE.read_text(encoding="utf-8")
    before, heading, after = text.partition("## Other data")
    section = f"## {name}\n\n<!-- {name}: begin -->\n<!-- {name}: end -->\n\n"
    PAGE.write_text(f"{before}{section}{heading}{after}", encoding="utf-8")


if __name__ == "__main__":
    for dataset in registry.names("dataset"):
        if f"<!-- {dataset}: begin -->" not in PAGE.read_text(encoding="utf-8"):
            add_section(dataset)
        files.replace_section(PAGE, dataset, facts(dataset))
