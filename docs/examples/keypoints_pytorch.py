"""Find a bright spot in an image by classification, in PyTorch.

python docs/examples/keypoints_pytorch.py
"""

import torch
from torch import nn

from uld_jax import labels

SIDE, CELLS = 32, 8  # Pixels, and cells of 4 x 4 pixels.
BOX = [SIDE, SIDE]


def draw(count):
    """Draw images [B, 1, 32, 32] and where their spots are, (x, y) in pixels [B, 2]."""
    spots = SIDE * torch.rand(count, 2)
    pixels = torch.arange(SIDE) + 0.5
    x, y = torch.exp(-(((pixels - spots[..., None]) / 2) ** 2)).unbind(1)
    images = y[:, None, :, None] * x[:, None, None, :]
    return images + 0.3 * torch.randn_like(images), spots


def main(steps=600):
    """Train, test, and print the mean error in pixels."""
    torch.manual_seed(0)
    network = nn.Sequential(
        *(nn.Conv2d(1, 8, 5, stride=2, padding=2), nn.ReLU(), nn.Flatten()),
        *(nn.Linear(8 * (SIDE // 2) ** 2, 128), nn.ReLU()),
        *(nn.Linear(128, (CELLS + 1) ** 2), nn.Unflatten(1, (CELLS + 1, CELLS + 1))),
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    for _ in range(steps):
        images, spots = draw(128)
        target = labels.encode_uld(spots, BOX, CELLS)
        loss = labels.cross_entropy(network(images), target, num_axes=2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    errors = {}
    with torch.no_grad():
        images, spots = draw(1000)
        joint = network(images).flatten(1).softmax(1).reshape(-1, CELLS + 1, CELLS + 1)
        for decode in (labels.decode_wad, labels.decode_argmax):
            off = torch.linalg.norm(decode(joint, BOX) - spots, dim=1)
            errors[decode.__name__] = float(off.mean())
            print(f"{decode.__name__}: {errors[decode.__name__]:.2f} pixels")
    return errors


if __name__ == "__main__":
    main()
