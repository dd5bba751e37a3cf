"""``aegis optimize`` as a script; see ``python scripts/optimize.py --help``."""

from aegis_yield.cli.app import run_command

if __name__ == "__main__":
    run_command("optimize")
