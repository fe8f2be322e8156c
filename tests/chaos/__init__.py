"""Chaos: real load on a real site while its parts are killed, frozen, cut off and starved, and what must hold then.

`make chaos` runs it, and `test_chaos.py` runs two minutes of it. What holds is in `invariants.py`, the faults are in
`faults.py`.
"""
