"""Suggestions while somebody types: where, how much, and whether to show anything."""
