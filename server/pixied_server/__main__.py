"""`python -m pixied_server` is the command `pixied`."""

from pixied_server.cli import main

main()
