"""The ways in which programs open their log files."""

from __future__ import annotations

from typing import NamedTuple

LOGGING = "import logging, logging.handlers; root = logging.getLogger(); "
TWISTED = "from twisted.python import log, logfile; import twisted.logger as tl; "
STRUCTLOG = "import structlog; structlog.configure(logger_factory="


class Opener(NamedTuple):
    """A way in which a program opens PATH and writes TEXT."""

    name: str
    opens: str
    writes: str = "root.warning(TEXT)"


def _handler(made: str) -> str:
    return f"{LOGGING}root.addHandler({made})"


OPENERS = [
    Opener("FileHandler", _handler("logging.FileHandler(PATH)")),
    Opener("FileHandler w", _handler("logging.FileHandler(PATH, 'w')")),
    Opener("FileHandler delay", _handler("logging.FileHandler(PATH, delay=True)")),
    Opener("WatchedFileHandler", _handler("logging.handlers.WatchedFileHandler(PATH)")),
    Opener("RotatingFileHandler", _handler("logging.handlers.RotatingFileHandler(PATH)")),
    Opener("by size", _handler("logging.handlers.RotatingFileHandler(PATH, maxBytes=10**6)")),
    Opener("by time", _handler("logging.handlers.TimedRotatingFileHandler(PATH)")),
    Opener("StreamHandler", _handler("logging.StreamHandler(open(PATH, 'a'))")),
    Opener(
        "MemoryHandler",
        _handler("logging.handlers.MemoryHandler(1, 0, logging.FileHandler(PATH))")
        + "; logging._handlerList.clear()",
    ),
    Opener(
        "forgotten by dictConfig",
        f"{LOGGING}import logging.config; h = logging.FileHandler(PATH); "
        "logging.config.dictConfig({'version': 1, 'disable_existing_loggers': False}); "
        "logging.getLogger('a.b').addHandler(h)",
        "logging.getLogger('a.b').warning(TEXT)",
    ),
    Opener(
        "loguru",
        "from loguru import logger; logger.remove(); logger.add(PATH)",
        "logger.info(TEXT)",
    ),
    Opener(
        "loguru watch",
        "from loguru import logger; logger.remove(); logger.add(PATH, watch=True)",
        "logger.info(TEXT)",
    ),
    Opener(
        "loguru enqueue",
        "from loguru import logger; logger.remove(); logger.add(PATH, enqueue=True)",
        "logger.info(TEXT); logger.complete()",
    ),
    Opener(
        "loguru stream",
        "from loguru import logger; logger.remove(); logger.add(open(PATH, 'a'))",
        "logger.info(TEXT)",
    ),
    *(
        Opener(
            f"structlog {kind}",
            f"{STRUCTLOG}structlog.{kind}LoggerFactory(open(PATH, {mode!r})), "
            f"processors=[lambda _l, _m, event: event['event']{encode}])",
            "structlog.get_logger().info(TEXT)",
        )
        for kind, mode, encode in [
            ("Print", "a", ""),
            ("Write", "a", ""),
            ("Bytes", "ab", ".encode()"),
        ]
    ),
    Opener(
        "twisted LogFile",
        f"{TWISTED}"
        "tl.globalLogBeginner.beginLoggingTo("
        "[tl.textFileLogObserver(logfile.LogFile.fromFullPath(PATH))], "
        "redirectStandardIO=False)",
        "tl.Logger().info(TEXT)",
    ),
    Opener(
        "twisted, before its logger",
        f"{TWISTED}log.startLogging(logfile.LogFile.fromFullPath(PATH), setStdout=False)",
        "log.msg(TEXT)",
    ),
    Opener("standard error", "sys.stderr = open(PATH, 'a')", "print(TEXT, file=sys.stderr)"),
    Opener(
        "standard error, unbuffered by a duplicate",
        "kept = open(PATH, 'a'); os.dup2(kept.fileno(), 2); sys.stderr = kept",
        "os.write(2, TEXT.encode() + b'\\n')",
    ),
]
