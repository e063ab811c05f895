"""All there is to say stands in setup.cfg but this: the folder `weights` is installed inside the package."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["tfrecon", "tfrecon.*"]), "tfrecon.weights.shipped"],
    package_dir={"tfrecon.weights.shipped": "weights"},
)
