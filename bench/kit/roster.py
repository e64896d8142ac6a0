# SPDX-License-Identifier: ISC
"""All peers by their names."""
from .peers import FLOORS, OURS
from .peers_other import OTHERS


def labelled(peer_class, label):
    """The same peer with another posternd."""
    if not label:
        return peer_class
    return type(peer_class.__name__, (peer_class,), {"name": f"{peer_class.name}@{label}", "label": label})


def all_peers(labels):
    """Name -> class, `labels` those of the posternds that take part."""
    ours = [labelled(one, label) for label in labels for one in OURS]
    return {one.name: one for one in (*FLOORS, *ours, *OTHERS)}
