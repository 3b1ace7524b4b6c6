#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""A second reader of the file format, written from doc/format.md alone.

format_reader.py FILE DENSE: the tensors of FILE, densely and one behind the other, must be
the f32 numbers in DENSE. Shows that the page suffices; it checks little and is slow.
"""
import itertools
import struct
import sys

TENSOR_NAMES = 1, 3, 4, 5  # critical types of version 1


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


class Cursor:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, size):
        piece = self.data[self.at:self.at + size]
        assert len(piece) == size, "too short"
        self.at += size
        return piece

    def number(self, size):
        return int.from_bytes(self.take(size), "little")

    def floats(self, count, half):
        return struct.unpack(f"<{count}{'e' if half else 'f'}", self.take(count * (2 if half else 4)))

    def left(self):
        return len(self.data) - self.at


def streams_of(data):
    header = Cursor(data)
    assert header.take(8) == b"\x89MSW\r\n\x1a\n"
    version, flags, length, count = (header.number(4) for _ in range(4))
    file_length, table_crc = header.number(8), header.number(4)
    assert crc32c(data[:60]) == int.from_bytes(data[60:64], "little")
    assert (version, flags, length, file_length) == (1, 0, 64, len(data))
    assert data[36:60] == bytes(24)
    table = data[64:64 + 40 * count]
    assert crc32c(table) == table_crc
    streams, end = {}, 64 + 40 * count
    for i in range(count):
        kind, flags, offset, length, expanded, crc, zero = struct.unpack_from("<IIQQQII", table, 40 * i)
        assert offset == -(-end // 64) * 64 and data[end:offset] == bytes(offset - end)
        assert zero == 0 and expanded == length and flags == (kind in TENSOR_NAMES)
        contents = data[offset:offset + length]
        assert crc32c(contents) == crc
        streams[kind] = streams.get(kind, b"") + contents
        end = offset + length
    assert end == len(data)
    return {kind: Cursor(stream) for kind, stream in streams.items()}


def class_map(cursor, classes, blocks):
    occurring = [c for c in range(3) if classes >> c & 1]
    base, digits = (3, 5) if len(occurring) == 3 else (2, 8)
    out = []
    for byte in cursor.take(-(-blocks // digits)):
        for _ in range(digits):
            out.append(byte % base)
            byte //= base
    assert not any(out[blocks:])
    return [occurring[digit] for digit in out[:blocks]]


def permutation(cursor, count, present):
    size = 1 if count <= 256 else 2 if count <= 65536 else 4
    return [cursor.number(size) for _ in range(count)] if present else list(range(count))


def view_index(kind, kernel_fastest, shape):
    """Rows and columns, and the place in the tensor of each element of the view."""
    if kind == 0:
        return shape[0], shape[1], lambda r, c: r * shape[1] + c
    if kind == 1:
        return shape[1], shape[0], lambda r, c: c * shape[1] + r
    outputs, inputs, height, width = (shape if kind == 2 else
                                      [shape[0], shape[3], shape[1], shape[2]])
    order = (list(itertools.product(range(inputs), range(height), range(width)))
             if kernel_fastest else
             [(i, h, w) for h in range(height) for w in range(width) for i in range(inputs)])

    def place(r, c):
        i, h, w = order[c]
        if kind == 2:
            return ((r * inputs + i) * height + h) * width + w
        return ((r * height + h) * width + w) * inputs + i
    return outputs, inputs * height * width, place


def unified(index, shape, half_magnitudes, half_free, flags, classes, streams):
    kind, reduction, block_rows, block_columns = (index.number(1) for _ in range(4))
    groups, payload_bytes = index.number(4), index.number(8)
    rows, columns, place = view_index(kind, reduction == 1, shape)
    row_order = permutation(streams.get(3), rows, flags & 1)
    column_order = permutation(streams.get(3), columns, flags & 2)
    group = rows // groups
    blocks = []  # each a list of elements of the view
    for first in range(0, rows, group):
        for row in range(first, first + group, block_rows):
            for column in range(0, columns, block_columns):
                blocks.append([(r, c)
                               for r in range(row, min(row + block_rows, first + group))
                               for c in range(column, min(column + block_columns, columns))])
    payload = Cursor(streams[4].take(payload_bytes))
    labels = class_map(payload, classes, len(blocks))
    magnitudes = iter(payload.floats(labels.count(2), half_magnitudes))
    free = iter(payload.floats(sum(len(b) for b, c in zip(blocks, labels) if c == 0), half_free))
    signs = payload.take(payload.left())
    dense, bit = [0.0] * (rows * columns), 0
    for block, label in zip(blocks, labels):
        magnitude = next(magnitudes) if label == 2 else 0.0
        for r, c in block:
            value = next(free) if label == 0 else magnitude
            if label == 2:
                value = -value if signs[bit // 8] >> bit % 8 & 1 else value
                bit += 1
            dense[place(row_order[r], column_order[c])] = value
    assert -(-bit // 8) == len(signs)
    return dense


def main(path, dense_path):
    with open(path, "rb") as file:
        streams = streams_of(file.read())
    with open(dense_path, "rb") as file:
        wanted = file.read()
    index, got = streams[1], b""
    for _ in range(index.number(4)):
        plain, rank, half_magnitudes, half_free, flags, classes = (index.number(1) for _ in range(6))
        name_length = index.number(2)
        shape = [index.number(8) for _ in range(rank)]
        if plain:
            count = 1
            for dimension in shape:
                count *= dimension
            dense = streams[5].floats(count, half_free)
        else:
            dense = unified(index, shape, half_magnitudes, half_free, flags, classes, streams)
        name = index.take(name_length).decode()
        assert index.number(1) == 0
        got += struct.pack(f"<{len(dense)}f", *dense)
        print(f"{name}: {shape}")
    assert all(streams[kind].left() == 0 for kind in TENSOR_NAMES if kind in streams)
    assert got == wanted, "other values"


main(*sys.argv[1:])
