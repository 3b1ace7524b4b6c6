# SPDX-License-Identifier: BSD-2-Clause
"""What nobody means: files that are none, names that are none, nowhere to print to."""
import os
import subprocess
import warnings
import zipfile

import numpy as np
from toolcase import INPUT, IO, OK, USAGE, ToolCase, main


class Odd(ToolCase):
    def setUp(self):
        super().setUp()
        np.savez('a.npz', w=self.normal(16, 16))

    def shell(self, redirections, *arguments):
        """Exit status and standard error, as far as that is open."""
        program = ' '.join(f"'{part}'" for part in [*self.program, *arguments])
        done = subprocess.run(['sh', '-c', f'exec {program} {redirections}'], timeout=100,
                              stderr=subprocess.PIPE, text=True)
        return done.returncode, done.stderr

    def test_no_files(self):
        os.mkfifo('fifo')
        os.mkdir('directory')
        for name in 'fifo', 'directory', '/dev/zero':
            self.run_msw('info', name, code=IO, says=f'{name}: not a regular file')
            self.run_msw('compress', 'a.npz', '-f', '-o', name, code=IO,
                         says=f'{name}: not a regular file')
        open('empty', 'wb').close()
        self.run_msw('info', 'empty', code=INPUT, says='empty: the file is empty')
        self.run_msw('compress', 'a.npz', '-o', '', code=USAGE, says='an empty name')
        self.run_msw('compress', 'a.npz', '-o', 'none/x.msw', code=IO, says='none/x.msw: No')
        self.assert_only('a.npz', 'empty', 'fifo', 'directory')

    def test_same_name_twice(self):
        array = zipfile.ZipFile('a.npz').read('w.npy')
        with warnings.catch_warnings(), zipfile.ZipFile('twice.npz', 'w') as z:
            warnings.simplefilter('ignore')
            z.writestr('w.npy', array)
            z.writestr('w.npy', array)
        self.run_msw('info', 'twice.npz', code=INPUT,
                     says='twice.npz: two members have the same name')

    def test_nowhere_to_print(self):
        for arguments in ['--help'], ['--version'], ['info', '--help'], ['pack', '-h'], \
                ['info', 'a.npz'], ['diff', 'a.npz', 'a.npz']:
            for where in '>/dev/full', '>&-':
                self.assertEqual(self.shell(where, *arguments),
                                 (IO, 'msw: standard output: write failed\n'))

    def test_nothing_is_printed_into_files(self):
        self.run_msw('compress', 'a.npz', '-o', 'x.msw')
        self.run_msw('export', 'x.msw', '-o', 'x.npz')
        wanted = self.content('x.msw'), self.content('x.npz')
        for where, code in (('<&- >&- 2>&-', IO), ('>&- 2>&-', IO), ('<&- 2>&-', OK)):
            where += '' if '>&- ' in where else ' >/dev/null'
            self.assertEqual(self.shell(where, 'compress', '-f', 'a.npz', '-o', 'x.msw')[0],
                             code)
            self.assertEqual(self.shell(where, 'export', '-f', 'x.msw', '-o', 'x.npz')[0], OK)
            self.assertEqual((self.content('x.msw'), self.content('x.npz')), wanted)
        self.assert_only('a.npz', 'x.msw', 'x.npz')


if __name__ == '__main__':
    main()
