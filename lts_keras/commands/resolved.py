"""What a command says of its configuration: the differences from the defaults, and where the whole lies."""

import yaml

from lts_keras.config.paper_rows import PAPER_ROWS

__all__ = ["differences", "format_differences", "print_resolved"]

_WIDTH = 110


def differences(config):
    """Returns what differs from the schema's defaults as plain values, which `parse_config` reads back to `config`."""
    values = config.model_dump(mode="json", exclude_defaults=True)
    for place, given in enumerate(values.get("data", {}).get("sources", ())):
        # Each kind is its class's default, and yet what tells the classes apart.
        values["data"]["sources"][place] = {"kind": config.data.sources[place].kind} | given
    for key, value in PAPER_ROWS.get(config.model.variant, {}).items():
        if getattr(config.model, key) != value:
            values["model"][key] = getattr(config.model, key)  # a default, and yet another value than the row's
    return values


def format_differences(config):
    """Returns the differences as YAML, a key or section a line and few lines in all; `""` where there are none."""
    lines = []
    for key, value in differences(config).items():
        text = yaml.safe_dump({key: value}, default_flow_style=True, sort_keys=False, allow_unicode=True, width=_WIDTH)
        # Without the braces around the one key; lines that go on stay indented, and YAML.
        first, *rest = text.strip()[1:-1].split("\n")
        lines += [first, *(f"  {line.strip()}" for line in rest)]
    return "\n".join(lines)


def print_resolved(config, whole):
    """Prints the block.

    Args:
        config: `Config`.
        whole: where the whole resolved configuration lies, a path or words.
    """
    told = format_differences(config)
    told = f"differs from the defaults in\n{told}" if told else "all defaults"
    print(f"# configuration, the whole in {whole}: {told}", flush=True)
