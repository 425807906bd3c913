"""Starts an offline engine: ``start.py MODEL [JSON of LLM's options]``."""

from __future__ import annotations

import json
import sys

if __name__ == "__main__":
    from vllm import LLM

    options = {
        "load_format": "dummy",
        "skip_tokenizer_init": "llama" in sys.argv[1],
        "max_model_len": 256,
        "max_num_seqs": 4,
        "max_num_batched_tokens": 256,
        **json.loads(sys.argv[2] if len(sys.argv) > 2 else "{}"),
    }
    LLM(sys.argv[1], **options)
    print("READY", flush=True)
