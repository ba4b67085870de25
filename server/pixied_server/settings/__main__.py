"""Prints docs/settings.md, or with `table` as its argument the table alone."""

import sys

from pixied_server.settings.reference import page, table

sys.stdout.write(table() + "\n" if sys.argv[1:] == ["table"] else page())
