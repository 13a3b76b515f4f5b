"""Images stored as integers, and rows of them drawn as one picture."""

import numpy as np


def pixels(images) -> list:
    """Images in [0, 1], (n, height, width, 1), as integers 0 … 255, (n, height, width)."""
    return np.round(255 * np.clip(np.asarray(images)[..., 0], 0, 1)).astype(int).tolist()


def show_rows(ax, rows: dict[str, list], gap: int = 1) -> None:
    """Rows of images of the same size, black on white, with the name of each row on its left."""
    sheets = [np.concatenate([_framed(image, gap) for image in images], 1) for images in rows.values()]
    height = sheets[0].shape[0]
    ax.imshow(np.concatenate(sheets), cmap="gray_r", vmin=0, vmax=255, interpolation="nearest")
    ax.set_yticks([height * (i + 0.5) - 0.5 for i in range(len(rows))], rows)
    ax.set_xticks([])
    ax.tick_params(length=0)
    ax.grid(False)
    ax.spines[:].set_visible(False)


def _framed(image, gap):
    image = np.asarray(image)
    fine = max(1, 32 // len(image))  # enlarges small images, so that the gaps are narrow
    return np.pad(np.kron(image, np.ones((fine, fine), int)), gap, constant_values=60)
