"""`make mutants`: which changes of the code no test notices."""

from typing import Final

POSTGRES: Final = "MUTANTS_POSTGRES"
"""The variable with the data folder of the PostgreSQL that all runs share. It has the template already."""
