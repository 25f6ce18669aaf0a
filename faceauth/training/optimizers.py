"""Optimisers by name, with weight decay where it belongs."""

from collections.abc import Callable

from torch import nn, optim

from faceauth.registry import Registry
from faceauth.training.settings import OptimizerSettings

OPTIMIZERS: Registry[Callable[[list[dict], OptimizerSettings], optim.Optimizer]] = Registry(
    "optimizer", package="faceauth.training.optimizers"
)


@OPTIMIZERS.register("sgd")
def sgd(parameters: list[dict], settings: OptimizerSettings) -> optim.Optimizer:
    """Stochastic gradient descent with momentum, the original's choice."""
    return optim.SGD(parameters, lr=settings.learning_rate, momentum=settings.momentum)


@OPTIMIZERS.register("adamw")
def adamw(parameters: list[dict], settings: OptimizerSettings) -> optim.Optimizer:
    """Adam with decoupled weight decay (arXiv 1711.05101)."""
    return optim.AdamW(parameters, lr=settings.learning_rate, betas=(settings.momentum, 0.999))


def build_optimizer(model: nn.Module, settings: OptimizerSettings) -> optim.Optimizer:
    """Builds the optimiser over all parameters that learn.

    Biases and normalisation layers, which have one dimension, are not decayed.

    Args:
        model: The network.
        settings: Name, rate, momentum and decay.

    Raises:
        UnknownNameError: There is no optimiser of that name.
    """
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    parameters = [
        {"params": [p for p in learning if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in learning if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return OPTIMIZERS.get(settings.name)([group for group in parameters if group["params"]], settings)
