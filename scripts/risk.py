"""``aegis risk`` as a script; see ``python scripts/risk.py --help``."""

from aegis_yield.cli.app import run_command

if __name__ == "__main__":
    run_command("risk")
