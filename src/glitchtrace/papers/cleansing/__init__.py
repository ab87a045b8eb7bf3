"""Data cleansing: remove the samples that harmed a recorded training, and train again without them.

Source: Hara, Nitanda, Maehara, NeurIPS 2019; Suzuki, Kobayashi, Narihira 2021; docs/methods/sgd-influence.md.
"""
