"""Memory and time of an evaluation of RefCOCO's size: 10,834 sentences on 1,500 photos.

    python benchmarks/evaluate.py --workdir runs/evaluate-benchmark --check

The photos are made up from the folder of real photographs that LTS_TEST_DATA names: those with masks, and those with
boxes alone, again and again under new ids, with sentences that people wrote. They are prepared into the work directory
once. Then two processes judge them at 416 pixels:

- `overhead`: with a network that costs nothing, as it gives out stored maps; everything else is real (reading,
  decoding, resizing, masks at the photos' size, counts, scores with their intervals, both files). All its time is time
  outside the network.
- `model`: with a small `LTS`; for the memory. A network's own weights and features come on top of it.

Processor time is that of all threads together, tracing and intervals included, and is what the target of 5 ms is about:
wall time depends on what else the machine does. One idle core would need about the processor time.
"""

import argparse
import gzip
import json
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

SENTENCES, PHOTOS, REFS = 10_834, 1_500, 3_811
MOST_MEMORY = 1.5 * 2**30
MOST_SECONDS = 0.005
_SIZE = 416
_BOXES_ALONE = 5  # every fifth photo


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", type=Path, required=True, help="the data is prepared there once")
    parser.add_argument("--sentences", type=int, default=SENTENCES, help="default: %(default)s")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a target is missed")
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    parser.add_argument("--one", choices=("overhead", "model"), help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.one:
        print(json.dumps(judge_once(args.one, args.workdir)))
        return 0
    shared = os.environ.get("LTS_TEST_DATA")
    if not shared:
        parser.error("LTS_TEST_DATA does not name the folder of real photographs")
    prepare_once(args.workdir, Path(shared).resolve(), args.sentences)
    results = {"machine": {"cores": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()[0]}}
    for name in ("overhead", "model"):
        results[name] = run_apart(name, args.workdir)
    memory = max(results[name]["peak_gib"] for name in ("overhead", "model"))
    seconds = results["overhead"]["processor_ms"] / 1000
    results["targets"] = {"memory": memory * 2**30 <= MOST_MEMORY, "time": seconds <= MOST_SECONDS}
    print(json.dumps(results, indent=1))
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return 1 if args.check and not all(results["targets"].values()) else 0


def run_apart(name, workdir):
    """One way in a process of its own: peaks of memory are those of a process."""
    command = [sys.executable, __file__, "--workdir", str(workdir), "--one", name]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": "."})
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def prepare_once(workdir, shared, sentences):
    from lts_keras.config.read import parse_config
    from lts_keras.data.prepare.prepare import prepare

    made = workdir / "made"
    if not (made / "manifest.jsonl").is_file():
        (made / "photos").mkdir(parents=True, exist_ok=True)
        lines = "".join(json.dumps(line) + "\n" for line in make_lines(made, shared, sentences))
        (made / "manifest.jsonl").write_text(lines)
    elif count_sentences(made) != sentences:
        raise SystemExit(f"{workdir}: has {count_sentences(made)} sentences. Received: --sentences {sentences}")
    source = {"kind": "manifest", "name": "made", "file": str(made / "manifest.jsonl")}
    # Sentences and objects have nothing to do with each other here, so that none of their checks means anything.
    lenient = {"max_unknown_words": 1.0}
    prepare(parse_config({"data": {"sources": [source], "check": lenient}}), workdir)


def count_sentences(made):
    lines = (made / "manifest.jsonl").read_text().splitlines()
    held_out = [line for line in map(json.loads, lines) if line["split"] == "val"]
    return sum(len(one["expressions"]) for line in held_out for one in line["objects"])


def make_lines(made, shared, sentences):
    """Lines of a manifest: photos by links, the objects of each in turn, sentences in the order of their file."""
    with gzip.open(shared / "data/expressions/expressions.jsonl.gz", "rt") as file:
        texts = [text for text in (json.loads(line)["sent"] for line in file) if any(map(str.isalnum, text))]
    masks, boxes = list(photos_with_masks(shared)), list(photos_with_boxes(shared))
    photos = max(2, round(PHOTOS * sentences / SENTENCES))
    refs = max(photos, round(REFS * sentences / SENTENCES))
    # One photo to train: the vocabulary is that of train.
    path, objects = masks.pop()
    yield line_of(made, path, "train", 0, [objects[0] | {"expressions": texts[-3000:]}])
    ref = 0
    for number in range(photos):
        alone = number % _BOXES_ALONE == 0
        pool = boxes if alone else masks
        path, objects = pool[number % len(pool)]
        own = []
        for place in range(refs * (number + 1) // photos - refs * number // photos):
            first, last = sentences * ref // refs, sentences * (ref + 1) // refs
            own.append(objects[place % len(objects)] | {"expressions": [texts[i % 50_000] for i in range(first, last)]})
            ref += 1
        yield line_of(made, path, "val", number + 1, own)


def line_of(made, path, split, number, objects):
    name = f"photos/{number:06d}{path.suffix}"
    if not (made / name).exists():
        os.symlink(path, made / name)
    return {"image": name, "split": split, "objects": objects}


def photos_with_masks(shared):
    content = json.loads((shared / "data/coco/instances.json").read_text())
    names = {category["id"]: category["name"] for category in content["categories"]}
    for image in content["images"]:
        objects = []
        for one in content["annotations"]:
            if one["image_id"] == image["id"] and not one["iscrowd"]:
                kind = "polygons" if isinstance(one["segmentation"], list) else "rle"
                objects.append({"category": names[one["category_id"]], kind: one["segmentation"]})
        if objects:
            yield shared / "data/coco/images" / image["file_name"], objects


def photos_with_boxes(shared):
    content = json.loads((shared / "data/refer_boxes/refs.json").read_text())
    by_photo = {}
    for ref in content["refs"]:
        x, y, width, height = ref["bbox"]
        by_photo.setdefault(ref["image_id"], []).append({"box": [x, y, x + width, y + height]})
    for image in content["images"]:
        if image["id"] in by_photo:
            yield shared / "data/refer_boxes/images" / image["file_name"], by_photo[image["id"]]


class StoredMaps:
    """A network that costs nothing: blobs that are gathered by the number of the row."""

    kind, precision, num_devices = "preset", "float32", 1
    image_size, image_resize, max_tokens, threshold = _SIZE, "letterbox", 15, 0.25

    def __init__(self, vocabulary):
        import numpy as np
        import tensorflow as tf

        from lts_keras.prediction.presence import Presence

        self.vocabulary, self.presence = vocabulary, Presence()
        random = np.random.default_rng(0)
        self._maps = []
        for side in (_SIZE // 4, _SIZE // 8):
            rows, columns = np.mgrid[0:side, 0:side] / side
            y, x = random.uniform(0.2, 0.8, (2, 64, 1, 1))
            radius = random.uniform(0.05, 0.3, (64, 1, 1))
            distance = np.hypot(rows - y, columns - x) / radius
            self._maps.append(tf.constant(1 / (1 + distance[..., None] ** 4), tf.float32))

    def __call__(self, batch, device=0):
        """Maps for each row of the batch, as `ModelNetwork` gives them."""
        import tensorflow as tf

        chosen = tf.range(tf.shape(batch["token_ids"])[0]) % 64
        return [tf.gather(maps, chosen) for maps in self._maps]


def small_lts(vocabulary):
    from lts_keras.models.variants import make_lts

    small = {"embedding_dim": 8, "gru_units": 8, "joint_dim": 16, "fusion_dim": 8, "aspp_dim": 8}
    return make_lts(vocabulary=vocabulary, image_size=_SIZE, backbone="darknet_tiny", **small)


def judge_once(name, workdir):
    """Judges everything once; returns milliseconds a sentence and the peak of memory."""
    from lts_keras.config.read import parse_config
    from lts_keras.data.text import read_vocabulary
    from lts_keras.evaluation.evaluate import judge

    vocabulary = read_vocabulary(workdir / "data" / "vocabulary.txt")
    network = StoredMaps(vocabulary) if name == "overhead" else small_lts(vocabulary)
    options = parse_config({"evaluate": {"splits": ["val"]}}).evaluate
    wall, processor = time.perf_counter(), time.process_time()
    metrics, predictions = judge(network, workdir / "data", options, progress=lambda line: None)
    for file, content in (("metrics", metrics), ("predictions", predictions)):
        (workdir / f"{name}_{file}.json").write_text(json.dumps(content))
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "sentences": len(predictions),
        "wall_ms": round(1000 * wall / len(predictions), 2),
        "processor_ms": round(1000 * processor / len(predictions), 2),
        "seconds": round(wall, 1),
        "peak_gib": round(peak / 2**30, 2),
    }


if __name__ == "__main__":
    raise SystemExit(main())
