"""nginx with everything that it writes in one folder."""

import os
from pathlib import Path
from typing import Final

from tests.support.programs import program

# What a distribution's nginx.conf has around conf.d/.
_CONF: Final = """\
{user}pid {folder}/nginx.pid; error_log {folder}/error.log; worker_processes 1;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    {configuration}
}}
"""
FOREGROUND: Final = ("-g", "daemon off;")


def nginx_command(folder: Path, configuration: str, conf: str = "nginx.conf") -> list[str]:
    """Write a file `conf` with `configuration` in its http context; return the command that serves it."""
    user = "user root; " if os.geteuid() == 0 else ""
    path = folder / conf
    path.write_text(_CONF.format(folder=folder, user=user, configuration=configuration), encoding="utf-8")
    return [program("nginx"), "-p", str(folder), "-c", str(path)]
