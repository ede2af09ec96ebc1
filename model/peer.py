"""llama.cpp as a contender, through its C interface in `llama-cpp-python`, on the same file and threads.

The package is optional and must be built for this machine, or the comparison is not fair:
`CMAKE_ARGS="-DGGML_NATIVE=ON" pip install -e '.[peer]'`. Knows its batches and its cache, nothing of ours.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from quatrain.model.api import QuatrainError
from quatrain.model.measure import Prompt, Steps

NAME = "llama.cpp"
BATCH = 512
"""Its own default for the rows computed at once."""
_REMEDY = """install it, built for this machine: CMAKE_ARGS="-DGGML_NATIVE=ON" pip install -e '.[peer]'"""


class LlamaCpp:
    """A model of llama.cpp with room for `ids` and its usual settings: memory-mapped file, half-precision cache."""

    name = NAME

    def __init__(self, path: Path, ids: Sequence[int], threads: int) -> None:
        """QuatrainError when llama.cpp is not installed or does not read the file."""
        self.lib, self.ids, self.held = library(), ids, 0
        model = self.lib.llama_model_default_params()
        model.n_gpu_layers = 0
        self.model = self.lib.llama_model_load_from_file(str(path).encode(), model)
        if not self.model:
            raise QuatrainError(f"llama.cpp cannot read {path}")
        context = self.lib.llama_context_default_params()
        context.n_ctx, context.n_batch, context.n_ubatch = max(512, len(ids)), BATCH, BATCH
        context.n_threads = context.n_threads_batch = threads
        self.context = self.lib.llama_init_from_model(self.model, context)
        if not self.context:
            raise QuatrainError(f"llama.cpp has no memory for a cache of {len(ids)} tokens")
        self.memory = self.lib.llama_get_memory(self.context)
        self.batch = self.lib.llama_batch_init(BATCH, 0, 1)

    def prepare(self, task: Prompt | Steps) -> None:
        """Bring the cache to the task's depth."""
        depth = task.depth if isinstance(task, Steps) else 0
        if self.held > depth:
            self.lib.llama_memory_seq_rm(self.memory, 0, depth, -1)
            self.held = depth
        self.extend(depth, every=False)

    def run(self, task: Prompt | Steps) -> None:
        if isinstance(task, Steps):
            self.extend(task.depth + task.rows, every=True)
        else:
            self.extend(task.tokens, every=False)

    def extend(self, end: int, every: bool) -> None:
        """Compute ids up to `end`, with logits for every row or for the last one only."""
        while self.held < end:
            count = min(BATCH, end - self.held)
            self.batch.n_tokens = count
            for row in range(count):
                position = self.held + row
                self.batch.token[row] = self.ids[position]
                self.batch.pos[row] = position
                self.batch.n_seq_id[row] = 1
                self.batch.seq_id[row][0] = 0
                self.batch.logits[row] = every or position == end - 1
            if self.lib.llama_decode(self.context, self.batch):
                raise QuatrainError(f"llama.cpp failed at a pass of {count} rows behind {self.held}")
            self.lib.llama_synchronize(self.context)
            self.held += count

    def logits(self, row: int) -> np.ndarray:
        """Logits (vocab,) of a row of the last pass that asked for them; -1 is the last."""
        vocab = self.lib.llama_vocab_n_tokens(self.lib.llama_model_get_vocab(self.model))
        found = self.lib.llama_get_logits_ith(self.context, row)
        return np.ctypeslib.as_array(found, (vocab,)).copy()

    def close(self) -> None:
        """Free everything."""
        self.lib.llama_batch_free(self.batch)
        self.lib.llama_free(self.context)
        self.lib.llama_model_free(self.model)


def library() -> Any:
    """The bindings, silenced. QuatrainError with the remedy when they are missing."""
    try:
        lib = importlib.import_module("llama_cpp")
    except (ImportError, OSError, RuntimeError) as error:
        raise QuatrainError(f"llama.cpp is not here ({error}); {_REMEDY}") from error
    logging.getLogger("llama-cpp-python").setLevel(logging.CRITICAL + 1)  # it writes its log to standard error
    return lib


def describe() -> str:
    """Its version and the instructions it was built for."""
    system = library().llama_print_system_info().decode()
    used = [part.split("=")[0].strip(" :") for part in system.split("|") if part.strip().endswith("= 1")]
    return f"llama-cpp-python {version('llama-cpp-python')} ({', '.join(used)})"
