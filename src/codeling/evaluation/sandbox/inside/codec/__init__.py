"""Python values as bytes and back, between a check and the program that it checks.

Data crosses by value: exact builtin types, and the types that :mod:`.value_types` lists. An
instance of a subclass crosses as its base, so its own ``__eq__`` does not cross; if it is
immutable, a number in the sender's table of objects may follow it. Any other object crosses as
that number alone. Exceptions cross by their parts. Decoding never runs the sender's code.

Lists, dicts and sets keep their identity within a message, and an answer may refill those of its
question: a function can sort the list that it was given.

This module must not know which side it is on, nor any file or process.
"""
