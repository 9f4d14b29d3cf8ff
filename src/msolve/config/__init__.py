# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The input: a frozen model of everything a YAML file may say, and how it is read.

``load_case`` turns a file into a ``Case``; ``reference`` writes the documentation of all keys from
the same model. Nothing is built here: no potential is loaded, no mesh made, no rank known.
"""

from msolve.config.adaptivity import Adaptivity
from msolve.config.case import Case
from msolve.config.certificates import CertificateAsked
from msolve.config.defects import Defect
from msolve.config.handshakes import HandshakeTraining
from msolve.config.laws import Continuum, LawTraining
from msolve.config.loading import (
    case_from_dict,
    load_case,
    load_handshake_training,
    load_law_training,
    load_training,
    training_from_dict,
    what_it_trains,
)
from msolve.config.loads import (
    AffineLoad,
    BodyForceInput,
    BoundaryLoad,
    HeldInput,
    KFieldLoad,
    Strain,
    TractionInput,
)
from msolve.config.model_error import CommitteeBeside, PopsBeside, ReferenceBeside
from msolve.config.potentials import (
    AnyPotential,
    CalculatorPotential,
    GapPotential,
    KimPotential,
    LammpsPotential,
    OwnPotential,
    Potential,
    TorchSimPotential,
)
from msolve.config.quantities import StressIntensity
from msolve.config.quantities_of_interest import (
    AnyAsked,
    DisplacementAsked,
    EnergyAsked,
    EnergyReleaseAsked,
    OpeningAsked,
    RingAsked,
    StressIntensityAsked,
    names_of,
)
from msolve.config.reference import reference
from msolve.config.regions import BallCore, BoxCore, CapsuleCore, Core, PolygonCore, RegionsInput
from msolve.config.sections import (
    Compare,
    Coupling,
    CrystalInput,
    Domain,
    FineZone,
    Handshake,
    Mesh,
    Orientation,
    Output,
    Solver,
)
from msolve.config.trainers import (
    AnyTraining,
    ExistingModel,
    GapTraining,
    LinearTraining,
    MaceTraining,
    NequipTraining,
)
from msolve.config.training import Active, AnyCells, FileCells, Training

__all__ = [
    "Active",
    "Adaptivity",
    "AffineLoad",
    "AnyAsked",
    "AnyCells",
    "AnyPotential",
    "AnyTraining",
    "BallCore",
    "BodyForceInput",
    "BoundaryLoad",
    "BoxCore",
    "CalculatorPotential",
    "CapsuleCore",
    "Case",
    "CertificateAsked",
    "CommitteeBeside",
    "Compare",
    "Continuum",
    "Core",
    "Coupling",
    "CrystalInput",
    "Defect",
    "DisplacementAsked",
    "Domain",
    "EnergyAsked",
    "EnergyReleaseAsked",
    "ExistingModel",
    "FileCells",
    "FineZone",
    "GapPotential",
    "GapTraining",
    "Handshake",
    "HandshakeTraining",
    "HeldInput",
    "KFieldLoad",
    "KimPotential",
    "LammpsPotential",
    "LawTraining",
    "LinearTraining",
    "MaceTraining",
    "Mesh",
    "NequipTraining",
    "OpeningAsked",
    "Orientation",
    "Output",
    "OwnPotential",
    "PolygonCore",
    "PopsBeside",
    "Potential",
    "ReferenceBeside",
    "RegionsInput",
    "RingAsked",
    "Solver",
    "Strain",
    "StressIntensity",
    "StressIntensityAsked",
    "TorchSimPotential",
    "TractionInput",
    "Training",
    "case_from_dict",
    "load_case",
    "load_handshake_training",
    "load_law_training",
    "load_training",
    "names_of",
    "reference",
    "training_from_dict",
    "what_it_trains",
]
