"""Every setting of pixied, once: its name, kind, range, default and meaning.

The flags, `pixied config` and docs/settings.md are made from this class.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import GetCoreSchemaHandler, model_validator
from pydantic_core import CoreSchema, PydanticCustomError, core_schema
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from pixied_server.settings.kinds import Address, Addresses, Choice, Count, Duration, Engine, Kind, Name, Size, Switch

__all__ = ["CONTRADICTION", "ENV_PREFIX", "Setting", "Settings"]

ENV_PREFIX = "PIXIED_"
"""What a setting's name has in front of it as an environment variable."""

CONTRADICTION = "contradiction"
"""The type of the error for settings that are right one by one and wrong together; its context has their `names`."""

HOUR = 3_600.0
DAY = 24 * HOUR
KIB = 1 << 10
MIB = 1 << 20
TIB = 1 << 40
BILLION = 1_000_000_000


@dataclass(frozen=True)
class Setting:
    """What is known of one setting besides its name and default.

    Args:
        kind: What its value may be.
        description: What it does, in one sentence without a full stop.
    """

    kind: Kind
    description: str

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema = core_schema.no_info_plain_validator_function(self.kind.parse)
        return core_schema.nullable_schema(schema) if isinstance(self.kind, Duration) and self.kind.unset else schema


class Settings(BaseSettings):
    """The settings of one server; durations are seconds, sizes are bytes.

    Made by hand, it reads nothing but its arguments; `load` reads flags, environment and file.

    Raises:
        pydantic.ValidationError: A value is wrong, or two contradict each other.
    """

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix=ENV_PREFIX)

    listen: Annotated[tuple[str, ...], NoDecode, Setting(Addresses(), "Where to listen; the flag may be repeated")] = (
        "127.0.0.1:50051",
    )
    insecure: Annotated[
        bool,
        Setting(Switch(), "Admit addresses that other machines can reach, though there is no authentication yet"),
    ] = False
    engine: Annotated[str, Setting(Engine(), "What holds the state")] = "memory"
    workers: Annotated[
        int,
        Setting(
            Count(1, 1_024), "How many processes serve the addresses together; more than 1 need a store they share"
        ),
    ] = 1
    grace: Annotated[
        float, Setting(Duration(0, HOUR), "How long a planned stop waits for streams to end before it cuts them")
    ] = 10.0

    default_session_timeout: Annotated[
        float,
        Setting(Duration(0.001, 365 * DAY), "How long a session lives without a ping if its creator does not say"),
    ] = 60.0
    min_session_timeout: Annotated[
        float, Setting(Duration(0.001, 365 * DAY), "The shortest session timeout that CreateClient takes")
    ] = 0.1
    max_session_timeout: Annotated[
        float, Setting(Duration(0.001, 365 * DAY), "The longest session timeout that CreateClient takes")
    ] = HOUR

    max_clients: Annotated[int, Setting(Count(1, BILLION), "How many clients may live at once")] = 1_000_000
    max_subscriptions_per_client: Annotated[
        int, Setting(Count(1, BILLION), "How many channels and patterns one client may subscribe to")
    ] = 1_000
    max_clients_per_link: Annotated[int, Setting(Count(1, BILLION), "How many clients one Attach stream may carry")] = (
        200_000
    )
    max_streams_per_connection: Annotated[
        int,
        Setting(
            Count(1, 1_000_000), "How many calls one connection may have under way; further ones wait at the caller"
        ),
    ] = 1_000
    max_namespaces: Annotated[
        int, Setting(Count(1, BILLION), "How many namespaces may be reserved that are no client's id")
    ] = 1_000_000
    max_idempotency_keys: Annotated[
        int, Setting(Count(1, BILLION), "How many idempotency keys are remembered, each for 5 minutes")
    ] = 2_000_000

    max_message_bytes: Annotated[int, Setting(Size(KIB, 256 * MIB), "How large one message may be")] = MIB
    max_request_bytes: Annotated[
        int, Setting(Size(KIB, 1024 * MIB), "How large one request, or one frame of a stream, may be")
    ] = 16 * MIB
    max_batch_items: Annotated[
        int, Setting(Count(1, 1_000_000), "How many messages, channels, clients or operations one request may have")
    ] = 1_000
    max_wait: Annotated[float, Setting(Duration(0, DAY), "How long DequeueFor may wait for messages")] = 300.0

    max_log_messages: Annotated[
        int, Setting(Count(1, BILLION), "How many messages the log of one channel, pattern or inbox keeps")
    ] = 100_000
    max_log_bytes: Annotated[
        int, Setting(Size(KIB, TIB), "How much the log of one channel, pattern or inbox keeps")
    ] = 64 * MIB
    max_log_age: Annotated[
        float | None,
        Setting(
            Duration(0, 365 * DAY, unset="as max_session_timeout"),
            "How long a log keeps a message, read or not",
        ),
    ] = None
    max_total_bytes: Annotated[int, Setting(Size(KIB, 1024 * TIB), "How much all logs keep together")] = 512 * MIB

    write_timeout: Annotated[
        float,
        Setting(
            Duration(0.01, HOUR),
            "How long a caller may take to receive a frame or an answer, for each MiB of it that was begun",
        ),
    ] = 60.0
    max_write_bytes: Annotated[
        int,
        Setting(
            Size(MIB, TIB),
            "How much may be written to all callers that they have not received; it counts twice, for gRPC copies it",
        ),
    ] = 256 * MIB
    max_write_bytes_per_connection: Annotated[
        int, Setting(Size(MIB, TIB), "How much of that may be for one connection; all of a Unix socket are one")
    ] = 64 * MIB

    max_creates_per_second: Annotated[
        int, Setting(Count(0, BILLION, zero="no limit"), "How many sessions may be created in a second")
    ] = 0
    max_publishes_per_second: Annotated[
        int, Setting(Count(0, BILLION, zero="no limit"), "How many messages may be published in a second")
    ] = 0

    heartbeat_interval: Annotated[
        float, Setting(Duration(0.01, HOUR), "How often a link is asked whether it lives")
    ] = 10.0
    silence_limit: Annotated[
        float,
        Setting(Duration(0.02, DAY), "After how long a silence a link is dropped; longer than heartbeat_interval"),
    ] = 30.0
    cometd_channels: Annotated[bool, Setting(Switch(), "Admit CometD's wider channel names, with space # + . { }")] = (
        False
    )
    watch_buffer: Annotated[
        int, Setting(Count(1, 10_000_000), "How many events are kept for a slow watcher before it misses some")
    ] = 10_000

    redis_prefix: Annotated[
        str,
        Setting(Name(), "What the names of all keys begin with; installations that share a store have different ones"),
    ] = "pixied"
    redis_partitions: Annotated[
        int, Setting(Count(1, 1_024), "How many parts the state has in a store; to be changed only while it is empty")
    ] = 16
    redis_timeout: Annotated[
        float, Setting(Duration(0.05, 60), "How long the store may take to answer before an operation is refused")
    ] = 2.0

    redis_min_replicas: Annotated[
        int,
        Setting(
            Count(0, 100, zero="the store's own answer is enough"),
            "How many replicas of the store must have what changed before that is answered",
        ),
    ] = 0

    log_level: Annotated[
        str, Setting(Choice(("debug", "info", "warning", "error", "critical")), "The least severe log line to write")
    ] = "info"
    log_format: Annotated[
        str,
        Setting(Choice(("auto", "console", "json")), "How log lines look; auto is console on a terminal, else json"),
    ] = "auto"

    @classmethod
    def settings_customise_sources(  # noqa: D102
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        # `load` asks each source itself, because a merged result could not tell where a value came from.
        return (init_settings,)

    @classmethod
    def described(cls) -> Mapping[str, Setting]:
        """What is known of each setting, by its name, in the order of this class."""
        return {
            name: next(item for item in field.metadata if isinstance(item, Setting))
            for name, field in cls.model_fields.items()
        }

    @property
    def log_age(self) -> float:
        """How long a log keeps a message, in seconds: `max_log_age`, or what it means not to set it."""
        return self.max_session_timeout if self.max_log_age is None else self.max_log_age

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        for names, problem in self._contradictions():
            # Pydantic fills {} in the text from the context; the text may hold braces of its own.
            raise PydanticCustomError(CONTRADICTION, "{problem}", {"problem": problem, "names": names})
        return self

    def _contradictions(self) -> Iterator[tuple[tuple[str, ...], str]]:
        for smaller, larger in (
            ("min_session_timeout", "default_session_timeout"),
            ("default_session_timeout", "max_session_timeout"),
            ("max_message_bytes", "max_request_bytes"),
            ("max_message_bytes", "max_log_bytes"),
            ("max_log_bytes", "max_total_bytes"),
            ("max_write_bytes_per_connection", "max_write_bytes"),
        ):
            if getattr(self, smaller) > getattr(self, larger):
                yield (smaller, larger), f"{self._shown(smaller)} must not exceed {self._shown(larger)}"
        if self.heartbeat_interval >= self.silence_limit:
            text = f"{self._shown('silence_limit')} must be longer than {self._shown('heartbeat_interval')}"
            yield ("silence_limit", "heartbeat_interval"), f"{text}, or every link would be dropped"
        yield from self._exposed()
        if self.workers > 1:
            yield from self._unshared()

    def _unshared(self) -> Iterator[tuple[tuple[str, ...], str]]:
        if self.engine == "memory":
            text = (
                f"{self._shown('workers')}: processes can't share the engine memory, each would have its own clients;"
            )
            yield ("workers", "engine"), text + " right would be --engine redis://HOST:6379/0, or 1 worker"
        sockets = [address for address in self.listen if address.startswith("unix:")]
        if sockets:
            text = f"{self._shown('workers')}: processes can't share the Unix socket {sockets[0]};"
            yield ("workers", "listen"), text + " right would be HOST:PORT, or 1 worker"

    def _exposed(self) -> Iterator[tuple[tuple[str, ...], str]]:
        reachable = [address for address in self.listen if not Address.parse(address).local]
        if reachable and not self.insecure:
            text = f"listen: {reachable[0]} is not known to be a loopback address. pixied has no authentication yet, so"
            text += " whoever reaches it may read and change everything. Right would be a loopback address, a Unix"
            yield ("listen",), text + " socket, or --insecure if a network that you trust shields it"

    def _shown(self, name: str) -> str:
        return f"{name} ({self.described()[name].kind.show(getattr(self, name))})"
