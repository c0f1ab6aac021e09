"""What a message will take once it is parsed, told from its bytes alone.

An empty field is two bytes on the wire and up to two hundred in memory: a message of 256 MiB could take 20 GiB.
"""

import functools

from google.protobuf.descriptor import FieldDescriptor

from serving.errors import resource_exhausted

__all__ = ["MOST_FIELDS", "parsed_bytes"]

MOST_FIELDS = 300_000
"""Most fields in a message, those of the messages within it counted too."""

# Measured on what upb takes, with room: its arrays double as they grow.
_MESSAGE_BYTES, _ENTRY_BYTES, _STRING_BYTES, _NUMBER_BYTES = 128, 320, 40, 16
_SMALL = 65536  # not worth a look: such a message takes at most six megabytes, whatever it holds
_UNKNOWN, _MESSAGE, _STRING, _VARINTS, _FIXED = range(5)
_FIXED_TYPES = {
    FieldDescriptor.TYPE_FLOAT,
    FieldDescriptor.TYPE_DOUBLE,
    FieldDescriptor.TYPE_FIXED32,
    FieldDescriptor.TYPE_FIXED64,
    FieldDescriptor.TYPE_SFIXED32,
    FieldDescriptor.TYPE_SFIXED64,
}
_TAG_ALONE = (_UNKNOWN, 0, None)


def parsed_bytes(content, message_type):
    """Estimates the memory of a parsed message, with room.

    Args:
        content: bytes, from anywhere.
        message_type: class of the message.

    Returns:
        int, bytes, at least the length of `content`. Bytes that are no message are counted up to where that shows,
        which is where a parser ends too.

    Raises:
        RequestError: `RESOURCE_EXHAUSTED` for more than `MOST_FIELDS` fields.
    """
    length = len(content)
    if length <= _SMALL:
        return length
    total, fields, position, end = 0, 0, 0, length
    table, outer = _table(message_type.DESCRIPTOR), []
    try:
        while True:
            while position >= end:
                if not outer:
                    return max(total, length)
                end, table = outer.pop()
            fields += 1
            if fields > MOST_FIELDS:
                raise resource_exhausted(f"the request has more than {MOST_FIELDS} fields", final=True)
            tag = content[position]
            position += 1
            if tag >= 0x80:
                tag, position = _read_varint(content, position - 1)
            wire_type = tag & 7
            if wire_type == 2:
                size = content[position]
                position += 1
                if size >= 0x80:
                    size, position = _read_varint(content, position - 1)
                kind, cost, inner = table.get(tag >> 3, _TAG_ALONE)
                total += cost
                if kind == _MESSAGE:
                    outer.append((end, table))
                    end, table = min(position + size, end), inner
                else:
                    total += size * _NUMBER_BYTES if kind == _VARINTS else size
                    position += size
                continue
            total += _NUMBER_BYTES
            if wire_type == 0:
                while content[position] >= 0x80:
                    position += 1
                position += 1
            elif wire_type == 1:
                position += 8
            elif wire_type == 5:
                position += 4
            elif wire_type > 5:
                return max(total, length)
    except IndexError:  # it ends in the middle of a field
        return max(total, length)


def _read_varint(content, position):
    value, shift = 0, 0
    while True:
        byte = content[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80 or shift >= 70:
            return value, position


@functools.cache
def _table(descriptor):
    """Each field of a message by its number: its kind, its bytes, and the table of the message that it holds."""
    table = {}
    _fill(table, descriptor, {descriptor.full_name: table})
    return table


def _fill(table, descriptor, known):
    for field in descriptor.fields:
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            kind = field.message_type
            inner = known.get(kind.full_name)
            if inner is None:
                inner = known[kind.full_name] = {}
                _fill(inner, kind, known)
            cost = _ENTRY_BYTES if kind.GetOptions().map_entry else _MESSAGE_BYTES
            table[field.number] = (_MESSAGE, cost, inner)
        elif field.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES):
            table[field.number] = (_STRING, _STRING_BYTES, None)
        else:
            table[field.number] = (_FIXED if field.type in _FIXED_TYPES else _VARINTS, 0, None)
