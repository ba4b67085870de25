"""The installation: its address, its servers, and the connections to them."""
