"""The component that a class name suggests.

The words were collected from all models of transformers, diffusers, timm and sentence-transformers;
`tests/instrumentation/test_component_names.py` lists class names with the expected components.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from compilespan.semconv import Component


def any_of(words: str) -> re.Pattern[str]:
    """Compile whitespace-separated regular expressions into one that matches any of them."""
    return re.compile("|".join(words.split()))


# Codecs, VAEs, vocoders, diffusion networks: all their parts are other, whatever their names.
_WHOLE_OTHER = any_of(
    r"""
    Auto[Ee]ncod VAE Vae(?![a-z]) VQModel VQGAN (?i:codec|hifigan) Mimi[A-Z]
    (?<![A-Za-z])Dac[A-Z] TokenizerDecoder (?:Audio|Wav|V\d)Tokenizer(?=Model) Vocoder BigVGAN
    (?:Token|Code)2Wav FastSpeech U[Nn]et ControlNet T2IAdapter PriorTransformer DiT(?![a-z])
    Transformer[123]D [123]D(?:Condition\w*)?Model (?:Image|Video)\w*TransformerBlock ^Flux
    ^Wan(?=[A-Z\d]) ^CogV ^Hunyuan(?:Video|Image) ^LTX ^Mochi ^Allegro ^EasyAnimate ^ConsisID
    ^Sana ^PixArt ^Lumina ^AuraFlow ^Kandinsky ^Stable(?:Audio|Cascade) ^QwenImage ^ZImage
    ^Chroma ^HiDream ^OmniGen ^SkyReels ^Latte ^SD3 ^AudioLDM ^Cosmos(?!3) ^MiniMax(?:H\d|Music)
    ^Bria ^JointTransformer ^ErnieImage ^LongCat(?:Image|Audio)
    """
)

# All their parts belong to an encoder.
_WHOLE_ENCODER = any_of(
    r"""
    SentenceTransformer (?:Sparse|Cross|MultiVector)Encoder$ MaskedLM ForCTC
    """
)

# Classes that generate tokens, so they contain a language model.
_GENERATES = any_of(
    r"""
    ForConditionalGeneration CausalLM LMHeadModel EncoderDecoder BlockDiffusion (?:To|2)Text$
    ForRNNT ForTDT MTModel$
    """
)

# Classes with an encoder and a language model: their names do not apply to their parts.
COMPOSITE = any_of(
    r"""
    ForConditionalGeneration EncoderDecoder 2Text$ Speech2TextModel ^AyaVision(?:Model)?$
    ^Cohere2Vision(?:Model)?$ ^Granite4Vision(?:Model)?$ ^HyperCLOVAXVisionV2(?:Model)?$
    ^LlavaNextVideo(?:Model)?$ ^InstructBlipVideo(?:Model)?$ ^Video[A-Z][a-z]+\d?(?:Model)?$
    ^Qwen2Audio(?:Model)?$ ^AudioFlamingo3(?:Model)?$ ^GraniteSpeech(?:Plus)?(?:Model)?$
    ^SpeechT5(?:Model)?$ ^PaliGemma(?:Model)?$ ^Gemma[34]n?(?:Model)?$ ^Mistral3(?:Model)?$
    ^DeepseekVL(?:Hybrid)?(?:Model)?$ ^DeepseekOcr2(?:Model)?$ ^Phi4Multimodal(?:Model)?$
    ^Qwen\w+?(?:VL|Omni|ASR)(?:Moe)?(?:Thinker)?(?:Model)?$
    ^G[Ll][Mm]\w+?(?:[Vv]|Asr|Ocr|Image)(?:Moe)?(?:Model)?$ ^Lfm\dVl(?:Model)?$
    ^Kimi_K25(?:Model)?$ ^Blip2(?:Model)?$ ^InstructBlip(?:Model)?$ ^BlipFor\w+(?:Model)?$
    """
)

# Detectors, segmenters, CNNs, forecasters.
_OTHER = any_of(
    r"""
    Detr(?![a-z]) DETR DFine Deimv2 GroundingDino OmDet Mask2?Former OneFormer PPDocLayout PPOCR
    TableTransformer For\w*Detection For\w*Segmentation For\w*Estimation For\w*Matting
    For\w*Recognition (?:Class|Box|MLP)PredictionHead ZoeDepth DPT(?:Neck|Head|Feature|Reass)
    Dpt UperNet MaskDecoder PixelDecoder SegDecoder SimpleDecoder ClassicDecoder HieraDecoder
    MAEDecoder GLPNDecoder SegGptDecoder [a-z]{3}torDecoder PointDecoder AtomDecoder
    Perceiver\w+Decoder DecodeHead DecoderPostnet (?:En|De)coder[123][Dd]
    (?:Up|Down|Mid)\w*Block Conv(?:Encoder|Model) (?<!DINOv3)ConvNe[Xx]t Res[Nn]e[tsXx](?!Block)
    EfficientNet MobileNet RegNet DenseNet VGG Inception HGNet LCNet DarkNet Xception TextNet
    SENet ^Bit(?!Net)[A-Z] TimeSeries TimesFm PatchTS Autoformer Informer(?=[A-Z])
    ^Sam\d?(?:HQ|Video|Tracker|TrackerVideo|LiteText)?Model$
    ^EdgeTam(?:HQ|Video|Tracker|TrackerVideo|LiteText)?Model$ MemoryAttention DotProduct
    JointNetwork DiffusionHead HiFi UnivNet Diffusion(?!Gemma) Generator(?!For) Synthesi[sz]er
    Denois CNN (?:Image|Video|Audio)(?:Classifier|Decoder)$ ^Decoder$
    """
)

# Text encoders: the text towers of CLIP and similar models.
_TEXT_TOWER = any_of(
    r"""
    CLIP(?:Seg)?Text ClapText Siglip2?Text Aimv2Text AlignText BlipText BridgeTowerText
    FlavaText GroupViTText Owl(?:ViT|v2)Text Tipsv2Text VideoPrismText LiteTextText Data2VecText
    MetaClip2Text VitsText TextEncoder DualEncoder
    """
)

# Words in the class names of language models and their layers.
_LANGUAGE = any_of(
    r"""
    LMHead LanguageModel(?!Encoder) Decoder GatedCrossAttention ^Git(?!Vision|Projection) ^Blt
    Talker SpeechToText CodePredictor
    (?<!^)(?<!Lite)(?<!To)(?<!With)Text(?=Mo|Transformer|MLP|Attention|Layer|Block|Expert|Sparse)
    (?<!^)(?<!Lite)(?<!To)(?<!With)Text(?=Gated|Top|Rotary|RMSNorm|Scaled|Embed|PLE|Linear)
    """
)

# Words and families of encoders. Words start with a capital: `LlavaOnevision` is not `Vision`.
_ENCODER = any_of(
    r"""
    Vision Visual Image(?!GPT) Video Audio Speech(?!T5) Protein Diarization Encoder [Pp]rojector
    MultimodalProjection MultimodalEmbedder Aligner(?:MLP)?$ Connector$ Resampler Q[Ff]ormer
    ViT(?![a-z]) V[Ii]t(?=[A-Z\d]|$) ViViT Vivit (?i:siglip|bert|dino|wav2vec|swin)
    C[Ll][Ii][Pp](?![a-z]) Electra Clap(?=[A-Z]) Hubert WavLM ^SEW UniSpeech ^AST(?![a-z])
    Parakeet Lasr Beit BEiT DeiT ^Eva(?![a-z]) Hiera IJepa VJEPA Pixtral Radio(?=[A-Z]) Levit
    Dinat Xcit ^Cait Twins MlpMixer PyramidVision Aimv2 Tipsv2 Align(?=Model|Vision) Blip Flava
    Owl(?=ViT|v2) BERT Roberta MPNet ^Longformer ^BigBird(?!Pegasus) ^Funnel ^FNet ^Gte
    ^Splinter ^Luke ^Layout ^Tapas ^Canine ^DPR ^Esm ^RoFormer ^Nystrom ^Yoso ^Tvp ^Vilt ^Lxmert
    ^JinaEmb
    """
)

# Families of language models whose class names have none of the words above.
_FAMILY = any_of(
    r"""
    ^(?:Diff)?Llama ^Mi(?:ni)?stral ^Mixtral ^Qwen ^(?:Vault|Recurrent|Embedding|Pali)?Gemma
    ^(?:Open[Aa][Ii])?G[Pp][Tt] ^CodeGen ^Phi(?![a-ln-z]) ^(?:Falcon)?Mamba(?!Out) ^Falcon
    ^OPT[A-Z] ^Bloom ^Deep[Ss]eek(?!Vit) ^(?:Flex)?Olmo ^Cohere ^Granite ^(?:Chat)?G[Ll][Mm]
    ^StableLm ^Starcoder ^Nemotron ^[JZB]amba ^L[Ff][Mm]\d ^Exaone ^R[Ww][Kk][Vv] ^xLSTM
    ^M[Pp][Tt][A-Z] ^Dbrx ^Baichuan ^InternLM ^SmolLM ^MiniMax ^MiniCPM ^Kimi ^Ernie4 ^HunYuan
    ^HYV ^Persimmon ^CTRL ^XGLM ^BioGpt ^Helium ^Jais ^Apertus ^Arcee ^Doge ^Dots1 ^Longcat
    ^SeedOss ^JetMoe ^NanoChat ^BitNet ^CpmAnt ^Bark(?:Semantic|Coarse|Causal) ^Moshi ^Csm
    """
)

# The first match counts.
_WHOLES: tuple[tuple[re.Pattern[str], Component | None], ...] = (
    (_WHOLE_OTHER, "other"),
    (_WHOLE_ENCODER, "encoder"),
    (_GENERATES, "language_model"),
    (COMPOSITE, None),
    (_OTHER, "other"),
)
_WORDS: tuple[tuple[re.Pattern[str], Component], ...] = (
    (re.compile("LMHead"), "language_model"),
    (_TEXT_TOWER, "encoder"),
    (_LANGUAGE, "language_model"),
    (_ENCODER, "encoder"),
    (_FAMILY, "language_model"),
)

_TASK = re.compile(r"For[A-Z]\w*$")  # the task, not the model: ShieldGemma2ForImageClassification


@functools.lru_cache(maxsize=1024)
def component_of_whole(name: str) -> Component | None:
    """Return the component of everything in a module of this class; ``None`` if undecided."""
    if _WHOLE_OTHER.search(name):
        return "other"
    return "encoder" if _WHOLE_ENCODER.search(name) else None


@functools.lru_cache(maxsize=1024)
def component_of_class(name: str) -> Component | None:
    """Return the component that a class name suggests; ``None`` if it suggests none."""
    for pattern, component in _WHOLES:
        if pattern.search(name):
            return component
    name = _TASK.sub("", name)
    return next((component for pattern, component in _WORDS if pattern.search(name)), None)
