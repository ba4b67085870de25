"""Guards of speed that need no quiet machine: they count work, and time nothing.

The counts are those of fixed scenarios, so each is the same in every run: calls, encodings, appends, frames, blocks of
memory. A change that makes a publish depend on how many subscribe, or encode once per recipient, fails here.
"""
