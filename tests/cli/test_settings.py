"""Settings: one name in three forms, their precedence, and what is said when one is wrong."""

import re
import runpy
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from pydantic import ValidationError

from pixied_server.settings import (
    ADDRESS_VARIABLE,
    CONFIG_VARIABLE,
    Origin,
    Settings,
    SettingsError,
    flag,
    load,
    variable,
)
from pixied_server.settings.kinds import Engine
from pixied_server.settings.reference import page, table

ROOT = Path(__file__).parents[2]


def problem_of(flags: Mapping[str, object], config: Path | None = None) -> str:
    with pytest.raises(SettingsError) as caught:
        load(flags, config)
    return str(caught.value)


def test_without_anything_given_every_setting_is_its_default() -> None:
    """Nothing given: the defaults hold, and are said to be defaults."""
    loaded = load({})
    assert loaded.settings == Settings()
    assert set(loaded.origins.values()) == {Origin("default")}
    assert loaded.origins.keys() == Settings.model_fields.keys()


def test_the_defaults_are_those_of_the_contract() -> None:
    """The defaults that the contract's comments name are the ones that hold."""
    settings = Settings()
    assert settings.listen == ("127.0.0.1:50051",)
    assert (settings.min_session_timeout, settings.default_session_timeout, settings.max_session_timeout) == (
        0.1,
        60.0,
        3600.0,
    )
    assert (settings.max_message_bytes, settings.max_batch_items, settings.max_wait) == (1 << 20, 1000, 300.0)
    assert settings.grace == 10.0


def test_a_flag_wins_over_a_variable_over_the_file_over_the_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Precedence is flag, environment, file, default, and each value knows where it came from."""
    file = tmp_path / "some.toml"
    file.write_text("max_clients = 1\nmax_namespaces = 1\ngrace = '1s'\n")
    monkeypatch.setenv("PIXIED_MAX_CLIENTS", "2")
    monkeypatch.setenv("PIXIED_MAX_NAMESPACES", "2")
    loaded = load({"max_clients": "3"}, file)
    assert (loaded.settings.max_clients, loaded.origins["max_clients"]) == (3, Origin("flag", "--max-clients"))
    assert loaded.settings.max_namespaces == 2
    assert loaded.origins["max_namespaces"] == Origin("environment", "PIXIED_MAX_NAMESPACES")
    assert (loaded.settings.grace, loaded.origins["grace"]) == (1.0, Origin("file", str(file)))
    assert loaded.origins["max_wait"] == Origin("default")


def test_the_file_in_the_working_directory_is_read_if_none_is_named(tmp_path: Path) -> None:
    """./pixied.toml needs no flag."""
    (tmp_path / "pixied.toml").write_text('listen = ["127.0.0.1:1", "unix:///run/p"]\ncometd_channels = true\n')
    loaded = load({})
    assert loaded.settings.listen == ("127.0.0.1:1", "unix:///run/p")
    assert loaded.settings.cometd_channels
    assert str(loaded.origins["listen"]) == "file pixied.toml"


def test_a_list_has_commas_in_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """PIXIED_LISTEN holds several addresses with commas between them."""
    monkeypatch.setenv("PIXIED_LISTEN", "127.0.0.1:1, unix:///run/p")
    assert load({}).settings.listen == ("127.0.0.1:1", "unix:///run/p")


@pytest.mark.parametrize(
    ("given", "seconds"),
    [("45", 45), ("45s", 45), ("5min", 300), ("1h", 3600), ("100ms", 0.1), (" 1.5 h ", 5400), ("0.01d", 864), (7, 7)],
)
def test_a_duration_is_written_as_people_do(given: object, seconds: float) -> None:
    """Durations are numbers of seconds or have a unit."""
    assert Settings(max_wait=given).max_wait == pytest.approx(seconds)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "size"), [("64MiB", 64 << 20), ("2 GiB", 2 << 30), ("1.5KiB", 1536), ("4096", 4096), (4096.0, 4096)]
)
def test_a_size_is_written_as_people_do(given: object, size: int) -> None:
    """Sizes are numbers of bytes or have a unit."""
    value = Settings(max_total_bytes="1TiB", max_log_bytes=given, max_message_bytes=1024).max_log_bytes  # type: ignore[arg-type]
    assert (value, type(value)) == (size, int)


@pytest.mark.parametrize(("given", "on"), [("yes", True), ("ON", True), ("1", True), ("off", False), (False, False)])
def test_a_switch_is_written_as_people_do(given: object, on: bool) -> None:  # noqa: FBT001
    """Switches understand the usual words."""
    assert Settings(cometd_channels=given).cometd_channels is on  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "given", "parts"),
    [
        ("max_clients", "many", ["'many' is not a whole number", "1 to 1,000,000,000"]),
        ("max_clients", "0", ["'0' is out of range", "1 to 1,000,000,000"]),
        ("max_clients", "1.5", ["not a whole number"]),
        ("max_creates_per_second", "-1", ["out of range", "(0: no limit)"]),
        ("grace", "5 minutes", ["'5 minutes' is not a duration", "5min", "0s to 1h"]),
        ("grace", "2h", ["out of range", "0s to 1h"]),
        ("grace", "-1s", ["not a duration"]),
        ("max_total_bytes", "1MB", ["'1MB' is not a size", "16MiB"]),
        ("max_total_bytes", "0.3B", ["not a size"]),
        ("max_message_bytes", "1GiB", ["out of range", "1KiB to 256MiB"]),
        ("engine", "oracle", ["'oracle' is not known", "memory"]),
        ("engine", "redis2://u:secret@h/0", ["this address is not known", "redis://"]),
        ("engine", "redis:u:secret@h", ["this address is not known", "redis://"]),
        ("log_level", "loud", ["debug, info, warning, error or critical"]),
        ("insecure", "perhaps", ["not a switch", "true or false"]),
        ("listen", "nonsense", ["'nonsense' is not an address", "host:port"]),
        ("listen", "localhost", ["not an address", "0 to 65,535"]),
        ("listen", "localhost:70000", ["not an address"]),
        ("listen", "a b:1", ["not an address"]),
        ("listen", "http://localhost:1", ["not an address"]),
        ("listen", "unix:relative", ["unix:///absolute/path"]),
        ("listen", "unix:///" + "x" * 120, ["too long", "107 bytes"]),
        ("listen", [], ["[] is not a list of addresses"]),
    ],
)
def test_a_wrong_value_is_named_with_what_would_be_right(name: str, given: object, parts: list[str]) -> None:
    """One message names the setting, where it came from, what is wrong and what would be right."""
    text = problem_of({name: given})
    assert text.startswith(f"{name}: ")
    assert text.endswith(f"(from flag {flag(name)})")
    assert "\n" not in text
    for part in [*parts, "right would be"]:
        assert part in text


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("redis://u:s3cret@h:1/0", "redis://u:***@h:1/0"),
        ("rediss://:s3cret@h/0?ca=x", "rediss://:***@h/0?ca=x"),
        ("redis+sentinel://a:1,b:2/m/0?sentinel_password=s3cret", "redis+sentinel://a:1,b:2/m/0?sentinel_password=***"),
        ("redis://h:1/0", "redis://h:1/0"),
        ("redis://u:s3@cr@et@h:1/0", "redis://u:***@h:1/0"),
        ("redis://:s3/c#r?et@h", "redis://:***@h"),
        ("redis://s3cret@h", "redis://***@h"),
        ("redis://s3@c:ret@h", "redis://***@h"),
        ("redis+cluster://u:s3cret@a,v:s3cret@b", "redis+cluster://u:***@b"),
        (
            "redis+sentinel://u:s3cret@a:1/m?sentinel_password=s@3&cret",
            "redis+sentinel://u:***@a:1/m?sentinel_password=***",
        ),
    ],
)
def test_a_password_of_an_engine_is_not_shown(given: str, shown: str) -> None:
    """`pixied config` and errors show the address without it."""
    assert Engine().show(given) == shown


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("max_clients = true", "True is not a whole number"),
        ("max_clients = 1.0", "1.0 is not a whole number"),
        ("grace = nan", "nan is not a duration"),
        ("grace = true", "True is not a duration"),
        ("max_total_bytes = inf", "inf is not a size"),
        ("max_total_bytes = [1]", "[1] is not a size"),
        ("insecure = 1", "1 is not a switch"),
        ("engine = 1", "1 is not known"),
        ("listen = 50051", "50051 is not a list of addresses"),
        ("listen = [1]", "[1] is not a list of addresses"),
    ],
)
def test_a_value_of_the_wrong_type_in_the_file_is_named(tmp_path: Path, line: str, part: str) -> None:
    """TOML types are judged, not converted; the message names the file."""
    (tmp_path / "pixied.toml").write_text(line)
    text = problem_of({})
    assert part in text
    assert text.endswith("(from file pixied.toml)")


def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong value from the environment names its variable."""
    monkeypatch.setenv("PIXIED_MAX_WAIT", "")
    assert problem_of({}).endswith("(from environment PIXIED_MAX_WAIT)")


def test_an_unknown_variable_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt variable is not passed over, and the nearest right one is named."""
    monkeypatch.setenv("PIXIED_MAX_CLIENT", "5")
    assert (
        problem_of({}) == "the environment variable PIXIED_MAX_CLIENT is no setting; did you mean PIXIED_MAX_CLIENTS?"
    )


def test_a_variable_in_small_letters_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables have one spelling."""
    monkeypatch.setenv("pixied_grace", "5")
    assert "did you mean PIXIED_GRACE?" in problem_of({})


def test_the_variables_of_the_command_line_are_no_unknown_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """PIXIED_ADDRESS and PIXIED_CONFIG are someone else's, not mistakes."""
    monkeypatch.setenv(ADDRESS_VARIABLE, "localhost:1")
    monkeypatch.setenv(CONFIG_VARIABLE, "some.toml")
    assert load({}).settings == Settings()


def test_an_unknown_key_in_the_file_stops_the_start(tmp_path: Path) -> None:
    """A misspelt key is not passed over, and the nearest right one is named if there is one."""
    file = tmp_path / "some.toml"
    file.write_text("max-clients = 5")
    assert problem_of({}, file) == f"max-clients in the file {file} is no setting; did you mean max_clients?"
    file.write_text("[server]\ngrace = 5")
    assert problem_of({}, file) == f"server in the file {file} is no setting; 'pixied config' lists all settings"


def test_a_file_that_is_not_toml_is_named_with_the_place(tmp_path: Path) -> None:
    """A syntax error says where it is."""
    (tmp_path / "pixied.toml").write_text("grace 5")
    assert re.fullmatch(r"the settings file pixied\.toml can't be read: it is not TOML: .*line 1.*", problem_of({}))
    (tmp_path / "pixied.toml").write_bytes(b"\xff")
    assert "can't be read: it is not TOML" in problem_of({})


def test_a_named_file_that_is_missing_stops_the_start(tmp_path: Path) -> None:
    """A file that was asked for and is not there is not passed over."""
    assert problem_of({}, tmp_path / "no.toml") == (
        f"the settings file {tmp_path}/no.toml can't be read: No such file or directory"
    )


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (
            {"min_session_timeout": "2min"},
            (
                "min_session_timeout (2min) must not exceed default_session_timeout (1min)"
                " (min_session_timeout from flag --min-session-timeout, default_session_timeout from default)"
            ),
        ),
        (
            {"max_session_timeout": "30"},
            (
                "default_session_timeout (1min) must not exceed max_session_timeout (30s)"
                " (default_session_timeout from default, max_session_timeout from flag --max-session-timeout)"
            ),
        ),
        ({"max_request_bytes": "512KiB"}, "max_message_bytes (1MiB) must not exceed max_request_bytes (512KiB)"),
        ({"max_log_bytes": "512KiB"}, "max_message_bytes (1MiB) must not exceed max_log_bytes (512KiB)"),
        ({"max_total_bytes": "32MiB"}, "max_log_bytes (64MiB) must not exceed max_total_bytes (32MiB)"),
        ({"workers": "2"}, "workers (2): processes can't share the engine memory"),
        (
            {"workers": "2", "engine": "redis://127.0.0.1:6379/0", "listen": ("unix:///tmp/a",)},
            "workers (2): processes can't share the Unix socket unix:///tmp/a",
        ),
        (
            {"silence_limit": "10"},
            "silence_limit (10s) must be longer than heartbeat_interval (10s), or every link would be dropped",
        ),
    ],
)
def test_settings_that_contradict_each_other_stop_the_start(flags: dict[str, object], text: str) -> None:
    """Values that are right one by one and wrong together are both named."""
    assert problem_of(flags).startswith(text)


@pytest.mark.parametrize("address", ["0.0.0.0:50051", "[::]:1", "192.168.0.1:1", "example.org:1", "10.1.2.3:1"])
def test_an_address_that_others_can_reach_needs_insecure(address: str) -> None:
    """Only loopback and Unix sockets are admitted while there is no authentication, and the message says why."""
    text = problem_of({"listen": ["127.0.0.1:1", address]})
    assert f"{address} is not known to be a loopback address" in text
    assert "no authentication" in text
    assert "--insecure" in text
    assert load({"listen": [address], "insecure": True}).settings.listen == (address,)


@pytest.mark.parametrize("address", ["127.0.0.1:0", "127.9.9.9:1", "[::1]:50051", "localhost:1", "unix:///run/p"])
def test_an_address_of_this_machine_alone_is_admitted(address: str) -> None:
    """Loopback addresses and Unix sockets need no further word."""
    assert load({"listen": address}).settings.listen == (address,)


def test_settings_made_by_hand_are_checked_and_read_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings(...) takes its arguments alone, checks them, and can't be changed."""
    monkeypatch.setenv("PIXIED_GRACE", "1")
    settings = Settings(max_log_age=None)
    assert settings.grace == 10.0
    with pytest.raises(ValidationError, match="frozen"):
        settings.grace = 1.0
    with pytest.raises(ValidationError, match="Extra inputs"):
        Settings(grease=1)  # type: ignore[call-arg]
    with pytest.raises(ValidationError, match="must not exceed"):
        Settings(min_session_timeout=70)


def test_the_age_of_a_log_is_the_longest_session_unless_it_is_set() -> None:
    """`log_age` resolves an unset `max_log_age`."""
    assert Settings(max_session_timeout=120).log_age == 120
    assert Settings(max_log_age=0).log_age == 0


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_reads_what_it_shows(name: str) -> None:
    """A default, written as the documentation shows it, is read as itself; each setting is described."""
    setting = Settings.described()[name]
    default = Settings.model_fields[name].default
    if default is None:
        assert setting.kind.show(default) == "as max_session_timeout"
    else:
        assert setting.kind.parse(setting.kind.show(default)) == default
    assert setting.description
    assert not setting.description.endswith(".")
    assert variable(name) == "PIXIED_" + flag(name)[2:].replace("-", "_").upper()


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0s"), (90, "90s"), (86400, "1d"), (1.5, "1500ms"), (0.0005, "0.0005s")]
)
def test_a_duration_is_shown_exactly(seconds: float, shown: str) -> None:
    """A duration is shown in the largest unit that says it without a fraction."""
    assert Settings.described()["max_wait"].kind.show(seconds) == shown


@pytest.mark.parametrize(("arguments", "printed"), [((), page), (("table",), table)])
def test_the_documentation_can_be_printed(
    arguments: tuple[str, ...],
    printed: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`python -m pixied_server.settings` prints the page, or the table alone."""
    monkeypatch.setattr("sys.argv", ["settings", *arguments])
    runpy.run_module("pixied_server.settings", run_name="__main__")
    assert capsys.readouterr().out.rstrip("\n") == printed().rstrip("\n")


def test_the_documented_settings_are_the_real_ones() -> None:
    """docs/settings.md is what the code makes of its settings."""
    assert (ROOT / "docs" / "settings.md").read_text() == page()
    assert table() in page()
    assert table().count("\n") == len(Settings.model_fields) + 1
