# SPDX-License-Identifier: BSD-2-Clause
"""A layer that runs where its file is mapped computes what NumPy does."""
import os
import subprocess
import sys

import numpy as np
from toolcase import ToolCase, main

RUN_MAPPED = os.path.abspath(sys.argv.pop(2))


class Mapped(ToolCase):
    def run_mapped(self, path):
        done = subprocess.run([RUN_MAPPED, path, 'w'], capture_output=True, text=True,
                              timeout=100)
        self.assertEqual(done.returncode, 0, done.stderr)
        first, *rest = done.stdout.split('\n')[:-1]
        return first, np.array(rest, 'f8')

    def test_mapped(self):
        np.savez('a.npz', w=self.normal(100, 300))
        self.run_msw('compress', 'a.npz', '-o', 'x.msw')
        self.run_msw('export', 'x.msw', '-o', 'x.npz')
        expected = np.load('x.npz')['w'].astype('f8') @ (1 / np.arange(1, 301))
        self.run_msw('pack', 'x.msw', '-o', 'y.msw', '--n', 1)
        for path, placement in ('x.msw', 'packed: the file has the plain form'), \
                               ('y.msw', 'in place'):
            first, y = self.run_mapped(path)
            self.assertIn(placement, first)
            np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)
        self.assertRegex(first, r'[1-9]\d* bytes mapped, 0 held')


if __name__ == '__main__':
    main()
