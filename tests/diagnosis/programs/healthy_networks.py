"""Healthy trainings of different networks: dense, convolutional, recurrent, residual, attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tests.diagnosis.programs.data import digits, text, waves
from tests.diagnosis.programs.fitting import fit
from tests.diagnosis.programs.networks import ConvBlock, Recurrent, TextLSTM, Transformer, cnn, he, mlp, residual
from tests.diagnosis.programs.program import Lab, healthy

OneCycle = torch.optim.lr_scheduler.OneCycleLR
Cosine = torch.optim.lr_scheduler.CosineAnnealingLR


@healthy
def mlp_sgd(lab: Lab) -> None:
    """Two dense layers, plain SGD."""
    model = mlp(64, 48, 10)
    fit(lab, model, torch.optim.SGD(model.parameters(), 0.2), digits(lab.seed), classes=10)


@healthy
def mlp_momentum(lab: Lab) -> None:
    """Three dense layers, SGD with Nesterov momentum."""
    model = mlp(64, 48, 48, 10)
    optimizer = torch.optim.SGD(model.parameters(), 0.03, momentum=0.9, nesterov=True)
    fit(lab, model, optimizer, digits(lab.seed), classes=10)


@healthy
def mlp_adam(lab: Lab) -> None:
    """Three dense layers, Adam."""
    model = mlp(64, 64, 64, 10)
    fit(lab, model, torch.optim.Adam(model.parameters(), 1e-3), digits(lab.seed), classes=10)


@healthy
def mlp_adamw_cosine(lab: Lab) -> None:
    """AdamW with a cosine schedule."""
    model = mlp(64, 64, 64, 10)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3, weight_decay=0.05)
    fit(lab, model, optimizer, digits(lab.seed), schedule=Cosine(optimizer, 240), classes=10)


@healthy
def mlp_dropout(lab: Lab) -> None:
    """Dropout of a half."""
    model = mlp(64, 128, 128, 10, dropout=0.5)
    fit(lab, model, torch.optim.Adam(model.parameters(), 1e-3), digits(lab.seed), steps=300, classes=10)


@healthy
def mlp_batch_norm(lab: Lab) -> None:
    """Batch normalization after biased layers, whose biases get no gradient to speak of."""
    model = mlp(64, 64, 64, 10, norm=True)
    fit(lab, model, torch.optim.SGD(model.parameters(), 0.05, momentum=0.9), digits(lab.seed), classes=10)


@healthy
def mlp_tanh(lab: Lab) -> None:
    """Tanh layers."""
    model = mlp(64, 48, 48, 10, activation=nn.Tanh)
    fit(lab, model, torch.optim.Adam(model.parameters(), 2e-3), digits(lab.seed), classes=10)


@healthy
def mlp_sigmoid(lab: Lab) -> None:
    """One hidden sigmoid layer."""
    model = mlp(64, 48, 10, activation=nn.Sigmoid)
    fit(lab, model, torch.optim.Adam(model.parameters(), 5e-3), digits(lab.seed), classes=10)


@healthy
def mlp_deep_he(lab: Lab) -> None:
    """Eight ReLU layers with He's initialization."""
    model = he(mlp(64, *[48] * 7, 10))
    fit(lab, model, torch.optim.Adam(model.parameters(), 1e-3), digits(lab.seed), classes=10)


@healthy
def mlp_gelu_layer_norm(lab: Lab) -> None:
    """GELU and layer normalization, AdamW."""
    model = nn.Sequential(
        nn.Linear(64, 64),
        nn.LayerNorm(64),
        nn.GELU(),
        nn.Linear(64, 64),
        nn.LayerNorm(64),
        nn.GELU(),
        nn.Linear(64, 10),
    )
    fit(lab, model, torch.optim.AdamW(model.parameters(), 2e-3), digits(lab.seed), classes=10)


@healthy
def cnn_adam(lab: Lab) -> None:
    """A convolutional network without normalization, Adam."""
    model = cnn(norm=False)
    fit(lab, model, torch.optim.Adam(model.parameters(), 3e-3), digits(lab.seed, images=True), classes=10)


@healthy
def cnn_step_decay(lab: Lab) -> None:
    """SGD whose learning rate falls to a tenth twice: the loss lies on plateaus."""
    model = cnn()
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [150, 230])
    fit(lab, model, optimizer, digits(lab.seed, images=True), steps=300, schedule=schedule, classes=10)


@healthy
def cnn_one_cycle(lab: Lab) -> None:
    """One cycle of the learning rate, AdamW, convolutions with a bias before batch normalization."""
    model = cnn(bias=True)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2, weight_decay=0.02)
    schedule = OneCycle(optimizer, 1e-2, 240)
    fit(lab, model, optimizer, digits(lab.seed, images=True), schedule=schedule, classes=10)


@healthy
def cnn_rmsprop(lab: Lab) -> None:
    """RMSprop."""
    model = cnn()
    fit(lab, model, torch.optim.RMSprop(model.parameters(), 2e-3), digits(lab.seed, images=True), classes=10)


@healthy
def resnet(lab: Lab) -> None:
    """A small ResNet with batch normalization."""
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), *(ConvBlock(16) for _ in range(3)),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9, weight_decay=1e-4)
    data = digits(lab.seed, images=True)
    fit(lab, model, optimizer, data, steps=200, schedule=Cosine(optimizer, 200), classes=10)


@healthy
def residual_deep(lab: Lab) -> None:
    """Twelve pre-norm residual blocks."""
    model = residual(12)
    fit(lab, model, torch.optim.Adam(model.parameters(), 1e-3), digits(lab.seed), steps=200, classes=10)


@healthy
def lstm_waves(lab: Lab) -> None:
    """An LSTM tells waves apart, clipped."""
    model = Recurrent(nn.LSTM, 1, 24, 3)
    fit(lab, model, torch.optim.Adam(model.parameters(), 5e-3), waves(lab.seed), clip=1.0, classes=3)


@healthy
def gru_waves(lab: Lab) -> None:
    """A GRU tells waves apart, with a learning rate that decays."""
    model = Recurrent(nn.GRU, 1, 24, 3)
    optimizer = torch.optim.Adam(model.parameters(), 4e-3)
    fit(lab, model, optimizer, waves(lab.seed), schedule=Cosine(optimizer, 240), clip=1.0, classes=3)


@healthy
def tanh_rnn_waves(lab: Lab) -> None:
    """A plain recurrent network with clipping."""
    model = Recurrent(nn.RNN, 1, 32, 3)
    nn.init.orthogonal_(model.rnn.weight_hh_l0)
    fit(lab, model, torch.optim.Adam(model.parameters(), 1e-2), waves(lab.seed, length=10), clip=1.0, classes=3)


def warm_up(optimizer: torch.optim.Optimizer, steps: int, total: int) -> torch.optim.lr_scheduler.LambdaLR:
    """A linear rise, then a linear fall to zero at the end."""
    rise = torch.optim.lr_scheduler.LambdaLR
    return rise(optimizer, lambda s: min((s + 1) / steps, max(0.0, (total - s) / (total - steps))))


@healthy
def transformer_text(lab: Lab) -> None:
    """A pre-norm transformer language model: warm-up, AdamW, clipping at 1."""
    model = Transformer()
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3, weight_decay=0.1)
    schedule = warm_up(optimizer, 20, 160)
    fit(lab, model, optimizer, text(lab.seed), steps=160, schedule=schedule, clip=1.0, classes=16)


@healthy
def transformer_post_norm(lab: Lab) -> None:
    """A post-norm transformer with warm-up."""
    model = Transformer(norm_first=False)
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    fit(lab, model, optimizer, text(lab.seed), steps=160, schedule=warm_up(optimizer, 40, 160), classes=16)


@healthy
def lstm_text(lab: Lab) -> None:
    """An LSTM language model with SGD at a high learning rate and clipping."""
    model = TextLSTM()
    fit(lab, model, torch.optim.SGD(model.parameters(), 2.0), text(lab.seed), steps=160, clip=0.25, classes=16)


@healthy
def transformer_classifies(lab: Lab) -> None:
    """A transformer over the rows of a digit, with learnt positions and mean pooling."""

    class Rows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.place = nn.Linear(8, 32), nn.Parameter(torch.zeros(8, 32))
            self.block = nn.TransformerEncoderLayer(32, 4, 64, 0.1, batch_first=True)
            self.head = nn.Linear(32, 10)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.block(self.embed(x.reshape(-1, 8, 8)) + self.place).mean(1))

    model = Rows()
    fit(lab, model, torch.optim.AdamW(model.parameters(), 3e-3), digits(lab.seed), steps=200, classes=10)
