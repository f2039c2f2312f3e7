"""Attention over the devices of a mesh: each takes its own windows and heads, whatever the way it is computed.

Heads and windows do not hear of one another, so nothing is exchanged here. The compiler does not see that for every
way: it would run the loop over windows of `blocked.attend_by_window` over all of them on every device.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Bool, Float

from plantgfm.model.attention import Pattern
from plantgfm.partition import WINDOW_AXES, fitting, traced_mesh


def attend_split(
    attend: Callable[..., Array], qkv: Float[Array, "B L D3"], visible: Bool[Array, "B L"], pattern: Pattern
) -> Float[Array, "B L D"]:
    """`attend` on the windows and heads of each device of the mesh that is traced for; on all where there is none.

    Windows, or heads, that do not divide among the devices are computed by all of these.

    Args:
        attend: a way, with arguments and result as `attention.attend`.
        qkv: queries, keys and values of all heads.
        visible: keys that carry a token.
        pattern: of the layer.
    """
    mesh = traced_mesh()
    if mesh is None:
        return attend(qkv, visible, pattern)
    parts = qkv.reshape(*qkv.shape[:2], 3, pattern.n_heads, -1)
    windows, _, _, heads = fitting(mesh, P(WINDOW_AXES, None, None, "tensor"), parts.shape)

    def on_a_device(parts: Array, visible: Array) -> Array:
        own = pattern._replace(n_heads=parts.shape[3])
        return attend(parts.reshape(*parts.shape[:2], -1), visible, own)

    specs = (P(windows, None, None, heads), P(windows))
    return jax.shard_map(on_a_device, mesh=mesh, in_specs=specs, out_specs=P(windows, None, heads))(parts, visible)
