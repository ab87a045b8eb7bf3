"""A recorded training done again, as it would have gone without some of its samples.

Same initial parameters, batches, rates and augmentation; a removed sample is left out of the sum of its step,
whose divisor stays.  Source: docs/methods/sgd-influence.md#removal-and-replay.
"""

import numpy as np

from glitchtrace.models.network import Network
from glitchtrace.training.recorded.recording import TrainingSamples, check_trace, run
from glitchtrace.training.recorded.trace import Trace


def replay(
    network: Network,
    samples: TrainingSamples,
    trace: Trace,
    removed: np.ndarray | None = None,
    *,
    first_epoch: int = 0,
) -> None:
    """Bring ``network`` to the parameters after the last step of a replay without ``removed``, mask (n,).

    ``first_epoch``: 0 trains all epochs anew, E−1 the last one only, from the parameters before it.  With
    nothing removed the result is that of the recorded training, bit by bit.  Raises GlitchtraceError where
    the trace is of another network or another number of samples.
    """
    check_trace(network, samples, trace)
    network.restore(trace.layout.split(trace.start_of(first_epoch)))
    run(network, samples, trace, first_epoch=first_epoch, removed=removed)
