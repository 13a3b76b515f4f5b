import tyro

from experiments.universal_approximation import main

tyro.cli(main)
