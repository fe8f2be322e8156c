"""runc for machines whose root may not raise limits: asks for no more open files and processes than it may set."""

import json
import os
import resource
import sys
from itertools import pairwise
from pathlib import Path

for option, value in pairwise(sys.argv):
    if option in {"--bundle", "--process"}:  # of `create` and of `exec`
        path = Path(value, "config.json") if option == "--bundle" else Path(value)
        spec = json.loads(path.read_text(encoding="utf-8"))
        for limit in spec.get("process", spec).get("rlimits", []):
            highest = resource.getrlimit(getattr(resource, limit["type"]))[1]
            if highest != resource.RLIM_INFINITY:
                limit |= {bound: min(limit[bound], highest) for bound in ("soft", "hard")}
        path.write_text(json.dumps(spec), encoding="utf-8")
os.execvp("runc", ["runc", *sys.argv[1:]])
