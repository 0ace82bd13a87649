"""`python -m sockact` is the command `sockact`."""

from sockact.cli.main import main

if __name__ == "__main__":
    main()
