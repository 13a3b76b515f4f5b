"""The LSTM of ADBench: the loss of a model of characters, whose gates have elementwise weights.

Srajer, Kukelova, Fitzgibbon 2018, and github.com/microsoft/ADBench (the text there is Shakespeare's sonnets, here
random characters of 14 bits).
"""

import jax
import jax.numpy as jnp
import numpy as np


def lstm(layers=2, characters=1024, bits=14, seed=0):
    """f: (8 layers bits + 3 bits,) → (), the mean loss over the sequence, and its gradient by hand.

    In a layer with input x, hidden h and cell c: (f, i, o, a) = (σ, σ, σ, tanh)(w ⊙ (x, h, x, h) + b), c ← f c + i a,
    h ← o tanh c. The first input is the character times the first weights of the ends, the prediction p the last h
    times the second plus the third; the loss is −Σ y (p − log(2 + Σ eᵖ)), with y the next character, over the number
    of all bits. The parameters are, for each layer, w and b (4 bits each), then the three of the ends.
    """
    rng = np.random.default_rng(seed)
    x = jnp.asarray(rng.uniform(size=layers * 8 * bits + 3 * bits))
    state = jnp.asarray(rng.uniform(size=(layers, 2, bits)))
    sequence = jnp.asarray(rng.integers(2, size=(characters, bits)), x.dtype)
    count = (characters - 1) * bits

    def parts(x):
        main, ends = jnp.split(x, (layers * 8 * bits,))
        return main.reshape(layers, 2, 4, bits), ends.reshape(3, bits)

    def step(main, ends, state, character):
        """The next state, the prediction, and each layer's input and gates."""
        x, new, kept = character * ends[0], [], []
        for (w, b), (h, c) in zip(main, state, strict=True):
            into = jnp.stack([x, h, x, h])
            z = w * into + b
            gates = jnp.concatenate([jax.nn.sigmoid(z[:3]), jnp.tanh(z[3:])])
            forget, take, give, change = gates
            after = forget * c + take * change
            x = give * jnp.tanh(after)
            new.append(jnp.stack([x, after]))
            kept.append((into, gates, c, jnp.tanh(after)))
        return jnp.stack(new), x * ends[1] + ends[2], kept, x

    def f(x):
        main, ends = parts(x)

        def gone(state, pair):
            character, following = pair
            state, prediction, *_ = step(main, ends, state, character)
            normalised = prediction - jnp.log(2 + jnp.exp(prediction).sum())
            return state, (following * normalised).sum()

        return -jax.lax.scan(gone, state, (sequence[:-1], sequence[1:]))[1].sum() / count

    def by_hand(x):
        """Back through the sequence: p̄ = (Σy) eᵖ/(2 + Σ eᵖ) − y, and through each layer its gates' slopes."""
        main, ends = parts(x)

        def gone(state, character):
            state, prediction, kept, last = step(main, ends, state, character)
            return state, (prediction, kept, last)

        _, steps = jax.lax.scan(gone, state, sequence[:-1])

        def back(carry, at):
            d_state, d_main, d_ends = carry
            (prediction, kept, last), character, following = at
            grown = jnp.exp(prediction)
            d_prediction = (following.sum() * grown / (2 + grown.sum()) - following) / count
            d_x, d_before, d_layers = d_prediction * ends[1], [], []
            for (w, _), (d_h, d_c), (into, gates, c, squashed) in reversed(list(zip(main, d_state, kept, strict=True))):
                forget, take, give, change = gates
                d_h = d_h + d_x
                d_c = d_c + d_h * give * (1 - squashed**2)
                d_gates = jnp.stack([d_c * c, d_c * change, d_h * squashed, d_c * take])
                d_z = d_gates * jnp.concatenate([gates[:3] * (1 - gates[:3]), 1 - gates[3:] ** 2])
                d_into = d_z * w
                d_x = d_into[0] + d_into[2]
                d_before.append(jnp.stack([d_into[1] + d_into[3], d_c * forget]))
                d_layers.append(jnp.stack([d_z * into, d_z]))
            d_main = d_main + jnp.stack(d_layers[::-1])
            d_ends = d_ends + jnp.stack([d_x * character, d_prediction * last, d_prediction])
            return (jnp.stack(d_before[::-1]), d_main, d_ends), None

        start = jnp.zeros_like(state), jnp.zeros_like(main), jnp.zeros_like(ends)
        (_, d_main, d_ends), _ = jax.lax.scan(back, start, (steps, sequence[:-1], sequence[1:]), reverse=True)
        return jnp.concatenate([d_main.reshape(-1), d_ends.reshape(-1)])

    return f, x, by_hand
