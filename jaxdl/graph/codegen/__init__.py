"""Python source of a function and its derivative."""
