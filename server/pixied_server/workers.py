"""Several processes that serve the same addresses over one store, and a supervisor that keeps them running.

The system spreads connections over them, so a front-end's streams may be on different ones; they are one pixied all the
same, for they share the store. A worker that dies is replaced. A planned stop of one, by AdminService.Drain, is one of
all. Workers end with their supervisor, whatever ends that.
"""

import asyncio
import multiprocessing
import os
import signal
import sys
from contextlib import ExitStack, suppress
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from threading import Thread
from time import monotonic

import structlog

from pixied_server import app, telemetry
from pixied_server.rpc.addresses import reserved
from pixied_server.settings import Settings

__all__ = ["WorkerRefused", "run"]

_log = structlog.get_logger(__name__)

# How long, in seconds, a place stays empty after its worker died: twice as long each time, unless that lived a while.
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0
_A_WHILE = 60.0

# A worker has nothing of its supervisor but what it is told: neither its event loop nor its signal handlers.
_context = multiprocessing.get_context("spawn")


class WorkerRefused(Exception):
    """A worker can't begin: its text says why."""


def run(settings: Settings) -> None:
    """Serve with so many workers as the settings say, until a planned stop of all is finished.

    Raises:
        AddressInUse: an address can't be listened on.
        WorkerRefused: the engine can't be used.
    """
    with ExitStack() as stack:
        addresses = tuple(stack.enter_context(reserved(address)) for address in settings.listen)
        asyncio.run(_Supervisor(settings.model_copy(update={"listen": addresses})).run())


class _Supervisor:
    """Keeps workers running.

    Args:
        settings: theirs.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stopping = asyncio.Event()
        self._running: dict[int, SpawnProcess] = {}
        self._refusal = ""

    async def run(self) -> None:
        """Run them until all have ended.

        Raises:
            WorkerRefused: one of them could not begin.
        """
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, self._stop)
        async with asyncio.TaskGroup() as tasks:
            for number in range(1, self._settings.workers + 1):
                tasks.create_task(self._keep(number))
        if self._refusal:
            raise WorkerRefused(self._refusal)

    def _stop(self) -> None:
        if not self._stopping.is_set():
            self._stopping.set()
            for process in self._running.values():
                process.terminate()

    async def _keep(self, number: int) -> None:
        """Run one worker, and another in its place when it dies."""
        pause = _FIRST_PAUSE
        while not self._stopping.is_set():
            began = monotonic()
            code, refusal = await self._run_once(number)
            self._refusal = self._refusal or refusal
            if refusal or code == 0:
                # It can't begin, and no other could; or it was asked to stop, and with it all.
                self._stop()
            if self._stopping.is_set():
                return
            pause = _FIRST_PAUSE if monotonic() - began > _A_WHILE else pause
            _log.error("worker died, another takes its place", worker=number, exit_code=code, pause=pause)
            try:
                await asyncio.wait_for(self._stopping.wait(), pause)
            except TimeoutError:
                pause = min(2 * pause, _LONGEST_PAUSE)

    async def _run_once(self, number: int) -> tuple[int | None, str]:
        """Run a worker to its end. Returns its exit code, and why it could not begin, if so."""
        ours, theirs = _context.Pipe()
        process = _context.Process(target=_work, args=(self._settings, number, theirs), name=f"pixied-worker-{number}")
        process.start()
        theirs.close()
        self._running[number] = process
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(process.sentinel, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(process.sentinel)
            del self._running[number]
            if not ended.is_set():
                process.terminate()
            process.join()
        return process.exitcode, _last_words(ours)


def _last_words(worker: Connection) -> str:
    with worker, suppress(EOFError):
        refusal: str = worker.recv()
        return refusal
    return ""


def _work(settings: Settings, number: int, supervisor: Connection) -> None:
    """Be a worker."""
    telemetry.configure(settings.log_level, settings.log_format, sys.stderr)
    structlog.contextvars.bind_contextvars(worker=number)
    Thread(target=_end_with, args=(supervisor,), daemon=True).start()
    try:
        app.run(settings, shared=True)
    except (app.AddressInUse, app.EngineRefused) as error:
        supervisor.send(str(error))
        sys.exit(1)


def _end_with(supervisor: Connection) -> None:
    """Begin a planned stop when the supervisor is no more: nothing is ever sent, so only its end can be received."""
    try:
        supervisor.recv()
    except (EOFError, OSError):
        os.kill(os.getpid(), signal.SIGTERM)
