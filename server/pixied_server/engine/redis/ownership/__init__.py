"""Which clients this process owns, and how far their messages have come."""
