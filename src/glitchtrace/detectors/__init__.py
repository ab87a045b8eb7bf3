"""Detectors: everything that scores training samples by how suspicious they are, over one ``evidence.Evidence``.

Influence signals, plain rivals, neighbours, anomaly detectors: one interface, one table of scores per cell.
"""
