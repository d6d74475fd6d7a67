"""Why an asset cannot be had, in one sentence: which files of which size, the reason, and the ways out."""

from __future__ import annotations

from flowbench.assets.asset import Asset
from flowbench.assets.manifest import find
from flowbench.assets.places import MIRROR, held
from flowbench.errors import AssetError


def not_here(name: str) -> AssetError:
    """For who asks where an asset is, which fetches nothing. Raises UnknownName."""
    asset = find(name)
    about = f"{', '.join(asset.needed)}; {asset.said_size}; {asset.licence}"
    return AssetError(f"'{name}' is not here ({about}): `flowbench assets pull {name}` fetches it.")


def not_fetched(asset: Asset, reason: str, way_out: str) -> AssetError:
    """For who tried to fetch it. `reason` and `way_out` are parts of the sentence, whose last way out is a mirror."""
    state = "is not here" if held(asset.name) is None else "is here already"
    about = f"{', '.join(asset.published)}; {asset.said_size}"
    return AssetError(
        f"'{asset.name}' {state} ({about}), and {reason}: {way_out}, or copy its folder from a machine that has it to "
        f"'{asset.name}' in a mirror ({MIRROR})."
    )
