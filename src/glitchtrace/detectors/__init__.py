"""Signals of suspicion, one module each: one score per training sample, where higher is more suspicious."""
