import tyro

from experiments.xor import main

tyro.cli(main)
