# SPDX-License-Identifier: BSD-2-Clause
"""forward.py MODEL.json RDN-UPSCALE: the network of model.json by NumPy, independent of the
program, on a made-up image; fails when the two are more than 1e-4 of the largest value
apart."""
import json
import os
import struct
import subprocess
import sys
import tempfile
import zlib

import numpy


def convolve(x, kernel, bias):
    height, width = x.shape[:2]
    h, w = kernel.shape[:2]
    padded = numpy.pad(x, ((h // 2, h // 2), (w // 2, w // 2), (0, 0)))
    return bias + sum(padded[i : i + height, k : k + width] @ kernel[i, k]
                      for i in range(h) for k in range(w))


def weights(path, manifest):
    found = {}
    for group in manifest:
        data = b"".join(open(os.path.join(os.path.dirname(path), p), "rb").read()
                        for p in group["paths"])
        for weight in group["weights"]:
            count = int(numpy.prod(weight["shape"]))
            values = numpy.frombuffer(data[: 4 * count], "<f4").reshape(weight["shape"])
            found[weight["name"]] = values.astype(float)
            data = data[4 * count :]
    return found


def run(path, image):
    model = json.load(open(path))
    found = weights(path, model["weightsManifest"])
    out = {}
    for layer in model["modelTopology"]["model_config"]["config"]["layers"]:
        name, kind, config = layer["name"], layer["class_name"], layer["config"]
        x = [out[i[0]] for node in layer["inbound_nodes"] for i in node]
        if kind == "InputLayer":
            y = image
        elif kind == "Conv2D":
            y = convolve(x[0], found[name + "/kernel"], found[name + "/bias"])
        elif kind == "Activation":
            y = numpy.maximum(x[0], 0)
        elif kind == "Concatenate":
            y = numpy.concatenate(x, axis=2)
        elif kind == "Add":
            y = sum(x)
        elif kind == "UpSampling2D":
            y = x[0].repeat(config["size"][0], 0).repeat(config["size"][1], 1)
        else:
            sys.exit("unknown layer " + kind)
        out[name] = y
    return y


def write_png(path, image):
    rows = b"".join(b"\0" + row.tobytes() for row in image)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", image.shape[1], image.shape[0], 8, 2, 0, 0, 0)),
              (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    with open(path, "wb") as out:
        out.write(b"\x89PNG\r\n\x1a\n")
        for name, data in chunks:
            out.write(struct.pack(">I", len(data)) + name + data +
                      struct.pack(">I", zlib.crc32(name + data)))


model, program = sys.argv[1:]
image = numpy.random.default_rng(1).integers(0, 256, (21, 34, 3), dtype=numpy.uint8)
expected = run(model, image.astype(float))
with tempfile.TemporaryDirectory() as folder:
    png, out = os.path.join(folder, "in.png"), os.path.join(folder, "out.f32")
    write_png(png, image)
    subprocess.run([program, model, png, out], check=True)
    got = numpy.fromfile(out, "<f4").reshape(expected.shape)
difference = abs(got - expected).max() / abs(expected).max()
print("difference %.1e" % difference)
sys.exit(0 if difference <= 1e-4 else "too large")
