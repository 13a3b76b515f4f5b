"""Which parameters of JAX's primitives are known: those that our rules read, and those that change no value.

A tool that picks a rule by a primitive's name asks `unknown_parameter` first. Where that finds one, the equation is
refused, taken as dense, or left to JAX: never treated as if the parameter were not there. New versions of JAX give
old primitives new parameters. jaxdl's own primitives are known as a whole.
"""

from typing import Any

from jaxdl.jaxpr.versions import Equation

# Hints to the compiler: where and how to compute, how exactly, what is promised of the indices; types, as in the avals.
HINTS = frozenset((
    "accuracy", "algorithm", "copy_semantics", "implementation", "indices_are_sorted", "memory_space", "out_sharding",
    "precision", "preferred_element_type", "sharding", "unique_indices", "unroll", "use_magma", "weak_type",
))  # fmt: skip

_WINDOW = "window_dimensions window_strides padding"
_CONVOLUTION = "dimension_numbers window_strides padding lhs_dilation rhs_dilation feature_group_count"
_CONVOLUTION += " batch_group_count"
_SCATTER = "dimension_numbers mode update_jaxpr update_consts"
_JIT = "jaxpr in_shardings out_shardings in_layouts out_layouts donated_invars ctx_mesh name keep_unused inline"
_JIT += " compiler_options_kvs"
_RULE = "call_jaxpr fwd_jaxpr_thunk bwd num_consts out_trees symbolic_zeros"

# Beside the hints; a primitive that is not listed has none.
KNOWN = {
    name: frozenset(parameters.split())
    for names, parameters in (
        ("argmax argmin", "axes index_dtype"),
        ("bitcast_convert_type convert_element_type", "new_dtype"),
        ("broadcast_in_dim", "shape broadcast_dimensions"),
        ("call_hi_primitive", "_prim"),
        ("checkpoint remat remat2", "jaxpr prevent_cse differentiated policy"),
        ("closed_call core_call", "call_jaxpr name"),
        ("composite", "jaxpr name version attributes"),
        ("concatenate", "dimension"),
        ("cond", "branches branches_platforms"),
        ("conj", "input_dtype _input_dtype"),
        ("conv_general_dilated", _CONVOLUTION),
        ("cumsum cumprod cummax cummin cumlogsumexp", "axis reverse"),
        ("custom_jvp_call", "call_jaxpr jvp_jaxpr_fun num_consts symbolic_zeros"),
        ("custom_linear_solve", "const_lengths jaxprs"),
        ("custom_vjp_call custom_vjp_call_jaxpr", _RULE + " fun_jaxpr"),
        ("custom_vmap_call", "call rule in_tree out_tree"),
        ("debug_callback", "callback effect partitioned ordered"),
        ("debug_print", "fmt ordered partitioned in_tree static_args np_printoptions has_placeholders logging_record"),
        ("device_put", "devices srcs"),
        ("dot_general", "dimension_numbers"),
        ("dynamic_slice", "slice_sizes"),
        ("eig", "compute_left_eigenvectors compute_right_eigenvectors enable_eigvec_derivs"),
        ("eigh", "lower sort_eigenvalues subset_by_index"),
        ("empty empty2", "dtype shape"),
        ("eval_jaxpr", "jaxpr call_jaxpr"),
        ("fft", "fft_type fft_lengths"),
        ("gather", "dimension_numbers slice_sizes mode fill_value"),
        ("integer_pow", "y"),
        ("iota", "dtype shape dimension"),
        ("jit pjit", _JIT),
        ("layout_constraint", "layout"),
        ("linear_call", "callee transpose_thunk num_callee_consts num_res"),
        ("lu_pivots_to_permutation", "permutation_size"),
        ("name", "name"),
        ("pad", "padding_config"),
        ("pcast pvary", "axes to"),
        ("platform_index", "platforms"),
        ("qr", "pivoting full_matrices"),
        ("random_bits", "bit_width shape"),
        ("random_gamma", "log_space"),
        ("random_seed random_wrap", "impl"),
        ("random_split", "shape"),
        ("reduce", "computation jaxpr dimensions"),
        ("reduce_sum reduce_max reduce_min reduce_prod reduce_and reduce_or reduce_xor", "axes"),
        ("reduce_precision", "exponent_bits mantissa_bits"),
        ("reduce_window", _WINDOW + " base_dilation window_dilation jaxpr consts"),
        ("reduce_window_sum reduce_window_max reduce_window_min", _WINDOW + " base_dilation window_dilation"),
        ("reshape", "new_sizes dimensions"),
        ("reshard mesh_cast", "dst_sharding concrete_mesh"),
        ("rev squeeze expand_dims", "dimensions"),
        ("round", "rounding_method"),
        ("scan", "jaxpr length reverse num_consts num_carry ft_in ft_out linear _split_transpose"),
        ("scatter scatter-add scatter-sub scatter-mul scatter-min scatter-max", _SCATTER),
        ("select_and_gather_add", _WINDOW + " base_dilation window_dilation select_prim"),
        ("select_and_scatter_add", _WINDOW + " select_prim"),
        ("shard_map", "jaxpr mesh in_specs out_specs check_vma manual_axes newly_manual_axes"),
        ("sharding_constraint", "layout context_mesh unconstrained_dims"),
        ("slice", "start_indices limit_indices strides"),
        ("sort", "dimension num_keys is_stable"),
        ("split", "sizes axis"),
        ("stack unstack", "axis"),
        ("svd", "full_matrices compute_uv subset_by_index"),
        ("tile", "reps"),
        ("top_k", "k axis is_stable"),
        ("transpose", "permutation"),
        ("triangular_solve", "left_side lower transpose_a conjugate_a unit_diagonal"),
        ("while", "cond_jaxpr cond_nconsts body_jaxpr body_nconsts"),
    )
    for name in names.split()
}

# Parameters that our rules understand at one value alone.
ONLY: dict[str, dict[str, Any]] = {
    "mul": {"out_dtype": None},
    "tridiagonal_solve": {"perturb_singular": False},
}


def unknown_parameter(eqn: Equation) -> tuple[str, object] | None:
    """The first parameter of an equation that no rule of ours knows, or not at this value: (name, value); else None."""
    name = eqn.primitive.name
    if name.startswith("jaxdl_"):
        return None
    known, only = KNOWN.get(name, frozenset()), ONLY.get(name, {})
    for parameter, value in eqn.params.items():
        if parameter in only:
            if value != only[parameter]:
                return parameter, value
        elif parameter not in known and parameter not in HINTS:
            return parameter, value
    return None
