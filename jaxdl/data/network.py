"""Downloads by TensorFlow Datasets that end soon where there is no network."""

import contextlib
import logging
import socket
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from urllib.parse import urlsplit
from urllib.request import getproxies

SECONDS = 8  # to reach a server
RETRIES = 4  # of a download, which take 3 seconds together
PORTS = {"http": 80, "https": 443, "ftp": 21}


def unreachable(urls: Iterable[str]) -> str:
    """The server that a download needs and that cannot be reached; empty if one of them can, or there is none.

    A proxy of the environment takes the place of the servers.
    """
    proxies = getproxies()
    servers = dict.fromkeys(_server(proxies.get(urlsplit(url).scheme, url)) for url in urls)
    if not servers:
        return ""
    pool = ThreadPoolExecutor(len(servers))
    tried = {pool.submit(socket.create_connection, server, SECONDS): server for server in servers}
    waiting = set(tried)
    try:
        while waiting:
            ended, waiting = wait(waiting, SECONDS, return_when="FIRST_COMPLETED")
            if not ended:  # looking up a name may take longer
                break
            for attempt in ended:
                if attempt.exception() is None:
                    attempt.result().close()
                    return ""
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return next(iter(servers))[0]


def _server(url):
    parts = urlsplit(url)
    return parts.hostname or url, parts.port or PORTS.get(parts.scheme, 443)


@contextlib.contextmanager
def few_retries() -> Iterator[None]:
    """Downloads are tried a few times instead of ten, which take minutes and write a line each."""
    from tensorflow_datasets.core.download import downloader

    logger, before = logging.getLogger("urllib3"), downloader.MAX_RETRIES
    level = logger.level
    downloader.MAX_RETRIES = RETRIES
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        downloader.MAX_RETRIES = before
        logger.setLevel(level)
