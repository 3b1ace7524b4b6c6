# SPDX-License-Identifier: BSD-2-Clause
"""Malformed input: a reason and exit code 3, never a crash, never an output file."""
import io
import os
import struct
import zipfile

import numpy as np
from toolcase import INPUT, IO, MEMORY, OK, ToolCase, main, safetensors_bytes


def record(begin=0, end=16, shape=(4,), dtype='F32'):
    return {'dtype': dtype, 'shape': list(shape), 'data_offsets': [begin, end]}


def npy_bytes(header, data=b'', version=1):
    text = header.encode('latin1')
    return (b'\x93NUMPY' + bytes([version, 0]) +
            struct.pack('<H' if version == 1 else '<I', len(text)) + text + data)


# what a size says that a machine of 32 bits does not have
TOO_LARGE = 'integer' if os.environ.get('MSW_TEST_POINTER') == '4' else None


class Damage(ToolCase):
    TIMES = 12

    def refuse(self, content, says=None, name='bad'):
        with open(name, 'wb') as f:
            f.write(content)
        self.run_msw('info', name, code=INPUT, says=says)
        self.run_msw('compress', name, '-o', 'x.msw', code=INPUT, says=f'{name}: ')
        self.assert_only(name)

    def survive(self, content):
        with open('bad', 'wb') as f:
            f.write(content)
        for code in OK, INPUT, IO, MEMORY:
            try:
                return self.run_msw('info', 'bad', code=code)
            except AssertionError as e:
                problem = e
        raise problem

    def every_cut_and_some_flips(self, content):
        for size in range(0, len(content), max(1, len(content) // self.TIMES)):
            with open('bad', 'wb') as f:
                f.write(content[:size])
            self.run_msw('info', 'bad', code=INPUT)
        for position in self.random.integers(0, len(content), self.TIMES):
            damaged = bytearray(content)
            damaged[position] ^= 1 << self.random.integers(8)
            self.survive(bytes(damaged))

    def test_safetensors(self):
        data = bytes(16)
        for says, header in (
                ('overlap', {'a': record(), 'b': record()}),
                ('overlap', {'a': record(0, 16), 'b': record(8, 16, [2])}),
                ('gap', {'a': record(4, 16, [3])}),
                ('gap', {'a': record(0, 4, [1]), 'b': record(8, 16, [2])}),
                ('end after the file', {'a': record(0, 20, [5])}),
                ('belong to no tensor', {'a': record(0, 12, [3])}),
                ('belong to no tensor', {}),
                ('do not fit', {'a': record(shape=[5])}),
                (TOO_LARGE or 'do not fit', {'a': record(shape=[2**62, 2**62])}),
                (TOO_LARGE or 'do not fit', {'a': record(shape=[2**62 + 1, 4])}),
                ('dimension', {'a': record(shape=[-4])}),
                ('dimension', {'a': record(shape=[4.0])}),
                ('dimension', {'a': record(shape=['4'])}),
                ('32 dimensions', {'a': record(shape=[1] * 33)}),
                ('rising', {'a': record(16, 0)}),
                ('rising', {'a': record(-16, 0)}),
                ('rising', {'a': {'dtype': 'F32', 'shape': [4], 'data_offsets': [0]}}),
                ('rising', {'a': {'dtype': 'F32', 'shape': [4]}}),
                ('a: a dtype that is not supported: F12', {'a': record(dtype='F12')}),
                ('supported: ?[2J??31m', {'a': record(dtype='\x1b[2J\x9b31m')}),
                ('dtype', {'a': {'shape': [4], 'data_offsets': [0, 16]}}),
                ('shape', {'a': {'dtype': 'F32', 'data_offsets': [0, 16]}}),
                ('no object', {'a': 3}),
                ('no object', {'__metadata__': [], 'a': record()}),
                ('texts', {'__metadata__': {'k': 1}, 'a': record()}),
                ('control', {'a\x1b[31m': record()}),
                ('control', {'a\x9b': record()}),
                ('name', {'': record()}),
                ('name', {'n' * 1024: record()}),
                ('duplicate', b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},'
                              b'"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}'),
                ('header', b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}'),
                ('header', b'{"a\xff":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}'),
                ('header', b'{"a\\u0000":{"dtype":"F32","shape":[4],'
                           b'"data_offsets":[0,16]}}'),
                ('header', b'{' * 100000),
                ('header', b'{"a":' + b'[' * 100000),
                ('header', b'{"a":{"dtype":"F32","shape":[99999999999999999999],'
                           b'"data_offsets":[0,16]}}')):
            with self.subTest(header=header if len(str(header)) < 200 else says):
                self.refuse(safetensors_bytes(header, data), says)

    def test_safetensors_length_of_the_header(self):
        text = b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}'
        for length in 2**64 - 1, 2**63, 2**40, 100000001, len(text) + 17:
            self.refuse(struct.pack('<Q', length) + text + bytes(16), 'header longer')
        for length in 0, 1, len(text) - 1, len(text) + 16:
            self.refuse(struct.pack('<Q', length) + text + bytes(16))

    def test_safetensors_anywhere(self):
        self.every_cut_and_some_flips(safetensors_bytes(
            {'__metadata__': {'k': 'v'}, 'a': record(),
             'b': record(16, 24, [2, 2], 'F16')}, bytes(24)))

    def test_npy(self):
        good = "{'descr': '<f4', 'fortran_order': False, 'shape': (4,), }\n"
        for says, header in (
                ('a dtype that is not supported: <c8', good.replace('<f4', '<c8')),
                ('dtype', good.replace('<f4', '<f16')),
                ('dtype', good.replace('<f4', '|O')),
                ('dtype', good.replace('<f4', '<U4')),
                ('dtype', good.replace('<f4', '|f4')),
                ('dtype', good.replace('<f4', '')),
                ('dtype', good.replace("'<f4'", "[('a', '<f4')]")),
                ('dimension', good.replace('(4,)', '(-4,)')),
                ('tuple', good.replace('(4,)', '(4.0,)')),
                ('dimension', good.replace('(4,)', '(,)')),
                ('dimension', good.replace('(4,)', '(99999999999999999999,)')),
                (TOO_LARGE or 'overflow', good.replace('(4,)', f'({2**62}, {2**62})')),
                (TOO_LARGE or 'cut short', good.replace('(4,)', f'({2**50},)')),
                ('tuple', good.replace('(4,)', '(4)')),
                ('tuple', good.replace('(4,)', '[4]')),
                ('32 dimensions', good.replace('(4,)', '(' + '1,' * 33 + ')')),
                ('fortran_order', good.replace('False', '0')),
                ('missing', good.replace("'fortran_order': False, ", '')),
                ('repeated', good.replace('}', "'descr': '<f4'}")),
                ('unknown', good.replace('}', "'x': 1}")),
                ('malformed', good.replace('}', '')),
                ('malformed', good.replace(':', '')),
                ('malformed', "{'" + 'd' * 40),
                ('dictionary', ''),
                ('dictionary', '\0' * 40),
                ('text after', good + 'x')):
            with self.subTest(header=header):
                self.refuse(npy_bytes(header, bytes(16)), says)
        self.refuse(npy_bytes(good, bytes(15)), 'cut short')
        self.refuse(npy_bytes(good, bytes(17)), 'bytes behind')
        self.refuse(npy_bytes(good, bytes(16), 4), 'version')
        self.refuse(npy_bytes(good + ' ' * 70000, bytes(16), 2), '64 KiB')
        self.refuse(b'\x93NUMPY\2\0\xff\xff\xff\xff' + bytes(100), '64 KiB')
        content = io.BytesIO()
        np.save(content, self.normal(3, 4))
        self.every_cut_and_some_flips(content.getvalue())

    def test_npy_huge_claim_costs_nothing(self):
        self.refuse(npy_bytes("{'descr': '<f4', 'fortran_order': False, 'shape': "
                              f'({2**60},)' + ', }\n', bytes(64)), TOO_LARGE or 'cut short')

    def npz(self, members, method=zipfile.ZIP_STORED):
        content = io.BytesIO()
        with zipfile.ZipFile(content, 'w', method) as z:
            for name, data in members:
                z.writestr(name, data)
        return bytearray(content.getvalue())

    def test_npz(self):
        array = io.BytesIO()
        np.save(array, self.normal(3, 4))
        array = array.getvalue()
        self.refuse(self.npz([('a.npy', array), ('readme', b'hello')]), 'readme')
        self.refuse(self.npz([('a.npy', array[:-1])]), 'size')
        self.refuse(self.npz([('a.npy', array + b'x')]), 'size')
        self.refuse(self.npz([('a.npy', b'')]), 'npy')
        self.refuse(self.npz([('a.npy', array), ('a', array)]), 'two arrays')
        self.refuse(self.npz([('\x1b\u03b1.npy', array)])) # as UTF-8
        damaged = self.npz([('a.npy', array)])
        damaged[damaged.index(array) + len(array) - 1] ^= 1
        self.refuse(damaged, 'CRC')
        for method in zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED:
            self.every_cut_and_some_flips(bytes(self.npz([('a.npy', array)], method)))

    def test_npz_bomb_that_lies(self):
        header = npy_bytes("{'descr': '<f4', 'fortran_order': False, "
                           "'shape': (268435456,), }\n")
        self.refuse(self.npz([('a.npy', header + bytes(1000))], zipfile.ZIP_DEFLATED),
                    'size')

    def test_msw(self):
        np.savez('a.npz', w=self.normal(16, 16), b=self.normal(3))
        self.run_msw('compress', 'a.npz', '-o', 'ok.msw')
        content = self.content('ok.msw')
        for position in self.random.integers(0, len(content), self.TIMES):
            damaged = bytearray(content)
            damaged[position] ^= 1 << self.random.integers(8)
            with open('bad', 'wb') as f:
                f.write(damaged)
            self.run_msw('verify', 'bad', code=INPUT, says='bad')
        with open('bad', 'wb') as f:
            f.write(content[:-1])
        self.run_msw('export', 'bad', '-o', 'x.npz', code=INPUT, says='bad')

    def test_something_else(self):
        for content in b'', b'\0' * 100, b'#!/bin/sh\n', bytes(range(256)):
            self.refuse(content, 'neither' if content else 'the file is empty')


if __name__ == '__main__':
    main()
