"""RDIA-LS: relabelling by the training loss inside each batch, for deep networks; and what it is compared with."""
