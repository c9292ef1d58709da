"""Speed, measured: `python -m bench`. Nothing here is a test, and no test asserts a time."""
