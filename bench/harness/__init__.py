"""The bench: what `bench/run` is made of. README.md says what is measured, and how to read it."""
