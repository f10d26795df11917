"""Other tools that keep versions of large files, all behind one interface, to be measured beside mvc.

=========== ============================================================ ===================================
peer        what it is                                                   from
=========== ============================================================ ===================================
mvc         this project
cp + fsync  a copy of each version, synced: what a disk costs            coreutils
b3sum       BLAKE3 of each file: what reading and hashing costs          ``apt-get install b3sum``
git-lfs     whole files by SHA-256, beside Git                           ``apt-get install git-lfs``
dvc         whole files by MD5, beside Git                               ``make peers``
borg        backup: pieces by content, lz4                               ``apt-get install borgbackup``
restic      backup: pieces by content, zstd, always encrypted            ``apt-get install restic``
bup         backup: pieces by content, in Git packs                      ``apt-get install bup``
hf_xet      client of the Hub's storage, with a ``local://`` endpoint    ``make peers``
zipnn       compressor of weights; knows of no versions                  ``make peers``
blosc2      compressor of arrays; knows of no versions                   ``make peers``
=========== ============================================================ ===================================

Each peer is one small file: a class that says whether it is :meth:`~benchmarks.peers.base.Peer.missing` and
why, its version, and the commands that make a store, commit what lies in ``work/model``, check a version out
and tell a status. One runner times them all. Defaults everywhere, so what a tool does to be safe (sync,
encryption) is part of what it takes: mvc, borg, restic, bup and ``cp`` here sync what they store, git-lfs,
DVC, hf_xet and the compressors do not. No peer talks to a server. What is written as Python package lies in a
virtual environment of its own (``make peers``, or ``--peers FOLDER``), so that no peer's dependencies mix
with mvc's.
"""

from __future__ import annotations

from benchmarks.peers.b3sum import B3sum
from benchmarks.peers.base import Peer, Tools
from benchmarks.peers.borg import Borg
from benchmarks.peers.bup import Bup
from benchmarks.peers.compressors import Blosc2, Zipnn
from benchmarks.peers.cp import Copy
from benchmarks.peers.dvc import Dvc
from benchmarks.peers.git_lfs import GitLfs
from benchmarks.peers.hf_xet import HfXet
from benchmarks.peers.mvc import Mvc
from benchmarks.peers.restic import Restic

PEERS: tuple[type[Peer], ...] = (Mvc, Copy, B3sum, GitLfs, Dvc, Borg, Restic, Bup, HfXet, Zipnn, Blosc2)

__all__ = ["PEERS", "Peer", "Tools"]
