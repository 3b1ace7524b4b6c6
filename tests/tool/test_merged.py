# SPDX-License-Identifier: BSD-2-Clause
"""Files with merged blocks: what is said of them, and pictures."""
import os

import numpy as np
from test_reports import read_png
from toolcase import DIFFERENT, USAGE, ToolCase, main

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'golden')
MERGED = os.path.join(GOLDEN, 'ok-1-merged.msw')
GREY = (128, 128, 128)


class Info(ToolCase):
    def test_nodes(self):
        told = self.run_msw('info', MERGED).splitlines()
        tensors = self.tensors(MERGED)
        self.assertEqual(len(tensors), 9)
        for name, levels in ('small blocks', 2), ('groups', 1), ('single weights', 4):
            nodes = tensors[f'{name}, 0']['nodes']
            self.assertEqual(len(nodes), levels + 1)
            self.assertGreater(nodes[levels], 0)
            # a node of level l has at most 4^l blocks
            blocks = sum(tensors[f'{name}, 0']['blocks'].values())
            self.assertLess(sum(nodes), blocks)
            self.assertGreaterEqual(sum(n << 2 * l for l, n in enumerate(nodes)), blocks)
            for form in 1, 2:
                self.assertEqual(tensors[f'{name}, {form}']['nodes'], nodes)
            at = next(i for i, line in enumerate(told) if line.startswith(f'{name}, 0'))
            sides = ['1 block'] + [f'{1 << l}x{1 << l}' for l in range(1, levels + 1)]
            self.assertEqual(told[at + 1], '  nodes of ' + ', '.join(
                f'{side}: {n}' for side, n in zip(sides, nodes)))

    def test_not_merged(self):
        np.savez('a.npz', w=self.normal(32, 32))
        self.run_msw('compress', 'a.npz', '-o', 'a.msw')
        self.assertEqual(self.tensors('a.msw')['w']['nodes'], [16])
        self.assertNotIn('nodes', self.run_msw('info', 'a.msw'))


class Others(ToolCase):
    def test_verify_and_diff(self):
        said = self.run_msw('verify', MERGED)
        self.assertIn('9 tensors are zero, unified or free as stated', said)
        self.run_msw('export', MERGED, '-o', 'dense.safetensors')
        self.run_msw('verify', '--against', 'dense.safetensors', MERGED)
        self.run_msw('compress', 'dense.safetensors', '-o', 'single.msw', '--block', '2x3',
                     '--layers', 'small blocks, 0', '--prune', 0, '--unify', 0)
        self.run_msw('export', MERGED, '-o', 'one.npy', '--layers', 'small blocks, 0')
        said = self.run_msw('diff', MERGED, 'single.msw')
        self.assertRegex(said, r'small blocks, 0: \d+ of \d+ blocks are merged otherwise')
        self.assertEqual(said.count('merged otherwise'), 1)
        self.assertNotIn('merged', self.run_msw('diff', MERGED, MERGED))

    def test_one_weight_of_a_node(self):
        self.run_msw('export', MERGED, '-o', 'dense.npz')
        tensors = dict(np.load('dense.npz'))
        w = tensors['single weights, 0']
        w[35, 3] *= 2 # in a node of 16 x 16
        np.savez('other.npz', **tensors)
        said = self.run_msw('verify', '--against', 'other.npz', MERGED, code=DIFFERENT)
        self.assertIn('single weights, 0: 1 of 720 blocks', said)

    def test_frames(self):
        """One around each node: none between its blocks."""
        self.run_msw('show', MERGED, 'single weights, 0', '-o', 'x.png')
        picture, zoom = read_png('x.png'), 512 // 40
        at = lambda y, x: tuple(picture[y, x])
        left, right, bottom = 32 * zoom, 40 * zoom, 16 * zoom
        for x in range(left, right):
            self.assertEqual(at(0, x), GREY)
            self.assertEqual(at(bottom - 1, x), GREY)
        for y in range(bottom):
            self.assertEqual(at(y, left), GREY)
            self.assertEqual(at(y, right - 1), GREY)
        inside = picture[1:bottom - 1, left + 1:right - 1].reshape(-1, 3)
        self.assertEqual(len(np.unique(inside, axis=0)), 1)


class Compress(ToolCase):
    def setUp(self):
        super().setUp()
        # patches of 32 x 32 weights, some much stronger than others
        strength = np.exp(1.5 * self.normal(4, 6))
        self.w = self.normal(128, 192) * np.kron(strength, np.ones((32, 32), '<f4'))
        np.savez('a.npz', w=self.w.astype('<f4'), v=self.normal(64, 32), bias=self.normal(9))

    def compress(self, size, *arguments):
        """Relative error of w."""
        self.run_msw('compress', '-f', '-b', '4x4', 'a.npz', '-o', 'x.msw', '--bytes', size,
                     *arguments)
        self.assertLessEqual(os.path.getsize('x.msw'), size)
        self.assertGreater(os.path.getsize('x.msw'), 0.97 * size - 260)
        self.run_msw('verify', '-q', 'x.msw')
        self.run_msw('export', '-f', 'x.msw', '-o', 'z.npz')
        z = np.load('z.npz')['w']
        return np.linalg.norm(z - self.w) / np.linalg.norm(self.w)

    def test_merging_helps(self):
        for form in [], ['--transport', '--bits', 6], ['--f16']:
            alone = self.compress(5000, *form)
            self.assertEqual(len(self.tensors('x.msw')['w']['nodes']), 1)
            merged = self.compress(5000, '--quadtree', 3, *form)
            self.assertGreater(len(self.tensors('x.msw')['w']['nodes']), 1)
            self.assertLess(merged, alone)

    def test_levels(self):
        for levels in 1, 4:
            self.compress(4000, '--quadtree', levels)
            nodes = self.tensors('x.msw')['w']['nodes']
            self.assertLessEqual(len(nodes), levels + 1)
        self.compress(4000, '--quadtree', 2, '--threads', 2)
        one = self.content('x.msw')
        self.compress(4000, '--quadtree', 2)
        self.assertEqual(self.content('x.msw'), one)

    def test_usage(self):
        for wrong in (['--quadtree', 2], ['--quadtree', 0, '--ratio', 4],
                      ['--quadtree', 5, '--ratio', 4]):
            self.run_msw('compress', 'a.npz', '-o', 'y.msw', *wrong, code=USAGE,
                         says='--quadtree')


if __name__ == '__main__':
    main()
