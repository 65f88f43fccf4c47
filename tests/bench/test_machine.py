from __future__ import annotations

from dataclasses import replace

import torch

from bench.machine import Machine


def test_it_names_what_a_figure_depends_on() -> None:
    machine = Machine.here()
    assert machine.threads == torch.get_num_threads()
    assert machine.cores >= 1
    text = machine.lines()
    for word in (machine.cpu, f"{machine.cores} cores", f"torch {torch.__version__}", "thread", "Load average"):
        assert word in text


def test_a_busy_machine_is_said_to_be_busy() -> None:
    machine = replace(Machine.here(), cores=2, load_before=(1.9, 1.0, 1.0))
    assert "do not keep" in machine.lines()
    assert "do not keep" not in replace(machine, load_before=(0.1, 9.0, 9.0)).lines()
