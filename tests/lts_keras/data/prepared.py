"""What `lts prepare` makes of a source, object by object, and whether the masks lie on what they are of."""

import numpy as np
import pytest

from lts_keras.config.read import parse_config
from lts_keras.data.checks.check import read_report
from lts_keras.data.input.geometry import decode_image
from lts_keras.data.prepare import records
from lts_keras.data.prepare.masks import decode_mask
from lts_keras.data.prepare.prepare import prepare
from tests.lts_keras.data.tool_exports import mask_of


def objects(values, root):
    """Runs `lts prepare`.

    Args:
        values: a configuration as plain values.
        root: folder that its paths are relative to.

    Returns:
        (list of a dict for every object, report).
    """
    config = parse_config(values | {"data": values["data"] | {"root": str(root)}})
    data_dir = prepare(config, root / "runs")
    found = []
    for path in records.find_shards(data_dir, None):
        for serialized in records.read_records(path):
            record = records.parse_record(serialized)
            # As training decodes it.
            pixels = np.asarray(decode_image(record["image_bytes"], record["orientation"])).astype(int)
            for at, mask in enumerate(record["mask_png"].numpy()):
                found.append(
                    {
                        "photo": record["photo_id"].numpy().decode(),
                        "split": record["split"][at].numpy().decode(),
                        "category": record["category"][at].numpy().decode(),
                        "texts": [text.decode() for text in record["expressions"][at].numpy()],
                        "mask": decode_mask(mask) if mask else None,
                        "box": tuple(record["box"][at].numpy().tolist()),
                        "pixels": pixels,
                    }
                )
    return found, read_report(data_dir)


def by_category(found, split=None):
    """Objects by class, of which each has one."""
    chosen = [one for one in found if split in (None, one["split"])]
    assert len({one["category"] for one in chosen}) == len(chosen)
    return {one["category"]: one for one in chosen}


def check_mask(one, color, *patches):
    """The mask is the patches, which have that colour in the photo as training sees it; the box lies around them."""
    np.testing.assert_array_equal(one["mask"], mask_of(*patches))
    near = np.abs(one["pixels"] - color).max(-1) < 40
    # JPEG smears edges by a few pixels.
    assert (near == one["mask"]).mean() > 0.97
    whole = np.array(patches)
    assert one["box"] == (*whole[:, :2].min(0), *whole[:, 2:].max(0))


def check_box(one, patch):
    """A box alone, the patch's."""
    assert one["mask"] is None
    assert one["box"] == pytest.approx(patch, abs=1e-3)
