"""Coverage-guided fuzzing of what strangers reach: `python -m tests.fuzz.target FOLDER [libFuzzer options]`."""
