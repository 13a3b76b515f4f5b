import tyro

from experiments.hand_vs_automatic import main

tyro.cli(main)
