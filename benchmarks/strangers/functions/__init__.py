"""Functions of other libraries that people differentiate, one file a kind."""
