"""`make mutants`: which changes of the code no test notices."""
