# SPDX-License-Identifier: ISC
"""All workloads by their names."""
from .workloads_alone import Verdict
from .workloads_http import Bulk, Kept, LargeBody, New, Scale, SystemCalls
from .workloads_policy import Policy, Reload
from .workloads_tls import Tls
from .workloads_ws import Echo, Idle, IdleTls, Push, Rules

WORKLOADS = {one.name: one for one in (Kept, New, LargeBody, Bulk, Echo, Push, Rules, Idle, IdleTls, Tls, Scale, Policy, Reload, SystemCalls,
                                       Verdict)}
