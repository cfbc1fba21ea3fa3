"""`python -m vmc`."""

from vmc.cli import main

if __name__ == "__main__":
    main()
