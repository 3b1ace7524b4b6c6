# SPDX-License-Identifier: BSD-2-Clause
"""Orders of rows and columns: found, stored, seen by NumPy in the file, and undone."""
import os
import struct

import numpy as np
from toolcase import INPUT, UNMET, ToolCase, main, read_safetensors

PERMUTATION = 3 # the section's type: doc/format.md, 4.1


class Permute(ToolCase):
    """Blocks of clear magnitudes, then rows and columns shuffled."""

    def setUp(self):
        super().setUp()
        scale = np.kron(np.exp(1.5 * self.random.standard_normal((5, 6))), np.ones((8, 8)))
        w = (scale * self.normal(40, 48)).astype('<f4')
        self.w = w[self.random.permutation(40)][:, self.random.permutation(48)]
        np.savez('a.npz', w=self.w, b=self.normal(40))

    def compress(self, *options, **keywords):
        self.run_msw('compress', '-f', 'a.npz', '-o', 'x.msw', *options, **keywords)

    def exported(self):
        self.run_msw('export', '-f', 'x.msw', '-o', 'x.safetensors')
        return read_safetensors('x.safetensors')[0]['w'][1]

    def orders(self):
        """Bytes of the section, or none."""
        content = self.content('x.msw')
        count, = struct.unpack_from('<I', content, 20)
        for at in range(64, 64 + 40 * count, 40):
            kind, _, offset, length = struct.unpack_from('<IIQQ', content, at)
            if kind == PERMUTATION:
                return np.frombuffer(content, 'u1', length, offset)
        return np.zeros(0, 'u1')

    def error(self):
        z = self.exported()
        return np.linalg.norm((z - self.w).astype('f8')) / np.linalg.norm(self.w.astype('f8'))

    def check_blocks(self):
        """Every block, rows and columns in the file's order, is what the shares say."""
        rows, columns = np.split(self.orders(), [40])
        np.testing.assert_array_equal(np.sort(rows), np.arange(40))
        np.testing.assert_array_equal(np.sort(columns), np.arange(48))
        z, w = (m[rows][:, columns] for m in (self.exported(), self.w))
        counts = {'free': 0, 'pruned': 0, 'unified': 0}
        for r in range(0, 40, 8):
            for c in range(0, 48, 8):
                block, was = z[r:r + 8, c:c + 8], w[r:r + 8, c:c + 8]
                if not block.any():
                    counts['pruned'] += 1
                elif len(np.unique(np.abs(block))) == 1:
                    counts['unified'] += 1
                    np.testing.assert_array_equal(np.sign(block), np.sign(was))
                else:
                    counts['free'] += 1
                    np.testing.assert_array_equal(block, was)
        self.assertEqual(counts, self.tensors('x.msw')['w']['blocks'])
        return counts

    def test_order_is_found_and_undone(self):
        self.compress()
        plain = self.error()
        self.assertEqual(self.orders().size, 0)
        self.assertEqual(self.tensors('x.msw')['w']['permuted'], [])
        self.compress('--permute')
        self.assertEqual(self.check_blocks(), {'free': 3, 'pruned': 15, 'unified': 12})
        self.assertLess(self.error(), 0.8 * plain)
        self.assertEqual(self.tensors('x.msw')['w']['permuted'], ['rows', 'columns'])
        line, = (l for l in self.run_msw('info', 'x.msw').splitlines() if l.startswith('w '))
        self.assertIn(' 8x8   rc ', line)
        self.run_msw('verify', 'x.msw')

    def test_target(self):
        self.compress('--ratio', 8)
        plain = self.error()
        self.compress('--ratio', 8, '--permute')
        self.check_blocks()
        self.assertLess(self.error(), plain)
        self.assertLessEqual(os.path.getsize('x.msw'), 4 * (40 * 48 + 40) // 8)
        self.compress('--bytes', 64, '--permute', code=UNMET)

    def test_all_forms_keep_it(self):
        self.compress('--permute')
        wanted, order = self.exported(), self.orders()
        self.run_msw('pack', 'x.msw', '-o', 'packed.msw')
        self.compress('--permute', '--transport')
        np.testing.assert_array_equal(self.exported(), wanted)
        np.testing.assert_array_equal(self.orders(), order)
        os.rename('packed.msw', 'x.msw')
        np.testing.assert_array_equal(self.exported(), wanted)
        np.testing.assert_array_equal(self.orders(), order)

    def test_groups_keep_their_rows(self):
        w = self.normal(16, 4, 3, 3)
        np.savez('a.npz', w=w)
        self.compress('--permute', '--groups', 'w=2', '--block', '4x4')
        rows, columns = np.split(self.orders(), [16])
        self.assertFalse(np.array_equal(rows, np.arange(16)))
        np.testing.assert_array_equal(np.sort(rows[:8]), np.arange(8))
        np.testing.assert_array_equal(np.sort(columns), np.arange(36))
        kept = self.exported() != 0 # unified weights keep their sign, free ones all
        np.testing.assert_array_equal(np.sign(self.exported())[kept], np.sign(w)[kept])
        self.compress('--permute', '--prune', 0, '--unify', 0) # no order is better
        self.assertEqual(self.orders().size, 0)

    def test_not_finite(self):
        self.w[3, 4] = np.nan
        np.savez('a.npz', w=self.w)
        for options in [], ['--ratio', 4]:
            self.compress('--permute', *options, code=INPUT, says='w: ')
        self.assert_only('a.npz')


if __name__ == '__main__':
    main()
