import tyro

from experiments.convnets import main

tyro.cli(main)
