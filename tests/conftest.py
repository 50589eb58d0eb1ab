"""What tests share: trained networks that lie beside the project on some machines, and a browser."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])  # busy machines are slow
settings.load_profile("busy")

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # on small networks threads only wait for each other

ROOT = Path(__file__).resolve().parent.parent
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that asks for the assets or a browser bears the marker, so that it can be left out by name."""
    for item in items:
        names = set(getattr(item, "fixturenames", ()))
        if "assets" in names:
            item.add_marker(pytest.mark.assets)
        if "chromium" in names:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def assets() -> Path:
    """The folder of trained networks and photographs: $FLUOROSCOPE_ASSETS, or shared/assets beside the repository."""
    named = os.environ.get("FLUOROSCOPE_ASSETS")
    places = [Path(named)] if named else [ROOT.parent / "shared" / "assets", ROOT / "shared" / "assets"]
    for place in places:
        if (place / "models.py").is_file():
            return place
    pytest.skip(f"no trained networks in {' or '.join(map(str, places))}; FLUOROSCOPE_ASSETS names another folder")


@pytest.fixture(scope="session")
def load_asset(assets: Path) -> Callable[[str], Any]:
    """``load_asset(name) -> model, preprocess, classes``, by the assets' own loader."""
    spec = importlib.util.spec_from_file_location("fluoroscope_assets", assets / "models.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    kept, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # the folder is not ours to write to
    try:
        spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = kept
    return module.load  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A headless browser (playwright's Browser) on the machine's chromium: ``chromium.new_page()``."""
    names = ("chromium", "chromium-browser", "google-chrome")
    path = os.environ.get("FLUOROSCOPE_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip("no chromium on this machine; `make test` installs it, FLUOROSCOPE_CHROMIUM names another")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, headless=True, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def one_thread() -> Iterator[None]:
    """For hundreds of tiny forwards: waiting for a second thread costs more than it saves."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
