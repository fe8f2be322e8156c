"""`python -m tests.support.issuer_with_other_clock SECONDS serve`: the issuer on a machine whose clock is ahead."""

import sys
from datetime import UTC, datetime, timedelta

from issuer import app as serving
from issuer.__main__ import main

if __name__ == "__main__":
    ahead = timedelta(seconds=float(sys.argv.pop(1)))
    serving._now = lambda: datetime.now(UTC) + ahead
    sys.exit(main())
