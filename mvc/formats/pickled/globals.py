"""The globals that are known here: what a pickle of tensors and plain values names.

The list decides nothing, because nothing is ever called. It is for people: a pickle that names anything else
is worth a warning before somebody loads it by other means.
"""

from __future__ import annotations

from collections.abc import Iterable

from mvc.formats.pickled.arrays import DTYPE, FROM_BUFFER, RECONSTRUCT, SCALAR
from mvc.formats.pickled.tensors import is_dtype, storage_dtype

_KNOWN_BY_MODULE = {
    "builtins": "bool bytearray bytes complex dict float frozenset int list object range set slice str tuple",
    "collections": "Counter OrderedDict defaultdict deque",
    "copyreg": "__newobj__ _reconstructor",
    "datetime": "date datetime time timedelta timezone",
    "pathlib": "Path PosixPath PurePosixPath PureWindowsPath WindowsPath",
    "_codecs": "encode",
    "decimal": "Decimal",
    "types": "SimpleNamespace",
    "uuid": "UUID",
    "numpy": "ndarray",
    "torch": "Generator Size Tensor device qint32 qint8 quint2x4 quint4x2 quint8 strided"
    " per_channel_affine per_channel_affine_float_qparams per_tensor_affine",
    "torch._C": "Generator",
    "torch._tensor": "_rebuild_from_type _rebuild_from_type_v2",
    "torch._utils": "_rebuild_device_tensor_from_cpu_tensor _rebuild_device_tensor_from_numpy"
    " _rebuild_meta_tensor_no_storage _rebuild_nested_tensor _rebuild_parameter"
    " _rebuild_parameter_with_state _rebuild_qtensor _rebuild_sparse_csr_tensor _rebuild_sparse_tensor"
    " _rebuild_tensor _rebuild_tensor_v2 _rebuild_tensor_v3 _rebuild_wrapper_subclass",
    "torch.jit._pickle": "build_boollist build_doublelist build_intlist build_tensor_from_id"
    " build_tensorlist restore_type_tag",
    "torch.nn.parameter": "Buffer Parameter",
    "torch.serialization": "_get_layout",
}
_OTHER_MODULES = {"__builtin__": "builtins", "copy_reg": "copyreg", "pathlib._local": "pathlib"}
_KNOWN = {f"{module}.{name}" for module, names in _KNOWN_BY_MODULE.items() for name in names.split()}
_KNOWN |= {DTYPE} | SCALAR | RECONSTRUCT | FROM_BUFFER
_DTYPE_CLASSES = "numpy.dtypes."


def unknown_globals(paths: Iterable[str]) -> list[str]:
    """Those of some paths that are not on the list, sorted."""
    return sorted(path for path in set(paths) if not _is_known(path))


def _is_known(path: str) -> bool:
    module, _, name = path.rpartition(".")
    if f"{_OTHER_MODULES.get(module, module)}.{name}" in _KNOWN:
        return True
    return is_dtype(path) or storage_dtype(path)[0] or path.startswith(_DTYPE_CLASSES)
