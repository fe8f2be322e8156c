"""The revisions by file name are those that Alembic applies."""

import subprocess
import sys
from pathlib import Path

from alembic.script import ScriptDirectory

from issuer.db import migrations
from issuer.db.schema import revisions
from tests.support.processes import ROOT


def test_migration_files_are_numbered_in_their_order() -> None:
    script = ScriptDirectory(str(Path(migrations.__path__[0])))
    assert revisions() == tuple(revision.revision for revision in script.walk_revisions())[::-1]


def test_no_command_but_migrate_loads_the_migration_tool() -> None:
    loaded = "import sys, issuer.__main__; print({'alembic', 'sqlalchemy'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", loaded], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"
