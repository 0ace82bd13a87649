"""A Django site in one file; run it as one runs manage.py.

python -m tests.servers.apps.django_site runserver --noreload 127.0.0.1:8000
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.management import execute_from_command_line
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path

from tests.servers.apps import answers
from tests.servers.apps.wsgi import stream as lines

if TYPE_CHECKING:
    from django.http import HttpRequest

VERSION = answers.release()


def fast(request: HttpRequest) -> HttpResponse:
    """The short answer."""
    return HttpResponse(answers.fast(VERSION))


def slow(request: HttpRequest) -> HttpResponse:
    """The answer after 2 s."""
    time.sleep(answers.SLOW_SECONDS)
    return HttpResponse(answers.fast(VERSION))


def stream(request: HttpRequest) -> StreamingHttpResponse:
    """The answer over 5 s."""
    return StreamingHttpResponse(lines())


def upload(request: HttpRequest) -> HttpResponse:
    """How long the request's body was."""
    return HttpResponse(answers.upload(VERSION, len(request.body)))


urlpatterns = [
    path("fast", fast),
    path("slow", slow),
    path("stream", stream),
    path("upload", upload),
]

if __name__ == "__main__":
    settings.configure(
        ROOT_URLCONF=__name__,
        ALLOWED_HOSTS=["*"],
        SECRET_KEY="zoo",
        USE_TZ=True,
        # As in every new project: it tells the length, and so the connection is kept.
        MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
    )
    execute_from_command_line(sys.argv)
