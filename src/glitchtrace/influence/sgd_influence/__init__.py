"""SGD-influence: what a training run would have lost or gained without one of its samples.

A training by plain SGD is recorded (``recording``, ``trace``), can be repeated without any of its samples
(``replay``), and is walked backwards to estimate the effect of each removal (``walk``).  Source: Hara,
Nitanda, Maehara, NeurIPS 2019; Suzuki, Kobayashi, Narihira 2021; docs/methods/sgd-influence.md.
"""
