"""AdamW that updates only the rows of a table which a step has used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class RowAdamW(torch.optim.AdamW):
    """AdamW in which a parameter with a sparse gradient is updated only in the rows of that gradient.

    The other rows keep their values and their moments: no decay, no step along an old moment. Bias corrections count
    all steps of the parameter. Without weight decay this is `torch.optim.SparseAdam`, but `eps` is added as in AdamW;
    with it, a row decays in the steps that use it.

    Parameters with dense gradients are updated by `torch.optim.AdamW`. The state of both has the same form, so a run
    can change from one to the other.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Do one step; sparse gradients are used up."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None and parameter.grad.is_sparse:
                    self._update_rows(parameter, parameter.grad.coalesce(), group)
                    parameter.grad = None  # AdamW refuses sparse gradients
        return super().step(closure)

    def _update_rows(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        rows, slopes = gradient.indices()[0], gradient.values()
        state, (beta1, beta2), rate = self.state[parameter], group["betas"], group["lr"]
        if not state:
            state |= {"step": torch.tensor(0.0)}
            state |= {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
        state["step"] += 1
        steps = float(state["step"])
        # The operations of torch's AdamW in their order, on copies of the rows.
        mean = state["exp_avg"].index_select(0, rows).lerp_(slopes, 1 - beta1)
        power = (
            state["exp_avg_sq"].index_select(0, rows).mul_(beta2).addcmul_(slopes, slopes, value=1 - beta2)
        )
        state["exp_avg"].index_copy_(0, rows, mean)
        state["exp_avg_sq"].index_copy_(0, rows, power)
        scale = power.sqrt_().div_((1 - beta2**steps) ** 0.5).add_(group["eps"])
        moved = parameter.index_select(0, rows).mul_(1 - rate * group["weight_decay"])
        parameter.index_copy_(0, rows, moved.addcdiv_(mean, scale, value=-rate / (1 - beta1**steps)))
