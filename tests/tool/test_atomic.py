# SPDX-License-Identifier: BSD-2-Clause
"""An output file is the old one or all of the new one, whatever happens."""
import os
import resource
import signal
import stat
import subprocess
import time

import numpy as np
from toolcase import INPUT, IO, OK, ToolCase, main


class Overwriting(ToolCase):
    def setUp(self):
        super().setUp()
        np.savez('a.npz', w=self.normal(16, 16))
        with open('old', 'w') as f:
            f.write('old')

    def test_only_by_force(self):
        for command, name in (('compress', 'x.msw'), ('export', 'x.npz'),
                              ('export', 'x.npy'), ('export', 'x.safetensors')):
            os.rename('old', name)
            self.run_msw(command, 'a.npz', '-o', name, code=IO, says='exists')
            self.assertEqual(self.content(name), b'old')
            self.run_msw(command, '-f', 'a.npz', '-o', name)
            self.assertNotEqual(self.content(name), b'old')
            os.rename(name, 'old')
            with open('old', 'w') as f:
                f.write('old')
        self.assert_only('a.npz', 'old')

    def test_failure_keeps_the_old_file(self):
        np.savez('a.npz', w=np.full((8, 8), np.inf))
        os.rename('old', 'x.msw')
        self.run_msw('compress', '-f', 'a.npz', '-o', 'x.msw', code=INPUT)
        self.assertEqual(self.content('x.msw'), b'old')
        self.assert_only('a.npz', 'x.msw')

    def test_onto_itself(self):
        os.remove('old')
        self.run_msw('export', '-f', 'a.npz', '-o', 'a.npz')
        self.assertEqual(np.load('a.npz')['w'].shape, (16, 16))
        self.run_msw('compress', 'a.npz', '-o', 'x.msw', '--prune', 0, '--unify', 0)
        self.run_msw('compress', '-f', 'x.msw', '-o', 'x.msw')
        self.assertEqual(self.tensors('x.msw')['w']['blocks']['pruned'], 2)
        self.assert_only('a.npz', 'x.msw')

    def test_links_and_special_files(self):
        os.symlink('old', 'x.msw')
        self.run_msw('compress', 'a.npz', '-o', 'x.msw', code=IO, says='exists')
        self.run_msw('compress', '-f', 'a.npz', '-o', 'x.msw')
        self.assertEqual(self.content('old'), b'old')
        os.mkfifo('fifo.npz')
        self.run_msw('export', '-f', 'a.npz', '-o', 'fifo.npz', code=IO, says='regular')
        self.assertTrue(stat.S_ISFIFO(os.stat('fifo.npz').st_mode))

    def test_permissions_are_the_usual_ones(self):
        for name in 'x.npz', 'x.npy', 'x.safetensors':
            self.run_msw('export', 'a.npz', '-o', name)
            with open('usual', 'w'):
                pass
            self.assertEqual(os.stat(name).st_mode, os.stat('usual').st_mode)

    def test_no_room(self):
        def small_files():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (9999, 9999))

        np.savez('b.npz', w=self.normal(256, 256))
        for command, name in (('compress', 'x.msw'), ('export', 'x.npz'),
                              ('export', 'x.safetensors')):
            done = subprocess.run(
                [*self.program, command, 'b.npz', '-o', name, '-q'], capture_output=True,
                preexec_fn=small_files)
            self.assertEqual(done.returncode, IO, done.stderr)
            self.assertIn(name.encode(), done.stderr)
        self.assert_only('a.npz', 'b.npz', 'old')


class Killing(ToolCase):
    """Some of the moments fall into the writing."""
    TIMES = 12

    def start(self, output):
        arguments = (['compress'] if output.endswith('.msw') else ['export']) + [
            '-f', '-q', 'a.npz', '-o', output]
        return subprocess.Popen([*self.program, *arguments], stderr=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL)

    def kill_often(self, output, number):
        codes = set()
        began = time.monotonic()
        self.start(output).wait()
        whole = time.monotonic() - began
        new = self.content(output)
        for i in range(self.TIMES):
            with open(output, 'wb') as f:
                f.write(b'old')
            process = self.start(output)
            time.sleep(whole * i / self.TIMES)
            process.send_signal(number)
            codes.add(process.wait())
            self.assertIn(self.content(output), (b'old', new))
        return codes

    def test_kill(self):
        np.savez('a.npz', **{f'w{i}': self.normal(256, 256) for i in range(8)})
        for output in 'x.msw', 'x.safetensors', 'x.npz':
            codes = self.kill_often(output, signal.SIGKILL)
            self.assertLessEqual(codes, {OK, -signal.SIGKILL})

    def test_terminate_leaves_nothing(self):
        np.savez('a.npz', **{f'w{i}': self.normal(256, 256) for i in range(8)})
        for output in 'x.msw', 'x.safetensors', 'x.npz':
            codes = self.kill_often(output, signal.SIGTERM)
            # before main() watches, a signal ends it at once
            self.assertLessEqual(codes, {OK, 128 + signal.SIGTERM, -signal.SIGTERM})
            self.assert_only('a.npz', output)
            os.remove(output)


if __name__ == '__main__':
    main()
