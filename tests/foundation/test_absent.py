"""What the runner has not: real groups, names that no option has, a reason for each."""

import subprocess
import sys

from runner.foundation import options
from runner.foundation.absent import ALSO_CALLED, NOT_HERE


def test_every_name_is_absent_and_has_a_reason():
    groups = options.groups([options.own_folder()])
    assert NOT_HERE
    for group, names in NOT_HERE.items():
        assert not set(names) & set(groups[group])
        for name, reason in names.items():
            assert name == name.lower().strip()
            assert len(reason.split()) > 5, name
            assert not reason.endswith(".")  # it stands inside a message


def test_reasons_point_to_options_that_are_there():
    optimizers = options.groups([options.own_folder()])["optimizer"]
    words = {word.strip(",;:") for reason in NOT_HERE["optimizer"].values()
             for word in reason.split()}  # fmt: skip
    assert {"lbfgs", "newton", "muon", "adam"} <= words & set(optimizers)


def test_it_is_read_without_torch():
    code = "import sys, runner.foundation.absent; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_names_from_elsewhere_lead_to_keys_and_options_that_are_there():
    groups = options.groups([options.own_folder()])
    keys = {f"{group}.{key.partition('=')[0]}" for group, found in groups.items()
            for path in found.values() for key, _ in options.keys(path)}  # fmt: skip
    known = {*keys, *options.words(), *(f"{group}={option}" for group, found in groups.items()
                                        for option in found)}  # fmt: skip
    assert set(ALSO_CALLED.values()) <= known
    assert not set(ALSO_CALLED) & options.words()
