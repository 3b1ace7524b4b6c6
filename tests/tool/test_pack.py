# SPDX-License-Identifier: BSD-2-Clause
"""msw pack: the same weights, in a form that kernels run where it lies."""
import os
import subprocess
import sys
import unittest

import numpy as np
from toolcase import INPUT, IO, USAGE, ToolCase, main

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


NATIVE = os.environ.get('MSW_TEST_ENDIAN', sys.byteorder) == 'little'


@unittest.skipIf(NATIVE, 'on big-endian machines')
class Missing(ToolCase):
    """There is no packed form on such machines: nothing is written, nothing is read."""
    def test_refused(self):
        golden = f'{TESTS}/golden/ok-1'
        self.run_msw('pack', golden + '.msw', '-o', 'y.msw', code=INPUT,
                     says='no packed form for such processors')
        self.run_msw('export', golden + '-packed.msw', '-o', 'y.npz', code=INPUT,
                     says='packed for another kind of machine')
        self.assert_only()


@unittest.skipUnless(NATIVE, 'big-endian machines have no packed form')
class Pack(ToolCase):
    def setUp(self):
        super().setUp()
        np.savez('a.npz', w=self.normal(40, 50), dw=self.normal(8, 1, 3, 3),
                 conv=self.normal(8, 16, 3, 3), bias=self.normal(16), steps=np.arange(3))
        self.run_msw('compress', 'a.npz', '-o', 'x.msw', '--groups', 'dw=8', '--transport')

    def test_same_weights(self):
        said = self.run_msw('pack', 'x.msw', '-o', 'y.msw')
        self.assertIn(f'{len(self.content("y.msw"))} bytes', said)
        self.run_msw('diff', 'x.msw', 'y.msw')
        self.run_msw('verify', 'y.msw', '--against', 'x.msw')
        before, after = self.tensors('x.msw'), self.tensors('y.msw')
        self.assertEqual(list(before), list(after))
        for name in before:
            self.assertEqual(before[name]['sha256'], after[name]['sha256'])
            self.assertEqual(before[name].get('classes_sha256'),
                             after[name].get('classes_sha256'))
        self.assertEqual({n: t['form'] for n, t in after.items()},
                         {'w': 'packed', 'conv': 'packed', 'dw': 'plain', 'bias': 'plain',
                          'steps': 'plain'})
        self.assertIn('packed', self.run_msw('info', 'y.msw'))
        self.assert_only('a.npz', 'x.msw', 'y.msw')

    def test_again_and_back(self):
        self.run_msw('pack', 'x.msw', '-o', 'y.msw', '--cpu', 'c')
        self.run_msw('pack', 'y.msw', '-o', 'z.msw', '--cpu', 'c')
        self.assertEqual(self.content('y.msw'), self.content('z.msw'))
        self.run_msw('export', 'y.msw', '-o', 'y.npz')
        self.run_msw('export', 'x.msw', '-o', 'x.npz')
        x, y = np.load('x.npz'), np.load('y.npz')
        for name in x.files:
            np.testing.assert_array_equal(x[name], y[name])

    def test_layouts(self):
        self.run_msw('pack', '-q', 'x.msw', '-o', 'y.msw', '--cpu', 'c')
        w = self.tensors('y.msw')['w']
        self.assertEqual((w['wide']['columns'], w['wide']['rows']), (16, 8))
        self.assertEqual((w['narrow']['columns'], w['narrow']['rows']), (4, 8))
        self.run_msw('pack', '-f', 'x.msw', '-o', 'y.msw', '--cpu', 'c', '--n', 1000)
        w = self.tensors('y.msw')['w']
        self.assertEqual([w['narrow'], w['wide']].count(None), 1)

    def read_by_format(self, path, dense):
        """By the reader that was written from doc/format.md alone."""
        done = subprocess.run([sys.executable, '-B', f'{TESTS}/format_reader.py', path, dense],
                              capture_output=True, text=True, timeout=100)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_second_reader(self):
        for arguments in [], ['--n', 1], ['--cpu', 'c'], ['--cpu', 'c', '--n', 600]:
            for name in 'ok-1', 'ok-1-transport':
                golden = f'{TESTS}/golden/{name}'
                self.run_msw('pack', '-fq', golden + '.msw', '-o', 'y.msw', *arguments)
                self.read_by_format('y.msw', golden + '.dense')
        for block in '8x8', '4x4', '3x2', '1x8', '20x20', '64x24':
            np.savez('b.npz', w=self.normal(70, 90))
            self.run_msw('compress', '-fq', 'b.npz', '-o', 'b.msw', '-b', block, '--prune', 0.3)
            self.run_msw('pack', '-fq', 'b.msw', '-o', 'y.msw')
            self.run_msw('export', '-fq', 'b.msw', '-o', 'c.npz')
            np.load('c.npz')['w'].tofile('w.dense')
            self.read_by_format('y.msw', 'w.dense')

    def test_refused(self):
        self.run_msw('pack', 'x.msw', '-o', 'y.msw', '--cpu', 'z80', code=USAGE, says='z80')
        self.run_msw('pack', 'x.msw', '-o', 'y.msw', '--n', 0, code=USAGE)
        self.run_msw('pack', 'x.msw', code=USAGE, says='-o')
        self.run_msw('pack', '-o', 'y.msw', code=USAGE)
        done = subprocess.run([*self.program, 'pack', 'a.npz', '-o', 'y.msw'],
                              capture_output=True, text=True, timeout=100)
        self.assertEqual((done.returncode, done.stderr), (
            INPUT, 'msw: a.npz: not a .msw file; msw compress makes one of it\n'))
        self.run_msw('pack', 'missing', '-o', 'y.msw', code=IO)
        self.run_msw('pack', 'x.msw', '-o', 'x.msw', code=IO, says='exists')
        self.assert_only('a.npz', 'x.msw')
        damaged = bytearray(self.content('x.msw'))
        damaged[-1] ^= 1
        with open('bad.msw', 'wb') as f:
            f.write(damaged)
        self.run_msw('pack', 'bad.msw', '-o', 'y.msw', code=INPUT, says='checksum')
        self.assert_only('a.npz', 'x.msw', 'bad.msw')


if __name__ == '__main__':
    main()
