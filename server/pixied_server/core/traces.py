"""Exceptions without what they came through."""

__all__ = ["without_traces"]


def without_traces(error: BaseException) -> None:
    """Let go of the frames that an exception, and those behind it, came through; they hold whatever was worked on."""
    behind: BaseException | None = error
    while behind is not None:
        behind.__traceback__ = None
        behind = behind.__cause__ or behind.__context__
