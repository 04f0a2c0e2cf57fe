"""What a request may ask for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from app.wording import reworded
from dirnet.errors import InputError

__all__ = [
    "NamesOnly",
    "WrongRequest",
    "as_request",
    "check_image_file",
    "check_info",
    "check_name",
    "text",
    "whole_number",
    "whole_numbers",
]


class WrongRequest(InputError):
    """A request that cannot be met as it is, and the HTTP status that says so."""

    def __init__(self, message: str, status: int = 422) -> None:
        super().__init__(message)
        self.status = status


@contextmanager
def as_request(*folders: str | Path, **files: str | Path) -> Iterator[None]:
    """What is wrong with a file in the block becomes a request that cannot be met, in this server's words: with its
    parameters for a command's options, and without its folders.

    Args:
        folders: of the server.
        files: what to call a file that lies elsewhere.

    Raises:
        WrongRequest: for InputError and FileNotFoundError.
    """
    try:
        yield
    except WrongRequest:
        raise
    except (InputError, FileNotFoundError) as error:
        message = reworded(str(error), "params.{}")
        for name, file in files.items():
            message = message.replace(str(file), name)
        for folder in folders:
            message = message.replace(f"{folder}/", "")
        raise WrongRequest(message) from error


def check_name(what: str, name: Any) -> None:
    """
    Raises:
        WrongRequest: when an id or tag could be a path out of the datastore.
    """
    if not isinstance(name, str) or not re.fullmatch(r"[^/\\\x00-\x1f]{1,200}", name) or name.strip(". ") == "":
        raise WrongRequest(f"{what} must be a name, not a path or empty; got {name!r}")


def whole_number(params: dict[str, Any], name: str, default: int | None = None) -> int | None:
    """
    Raises:
        WrongRequest: when the parameter is neither a whole number nor left out.
    """
    value = params.get(name)
    if value is None or value == "":
        return default
    if isinstance(value, bool) or not re.fullmatch(r"\s*-?\d{1,9}\s*", str(value)):
        raise WrongRequest(f"params.{name} must be a whole number, got {value!r}")
    return int(value)


def whole_numbers(params: dict[str, Any], name: str) -> list[int]:
    """Of a list, or a text with commas between them; none where the parameter is left out.

    Raises:
        WrongRequest: when one is no whole number.
    """
    value = params.get(name)
    parts = value if isinstance(value, list) else str("" if value is None else value).split(",")
    if any(isinstance(part, bool) or not re.fullmatch(r"\s*(-?\d{1,9})?\s*", str(part)) for part in parts):
        raise WrongRequest(f"params.{name} must be a whole number, or several such as 0,9, got {value!r}")
    return [int(part) for part in parts if str(part).strip()]


def text(params: dict[str, Any], name: str) -> str | None:
    """
    Raises:
        WrongRequest: when the parameter is no text (or number), nor left out.
    """
    value = params.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise WrongRequest(f"params.{name} must be a text, got {value!r}")
    return str(value).strip() or None


def check_image_file(path: str | Path) -> None:
    """
    Raises:
        WrongRequest: when a file that was uploaded is no image.
    """
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise WrongRequest("the file uploaded cannot be read as an image; expected NIfTI, DICOM or PNG") from error


def check_info(info: Any) -> None:
    """
    Raises:
        WrongRequest: when what is said of an image or label is no JSON object.
    """
    if not isinstance(info, dict):
        raise WrongRequest("params must be a JSON object")


class NamesOnly:
    """Before a MONAI Label datastore: ids and tags are names, files are images."""

    @property
    def folder(self) -> str:
        return str(Path(self._datastore_path).resolve())

    def get_image_uri(self, image_id: str) -> str:
        check_name("image", image_id)
        return super().get_image_uri(image_id)

    def get_label_uri(self, label_id: str, label_tag: str, *args: str) -> str:
        check_name("label", label_id)
        check_name("tag", label_tag)
        return super().get_label_uri(label_id, label_tag, *args)

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        if image_id:
            check_name("image", image_id)
        check_image_file(image_filename)
        check_info(image_info)
        return super().add_image(image_id, image_filename, image_info)

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        check_name("image", image_id)
        check_name("tag", label_tag)
        check_image_file(label_filename)
        check_info(label_info)
        return super().save_label(image_id, label_filename, label_tag, label_info)

    def has_image(self, image_id: str) -> bool:
        return image_id in self.list_images()
