import tyro

from experiments.autoencoders import main

tyro.cli(main)
