"""Prints docs/settings.md; `table` prints the table alone, `into FILE` writes it into a document between its marks."""

import sys
from pathlib import Path

from pixied_server.settings.reference import page, table, with_table

match sys.argv[1:]:
    case ["into", file]:
        document = Path(file)
        document.write_text(with_table(document.read_text()))
    case ["table"]:
        sys.stdout.write(table() + "\n")
    case _:
        sys.stdout.write(page())
