"""The settings, written down for people: docs/settings.md and the README's table are made here."""

from pixied_server.settings.model import Settings
from pixied_server.settings.sources import ADDRESS_VARIABLE, CONFIG_VARIABLE, DEFAULT_FILE, flag, variable

__all__ = ["page", "table", "with_table"]

_BEGIN = "<!-- settings: made by `make generate` -->\n"
_END = "<!-- /settings -->"

_PAGE = """\
# Settings

<!-- Made by `make generate`; a test compares the two. -->

Each setting has one name in three forms: the key `max_clients` in a TOML file, the environment variable
`{variable}`, the flag `{flag}` of `pixied serve`. A flag wins over the environment, the
environment over the file, the file over the default. The file is the one that `--config` or `{config}` names,
or `{file}` in the working directory if it exists.

`pixied config` prints the effective settings and where each came from. An unknown setting or a wrong value stops
the start with exit code 2 and one message that names the setting, where it came from, and what would be right.

Durations are `100ms`, `45s`, `5min`, `1h`, `2d`, or a number of seconds. Sizes are `64KiB`, `16MiB`, `2GiB`, or a
number of bytes. A list has commas in a variable, is an array in TOML, and repeats the flag. Switches are `true` or
`false`, and as flags `--insecure` or `--no-insecure`.

{table}

`{address}` is no setting of the server: it names the server that the other commands talk to, as `--address` does.
"""


def table() -> str:
    """One Markdown table row for each setting."""
    rows = ["| setting | default | range | meaning |", "|---|---|---|---|"]
    defaults = Settings()
    for name, setting in Settings.described().items():
        default = setting.kind.show(getattr(defaults, name))
        limits = setting.kind.range()
        rows.append(f"| `{name}` | {default} | {limits} | {setting.description} |")
    return "\n".join(rows)


def page() -> str:
    """The whole of docs/settings.md."""
    name = "max_clients"
    return _PAGE.format(
        variable=variable(name),
        flag=flag(name),
        config=CONFIG_VARIABLE,
        file=DEFAULT_FILE,
        table=table(),
        address=ADDRESS_VARIABLE,
    )


def with_table(document: str) -> str:
    """A document with the table between its marks made anew.

    Raises:
        ValueError: it has no marks.
    """
    before, begin, rest = document.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"the document has no place for the settings, between {_BEGIN!r} and {_END!r}")
    return f"{before}{begin}\n{table()}\n\n{end}{after}"
