"""torchvision's AlexNet, GoogLeNet and vision transformer in plain torch.nn, with the same names in state_dicts."""

from collections import OrderedDict

import torch
from torch import nn
from torch.nn import functional as F


def named(**parts):
    return nn.Sequential(OrderedDict(parts))


def alexnet(classes):
    conv = lambda *sizes, **settings: (nn.Conv2d(*sizes, **settings), nn.ReLU())
    return named(
        features=nn.Sequential(
            *conv(3, 64, 11, stride=4, padding=2), nn.MaxPool2d(3, 2), *conv(64, 192, 5, padding=2), nn.MaxPool2d(3, 2),
            *conv(192, 384, 3, padding=1), *conv(384, 256, 3, padding=1), *conv(256, 256, 3, padding=1),
            nn.MaxPool2d(3, 2)),
        avgpool=nn.AdaptiveAvgPool2d(6),
        flatten=nn.Flatten(),
        classifier=nn.Sequential(
            nn.Dropout(), nn.Linear(9216, 4096), nn.ReLU(), nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU(),
            nn.Linear(4096, classes)),
    )  # fmt: skip


def normalised_conv(channels, width, size, stride=1):
    return named(
        conv=nn.Conv2d(channels, width, size, stride, padding=size // 2, bias=False),
        bn=nn.BatchNorm2d(width, eps=0.001),
        relu=nn.ReLU(),
    )


class Inception(nn.Module):
    def __init__(self, channels, one, three, five, pooled):
        super().__init__()
        reduced = lambda widths: nn.Sequential(normalised_conv(channels, widths[0], 1), normalised_conv(*widths, 3))
        self.branch1 = normalised_conv(channels, one, 1)
        self.branch2, self.branch3 = reduced(three), reduced(five)  # torchvision uses kernels of 3 instead of 5
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, padding=1), normalised_conv(channels, pooled, 1))

    def forward(self, x):
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class AuxiliaryHead(nn.Module):
    """`pool` replaces torchvision's adaptive pooling to 4 × 4."""

    def __init__(self, channels, classes, pool):
        super().__init__()
        self.pool, self.conv = pool, normalised_conv(channels, 128, 1)
        self.fc1, self.fc2 = nn.Linear(2048, 1024), nn.Linear(1024, classes)

    def forward(self, x):
        return self.fc2(F.relu(self.fc1(self.conv(self.pool(x)).flatten(1))))


class GoogLeNet(nn.Module):
    """→ (logits, logits of 4a, logits of 4d), as jaxdl's GoogLeNet with auxiliary heads."""

    def __init__(self, classes, pool):
        super().__init__()
        self.conv1, self.conv2 = normalised_conv(3, 64, 7, 2), normalised_conv(64, 64, 1)
        self.conv3 = normalised_conv(64, 192, 3)
        self.inception3a = Inception(192, 64, (96, 128), (16, 32), 32)
        self.inception3b = Inception(256, 128, (128, 192), (32, 96), 64)
        self.inception4a = Inception(480, 192, (96, 208), (16, 48), 64)
        self.inception4b = Inception(512, 160, (112, 224), (24, 64), 64)
        self.inception4c = Inception(512, 128, (128, 256), (24, 64), 64)
        self.inception4d = Inception(512, 112, (144, 288), (32, 64), 64)
        self.inception4e = Inception(528, 256, (160, 320), (32, 128), 128)
        self.inception5a = Inception(832, 256, (160, 320), (32, 128), 128)
        self.inception5b = Inception(832, 384, (192, 384), (48, 128), 128)
        self.aux1, self.aux2 = AuxiliaryHead(512, classes, pool), AuxiliaryHead(528, classes, pool)
        self.fc = nn.Linear(1024, classes)

    def forward(self, x):
        pool = lambda x, size=3: F.max_pool2d(x, size, 2, ceil_mode=True)
        x = pool(self.conv3(self.conv2(pool(self.conv1(x)))))
        at_4a = self.inception4a(pool(self.inception3b(self.inception3a(x))))
        at_4d = self.inception4d(self.inception4c(self.inception4b(at_4a)))
        x = self.inception5b(self.inception5a(pool(self.inception4e(at_4d), 2)))
        return self.fc(x.mean((2, 3))), self.aux1(at_4a), self.aux2(at_4d)


class EncoderBlock(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width, 1e-6), nn.LayerNorm(width, 1e-6)
        self.self_attention = nn.MultiheadAttention(width, heads, batch_first=True)
        wide, narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.mlp = nn.Sequential(wide, nn.GELU(), nn.Dropout(0.0), narrow, nn.Dropout(0.0))

    def forward(self, x):
        y = self.ln_1(x)
        x = x + self.self_attention(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))


class Encoder(nn.Module):
    def __init__(self, tokens, width, depth, heads):
        super().__init__()
        self.pos_embedding = nn.Parameter(0.02 * torch.randn(1, tokens, width))
        self.layers = named(**{f"encoder_layer_{i}": EncoderBlock(width, heads) for i in range(depth)})
        self.ln = nn.LayerNorm(width, 1e-6)

    def forward(self, x):
        return self.ln(self.layers(x + self.pos_embedding))


class VisionTransformer(nn.Module):
    def __init__(self, classes, size, patch, width, depth, heads):
        super().__init__()
        self.class_token = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.conv_proj = nn.Conv2d(3, width, patch, patch)
        self.encoder = Encoder(1 + (size // patch) ** 2, width, depth, heads)
        self.heads = named(head=nn.Linear(width, classes))

    def forward(self, x):
        patches = self.conv_proj(x).flatten(2).mT
        tokens = torch.cat([self.class_token.expand(len(x), -1, -1), patches], 1)
        return self.heads(self.encoder(tokens)[:, 0])
