"""Every file that a built-in reward, metric or prompt set may fetch: home, revision, size, licence, published hash.

Hub repositories are pinned to a commit where one is known here, so that nobody's scores change with a new upload. An
exact size or SHA-256 stands here only where its publisher states it, or where copies of the file by others agree on it
and on the digits in its name; OpenMMLab, PyTorch and torch-fidelity put the first eight into that name. All are checked
when the file arrives, beside the hash by which the hub names each of its own files.
"""

from __future__ import annotations

from flowbench.assets.asset import Asset, AssetFile
from flowbench.assets.prompt_files import PROMPT_FILES
from flowbench.errors import UnknownName
from flowbench.registry import did_you_mean

_MEGA = 1_000_000
_OPENMMLAB = (
    "https://download.openmmlab.com/mmdetection/v3.0/mask2former/mask2former_swin-s-p4-w7-224_8xb2-lsj-50e_coco"
)
MASK2FORMER_FILE = "mask2former_swin-s-p4-w7-224_8xb2-lsj-50e_coco_20220504_001756-c9d0c4f2.pth"
_CLIP_LICENCE = "Apache-2.0 (OpenAI's own: MIT)"


def _files(*paths: str) -> tuple[AssetFile, ...]:
    return tuple(AssetFile(path) for path in paths)


def _openai_clip(title: str, model: str, revision: str, size: int, file: AssetFile) -> Asset:
    name = f"clip-{title.lower().replace('/', '-').replace('@', '-')}"
    return Asset(name, f"CLIP {title} by OpenAI, in open_clip's layout", (file,), _CLIP_LICENCE,
                 repo=f"timm/{model}.openai", revision=revision, size=size * _MEGA)  # fmt: skip


_TABLE = (
    Asset("geneval", "GenEval's detector: Mask2Former Swin-S, COCO instances",
          (AssetFile(MASK2FORMER_FILE, sha256="c9d0c4f2"),), "Apache-2.0", url=_OPENMMLAB, size=276 * _MEGA,
          # A string, because the rewards stand above the assets: it is imported when there is something to convert.
          converter="flowbench.rewards.geneval.convert:convert_file", converted=("config.json", "model.safetensors")),
    Asset("mask2former-hf", "another training of GenEval's detector network, by its authors",
          _files("config.json", "model.safetensors"), "other (see its page)",
          repo="facebook/mask2former-swin-small-coco-instance", size=276 * _MEGA),
    _openai_clip("ViT-L/14", "vit_large_patch14_clip_224", "18d0535469bb561bf468d76c1d73aa35156c922b", 1710,
                 AssetFile("open_clip_model.safetensors",
                           sha256="9ce2e8a8ebfff3793d7d375ad6d3c35cb9aebf3de7ace0fc7308accab7cd207e")),
    _openai_clip("ViT-L/14@336", "vit_large_patch14_clip_336", "81e38efc4637de5023b10e75a7f9bd1c6fa6b010", 1712,
                 AssetFile("open_clip_model.safetensors", 1_711_828_444,
                           "fbc415c3d0d7b79faed8f5ccfb740c32b7c4f5ffe7283b851f89c6231c01a8e0")),
    _openai_clip("ViT-B/32", "vit_base_patch32_clip_224", "a6f597a30f7b82c51704746581f9a4e41421e878", 605,
                 AssetFile("open_clip_model.safetensors", 605_143_284,
                           "e6d1bd7789aa45192b3bf90570a789b478bae1b74ebcce7eddd908e83a2b7c31")),
    Asset("pickscore", "PickScore v1, a CLIP ViT-H/14",
          (AssetFile("config.json"),
           AssetFile("model.safetensors", sha256="ef31ef6fc5ff4d9bb90dd232df4e145887ba62c5a03aa2841415f8c25f18d52e")),
          "not stated (code: MIT)", repo="yuvalkirstain/PickScore_v1",
          revision="a4e4367c6dfa7288a00c550414478f865b875800", size=3940 * _MEGA),
    Asset("clip-vit-h-14-processor", "tokenizer and picture settings of CLIP ViT-H/14 (laion2B)",
          _files("preprocessor_config.json", "tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt",
                 "special_tokens_map.json"), "MIT", repo="laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
          revision="1c2b8495b28150b8a4922ee1c8edee224c284c0c", size=4 * _MEGA),
    Asset("aesthetic", "LAION aesthetic predictor v2, the head",
          (AssetFile("sac+logos+ava1-l14-linearMSE.pth", 3_714_759,
                     "21dd590f3ccdc646f0d53120778b296013b096a035a2718c9cb0d511bff0f1e0"),),
          "Apache-2.0", size=4 * _MEGA,
          url="https://github.com/christophschuhmann/improved-aesthetic-predictor/raw/main"),
    Asset("imagereward", "ImageReward v1.0",  # the repository was THUDM/ImageReward, which leads here
          (AssetFile("ImageReward.pt", 1_786_880_927,
                     "d71dc8d4912bc633c06ab8ef1ef6a81e8199d4369f14b47b29baf1d19de561f6"), AssetFile("med_config.json")),
          "Apache-2.0", repo="zai-org/ImageReward", revision="5736be03b2652728fb87788c9797b0570450ab72",
          size=1787 * _MEGA),
    Asset("bert-base-uncased", "BERT's tokenizer, for ImageReward",
          (AssetFile("vocab.txt", 231_508, "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"),
           AssetFile("tokenizer_config.json", 48)),
          "Apache-2.0", repo="google-bert/bert-base-uncased", revision="86b5e0934494bd15c9632b12f734a8a67f723594",
          size=231_556),
    Asset("hpsv2", "HPS v2.0, a CLIP ViT-H/14",
          (AssetFile("HPS_v2_compressed.pt", 1_972_484_501,
                     "07cb0d20626232204ca3a6ec53ff5984e7e53212a8a7b0e0ec2bac1bdaf125a1"),),
          "Apache-2.0", repo="xswu/HPSv2", revision="697403c78157020a1ae59d23f111aa58ced35b0a", size=1972 * _MEGA),
    Asset("hpsv2.1", "HPS v2.1, a CLIP ViT-H/14",
          (AssetFile("HPS_v2.1_compressed.pt", 1_972_490_005,
                     "c57a38fb4a2f7e7c15bf00da2ea377cdf165448b4dd1052a484c215a998c9837"),),
          "Apache-2.0", repo="xswu/HPSv2", revision="697403c78157020a1ae59d23f111aa58ced35b0a", size=1972 * _MEGA),
    Asset("lpips-alex", "AlexNet by torchvision, the trunk of LPIPS",
          (AssetFile("alexnet-owt-7be5be79.pth",
                     sha256="7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02"),),
          "BSD-3-Clause", url="https://download.pytorch.org/models", size=244 * _MEGA),
    Asset("inception-fid", "the Inception network of FID, converted by torch-fidelity",
          (AssetFile("weights-inception-2015-12-05-6726825d.pth", 95_628_359,
                     "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"),),
          "Apache-2.0", url="https://github.com/toshas/torch-fidelity/releases/download/v0.2.0", size=96 * _MEGA),
)  # fmt: skip

ASSETS: dict[str, Asset] = {asset.name: asset for asset in (*_TABLE, *PROMPT_FILES)}


def find(name: str) -> Asset:
    """The asset of that name. Raises UnknownName."""
    if name not in ASSETS:
        raise UnknownName(
            f"unknown asset '{name}'.{did_you_mean(name, ASSETS)} `flowbench assets list` shows them: "
            f"{', '.join(ASSETS)}."
        )
    return ASSETS[name]
