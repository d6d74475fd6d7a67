"""What a prompt set is, in words, without a connection: for `flowbench show` and for tables."""

from __future__ import annotations

from collections import Counter

from flowbench.prompts.sets import PromptSet, find


def describe(name: str) -> dict[str, str]:
    """Facts about a registered set, by heading: about, version, vocabulary, home and licence of what is fetched, and
    each split's number of prompts by tag (of a set that is not on this machine, only how to get it).

    Raises UnknownName, and AssetError where FLOWBENCH_ASSETS names no folder.
    """
    found = find(name)
    facts = {"about": found.about, "version": found.version, "vocabulary": found.vocabulary}
    if found.asset:
        from flowbench import assets
        from flowbench.assets.places import home

        asset = assets.find(found.asset)
        facts |= {"home": home(asset), "licence": asset.licence}
        if assets.held(asset.name) is None:
            facts["splits"] = f"{', '.join(found.splits)} (not here: `flowbench assets pull {asset.name}`)"
            return _filled(facts)
    return _filled({**facts, **{split: _counts(found, split) for split in found.splits}})


def _filled(facts: dict[str, str]) -> dict[str, str]:
    return {heading: fact for heading, fact in facts.items() if fact}


def _counts(found: PromptSet, split: str) -> str:
    """ "553 prompts, single_object 80, ..."; tags in the order of the prompts."""
    prompts = found.load(split)
    tags = Counter(prompt.tag for prompt in prompts if prompt.tag)
    return f"{len(prompts)} prompts" + "".join(f", {tag} {count}" for tag, count in tags.items())
