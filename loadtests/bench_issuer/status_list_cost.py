"""The cost of status lists at a million sessions: `python -m loadtests.bench_issuer.status_list_cost` prints a table.

A list has 2^20 bits, one for each session; its size and the time to build it depend on how many are
revoked at once. Those are few: a bit is set only until the last access token has expired. Figures are medians
of this machine, without a database.
"""

import random
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from issuer.keys.manager import KeyManager
from issuer.keys.rotation import RotationPolicy
from issuer.keys.store import SigningKey, load_key_set
from issuer.status_lists.publisher import sign_list
from shared.status_list import LIST_BITS, encode, pack

REVOKED: Final = (0, 100, 1_000, 10_000, 100_000, LIST_BITS // 2)
_ROUNDS: Final = 9


def main() -> None:
    """Print the table."""
    key = _key()
    head = f"| revoked of {LIST_BITS:,} | token, bytes | pack, ms | compress, ms | all with signature, ms |"
    rows = [head, "|---:|---:|---:|---:|---:|", *(_row(revoked, key) for revoked in REVOKED)]
    sys.stdout.write("\n".join(rows) + "\n")


def _key() -> SigningKey:
    with tempfile.TemporaryDirectory() as folder:
        KeyManager(Path(folder), RotationPolicy(), lambda: datetime.now(UTC)).generate()
        signing = load_key_set(Path(folder)).signing
    assert signing is not None
    return signing


def _row(revoked: int, key: SigningKey) -> str:
    indices = random.Random(revoked).sample(range(LIST_BITS), revoked)  # noqa: S311 - the same list every time
    packing, compressing, building, size = [], [], [], 0
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        packed = pack(indices, LIST_BITS)
        packing.append(time.perf_counter() - started)
        started = time.perf_counter()
        encode(packed)
        compressing.append(time.perf_counter() - started)
        started = time.perf_counter()
        uri = "https://issuer.example/status-lists/1"
        size = len(sign_list(indices, LIST_BITS, uri, "https://issuer.example", 0, key))
        building.append(time.perf_counter() - started)
    medians = (f"{statistics.median(each) * 1000:.1f}" for each in (packing, compressing, building))
    return f"| {revoked:,} | {size:,} | {' | '.join(medians)} |"


if __name__ == "__main__":
    main()
