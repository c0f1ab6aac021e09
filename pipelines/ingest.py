"""ingest: reads the sources into records, vocabulary and manifest."""

# No SECTIONS: only reading the sources shows whether they have changed; what is up to date is not written again.
# The manifest holds the digest of every shard.
OUTPUTS = ("data/manifest.json", "data/vocabulary.txt")


def run(config, workdir):
    """Prepares the data; returns a line with what there is.

    Raises:
        DataError: for a source that cannot be read.
    """
    from lts_keras.data.prepare.prepare import prepare
    from lts_keras.data.prepare.records import read_manifest

    # What the checks find stops the next stage, and not this one.
    shards = read_manifest(prepare(config, workdir, stop=False))["shards"]
    total = {key: sum(shard[key] for shard in shards) for key in ("photos", "refs", "expressions")}
    return ", ".join(f"{count} {key}" for key, count in total.items()) + f" in {len(shards)} shards"
