"""The command `geocorpus`, and `python -m geocorpus`."""

from __future__ import annotations


def main() -> None:
    """Entry point. The packages are imported here, after `geocorpus` has seen that none of them is hidden."""
    from flows.terminal.cli import main as run

    run()


if __name__ == "__main__":
    main()
