"""Made-up files of the Toronto Face Database in each of MATLAB's formats, and what is read of them."""

from pathlib import Path

import h5py
import numpy as np
import scipy.io

from shards.sources.tfd import TfdSource

ROWS, SIDE = 9, 48
CLASSES = {"uint8": b"uint8", "float64": b"double", "float32": b"single", "int16": b"int16"}
HEADER = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Mon Jan 07 10:11:12 2013 HDF5 schema 1.00 ."
FORMATS = ("5", "7", "7.3", "7.3 packed")

Variables = dict[str, np.ndarray]


def write(folder: Path, variables: Variables, form: str = "7") -> Path:
    """A .mat file as MATLAB's `save` writes it, with -v6 (format 5), -v7 or -v7.3."""
    path = folder / f"TFD_{form.replace(' ', '_')}.mat"
    if form.startswith("7.3"):
        write_hdf5(path, variables, packed=form != "7.3")
    else:
        scipy.io.savemat(path, variables, do_compression=form == "7")
    return path


def write_hdf5(path: Path, variables: Variables, packed: bool) -> None:
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in variables.items():
            # MATLAB packs long runs of its first axis, which is the last one here.
            layout = {"chunks": (*[1] * (value.ndim - 1), len(value)), "compression": 3} if packed else {}
            file.create_dataset(name, data=value.T, **layout)
            file[name].attrs["MATLAB_class"] = np.bytes_(CLASSES[value.dtype.name])
    with open(path, "r+b") as file:
        file.write(HEADER.ljust(116) + bytes(8) + b"\x00\x02IM")


def cell(*values: object) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def pictures(source: TfdSource) -> np.ndarray:
    return np.stack(source.read(range(len(source.samples))))


def found(source: TfdSource) -> dict[str, tuple[str, list]]:
    return {finding.reason: (finding.action, finding.origins) for finding in source.findings}
