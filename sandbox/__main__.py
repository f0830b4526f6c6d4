"""`python -m sandbox`."""

from sandbox.main import main

if __name__ == "__main__":
    main()
