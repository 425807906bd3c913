"""A server in miniature: a vision tower and a language model, compiled and called.

Run it with `compilespan run python serve.py`.
"""

import torch


class VisionTower(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.TransformerEncoder(
            torch.nn.TransformerEncoderLayer(64, 4, batch_first=True), num_layers=2
        )

    def forward(self, pixels):
        return self.layers(pixels).mean(1)


class LanguageModel(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens = torch.nn.Embedding(100, 64)
        self.head = torch.nn.Linear(64, 100)

    def forward(self, ids, image):
        hidden = self.tokens(ids) + image[:, None]
        print("tokens:", ids.shape[1])  # Dynamo ends a graph here
        return self.head(hidden)


@torch.inference_mode()
def main():
    vision_tower = torch.compile(VisionTower().eval())
    language_model = torch.compile(LanguageModel().eval())
    for batch in (2, 3):  # the second batch size compiles again
        images = vision_tower(torch.randn(batch, 16, 64))
        language_model(torch.zeros(1, 8, dtype=torch.long), images[:1])


main()
