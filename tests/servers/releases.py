"""Versions on disk, deployed as people deploy them: a folder for each, and a `current` symlink
that is switched in one step.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tests.servers.apps import answers

if TYPE_CHECKING:
    from pathlib import Path

CGI_SLOW = """#!/bin/sh
printf 'Content-Type: text/plain\\n\\n'
sleep {seconds}
printf 'version {version}\\n'
"""

CGI_STREAM = """#!/bin/sh
printf 'Content-Type: text/plain\\n\\n'
i=1
while [ $i -le {lines} ]; do
    printf 'version {version} line %s of {lines}\\n' $i
    sleep {pause}
    i=$((i + 1))
done
"""

CGI_UPLOAD = """#!/bin/sh
length=$(head -c "$CONTENT_LENGTH" | wc -c)
printf 'Content-Type: text/plain\\n\\nversion {version} received %s bytes\\n' "$length"
"""

# PHP reads its files at each request: a version is that of a launch by its configuration.
PHP_FPM = """[global]
error_log = /dev/stderr
process_control_timeout = 30s
[www]
listen = app.sock
pm = static
pm.max_children = 12
env[VERSION] = {version}
"""

NGINX = """daemon off;
master_process on;
worker_processes 2;
pid nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path temporary;
    proxy_temp_path temporary;
    fastcgi_temp_path temporary;
    uwsgi_temp_path temporary;
    scgi_temp_path temporary;
    server {{
        listen {listen};
        root public;
    }}
}}
"""

# Their clients see a version by the most connections that the server takes.
CONNECTIONS = 1000
REDIS = """maxclients {connections}
save ""
"""
MEMCACHED = "--conn-limit={connections}\n"

CGI_SCRIPTS = {"slow": CGI_SLOW, "stream": CGI_STREAM, "upload": CGI_UPLOAD}


class Releases:
    """The releases in a folder; `current` is the one that the next launch of a program finds."""

    def __init__(self, folder: Path, import_seconds: float = 0.0, listen: str = "") -> None:
        """`import_seconds` is how long the program takes to import a release; `listen` is for
        programs whose configuration has the address.
        """
        self.folder = folder
        self.listen = listen
        self.import_seconds = import_seconds
        self.current = folder / "current"
        folder.mkdir(exist_ok=True)
        # http.server's CGI scripts run as nobody.
        folder.chmod(0o755)

    def publish(self, version: str) -> None:
        """Put a version on disk and switch to it."""
        module = f"VERSION = {version!r}\n"
        if self.import_seconds:
            module += f"import time\ntime.sleep({self.import_seconds})\n"
        release = self._release(version, module)
        (release / "php-fpm.conf").write_text(PHP_FPM.format(version=version))
        (release / "nginx.conf").write_text(NGINX.format(listen=self.listen))
        if version.isdigit():
            connections = CONNECTIONS + int(version)
            (release / "redis.conf").write_text(REDIS.format(connections=connections))
            (release / "memcached.options").write_text(MEMCACHED.format(connections=connections))
        public = release / "public"
        (public / "fast").write_bytes(answers.fast(version))
        (public / "big").write_bytes(answers.big(version))
        scripts = public / "cgi-bin"
        scripts.mkdir(mode=0o755)
        for name, template in CGI_SCRIPTS.items():
            script = scripts / name
            script.write_text(
                template.format(
                    version=version,
                    seconds=answers.SLOW_SECONDS,
                    lines=answers.LINES,
                    pause=answers.LINE_PAUSE,
                )
            )
            script.chmod(0o755)
        self._switch(release)

    def publish_broken(self, version: str) -> None:
        """Switch to a version that cannot start: importing it raises."""
        module = f'raise RuntimeError("release {version} is broken")\n'
        release = self._release(version, module)
        # http.server imports no release, but its working folder comes first on its path.
        (release / "public" / "socketserver.py").write_text(module)
        self._switch(release)

    def _release(self, version: str, module: str) -> Path:
        release = self.folder / version
        for folder in (release, release / "public"):
            folder.mkdir()
            folder.chmod(0o755)
        (release / "release.py").write_text(module)
        return release

    def _switch(self, release: Path) -> None:
        link = self.folder / "next"
        link.symlink_to(release.name)
        os.replace(link, self.current)
