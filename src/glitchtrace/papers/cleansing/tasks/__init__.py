"""Binary tasks of the fidelity study, one module per task."""
