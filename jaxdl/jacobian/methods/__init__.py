"""The public methods, one file each: a function (f, argnums, has_aux, holomorphic) with the result of `jax.jacrev`."""
