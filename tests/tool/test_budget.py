# SPDX-License-Identifier: BSD-2-Clause
"""--bytes and --ratio: the file fits, and no other choice of classes for so many bits
changes the weights less."""
import os

import numpy as np
from toolcase import UNMET, USAGE, ToolCase, main

SIDE = 4


def blocks(matrix):
    """The values of each block of SIDE x SIDE, in the order of a plan."""
    for r in range(0, matrix.shape[0], SIDE):
        for c in range(0, matrix.shape[1], SIDE):
            yield matrix[r:r + SIDE, c:c + SIDE].astype('f8')


def choices(before, after):
    """For each block: (bits, cost) of pruned, unified, free; and which it became."""
    square = (before.astype('f8') ** 2).mean()
    for v, z in zip(blocks(before), blocks(after)):
        m = np.abs(v).mean()
        options = [(0, (v ** 2).sum() / square),
                   (v.size + 32, ((np.abs(v) - m) ** 2).sum() / square),
                   (v.size * 32, 0)]
        yield options, 0 if not z.any() else 1 if len(np.unique(np.abs(z))) == 1 else 2


class Budget(ToolCase):
    def setUp(self):
        super().setUp()
        self.layers = {'a': self.normal(37, 50), 'b': 100 * self.normal(64, 20),
                       'c': self.normal(16, 16) ** 3}
        np.savez('a.npz', **self.layers, bias=self.normal(9))

    def compress(self, *arguments):
        self.run_msw('compress', '-f', '-b', f'{SIDE}x{SIDE}', 'a.npz', '-o', 'x.msw',
                     *arguments)
        self.run_msw('export', '-f', 'x.msw', '-o', 'z.npz')
        return dict(np.load('z.npz'))

    def test_fits(self):
        for size in 2000, 2001, 4000, 6003, 9999, 13000:
            self.compress('--bytes', size)
            self.assertLessEqual(os.path.getsize('x.msw'), size)
            self.assertGreater(os.path.getsize('x.msw'), size - 260)
        for ratio in 1, 2, 3.5, 8:
            self.compress('--ratio', ratio)
            total = 4 * (9 + sum(w.size for w in self.layers.values()))
            self.assertLessEqual(os.path.getsize('x.msw'), total / ratio)

    def test_least_change(self):
        # blocks of very different sizes: all three classes are worth something
        self.layers['c'] = self.normal(64, 64) * np.exp(
            2 * np.repeat(np.repeat(self.normal(16, 16), 4, 0), 4, 1))
        np.savez('a.npz', **self.layers)
        for size in 2500, 4000, 8000:
            z = self.compress('--bytes', size)
            # prices of a bit for which each block's class is the best one
            least, most, classes = [], [], set()
            for name, w in self.layers.items():
                for options, chosen in choices(w, z[name]):
                    bits, cost = options[chosen]
                    classes.add(chosen)
                    least.append(max([(cost - d) / (b - bits) for b, d in options
                                      if b > bits], default=0))
                    most.append(min([(d - cost) / (bits - b) for b, d in options
                                     if b < bits], default=np.inf))
            # one price for all but the block that filled the last gap
            self.assertEqual(classes, {0, 1, 2})
            least, most = np.sort(least), np.sort(most)
            self.assertLessEqual(least[-1], most[1] * (1 + 1e-5))

    def test_scale_does_not_matter(self):
        z = self.compress('--bytes', 4000)
        self.layers['a'] *= np.float32(1024)
        np.savez('a.npz', **self.layers, bias=self.normal(9))
        scaled = self.compress('--bytes', 4000)
        np.testing.assert_array_equal(z['a'] * np.float32(1024), scaled['a'])
        np.testing.assert_array_equal(z['b'], scaled['b'])

    def test_equal_costs(self):
        w = np.tile([[1, 2], [3, 4]], (32, 32)).astype('<f4') # all blocks alike
        np.savez('a.npz', w=w)
        for size in 3000, 6000, 9000:
            self.compress('--bytes', size)
            self.assertLessEqual(os.path.getsize('x.msw'), size)
            self.assertGreater(os.path.getsize('x.msw'), size - 260)
        np.savez('a.npz', w=np.zeros((16, 16), '<f4'))
        self.compress('--bytes', 1000)

    def test_f16(self):
        z = self.compress('--bytes', 4000, '--f16')
        self.assertEqual(z['a'].dtype, np.float16)
        self.assertLessEqual(os.path.getsize('x.msw'), 4000)

    def test_transport(self):
        plain = self.compress('--prune', 0.5, '--unify', 0.4)
        size = os.path.getsize('x.msw')
        coded = self.compress('--prune', 0.5, '--unify', 0.4, '--transport')
        self.assertLess(os.path.getsize('x.msw'), size)
        for name in plain:
            np.testing.assert_array_equal(plain[name], coded[name])
        rounded = self.compress('--prune', 0.5, '--unify', 0.4, '--transport', '--bits', 6)
        self.assertLess(os.path.getsize('x.msw'), size / 2)
        t = self.tensors('x.msw')
        self.assertEqual((t['a']['form'], t['bias']['dtype']), ('transport', 'F32'))
        for name, w in self.layers.items():
            step = np.abs(plain[name]).max() / 31
            self.assertLessEqual(np.abs(plain[name] - rounded[name]).max(), step)
            self.assertFalse(rounded[name][plain[name] == 0].any())
        np.testing.assert_array_equal(plain['bias'], rounded['bias'])
        for target in 2500, 4000, 9000:
            for more in [], ['--bits', 5]:
                self.compress('--bytes', target, '--transport', *more)
                self.assertLessEqual(os.path.getsize('x.msw'), target)

    def test_impossible(self):
        self.run_msw('compress', 'a.npz', '-o', 'y.msw', '--bytes', 300, code=UNMET,
                     says='300 bytes cannot be reached')
        self.assert_only('a.npz')

    def test_exclusive(self):
        for arguments in (['--bytes', 9, '--ratio', 2], ['--bytes', 9, '--prune', 0.1],
                          ['--ratio', 2, '--unify', 0.1], ['--bytes', 0], ['--ratio', 0.5],
                          ['--bits', 6], ['--bits', 16, '--transport']):
            self.run_msw('compress', 'a.npz', '-o', 'y.msw', *arguments, code=USAGE)


if __name__ == '__main__':
    main()
