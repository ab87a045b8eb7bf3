"""How a run of the loop goes on: sizes, training, and what is measured."""
