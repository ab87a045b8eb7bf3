"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real data; the test is skipped, visibly, where GLITCHTRACE_DATA is unset."""
    root = os.environ.get("GLITCHTRACE_DATA")
    if not root:
        pytest.skip("GLITCHTRACE_DATA is not set")
    return Path(root).resolve()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Write into the result file which tests use real data, so that CI can name them."""
    for item in items:
        if item.get_closest_marker("data"):
            item.user_properties.append(("data", "yes"))
