"""A trained model at work: its folder on disk, sampling, generation."""

from minimind_wiki.infer.folder import load_model_folder, save_model_folder, write_model_files
from minimind_wiki.infer.generate import generate, stream
from minimind_wiki.infer.sampling import sample_next

__all__ = [
    "generate",
    "load_model_folder",
    "sample_next",
    "save_model_folder",
    "stream",
    "write_model_files",
]
