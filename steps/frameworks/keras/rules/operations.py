"""Functions that a model's graph calls beside its layers: ``TFOpLambda`` of tf.keras and the operations of Keras 3.

Both are looked up by one name: the last part of ``math.reduce_mean`` without its prefix, or ``ExpandDims`` in snake
case.
"""

from typing import Final

from klever.steps.frameworks.keras.layer import Layer
from klever.steps.frameworks.keras.rules import arithmetic, arrangement, indexing
from klever.steps.frameworks.keras.rules.arguments import operation_name
from klever.steps.frameworks.keras.rules.rule import Rule


def rule_for_operation(layer: Layer) -> Rule | None:
    """Return the rule of an operation, None where it is not known."""
    return OPERATIONS.get(operation_name(layer))


def _table(rule: Rule, names: str) -> dict[str, Rule]:
    return dict.fromkeys(names.split(), rule)


OPERATIONS: Final[dict[str, Rule]] = {
    **_table(
        arithmetic.elementwise,
        "add subtract sub multiply mul floor_divide floordiv mod floormod power pow maximum minimum "
        "squared_difference arctan2 atan2 remainder logaddexp hypot bitwise_and bitwise_or bitwise_xor add_n "
        "bias_add clip clip_by_value",
    ),
    **_table(arithmetic.division, "divide truediv true_divide div real_div div_no_nan divide_no_nan"),
    **_table(
        arithmetic.comparison,
        "equal not_equal greater greater_equal less less_equal logical_and logical_or logical_xor eq ne gt ge "
        "lt le isclose",
    ),
    **_table(
        arithmetic.unary,
        "abs absolute exp expm1 log log1p log2 log10 sqrt rsqrt square relu relu6 sigmoid tanh softmax "
        "log_softmax gelu silu swish elu selu celu softplus softsign leaky_relu hard_sigmoid hard_silu "
        "hard_swish hard_tanh log_sigmoid mish negative neg sign round floor ceil sin cos tan asin acos atan "
        "sinh cosh asinh acosh atanh arcsin arccos arctan l2_normalize identity stop_gradient dropout cumsum "
        "cumprod flip reverse roll erf erfinv reciprocal normalize zeros_like ones_like tril triu sort "
        "nan_to_num squareplus sparse_plus tanh_shrink soft_shrink hard_shrink threshold copy real "
        "trunc lgamma digamma ensure_shape check_numerics lrn local_response_normalization "
        "batch_normalization fused_batch_norm rms_normalization layer_normalization",
    ),
    **_table(arithmetic.predicate, "isnan isfinite isinf is_nan is_finite is_inf logical_not"),
    **_table(
        arithmetic.reduction,
        "mean sum max min prod std var variance all any logsumexp norm euclidean_norm amax amin median "
        "count_nonzero average",
    ),
    **_table(arithmetic.arg_reduction, "argmax argmin arg_max arg_min"),
    **_table(arrangement.concatenation, "concat concatenate"),
    **_table(arrangement.gather, "gather take"),
    **_table(arithmetic.matrix_product, "matmul"),
    **_table(indexing.get_item, "getitem get_item"),
    **_table(arrangement.transpose, "transpose"),
    **_table(arrangement.swap, "swapaxes"),
    **_table(arrangement.reshape, "reshape"),
    **_table(arithmetic.where, "where"),
    **_table(arrangement.stack, "stack"),
    **_table(arrangement.expansion, "expand_dims"),
    **_table(arrangement.squeeze, "squeeze"),
    **_table(arithmetic.cast, "cast"),
    **_table(arithmetic.einsum, "einsum"),
    **_table(arrangement.split, "split"),
    **_table(arrangement.unstack, "unstack"),
    **_table(arrangement.tile, "tile"),
    **_table(arrangement.repetition, "repeat"),
    **_table(arrangement.pad, "pad"),
    **_table(arrangement.resize, "resize resize_images resize_bilinear resize_nearest_neighbor"),
    **_table(arithmetic.one_hot, "one_hot"),
    **_table(arithmetic.top_k, "top_k"),
    **_table(arithmetic.shape_of, "shape"),
}
