"""Opens whatever holds a model: a GGUF file, a Hugging Face folder, one of Meta's. Knows how to tell them apart,
not what is in them.

Every reader hands over the same: `path`, `config`, `tensors` by their GGUF names, `tied`, `tokenizer()`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from quatrain.model.api import QuatrainError

if TYPE_CHECKING:
    from quatrain.model.folder_model import FolderModel
    from quatrain.model.gguf_file import GgufModel

    Source: TypeAlias = GgufModel | FolderModel


def read(path: Path) -> Source:
    """The model at `path`. Raises QuatrainError that says what is wrong with it."""
    if not path.is_dir():
        from quatrain.model import gguf_file

        return gguf_file.read(path)
    if (path / "config.json").is_file():
        from quatrain.model import hf_folder

        return hf_folder.read(path)
    if (path / "params.json").is_file():
        from quatrain.model import meta_folder

        return meta_folder.read(path)
    raise QuatrainError(
        f"{path} holds neither config.json (a Hugging Face model) nor params.json (Meta's). Give the folder that "
        "holds one of them, or a GGUF file."
    )
