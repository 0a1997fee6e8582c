"""What Caffe2 of torch 1.8.1 computes for networks of PyTorch that came to it through ONNX.

    python3.8 caffe2_networks.py OUT.npz.xz

Needs torch 1.8.1 and onnx 1.8.1 (Python 3.8), and nothing of Klever. Such nets compute shapes, slice by tensors and run
recurrent step nets. The record is laid out as that of ``caffe2_operators.py``.
"""

import argparse
import io
import lzma

import numpy as np
import onnx
import torch
from caffe2.python import workspace
from caffe2.python.onnx.backend import Caffe2Backend
from torch import nn
from torch.nn import functional


class Recurrent(nn.Module):
    def __init__(self, kind, **arguments):
        super().__init__()
        self.cell = getattr(nn, kind)(5, 4, **arguments)
        self.full = nn.Linear(8 if arguments.get("bidirectional") else 4, 3)

    def forward(self, x):
        return self.full(self.cell(x)[0][-1])


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.full = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Linear(64, 5)

    def forward(self, x):
        x = functional.max_pool2d(functional.relu(self.norm(self.conv(x))), 2)
        return functional.softmax(self.full(x.view(x.size(0), -1)), 1)


class Embedding(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.full = nn.Embedding(20, 6), nn.Linear(6, 6)

    def forward(self, ids):
        x = self.table(ids)
        weights = functional.softmax(torch.matmul(self.full(x), x.transpose(1, 2)), -1)
        return torch.matmul(weights, x) + x.mean(1, keepdim=True)


class SuperResolution(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.shuffle, self.up = (
            nn.Conv2d(3, 8, 3, padding=1),
            nn.PixelShuffle(2),
            nn.Upsample(scale_factor=2),
        )
        self.norm, self.turned = nn.InstanceNorm2d(2, affine=True), nn.ConvTranspose2d(2, 2, 3, 2, 1, 1)

    def forward(self, x):
        return torch.sigmoid(self.turned(self.norm(self.up(self.shuffle(self.conv(x))))))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.heads, self.full = nn.MultiheadAttention(8, 2), nn.Linear(8, 8)

    def forward(self, x):
        return functional.relu(self.full(x + self.heads(x, x, x)[0]))


class Rearranged(nn.Module):
    def forward(self, x):
        n, c, h, w = x.shape
        mixed = x.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, c, h, w)
        a, b = mixed.chunk(2, 1)
        cut = torch.cat([a * b, a - b], 1)[:, 1:3]
        stacked = torch.stack([cut.sum(3), cut.mean(3)], 0).permute(1, 0, 2, 3)
        return stacked, cut.clamp(-0.5, 0.5), functional.elu(cut), functional.leaky_relu(cut, 0.2)


class Windows(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.volume = nn.Conv1d(3, 4, 3, padding=2, dilation=2), nn.Conv3d(1, 2, 3)
        self.slope, self.reflected = nn.PReLU(3), nn.ReflectionPad2d(1)

    def forward(self, x):
        image = self.reflected(x.view(2, 3, 4, 5))
        return self.conv(x), self.volume(x.view(2, 1, 3, 4, 5)), functional.avg_pool1d(x, 3, 2), self.slope(image)


NETWORKS = {
    "LSTM": (Recurrent("LSTM"), torch.randn, (4, 2, 5)),
    "LSTM.bidirectional": (Recurrent("LSTM", bidirectional=True), torch.randn, (4, 2, 5)),
    "LSTM.layers": (Recurrent("LSTM", num_layers=2), torch.randn, (4, 2, 5)),
    "GRU": (Recurrent("GRU"), torch.randn, (4, 2, 5)),
    "GRU.bidirectional": (Recurrent("GRU", bidirectional=True), torch.randn, (4, 2, 5)),
    "RNN": (Recurrent("RNN"), torch.randn, (4, 2, 5)),
    "RNN.bidirectional": (Recurrent("RNN", bidirectional=True), torch.randn, (4, 2, 5)),
    "attention": (Attention(), torch.randn, (4, 2, 8)),
    "classifier": (Classifier(), torch.randn, (2, 3, 8, 8)),
    "embedding": (Embedding(), lambda *shape: torch.randint(0, 20, shape), (2, 5)),
    "rearranged": (Rearranged(), torch.randn, (2, 4, 3, 5)),
    "super_resolution": (SuperResolution(), torch.randn, (1, 3, 6, 6)),
    "windows": (Windows(), torch.randn, (2, 3, 20)),
}


def run(network, x):
    stream = io.BytesIO()
    network.eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_((parameter * 32).round() / 32)
    torch.onnx.export(network, x, stream, input_names=["x"], opset_version=9, keep_initializers_as_inputs=True)
    workspace.ResetWorkspace()
    init, predict = Caffe2Backend.onnx_graph_to_caffe2_net(onnx.load_from_string(stream.getvalue()), "CPU")
    workspace.FeedBlob("x", x.numpy())
    workspace.RunNetOnce(init)
    workspace.RunNetOnce(predict)
    nets = {"init": init, "predict": predict}
    record = {key: np.frombuffer(each.SerializeToString(), "uint8") for key, each in nets.items()}
    record["in/x"] = x.numpy()
    record.update({"out/" + blob: workspace.FetchBlob(blob) for blob in predict.external_output})
    return record


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out")
    torch.manual_seed(0)
    arrays = {}
    for name, (network, draw, shape) in NETWORKS.items():
        drawn = draw(*shape)
        record = run(network, (drawn * 16).round() / 16 if drawn.is_floating_point() else drawn)
        arrays.update({f"{name}/0/{key}": array for key, array in record.items()})
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    with lzma.open(parser.parse_args().out, "wb", preset=9) as out:
        out.write(stream.getvalue())


if __name__ == "__main__":
    main()
