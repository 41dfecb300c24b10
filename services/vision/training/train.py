"""Trains one model and writes it: `python train.py efficientnetb0`."""

import argparse
import time
from functools import partial
from pathlib import Path

import jax
import numpy as np
import onnx
import optax

from export import describe, export, normalised, predictions
from layers import Layers
from models import MODELS
from shapes import LABELS, SIDE, pictures

HELD_OUT_SEED = 1_000_000
BATCH_SIZE = 64
STATISTICS_BATCH_SIZE = 1024
PEAK_LEARNING_RATE = 4e-3


def main():
    args = arguments()
    start, busy = time.monotonic(), time.process_time()
    seen, classes = pictures(args.pictures, args.seed)
    parameters, statistics = train(args.model, normalised(seen), classes, args)
    model = export(args.model, parameters, statistics)

    held_out, truth = pictures(args.held_out, HELD_OUT_SEED)
    given = predictions(model, held_out)
    describe(model, accuracy=f"{np.mean(given == truth):.4f}")
    onnx.save(model, args.to / f"{args.model}.onnx")
    report(args, model, given, truth)
    print(f"{time.monotonic() - start:.0f} s, {time.process_time() - busy:.0f} s of CPU time")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pictures", type=int, default=12_000)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--held-out", type=int, default=5_000)
    parser.add_argument("--to", type=Path, default=Path(__file__).parent.parent / "models")
    return parser.parse_args()


def train(name, inputs, classes, args):
    """Returns the parameters, and the mean and variance of each normalisation with them."""
    network = MODELS[name]
    rng = np.random.default_rng(args.seed)
    drawn = Layers(rng=rng)
    network(drawn, np.zeros((1, SIDE, SIDE, 3), np.float32), len(LABELS))
    parameters = drawn.parameters

    batches = len(inputs) // BATCH_SIZE
    schedule = optax.cosine_onecycle_schedule(args.epochs * batches, PEAK_LEARNING_RATE)
    optimiser = optax.adamw(schedule, weight_decay=1e-3)
    state = optimiser.init(parameters)
    step = jax.jit(partial(learn, network, optimiser))
    for epoch in range(args.epochs):
        order = rng.permutation(len(inputs))[: batches * BATCH_SIZE].reshape(batches, BATCH_SIZE)
        losses = []
        for these in order:
            parameters, state, loss = step(parameters, state, inputs[these], classes[these])
            losses.append(loss)
        print(f"epoch {epoch + 1}: loss {np.mean(losses):.4f}", flush=True)
    return jax.tree.map(np.asarray, (parameters, statistics(network, parameters, inputs)))


def learn(network, optimiser, parameters, state, inputs, classes):
    """One step on one batch."""

    def loss(parameters):
        logits = network(Layers(parameters), inputs, len(LABELS))
        return optax.softmax_cross_entropy_with_integer_labels(logits, classes).mean()

    value, gradients = jax.value_and_grad(loss)(parameters)
    updates, state = optimiser.update(gradients, state, parameters)
    return optax.apply_updates(parameters, updates), state, value


def statistics(network, parameters, inputs):
    """The statistics of a large batch, with the final parameters."""

    @jax.jit
    def measure(inputs):
        layers = Layers(parameters)
        network(layers, inputs, len(LABELS))
        return layers.statistics

    return measure(inputs[:STATISTICS_BATCH_SIZE])


def report(args, model, given, truth):
    """Prints the accuracy with its interval, the size, and the most frequent confusions."""
    share, n, z = np.mean(given == truth), len(truth), 1.96
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    weights = sum(int(np.prod(one.dims)) for one in model.graph.initializer)
    print(f"{args.model}, seed {args.seed}: {share:.2%} of {n} held-out pictures")
    print(f"95 % interval {middle - half:.2%} to {middle + half:.2%}")
    print(f"{weights} weights, {model.ByteSize()} bytes")
    pairs, counts = np.unique(
        np.stack([truth, given])[:, given != truth], axis=1, return_counts=True
    )
    for index in np.argsort(-counts)[:3]:
        true, taken = pairs[:, index]
        print(f"{LABELS[true]} mistaken for {LABELS[taken]}: {counts[index]}")


if __name__ == "__main__":
    main()
