"""Training influence: exact TracIn in closed form, the general path, and profiles that signals are made from.

``factors`` and ``closed_form`` need numpy only.  ``profile`` reduces any estimator to what the signals see.
"""
