"""The command `geocorpus`, and `python -m geocorpus`."""

from __future__ import annotations


def main() -> None:
    """Entry point. The packages are imported here, after `geocorpus` has seen that none of them is hidden."""
    from pipeline.stopping import install

    install()  # before the packages that take a second or two
    from flows.terminal.cli import main as run

    run()


if __name__ == "__main__":
    main()
