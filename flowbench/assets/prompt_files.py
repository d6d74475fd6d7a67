"""The prompt files that others publish: home, revision, licence, and what is known of their content.

Their texts are not in this package; flowbench/prompts/fetched.py reads them. Every home is pinned to a commit. A
SHA-256 or exact size stands here only where somebody who fetched that file wrote it down in public; the hub names each
of its other files by git's hash, and of the rest the hash is recorded when they first come. The rounded size is 0
where we do not know it.
"""

from __future__ import annotations

from flowbench.assets.asset import Asset, AssetFile

FLOW_GRPO = "879042cf5707f8b90daa98d147d7deac2317c5da"
T2I_COMPBENCH = "4aa404212eb5d06e5adbcd9cee696c750d0d25a5"
T2I_CATEGORIES = ("color", "shape", "texture", "spatial", "3d_spatial", "numeracy", "non_spatial", "complex")
HPDV2_STYLES = ("anime", "concept-art", "paintings", "photo")
_RAW = "https://raw.githubusercontent.com"
_T2I_KNOWN = {"color": (11_871, "1634259756dbc77d13093d907d414480080ec9790a8c97ad09efaea7b2534f2d")}
"""Category -> size and SHA-256."""

PROMPT_FILES = (
    Asset("prompts-drawbench", "DrawBench, 200 prompts",
          (AssetFile("DrawBench Prompts - Sheet1.csv"),), "licence not stated by its authors",
          repo="sayakpaul/drawbench", repo_type="dataset", revision="ad794cba698c253ffdb6d18eff3fc87b004c1135",
          size=17_000),
    Asset("prompts-partiprompts", "PartiPrompts, 1632 prompts",
          (AssetFile("PartiPrompts.tsv"),), "Apache-2.0", repo="nateraw/parti-prompts",
          repo_type="dataset", revision="944b156abfdad7627c3221b5ec4f6a6fb060a197", size=123_000),
    Asset("prompts-hpdv2", "the HPD v2 benchmark, 3200 prompts",
          tuple(AssetFile(f"benchmark/{style}.json") for style in HPDV2_STYLES), "Apache-2.0", repo="ymhao/HPDv2",
          repo_type="dataset", revision="bb0f2563e451e11c3f376b2ba93615db00e042e1", size=274_500),
    Asset("prompts-pickscore", "Flow-GRPO's captions of Pick-a-Pic, 2048 to test on, written by users, some explicit",
          (AssetFile("test.txt", sha256="d75c025fa451866e70f7e36243f7cdd93095523cb51f5f9651f2ce3236d20262"),
           AssetFile("train.txt", sha256="2f425adcbb9a6d0feee7c6c448e1cb83a1f71deca9434b803907e2578eca837f")),
          "repository MIT; captions: see Pick-a-Pic", url=f"{_RAW}/yifan123/flow_grpo/{FLOW_GRPO}/dataset/pickscore"),
    Asset("prompts-ocr-flowgrpo", "Flow-GRPO's prompts with quoted text, 1018 to test on",
          (AssetFile("test.txt"),
           AssetFile("train.txt", sha256="2eb32ce1c5fd1ffec94070be84252419ec848329d9adde9c2708867882fbce5f")),
          "MIT", url=f"{_RAW}/yifan123/flow_grpo/{FLOW_GRPO}/dataset/ocr"),
    Asset("prompts-dpg", "DPG-Bench, 1065 dense prompts with their questions",
          (AssetFile("dpg_bench.csv"),), "Apache-2.0",
          url=f"{_RAW}/TencentQQGYLab/ELLA/025f650e9b36b9603d606042635d98da09e870de/dpg_bench"),
    Asset("prompts-t2i-compbench", "T2I-CompBench++, the 8 x 300 validation prompts",
          tuple(AssetFile(f"{each}_val.txt", *_T2I_KNOWN.get(each, ())) for each in T2I_CATEGORIES), "MIT",
          url=f"{_RAW}/Karine-Huang/T2I-CompBench/{T2I_COMPBENCH}/examples/dataset"),
    Asset("prompts-genai-bench", "GenAI-Bench, 1600 prompts with their skills",
          (AssetFile("genai_image.json"), AssetFile("genai_skills.json")), "Apache-2.0", repo="BaiqiL/GenAI-Bench-1600",
          repo_type="dataset", revision="e51e8a8070fadfbfe1f160436bf14e7664e87247"),
    Asset("prompts-geneval2", "GenEval 2, 800 prompts with their questions",
          (AssetFile("geneval2_data.jsonl",
                     sha256="09233adbc9f877fba205f1a20efa4a8640e7e62a91dfd55893562bed8a928e43"),),
          "CC BY-NC 4.0", url=f"{_RAW}/facebookresearch/GenEval2/a6e82d2289e8d418f27f0adee77908b07060eea3",
          size=423_000),
    Asset("prompts-unigenbench", "UniGenBench, 600 short English prompts with their test points",
          (AssetFile("test_prompts_en.csv"),), "CC BY 4.0",
          url=f"{_RAW}/CodeGoat24/UniGenBench/06d5f5ef84ada0304913080ceaa3b0f5d400b694/data"),
)  # fmt: skip
