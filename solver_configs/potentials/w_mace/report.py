# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Report of the tungsten MACE model: its errors and its properties against the truth, EAM4.

The errors are over test cells that training never saw. Nothing here changes the model.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from properties import EV_PER_A3, Model, Potential, compare_tips, properties, speed


def errors(potential: Potential, cells: list[Atoms]) -> tuple[dict, dict[str, np.ndarray]]:
    """Root-mean-square errors per kind of cell, and the pairs behind them for the picture."""
    rows = []
    for atoms in cells:
        energy, forces, stress = potential.evaluate(atoms)
        n = len(atoms)
        rows.append(
            {
                "kind": atoms.info["config_type"],
                "energy": np.array([[atoms.info["REF_energy"] / n, energy / n]]),
                "forces": np.column_stack([atoms.arrays["REF_forces"].ravel(), forces.ravel()]),
                "stress": np.column_stack([atoms.info["REF_stress"].ravel(), stress.ravel()]),
            }
        )
    units = {"energy": 1e3, "forces": 1e3, "stress": EV_PER_A3}
    table = {}
    for kind in [*dict.fromkeys(row["kind"] for row in rows), "all"]:
        chosen = [row for row in rows if kind in (row["kind"], "all")]
        table[kind] = {"cells": len(chosen)}
        for quantity, unit in units.items():
            pairs = np.concatenate([row[quantity] for row in chosen])
            table[kind][quantity] = float(np.sqrt(np.mean(np.diff(pairs) ** 2)) * unit)
    pairs = {
        q: [(row["kind"], row[q] * (EV_PER_A3 if q == "stress" else 1)) for row in rows]
        for q in units
    }
    return table, pairs


def write_report(
    output: Path,
    recipe: dict,
    model_path: Path,
    test_cells: list[Atoms],
    truth: Potential,
    counts: dict,
    seconds: dict[str, float],
) -> None:
    """Evaluate the model and write ``report.json``, ``report.md`` and ``parity.png``.

    Args:
        output: Folder for the three files.
        recipe: What the model was made from.
        model_path: The model's file; its SHA-256 goes into the report.
        test_cells: Labelled cells that training did not see.
        truth: The truth's potential.
        counts: Cells and atoms per set.
        seconds: Process time of the stages [s].
    """
    import mace

    model = Model(model_path)
    table, pairs = errors(model, test_cells)
    tables = {"model": properties(model), "truth": properties(truth)}
    report = {
        "model": model_path.name,
        "sha256": hashlib.sha256(model_path.read_bytes()).hexdigest(),
        "bytes": model_path.stat().st_size,
        "parameters": sum(p.numel() for p in model.calculator.models[0].parameters()),
        "made_with": {"mace-torch": mace.__version__, "torch": torch.__version__},
        "recipe": recipe,
        "sets": counts,
        "process_seconds": {name: round(value, 1) for name, value in seconds.items()},
        "units": {
            "energy": "meV/atom",
            "forces": "meV/Å",
            "stress": "GPa",
            "C": "GPa",
            "gamma": "J/m²",
            "K_G": "MPa √m of (110)[001]",
            "a0": "Å",
            "E": "eV",
        },
        "test_errors_rms": table,
        "properties": tables,
        "crack_tip_at_1.05_K_G": compare_tips(model, truth, tables),
        "samples": [_sample(atoms, model) for atoms in _first_of_each_kind(test_cells)],
        "atoms_per_second_float64_one_core": round(speed(model)),
    }
    (output / "report.json").write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    (output / "report.md").write_text(_as_text(report))
    draw_parity(output / "parity.png", pairs, table)


def draw_parity(path: Path, pairs: dict, table: dict) -> None:
    """Draw the model's values and errors over the truth's, on the test cells."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    panels = {  # title, unit, unit of the error, error per unit
        "energy": ("Energy per atom", "eV", "meV", 1e3),
        "forces": ("Force components", "eV/Å", "meV/Å", 1e3),
        "stress": ("Stress components", "GPa", "GPa", 1.0),
    }
    kinds = list(dict.fromkeys(kind for kind, _ in pairs["energy"]))
    colours = dict(zip(kinds, plt.get_cmap("tab10").colors, strict=False))
    figure, axes = plt.subplots(
        2, 3, figsize=(13, 7.6), sharex="col", height_ratios=(2, 1), constrained_layout=True
    )
    for (above, below), (quantity, panel) in zip(axes.T, panels.items(), strict=True):
        title, unit, small, factor = panel
        for kind in kinds:
            true, ours = np.concatenate([v for k, v in pairs[quantity] if k == kind]).T
            style = {"ms": 4, "alpha": 0.6, "mew": 0, "color": colours[kind]}
            above.plot(true, ours, ".", label=kind.replace("_", " "), **style)
            below.plot(true, factor * (ours - true), ".", **style)
        span = above.get_xlim()
        above.plot(span, span, color="0.25", lw=0.8, zorder=0)
        below.axhline(0.0, color="0.25", lw=0.8, zorder=0)
        above.set(xlim=span, ylim=span, ylabel=f"MACE [{unit}]")
        above.set_title(f"{title}\nr.m.s. error {table['all'][quantity]:.3g} {small}")
        below.set(xlabel=f"EAM4 [{unit}]", ylabel=f"MACE − EAM4 [{small}]")
        for axis in (above, below):
            axis.spines[["top", "right"]].set_visible(False)
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(
        handles,
        names,
        loc="outside lower center",
        ncols=len(kinds),
        frameon=False,
        markerscale=3,
    )
    figure.suptitle("Tungsten MACE model against its truth, on cells that training never saw")
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _first_of_each_kind(cells: list[Atoms]) -> list[Atoms]:
    first: dict[str, Atoms] = {}
    for atoms in cells:
        first.setdefault(atoms.info["config_type"], atoms)
    return list(first.values())


def _sample(atoms: Atoms, model: Potential) -> dict:
    energy, forces, _ = model.evaluate(atoms)
    return {
        "kind": atoms.info["config_type"],
        "cell": atoms.cell.array.tolist(),
        "positions": atoms.positions.tolist(),
        "truth": {
            "energy": atoms.info["REF_energy"],
            "forces": atoms.arrays["REF_forces"].tolist(),
        },
        "model": {"energy": energy, "forces": forces.tolist()},
    }


def _as_text(report: dict) -> str:
    lines = ["# Tungsten MACE model against its truth, EAM4", ""]
    sets = ", ".join(
        f"{s['cells']} cells ({s['atoms']} atoms) {n}" for n, s in report["sets"].items()
    )
    lines += [
        f"`{report['model']}`: {report['parameters']} parameters, {report['bytes'] // 1000} kB, "
        f"SHA-256 `{report['sha256']}`.",
        "",
        f"Sets: {sets}. Process time on one core: "
        + ", ".join(f"{n} {s:.0f} s" for n, s in report["process_seconds"].items())
        + f". Speed, float64: {report['atoms_per_second_float64_one_core']} atoms/s on one core "
        "(energy, forces and stress of 5000 atoms, neighbour list included).",
        "",
        "## Root-mean-square errors on test cells",
        "",
        "| kind | cells | energy meV/atom | forces meV/Å | stress GPa |",
        "|---|---|---|---|---|",
    ]
    for kind, row in report["test_errors_rms"].items():
        lines.append(
            f"| {kind} | {row['cells']} | {row['energy']:.2f} | {row['forces']:.1f} | "
            f"{row['stress']:.3f} |"
        )
    lines += [
        "",
        "## Properties",
        "",
        "C in GPa, gamma of relaxed surfaces in J/m², K_G of "
        "(110)[001] in MPa √m, a0 in Å, energies in eV.",
        "",
        "| property | EAM4 | MACE | difference |",
        "|---|---|---|---|",
    ]
    ours, theirs = report["properties"]["model"], report["properties"]["truth"]
    for name, value in theirs.items():
        lines.append(
            f"| {name} | {value:.4f} | {ours[name]:.4f} | {100 * (ours[name] / value - 1):+.2f} % |"
        )
    lines += [
        "",
        "## Crack (110)[001] at 1.05 K_G, each potential with its own K_G, a0 and C",
        "",
        "Disc of 27 Å with a rim of 11 Å in the K-field, relaxed.",
        "",
        "| quantity | value |",
        "|---|---|",
    ]
    lines += [
        f"| {n.replace('_', ' ')} | {v:.4g} |" for n, v in report["crack_tip_at_1.05_K_G"].items()
    ]
    return "\n".join(lines) + "\n"
