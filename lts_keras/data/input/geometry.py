"""Photo to square and back: decoding, letterbox, masks, boxes and points. Graph operations alone.

Training, evaluation and the served graph share these functions.
"""

import tensorflow as tf

from lts_keras.data.input.placement import crop, letterbox_box, pad, place, to_square
from lts_keras.data.orientation import exif_orientation, upright

__all__ = [
    "FILL",
    "cover",
    "cover_box",
    "decode_image",
    "letterbox_box",
    "letterbox_box_mask",
    "letterbox_boxes",
    "letterbox_image",
    "letterbox_mask",
    "letterbox_points",
    "pad_square",
    "place_image",
    "resize_image",
    "restore_points",
    "restore_probabilities",
    "target",
]

FILL = 0.5
"""Grey around the photo, in 0..1."""

# The share of a cell is a sum of rounded products; without a tolerance rounding decides the exact ties, which are
# common: a cell cut in half by a straight edge.
_TIE = 1e-4


def decode_image(image_bytes, orientation=None):
    """Decodes a JPEG or PNG file (also BMP, and the first frame of a GIF) and turns it upright.

    Grey pictures get three equal channels, 16 bits a channel become 8, palettes their colours. A transparent picture is
    laid over the grey of the letterbox, as what lies under transparent pixels is undefined; alpha that is the same
    everywhere counts as opaque.

    Args:
        image_bytes: string scalar.
        orientation: EXIF code of the turn that is applied, an int or an integer scalar: for a photo out of a record,
            the one that its masks were read in. The photo's own if `None`.

    Returns:
        uint8 RGB tensor of shape `(height, width, 3)`, the sides after the turn.

    Raises:
        tf.errors.InvalidArgumentError: when run, for bytes that are no whole picture.
    """
    header = tf.strings.substr(image_bytes, 0, 8)
    image = tf.case(
        [
            (tf.equal(tf.strings.substr(header, 0, 3), b"\xff\xd8\xff"), lambda: _decode_jpeg(image_bytes)),
            (tf.equal(header, b"\x89PNG\r\n\x1a\n"), lambda: _decode_png(image_bytes)),
        ],
        default=lambda: tf.io.decode_image(image_bytes, channels=3, expand_animations=False),
    )
    image.set_shape([None, None, 3])
    return upright(image, exif_orientation(image_bytes) if orientation is None else orientation)


def _decode_jpeg(image_bytes):
    # The accurate transform gives the pixels that other programs see, and costs nothing more than the fast one here.
    return tf.io.decode_jpeg(image_bytes, channels=3, dct_method="INTEGER_ACCURATE")


def _decode_png(image_bytes):
    image = tf.io.decode_png(image_bytes, channels=4)
    colors, alpha = image[..., :3], image[..., 3:]

    def blend():
        grey = tf.cast(round(255 * FILL), tf.uint16)
        opacity = tf.cast(alpha, tf.uint16)
        mixed = tf.cast(colors, tf.uint16) * opacity + grey * (255 - opacity)
        return tf.cast((mixed + 127) // 255, tf.uint8)

    # TensorFlow gives opaque pictures of less than 8 bits a constant alpha below 255, so only differences count.
    return tf.cond(tf.reduce_min(alpha) < tf.reduce_max(alpha), blend, lambda: colors)


def letterbox_image(image, size, resize="letterbox"):
    """Fits a photo into a square: area mean where it shrinks, bicubic where it grows, grey around it.

    Args:
        image: uint8 tensor of shape `(height, width, 3)`.
        size: side of the square in pixels.
        resize: `"letterbox"`, or `"plain"` for a photo stretched to the whole square; likewise in the functions below.

    Returns:
        float32 tensor of shape `(size, size, 3)` in 0..1.
    """
    sides = tf.shape(image)
    return place_image(image, place(sides[0], sides[1], size, resize), size)


def place_image(image, placement, size):
    """As `letterbox_image` for any placement."""
    return pad_square(resize_image(image, placement) / 255.0, tf.stack([placement.top, placement.left]), size)


def pad_square(inner, corner, size):
    """Puts `(height, width, 3)` in 0..1 into the square at `corner` (top, left), with grey around it."""
    return pad(inner, corner, size, FILL)


def resize_image(image, placement):
    """What the square shows of a photo, at its size there: float32 `(placement.height, placement.width, 3)`, 0..255."""
    part = crop(image, placement)[None]
    sides = tf.stack([placement.height, placement.width])
    # The longer side decides: the shorter one may round to more than its share.
    shrinks = tf.maximum(placement.height, placement.width) < tf.maximum(placement.crop_height, placement.crop_width)

    def grow():
        return tf.raw_ops.ResizeBicubic(images=part, size=sides, half_pixel_centers=True)

    inner = tf.cond(shrinks, lambda: tf.raw_ops.ResizeArea(images=part, size=sides), grow)
    return tf.clip_by_value(inner[0], 0.0, 255.0)


def letterbox_mask(mask, size, stride, resize="letterbox"):
    """The target of the losses for one mask: the object covers at least half of a cell of the letterboxed square.

    Args:
        mask: tensor of shape `(height, width)` or `(height, width, 1)`; above zero is inside.
        size: side of the square in pixels.
        stride: side of a cell in pixels, a divisor of `size`.

    Returns:
        float32 tensor of 0 and 1, of shape `(size / stride, size / stride, 1)`: area mean, then a threshold of 0.5.
    """
    sides = tf.shape(mask)
    return target(cover(mask, place(sides[0], sides[1], size, resize), size, stride))


def cover(mask, placement, size, stride):
    """Share of each cell that the mask covers: the exact area mean.

    Args:
        mask: tensor of shape `(height, width)` or `(height, width, 1)`; above zero is inside.
        placement: `Placement` of the photo.
        size, stride: sides of the square and of a cell in pixels.

    Returns:
        float32 tensor of shape `(size / stride, size / stride, 1)`.
    """
    inside = crop(tf.reshape(mask, tf.shape(mask)[:2]), placement)
    if inside.dtype != tf.bool:
        inside = inside > 0
    inside = tf.cast(inside, tf.float32)
    rows = _cell_weights(placement.top, placement.height, placement.crop_height, size, stride)
    columns = _cell_weights(placement.left, placement.width, placement.crop_width, size, stride)
    return tf.matmul(tf.matmul(rows, inside), columns, transpose_b=True)[..., None]


def _cell_weights(corner, inner, pixels, size, stride):
    """Share of each cell's side that each pixel of the photo covers, along one axis: `(size / stride, pixels)`."""
    scale = tf.cast(inner, tf.float64) / tf.cast(pixels, tf.float64)
    borders = tf.cast(corner, tf.float64) + tf.cast(tf.range(pixels + 1), tf.float64) * scale
    borders, edges = tf.cast(borders, tf.float32), tf.range(0.0, size + 1.0, stride)
    overlap = tf.minimum(edges[1:, None], borders[None, 1:]) - tf.maximum(edges[:-1, None], borders[None, :-1])
    return tf.nn.relu(overlap) / stride


def letterbox_box_mask(box, height, width, size, stride, resize="letterbox"):
    """As `letterbox_mask` for a filled box `(x0, y0, x1, y1)` in pixels of the photo."""
    return target(cover_box(box, place(height, width, size, resize), size, stride))


def cover_box(box, placement, size, stride):
    """As `cover` for a filled box, float32 `(4,)`; a box of zeros (no target) covers nothing."""
    box = to_square(box, placement)
    corner = tf.stack([placement.left, placement.top])
    window = tf.cast(tf.stack([corner, corner + tf.stack([placement.width, placement.height])]), tf.float32)
    first, last = tf.maximum(box[:2], window[0]), tf.minimum(box[2:], window[1])
    edges = tf.range(0.0, size + 1.0, stride)
    columns, rows = (
        tf.nn.relu(tf.minimum(edges[1:], last[axis]) - tf.maximum(edges[:-1], first[axis])) / stride for axis in (0, 1)
    )
    return (rows[:, None] * columns[None, :])[..., None]


def target(share):
    """Thresholds shares of cells at 0.5; exact ties are inside."""
    return tf.cast(share >= 0.5 - _TIE, tf.float32)


def letterbox_points(points, height, width, size, resize="letterbox"):
    """Maps points `(..., 2)` x, y of the photo to the square, float32."""
    points = tf.cast(points, tf.float32)
    return to_square(tf.concat([points, points], -1), place(height, width, size, resize))[..., :2]


def letterbox_boxes(boxes, height, width, size, resize="letterbox"):
    """Maps boxes `(..., 4)` x0, y0, x1, y1 of the photo to the square, float32."""
    return to_square(boxes, place(height, width, size, resize))


def restore_points(points, height, width, size, stride=1, resize="letterbox"):
    """Maps cells of the square back to pixels of the photo.

    Args:
        points: tensor of shape `(..., 2)`: column and row of a cell (its centre is meant).
        height, width: integer scalars, the photo's size.
        size: side of the square in pixels.
        stride: side of a cell in pixels.
        resize: as for `letterbox_image`.

    Returns:
        int32 tensor of the same shape: x, y inside the photo (cells in the grey give the nearest pixel).
    """
    top, left, inner_height, inner_width = letterbox_box(height, width, size, resize)
    corner = tf.cast(tf.stack([left, top]), tf.float32)
    sides = tf.cast(tf.stack([width, height]), tf.int32)
    scale = tf.cast(sides, tf.float32) / tf.cast(tf.stack([inner_width, inner_height]), tf.float32)
    found = ((tf.cast(points, tf.float32) + 0.5) * tf.cast(stride, tf.float32) - corner) * scale
    return tf.clip_by_value(tf.cast(tf.floor(found), tf.int32), 0, sides - 1)


def restore_probabilities(probabilities, height, width, size, resize="letterbox"):
    """Brings maps of the square to the photo's own size, the letterbox cut off, in one bilinear step.

    Args:
        probabilities: float32 tensor of shape `(cells, cells, channels)`, a map of the whole square, or N of them for
            photos of one size, `(N, cells, cells, channels)`.
        height, width: integer scalars, the photo's size.
        size: side of the square in pixels.
        resize: as for `letterbox_image`.

    Returns:
        float32 tensor of shape `(height, width, channels)` or `(N, height, width, channels)`. A photo smaller than the
        map gets means over cells.
    """
    if probabilities.shape.rank == 3:
        return restore_probabilities(probabilities[None], height, width, size, resize)[0]
    height, width = tf.cast(height, tf.int32), tf.cast(width, tf.int32)
    top, left, inner_height, inner_width = letterbox_box(height, width, size, resize)
    count, cells, _, channels = tf.unstack(tf.shape(probabilities))
    rows = _bilinear_weights(height, inner_height, top, size, cells)
    columns = _bilinear_weights(width, inner_width, left, size, cells)
    # As matrices: many times as fast as the operator for it, `ScaleAndTranslate`, and equal to 1e-5. Neither is left to
    # be broadcast: with more axes than three, TensorFlow 2.21 crashes in that.
    maps = tf.reshape(tf.transpose(probabilities, [0, 3, 1, 2]), [count * channels * cells, cells])
    maps = tf.reshape(tf.matmul(maps, columns, transpose_b=True), [count * channels, cells, width])
    restored = tf.matmul(tf.tile(rows[None], [count * channels, 1, 1]), maps)
    restored = tf.transpose(tf.reshape(restored, [count, channels, height, width]), [0, 2, 3, 1])
    restored.set_shape([probabilities.shape[0], None, None, probabilities.shape[3]])
    return restored


def _bilinear_weights(pixels, inner, corner, size, cells):
    """Share of each cell of the square in each pixel of the photo, along one axis: float32 `(pixels, cells)`.

    A triangle around the pixel's centre, as wide as a cell, or as a pixel where that is wider; the shares sum to 1.
    """
    pixels, cells = tf.cast(pixels, tf.int32), tf.cast(cells, tf.int32)
    # photo = (square - corner) * pixels / inner, and square = cell * stride.
    cell = tf.cast(cells, tf.float32) / tf.cast(size, tf.float32)
    pixel = tf.cast(inner, tf.float32) / tf.cast(pixels, tf.float32) * cell
    places = (tf.cast(tf.range(pixels), tf.float32) + 0.5) * pixel + tf.cast(corner, tf.float32) * cell
    distances = tf.abs(places[:, None] - (tf.cast(tf.range(cells), tf.float32) + 0.5))
    weights = tf.nn.relu(1.0 - distances / tf.maximum(pixel, 1.0))
    return weights / tf.reduce_sum(weights, axis=1, keepdims=True)
