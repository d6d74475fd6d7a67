"""What a prompt set is, in words, without a connection: for `flowbench show` and for tables."""

from __future__ import annotations

from collections import Counter

from flowbench.prompts.sets import find


def describe(name: str) -> dict[str, str]:
    """Facts about a registered set, by heading: about, version, vocabulary, home and licence of what is fetched, and
    each split's number of prompts by tag: "553 prompts, single_object 80, ..." (of a set that is not on this machine,
    only how to get it).

    Raises UnknownName, and AssetError where FLOWBENCH_ASSETS names no folder.
    """
    found = find(name)
    facts = {"about": found.about, "version": found.version, "vocabulary": found.vocabulary}
    is_here = True
    if found.asset:
        from flowbench import assets
        from flowbench.assets.places import home

        asset = assets.find(found.asset)
        facts |= {"home": home(asset), "licence": asset.licence}
        is_here = assets.held(asset.name) is not None
    if not is_here:
        facts["splits"] = f"{', '.join(found.splits)} (not here: `flowbench assets pull {found.asset}`)"
    for split in found.splits if is_here else ():
        prompts = found.load(split)
        tags = Counter(prompt.tag for prompt in prompts if prompt.tag)  # in the order of the prompts
        facts[split] = f"{len(prompts)} prompts" + "".join(f", {tag} {count}" for tag, count in tags.items())
    return {heading: fact for heading, fact in facts.items() if fact}
