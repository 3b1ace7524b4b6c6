# SPDX-License-Identifier: BSD-2-Clause
"""What the commands do, and their exit codes."""
import os
import pty
import subprocess

import numpy as np
from toolcase import (DIFFERENT, INPUT, IO, OK, USAGE, ToolCase, main, read_safetensors,
                      write_safetensors)


def blocks(matrix, rows, columns):
    for r in range(0, matrix.shape[0], rows):
        for c in range(0, matrix.shape[1], columns):
            yield slice(r, r + rows), slice(c, c + columns)


class Compress(ToolCase):
    def exported(self, name):
        self.run_msw('export', '-f', 'x.msw', '-o', 'out.safetensors')
        return read_safetensors('out.safetensors')[0][name][1]

    def test_structure(self):
        w = self.normal(40, 50)
        np.savez('a.npz', w=w)
        self.run_msw('compress', 'a.npz', '-o', 'x.msw', '-b', '8x8', '--prune', 0.5,
                     '--unify', 0.3)
        z = self.exported('w')
        counts = {'zero': 0, 'unified': 0, 'free': 0}
        for at in blocks(w, 8, 8):
            if not z[at].any():
                counts['zero'] += 1
            elif len(np.unique(np.abs(z[at]))) == 1:
                counts['unified'] += 1
                self.assertAlmostEqual(abs(float(z[at].flat[0])), np.abs(w[at]).mean(), 6)
                np.testing.assert_array_equal(np.sign(z[at]), np.sign(w[at]))
            else:
                counts['free'] += 1
                np.testing.assert_array_equal(z[at], w[at])
        self.assertEqual(counts, {'zero': 17, 'unified': 10, 'free': 8}) # of 35

    def test_convolution_blocks_span_channels(self):
        w = self.normal(8, 16, 3, 3)
        np.savez('a.npz', w=w)
        self.run_msw('compress', 'a.npz', '-o', 'x.msw', '--prune', 1, '--unify', 0,
                     '--layers', 'w')
        self.assertFalse(self.exported('w').any())
        self.run_msw('compress', '-f', 'a.npz', '-o', 'x.msw', '--prune', 0, '--unify', 1)
        z = np.abs(self.exported('w'))
        for h in range(3):
            for v in range(3):
                for i in 0, 8:
                    self.assertEqual(len(np.unique(z[:, i:i + 8, h, v])), 1)

    def test_selection(self):
        np.savez('a.npz', a=self.normal(16, 16), b=self.normal(16, 16),
                 c=self.normal(16, 16), bias=self.normal(16))
        self.run_msw('compress', 'a.npz', '-o', 'x.msw', '--layers', '[ab]', '--layers',
                     'bias', '--except', 'b', code=USAGE, says='--layers bias')
        self.run_msw('compress', 'a.npz', '-o', 'x.msw', '--layers', '[ab]', '--except',
                     'b')
        kinds = {name: t['kind'] for name, t in self.tensors('x.msw').items()}
        self.assertEqual(kinds, {'a': 'unified', 'b': 'plain', 'c': 'plain',
                                 'bias': 'plain'})
        self.run_msw('compress', 'a.npz', '-o', 'y.msw', '--except', '*', code=INPUT,
                     says='no matrix')
        self.run_msw('compress', 'a.npz', '-o', 'y.msw', '--layers', 'nothing', code=USAGE,
                     says='nothing')
        self.assertFalse(os.path.exists('y.msw'))

    def test_kind_and_groups(self):
        np.savez('a.npz', io=self.normal(6, 10), dw=self.normal(8, 1, 3, 3),
                 hw=self.normal(8, 3, 3, 4))
        self.run_msw('compress', 'a.npz', '-o', 'x.msw', '--kind', 'io=io', '--groups',
                     'dw=8', '--kind', 'hw=ohwi', '--block', '64x64')
        t = self.tensors('x.msw')
        self.assertEqual(t['dw']['groups'], 8)
        self.assertEqual(sum(t['dw']['blocks'].values()), 8)
        self.run_msw('compress', 'a.npz', '-o', 'y.msw', '--groups', 'dw=3', code=USAGE,
                     says='dw')
        self.run_msw('compress', 'a.npz', '-o', 'y.msw', '--kind', 'io=oihw', code=USAGE,
                     says='io')

    def test_f16(self):
        np.savez('a.npz', w=self.normal(64, 64), big=np.array([1e6], '<f4'))
        self.run_msw('compress', 'a.npz', '-o', 'x.msw', '--f16', code=INPUT, says='big')
        np.savez('a.npz', w=self.normal(64, 64))
        self.run_msw('compress', 'a.npz', '-o', 'x.msw', '--f16')
        self.run_msw('compress', 'a.npz', '-o', 'y.msw')
        self.assertLess(os.path.getsize('x.msw'), os.path.getsize('y.msw'))
        self.run_msw('export', 'x.msw', '-o', 'x.npz')
        self.assertEqual(np.load('x.npz')['w'].dtype, np.float16)

    def test_not_finite(self):
        w = self.normal(8, 8)
        w[3, 4] = np.nan
        np.savez('a.npz', w=w)
        self.run_msw('compress', 'a.npz', '-o', 'x.msw', code=INPUT, says='w: ')
        np.savez('a.npz', w=np.full((2, 2), 1e300))
        self.run_msw('compress', 'a.npz', '-o', 'x.msw', code=INPUT, says='too large')
        self.assert_only('a.npz')

    def test_threads_and_repetition_change_nothing(self):
        np.savez('a.npz', w=self.normal(128, 256))
        for name, threads in ('x.msw', 1), ('y.msw', 4):
            self.run_msw('compress', 'a.npz', '-o', name, '--threads', threads)
        self.assertEqual(self.content('x.msw'), self.content('y.msw'))


class Verify(ToolCase):
    def setUp(self):
        super().setUp()
        self.w = self.normal(24, 24)
        np.savez('a.npz', w=self.w, b=self.normal(3))
        self.run_msw('compress', 'a.npz', '-o', 'x.msw')
        self.run_msw('export', 'x.msw', '-o', 'z.npz')
        self.z = dict(np.load('z.npz'))

    def test_holds(self):
        self.assertIn('all 9 blocks', self.run_msw('verify', 'x.msw'))
        self.run_msw('verify', 'x.msw', '--against', 'z.npz')
        self.assertEqual(self.run_msw('verify', '-q', 'x.msw'), '')

    def test_names_the_block(self):
        flat = [tuple(at) for at in np.argwhere(self.z['w'] == 0)]
        r, c = flat[-1]
        self.z['w'][r, c] = 0.25
        np.savez('z.npz', **self.z)
        said = self.run_msw('verify', 'x.msw', '--against', 'z.npz', code=DIFFERENT)
        block = r // 8 * 3 + c // 8
        self.assertIn(f'block {block}: row {r}, column {c} is 0.25 instead of 0', said)

    def test_scaled_is_the_same_structure(self):
        np.savez('z.npz', w=self.z['w'] * 3)
        self.run_msw('verify', 'x.msw', '--against', 'z.npz')

    def test_another_model(self):
        np.savez('z.npz', v=self.w)
        self.run_msw('verify', 'x.msw', '--against', 'z.npz', code=DIFFERENT, says='w')
        np.savez('z.npz', w=self.w[1:])
        self.run_msw('verify', 'x.msw', '--against', 'z.npz', code=DIFFERENT,
                     says='shape')
        self.run_msw('verify', 'a.npz', code=INPUT, says='not a .msw')


class ExitCodes(ToolCase):
    def test_usage(self):
        np.savez('a.npz', w=self.normal(8, 8))
        for arguments in ([], ['nonsense'], ['compress'], ['compress', 'a.npz'],
                          ['compress', 'a.npz', 'a.npz', '-o', 'x.msw'],
                          ['compress', 'a.npz', '-o', 'x.msw', '--prune', '1.5'],
                          ['compress', 'a.npz', '-o', 'x.msw', '--prune', 'nan'],
                          ['compress', 'a.npz', '-o', 'x.msw', '--prune', '0.7'],
                          ['compress', 'a.npz', '-o', 'x.msw', '--block', '8'],
                          ['compress', 'a.npz', '-o', 'x.msw', '--block', '8x65'],
                          ['compress', 'a.npz', '-o', 'x.msw', '--block', '0x8'],
                          ['compress', 'a.npz', '-o', 'x.msw', '--threads', '-1'],
                          ['compress', 'a.npz', '-o', 'x.msw', '--kind', 'w'],
                          ['compress', 'a.npz', '-o', 'x.msw', '--kind', 'w=x'],
                          ['compress', 'a.npz', '-o', 'x.msw', '--groups', 'w=0'],
                          ['export', 'a.npz', '-o', 'x.txt'], ['export', 'a.npz'],
                          ['info'], ['info', '--unknown', 'a.npz'], ['verify']):
            self.run_msw(*arguments, code=USAGE)
        self.assert_only('a.npz')

    def test_columns(self):
        """Names of any alphabet leave the columns where they are."""
        np.savez('a.npz', **{'größe': self.normal(16, 16), 'size_': self.normal(16, 16)})
        tables = [self.run_msw('compress', 'a.npz', '-o', 'a.msw'),
                  self.run_msw('info', 'a.msw'), self.run_msw('explain', 'a.msw')]
        for table in tables:
            at = [line.index('16x16') for line in table.split('\n') if '16x16' in line]
            self.assertEqual(len(at), 2)
            self.assertEqual(at[0], at[1])

    def test_help(self):
        self.assertEqual(self.run_msw('-h'), self.run_msw('--help'))
        for command in ('compress', 'diff', 'explain', 'export', 'info', 'pack', 'show', 'verify'):
            self.assertIn('usage: msw ' + command, self.run_msw(command, '--help'))
            self.assertIn(command, self.run_msw('--help'))
        self.assertRegex(self.run_msw('--version'), r'^msw \d+\.\d+\.\d+\n$')

    def test_storage(self):
        np.savez('a.npz', w=self.normal(8, 8))
        self.run_msw('info', 'missing', code=IO, says='missing')
        self.run_msw('info', '.', code=IO, says='regular')
        self.run_msw('compress', 'a.npz', '-o', 'no/x.msw', code=IO, says='no/x.msw')
        self.run_msw('export', '-f', 'a.npz', '-o', '/dev/full.npz/x.npz', code=IO)
        with open('/dev/full', 'w') as full:
            done = subprocess.run([*self.program, 'info', 'a.npz'], stdout=full, stderr=-1)
        self.assertEqual(done.returncode, IO)

    def test_npy_holds_one_tensor(self):
        np.savez('a.npz', w=self.normal(8, 8), v=self.normal(2))
        self.run_msw('export', 'a.npz', '-o', 'w.npy', code=USAGE, says='one tensor')
        self.run_msw('export', 'a.npz', '-o', 'w.npy', '--layers', 'v')
        self.assertEqual(np.load('w.npy').shape, (2,))
        write_safetensors('b.safetensors', {'h': ('BF16', np.zeros(0, '<u2'))})
        self.run_msw('export', 'b.safetensors', '-o', 'h.npz', code=INPUT, says='NumPy')


class Progress(ToolCase):
    def stderr_of(self, *arguments, terminal):
        if not terminal:
            done = subprocess.run([*self.program, *arguments], capture_output=True,
                                  text=True)
            self.assertEqual(done.returncode, OK)
            return done.stderr
        ours, theirs = pty.openpty()
        subprocess.run([*self.program, *arguments], stdout=subprocess.DEVNULL, stderr=theirs,
                       check=True)
        os.close(theirs)
        said = os.read(ours, 1 << 16).decode()
        os.close(ours)
        return said

    def test_bar_and_lines(self):
        np.savez('a.npz', first=self.normal(8, 8), second=self.normal(8, 8))
        arguments = ['compress', '-f', 'a.npz', '-o', 'x.msw']
        self.assertEqual(self.stderr_of(*arguments, terminal=False),
                         ' 50 % first\n100 % second\n')
        self.assertIn('[###############               ]  50 % first',
                      self.stderr_of(*arguments, terminal=True))
        self.assertEqual(self.stderr_of(*arguments, '-q', terminal=False), '')


if __name__ == '__main__':
    main()
