"""What runs inside the sandbox, on a bare interpreter: it imports the standard library alone."""
