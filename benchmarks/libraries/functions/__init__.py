"""Functions of other libraries that people differentiate, one file for each kind."""
