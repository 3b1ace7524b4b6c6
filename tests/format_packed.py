# SPDX-License-Identifier: BSD-2-Clause
"""The packed form for format_reader.py, written from section 12 of doc/format.md alone."""
import struct

NONE = 0xFFFFFFFF
FIRST, LAST = 1 << 31, 1 << 30


def up(a, b):
    return -(-a // b)


class Cursor:
    """Parts that begin at multiples of 64, zeros between them."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, size):
        piece = self.data[self.at:self.at + size]
        assert len(piece) == size
        end = up(self.at + size, 64) * 64
        assert not any(self.data[self.at + size:end])
        self.at = end
        return piece

    def array(self, form, count):
        size = struct.calcsize("<" + form)
        return list(struct.iter_unpack("<" + form, self.take(size * count)))


class Packing:
    def __init__(self, cursor):
        *counts, flags = struct.unpack("<5QI", cursor.take(64)[:44])
        chunks, stages, columns, tables, words = counts
        assert flags <= 1 and chunks and stages
        self.chunks = cursor.array("4Q2I", chunks)
        self.stages = cursor.array("3Q4I", stages)
        self.columns = [c for c, in cursor.array("I", columns)]
        self.tables = [t for t, in cursor.array("H", tables)]
        code = cursor.take(4 * (words + 8))
        assert not any(code[4 * words:])
        self.code = code[:4 * words]

    def word(self, at):
        return struct.unpack_from("<I", self.code, 4 * at)[0]

    def number(self, at):
        return struct.unpack_from("<f", self.code, 4 * at)[0]


def negative(value):
    return struct.pack("<f", value)[3] >> 7 == 1


class View:
    """What both packings cut: rows x columns in blocks of height x width."""

    def __init__(self, rows, columns, height, width, column_order):
        self.rows, self.columns, self.height, self.width = rows, columns, height, width
        self.order = column_order
        self.place = {c: i for i, c in enumerate(column_order)}
        self.weights = {}

    def put(self, row, column, value):
        assert (row, column) not in self.weights
        self.weights[row, column] = value

    def named(self, columns, first, count):
        """These columns of X are so many of the view, then none."""
        wanted = [self.order[c] for c in range(first, first + count)]
        assert columns == wanted + [NONE] * (len(columns) - count)


def strips_of_block_rows(view, height):
    """First row and rows of each strip."""
    return [(row + at, min(height, view.height - at, view.rows - row - at))
            for row in range(0, view.rows, view.height)
            for at in range(0, min(view.height, view.rows - row), height)]


class Wide:
    version = 2

    def __init__(self, view, layout):
        self.view, self.panel, self.rows = view, layout >> 16 & 255, layout >> 24
        parts = up(view.width, 16)
        self.unit = up(view.width, parts)
        self.unit = up(self.unit, 4) * 4 if parts > 1 else self.unit
        self.strips = strips_of_block_rows(view, self.rows)

    def unit_of(self, columns):
        view, first = self.view, self.view.place[columns[0]]
        block_end = min((first // view.width + 1) * view.width, view.columns)
        assert first % view.width % self.unit == 0
        count = min(self.unit, block_end - first)
        view.named(columns, first, count)
        return first, count

    def begin(self, strips):
        self.states = ["new"] * strips

    def end(self):
        assert all(state == "done" for state in self.states)

    def stage(self, p, at, chunk, units, tables, coded, ending):
        self.multiplied, lasts = set(), 0
        for _ in range(coded):
            head = p.word(at)
            lasts += head & LAST != 0
            number = head & (LAST - 1)
            assert self.states[number] == ("new" if head & FIRST else "begun")
            self.states[number] = "done" if head & LAST else "begun"
            at = self.strip(p, at, *chunk[number], units, [t & 0x7FFF for t in tables])
        assert lasts == ending
        for table in tables:
            assert (table & 0x7FFF not in self.multiplied) == (table >> 15 == 1)
        return at

    def strip(self, p, at, first, rows, units, tables):
        head = p.word(at + 2)
        assert head >> 24 == rows and p.word(at + 1) == first
        at += 3
        for number in range(head & 0xFFF):
            magnitude = p.number(at)
            at += 1
            if head & 0xFFF != len(tables):
                size = 64 * up(self.unit, 4) * self.panel
                assert p.word(at) % size == 0
                number = p.word(at) // size
                at += 1
            column, count = units[tables[number]]
            for r in range(rows):
                for c in range(count):
                    sign = p.word(at + c // 4) >> 4 * r + c % 4 & 1
                    self.view.put(first + r, column + c, -magnitude if sign else magnitude)
            at += up(self.unit, 4)
        for _ in range(head >> 12 & 0xFFF):
            size = 4 * self.unit * self.panel
            column, count = units[p.word(at) // size]
            self.multiplied.add(p.word(at) // size)
            for c in range(count):
                for r in range(rows):
                    self.view.put(first + r, column + c, p.number(at + 1 + c * self.rows + r))
            at += 1 + self.unit * self.rows
        return at


class Narrow:
    unit, version = 8, 2

    def __init__(self, view, layout):
        assert layout >> 16 == 8 << 8 | 4
        self.view = view
        self.bands = next((b for b in (8, 4, 2, 1) if b * view.height <= 8), 1)
        if self.bands == 1:
            self.strips = strips_of_block_rows(view, up(view.height, up(view.height, 8)))
        else:
            height = self.bands * view.height
            self.strips = [(row, min(height, view.rows - row))
                           for row in range(0, view.rows, height)]
        blocks = [(c, min(view.width, view.columns - c))
                  for c in range(0, view.columns, view.width)]
        if view.width < 3:
            blocks = [(0, view.columns)]
        groups = [(c + at, min(4, count - at)) for c, count in blocks
                  for at in range(0, up(view.width, 4) * 4 if view.width > 2 else count, 4)]
        groups = [(c, max(count, 0)) for c, count in groups]
        groups += [(0, 0)] * (len(groups) % 2)
        self.units = {groups[i][0]: groups[i:i + 2] for i in range(0, len(groups), 2)}
        self.even = view.width > 2 and up(view.width, 4) % 2 == 0

    def unit_of(self, columns):
        groups = self.units[self.view.place[columns[0]]]
        for g, (first, count) in enumerate(groups):
            self.view.named(columns[4 * g:4 * g + 4], first, count)
        return groups

    def row(self, lane, first, rows):
        if self.bands > 1:
            within = lane // self.bands
            lane = lane % self.bands * self.view.height + within
            if within >= self.view.height:
                return None
        return first + lane if lane < rows else None

    def look_up(self, row, group, magnitude, signs):
        if row is None or magnitude == 0:
            assert signs == 0
            return
        for c in range(group[1]):
            self.view.put(row, group[0] + c, -magnitude if signs >> c & 1 else magnitude)
        assert signs >> group[1] == 0

    def free(self, row, group, c, value):
        if row is None or c >= group[1]:
            assert value == 0
        else:
            self.view.weights.setdefault((row, group[0] + c), value)
            assert self.view.weights[row, group[0] + c] == value

    def begin(self, strips):
        pass

    def end(self):
        pass

    def numbers(self, p, at, count, chunk):
        found = [p.word(at + i) for i in range(count)]
        assert all(x < y for x, y in zip(found, found[1:]))
        return [chunk[number] for number in found], at + count

    def line(self, p, at):
        end = up(at, 16) * 16
        assert not any(p.code[4 * at:4 * end])
        return end

    def add(self, p, strip, groups, at, signs):
        """Magnitudes at a word; signs(g, lane)."""
        for lane in range(8):
            for g in range(2):
                place = at + lane % self.bands + (0 if self.even else g * self.bands)
                self.look_up(self.row(lane, *strip), groups[g], p.number(place),
                             signs(g, lane))

    def stage(self, p, at, chunk, units, tables, coded, ending):
        assert coded == ending == 0 and len(units) <= 4
        quads, *counts = [p.word(at + i) for i in range(9)]
        lookups, free = counts[:4], counts[4:]
        assert not any(lookups[len(units):] + free[len(units):])
        magnitudes = self.bands * (1 if self.even else 2)
        strips, at = self.numbers(p, at + 9, quads, chunk)
        if quads:
            at = self.line(p, at)
        end = at + 16 * quads
        for i, strip in enumerate(strips):
            code = p.code[4 * (at + 16 * i):4 * (at + 16 * i + 16)]
            assert all(byte >> 4 == j // 32 for j, byte in enumerate(code))
            for u in range(4):
                groups = units[u] if u < len(units) else [(0, 0), (0, 0)]
                self.add(p, strip, groups, end + (4 * i + u) * magnitudes,
                         lambda g, lane: code[32 * g + 4 * lane + u] & 15)
        at = end + 4 * magnitudes * quads
        for groups, count, products in zip(units, lookups, free):
            strips, at = self.numbers(p, at, count, chunk)
            end = at + count * magnitudes
            for i, strip in enumerate(strips):
                code = p.code[4 * (end + 2 * i):4 * (end + 2 * i + 2)]
                self.add(p, strip, groups, at + i * magnitudes,
                         lambda g, lane: code[lane] >> 4 * g & 15)
            strips, at = self.numbers(p, end + 2 * count, products, chunk)
            if products:
                at = self.line(p, at)
            for strip in strips:
                for c in range(8):
                    for lane in range(8):
                        self.free(self.row(lane, *strip), groups[c // 4], c % 4,
                                  p.number(at + 8 * c + lane))
                at += 64
        return at


def read_packing(p, cut):
    strips, column, table, word, stage = iter(cut.strips), 0, 0, 0, 0
    for first_stage, stages, first_row, rows, _, strip_count in p.chunks:
        chunk = [next(strips) for _ in range(strip_count)]
        assert (first_row, rows) == (chunk[0][0], sum(r for _, r in chunk))
        assert first_stage == stage and stages
        cut.begin(strip_count)
        for s in p.stages[stage:stage + stages]:
            assert s[:3] == (column, table, word)
            count, tables, coded, ending = s[3:]
            units = [cut.unit_of(p.columns[column + cut.unit * i:column + cut.unit * (i + 1)])
                     for i in range(count)]
            with_tables = p.tables[table:table + tables]
            column, table = column + cut.unit * count, table + tables
            word = cut.stage(p, word, chunk, units, with_tables, coded, ending)
        cut.end()
        stage += stages
    assert (stage, column, table, 4 * word) == (len(p.stages), len(p.columns), len(p.tables),
                                                len(p.code))
    assert next(strips, None) is None


def packed_payload(data, layouts, groups, view_of, class_map, blocks):
    """Labels of the blocks, and a dictionary of the weights; both packings agree.

    view_of(): a new View of one group. class_map(bytes): labels, and where the bits behind
    them begin.
    """
    cursor, kinds = Cursor(data), [(k, n) for k, n in zip((Wide, Narrow), layouts) if n]
    found = [{} for _ in kinds]
    for group in range(groups):
        for weights, (kind, layout) in zip(found, kinds):
            assert layout & 0xFFFF == kind.version
            packing, view = Packing(cursor), view_of()
            read_packing(packing, kind(view, layout))
            weights.update({(group * view.rows + r, c): value
                            for (r, c), value in view.weights.items()})
    labels, bits = class_map(data[cursor.at:])
    bits = [byte >> i & 1 for byte in bits for i in range(8)]
    weights = {}
    for block, label in zip(blocks, labels):
        for packed in found:
            values = [packed.get(at) for at in block]
            there = [v for v in values if v is not None]
            assert label or len(there) == len(block)
            if label == 1 or (label == 2 and not any(there)):
                assert not any(there)
            elif label == 2:
                assert len({abs(v) for v in values}) == 1
        weights.update({at: found[0].get(at) or 0.0 for at in block})
        if label == 2 and not any(weights[at] for at in block):
            minus, *signs = bits[:1 + len(block)]
            bits = bits[1 + len(block):]
            for at, sign in zip(block, signs):
                weights[at] = -0.0 if sign != minus else 0.0
        elif label == 0:
            weights.update({at: found[0][at] for at in block})
    assert not any(bits)
    return weights
