"""Mounting makes a folder."""

from pathlib import Path


def mount(path, force_remount=False):
    (Path(path) / "MyDrive").mkdir(parents=True, exist_ok=True)
