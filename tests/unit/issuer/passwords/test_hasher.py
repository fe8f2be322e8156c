"""Every path computes one argon2 hash at bounded cost, and hashes are only upgraded."""

import asyncio
from collections.abc import Iterator

import bcrypt  # noqa: TID251 - the reference
import pytest
from argon2 import Parameters, Type  # noqa: TID251 - makes the hashes that were stored
from argon2 import PasswordHasher as Argon2Hasher  # noqa: TID251 - the reference

from issuer.passwords.foreign_hashes import UnusableHashError
from issuer.passwords.hash_queue import PasswordHashQueue, QueueClient
from issuer.passwords.hasher import ARGON2_COSTS, PasswordCheck, PasswordHasher, check_stored_hash
from issuer.telemetry.metrics import Metrics

CHEAP = Parameters(type=Type.ID, version=19, salt_len=16, hash_len=32, time_cost=2, memory_cost=64, parallelism=1)
YES = PasswordCheck(matches=True, outdated=False)
NO = PasswordCheck(matches=False, outdated=False)


class Bench:
    def __init__(self, hash_queue: PasswordHashQueue) -> None:
        self.metrics = Metrics()
        self.passwords = PasswordHasher(hash_queue, self.metrics, CHEAP)

    def computations(self) -> float:
        return self.metrics.registry.get_sample_value("gatepass_issuer_argon2_computations_total") or 0

    def hash(self, password: str) -> str:
        return asyncio.run(self.passwords.hash(password, QueueClient()))

    def verify(self, stored: str | None, password: str) -> PasswordCheck:
        before = self.computations()
        verdict = asyncio.run(self.passwords.verify(stored, password, QueueClient()))
        assert self.computations() - before == 1
        return verdict


@pytest.fixture
def bench() -> Iterator[Bench]:
    hash_queue = PasswordHashQueue(threads=2, wait_seconds=10)
    yield Bench(hash_queue)
    hash_queue.close()


def stored_at(password: str, *, time_cost: int = 2, memory_cost: int = 64) -> str:
    return Argon2Hasher(time_cost, memory_cost, parallelism=1).hash(password, salt=b"a salt of a test")


def test_the_right_password_matches(bench: Bench) -> None:
    assert bench.verify(bench.hash("walrus"), "walrus") == YES


def test_the_wrong_password_does_not_match(bench: Bench) -> None:
    assert bench.verify(bench.hash("walrus"), "walrux") == NO


def test_an_unknown_account_costs_one_hash_and_never_matches(bench: Bench) -> None:
    assert bench.verify(None, "walrus") == NO


def test_the_whole_password_is_compared(bench: Bench) -> None:
    assert bench.verify(bench.hash("w" * 72), "w" * 72 + "x") == NO


def test_composed_and_decomposed_letters_are_one_password(bench: Bench) -> None:
    assert bench.verify(bench.hash("caf\u00e9"), "cafe\u0301") == YES


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "walrus",
        "$argon2id$",
        "$argon2id$v=19$m=64,t=2,p=1$c29tZXNhbHQ$",
        "$2b$15$C6UzMDM.H6dfI/f/IKcEeO3ckmIS3Kz.5XbXJ3b5PcJW2S1H0lF2y",
        "$scrypt$ln=30,r=8,p=1$c2VhIHNhbHQ$c29tZWhhc2hzb21laGFzaHNvbWVoYXNoc29tZQ",
        stored_at("walrus").replace("m=64", "m=2097152"),
        stored_at("walrus").replace("t=2", "t=1000"),
        stored_at("walrus").replace("p=1", "p=64"),
        stored_at("walrus").replace("p=1", "p=16"),
        stored_at("walrus").replace("argon2id", "argon2x"),
        stored_at("walrus").replace("m=64", "m=-1"),
        stored_at("walrus") + "A" * 600,
        f"{stored_at('walrus')[:-1]}B",
        stored_at("walrus")[:-2],
        stored_at("walrus").replace("m=64", "m=064"),
        stored_at("walrus").replace("m=64", "m=8").replace("p=1", "p=8"),
    ],
)
def test_an_excessive_hash_costs_one_decoy_and_never_matches(bench: Bench, stored: str) -> None:
    with pytest.raises(UnusableHashError):
        check_stored_hash(stored)
    assert bench.verify(stored, "walrus") == NO


@pytest.mark.parametrize(
    ("time_cost", "memory_cost", "outdated"), [(1, 64, True), (2, 32, True), (2, 64, False), (3, 128, False)]
)
def test_only_a_cheaper_hash_is_outdated(bench: Bench, time_cost: int, memory_cost: int, *, outdated: bool) -> None:
    stored = stored_at("walrus", time_cost=time_cost, memory_cost=memory_cost)
    assert bench.verify(stored, "walrus") == PasswordCheck(matches=True, outdated=outdated)


def test_a_mismatch_is_never_outdated(bench: Bench) -> None:
    assert bench.verify(stored_at("walrus", time_cost=1), "walrux") == NO


BCRYPT_OF_WALRUS = bcrypt.hashpw(b"walrus", bcrypt.gensalt(4)).decode()


def test_a_matching_foreign_hash_is_replaced_by_argon2(bench: Bench) -> None:
    verdict = bench.verify(BCRYPT_OF_WALRUS, "walrus")
    assert (verdict.matches, verdict.outdated) == (True, False)
    assert verdict.replacement
    assert bench.verify(verdict.replacement, "walrus") == YES
    assert verdict.replacement not in repr(verdict)


def test_a_mismatched_foreign_hash_costs_the_decoy(bench: Bench) -> None:
    assert bench.verify(BCRYPT_OF_WALRUS, "walrux") == NO


def test_a_password_longer_than_bcrypt_reads_is_no_error(bench: Bench) -> None:
    assert bench.verify(BCRYPT_OF_WALRUS, "w" * 200) == NO


def test_a_foreign_hash_is_compared_with_the_password_before_normalisation(bench: Bench) -> None:
    decomposed = "cafe\u0301"
    foreign = bcrypt.hashpw(decomposed.encode(), bcrypt.gensalt(4)).decode()
    replacement = bench.verify(foreign, decomposed).replacement
    assert bench.verify(foreign, "caf\u00e9") == NO
    assert bench.verify(replacement, "caf\u00e9") == YES


@pytest.mark.parametrize("kind", [Type.I, Type.D])
def test_another_argon2_variant_is_outdated(bench: Bench, kind: Type) -> None:
    stored = Argon2Hasher(4, 512, parallelism=1, type=kind).hash("walrus")
    assert bench.verify(stored, "walrus") == PasswordCheck(matches=True, outdated=True)


def test_equivalent_owasp_parameters_are_not_outdated() -> None:
    for configured in ARGON2_COSTS.values():
        for stored in ARGON2_COSTS.values():
            cheaper = (stored.memory_cost, stored.time_cost) != (configured.memory_cost, configured.time_cost)
            smaller = stored.memory_cost <= configured.memory_cost and stored.time_cost <= configured.time_cost
            assert not (cheaper and smaller)
