"""How layers are named after the state dicts of PyTorch originals."""


def layer_name(torch_name: str) -> str:
    """A state-dict prefix as a layer's name, by which PyTorch weights find their place."""
    return torch_name.replace(".", "_")
