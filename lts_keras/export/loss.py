"""What an export of less precision loses against the model in float32, measured by the one evaluator."""

import numpy as np

from lts_keras.data.prepare.records import MANIFEST_FILE, read_manifest
from lts_keras.evaluation.evaluate import judge
from lts_keras.evaluation.exported import open_export
from lts_keras.export import ExportError

__all__ = ["LossCheck"]


class LossCheck:
    """Judges exports on the splits of `config.evaluate` and refuses what loses too much of `mean_iou`.

    The model itself is judged once, when the first export is: a file with scores may be of older weights.

    Args:
        model: `LTS` in float32, with the threshold and presence that it is exported with.
        config: `Config`.
        data_dir: `Path` of prepared data; there need not be any.
        progress: function that takes a line of text.
    """

    def __init__(self, model, config, data_dir, progress=print):
        self._model, self._config, self._data_dir, self._progress = model, config, data_dir, progress
        self._expected = None

    def __call__(self, path):
        """Judges an export.

        Args:
            path: as for `open_export`.

        Returns:
            dict with `mean_iou`, `expected` (the model's) and `loss`, over all expressions with a mask; `None` where
            there is nothing to judge on, which is told.

        Raises:
            ExportError: the loss is above `export.max_mean_iou_loss`.
        """
        splits = self._splits()
        if not splits:
            self._progress(f"{path.name}: loss not measured: no prepared data of evaluate.splits in {self._data_dir}")
            return None
        if self._expected is None:
            self._expected = self._mean_iou(self._model)
        found, limit = self._mean_iou(open_export(path)), self._config.export.max_mean_iou_loss
        loss = self._expected - found
        text = f"mean_iou {found:.4f}, the model's {self._expected:.4f}"
        if not loss <= limit:
            raise ExportError(f"{path.name}: {text}: a loss of {loss:.4f}, over export.max_mean_iou_loss {limit:g}")
        self._progress(f"{path.name}: {text}")
        return {"mean_iou": found, "expected": self._expected, "loss": loss}

    def _splits(self):
        if not (self._data_dir / MANIFEST_FILE).is_file():
            return set()
        present = {split for shard in read_manifest(self._data_dir)["shards"] for split in shard["splits"]}
        return present & set(self._config.evaluate.splits)

    def _mean_iou(self, network):
        # Nothing is chosen anew, and no intervals are needed.
        changes = {
            "threshold": None,
            "presence": False,
            "image_size": None,
            "num_devices": None,
            "bootstrap_samples": 1,
        }
        options = self._config.evaluate.model_copy(update=changes)
        _, predictions = judge(network, self._data_dir, options, progress=lambda line: None)
        values = [row["iou"] for row in predictions if row["iou"] is not None]
        if not values:
            raise ExportError(f"{self._data_dir}: no expression with a mask in {', '.join(options.splits)}")
        return float(np.mean(values))
