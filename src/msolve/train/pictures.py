# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Pictures of a report: values and errors over the reference's, and phonons of both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msolve.io.files import whole

Array = NDArray[np.float64]

PANELS = {  # title, unit, unit of the error, error per unit
    "energy": ("Energy per atom", "eV", "meV", 1e3),
    "forces": ("Force components", "eV/Å", "meV/Å", 1e3),
    "stress": ("Stress components", "GPa", "GPa", 1.0),
}


def draw_parity(
    path: Path,
    pairs: dict[str, list[tuple[str, Array]]],
    errors: dict[str, dict[str, float]],
    names: tuple[str, str],
) -> None:
    """Draw a model's values, and below them its errors, over the reference's on the test cells.

    Args:
        path: PNG file.
        pairs: (Reference, model) by quantity, kind by kind.
        errors: Root-mean-square errors.
        names: Of model and reference.
    """
    plt = _pyplot()
    model, reference = names
    kinds = list(dict.fromkeys(kind for kind, _ in pairs["energy"]))
    colours = dict(
        zip(kinds, plt.get_cmap("tab20" if len(kinds) > 10 else "tab10").colors, strict=False)
    )
    figure, axes = plt.subplots(
        2, 3, figsize=(13, 7.8), sharex="col", height_ratios=(2, 1), layout="constrained"
    )
    for (above, below), (quantity, panel) in zip(axes.T, PANELS.items(), strict=True):
        title, unit, small, factor = panel
        for kind in kinds:
            true, ours = np.concatenate([v for k, v in pairs[quantity] if k == kind]).T
            style = {
                "ms": {"energy": 8, "stress": 6}.get(quantity, 4),
                "alpha": 0.6,
                "mew": 0,
                "color": colours.get(kind, "0.5"),
            }
            above.plot(true, ours, ".", label=kind.replace("_", " "), **style)
            below.plot(true, factor * (ours - true), ".", **style)
        span = above.get_xlim()
        above.plot(span, span, color="0.25", lw=0.8, zorder=0)
        below.axhline(0.0, color="0.25", lw=0.8, zorder=0)
        above.set(xlim=span, ylim=span, ylabel=f"{model} [{unit}]")
        above.set_title(f"{title}\nr.m.s. error {errors['all'][quantity]:.3g} {small}")
        below.set(xlabel=f"{reference} [{unit}]", ylabel=f"difference [{small}]")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=len(kinds) if len(kinds) < 8 else 6,
        frameon=False,
        markerscale=3,
    )
    figure.suptitle(f"{model} against {reference}, on test cells")
    _save(figure, path)


def draw_phonons(path: Path, phonons: dict[str, Any], names: tuple[str, str]) -> None:
    """Draw the frequencies of model and reference along the path of waves, at the waves where they are exact."""
    plt = _pyplot()
    figure, axis = plt.subplots(figsize=(7.2, 4.2), layout="constrained")
    waves = np.array(phonons["waves"])
    steps = np.linalg.norm(np.diff(waves, axis=0), axis=1)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    looks = {"truth": ("o", "0.45", names[1], "none"), "model": ("x", "#0072b2", names[0], None)}
    for which, (marker, colour, name, face) in looks.items():
        if phonons.get(which) is None:
            continue
        values = np.array(phonons[which])
        for k, branch in enumerate(values.T):
            style = {"color": colour, "marker": marker, "ms": 6, "lw": 0.6, "alpha": 0.9}
            if face is not None:
                style["mfc"] = face
            axis.plot(along, branch, label=name if k == 0 else None, **style)
    for place, _ in phonons["corners"]:
        axis.axvline(along[place], color="0.85", lw=0.8, zorder=0)
    axis.set_xticks([along[place] for place, _ in phonons["corners"]])
    axis.set_xticklabels([name for _, name in phonons["corners"]])
    axis.set(ylabel="frequency [THz]", xlim=(along[0], along[-1]))
    axis.axhline(0.0, color="0.6", lw=0.8, zorder=0)
    axis.set_title("Phonons", loc="left")
    figure.legend(loc="outside upper right", frameon=False, ncols=2)
    _save(figure, path)


def draw_law(path: Path, report: dict[str, Any]) -> None:
    """Draw the error of a learned law's stress over the strain, and of linear elasticity for comparison."""
    plt = _pyplot()
    figure, axis = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    middle = [50 * sum(shell["strain"]) for shell in report["shells"]]
    for key, label, style in (
        ("linear", "linear elasticity", {"color": "0.6", "marker": "s"}),
        ("largest", "learned law, worst state", {"color": "#d55e00", "marker": "v"}),
        ("rms", "learned law, root mean square", {"color": "#0072b2", "marker": "o"}),
    ):
        values = [100 * shell[key] for shell in report["shells"]]
        axis.semilogy(middle, values, label=label, **style)
    axis.set(xlabel="strain [%]", ylabel="error of the stress over the stress [%]")
    axis.set_title(f"Law of {report['potential']}", loc="left")
    axis.legend(frameon=False)
    _save(figure, path)


def draw_handshake(path: Path, rows: list[dict[str, Any]]) -> None:
    """Draw the residual on the layers of each specimen, with the slab handshake and with the learned one."""
    plt = _pyplot()
    degrees = sorted({row["degree"] for row in rows})
    figure, axes = plt.subplots(
        1, len(degrees), figsize=(4.6 * len(degrees), 4.0), layout="constrained", squeeze=False
    )
    for axis, degree in zip(axes[0], degrees, strict=True):
        own = [row for row in rows if row["degree"] == degree]
        K = [row["K"] for row in own]
        axis.semilogy(K, [r["slab"] for r in own], "s", color="0.6", label="slab")
        for use, fill in (("training", "none"), ("validation", "#0072b2")):
            chosen = [row for row in own if row["use"] == use]
            axis.semilogy(
                [r["K"] for r in chosen],
                [r["learned"] for r in chosen],
                "o",
                color="#0072b2",
                markerfacecolor=fill,
                label=f"learned, {use}",
            )
        axis.set(xlabel="K over Griffith's value", title=f"Elements of degree {degree}")
    axes[0][0].set_ylabel("residual on the layers, dual norm [√eV]")
    axes[0][0].legend(frameon=False)
    _save(figure, path)


def _pyplot() -> Any:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})
    return plt


def _save(figure: Any, path: Path) -> None:
    import matplotlib.pyplot as plt

    with whole(path) as unfinished:
        figure.savefig(unfinished, dpi=110)
    plt.close(figure)
