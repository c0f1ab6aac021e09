"""Records per second and peak memory of `lts prepare` at 1x, 4x and 16x the data; the cost per record must stay flat.

    python benchmarks/prepare.py                     # 1,000, 4,000 and 16,000 photos
    python benchmarks/prepare.py --refcoco-size      # 20,000 photos, 142,000 expressions, below 1.5 GiB; a second look

The second look is `lts prepare` once more on what has not changed; it must cost less than a twentieth of the first run.

Where LTS_TEST_DATA names the folder of real photographs, trees in the REFER layout are made up from them (links to the
photos under new numbers, all annotations of each, 2.5 refs a photo and 2.84 sentences a ref, as in RefCOCO); else
scenes are drawn. Every size runs in a process of its own, after a small run that loads and traces everything.
"""

import argparse
import json
import os
import pickle
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BASE, FACTORS = 1000, (1, 4, 16)
REFCOCO = {"photos": 20_000, "refs": 50_000, "expressions": 142_000}
MOST_MEMORY = 1.5 * 2**30
MOST_AGAIN = 0.05
SECONDS_OLD = 5
ROUNDS = 2


def make_tree(root, shared, photos, refs, expressions):
    """Writes a REFER tree of links to shared photos; returns the section of its source."""
    content = json.loads((shared / "data/coco/instances.json").read_text())
    names = {category["id"]: category["name"] for category in content["categories"]}
    by_photo = {}
    for annotation in content["annotations"]:
        by_photo.setdefault(annotation["image_id"], []).append(annotation)
    usable = [image for image in content["images"] if any(not one["iscrowd"] for one in by_photo.get(image["id"], ()))]
    (root / "photos").mkdir(parents=True)
    (root / "refcoco").mkdir()
    images, annotations, found = [], [], []
    for number in range(photos):
        # The last tenth of the shared photos is held out, so that no photo is in train and val.
        held_out = number % 10 == 9
        part = usable[9 * len(usable) // 10 :] if held_out else usable[: 9 * len(usable) // 10]
        image = part[number // 10 % len(part) if held_out else number % len(part)]
        name = f"{number:012d}.jpg"
        os.symlink(shared / "data/coco/images" / image["file_name"], root / "photos" / name)
        images.append(image | {"id": number, "file_name": name})
        own = [
            one | {"id": len(annotations) + place, "image_id": number}
            for place, one in enumerate(by_photo[image["id"]])
        ]
        annotations += own
        objects = [one for one in own if not one["iscrowd"]]
        count = refs * (number + 1) // photos - refs * number // photos
        for place in range(count):
            one, ref = objects[place % len(objects)], len(found)
            texts = expressions * (ref + 1) // refs - expressions * ref // refs
            words = [f"the {names[one['category_id']]} number {ref % 997} {side}" for side in ("left", "right", "top")]
            sentences = [{"sent": words[text % 3], "raw": "", "tokens": [], "sent_id": text} for text in range(texts)]
            split = "val" if held_out else "train"
            found.append(
                {"ref_id": ref, "ann_id": one["id"], "image_id": number, "split": split, "sentences": sentences}
            )
    (root / "refcoco/refs(unc).p").write_bytes(pickle.dumps(found, 2))
    tree = {"images": images, "annotations": annotations, "categories": content["categories"]}
    (root / "refcoco/instances.json").write_text(json.dumps(tree))
    return {"kind": "refer", "name": "refcoco", "dataset": "refcoco", "split_by": "unc", "photos": "photos"}


def make_config(root, photos, refs, expressions):
    shared = os.environ.get("LTS_TEST_DATA")
    if shared:
        source = make_tree(root, Path(shared).resolve(), photos, refs, expressions)
    else:
        source = {"kind": "scenes", "num_photos": {"train": photos - photos // 10, "val": photos // 10}}
    check = {"max_empty_masks": 0.1, "max_unknown_words": 1.0}
    return {"data": {"root": str(root), "sources": [source], "check": check}}


def run_one(values, workdir):
    """In a process of its own: prints seconds, processor seconds, records and peak memory as JSON."""
    from lts_keras.config.read import parse_config
    from lts_keras.data.prepare import records
    from lts_keras.data.prepare.prepare import prepare

    small = {"sources": [{"kind": "scenes", "num_photos": {"train": 4, "val": 4}}]}
    prepare(parse_config({"data": small}), workdir / "small")
    time.sleep(SECONDS_OLD)  # Files that were written just now are not known by their time.
    wall, cpu, data_dir = _timed(lambda: prepare(parse_config(values), workdir / "work"))
    again = []
    for _ in range(ROUNDS + 1):
        again.append(_timed(lambda: prepare(parse_config(values), workdir / "work"))[:2])
        # The shards are a few seconds old from the second time on.
        time.sleep(SECONDS_OLD)
    shards = records.read_manifest(data_dir)["shards"]
    totals = {key: sum(shard[key] for shard in shards) for key in ("photos", "refs", "expressions", "bytes")}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"wall": wall, "cpu": cpu, "again": again, "peak": peak, **totals}))


def _timed(run):
    """Returns (seconds, processor seconds, result)."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = run()
    return time.perf_counter() - wall, time.process_time() - cpu, result


def measure(photos, refs, expressions):
    """Makes the data, runs `run_one` in a process and removes everything."""
    folder = Path(tempfile.mkdtemp(prefix="lts-prepare-"))
    try:
        values = make_config(folder / "tree", photos, refs, expressions)
        (folder / "config.json").write_text(json.dumps(values))
        command = [sys.executable, __file__, "--one", str(folder)]
        done = subprocess.run(command, env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"}, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"prepare failed: {done.stderr.strip()[-2000:]}")
        return json.loads(done.stdout.strip().splitlines()[-1])
    finally:
        shutil.rmtree(folder)


def show(label, found):
    per_record = 1000 * found["cpu"] / found["photos"]
    size = f"{found['photos']:>8} {found['refs']:>8} {found['expressions']:>12} {found['bytes'] / 2**20:>8.0f}"
    speed = f"{found['wall']:>8.1f} {found['photos'] / found['wall']:>10.1f} {per_record:>14.2f}"
    print(f"{label:>6} {size} {speed} {found['peak'] / 2**20:>10.0f}", flush=True)
    return per_record


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--refcoco-size", action="store_true", help="one run of RefCOCO's size: needs 4 GB of disk")
    parser.add_argument("--base", type=int, default=BASE, help="photos at 1x (default: %(default)s)")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        return run_one(json.loads((options.one / "config.json").read_text()), options.one)
    import tensorflow as tf

    kind = "made up from shared photos" if os.environ.get("LTS_TEST_DATA") else "drawn scenes"
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    print(f"{machine}, Python {platform.python_version()}, TensorFlow {tf.__version__}")
    print(f"data: {kind}; one process, all its threads")
    print("  size   photos     refs  expressions      MiB  seconds  records/s  CPU ms/record   peak MiB", flush=True)
    if options.refcoco_size:
        found = measure(**REFCOCO)
        show("full", found)
        print(f"peak {found['peak'] / 2**30:.2f} GiB, limit {MOST_MEMORY / 2**30:.1f} GiB")
        looks = ", ".join(f"{wall:.2f} s ({wall / found['wall']:.1%})" for wall, _ in found["again"])
        print(f"looks at what has not changed: {looks} of the first run; limit {MOST_AGAIN:.0%}")
        return int(found["peak"] > MOST_MEMORY or max(wall for wall, _ in found["again"]) > MOST_AGAIN * found["wall"])
    costs = []
    for factor in FACTORS:
        photos = options.base * factor
        # The better of two runs: other work on the machine only ever adds.
        rounds = [measure(photos, photos * 5 // 2, photos * 71 // 10) for _ in range(ROUNDS)]
        costs.append(show(f"{factor}x", min(rounds, key=lambda found: found["cpu"])))
    spread = max(costs) / min(costs) - 1
    print(f"cost per record: {100 * spread:.0f} % between the cheapest and the dearest size (limit 15 %)")
    return int(spread > 0.15)


if __name__ == "__main__":
    sys.exit(main())
