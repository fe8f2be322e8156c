"""Chaos tests: real load on a real site while its processes are killed, frozen, disconnected and short of resources.

`make chaos` runs it, and `test_chaos.py` runs two minutes of it. `invariants.py` states what must hold, `faults.py`
the faults.
"""
