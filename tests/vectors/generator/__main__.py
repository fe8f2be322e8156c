"""Writes every vector file of this folder."""

from tests.vectors.generator.files import every_file
from tests.vectors.generator.material import FOLDER

if __name__ == "__main__":
    for name, content in every_file().items():
        (FOLDER / name).write_text(content, encoding="ascii")
