"""Many small packs into few: records are copied as they are, checked, never decoded."""

from __future__ import annotations

from mvc.backends import Backend
from mvc.errors import CorruptObject
from mvc.monitor import Monitor
from mvc.odb.index import Index
from mvc.odb.pack import PackWriter, pack_key, scan_pack
from mvc.odb.segment import Entry

MAX_PACKS = 200
SMALL_PACK = 8 << 20


def small_packs(backend: Backend, index: Index) -> list[bytes]:
    """Packs under 8 MiB, when there are more than 200 of them; else none."""
    live = {pack for row in index.rows for pack in index.segment(row.name).packs} - set(index.dead_packs)
    if len(live) <= MAX_PACKS:
        return []
    sizes = dict(backend.list("packs/"))
    small = [name for name in sorted(live) if sizes.get(pack_key(name), SMALL_PACK) < SMALL_PACK]
    return small if len(small) > MAX_PACKS else []


def copy_packs(
    backend: Backend, index: Index, names: list[bytes], monitor: Monitor
) -> tuple[list[Entry], list[bytes]]:
    """Copy every live record of these packs into new ones; returns the new entries and the packs that may go.

    The index must be sound: a damaged id column hides records that are needed. A pack with a damaged record
    stays where it is: nothing that might still be repaired is thrown away.
    """
    writer = PackWriter(backend)
    condemned: list[bytes] = []
    for name in names:
        records = []
        for offset, _length, record in scan_pack(name, backend.get(pack_key(name))):
            if isinstance(record, CorruptObject):
                monitor.note_damage(f"pack {name.hex()[:12]} at {offset}: {record.message}; left as it is")
                break
            if any(entry.pack == name and entry.offset == offset for entry in index.find(record.id)):
                records.append(record)
        else:
            for record in records:
                writer.add(record)
            condemned.append(name)
    writer.flush()
    return writer.entries, condemned
