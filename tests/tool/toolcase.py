# SPDX-License-Identifier: BSD-2-Clause
"""What the tests of msw share: running it, and safetensors written from its definition."""
import json
import os
import shlex
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest

import numpy as np

OK, DIFFERENT, USAGE, INPUT, IO, MEMORY, UNMET = range(7)
TYPES = {'F64': '<f8', 'F32': '<f4', 'F16': '<f2', 'BF16': '<u2', 'I64': '<i8',
         'I32': '<i4', 'U8': '|u1', 'BOOL': '|b1'}


def safetensors_bytes(header, data=b''):
    """header: what becomes JSON, or the text itself."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack('<Q', len(text)) + text + data


def write_safetensors(path, tensors, metadata=None):
    """tensors: name to (type, array)."""
    header, data = {}, b''
    if metadata:
        header['__metadata__'] = metadata
    for name, (dtype, array) in tensors.items():
        raw = array.tobytes()
        header[name] = {'dtype': dtype, 'shape': list(array.shape),
                        'data_offsets': [len(data), len(data) + len(raw)]}
        data += raw
    with open(path, 'wb') as f:
        f.write(safetensors_bytes(header, data))


def read_safetensors(path):
    with open(path, 'rb') as f:
        content = f.read()
    length, = struct.unpack('<Q', content[:8])
    header = json.loads(content[8:8 + length])
    data = content[8 + length:]
    metadata = header.pop('__metadata__', {})
    spans = sorted(tuple(r['data_offsets']) for r in header.values())
    ends = [0] + [end for _, end in spans]
    assert [begin for begin, _ in spans] == ends[:-1] and ends[-1] == len(data)
    return {name: (r['dtype'], np.frombuffer(data[slice(*r['data_offsets'])],
                                             TYPES[r['dtype']]).reshape(r['shape']))
            for name, r in header.items()}, metadata


def bf16(array):
    """Rounded towards zero, which is as good as any for a test."""
    return (array.astype('<f4').view('<u4') >> 16).astype('<u2')


def from_bf16(array):
    return (array.astype('<u4') << 16).view('<f4')


class ToolCase(unittest.TestCase):
    program = None # and what runs it, for another processor than ours

    def setUp(self):
        self.random = np.random.default_rng(7)
        self.home = os.getcwd()
        self.directory = tempfile.mkdtemp()
        os.chdir(self.directory)

    def tearDown(self):
        os.chdir(self.home)
        shutil.rmtree(self.directory)

    def normal(self, *shape):
        return self.random.standard_normal(shape).astype('<f4')

    def content(self, path):
        with open(path, 'rb') as f:
            return f.read()

    def run_msw(self, *arguments, code=OK, says=None):
        """Gives standard output. says: what the standard error must hold."""
        done = subprocess.run([*self.program, *map(str, arguments)], capture_output=True,
                              text=True, errors='replace', timeout=100)
        self.assertEqual(done.returncode, code, f'{arguments}: {done.stderr}')
        if says is not None:
            self.assertIn(says, done.stderr)
        return done.stdout

    def info(self, path):
        return json.loads(self.run_msw('info', '--json', path))

    def tensors(self, path):
        return {t['name']: t for t in self.info(path)['tensors']}

    def assert_only(self, *names):
        """No temporary file is left."""
        self.assertEqual(sorted(os.listdir('.')), sorted(names))


def main():
    wrapper = shlex.split(os.environ.get('MESON_EXE_WRAPPER', ''))
    ToolCase.program = [*wrapper, os.path.abspath(sys.argv.pop(1))]
    unittest.main()
