# SPDX-License-Identifier: BSD-2-Clause
"""Every format in and out, against NumPy and the definition of safetensors."""
import hashlib
import zipfile

import numpy as np
from toolcase import (ToolCase, bf16, from_bf16, main, read_safetensors, write_safetensors)

ALL_FREE = ['--prune', 0, '--unify', 0]


class Safetensors(ToolCase):
    def test_nothing_is_lost(self):
        tensors = {
            'conv': ('F32', self.normal(10, 3, 5, 5)),
            'linear': ('F32', self.normal(33, 65)),
            'half': ('F16', self.normal(16, 9).astype('<f2')),
            'bias': ('F32', np.array([0, -0.0, np.inf, np.nan], '<f4')),
            'half bias': ('F16', np.array([1, np.inf], '<f2')),
            'scalar': ('F32', np.array(3, '<f4')),
            'count': ('I64', np.array(2**62 + 1, '<i8')),
            'five': ('F32', self.normal(1, 2, 3, 2, 1)),
            'empty': ('F32', np.zeros((0, 4), '<f4')),
            'mask': ('BOOL', np.array([[True, False]])),
            'größe.\U0001f600': ('U8', np.arange(5, dtype='u1')),
        }
        write_safetensors('in.safetensors', tensors, {'format': 'pt', 'a': 'b c'})
        self.run_msw('compress', 'in.safetensors', '-o', 'x.msw', *ALL_FREE)
        self.run_msw('export', 'x.msw', '-o', 'out.safetensors')
        again, metadata = read_safetensors('out.safetensors')
        self.assertEqual(metadata, {'format': 'pt', 'a': 'b c'})
        self.assertEqual(set(again), set(tensors))
        for name, (dtype, array) in tensors.items():
            if name == 'half bias': # infinity: kept in f32
                dtype, array = 'F32', array.astype('<f4')
            self.assertEqual(again[name][0], dtype, name)
            self.assertEqual(again[name][1].shape, array.shape, name)
            self.assertEqual(again[name][1].tobytes(), array.tobytes(), name)

    def test_bf16_and_f64(self):
        values, wide = bf16(self.normal(24, 16)), self.normal(8, 8).astype('<f8') / 3
        write_safetensors('in.safetensors', {'b': ('BF16', values), 'w': ('F64', wide)})
        self.run_msw('compress', 'in.safetensors', '-o', 'x.msw', *ALL_FREE)
        self.run_msw('export', 'x.msw', '-o', 'out.npz')
        again = np.load('out.npz')
        np.testing.assert_array_equal(again['b'], from_bf16(values))
        np.testing.assert_array_equal(again['w'], wide.astype('<f4'))

    def test_padding_and_order_of_the_header(self):
        a, b = self.normal(2, 3), self.normal(4)
        text = (b'{"z":{"shape":[4],"data_offsets":[24,40],"dtype":"F32"},'
                b'"a":{"dtype":"F32","data_offsets":[0,24],"shape":[2,3]}}    ')
        with open('in.safetensors', 'wb') as f:
            f.write(len(text).to_bytes(8, 'little') + text + a.tobytes() + b.tobytes())
        self.run_msw('export', 'in.safetensors', '-o', 'out.npz')
        again = np.load('out.npz')
        np.testing.assert_array_equal(again['a'], a)
        np.testing.assert_array_equal(again['z'], b)


class Npy(ToolCase):
    def test_types_and_orders(self):
        for dtype in '<f2', '<f4', '<f8', '>f2', '>f4', '>f8':
            for fortran in False, True:
                a = self.normal(2, 3, 4, 5).astype(dtype)
                np.save('a.npy', np.asfortranarray(a) if fortran else a)
                self.run_msw('compress', '-f', 'a.npy', '-o', 'a.msw', *ALL_FREE)
                self.run_msw('export', '-f', 'a.msw', '-o', 'b.npy')
                b = np.load('b.npy', allow_pickle=False)
                self.assertEqual(b.shape, a.shape)
                np.testing.assert_array_equal(b, a.astype('<f4'), f'{dtype} {fortran}')

    def test_integers_and_shapes(self):
        for shape in (), (1,), (7,), (0, 3), (2, 3, 1, 2, 2, 1), (1,) * 32:
            for dtype in '?', 'i1', '>i2', 'u4', '>i8', 'u8':
                a = self.random.integers(0, 100, shape).astype(dtype)
                np.save('a.npy', np.asfortranarray(a) if shape else a)
                self.run_msw('export', '-f', 'a.npy', '-o', 'b.npy')
                b = np.load('b.npy', allow_pickle=False)
                self.assertEqual(b.dtype, np.dtype(dtype).newbyteorder('<'))
                self.assertEqual(b.shape, a.shape)
                np.testing.assert_array_equal(b, a)

    def test_versions(self):
        a = self.normal(9, 9)
        for version in (1, 0), (2, 0), (3, 0):
            with open('a.npy', 'wb') as f:
                np.lib.format.write_array(f, a, version)
            self.run_msw('export', '-f', 'a.npy', '-o', 'b.npz')
            np.testing.assert_array_equal(np.load('b.npz')['a'], a)


class Npz(ToolCase):
    def test_both_ways(self):
        arrays = {'w': self.normal(40, 30), 'a/größe': self.normal(3), 'i': np.arange(4)}
        for save in np.savez, np.savez_compressed:
            save('a.npz', **arrays)
            self.run_msw('compress', '-f', 'a.npz', '-o', 'a.msw', *ALL_FREE)
            self.run_msw('export', '-f', 'a.msw', '-o', 'b.npz')
            with np.load('b.npz', allow_pickle=False) as again:
                self.assertEqual(set(again.files), set(arrays))
                for name in arrays:
                    np.testing.assert_array_equal(again[name], arrays[name])
            self.assertIsNone(zipfile.ZipFile('b.npz').testzip())
        self.assert_only('a.npz', 'a.msw', 'b.npz')

    def test_same_bytes(self):
        np.savez('a.npz', w=self.normal(8, 8))
        for name in 'b.npz', 'c.npz':
            self.run_msw('export', 'a.npz', '-o', name)
        self.assertEqual(self.content('b.npz'), self.content('c.npz'))


class Info(ToolCase):
    def test_json(self):
        w = self.normal(20, 30)
        n = np.arange(3, dtype='<i4')
        write_safetensors('in.safetensors', {'w': ('F32', w), 'n': ('I32', n)}, {'k': 'v'})
        known = self.info('in.safetensors')
        self.assertEqual(known['format'], 'safetensors')
        self.assertEqual(known['metadata'], {'k': 'v'})
        t = self.tensors('in.safetensors')
        self.assertEqual((t['w']['shape'], t['w']['dtype']), ([20, 30], 'F32'))
        self.assertEqual(t['w']['sha256'], hashlib.sha256(w.tobytes()).hexdigest())
        self.run_msw('compress', 'in.safetensors', '-o', 'x.msw', '--block', '4x8')
        t = self.tensors('x.msw')
        self.assertEqual(t['w']['block'], [4, 8])
        self.assertEqual(t['w']['blocks'], {'free': 2, 'pruned': 10, 'unified': 8})
        self.assertEqual(t['n']['kind'], 'kept')
        self.run_msw('export', 'x.msw', '-o', 'out.safetensors')
        out = read_safetensors('out.safetensors')[0]['w'][1]
        self.assertEqual(t['w']['sha256'], hashlib.sha256(out.tobytes()).hexdigest())


if __name__ == '__main__':
    main()
