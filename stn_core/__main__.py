"""The command ``stn``, also as ``python -m stn_core``."""

import sys

from stn_core.suite.commands import main

if __name__ == "__main__":
    sys.exit(main())
