"""What operators ask of the process as a whole: how it is, and that it stop."""

from pixied_server.admin.drain import Drain

__all__ = ["Drain"]
