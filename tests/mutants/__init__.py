"""`make mutants`: finds changes of the code that no test detects."""

from typing import Final

POSTGRES: Final = "MUTANTS_POSTGRES"
"""The variable with the data folder of the PostgreSQL that all runs share."""
