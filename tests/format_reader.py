#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""A second reader of the file format, written from doc/format.md alone.

format_reader.py FILE DENSE: the tensors of FILE, densely and one behind the other, must be
the f32 numbers in DENSE. Shows that the page suffices; it checks little and is slow.
"""
import itertools
import struct
import sys

from format_packed import View, packed_payload

CRITICAL = 1, 3, 4, 5, 6, 7, 8  # section types of version 1


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


class Nodes:
    """Merged blocks: the level of each block, and the first block of its node."""

    def __init__(self, rows, columns, groups, most):
        self.rows, self.columns, self.most = rows, columns, most
        self.count = rows * groups * columns
        self.levels, self.first = [None] * self.count, [None] * self.count

    def possible(self, block):
        """Levels of a node that could begin with this block, the highest first."""
        row, column = block // self.columns % self.rows, block % self.columns
        for level in range(self.most, 0, -1):
            side, half = 2**level, 2**(level - 1)
            if row % side or column % side:
                continue
            if self.rows - row > half or self.columns - column > half:
                yield level

    def begin(self, block, level):
        row, column = block // self.columns % self.rows, block % self.columns
        for r in range(min(2**level, self.rows - row)):
            for c in range(min(2**level, self.columns - column)):
                at = block + r * self.columns + c
                assert self.levels[at] is None
                self.levels[at], self.first[at] = level, block

    def firsts(self):
        return [b for b in range(self.count) if self.first[b] == b]

    def spread(self, values):
        """A value of each node to all of its blocks."""
        assert len(values) == len(self.firsts())
        of = dict(zip(self.firsts(), values))
        return [of[first] for first in self.first]

    def read_map(self, cursor):
        bits, at = [], 0
        wanted = sum(1 for b in range(self.count) for _ in self.possible(b))
        for byte in cursor.take(-(-wanted // 8)):
            bits += [byte >> i & 1 for i in range(8)]
        for block in range(self.count):
            for level in self.possible(block):
                if bits[at]:
                    self.begin(block, level)
                at += 1
            if self.levels[block] is None:
                self.begin(block, 0)
        assert not any(bits[wanted:]) and max(self.levels) == self.most

    def decode(self, decoder):
        """Levels and classes of the transport form."""
        splits, pruned = ([models(16) for _ in range(self.most + 1)] for _ in range(2))
        unified_, out = models(16), [None] * self.count
        for block in range(self.count):
            if self.levels[block] is not None:
                out[block] = out[self.first[block]]
                continue
            left = out[block - 1] if block % self.columns else 3
            top = out[block - self.columns] if block >= self.columns else 3
            context = 4 * left + top
            level = next((level for level in self.possible(block)
                          if decoder.bit(splits[level][context], True)), 0)
            self.begin(block, level)
            if decoder.bit(pruned[level][context], True):
                out[block] = 1
            elif level == 0:
                out[block] = 2 if decoder.bit(unified_[context], True) else 0
            else:
                out[block] = 2
        assert max(self.levels) == self.most
        return out


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
        assert zero == 0 and expanded == length and flags == (kind in CRITICAL)
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


class RangeDecoder:
    """Raw bits from the front of a payload, the range from its end."""

    def __init__(self, data):
        self.data, self.at, self.bits = data, len(data) - 8, 0
        self.code, self.range = int.from_bytes(data[-8:], "little"), 2**64 - 1
        self.skipped = 0

    def skip(self, size):
        self.data, self.at, self.skipped = self.data[size:], self.at - size, size
        assert self.at >= 0

    def bit(self, model, limited=False):
        """A bit by its model: [probability of 0 in 1 / 2^16, times seen]."""
        zero, seen = model
        used = min(max(zero, 1024), 65536 - 1024) if limited else zero
        bound = (self.range >> 16) * used
        rate = 65536 // (seen + 2)
        if self.code < bound:
            self.range, bit = bound, 0
            model[0] = zero + ((65536 - zero) * rate >> 16)
        else:
            self.range, self.code, bit = self.range - bound, self.code - bound, 1
            model[0] = zero - (zero * rate >> 16)
        model[1] = min(seen + 1, 126)
        if self.range < 2**32:
            self.at -= 4
            assert self.at >= 0
            word = int.from_bytes(self.data[self.at:self.at + 4], "little")
            self.range, self.code = self.range << 32, self.code << 32 | word
        return bit

    def raw(self, count):
        value = int.from_bytes(self.data, "little") >> self.bits & 2**count - 1
        self.bits += count
        return value

    def tree(self, models, depth):
        node = 1
        for _ in range(depth):
            node = 2 * node + self.bit(models[node])
        return node - (1 << depth)

    def finish(self, least=0):
        """At least so many bytes in all, the rest zeros."""
        end = -(-self.bits // 8)
        assert self.code == 0
        assert end == self.at or (end < self.at and len(self.data) == least)
        assert not any(self.data[end:self.at])
        if self.bits % 8:
            assert self.data[end - 1] >> self.bits % 8 == 0


def models(count):
    return [[32768, 0] for _ in range(count)]


def value_of(key, dtype, parameter):
    """The value that a key stands for, as an f32, and how many bits a key may have."""
    if dtype == 1:
        return struct.unpack("<e", struct.pack("<H", key))[0]
    if dtype == 2:
        step = struct.unpack("<f", struct.pack("<I", parameter))[0]
        return struct.unpack("<f", struct.pack("<f", key * step))[0]
    return struct.unpack("<f", struct.pack("<I", key << (23 - parameter if dtype == 3 else 0)))[0]


def coded_keys(decoder, count, dtype, parameter, signs):
    if count == 0:
        return []
    key_bits = (31, 15, 15, 8 + parameter)[dtype]
    base, width = decoder.raw(key_bits), decoder.raw(5)
    depth, nodes, keys, out = min(width, 10), models(1024), [], []
    for _ in range(count):
        key = decoder.tree(nodes, depth) << width - depth
        negative = decoder.raw(1) if signs else 0
        key |= decoder.raw(width - depth)
        keys.append(key)
        value = value_of(base + key, dtype, parameter)
        out.append(-value if negative else value)
    assert min(keys) == 0 and max(keys).bit_length() == width
    assert (base + max(keys)).bit_length() <= key_bits
    return out


def coded_uniform(decoder, count, parameter):
    longest = decoder.raw(4)
    depth = max(1, longest.bit_length())
    lengths = [models(16) for _ in range(21)]
    following = [models(4) for _ in range(16)]
    level, out, seen = 0, [], 0
    for _ in range(count):
        length = decoder.tree(lengths[level.bit_length()], depth)
        key = 1 if length else 0
        behind = max(length - 1, 0)
        for _ in range(min(behind, 2)):
            key = 2 * key + decoder.bit(following[length][key])
            behind -= 1
        negative = decoder.raw(1) if key else 0
        key = key << behind | decoder.raw(behind)
        value = value_of(key, 2, parameter)
        out.append(-value if negative else value)
        level += 2 * key - (level >> 3)
        seen = max(seen, length)
    assert seen == longest
    return out


def coded_values(decoder, count, dtype, parameter):
    if count and dtype == 2:
        return coded_uniform(decoder, count, parameter)
    return coded_keys(decoder, count, dtype, parameter, True)


def coded_classes(decoder, blocks, columns):
    pruned, unified_ = models(16), models(16)
    out = []
    for block in range(blocks):
        left = out[block - 1] if block % columns else 3
        top = out[block - columns] if block >= columns else 3
        context = 4 * left + top
        if decoder.bit(pruned[context], True):
            out.append(1)
        else:
            out.append(2 if decoder.bit(unified_[context], True) else 0)
    return out


def transport_payload(data, block_sizes, columns, floats, nodes):
    decoder = RangeDecoder(data)
    labels = nodes.decode(decoder) if nodes else coded_classes(decoder, len(block_sizes), columns)
    of_nodes = [labels[b] for b in nodes.firsts()] if nodes else labels
    signs = sum(size for size, label in zip(block_sizes, labels) if label == 2)
    free = sum(size for size, label in zip(block_sizes, labels) if label == 0)
    decoder.skip(-(-signs // 8))
    (magnitude_type, magnitude_parameter), (free_type, free_parameter) = floats
    magnitudes = coded_keys(decoder, of_nodes.count(2), magnitude_type, magnitude_parameter, False)
    values = coded_values(decoder, free, free_type, free_parameter)
    decoder.finish(len(block_sizes) // 353 - decoder.skipped if nodes else 0)
    return labels, magnitudes, values, data[:-(-signs // 8)]


def unified(index, shape, types, flags, classes, streams):
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
    nodes = None
    if flags >> 4:
        nodes = Nodes(-(-group // block_rows), -(-columns // block_columns), groups, flags >> 4)
        assert streams[6].number(1) == nodes.most
        if not flags & 4:
            nodes.read_map(streams[6])
    if flags & 8:
        return packed(index, streams, payload_bytes, classes, groups, blocks, nodes,
                      lambda: View(group, columns, block_rows, block_columns, column_order),
                      lambda r, c: place(row_order[r], column_order[c]))
    if flags & 4:
        parameters = index.number(4), index.number(4)
        data = streams[8].take(payload_bytes)
        labels, magnitudes, free, signs = transport_payload(
            data, [len(b) for b in blocks], -(-columns // block_columns),
            list(zip(types, parameters)), nodes)
    else:
        payload = Cursor(streams[4].take(payload_bytes))
        labels = class_map(payload, classes, len(nodes.firsts() if nodes else blocks))
        magnitudes = payload.floats(labels.count(2), types[0])
        labels = nodes.spread(labels) if nodes else labels
        free = payload.floats(sum(len(b) for b, c in zip(blocks, labels) if c == 0), types[1])
        signs = payload.take(payload.left())
    assert sum(1 << c for c in set(labels)) == classes
    if nodes:
        unified_ = iter(magnitudes)
        magnitudes = nodes.spread([next(unified_) if labels[b] == 2 else None
                                   for b in nodes.firsts()])
        magnitudes = [m for m in magnitudes if m is not None]
    magnitudes, free = iter(magnitudes), iter(free)
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


def packed(index, streams, size, classes, groups, blocks, nodes, view_of, place):
    def labels_and_rest(data):
        cursor = Cursor(data)
        labels = class_map(cursor, classes, len(blocks))
        if nodes:
            assert labels == nodes.spread([labels[b] for b in nodes.firsts()])
        return labels, data[cursor.at:]

    layouts = index.number(4), index.number(4)
    weights = packed_payload(streams[7].take(size), layouts, groups, view_of, labels_and_rest,
                             blocks)
    if nodes:
        for block, first in zip(blocks, nodes.first):
            assert nodes.levels[first] == 0 or abs(weights[block[0]]) == abs(
                weights[blocks[first][0]])
    dense = [0.0] * len(weights)
    for (r, c), value in weights.items():
        dense[place(r, c)] = value
    return dense


def plain_tensor(index, shape, dtype, flags, streams):
    count = 1
    for dimension in shape:
        count *= dimension
    if not flags & 4:
        return streams[5].floats(count, dtype)
    payload_bytes, zero, parameter = index.number(8), index.number(4), index.number(4)
    assert zero == 0
    decoder = RangeDecoder(streams[8].take(payload_bytes))
    values = coded_values(decoder, count, dtype, parameter)
    decoder.finish()
    return values


def main(path, dense_path):
    with open(path, "rb") as file:
        streams = streams_of(file.read())
    with open(dense_path, "rb") as file:
        wanted = file.read()
    index, got = streams[1], b""
    for _ in range(index.number(4)):
        plain, rank, magnitudes, free, flags, classes = (index.number(1) for _ in range(6))
        name_length = index.number(2)
        shape = [index.number(8) for _ in range(rank)]
        if plain:
            dense = plain_tensor(index, shape, free, flags, streams)
        else:
            dense = unified(index, shape, (magnitudes, free), flags, classes, streams)
        name = index.take(name_length).decode()
        assert index.number(1) == 0
        got += struct.pack(f"<{len(dense)}f", *dense)
        print(f"{name}: {shape}")
    assert all(streams[kind].left() == 0 for kind in CRITICAL if kind in streams)
    assert got == wanted, "other values"


main(*sys.argv[1:])
