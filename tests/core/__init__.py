"""Tests of the rules of publish/subscribe: pure, most of them property-based."""
