"""Write models of Keras 1.2.2 with what it computes: `tests/steps/converters/keras1/*.h5` and `*.npz`.

    python keras1_models.py ../steps/converters/keras1

Runs on Python 3.7 with keras 1.2.2, tensorflow 1.15.5, h5py 2.10 and numpy 1.18. In an npz ``i0``, ``i1``, ... are the
inputs and ``o0``, ``o1``, ... the outputs, in the model's order.
"""

import os
import sys
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"

import numpy as np
from keras import layers as kl
from keras.models import Model, Sequential

RANDOM = np.random.RandomState(1)


def random(*shape):
    return RANDOM.rand(*shape).astype("float32")


def cnn():
    model = Sequential(
        [
            kl.ZeroPadding2D((1, 1), input_shape=(12, 12, 3)),
            kl.Convolution2D(4, 3, 3, activation="relu", border_mode="same", subsample=(2, 2)),
            kl.BatchNormalization(),
            kl.MaxPooling2D((2, 2)),
            kl.AtrousConvolution2D(4, 2, 2, atrous_rate=(1, 1)),
            kl.LeakyReLU(0.2),
            kl.Flatten(),
            kl.Dropout(0.5),
            kl.Dense(5, activation="softmax"),
        ]
    )
    return model, random(2, 12, 12, 3)


def rnn():
    model = Sequential(
        [
            kl.Embedding(20, 6, input_length=5, mask_zero=True),
            kl.LSTM(4, return_sequences=True),
            kl.GRU(3, return_sequences=True),
            kl.TimeDistributed(kl.Dense(4)),
            kl.SimpleRNN(3),
        ]
    )
    return model, RANDOM.randint(0, 20, (2, 5))


def bi2():
    first = kl.Bidirectional(kl.LSTM(4, return_sequences=True), input_shape=(5, 3), merge_mode="sum")
    return Sequential([first, kl.Bidirectional(kl.GRU(4)), kl.Dense(2)]), random(2, 5, 3)


def fun():
    a, b = kl.Input((6,), name="a"), kl.Input((6,), name="b")
    dense = kl.Dense(4, activation="tanh")
    pair = [dense(a), dense(b)]
    parts = [kl.merge(pair, mode=mode) for mode in ("mul", "sum", "max")]
    joined = kl.Dense(3)(kl.merge(pair, mode="concat"))
    dot = kl.merge(pair, mode="dot", dot_axes=1)
    return Model([a, b], [joined, kl.merge(parts, mode="ave"), dot]), [random(2, 6), random(2, 6)]


def seqmerge():
    branches = [Sequential([kl.Dense(3, input_dim=size)]) for size in (4, 5)]
    return Sequential([kl.Merge(branches, mode="concat"), kl.Dense(2)]), [random(2, 4), random(2, 5)]


def misc():
    model = Sequential(
        [
            kl.Deconvolution2D(3, 3, 3, output_shape=(None, 10, 10, 3), input_shape=(8, 8, 2)),
            kl.SeparableConvolution2D(4, 3, 3, depth_multiplier=2),
            kl.PReLU(),
            kl.UpSampling2D((2, 2)),
            kl.Cropping2D(((1, 1), (1, 1))),
            kl.AveragePooling2D((2, 2), border_mode="same"),
            kl.GlobalAveragePooling2D(),
            kl.GaussianNoise(0.1),
            kl.RepeatVector(2),
            kl.Permute((2, 1)),
            kl.Reshape((8,)),
        ]
    )
    return model, random(4, 8, 8, 2)


def listed(value):
    return value if isinstance(value, list) else [value]


def save(folder, build):
    model, inputs = build()
    for layer in model.layers:
        weights = layer.get_weights()
        if weights:
            layer.set_weights([RANDOM.uniform(0.1 if each.ndim == 1 else -0.4, 0.5, each.shape) for each in weights])
    outputs = model.predict(inputs, batch_size=4)
    model.save(str(folder / f"{build.__name__}.h5"))
    arrays = {f"i{index}": array for index, array in enumerate(listed(inputs))}
    arrays.update({f"o{index}": array for index, array in enumerate(listed(outputs))})
    np.savez(str(folder / f"{build.__name__}.npz"), **arrays)


if __name__ == "__main__":
    for each in (cnn, rnn, bi2, fun, seqmerge, misc):
        save(Path(sys.argv[1]), each)
