import io

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from lts_keras.data.input import geometry
from lts_keras.data.input.placement import crop, jitter_placement, place, to_square

SIDES = st.integers(1, 8000)
SMALL = st.integers(1, 90)


def encoded(array, kind="PNG", **options):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind, **options)
    return buffer.getvalue()


def area_weights(pixels, corner, inner, num_cells, stride):
    """Share of each cell that each pixel covers, by plain interval arithmetic."""
    edges = corner + np.arange(pixels + 1) * (inner / pixels)
    weights = np.zeros((num_cells, pixels))
    for cell in range(num_cells):
        low, high = np.maximum(edges[:-1], cell * stride), np.minimum(edges[1:], (cell + 1) * stride)
        weights[cell] = np.maximum(high - low, 0) / stride
    return weights


def peer_letterbox(height, width, size):
    scale = size / max(height, width)
    inner_height, inner_width = max(1, round(height * scale)), max(1, round(width * scale))
    return (size - inner_height) // 2, (size - inner_width) // 2, inner_height, inner_width


@given(SIDES, SIDES, st.sampled_from([96, 320, 416, 480]))
@example(1, 1, 416)
@example(8000, 6000, 416)
@example(8000, 1, 416)
@example(1, 8000, 416)
@example(3, 416 * 2, 416)
def test_letterbox_keeps_the_aspect_ratio_and_stays_inside(height, width, size):
    box = tuple(int(value) for value in geometry.letterbox_box(height, width, size))
    assert box == peer_letterbox(height, width, size)
    top, left, inner_height, inner_width = box
    assert max(inner_height, inner_width) == size and min(box) >= 0
    assert top + inner_height <= size and left + inner_width <= size


@given(st.data(), SIDES, SIDES)
@example(None, 8000, 6000)
@example(None, 1, 8000)
@example(None, 1, 1)
def test_points_there_and_back_within_one_pixel(data, height, width):
    draw = (lambda limit: limit - 1) if data is None else (lambda limit: data.draw(st.integers(0, limit - 1)))
    x, y, size = draw(width), draw(height), 416
    placed = geometry.letterbox_points(tf.constant([[x + 0.5, y + 0.5]]), height, width, size).numpy()[0]
    # The square's pixel that holds the point, and back: one pixel of whichever grid is coarser.
    cell = np.floor(placed).astype(int)
    back = geometry.restore_points(cell, height, width, size).numpy()
    _, _, inner_height, inner_width = peer_letterbox(height, width, size)
    assert abs(back[0] - x) <= max(1, width / inner_width) and abs(back[1] - y) <= max(1, height / inner_height)
    assert 0 <= back[0] < width and 0 <= back[1] < height


@pytest.mark.parametrize("height, width", [(480, 640), (640, 427), (333, 333), (1200, 90), (60, 64), (1, 7)])
def test_photo_there_and_back_within_one_pixel(height, width):
    """A soft ramp of positions, letterboxed and restored, says at each pixel where it came from."""
    rows, columns = np.mgrid[:height, :width] + 0.5
    ramp = np.stack([rows / height, columns / width, 0 * rows], -1)
    size = 416
    # The ramp is made at the square's resolution by the placement itself, so no resize blurs it.
    top, left, inner_height, inner_width = peer_letterbox(height, width, size)
    square_rows, square_columns = np.mgrid[:size, :size] + 0.5
    square = np.stack([(square_rows - top) / inner_height, (square_columns - left) / inner_width], -1)
    restored = geometry.restore_probabilities(tf.constant(square, tf.float32), height, width, size).numpy()
    assert restored.shape == (height, width, 2)
    # In pixels of whichever grid is coarser.
    error = np.abs(restored - ramp[..., :2]) * [min(height, inner_height), min(width, inner_width)]
    assert error.max() <= 0.5


@pytest.mark.parametrize("height, width", [(48, 64), (64, 43), (200, 30), (30, 200)])
def test_mask_there_and_back_keeps_its_edges(height, width):
    mask = np.zeros((height, width), bool)
    mask[height // 4 : height // 4 * 3, width // 4 : width // 4 * 3] = True
    square = geometry.letterbox_mask(mask, 416, 1)
    restored = geometry.restore_probabilities(square, height, width, 416).numpy()[..., 0] > 0.5
    assert (restored ^ mask).sum() <= 2 * sum(mask.shape)
    inside = mask[1:-1, 1:-1] & mask[2:, 1:-1] & mask[:-2, 1:-1] & mask[1:-1, 2:] & mask[1:-1, :-2]
    assert restored[1:-1, 1:-1][inside].all()


@given(SMALL, SMALL, st.sampled_from([4, 8]), st.integers(0, 2**32 - 1))
def test_mask_target_is_the_area_mean_thresholded(height, width, stride, seed):
    size = 64
    mask = np.random.default_rng(seed).random((height, width)) < 0.6
    top, left, inner_height, inner_width = peer_letterbox(height, width, size)
    rows = area_weights(height, top, inner_height, size // stride, stride)
    columns = area_weights(width, left, inner_width, size // stride, stride)
    share = rows @ mask @ columns.T
    found = geometry.cover(tf.constant(mask), place(height, width, size), size, stride).numpy()[..., 0]
    np.testing.assert_allclose(found, share, atol=1e-4)
    target = geometry.letterbox_mask(tf.constant(mask)[..., None], size, stride).numpy()[..., 0]
    sure = np.abs(share - 0.5) > 2e-4
    np.testing.assert_array_equal(target[sure], (share >= 0.5)[sure])


def test_half_covered_cells_are_inside():
    mask = np.zeros((416, 416), bool)
    mask[:, :6] = True
    target = geometry.letterbox_mask(mask, 416, 4).numpy()[..., 0]
    assert target[:, :2].all() and not target[:, 2:].any()


@given(st.data(), st.integers(2, 300), st.integers(2, 300))
def test_box_mask_equals_the_mask_of_the_filled_box(data, height, width):
    x0, y0 = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    x1, y1 = data.draw(st.integers(x0 + 1, width)), data.draw(st.integers(y0 + 1, height))
    mask = np.zeros((height, width), bool)
    mask[y0:y1, x0:x1] = True
    placement = place(height, width, 96)
    by_box = geometry.cover_box(tf.constant([x0, y0, x1, y1], tf.float32), placement, 96, 4)
    by_mask = geometry.cover(tf.constant(mask), placement, 96, 4)
    np.testing.assert_allclose(by_box, by_mask, atol=1e-3)


def test_empty_box_covers_nothing():
    assert not geometry.letterbox_box_mask(tf.zeros([4]), 480, 640, 416, 8).numpy().any()


def test_shrinking_is_the_area_mean():
    image = np.random.default_rng(0).integers(0, 256, (200, 300, 3), "uint8")
    found = geometry.letterbox_image(image, 96).numpy()
    rows, columns = area_weights(200, 16, 64, 96, 1), area_weights(300, 0, 96, 96, 1)
    expected = np.einsum("ay,yxc,bx->abc", rows, image / 255, columns, optimize=True)
    expected[:16] = expected[80:] = 0.5
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_growing_is_bicubic():
    image = np.random.default_rng(0).integers(80, 176, (40, 60, 3), "uint8")
    found = geometry.letterbox_image(image, 96).numpy()
    expected = np.full((96, 96, 3), 0.5)
    expected[16:80] = np.asarray(Image.fromarray(image).resize((96, 64), Image.Resampling.BICUBIC)) / 255
    np.testing.assert_allclose(found, expected, atol=1.5 / 255)


def test_growing_stays_in_range():
    image = np.random.default_rng(0).integers(0, 2, (40, 60, 3), "uint8") * 255
    found = geometry.letterbox_image(image, 96).numpy()
    assert found.min() == 0 and found.max() == 1


def test_same_size_changes_nothing():
    image = np.random.default_rng(0).integers(0, 256, (96, 96, 3), "uint8")
    np.testing.assert_allclose(geometry.letterbox_image(image, 96), image / 255, atol=1e-6)


@pytest.mark.parametrize("height, width", [(1, 1), (1, 3000), (3000, 1), (6000, 8000)])
def test_extreme_sizes(height, width):
    image = tf.fill([height, width, 3], tf.constant(255, tf.uint8))
    square = geometry.letterbox_image(image, 416).numpy()
    top, left, inner_height, inner_width = peer_letterbox(height, width, 416)
    inside = square[top : top + inner_height, left : left + inner_width]
    np.testing.assert_allclose(inside, 1.0, atol=1e-4)
    assert (square == 0.5).sum() == square.size - inside.size
    assert geometry.letterbox_mask(image[..., 0], 416, 8).numpy().sum() >= (inside.size > 3 * 416 * 4)
    restored = geometry.restore_probabilities(tf.ones([104, 104, 1]), height, width, 416)
    assert restored.shape == (height, width, 1)
    np.testing.assert_allclose(restored[:: max(1, height // 50), :: max(1, width // 50)], 1.0, atol=1e-5)


@given(SMALL, SMALL, st.floats(0.4, 2.5), st.floats(0, 1), st.floats(0, 1))
def test_scale_jitter_moves_boxes_and_masks_alike(height, width, factor, down, right):
    size = 96
    placement = jitter_placement(height, width, size, factor, tf.constant([down, right]))
    top, left, inner_height, inner_width = (int(value) for value in placement[4:])
    assert 0 <= top <= top + inner_height <= size and 0 <= left <= left + inner_width <= size
    image = tf.zeros([height, width, 3], tf.uint8)
    assert min(crop(image, placement).shape) >= 1
    square = geometry.place_image(image, placement, size).numpy()
    assert (square == 0).all(-1).sum() == inner_height * inner_width
    full = tf.constant([0, 0, width, height], tf.float32)
    np.testing.assert_allclose(
        geometry.cover_box(full, placement, size, 4),
        geometry.cover(tf.ones([height, width]), placement, size, 4),
        atol=1e-3,
    )
    part = tf.cast(tf.stack([placement.crop_left, placement.crop_top]), tf.float32)
    corner = to_square(tf.concat([part, part], 0), placement)[:2]
    np.testing.assert_allclose(corner, [left, top], atol=1e-3)


@given(st.data(), SMALL, SMALL, st.floats(0.5, 3), st.floats(0, 1), st.floats(0, 1))
def test_scale_jitter_never_cuts_the_object_away(data, height, width, factor, down, right):
    x0, y0 = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    box = [x0, y0, data.draw(st.integers(x0 + 1, width)), data.draw(st.integers(y0 + 1, height))]
    placement = jitter_placement(height, width, 96, factor, tf.constant([down, right]), box)
    left, top, part_height, part_width = (int(placement[index]) for index in (1, 0, 2, 3))
    assert 0 <= left <= box[0] and box[2] <= left + part_width <= width
    assert 0 <= top <= box[1] and box[3] <= top + part_height <= height


def test_jitter_of_one_is_the_plain_letterbox():
    jittered = jitter_placement(480, 640, 416, 1.0, tf.constant([0.5, 0.5]))
    assert [int(value) for value in jittered] == [int(value) for value in place(480, 640, 416)]


COLORS = np.random.default_rng(1).integers(0, 256, (20, 30, 3), "uint8")


@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_lossless_files_keep_their_pixels(kind):
    np.testing.assert_array_equal(geometry.decode_image(encoded(COLORS, kind)), COLORS)


def test_jpeg_pixels_are_those_of_other_decoders(shared_data):
    for path in sorted((shared_data / "data/coco/images").glob("*.jpg"))[:12]:
        found = geometry.decode_image(path.read_bytes()).numpy().astype(int)
        expected = np.asarray(Image.open(path).convert("RGB")).astype(int)
        assert found.shape == expected.shape and np.abs(found - expected).max() <= 2


def test_grey_palette_and_sixteen_bits():
    grey = COLORS[..., 0]
    for kind in ("PNG", "JPEG"):
        found = geometry.decode_image(encoded(grey, kind, **({"quality": 100} if kind == "JPEG" else {}))).numpy()
        assert found.shape == (20, 30, 3)
        assert np.abs(found.astype(int) - grey[..., None]).max() <= 2
    palette = Image.fromarray(COLORS).quantize(16)
    buffer = io.BytesIO()
    palette.save(buffer, "PNG")
    np.testing.assert_array_equal(geometry.decode_image(buffer.getvalue()), np.asarray(palette.convert("RGB")))
    deep = tf.io.encode_png(COLORS.astype("uint16") * 257)
    np.testing.assert_array_equal(geometry.decode_image(deep), COLORS)


def test_transparent_pixels_become_grey():
    alpha = np.zeros((20, 30), "uint8")
    alpha[:10] = 255
    found = geometry.decode_image(encoded(np.dstack([COLORS, alpha]))).numpy()
    np.testing.assert_array_equal(found[:10], COLORS[:10])
    np.testing.assert_array_equal(found[10:], 128)


def test_exif_orientation_is_applied_unless_a_record_says_another():
    exif = Image.Exif()
    exif[0x0112] = 6
    photo = encoded(COLORS, "PNG", exif=exif)
    # Turned clockwise: the left column, from below, is the top row.
    np.testing.assert_array_equal(geometry.decode_image(photo), COLORS[::-1].transpose(1, 0, 2))
    np.testing.assert_array_equal(geometry.decode_image(photo, 1), COLORS)
    np.testing.assert_array_equal(geometry.decode_image(photo, tf.constant(2, tf.int64)), COLORS[:, ::-1])


@pytest.mark.parametrize("data", [b"", b"\xff", b"no picture", encoded(COLORS, "JPEG")[:200], encoded(COLORS)[:300]])
def test_broken_pictures_are_refused(data):
    with pytest.raises(tf.errors.InvalidArgumentError):
        geometry.decode_image(data)


def test_works_inside_tf_data_with_static_shapes():
    def read(data):
        return geometry.letterbox_image(geometry.decode_image(data), 64)

    photos = tf.data.Dataset.from_tensor_slices([encoded(COLORS), encoded(COLORS[:5], "JPEG")]).map(read)
    assert photos.element_spec == tf.TensorSpec([64, 64, 3], tf.float32)
    assert len(list(photos)) == 2
