# SPDX-License-Identifier: BSD-2-Clause
"""explain, diff and show."""
import re
import struct
import zlib

import numpy as np
from toolcase import DIFFERENT, INPUT, IO, USAGE, ToolCase, main, write_safetensors

WHITE, ORANGE = (255, 255, 255), (230, 140, 30)


def read_png(path):
    """Of 8-bit RGB: an array [height][width][3]."""
    with open(path, 'rb') as f:
        content = f.read()
    assert content[:8] == b'\x89PNG\r\n\x1a\n'
    at, data = 8, b''
    while at < len(content):
        length, = struct.unpack('>I', content[at:at + 4])
        kind, body = content[at + 4:at + 8], content[at + 8:at + 8 + length]
        crc = int.from_bytes(content[at + 8 + length:at + 12 + length], 'big')
        assert zlib.crc32(kind + body) == crc
        if kind == b'IHDR':
            width, height, depth, colour, _, _, interlaced = struct.unpack('>IIBBBBB', body)
            assert (depth, colour, interlaced) == (8, 2, 0)
        elif kind == b'IDAT':
            data += body
        at += 12 + length
    lines = np.frombuffer(zlib.decompress(data), 'u1').reshape(height, 1 + 3 * width)
    assert not lines[:, 0].any() # no filters
    return lines[:, 1:].reshape(height, width, 3).astype('i4')


class Explain(ToolCase):
    def test_every_layer(self):
        np.savez('a.npz', fc=self.normal(64, 96), conv=self.normal(16, 8, 3, 3),
                 dw=self.normal(8, 1, 3, 3), bias=self.normal(3))
        self.run_msw('compress', 'a.npz', '-o', 'x.msw', '--groups', 'dw=8')
        for n in 1, 7, 64:
            said = self.run_msw('explain', '--n', n, 'x.msw').splitlines()
            self.assertIn(f'N = {n};', said[0])
            layers = {line.split()[0]: line.split() for line in said[2:]}
            self.assertEqual(set(layers), {'fc', 'conv', 'dw'})
            self.assertEqual(layers['conv'][1], '16x72')
            for name, words in layers.items():
                self.assertGreater(len(words), 7, words) # a kernel, and a reason
        self.run_msw('explain', 'a.npz', code=INPUT, says='not a .msw')
        self.run_msw('explain', '--n', 0, 'x.msw', code=USAGE)

    def test_nothing_to_explain(self):
        np.savez('a.npz', w=self.normal(8, 8))
        self.run_msw('compress', 'a.npz', '-o', 'x.msw', '--except', '*', code=INPUT)
        np.savez('b.npz', b=self.normal(4))
        self.run_msw('compress', 'b.npz', '-o', 'x.msw', code=INPUT, says='no matrix')


class Diff(ToolCase):
    def test_formats_agree(self):
        w = self.normal(16, 16)
        np.savez('a.npz', w=w, n=np.array([np.nan, np.inf, 1], '<f4'), i=np.arange(3))
        self.run_msw('export', 'a.npz', '-o', 'a.safetensors')
        self.run_msw('compress', 'a.npz', '-o', 'a.msw', '--prune', 0, '--unify', 0)
        for other in 'a.npz', 'a.safetensors', 'a.msw':
            self.assertIn('3 tensors compared, 0 differences',
                          self.run_msw('diff', 'a.npz', other))

    def test_differences(self):
        w = self.normal(16, 16)
        np.savez('a.npz', w=w, i=np.arange(3), s=self.normal(2), x=self.normal(3),
                 t=np.arange(2))
        v = w.copy()
        v[3, 4] = 100
        np.savez('b.npz', w=v, i=np.arange(1, 4), s=self.normal(4), y=self.normal(3),
                 t=np.arange(2, dtype='i2'))
        said = self.run_msw('diff', 'a.npz', 'b.npz', code=DIFFERENT)
        for expected in ('w: 1 of 256 values differ', 'the most at 52',
                         'i: the values differ', 's: shapes 2 and 4',
                         'x: only in the first', 'y: only in the second',
                         't: types I64 and I16', '4 tensors compared, 6 differences'):
            self.assertIn(expected, said)
        self.assertEqual(self.run_msw('diff', '-q', 'a.npz', 'b.npz', code=DIFFERENT), '')

    def test_tolerance(self):
        w = self.normal(16, 16)
        np.savez('a.npz', w=w)
        np.savez('b.npz', w=w * np.float32(1.001))
        self.run_msw('diff', 'a.npz', 'b.npz', '--tolerance', 0.002)
        said = self.run_msw('diff', 'a.npz', 'b.npz', '--tolerance', 0.0005, code=DIFFERENT)
        self.assertAlmostEqual(float(re.search(r'distance ([^;]*);', said)[1]), 0.001, 5)
        np.savez('b.npz', w=np.full_like(w, np.nan))
        self.run_msw('diff', 'a.npz', 'b.npz', '--tolerance', 1e30, code=DIFFERENT)

    def test_classes(self):
        np.savez('a.npz', w=self.normal(32, 32))
        self.run_msw('compress', 'a.npz', '-o', 'a.msw', '--prune', 0.5, '--unify', 0.25)
        self.run_msw('compress', 'a.npz', '-o', 'b.msw', '--prune', 0.25, '--unify', 0.25)
        self.run_msw('compress', 'a.npz', '-o', 'c.msw', '--block', '4x4')
        said = self.run_msw('diff', 'a.msw', 'b.msw', code=DIFFERENT)
        self.assertRegex(said, r'w: \d+ of 16 blocks are of another class')
        said = self.run_msw('diff', 'a.msw', 'c.msw', code=DIFFERENT)
        self.assertIn('w: cut into other blocks', said)


class Show(ToolCase):
    def show(self, w, *arguments):
        np.savez('a.npz', w=w)
        self.run_msw('compress', '-f', 'a.npz', '-o', 'x.msw', *arguments)
        self.run_msw('show', '-f', 'x.msw', 'w', '-o', 'x.png')
        return read_png('x.png')

    def test_classes_and_magnitudes(self):
        w = np.zeros((16, 24), '<f4')
        w[:8, :8] = np.where(self.normal(8, 8) < 0, -2, 2) # nothing to lose by unifying
        w[8:, 8:16] = np.where(self.normal(8, 8) < 0, -1, 1)
        w[:8, 16:] = 10 * self.normal(8, 8)
        w[8:, 16:] = 20 * self.normal(8, 8)
        picture = self.show(w, '--prune', 1 / 3, '--unify', 1 / 3)
        zoom = 512 // 24
        self.assertEqual(picture.shape, (2 * 16 * zoom + 8, 24 * zoom, 3))
        at = lambda row, column: tuple(picture[row * zoom + 1, column * zoom + 1])
        self.assertEqual(at(4, 12), WHITE)
        self.assertEqual(at(12, 4), WHITE)
        self.assertEqual(at(4, 20), ORANGE)
        self.assertEqual(at(12, 20), ORANGE)
        strong, weak = at(4, 4), at(12, 12)
        self.assertGreater(strong[2], strong[0]) # blue
        self.assertLess(strong[0], weak[0])
        below = picture[16 * zoom + 8:][::zoom, ::zoom, 0]
        expected = np.rint(255 * (1 - np.abs(w) / np.abs(w).max()))
        self.assertLessEqual(np.abs(below - expected).max(), 1)

    def test_convolution_view(self):
        w = np.zeros((8, 8, 2, 2), '<f4')
        w[:, :, 1, 0] = 1 # the third kernel position: columns 16 to 23 of 32
        picture = self.show(w, '--prune', 0.75, '--unify', 0.25)
        zoom = 512 // 32
        row = picture[1, ::zoom]
        self.assertTrue((row[:16] == 255).all() and (row[24:] == 255).all())
        self.assertFalse((row[16:24] == 255).all())

    def test_large_and_dense(self):
        np.savez('a.npz', w=self.normal(3, 10000), v=self.normal(5), i=np.arange(3))
        self.run_msw('compress', 'a.npz', '-o', 'x.msw')
        self.run_msw('show', 'x.msw', 'w', '-o', 'x.png')
        self.assertEqual(read_png('x.png').shape, (1 + 8 + 1, 3334, 3))
        self.run_msw('show', 'a.npz', 'v', '-o', 'v.png')
        self.assertEqual(read_png('v.png').shape, (102, 510, 3))
        self.run_msw('show', 'a.npz', 'v', '-o', 'v.png', code=IO, says='exists')
        self.run_msw('show', 'a.npz', 'u', '-o', 'u.png', code=INPUT, says='no such tensor')
        self.run_msw('show', 'a.npz', 'v', '-o', 'v.svg', code=USAGE, says='.png')
        self.run_msw('show', 'a.npz', 'i', '-o', 'u.png', code=INPUT, says='no floats')
        odd = np.array([np.nan, np.inf, 1], '<f4')
        write_safetensors('b.safetensors', {'n': ('F32', odd)})
        self.run_msw('show', 'b.safetensors', 'n', '-o', 'n.png')


if __name__ == '__main__':
    main()
