"""The convolutional network of benchmarks.digits trained by Adam in PyTorch, on the objective of the convex one."""

from convexnn.networks.network import ConvNetwork

__all__ = ["import_torch", "train_adam"]

# Samples of a batch.
BATCH = 100


def import_torch():
    """Return PyTorch, or None where it is not installed."""
    try:
        import torch
    except ImportError:
        return None
    return torch


def train_adam(patches, loss, images, targets, *, alpha, rate, seed, epochs, n_filters):
    """Return the `ConvNetwork` of Adam: minibatches, the learning rate falling to zero as a cosine.

    Filter j has an output weight for the class j modulo their number alone, as the l1 norm of the convex program has
    it at its optimum.
    """
    torch = import_torch()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(seed)
    Y = torch.tensor(targets, dtype=torch.float32)
    X = torch.tensor(images, dtype=torch.float32).reshape(-1, *patches.input_shape)
    n, n_outputs, m = len(X), Y.shape[1], n_filters
    mask = torch.eye(n_outputs).repeat(-(-m // n_outputs), 1)[:m]
    W1 = torch.randn(m, 1, *patches.kernel_size, generator=generator) / 3
    signs = torch.where(torch.rand(m, 1, generator=generator) < 0.5, -1.0, 1.0)
    values = (W1, torch.zeros(m), signs * mask, torch.zeros(n_outputs))
    parameters = [value.requires_grad_() for value in values]
    W1, b1, W2, b2 = parameters
    optimizer = torch.optim.Adam(parameters, lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for _ in range(epochs):
        for batch in torch.randperm(n, generator=generator).split(BATCH):
            hidden = torch.relu(torch.nn.functional.conv2d(X[batch], W1, b1)).mean((2, 3))
            losses = torch_losses(torch, loss, hidden @ (W2 * mask) + b2, Y[batch])
            decay = (W1**2).sum() + (b1**2).sum() + ((W2 * mask) ** 2).sum()
            optimizer.zero_grad()
            (n / len(batch) * losses + alpha / 2 * decay).backward()
            optimizer.step()
        schedule.step()
    W1, b1, W2, b2 = (value.detach().double().numpy() for value in (W1, b1, W2 * mask, b2))
    return ConvNetwork(W1.reshape(m, -1).T, b1, W2, b2, patches, output_penalty="l1")


def torch_losses(torch, loss, Z, Y):
    """Return the sum of the losses of predictions."""
    if loss == "log_loss":
        return torch.nn.functional.softplus(-Y * Z).sum()
    return (torch.logsumexp(Z, 1) - (Y * Z).sum(1)).sum()
