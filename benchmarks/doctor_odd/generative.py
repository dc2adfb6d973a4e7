"""Healthy generative programs that look sick: two losses that fight, and a loss that is made to rise.

Shapes: N pictures of 64 pixels, Z latent numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from doctor_odd.odd import Odd
from doctor_odd.pictures import digits
from selfsight.program import Program

# H19: a GAN (Goodfellow et al. 2014); neither loss tells whether the pictures get better.


class Gan(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.generator = nn.Sequential(
            nn.Linear(16, 96),
            nn.BatchNorm1d(96),
            nn.ReLU(),
            nn.Linear(96, 96),
            nn.BatchNorm1d(96),
            nn.ReLU(),
            nn.Linear(96, 64),
            nn.Sigmoid(),
        )
        self.critic = nn.Sequential(nn.Linear(64, 96), nn.LeakyReLU(0.2), nn.Dropout(0.3), nn.Linear(96, 1))

    def sample(self, count: int) -> Tensor:
        return self.generator(torch.randn(count, 16))


def two_losses(model: Any, real: Tensor) -> tuple[Tensor, Tensor]:
    """What the critic minimises, and what the generator minimises (the non-saturating form)."""
    fake = model.sample(len(real))
    critic = F.softplus(-model.critic(real)).mean() + F.softplus(model.critic(fake.detach())).mean()
    return critic, F.softplus(-model.critic(fake)).mean()


def alternate(model: Any, optimizer: torch.optim.Optimizer, real: Tensor) -> tuple[float, float]:
    """Both move at once, each by its own loss only."""
    critic, generator = two_losses(model, real)
    optimizer.zero_grad()
    critic.backward(inputs=list(model.critic.parameters()))
    generator.backward(inputs=list(model.generator.parameters()))
    optimizer.step()
    return critic.item(), generator.item()


def gan() -> Program:
    def real_pictures() -> Iterator[Tensor]:
        pictures = digits()[0].flatten(1)
        for rows in torch.randperm(len(pictures)).split(64)[:-1]:
            yield pictures[rows]

    return Program(
        batches=real_pictures,
        model=Gan,
        loss=lambda model, real: sum(two_losses(model, real), torch.zeros(())),
        optimizer=lambda model: torch.optim.Adam(model.parameters(), lr=2e-3, betas=(0.5, 0.999)),
        step=alternate,
        planned_steps=5000,
    )


def likeness(model: Any) -> float:
    """Minus the energy distance between 300 samples and 300 held-out digits; 0 is the same distribution."""
    real, fake = digits()[2].flatten(1)[:300], model.sample(300)
    return -(
        2 * torch.cdist(real, fake).mean() - torch.cdist(real, real).mean() - torch.cdist(fake, fake).mean()
    ).item()


# H23: a VAE whose second term is turned up from 0: the loss that is printed rises while the model learns.


class VAE(nn.Module):
    def __init__(self, latent: int = 8, warm_up: int = 300) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 2 * latent))
        self.decoder = nn.Sequential(nn.Linear(latent, 96), nn.ReLU(), nn.Linear(96, 64))
        self.warm_up = warm_up
        self.register_buffer("steps_done", torch.tensor(0))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, log_var = self.encoder(x.flatten(1)).chunk(2, 1)
        z = mean + torch.randn_like(mean) * torch.exp(0.5 * log_var)
        return self.decoder(z), mean, log_var

    @property
    def beta(self) -> Tensor:
        return (self.steps_done / self.warm_up).clamp(max=1.0)


def bound(model: Any, x: Tensor) -> Tensor:
    """The negative evidence bound in nats per picture, its second term weighted."""
    logits, mean, log_var = model(x)
    reconstruction = F.binary_cross_entropy_with_logits(logits, x.flatten(1), reduction="none").sum(1)
    divergence = 0.5 * (mean.square() + log_var.exp() - 1 - log_var).sum(1)
    return (reconstruction + model.beta * divergence).mean()


def vae() -> Program:
    def train_step(model: Any, optimizer: torch.optim.Optimizer, x: Tensor) -> Tensor:
        optimizer.zero_grad()
        loss = bound(model, x)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 100.0)
        optimizer.step()
        model.steps_done += 1
        return loss.detach()

    return Program(
        batches=lambda: DataLoader(digits()[0], batch_size=64, shuffle=True),
        model=VAE,
        loss=bound,
        optimizer=lambda model: torch.optim.Adam(model.parameters(), lr=3e-3),
        step=train_step,
        embed=lambda model, x: model.encoder(x.flatten(1))[:, :8],
        planned_steps=2000,
    )


def redrawn(model: Any) -> float:
    """The share of the held-out digits' variance about the mean digit that is redrawn rightly."""
    held = digits()[2].flatten(1)
    missed = (torch.sigmoid(model(held[:, None])[0]) - held).square().mean()
    return 1 - (missed / (held - digits()[0].flatten(1).mean(0)).square().mean()).item()


ODD = (
    Odd(
        id="H19",
        name="two losses that fight",
        program=gan,
        why="The losses hover and rise, and each gradient reaches one half of the net only: the game is meant so.",
        metric=likeness,
        baseline=likeness,
        steps=150,
    ),
    Odd(
        id="H23",
        name="a term that is warmed up",
        program=vae,
        why="The printed loss rises for many steps, for the weight of its second term does.",
        metric=redrawn,
        baseline=0.1,
        steps=200,
    ),
)
