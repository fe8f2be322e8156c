"""The probes, one module per kind of attack. Each function returns `Probe` values and does no I/O."""
