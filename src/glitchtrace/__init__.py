"""glitchtrace: find, characterise and repair glitches in training data by training influence.

Importing the package imports nothing heavy: the Snakefile does so on every parse.
"""

__version__ = "0.1.0"
