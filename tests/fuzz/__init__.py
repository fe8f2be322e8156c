"""Coverage-guided fuzzing of network input: `python -m tests.fuzz.target FOLDER [libFuzzer options]`."""
