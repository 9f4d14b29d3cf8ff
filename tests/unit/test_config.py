# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The input model: what is read, what is refused, and in which words."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from msolve.config import StressIntensity, case_from_dict, load_case, reference
from msolve.errors import CaseError

ROOT = Path(__file__).parents[2]
DECKS = sorted((ROOT / "solver_configs").glob("*.yaml"))

CRACK = {
    "crystal": {
        "structure": "bcc",
        "element": "W",
        "orientation": {"x1": [1, -1, 0], "x2": [1, 1, 0], "x3": [0, 0, 1]},
    },
    "potential": {"kind": "eam", "file": "w.eam.fs"},
    "domain": {"radius": "60 angstrom"},
    "regions": {"core_radius": "9 angstrom", "blend": "6 angstrom"},
    "defect": {"kind": "crack"},
    "load": {"kind": "k_field", "K": "1.05 K_G"},
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "w.eam.fs").write_text("")
    (tmp_path / "disc.msh").write_text("")
    return tmp_path


@pytest.fixture
def write(folder):
    def _write(data) -> Path:
        path = folder / "deck.yaml"
        path.write_text(data if isinstance(data, str) else yaml.safe_dump(data, sort_keys=False))
        return path

    return _write


def changed(**changes):
    """``CRACK`` with sections updated; ``None`` removes a key."""
    data = copy.deepcopy(CRACK)
    for section, keys in changes.items():
        if not isinstance(keys, dict):
            data[section] = keys
            continue
        inside = data.setdefault(section, {})
        for key, value in keys.items():
            inside[key] = value
            if value is None:
                del inside[key]
    return data


def problems_of(data, folder) -> list[str]:
    with pytest.raises(CaseError) as caught:
        case_from_dict(data, folder=folder, source="deck.yaml")
    return caught.value.problems


@pytest.mark.parametrize("deck", DECKS, ids=lambda deck: deck.stem)
def test_shipped_decks_are_valid_and_run_again_from_their_results(deck):
    case = load_case(deck)
    again = case_from_dict(json.loads(json.dumps(case.to_dict())), folder=deck.parent)
    assert again == case
    assert case.name == deck.stem


def keys_of(value, path=()):
    """Paths of all keys of a deck, and their values; below `arguments` they are another program's."""
    if isinstance(value, dict):
        for key, inside in value.items():
            yield (*path, key), inside
            if key != "arguments":
                yield from keys_of(inside, (*path, key))
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            yield from keys_of(entry, (*path, index))


def each_key():
    """One deck for each key, told apart by the kind of the section that it stands in."""
    found = {}
    for deck in DECKS:
        data = yaml.safe_load(
            re.sub(r"\bon:", "'on':", deck.read_text())
        )  # else YAML takes it for true
        for path, value in keys_of(data):
            section = data[path[0]]
            kind = section.get("kind") if isinstance(section, dict) else None
            unnumbered = tuple(part for part in path if isinstance(part, str))
            found.setdefault((*unnumbered, kind), pytest.param(data, path, value, id=_told(path)))
    return list(found.values())


def _told(path):
    return ".".join(map(str, path))


@pytest.mark.parametrize("deck, path, value", each_key())
def test_each_key_is_told_by_its_name(deck, path, value):
    """Misspelt, missing, of a wrong type, in a wrong unit, not finite."""
    *inside, key = path

    def problems(change):
        data = copy.deepcopy(deck)
        section = data
        for part in inside:
            section = section[part]
        change(section)
        try:
            case_from_dict(data, folder=ROOT / "solver_configs")
        except CaseError as error:
            return error.problems
        return []

    def told(wrong):
        return any(
            re.match(rf"{re.escape(_told(path))}\b", problem)
            for problem in problems(lambda section: section.update({key: wrong}))
        )

    misspelt = problems(lambda section: section.update({f"{key}x": section.pop(key)}))
    assert f"{_told(path)}x: no such key; did you mean {key!r}?" in misspelt
    if key != "kind":  # without it the section may be of another one, in which other keys are wrong
        missing = problems(lambda section: section.pop(key))
        # A core's centre has a default, where it may hold no vacancy.
        names = (_told(inside), "regions: the vacancy")
        assert not missing or any(problem.startswith(names) for problem in missing)
    assert told("two words" if isinstance(value, dict) else {"colour": 1})
    number = re.fullmatch(r"(-?[\d.]+(?:e-?\d+)?) *(.*)", str(value))
    if number is not None:
        assert told(float("nan")) and told(float("inf"))
        assert not number[2] or (told(f"{number[1]} kelvin") and told(f"nan {number[2]}"))


def test_there_are_decks():
    in_the_plane = {"crack", "crack_eam", "vacancy", "si_crack", "si_vacancy"}
    in_space = {"vacancy_3d", "void_3d", "penny_crack", "large_3d"}
    by_model = {"crack_linear", "vacancy_kim", "vacancy_lammps", "vacancy_snap"}
    assert {deck.stem for deck in DECKS} >= in_the_plane | in_space | by_model


def test_quantities_become_numbers_and_are_written_with_units(write):
    case = load_case(write(changed(domain={"radius": "6 nm"}, solver={"petsc": {"pc_type": "lu"}})))
    assert case.domain.radius == 60.0
    assert case.load.K == (StressIntensity(1.05, relative=True),)
    assert case.load.K[0].absolute(2.0) == pytest.approx(2.1)
    written = case.to_dict()
    assert written["domain"]["radius"] == "60.0 angstrom"
    assert written["load"]["K"] == ["1.05 K_G"]
    assert written["solver"] == {
        "gradient_tolerance": "0.0001 eV/angstrom",
        "max_iterations": 300,
        "stability": True,
        "petsc": {"pc_type": "lu"},
    }


def test_relative_files_start_from_the_input(write, folder):
    assert load_case(write(CRACK)).path("w.eam.fs") == folder / "w.eam.fs"


def test_ramps_and_lists_of_loads(write):
    def loads(K):
        return load_case(write(changed(load={"K": K}))).load.K

    ramp = loads({"from": "1 K_G", "to": "1.1 K_G", "steps": 3})
    assert [K.value for K in ramp] == pytest.approx([1.0, 1.05, 1.1])
    assert all(K.relative for K in ramp)
    assert [str(K) for K in loads(["1.0 K_G", "2.0 eV/angstrom^2.5"])] == [
        "1.0 K_G",
        "2.0 eV/angstrom^2.5",
    ]


def test_homogeneous_loads(folder):
    def load(**keys):
        data = changed(defect={"kind": "none"}, load={"kind": "affine", "K": None, **keys})
        return case_from_dict(data, folder=folder).load

    assert load(strain={"e11": "1 %", "e12": 0.02}).deformation == pytest.approx(
        np.array([[1.01, 0.02, 0], [0.02, 1, 0], [0, 0, 1]])
    )
    F = [[1.02, 0.01, 0], [0, 0.99, 0], [0.01, 0, 1]]
    assert load(F=F).deformation.tolist() == F
    assert load(F=F, steps=4).steps == (0.25, 0.5, 0.75, 1.0)
    assert load(F=F, steps=[0.5, 1]).steps == (0.5, 1.0)


def test_loads_on_tags_and_a_key_that_yaml_takes_for_true(write):
    text = """
    crystal: {structure: bcc, element: W, orientation: {x1: [1, 0, 0], x3: [0, 0, 1]}}
    potential: {kind: eam, file: w.eam.fs}
    mesh: {kind: file, file: disc.msh, unit: nm}
    regions: {core_radius: 9 angstrom}
    load:
      kind: boundary
      displacement:
        - {on: bottom, value: [null, 0, 1 nm]}
      traction:
        - {on: top, value: [0, 1 GPa, 0]}
      body_force:
        - value: [0, 1e12 N/m^3, 0]
    """
    case = load_case(write(text))
    (held,), (pull,), (weight,) = case.load.displacement, case.load.traction, case.load.body_force
    assert (held.on, held.value) == ("bottom", (None, 0.0, 10.0))
    assert pull.value == pytest.approx((0, 1 / 160.2176634, 0))
    assert weight.on == "all"
    assert weight.value[1] == pytest.approx(1e12 / 1.602176634e21)
    again = case_from_dict(json.loads(json.dumps(case.to_dict())), folder=case.path("."))
    assert again.load == case.load


def test_changes_from_the_command_line(write):
    path = write(CRACK)
    case = load_case(
        path,
        [
            "regions.core_radius=null",
            "regions.cores=[{radius: 18 angstrom}]",
            "regions.cores.0.centre=[0, 1 angstrom]",
            "coupling.method=bqcf",
            "solver.petsc.elasticity_pc_type=gamg",
            "name=other",
        ],
    )
    assert case.regions.all_cores[0].centre == (0.0, 1.0, 0.0)
    assert case.coupling.method == "bqcf"
    assert case.solver.petsc == {"elasticity_pc_type": "gamg"}
    assert case.name == "other"
    assert case.output_directory == Path("results/other")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("a.b", "--set a.b: needs key.path=value"),
        ("=3", "--set =3: needs key.path=value"),
        ("domain.radius=[", "--set domain.radius=[: the value is line 1"),
        ("name.x.y=3", "--set name.x.y=3: no such key in this file"),
    ],
)
def test_changes_that_make_no_sense(write, change, message):
    with pytest.raises(CaseError) as caught:
        load_case(write(CRACK), [change])
    assert caught.value.problems[0].startswith(message)


def test_all_problems_are_told_at_once_with_the_name_of_the_file(write):
    data = changed(domain={"radius": 8}, regions={"blnd": "8 angstrom"}, solver={"stability": 1})
    with pytest.raises(CaseError) as caught:
        load_case(write(data))
    assert str(caught.value) == (
        "deck.yaml: 3 problems\n"
        "  domain.radius = 8: needs a length with a unit (angstrom, nm, um), e.g. '8 angstrom'\n"
        "  regions.blnd: no such key; did you mean 'blend'?\n"
        "  solver.stability = 1: needs true or false"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"radius": "8 angstrom"}, "radius: no such key; did you mean 'domain.radius'?"),
        ({"load": {"F": 3}}, "load.F: no such key; it belongs to another kind of load"),
        (
            {"load": {"K": 1.05}},
            "load.K = 1.05: needs a stress intensity with a unit (MPa*m^0.5, MPa*sqrt(m), "
            "eV/angstrom^2.5), e.g. '1.5 MPa*m^0.5', or '1.05 K_G'",
        ),
        ({"load": {"K": "-1 K_G"}}, "load.K = -1.0 K_G: must be greater than 0"),
        ({"load": {"kind": "k_feild"}}, "load.kind = k_feild: no such choice; did you mean"),
        ({"load": {"kind": None}}, "load.kind: missing; one of affine, k_field"),
        ({"load": {"K": {"from": "1 K_G", "to": "2 K_G"}}}, "load.K = {'from': '1 K_G'"),
        ({"domain": {"radius": "-3 angstrom"}}, "domain.radius = -3 angstrom: must be greater"),
        ({"domain": {"radius": None}}, "domain.radius: missing; Radius of the disc"),
        ({"domain": 5}, "domain = 5: needs a section with keys"),
        ({"potential": {"file": "no.fs"}}, "potential.file = no.fs: no such file in "),
        ({"potential": {"file": None}}, "potential.file: missing; potential.kind = eam needs"),
        ({"potential": {"kind": "toy"}}, "potential.file = w.eam.fs: not with potential.kind"),
        ({"crystal": {"element": "Xx"}}, "crystal.element = Xx: needs the symbol of a chemical"),
        ({"crystal": {"element": None}}, "crystal.element: missing; needs the symbol"),
        ({"crystal": {"structure": "cell"}}, "crystal.cell: missing; structure `cell` needs it"),
        ({"crystal": {"orientation": {"x1": [1, 0.5, 0], "x3": [0, 0, 1]}}}, "crystal.orient"),
        (
            {"crystal": {"structure": "hcp", "lattice_constant": "3 angstrom"}},
            "crystal.c: missing; needed where crystal.lattice_constant is a length",
        ),
        ({"coupling": {"method": "bqfc"}}, "coupling.method = bqfc: no such choice; did you mean"),
        ({"mesh": {"growth": float("nan")}}, "mesh.growth = nan: must be a finite number"),
        ({"mesh": {"growth": 9}}, "mesh.growth = 9: must be less than or equal to 3"),
        ({"mesh": {"kind": "file"}}, "mesh.file: missing; mesh.kind = file needs it"),
        ({"mesh": {"file": "disc.msh"}}, "mesh.file = disc.msh: needs mesh.kind = file"),
        ({"mesh": {"spacing": "3 angstrom"}}, "mesh.spacing: only with mesh.kind = free"),
        ({"solver": {"petsc": {"-ksp_type": "cg"}}}, "solver.petsc = {'-ksp_type': 'cg'}: option"),
        ({"solver": {"max_iterations": 0}}, "solver.max_iterations = 0: must be greater than or"),
        ({"regions": {"blend": "0 angstrom"}}, "regions.blend = 0 angstrom: coupling.method = "),
        ({"regions": {"core_radius": "55 angstrom"}}, "regions.core_radius: core and blend reach"),
        ({"regions": {"core_radius": None}}, "regions: needs either core_radius or cores"),
        (
            {
                "regions": {
                    "core_radius": None,
                    "cores": [{"centre": [0, "30 angstrom"], "radius": "9 angstrom"}],
                }
            },
            "regions: the crack tip at (0, 0) angstrom lies in no core",
        ),
        ({"defect": {"kind": "vacancy"}}, "load.kind = k_field: needs defect.kind = crack"),
        (
            {"load": {"mode": [-1, 0, 0]}},
            "load.mode = [-1.0, 0.0, 0.0]: the first number, of K_I, must not be negative",
        ),
        ({"load": {"mode": [0, 0, 0]}}, "load.mode = [0.0, 0.0, 0.0]: "),
        ({"load": {"tip": "20 angstrom"}}, "load.tip = 20 angstrom: must lie in a core"),
        (
            {"regions": {"core_radius": None, "cores": [{"shape": "bal"}]}},
            "regions.cores.0.shape = bal: no such choice; did you mean 'ball'?",
        ),
        (
            {"regions": {"core_radius": None, "cores": [{"shape": "box", "radius": 1}]}},
            "regions.cores.0.low: missing; Its corner with the lowest coordinates",
        ),
        (
            {"regions": {"core_radius": None, "cores": [{"shape": "box", "radius": 1}]}},
            "regions.cores.0.radius: no such key; it belongs to another kind of regions.cores",
        ),
        (
            {
                "regions": {
                    "core_radius": None,
                    "cores": [
                        {"shape": "box", "low": [0, 0], "high": ["5 angstrom", "-5 angstrom"]}
                    ],
                }
            },
            "regions.cores.0 = ",
        ),
        ({"defect": {"positions": [[0, 0]]}}, "defect.positions: only with defect.kind = vacancy"),
        ({"load": {"kind": "affine", "K": None}}, "load: needs either F or strain"),
        ({"domain": None}, "domain: missing; the radius of the body, or mesh.kind = file to be it"),
        (
            {"domain": None, "mesh": {"kind": "file", "file": "disc.msh"}},
            "domain: missing; defect.kind = crack needs a disc",
        ),
        ({"mesh": {"unit": "nm"}}, "mesh.unit = nm: only with mesh.kind = file"),
        (
            {"load": {"kind": "boundary", "K": None}},
            "load.kind = boundary: not with defect.kind = crack; k_field would do",
        ),
        (
            {"load": {"kind": "boundary", "K": None, "displacement": [{"on": "left"}]}},
            "load.displacement.0: needs either value or F",
        ),
        (
            {
                "load": {
                    "kind": "boundary",
                    "K": None,
                    "displacement": [{"on": "left", "value": [None] * 3}],
                }
            },
            "load.displacement.0.value: holds nothing; leave the entry out",
        ),
        (
            {
                "load": {
                    "kind": "boundary",
                    "K": None,
                    "traction": [{"on": "a", "value": [0, 1, 0]}],
                }
            },
            "load.traction.0.value = [0, 1, 0]: needs a stress with a unit (GPa, MPa, eV/angstrom^3)",
        ),
        (
            {"load": {"kind": "boundary", "K": None, "body_force": [{"value": [0, "1 GPa", 0]}]}},
            "load.body_force.0.value = [0, '1 GPa', 0]: 'GPa' is no unit of force per volume",
        ),
        (
            {"load": {"kind": "affine", "K": None, "F": [[1, 0, 0], [0, 1, 0], [0, 0, 1.1]]}},
            "load.F: its third column is [0.0, 0.0, 1.1], needs [0, 0, 1]",
        ),
        (
            {"load": {"kind": "affine", "K": None, "F": [[1, 0, 0], [0, -1, 0], [0, 0, 1]]}},
            "load.F = [[1, 0, 0], [0, -1, 0], [0, 0, 1]]: needs a positive determinant",
        ),
        (
            {"compare": {"atomistic": True, "rim": "60 angstrom"}},
            "compare.rim = 60 angstrom: must be smaller than domain.radius",
        ),
    ],
)
def test_each_problem_says_where_what_and_what_would_do(changes, message, folder):
    problems = problems_of(changed(**changes), folder)
    assert any(problem.startswith(message) for problem in problems), problems


def test_keys_given_twice_are_an_error(write):
    with pytest.raises(CaseError, match="radius: given twice, in lines 1 and 1"):
        load_case(write("domain: {radius: 8 angstrom, radius: 9 angstrom}"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "not valid YAML"),
        ("- a", "needs keys such as"),
        ("", "needs keys such as"),
        ("a: !!python/name:os.system", "not valid YAML"),
    ],
)
def test_files_that_are_no_input(write, text, message):
    with pytest.raises(CaseError, match=message):
        load_case(write(text))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CaseError, match="no such file"):
        load_case(tmp_path / "none.yaml")


def test_method_atomistic_needs_neither_regions_nor_mesh(folder):
    data = changed(coupling={"method": "atomistic"})
    del data["regions"]
    assert not case_from_dict(data, folder=folder).coupled


def test_a_case_is_frozen(folder):
    case = case_from_dict(CRACK, folder=folder)
    with pytest.raises(ValueError, match="frozen"):
        case.name = "other"


def test_the_reference_is_current():
    page = ROOT / "docs" / "input-reference.md"
    assert page.read_text(encoding="utf-8") == reference(), "run python -m msolve.config"
