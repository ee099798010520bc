"""Things to time; workers import this module by name, never the tests around it."""

import os
import time

import torch


def build(*, batch: int, kind: str, seconds: float = 0.0):
    if kind == "unbuildable":
        raise KeyError("no such\nnetwork")
    if kind == "sleep":
        return lambda: time.sleep(seconds * batch)
    if kind == "matmul":
        x = torch.randn(batch, 64)
        return lambda: x @ x.T
    if kind == "noisy":
        return lambda: os.write(1, b"straight to descriptor 1\n")
    if kind == "threads":
        # 2 ms a thread: the time tells how many threads the worker was given.
        return lambda: time.sleep(0.002 * torch.get_num_threads())
    if kind in ("spinning", "left alone"):
        if (os.environ.get("OMP_WAIT_POLICY") == "active") != (kind == "spinning"):
            raise KeyError("another environment")
        return lambda: None
    if kind == "raises":

        def raises():
            raise RuntimeError("mat1 and mat2\ncannot be multiplied")

        return raises
    if kind == "dies":
        return lambda: os._exit(7)
    raise ValueError(f"kind {kind!r} is not known")
