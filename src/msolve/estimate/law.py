# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""What a law in the potential's place leaves out: its forces beside those of the potential itself, in a solution."""

from __future__ import annotations

from dataclasses import replace

from petsc4py import PETSc

import numpy as np

from msolve.assemble import Assembly
from msolve.continuum.pooled import PooledLaw
from msolve.coupling import DensityTerm
from msolve.potentials.stand_in import StandIn
from msolve.problem import CoupledProblem


def law_error(coupled: Assembly, z: PETSc.Vec, t: float, solved: CoupledProblem) -> float | None:
    """Dual norm of the difference of nodal forces between the two laws, in the elasticity of the coupled model.

    It is a part of the coupling's share, told apart; the potential is asked once at every quadrature point. Collective.

    Args:
        coupled: The coupled model.
        z: Its solution.
        t: Load parameter.
        solved: The problem whose residual the solver made small.

    Returns:
        The norm [√eV]; ``None`` where the law is the potential's own.
    """
    law, stored, pools = coupled.body.material, coupled.problem.stored, coupled.body.pools
    if not isinstance(law, StandIn) or stored is None:
        return None
    own = stored.of(law.law if pools is None else PooledLaw(law.law, pools.comm))
    terms = tuple(term for term in solved.terms if isinstance(term, DensityTerm))
    ours, theirs, step = z.duplicate(), z.duplicate(), z.duplicate()
    solved.with_terms(terms).evaluate(z, t, ours)
    solved.with_terms(tuple(replace(term, stored=own) for term in terms)).evaluate(z, t, theirs)
    ours.axpy(-1.0, theirs)
    coupled.preconditioner.solve(ours, step)
    return float(np.sqrt(max(ours.dot(step), 0.0)))
