# SPDX-License-Identifier: BSD-2-Clause
"""The commands of the tutorial do what it says, and the layer computes what NumPy does."""
import os
import re
import subprocess
import sys

import numpy as np
from toolcase import ToolCase, main, read_safetensors, write_safetensors

DOCUMENT, RUN_LAYER = map(os.path.abspath, sys.argv[2:4])
del sys.argv[2:4]


class Tutorial(ToolCase):
    def setUp(self):
        super().setUp()
        self.bias = self.normal(50)
        write_safetensors('model.safetensors', {
            'conv.weight': ('F32', self.normal(32, 16, 3, 3)),
            'fc1.weight': ('F32', self.normal(50, 400)), 'fc1.bias': ('F32', self.bias),
            'fc2.weight': ('F32', self.normal(10, 50)),
            'fc2.bias': ('F32', self.normal(10))})
        os.mkdir('bin')
        os.symlink(self.program[-1], 'bin/msw')
        os.symlink(RUN_LAYER, 'bin/run_layer')

    def test_commands(self):
        with open(DOCUMENT, encoding='utf-8') as f:
            text = f.read()
        commands = re.findall(r'```sh\n(.*?)```', text, re.DOTALL)
        self.assertGreaterEqual(len(commands), 3)
        done = subprocess.run(['sh', '-euc', '\n'.join(commands)], capture_output=True,
                              text=True, timeout=100,
                              env={**os.environ, 'PATH': 'bin:' + os.environ['PATH']})
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn('they differ', done.stdout)
        self.assertTrue(os.path.exists('fc1.png'))

        self.run_msw('export', 'model.msw', '-o', 'dense.safetensors')
        w = read_safetensors('dense.safetensors')[0]['fc1.weight'][1].astype('f8')
        expected = np.maximum(w @ (1 / np.arange(1, 401)) + self.bias, 0)
        y = np.array(done.stdout.split('\n')[-51:-1], 'f8')
        np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)


if __name__ == '__main__':
    main()
