"""`Module`: a layer that knows its parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from minimind_wiki.lite.autograd import no_grad
from minimind_wiki.lite.tensor import Tensor


class Parameter(Tensor):
    """A tensor that belongs to a module and is trained."""

    __slots__ = ()

    def __init__(self, data: Tensor, requires_grad: bool = True) -> None:
        super().__init__(data.data, requires_grad)


class Module:
    """Base of all layers: assign parameters and modules as attributes, define `forward`."""

    training = True

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)

    def named_children(self) -> Iterator[tuple[str, Module]]:
        return ((n, v) for n, v in vars(self).items() if isinstance(v, Module))

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        yield prefix, self
        for name, child in self.named_children():
            yield from child.named_modules(f"{prefix}.{name}".strip("."))

    def modules(self) -> Iterator[Module]:
        return (module for _, module in self.named_modules())

    def apply(self, fn: Callable[[Module], Any]) -> Module:
        for module in self.modules():
            fn(module)
        return self

    def register_buffer(self, name: str, tensor: Tensor, persistent: bool = True) -> None:
        """A tensor that belongs to the module and is not trained."""
        setattr(self, name, tensor)
        kept = {name} if persistent else set()
        self.kept_buffers = vars(self).get("kept_buffers", set()) | kept

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Parameters and kept buffers, a shared one under each of its names."""
        for prefix, module in self.named_modules():
            kept = vars(module).get("kept_buffers", ())
            for name, value in vars(module).items():
                if isinstance(value, Parameter) or name in kept:
                    yield f"{prefix}.{name}".strip("."), value

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        found: dict[int, tuple[str, Parameter]] = {}  # a shared one has its first name
        for name, value in self._tensors():
            if isinstance(value, Parameter):
                found.setdefault(id(value), (name, value))
        return iter(found.values())

    def parameters(self) -> Iterator[Parameter]:
        return (parameter for _, parameter in self.named_parameters())

    def zero_grad(self) -> None:
        for parameter in self.parameters():
            parameter.grad = None

    def train(self, mode: bool = True) -> Module:
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Module:
        return self.train(False)

    def state_dict(self) -> dict[str, Tensor]:
        return {name: value.detach() for name, value in self._tensors()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Copy the values in; RuntimeError if a name is missing or not known."""
        own = dict(self._tensors())
        if own.keys() != state.keys():
            different = ", ".join(sorted(own.keys() ^ state.keys()))
            raise RuntimeError(f"load_state_dict: missing or unexpected: {different}")
        with no_grad():
            for name, value in own.items():
                value.copy_(state[name])


class ModuleList(Module):
    """A list whose modules are found by `parameters()`."""

    def __init__(self, modules: Any = ()) -> None:
        for i, module in enumerate(modules):
            setattr(self, str(i), module)

    def append(self, module: Module) -> ModuleList:
        setattr(self, str(len(self)), module)
        return self

    def __iter__(self) -> Iterator[Module]:
        return (module for _, module in self.named_children())

    def __len__(self) -> int:
        return len(list(self.named_children()))

    def __getitem__(self, index: int) -> Module:
        return list(self)[index]


class Sequential(ModuleList):
    """Modules applied one after the other."""

    def __init__(self, *modules: Module) -> None:
        super().__init__(modules)

    def forward(self, x: Any) -> Any:
        for module in self:
            x = module(x)
        return x
