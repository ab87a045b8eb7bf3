"""Features from a store as the inputs of a head."""

from functools import cached_property

import numpy as np
import pandas as pd
import torch

from glitchtrace.data.feature_store import FeatureStore
from glitchtrace.data.preprocess import Inputs


class FeatureInputs(Inputs):
    """The features of pictures, read from the store when the first of them is asked for.

    ``pictures``: identities, see ``features.pictures``.
    """

    def __init__(self, store: FeatureStore, pictures: pd.DataFrame) -> None:
        self._store = store
        self._pictures = pictures
        self.shape = (store.description["width"],)

    def __len__(self) -> int:
        return len(self._pictures)

    @cached_property
    def _features(self) -> torch.Tensor:
        return torch.from_numpy(self._store.read(self._pictures))

    def batch(self, rows: np.ndarray | slice) -> torch.Tensor:
        """The features, (b, d) float32."""
        return self._features[rows]
