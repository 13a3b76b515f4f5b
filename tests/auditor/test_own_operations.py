"""jaxdl's own operations: the audit finds no fault in any kind of rule.

One operation stands for those that share its code, and float32 for all formats: an audit takes seconds, and
`tests/test_transformations.py` goes through all operations and formats. In place of

    square, exp, log, negate, step      sqrt                their derivative is one equation too
    leaky_relu                          relu                one bit is kept, the side of 0
    tanh, softplus, elu, selu           sigmoid             made of e^−|x| as well
    silu, gelu, gelu_tanh               quick_gelu          xσ(v); gelu, the slowest: `tests/ops/test_accuracy.py`
    add, subtract, multiply, divide     power               has what they have, and zeros
    minimum, min                        maximum, max        the same functions
    sum, mean                           avg_pool            the cotangent is spread evenly
    log_softmax                         logsumexp           the same exponentials and sums
    matmul, dropout, feed-forward       dense               products, and a factor for each entry
    attention                           softmax, dense      is made of the two
    conv2d_by_loops                     dense               is made of it
    other convolutions                  conv2d              its rule consists of them
    the other norms                     layer_norm          what is left of the cotangent beside the row
    the other losses                    contrastive_loss, softmax_cross_entropy
    reversible                          fixed_point         a function applied again and again
"""

import functools

import jax
import pytest

from jaxdl import jaxpr as jx
from jaxdl import ops
from jaxdl.auditor.auditing import audit_subject, subjects
from jaxdl.ops.op_cases import cases

STAND_FOR_ALL = (
    ops.sqrt, ops.relu, ops.sigmoid, ops.quick_gelu, ops.power, ops.maximum, ops.max, ops.prod, ops.logsumexp,
    ops.softmax, ops.dense, ops.embedding, ops.max_pool, ops.avg_pool, ops.conv2d, ops.layer_norm,
    ops.softmax_cross_entropy, ops.contrastive_loss, ops.fixed_point,
)  # fmt: skip
FIRST = {case.op: case for case in reversed(cases())}


@pytest.mark.parametrize("case", [FIRST[op] for op in STAND_FOR_ALL], ids=str)
def test_no_fault_is_found(case):
    f, args = functools.partial(case.op, **case.settings), case.make(1, "float32")
    audited = [
        audit_subject(subject) for subject in subjects(jx.in_arrays(f, args, {}), jax.tree.leaves(args), f).audited
    ]
    assert [a.name for a in audited] == [case.op.__name__]
    assert [str(finding) for finding in audited[0].findings if finding.verdict.is_fault] == []
