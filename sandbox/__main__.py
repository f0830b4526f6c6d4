"""`python -m sandbox`."""

from sandbox.service.main import main

if __name__ == "__main__":
    main()
