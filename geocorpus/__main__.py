"""`python -m geocorpus`: the same as the command `geocorpus`."""

from flows.terminal.cli import main

if __name__ == "__main__":
    main()
