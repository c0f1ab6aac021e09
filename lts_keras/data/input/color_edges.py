"""Which neighbouring cells of a photo have the same colour: what a mask is taught by, where a box alone is known."""

import tensorflow as tf

__all__ = ["OFFSETS", "cell_colors", "color_edges"]

OFFSETS = ((0, 2), (2, 0), (2, 2), (2, -2))
"""Rows and columns from a cell to its neighbours, one of each pair, two cells away as in BoxInst (dilation 2)."""
_MOST_APART = 2.4079
"""In CIELAB: BoxInst's similarity `exp(-distance / 2)` of at least 0.3."""
_STRIDE = 4
_XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
_WHITE = (0.95047, 1.0, 1.08883)


def cell_colors(image):
    """Mean colour of each cell of stride 4, in CIELAB (D65): L from 0 to 100.

    Args:
        image: float32 `(size, size, 3)` or `(batch, size, size, 3)`, sRGB in 0..1.

    Returns:
        float32 `(size / 4, size / 4, 3)`, or with the batch in front.

    Reference:
     - Tian et al., "BoxInst: High-Performance Instance Segmentation with Box Annotations", CVPR 2021, section 3.2.
    """
    if image.shape.rank == 3:
        return cell_colors(image[None])[0]
    mean = tf.nn.avg_pool2d(image, _STRIDE, _STRIDE, "VALID")
    linear = tf.where(mean > 0.04045, ((mean + 0.055) / 1.055) ** 2.4, mean / 12.92)
    xyz = tf.tensordot(linear, tf.transpose(tf.constant(_XYZ)), 1) / tf.constant(_WHITE)
    f = tf.where(xyz > 0.008856, tf.maximum(xyz, 1e-6) ** (1 / 3), 7.787 * xyz + 16 / 116)
    x, y, z = tf.unstack(f, axis=-1)
    return tf.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def color_edges(colors):
    """Marks the neighbours of each cell that have its colour.

    Args:
        colors: float32 `(cells, cells, 3)`, from `cell_colors`.

    Returns:
        float32 `(cells, cells, 4)` of 0 and 1, one channel for each of `OFFSETS`; 0 where the neighbour lies outside.
    """
    cells = tf.shape(colors)[0]
    place = tf.range(cells)
    edges = []
    for rows, columns in OFFSETS:
        distance = tf.norm(colors - tf.roll(colors, (-rows, -columns), (0, 1)), axis=-1)
        inside = (place + rows < cells)[:, None] & ((place + columns >= 0) & (place + columns < cells))[None]
        edges.append(tf.cast((distance <= _MOST_APART) & inside, tf.float32))
    return tf.stack(edges, axis=-1)
